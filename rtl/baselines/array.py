"""An array of baseline elements: the core of an output-stationary array, the same around every element."""

__all__ = ["MacArray"]

from collections.abc import Callable

from amaranth import Array, Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit import checks
from tetrit.rtl.baselines.element import MacElement


class MacArray(wiring.Component):
    """A rows x cols array of one kind of element, between registers that skew what comes in.

    In each enabled cycle with `valid` it takes an activation code for each row and a weight code for each column; row r
    and column c meet in element (r, c), r + c cycles later. Sums that `last` ended are read row by row: `results` are
    those of `row`, one cycle later. The array has no memories and no gearboxes; it is what differs between kinds of
    element.

    Parameters
    ----------
    rows, cols : int
        Size.
    make : callable
        Returns a new element; the same kind each time.

    Members
    -------
    enable : In(1)
        Clock enable.
    acts, weights : In(rows * act_bits), In(cols * weight_bits)
        Codes, that of row or column 0 in the low bits.
    valid, last : In(1)
        This step counts; this step ends the sums.
    row : In(ceil(log2(rows)))
        Which row is read.
    results : Out(cols * acc_bits)
        Its sums.
    """

    def __init__(self, rows: int, cols: int, make: Callable[[], MacElement]) -> None:
        self.rows = checks.integer("rows", rows)
        self.cols = checks.integer("cols", cols)
        self.make = make
        self.element = element = make()
        super().__init__(
            {
                "enable": In(1),
                "acts": In(rows * element.act_bits),
                "weights": In(cols * element.weight_bits),
                "valid": In(1),
                "last": In(1),
                "row": In(range(rows)),
                "results": Out(cols * element.acc_bits),
            }
        )

    @property
    def latency(self) -> int:
        """Enabled cycles from the step that ends the sums until all of them are there."""
        return self.rows + self.cols - 1

    def elaborate(self, platform: object) -> Module:
        """Build skew, elements and read-out."""
        m = Module()
        grid = [[self.make() if r or c else self.element for c in range(self.cols)] for r in range(self.rows)]
        for r, line in enumerate(grid):
            for c, element in enumerate(line):
                m.submodules[f"element_{r}_{c}"] = element
                left = line[c - 1] if c else None
                above = grid[r - 1][c] if r else None
                m.d.comb += [
                    element.enable.eq(self.enable),
                    element.act_in.eq(
                        left.act_out if left else self._late(m, self.acts.word_select(r, element.act_bits), r)
                    ),
                    element.valid_in.eq(left.valid_out if left else self._late(m, self.valid, r, reset_less=False)),
                    element.last_in.eq(left.last_out if left else self._late(m, self.last, r)),
                    element.weight_in.eq(
                        above.weight_out
                        if above
                        else self._late(m, self.weights.word_select(c, element.weight_bits), c)
                    ),
                ]
        results = Signal.like(self.results, reset_less=True)
        with m.If(self.enable):
            m.d.sync += results.eq(Cat(Array(line[c].result for line in grid)[self.row] for c in range(self.cols)))
        m.d.comb += self.results.eq(results)
        return m

    def _late(self, m: Module, value: Value, cycles: int, *, reset_less: bool = True) -> Value:
        """Return `value` as it was `cycles` enabled cycles ago."""
        for _ in range(cycles):
            register = Signal(len(value), name="skew", reset_less=reset_less)
            with m.If(self.enable):
                m.d.sync += register.eq(value)
            value = register
        return value
