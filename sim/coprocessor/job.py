"""The authority for what a job of the co-processor is: shape, formats, places in memory, and what makes it invalid."""

__all__ = ["ORDERS", "MatmulJob"]

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.formats import get
from tetrit.hardware import SimdEngine
from tetrit.sim.coprocessor.unit import RESULT_BITS, Coprocessor
from tetrit.sim.simd.quire import SHIFTS, check_terms

Order = Literal["mn", "nm"]
ORDERS: tuple[Order, ...] = ("mn", "nm")

_LARGEST = (1 << 32) - 1


@dataclass(frozen=True, kw_only=True)
class MatmulJob:
    """One matrix product of the co-processor, ``C = round(act(2**shift * (A x W + bias)))``, with all its addresses.

    Attributes
    ----------
    m, k, n : int
        Vectors of activations, length of each, outputs.
    act_format, weight_format, out_format : str
        Formats of A, W and C.
    relu : bool
        Whether negative results become zero.
    shift : int
        Power of two that sums are scaled by; a `ShiftArray` scales by its parameters and takes 0 only.
    order : {"mn", "nm"}
        Which loop over tiles is the outer one: that of `m`, or that of `n`.
    result_bits : int or None
        Container of a result, 4, 8 or 16 bits; None: the format's own width.
    parameters : bool
        Whether there are parameters in memory; else biases are 0. A `ShiftArray` needs them.
    a_base, w_base, c_base, p_base : int
        Byte addresses of activations, weights (transposed: a row an output), results, and parameters.
    a_stride, w_stride, c_stride : int
        Bytes from one row to the next. Rows of operands may overlap.

    Notes
    -----
    A row's codes lie in containers of `Containers`' widths, low code first. Bytes between rows mean nothing, and what
    lies there is not written.
    """

    m: int
    k: int
    n: int
    act_format: str
    weight_format: str
    out_format: str
    relu: bool = False
    shift: int = 0
    order: Order = "mn"
    result_bits: int | None = None
    parameters: bool = True
    a_base: int = 0
    w_base: int = 0
    c_base: int = 0
    p_base: int = 0
    a_stride: int = 0
    w_stride: int = 0
    c_stride: int = 0

    def __post_init__(self) -> None:
        for name in ("m", "k", "n"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), maximum=_LARGEST))
        for name in ("a_base", "w_base", "c_base", "p_base", "a_stride", "w_stride", "c_stride"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), minimum=0))
        for name in ("relu", "parameters"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"`{name}` must be true or false, got {getattr(self, name)!r}")
        object.__setattr__(self, "shift", checks.integer("shift", self.shift, minimum=SHIFTS[0], maximum=SHIFTS[1]))
        checks.choice("order", self.order, ORDERS)
        out = get(self.out_format).bits
        if self.result_bits is None:
            object.__setattr__(self, "result_bits", next(bits for bits in RESULT_BITS if bits >= out))
        if checks.integer("result_bits", self.result_bits) not in RESULT_BITS:
            raise InvalidValueError(f"`result_bits` must be 4, 8 or 16, got {self.result_bits}")
        if self.code_bits < out:
            raise InvalidValueError(f"`result_bits` must be at least {out} for {self.out_format}, got {self.code_bits}")

    @property
    def code_bits(self) -> int:
        """Container of a result."""
        assert self.result_bits is not None
        return self.result_bits

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again."""
        return replace(self, **changes)

    def row_bytes(self, unit: Coprocessor) -> tuple[int, int, int]:
        """Return the bytes that a row of A, of W and of C has."""
        found = unit.containers(self.act_format, self.weight_format)
        bits = (self.k * found.act_bits, self.k * found.weight_bits, self.n * self.code_bits)
        return -(-bits[0] // 8), -(-bits[1] // 8), -(-bits[2] // 8)

    def parameter_bytes(self, unit: Coprocessor) -> int:
        """Return the bytes of all parameters."""
        return self.n * unit.record_bytes if self.parameters else 0

    def placed(self, unit: Coprocessor, *, base: int = 0) -> Self:
        """Return a copy whose buffers lie one after the other from `base` on, rows as close as the bus allows."""
        step = unit.data_bytes
        strides = [unit.words(n_bytes) * step for n_bytes in self.row_bytes(unit)]
        sizes = (strides[0] * self.m, strides[1] * self.n, self.parameter_bytes(unit))
        a = -(-base // step) * step
        w = a + sizes[0]
        p = w + sizes[1]
        places = {"a_base": a, "w_base": w, "p_base": p, "c_base": p + sizes[2]}
        return self.replace(**places, a_stride=strides[0], w_stride=strides[1], c_stride=strides[2])

    def spans(self, unit: Coprocessor) -> dict[str, tuple[int, int]]:
        """Return the first byte of each buffer and the one after its last: ``a``, ``w``, ``p``, ``c``."""
        a, w, c = self.row_bytes(unit)
        return {
            "a": (self.a_base, self.a_base + (self.m - 1) * self.a_stride + a),
            "w": (self.w_base, self.w_base + (self.n - 1) * self.w_stride + w),
            "p": (self.p_base, self.p_base + self.parameter_bytes(unit)),
            "c": (self.c_base, self.c_base + (self.m - 1) * self.c_stride + c),
        }

    def check(self, unit: Coprocessor, memory_bytes: int | None = None) -> None:
        """Raise InvalidValueError, in one line, if a co-processor cannot do this job.

        Parameters
        ----------
        unit : Coprocessor
            Bases and strides must be multiples of its bus's words.
        memory_bytes : int, optional
            Size of the memory; default: all that the bus can address.
        """
        machine = unit.machine
        spans = self.spans(unit)
        if isinstance(machine, SimdEngine):
            checks.choice("out_format", self.out_format, machine.formats)
            check_terms(self.k, machine.mode(self.act_format, self.weight_format))
        else:
            checks.choice("out_format", self.out_format, [machine.act_format])
            if not self.parameters:
                raise InvalidValueError("`parameters` must be true on a ShiftArray, got False")
            if self.shift:
                raise InvalidValueError(f"`shift` must be 0 on a ShiftArray, whose parameters scale, got {self.shift}")
        if machine.cols * self.code_bits % 8:
            raise InvalidValueError(
                f"`result_bits` must let {machine.cols} columns fill whole bytes, got {self.code_bits}"
            )
        for name in ("a_base", "a_stride", "w_base", "w_stride", "c_base", "c_stride", "p_base"):
            if getattr(self, name) % unit.data_bytes:
                raise InvalidValueError(
                    f"`{name}` must be a multiple of the bus's {unit.data_bytes} bytes, got {getattr(self, name)}"
                )
        if self.m > 1 and self.c_stride < self.row_bytes(unit)[2]:
            raise InvalidValueError(
                f"`c_stride` must be at least a row's {self.row_bytes(unit)[2]} bytes, got {self.c_stride}"
            )
        last = 1 << unit.address_bits if memory_bytes is None else memory_bytes
        for name, (_, end) in spans.items():
            if unit.words(end) * unit.data_bytes > last:
                raise InvalidValueError(
                    f"`{name}_base`: the buffer ends at {end}, the memory of {last} bytes before it"
                )
        self._check_apart(spans)

    def _check_apart(self, spans: dict[str, tuple[int, int]]) -> None:
        """Refuse results that would overwrite what is still to be read."""
        first, end = spans["c"]
        for name in ("a", "w", "p"):
            low, high = spans[name]
            if first < high and low < end:
                raise InvalidValueError(
                    f"`c_base`: results in {first}..{end - 1} overlap the buffer of `{name}_base` in {low}..{high - 1}"
                )

    def tiles(self, unit: Coprocessor) -> Iterator[tuple[int, int]]:
        """Yield the first row and the first column of each tile, in the job's order."""
        rows, cols = range(0, self.m, unit.machine.rows), range(0, self.n, unit.machine.cols)
        if self.order == "mn":
            yield from ((row, column) for row in rows for column in cols)
        else:
            yield from ((row, column) for column in cols for row in rows)
