"""The quires of an element: signed products added lane by lane, in digits that rest while nothing reaches them."""

__all__ = ["BORDERS", "QuireAccumulator", "QuireDigit", "digit_borders"]

from collections.abc import Callable, Sequence
from itertools import pairwise

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tetrit.rtl.simd.adders import carries, rippled
from tetrit.rtl.simd.modes import LANE_BITS, LaneFlags

BORDERS = (6, 10, 16)
"""Where the upper digits of a 4-bit lane begin: beside bit 8, about which products of two Posit(4,1) codes lie, so that
most sums move in one short digit; all but the largest codes' end below the last. FP4's products take 8 bits."""

_WIDEST = 16
"""Bits of a digit at most."""


def digit_borders(width: int, segments: int, borders: Sequence[int] = BORDERS) -> tuple[int, ...]:
    """Return where the digits of a segment begin, and its width."""
    first = [border for border in borders if border < width] if segments == 4 else []
    start = first[-1] if first else 0
    count = -(-(width - start) // _WIDEST)
    rest = [start + (width - start) * index // count for index in range(1, count + 1)]
    return (0, *first, *rest)


class QuireAccumulator(wiring.Component):
    """A register of quires, to which a signed product of each lane is added per step.

    The register is cut into digits. One that no bit of the product lies in changes by 1 at most, if a carry or a borrow
    gets there. With gating, the sign is kept from it, and its clock stops otherwise.

    Parameters
    ----------
    quire_bits : int
        Width of the register.
    kinds : iterable of {"one", "two", "four"}
        Lanes that it is built for.
    joined : callable
        Of lanes and the number of a slot: whether the segment that begins with it belongs to the lane below.
    gating : bool
        Whether digits rest.
    borders : sequence of int
        Where the upper digits of a 4-bit lane begin; those above are of 16 bits at most.

    Members
    -------
    step : In(1)
        Add a product.
    last : In(1)
        This product ends the sum: the register is cleared.
    lanes : In(LaneFlags)
        How many lanes.
    magnitude : In(quire_bits), negative : In(4)
        As of `SimdDatapath`.
    total : Out(quire_bits)
        The quires with the product added; with gating, only if the product ends the sum.
    """

    def __init__(
        self,
        quire_bits: int,
        kinds: tuple[str, ...],
        joined: Callable[[data.View, int], Value],
        *,
        gating: bool,
        borders: Sequence[int] = BORDERS,
    ) -> None:
        self.quire_bits = quire_bits
        self.kinds = kinds
        self.joined = joined
        self.gating = gating
        self.borders = tuple(borders)
        super().__init__(
            {
                "step": In(1),
                "last": In(1),
                "lanes": In(LaneFlags()),
                "magnitude": In(quire_bits),
                "negative": In(4),
                "total": Out(quire_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the digits from the lowest to the highest, and the carry between them."""
        m = Module()
        segments = 16 // min(LANE_BITS[kind] for kind in self.kinds)
        width = self.quire_bits // segments
        digits: list[tuple[QuireDigit, Value, Value]] = []
        for segment in range(segments):
            slot = segment * 4 // segments
            sign = Signal(name=f"sign_{segment}")
            of_two = self.negative[slot - slot % 2]
            own = Mux(self.lanes.two, of_two, self.negative[slot])
            m.d.comb += sign.eq(Mux(self.lanes.one, self.negative[0], own))
            continues = self.joined(self.lanes, slot)
            for low, high in pairwise(digit_borders(width, segments, self.borders)):
                start, end = segment * width + low, segment * width + high
                m.submodules[f"digit_{start}"] = digit = QuireDigit(end - start, folds=self.gating and low > 0)
                part, used = self.magnitude[start:end], Signal(name=f"used_{start}")
                m.d.comb += [
                    used.eq(part.any() if self.gating else 1),
                    digit.part.eq(part),
                    digit.used.eq(used),
                    digit.minus.eq(sign & used),
                    digit.continues.eq(continues),
                    digit.last.eq(self.last),
                    self.total[start:end].eq(digit.total),
                ]
                digits.append((digit, continues, used))
                continues = Const(1, 1)
        ups = carries(m, [(digit.over, digit.ones) for digit, _, _ in digits])
        downs = carries(m, [(digit.under, digit.zeros) for digit, _, _ in digits])
        for (digit, continues, used), up, down in zip(digits, ups, downs, strict=True):
            moves = used | digit.up | digit.down | self.last if self.gating else Const(1, 1)
            m.d.comb += [
                digit.up.eq(up & continues),
                digit.down.eq(down & continues),
                digit.step.eq(self.step & moves),
            ]
        return m


class QuireDigit(wiring.Component):
    """A digit of the quires: bits of a product are added or subtracted, then it moves by what comes from below.

    Sums about zero change sign often. A digit that folds is kept as its complement once it has moved below zero on its
    own, so that its bits need not all turn then.

    Parameters
    ----------
    width : int
        Its bits.
    folds : bool
        Whether it folds.

    Members
    -------
    part : In(width), minus : In(1)
        The product's bits; whether they are subtracted.
    used : In(1)
        Whether any of them is set, or may be.
    continues : In(1)
        Whether it is of the same lane as the digit below.
    up, down : In(1)
        Whether it moves up by 1, or down by 1, besides; only if it continues that digit.
    step, last : In(1)
        Take the new value; take 0 in its place.
    total : Out(width)
        The new value if it is the last of a sum.
    over, under : Out(1)
        Whether the product alone makes it overflow, one way or the other.
    ones, zeros : Out(1)
        Whether it would overflow by moving up, by moving down; not unless it continues the digit below.
    """

    def __init__(self, width: int, *, folds: bool) -> None:
        self.width = width
        self.folds = folds
        flags = dict.fromkeys(("minus", "used", "continues", "up", "down", "step", "last"), In(1))
        flags |= dict.fromkeys(("over", "under", "ones", "zeros"), Out(1))
        super().__init__({"part": In(width), "total": Out(width), **flags})

    def elaborate(self, platform: object) -> Module:
        """Add in a chain of full adders; turn the bits that moving by 1 changes."""
        m = Module()
        width = self.width
        register, folded = Signal(width), Signal()
        summed, total = Signal(width + 1), Signal(width)
        # what several bits share is named, or Amaranth would repeat it for each of them
        inside, up, down, folds = Signal(), Signal(), Signal(), Signal()
        before, part = Signal(width), Signal(width)
        m.d.comb += [
            inside.eq(folded & ~self.used),  # the complement moves
            up.eq(Mux(inside, self.down, self.up)),
            down.eq(Mux(inside, self.up, self.down)),
            before.eq(register ^ (folded & self.used).replicate(width) if self.folds else register),
            part.eq(self.part ^ self.minus.replicate(width)),
        ]
        ones, zeros = self.continues, self.continues
        below = []
        for index, bit in enumerate(summed[:width]):
            below.append((ones, zeros))
            all_ones, all_zeros = Signal(name=f"ones_{index}"), Signal(name=f"zeros_{index}")
            m.d.comb += [all_ones.eq(ones & bit), all_zeros.eq(zeros & ~bit)]
            ones, zeros = all_ones, all_zeros
        m.d.comb += folds.eq(down & zeros & ~self.used if self.folds else 0)
        turned = [(up & one) | (down & ~folds & zero) for one, zero in below]
        fold = inside ^ folds
        m.d.comb += [
            summed.eq(rippled(m, before, part, self.minus)),
            total.eq(summed[:width] ^ Cat(turned)),
            self.total.eq(total ^ (fold & self.last).replicate(width) if self.folds else total),
            self.over.eq(summed[width] & ~self.minus),
            self.under.eq(~summed[width] & self.minus),
            self.ones.eq(Mux(inside, zeros, ones)),
            self.zeros.eq(Mux(inside, ones, zeros)),
        ]
        with m.If(self.step):
            m.d.sync += register.eq(Mux(self.last, 0, total))
            if self.folds:
                m.d.sync += folded.eq(fold & ~self.last)
        return m
