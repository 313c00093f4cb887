"""The reconfigurable significand multiplier and exponent adders, shared by all formats."""

__all__ = ["ExponentUnit", "SignificandMultiplier"]

from itertools import pairwise

from amaranth import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit.rtl.simd.modes import Decoded, LaneFlags

_BORDERS = (0, 3, 7, 10, 13)
"""Where the fields of a significand begin: one each for slots 1, 0, 3 and 2 if there are four lanes."""


class SignificandMultiplier(wiring.Component):
    """One product of 13 x 13 bits, two of 6 x 6 or four of 2 x 2, as `Decoded` places the factors.

    Combinational. Sixteen small blocks, each the product of one field of either factor. A block of two slots' fields
    sees a zero unless these slots belong to one lane; so the blocks that fewer bits leave idle do not switch, whatever
    the design's gating. One tree adds up all blocks.

    Members
    -------
    a, b : In(13)
        Significands.
    lanes : In(LaneFlags)
        How many products.
    product : Out(26)
        One lane: all bits. Two: slot 2 in the upper, slot 0 in the lower 12 bits. Four: slots 2, 3, 0 and 1 in bits 22,
        14, 8 and 0 and the three above them.

    Notes
    -----
    One reconfigurable multiplier for all formats is XR-NPE's (arXiv 2508.13049); its blocks are **our
    reconstruction**.
    """

    def __init__(self) -> None:
        super().__init__({"a": In(13), "b": In(13), "lanes": In(LaneFlags()), "product": Out(26)})

    def elaborate(self, platform: object) -> Module:
        """Build the blocks and add them up."""
        m = Module()
        joined = (Const(1, 1), ~self.lanes.four, self.lanes.one)  # fields of one slot, of one half, of both halves
        fields = list(pairwise(_BORDERS))
        total: Value = Const(0, 1)
        for row, (start, end) in enumerate(fields):
            parts = []
            for column, (low, high) in enumerate(fields):
                distance = 0 if row == column else 1 if row // 2 == column // 2 else 2
                parts.append(self.a[low:high] & joined[distance].replicate(high - low))
            seen = Signal(13, name=f"seen_{row}")
            m.d.comb += seen.eq(Cat(parts))
            total = total + ((seen * self.b[start:end]) << start)
        m.d.comb += self.product.eq(total)
        return m


class ExponentUnit(wiring.Component):
    """Add the scales of two operands slot by slot.

    Combinational.

    Members
    -------
    a, b : In(Decoded)
        Operands.
    carry : In(1)
        Added to slots 0 and 2: set if one operand has a 4-bit format and the other has not, as the former's
        significand is then half of what `Decoded` says.
    sums : Out(7), Out(5) ...
        ``sum_0`` .. ``sum_3``.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "a": In(Decoded()),
                "b": In(Decoded()),
                "carry": In(1),
                "sum_0": Out(7),
                "sum_1": Out(5),
                "sum_2": Out(5),
                "sum_3": Out(5),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the adders."""
        m = Module()
        for slot in range(4):
            name = f"scale_{slot}"
            total = getattr(self.a, name) + getattr(self.b, name)
            m.d.comb += getattr(self, f"sum_{slot}").eq(total + self.carry if slot in (0, 2) else total)
        return m
