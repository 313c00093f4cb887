"""The baseline element that rounds after every addition: FP8 products into a floating-point accumulator."""

__all__ = ["RoundingMac"]

from amaranth import Module, Value

from tetrit.rtl.baselines.arithmetic import Adders
from tetrit.rtl.baselines.element import MacElement
from tetrit.rtl.baselines.fused import FloatMultiplyAdd


class RoundingMac(MacElement):
    """FP8 times FP8, added to an FP16 or FP32 sum and rounded to it in every step.

    Infinity and NaN stay in the sum once they are there, until it ends; see `FloatMultiplyAdd`.

    Parameters
    ----------
    operands : str
        ``"fp8_e4m3"`` or ``"fp8_e5m2"``.
    accumulator : str
        One of `ACCUMULATORS`.
    adders : {"fast", "compact"}
        As of `MacElement`.

    Members
    -------
    As of `MacElement`; `result` is a code of the accumulator's format.
    """

    def __init__(self, operands: str, accumulator: str, *, adders: Adders = "fast") -> None:
        self.unit = unit = FloatMultiplyAdd(operands, accumulator, adders=adders)
        super().__init__(unit.operands.bits, unit.operands.bits, unit.accumulator.bits, adders=adders)

    def added(self, m: Module, total: Value) -> Value:
        """Connect the multiply-add."""
        m.submodules.unit = unit = self.unit
        m.d.comb += [unit.a.eq(self.act_in), unit.b.eq(self.weight_in), unit.c.eq(total)]
        return unit.y
