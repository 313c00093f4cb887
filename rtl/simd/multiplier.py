"""The reconfigurable significand multiplier and exponent adders, shared by all formats."""

__all__ = ["BlockJoiner", "ExponentUnit", "SignificandMultiplier"]

from itertools import pairwise

from amaranth import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit.rtl.simd.modes import Decoded, LaneFlags

_BORDERS = (0, 3, 7, 10, 13)
"""Where the fields of a significand begin: one each for slots 1, 0, 3 and 2 if there are four lanes."""


class SignificandMultiplier(wiring.Component):
    """One product of 13 x 13 bits, two of 6 x 6 or four of 2 x 2, as `Decoded` places the factors.

    Combinational. A small block multiplies the fields of each slot. With fewer lanes, `BlockJoiner` adds what a larger
    product needs beyond the blocks'.

    Parameters
    ----------
    gating : bool
        Whether the joiner sees zeros if there are four lanes, and the blocks' products go around it.

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

    def __init__(self, *, gating: bool = True) -> None:
        self.gating = gating
        super().__init__({"a": In(13), "b": In(13), "lanes": In(LaneFlags()), "product": Out(26)})

    def elaborate(self, platform: object) -> Module:
        """Build the blocks."""
        m = Module()
        m.submodules.joiner = joiner = BlockJoiner()
        blocks = Signal(26)
        reached = ~self.lanes.four
        m.d.comb += [
            blocks.eq(Cat(self.a[start:end] * self.b[start:end] for start, end in pairwise(_BORDERS))),
            joiner.a.eq(self.a & reached.replicate(13)),
            joiner.b.eq(self.b & reached.replicate(13)),
            joiner.blocks.eq(blocks & reached.replicate(26) if self.gating else blocks),
            joiner.one.eq(self.lanes.one),
            self.product.eq(
                joiner.product | (blocks & self.lanes.four.replicate(26)) if self.gating else joiner.product
            ),
        ]
        return m


class BlockJoiner(wiring.Component):
    """Make two products of two blocks each, or one of all four, by adding the products across them.

    Combinational.

    Members
    -------
    a, b : In(13)
        Significands; zero to leave the blocks alone.
    blocks : In(26)
        The product of each slot's fields, one above the other.
    one : In(1)
        Whether there is one lane.
    product : Out(26)
        As of `SignificandMultiplier`.
    """

    def __init__(self) -> None:
        super().__init__({"a": In(13), "b": In(13), "blocks": In(26), "one": In(1), "product": Out(26)})

    def elaborate(self, platform: object) -> Module:
        """Add within the halves, and across them."""
        m = Module()
        halves = [
            self.blocks[2 * start : 2 * end] + (self._across(self.a, self.b, start, border, end) << (border - start))
            for start, border, end in ((0, 3, 7), (7, 10, 13))
        ]
        a, b = (factor & self.one.replicate(13) for factor in (self.a, self.b))
        m.d.comb += self.product.eq(Cat(halves[0][:14], halves[1][:12]) + (self._across(a, b, 0, 7, 13) << 7))
        return m

    @staticmethod
    def _across(a: Value, b: Value, start: int, border: int, end: int) -> Value:
        """Return the products of the fields below and above a border with the other factor's above and below it."""
        total: Value = a[start:border] * b[border:end] + a[border:end] * b[start:border]
        return total


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
