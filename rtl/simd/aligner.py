"""The alignment shifters: products to their places in the quires; one for one or two lanes, a small one for four."""

__all__ = ["Aligner", "NarrowAligner", "WideAligner"]

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit.rtl.simd.modes import LANE_BITS, LaneFlags, one_of

_BLOCK = 16
_BASES = {0: 0, 2: 34}
"""Where the columns begin that a slot has of the wide shifter's; with one lane, slot 0 has all."""

_COLUMNS = 67
_NARROW_REACH = 17
"""Bits of the largest product of two 4-bit codes."""

_NARROW_LOWS = (8, 0, 22, 14)
"""The lowest bit of each slot's product with four lanes; it has 4."""


@dataclass(frozen=True, kw_only=True)
class _Lane:
    """How one lane passes through the shifter.

    Attributes
    ----------
    slot : int
        Which scale, sign and columns it has.
    low, bits : int
        Its bits of the product.
    column : int
        Where the lowest of them enters, counted from the slot's base.
    columns : int
        How many columns from that base on it may reach.
    back : int
        How many blocks the slot's base is below the quire's lowest bit while the upper bits of the scale are 0. What
        lies below that bit is 0, as products are multiples of the quire's unit.
    blocks : int
        Number of values of the upper bits of the scale.
    reach : int
        Bits of the quire that the largest product needs, without a sign.
    """

    slot: int
    low: int
    bits: int
    column: int
    columns: int
    back: int
    blocks: int
    reach: int


_LANES = {
    "one": (_Lane(slot=0, low=0, bits=26, column=8, columns=49, back=2, blocks=8, reach=113),),
    "two": tuple(
        _Lane(slot=slot, low=low, bits=12, column=6, columns=33, back=1, blocks=2, reach=25)
        for slot, low in ((0, 0), (2, 14))
    ),
}


class Aligner(wiring.Component):
    """Move the product of each lane to where its scale says, in the segment of the quire register that is the lane's.

    Combinational.

    Parameters
    ----------
    quire_bits : int
        Width of the quire register.
    kinds : iterable of {"one", "two", "four"}
        Lanes that it is built for.
    gating : bool
        Whether the shifter that is not in use sees zeros; else what it makes of the products is dropped.

    Members
    -------
    product : In(26)
        From `SignificandMultiplier`.
    sum_0, sum_1, sum_2, sum_3 : In(7), In(5) ...
        From `ExponentUnit`.
    lanes : In(LaneFlags)
        How many lanes.
    magnitude : Out(quire_bits)
        Unsigned products in units of each lane's quire.
    """

    def __init__(self, quire_bits: int, kinds: Iterable[str] = tuple(LANE_BITS), *, gating: bool = True) -> None:
        self.quire_bits = quire_bits
        self.kinds = tuple(kind for kind in LANE_BITS if kind in set(kinds))
        self.gating = gating
        super().__init__(
            {
                "product": In(26),
                "sum_0": In(7),
                "sum_1": In(5),
                "sum_2": In(5),
                "sum_3": In(5),
                "lanes": In(LaneFlags()),
                "magnitude": Out(quire_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the shifters that are needed, and let through what the one in use gives."""
        m = Module()
        sums = (self.sum_0, self.sum_1, self.sum_2, self.sum_3)
        wide_kinds = tuple(kind for kind in self.kinds if kind != "four")
        both = len(wide_kinds) < len(self.kinds) > 1
        total: Value = Const(0, self.quire_bits)
        if wide_kinds:
            m.submodules.wide = wide = WideAligner(self.quire_bits, wide_kinds)
            used: Value = ~self.lanes.four if both else Const(1, 1)
            seen, kept = (used, Const(1, 1)) if self.gating else (Const(1, 1), used)
            m.d.comb += [
                wide.product.eq(self.product & seen.replicate(26)),
                wide.sum_0.eq(self.sum_0 & seen.replicate(7)),
                wide.sum_2.eq(self.sum_2 & seen.replicate(5)),
                wide.lanes.eq(self.lanes),
            ]
            total = total | (wide.magnitude & kept.replicate(self.quire_bits))
        if "four" in self.kinds:
            m.submodules.narrow = narrow = NarrowAligner(self.quire_bits)
            used = self.lanes.four if both else Const(1, 1)
            seen, kept = (used, Const(1, 1)) if self.gating else (Const(1, 1), used)
            m.d.comb += narrow.product.eq(self.product & seen.replicate(26))
            m.d.comb += [getattr(narrow, f"sum_{slot}").eq(amount[0:5]) for slot, amount in enumerate(sums)]
            total = total | (narrow.magnitude & kept.replicate(self.quire_bits))
        m.d.comb += self.magnitude.eq(total)
        return m


class NarrowAligner(wiring.Component):
    """Move the products of four lanes.

    Combinational. Members as of `Aligner`, with 5 bits of each sum.
    """

    def __init__(self, quire_bits: int) -> None:
        self.quire_bits = quire_bits
        sums = {f"sum_{slot}": In(5) for slot in range(4)}
        super().__init__({"product": In(26), **sums, "magnitude": Out(quire_bits)})

    def elaborate(self, platform: object) -> Module:
        """Build a shifter for each lane."""
        m = Module()
        width = self.quire_bits // 4
        for slot, low in enumerate(_NARROW_LOWS):
            moved: Value = self.product[low : low + 4]
            for stage, amount in enumerate(getattr(self, f"sum_{slot}")):
                stepped = Signal(min(_NARROW_REACH, width, len(moved) + (1 << stage)), name=f"moved_{slot}_{stage}")
                m.d.comb += stepped.eq(Mux(amount, moved << (1 << stage), moved))
                moved = stepped
            m.d.comb += self.magnitude[slot * width : (slot + 1) * width].eq(moved)
        return m


class WideAligner(wiring.Component):
    """Move the product of one lane, or those of two.

    Combinational. Two stages: products move by 0 to 15 in one row of columns that two lanes divide, then by blocks of
    16, which is a choice among few.

    Members as of `Aligner`.
    """

    def __init__(self, quire_bits: int, kinds: tuple[str, ...]) -> None:
        self.quire_bits = quire_bits
        self.kinds = kinds
        super().__init__(
            {
                "product": In(26),
                "sum_0": In(7),
                "sum_2": In(5),
                "lanes": In(LaneFlags()),
                "magnitude": Out(quire_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build both stages, of words rather than bits, which simulators run many times as fast."""
        m = Module()
        row = Signal(_COLUMNS, name="entered")
        m.d.comb += row.eq(self._entered())
        sums = {0: self.sum_0, 2: Mux(self._flag(["two"]), self.sum_2, self.sum_0[0:5])}
        amounts = {slot: Signal(4, name=f"amount_{slot}") for slot in sums}
        m.d.comb += [amounts[slot].eq(total[0:4]) for slot, total in sums.items()]
        border = _BASES[2]
        for stage in range(4):
            step = 1 << stage
            low, high = amounts[0][stage], amounts[2][stage]
            moved = Signal(_COLUMNS, name=f"moved_{stage}")
            m.d.comb += moved.eq(
                Cat(
                    Mux(low, Cat(Const(0, step), row[: border - step]), row[:border]),
                    Mux(high, row[border - step : _COLUMNS - step], row[border:]),
                )
            )
            row = moved
        return self._placed(m, row)

    def _flag(self, kinds: Iterable[str]) -> Value:
        """Return whether the lanes are of one of some kinds."""
        wanted = set(kinds)
        if wanted >= set(self.kinds):
            return Const(1, 1)
        return one_of([getattr(self.lanes, kind) for kind in sorted(wanted & set(self.kinds))])

    def _entered(self) -> Value:
        """Return the columns with the products in them."""
        sources: dict[tuple[int, int], tuple[str, ...]] = defaultdict(tuple)
        for kind in self.kinds:
            for lane in _LANES[kind]:
                for bit in range(lane.bits):
                    sources[_BASES[lane.slot] + lane.column + bit, lane.low + bit] += (kind,)
        columns: Value = Const(0, _COLUMNS)
        for column, bit, count, kinds in _runs(sources):
            columns = columns | Cat(
                Const(0, column), self.product[bit : bit + count] & self._flag(kinds).replicate(count)
            )
        return columns[:_COLUMNS]

    def _placed(self, m: Module, columns: Signal) -> Module:
        """Choose the block that each bit of the quire sees."""
        sums = {0: self.sum_0, 2: self.sum_2}
        seen: dict[tuple[int, int], tuple[tuple[str, int, int], ...]] = defaultdict(tuple)
        for kind in self.kinds:
            width = self.quire_bits // len(_LANES[kind])
            for number, lane in enumerate(_LANES[kind]):
                for block in range(lane.blocks):
                    for column in range(lane.columns):
                        place = column + _BLOCK * (block - lane.back)
                        if 0 <= place < min(lane.reach, width):
                            seen[number * width + place, _BASES[lane.slot] + column] += ((kind, lane.slot, block),)
        chosen: dict[Any, Signal] = {}
        bits: Value = Const(0, self.quire_bits)
        for place, column, count, when in _runs(seen):
            if when not in chosen:
                chosen[when] = Signal(name=f"choice_{len(chosen)}")
                m.d.comb += chosen[when].eq(
                    one_of([self._flag([kind]) & (sums[slot][4:] == block) for kind, slot, block in when])
                )
            bits = bits | Cat(Const(0, place), columns[column : column + count] & chosen[when].replicate(count))
        m.d.comb += self.magnitude.eq(bits)
        return m


def _runs(pairs: Mapping[tuple[int, int], tuple[Any, ...]]) -> list[tuple[int, int, int, tuple[Any, ...]]]:
    """Return the longest runs in which both numbers count up together and what belongs to them stays the same."""
    found: list[tuple[int, int, int, tuple[Any, ...]]] = []
    for (one, other), what in sorted(pairs.items(), key=lambda item: (item[0][0] - item[0][1], item[0][0])):
        if found:
            first, second, count, before = found[-1]
            if (first + count, second + count, before) == (one, other, what):
                found[-1] = first, second, count + 1, before
                continue
        found.append((one, other, 1, what))
    return found
