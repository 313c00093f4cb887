"""The authority for what people and C programs read of the registers: the header and the page of the manual."""

__all__ = ["HEADER_NAME", "header", "page"]

from collections.abc import Iterable, Iterator

from tetrit.rtl.coprocessor.registers import (
    ADDRESS_BITS,
    ERRORS,
    IDENTITY,
    REGISTERS,
    VERSION,
    Field,
    Register,
    register,
)
from tetrit.rtl.coprocessor.writer import CONTAINER_CODES
from tetrit.rtl.simd.modes import FORMAT_CODES

HEADER_NAME = "tetrit_coprocessor.h"
_PREFIX = "TETRIT_CP_"

_RULES = """\
All registers have 32 bits, on an AXI4-Lite bus with byte strobes. Bits that no field has read as 0. Answered with
SLVERR, and without effect, are: an access to an address without a register, a write of a register that has nothing to
write, and a write of a locked register while a job runs. After a reset everything that can be written is 0.

## What lies where in memory

All little endian. Bases and strides are multiples of the bus width (`BUILD.bus_bytes_log2`). Addresses wrap.

- **A**: row i begins at `A_BASE + i * A_STRIDE`. It holds K codes one after the other, the first one in the low bits,
  each in a container. SIMD engine: containers of both operands have the bits of the wider format of the pair (4, 8 or
  16), and a narrower code lies in the low bits of its container. Shift array: the bits of the format, rounded up to a
  power of two. What is beyond K is never used.
- **W**, transposed: the K weights of output j begin at `W_BASE + j * W_STRIDE`, in the same way.
- **C**: row i begins at `C_BASE + i * C_STRIDE`. It holds N codes in containers of `MODE.container`, zero-extended.
  Exactly the bytes of a row are written; the unused half of its last byte is 0. An array with an odd number of columns
  has no containers of 4 bits.
- **Parameters**: record j begins at `P_BASE + j * RECORD.param_bytes`. SIMD engine: the bias, two's complement, in
  units of the product of both formats' units. Shift array: bias in bits 63:0, multiplier of the requantiser in bits
  95:64, its shift (1 or more) in bits 103:96; the biased sum must fit into the accumulator."""


def header() -> str:
    """Return the C header: offsets of registers, shifts and masks of fields, codes.

    Examples
    --------
    >>> [line for line in header().splitlines() if "STATUS_BUSY" in line]
    ['#define TETRIT_CP_STATUS_BUSY_SHIFT 0u', '#define TETRIT_CP_STATUS_BUSY_MASK 0x00000001u']
    """
    lines = [
        "/* Registers of the tetrit matrix co-processor; made from the table in tetrit.rtl.coprocessor.registers. */",
        "#ifndef TETRIT_COPROCESSOR_H",
        "#define TETRIT_COPROCESSOR_H",
        "",
        *_defines(
            (
                ("ID_VALUE", _hex(IDENTITY)),
                ("VERSION_MAJOR", f"{VERSION[0]}u"),
                ("VERSION_MINOR", f"{VERSION[1]}u"),
                ("REGISTER_BYTES", f"{1 << ADDRESS_BITS}u"),
            )
        ),
    ]
    for entry in REGISTERS:
        lines += ["", f"/* {entry.meaning} */", *_defines(((entry.name, f"0x{entry.offset:02X}u"),))]
        for field in entry.fields:
            if field.width == 32:
                continue
            name = f"{entry.name}_{field.name.upper()}"
            lines += [f"/* {field.meaning} */"]
            lines += _defines(((f"{name}_SHIFT", f"{field.low}u"), (f"{name}_MASK", _hex(field.mask))))
    errors = sum(field.mask for field in register("STATUS").fields if field.name in ERRORS)
    lines += [
        "",
        "/* The bits of STATUS of a job that was not completed. */",
        *_defines((("STATUS_ERRORS", _hex(errors)),)),
    ]
    lines += ["", "/* Codes for the fields of MODE. */"]
    lines += _defines((f"FORMAT_{name.upper()}", f"{code}u") for name, code in FORMAT_CODES.items())
    lines += _defines((f"CONTAINER_{bits}", f"{code}u") for bits, code in CONTAINER_CODES.items())
    return "\n".join([*lines, "", "#endif", ""])


def _defines(values: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, value in values:
        yield f"#define {_PREFIX}{name} {value}"


def _hex(value: int) -> str:
    return f"0x{value:08X}u"


def page() -> str:
    """Return the page of the manual."""
    lines = [
        "# Registers of the matrix co-processor",
        "",
        "Made from the table in `tetrit.rtl.coprocessor.registers` by `tools/registers.py`;",
        "`tetrit rtl coprocessor --header FILE.h` writes the same as a C header.",
        "",
        _RULES,
        "",
        "## Map",
        "",
        "| address | register | locked | meaning |",
        "|---|---|---|---|",
    ]
    lines += [f"| `0x{e.offset:02X}` | {_link(e)} | {'yes' if e.locked else ''} | {e.meaning} |" for e in REGISTERS]
    for entry in REGISTERS:
        if _is_whole(entry):
            continue
        lines += [
            "",
            f"## {entry.name}",
            "",
            "| bits | field | access | meaning |",
            "|---|---|---|---|",
            *(f"| {_bits(f)} | `{f.name}` | {f.access.value} | {f.meaning} |" for f in entry.fields),
        ]
    return "\n".join([*lines, ""])


def _is_whole(entry: Register) -> bool:
    return len(entry.fields) == 1 and entry.fields[0].width == 32


def _link(entry: Register) -> str:
    if _is_whole(entry):
        return f"`{entry.name}` ({entry.fields[0].access.value})"
    return f"[`{entry.name}`](#{entry.name.lower()})"


def _bits(field: Field) -> str:
    high = field.low + field.width - 1
    return f"{high}:{field.low}" if field.width > 1 else f"{field.low}"
