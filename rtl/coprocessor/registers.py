"""The authority for the registers of the matrix co-processor: hardware, C header, manual and tests derive from it."""

__all__ = [
    "ADDRESS_BITS",
    "ERRORS",
    "REGISTERS",
    "VERSION",
    "Access",
    "Field",
    "Register",
    "register",
]

from dataclasses import dataclass
from enum import Enum

ADDRESS_BITS = 8
"""Bits of an address on the register bus, in bytes."""

VERSION = (1, 0)
IDENTITY = 0x54455452

ERRORS: tuple[str, ...] = (
    "read_error",
    "write_error",
    "misaligned",
    "bad_size",
    "bad_format",
    "too_many_terms",
    "aborted",
)
"""The bits of `STATUS` with which a job ends that was not completed."""


class Access(Enum):
    """What the host may do with a field."""

    CONSTANT = "fixed when the hardware is built"
    READ = "read only"
    WRITE = "read and write"
    PULSE = "write 1 to act; reads as 0"
    CLEAR = "read; write 1 to clear"


@dataclass(frozen=True, kw_only=True)
class Field:
    """Some neighbouring bits of a register.

    Attributes
    ----------
    name : str
        Lower case.
    low, width : int
        Position of the lowest bit, and number of bits.
    access : Access
        What the host may do.
    meaning : str
        One sentence for the manual.
    signed : bool
        Two's complement.
    """

    name: str
    low: int
    width: int
    access: Access
    meaning: str
    signed: bool = False

    @property
    def mask(self) -> int:
        """The field's bits, in their places."""
        return ((1 << self.width) - 1) << self.low


@dataclass(frozen=True, kw_only=True)
class Register:
    """32 bits at an address.

    Attributes
    ----------
    name : str
        Upper case.
    offset : int
        Address in bytes, a multiple of 4.
    meaning : str
        One sentence for the manual.
    fields : tuple of Field
        Low bits first. Bits that no field has read as 0.
    locked : bool
        A write while a job runs has no effect and is answered with SLVERR.
    """

    name: str
    offset: int
    meaning: str
    fields: tuple[Field, ...]
    locked: bool = False

    @property
    def member(self) -> str:
        """The register's name in hardware."""
        return self.name.lower()

    def accessible(self, *access: Access) -> tuple[Field, ...]:
        """Return the fields of some kinds of access."""
        return tuple(field for field in self.fields if field.access in access)


def _whole(name: str, offset: int, access: Access, meaning: str, *, locked: bool = False) -> Register:
    """Return a register that is one field."""
    field = Field(name="value", low=0, width=32, access=access, meaning=meaning)
    return Register(name=name, offset=offset, meaning=meaning, fields=(field,), locked=locked)


def _address(letter: str, offset: int, what: str) -> tuple[Register, ...]:
    """Return the two halves of an address."""
    halves = {"LOW": "low bits.", "HIGH": "high bits; ignored if it has 32."}
    return tuple(
        _whole(
            f"{letter}_BASE_{half}",
            offset + 4 * index,
            Access.WRITE,
            f"Address of {what} in bytes, {rest}",
            locked=True,
        )
        for index, (half, rest) in enumerate(halves.items())
    )


def _matrix(letter: str, offset: int, what: str, row: str) -> tuple[Register, ...]:
    """Return base and stride of a matrix."""
    meaning = f"Bytes from one {row} to the next, unsigned."
    return (
        *_address(letter, offset, what),
        _whole(f"{letter}_STRIDE", offset + 8, Access.WRITE, meaning, locked=True),
    )


def _counter(name: str, offset: int, meaning: str) -> tuple[Register, ...]:
    """Return the two halves of a counter of 64 bits."""
    return (
        _whole(f"{name}_LOW", offset, Access.READ, f"{meaning} Low half; reading it keeps the high half for the next."),
        _whole(f"{name}_HIGH", offset + 4, Access.READ, "High half, as it was when the low half was read."),
    )


def _constant(name: str, low: int, width: int, meaning: str) -> Field:
    return Field(name=name, low=low, width=width, access=Access.CONSTANT, meaning=meaning)


def _setting(name: str, low: int, width: int, meaning: str, *, signed: bool = False) -> Field:
    return Field(name=name, low=low, width=width, access=Access.WRITE, meaning=meaning, signed=signed)


def _ending(name: str, low: int, meaning: str) -> Field:
    return Field(name=name, low=low, width=1, access=Access.CLEAR, meaning=meaning)


REGISTERS: tuple[Register, ...] = (
    _whole("ID", 0x00, Access.CONSTANT, f"Tells that this is the co-processor: 0x{IDENTITY:08X}."),
    Register(
        name="VERSION",
        offset=0x04,
        meaning="Version of this register map.",
        fields=(
            _constant("minor", 0, 16, "Counts compatible additions."),
            _constant("major", 16, 16, "Counts changes that are not compatible."),
        ),
    ),
    Register(
        name="ARRAY",
        offset=0x08,
        meaning="Size of the array.",
        fields=(
            _constant("rows", 0, 16, "Rows of C per tile."),
            _constant("cols", 16, 16, "Columns of C per tile."),
        ),
    ),
    Register(
        name="BUILD",
        offset=0x0C,
        meaning="What was built.",
        fields=(
            _constant("datapath", 0, 4, "0: SIMD engine; 1: shift array."),
            _constant("bus_bytes_log2", 4, 4, "Bytes of a word of the memory bus, as a power of two."),
            _constant("address_bits", 8, 8, "Bits of an address on the memory bus."),
            _constant("burst_beats", 16, 8, "Most words of a burst, less one."),
            _constant("formats", 24, 8, "SIMD engine: bit f is set if it has format code f. Shift array: 1."),
        ),
    ),
    Register(
        name="RECORD",
        offset=0x10,
        meaning="Layout of parameters and operands.",
        fields=(
            _constant("param_bytes", 0, 16, "Bytes of the record of parameters of one output."),
            _constant("act_step_bits", 16, 8, "Bits of a row of A that one step takes."),
            _constant("weight_step_bits", 24, 8, "Bits of a row of W that one step takes."),
        ),
    ),
    _whole("CHUNK", 0x14, Access.CONSTANT, "Steps of the reduction that a half of the scratchpads holds."),
    Register(
        name="CONTROL",
        offset=0x20,
        meaning="Begins and ends jobs.",
        fields=(
            Field(
                name="start",
                low=0,
                width=1,
                access=Access.PULSE,
                meaning="Begin the job that the registers describe; clears STATUS and the counters. "
                "Ignored while busy.",
            ),
            Field(
                name="abort",
                low=1,
                width=1,
                access=Access.PULSE,
                meaning="End the job: transfers that are under way are completed, C is left unfinished. "
                "Ignored unless busy, and where start is set too.",
            ),
            _setting("irq_done", 8, 1, "The interrupt line follows STATUS.done."),
            _setting("irq_error", 9, 1, "The interrupt line follows the error bits of STATUS."),
        ),
    ),
    Register(
        name="STATUS",
        offset=0x24,
        meaning="How the last job ended. All bits but busy are set in the cycle in which busy falls.",
        fields=(
            Field(name="busy", low=0, width=1, access=Access.READ, meaning="A job runs."),
            _ending("done", 1, "The job was completed: C is in memory."),
            _ending("read_error", 2, "The memory answered a read with SLVERR or DECERR."),
            _ending("write_error", 3, "The memory answered a write with SLVERR or DECERR."),
            _ending("misaligned", 4, "A base or stride is no multiple of the bus width. Nothing was read or written."),
            _ending("bad_size", 5, "M, K or N is 0. Nothing was read or written."),
            _ending(
                "bad_format",
                6,
                "The machine lacks a format, the container does not fit it, or the parameters that it needs are off. "
                "Nothing was read or written.",
            ),
            _ending(
                "too_many_terms", 7, "K is more than the accumulators hold without loss. Nothing was read or written."
            ),
            _ending("aborted", 8, "The job was aborted."),
            _ending("nar", 9, "A result in FP4 stood for a NaR, and is -6. Not an error."),
        ),
    ),
    Register(
        name="MODE",
        offset=0x28,
        meaning="How the job computes. Format codes: 0 fp4_e2m1, 1 posit4_1, 2 posit8_0, 3 posit16_1; "
        "the shift array's formats are built in, its codes are 0.",
        fields=(
            _setting("act_format", 0, 4, "Format of A."),
            _setting("weight_format", 4, 4, "Format of W."),
            _setting("out_format", 8, 4, "Format of C."),
            _setting("relu", 12, 1, "Negative results become 0."),
            _setting("params", 13, 1, "Read parameters; else biases are 0. The shift array needs them."),
            _setting("container", 16, 2, "Bits of a code of C in memory. 0: 4; 1: 8; 2: 16."),
        ),
        locked=True,
    ),
    Register(
        name="SHIFT",
        offset=0x2C,
        meaning="Scale of the results.",
        fields=(
            _setting("shift", 0, 7, "SIMD engine: results are scaled by this power of two, -64..63.", signed=True),
        ),
        locked=True,
    ),
    _whole("M", 0x30, Access.WRITE, "Rows of A and C.", locked=True),
    _whole("K", 0x34, Access.WRITE, "Length of the reduction.", locked=True),
    _whole("N", 0x38, Access.WRITE, "Columns of C.", locked=True),
    Register(
        name="ORDER",
        offset=0x3C,
        meaning="Order of the tiles.",
        fields=(
            _setting("n_outer", 0, 1, "0: all tiles of some rows of C, then of the next; 1: the same with columns."),
        ),
        locked=True,
    ),
    *_matrix("A", 0x40, "A", "row of A"),
    *_matrix("W", 0x50, "W, the transposed weights,", "output's row of W"),
    *_matrix("C", 0x60, "C", "row of C"),
    *_address("P", 0x70, "the parameters"),
    *_counter("BUSY", 0x80, "Cycles of the last job."),
    *_counter("STALLED", 0x88, "Cycles of the last job in which the array took no operands."),
    *_counter("GATED", 0x90, "Cycles of the last job in which no element of the array had a step under way."),
    *_counter("STEPS", 0x98, "Vectors of operands that the array took."),
    *_counter("READ_WORDS", 0xA0, "Words read over the memory bus."),
    *_counter("WRITTEN_WORDS", 0xA8, "Words written over the memory bus."),
)
"""All registers, by address."""


def register(name: str) -> Register:
    """Return the register of a name.

    Raises
    ------
    KeyError
        There is none.

    Examples
    --------
    >>> hex(register("STATUS").offset)
    '0x24'
    """
    return {found.name: found for found in REGISTERS}[name]
