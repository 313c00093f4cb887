"""The alignment shifter that all lanes share: products to their places in the quires."""

__all__ = ["Aligner"]

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit.rtl.simd.modes import LaneFlags, one_of

_BLOCK = 16
_BASES = (0, 17, 34, 51)
"""Where each slot's columns of the fine shifter begin: one more than a block apart, as a product of two 4-bit codes
reaches column 8 at most before it moves by 8. Two lanes use the columns of two slots each, one lane those of three."""

_COLUMNS = 67


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
    "four": tuple(
        _Lane(slot=slot, low=low, bits=4, column=0, columns=16, back=0, blocks=2, reach=17)
        for slot, low in ((0, 8), (1, 0), (2, 22), (3, 14))
    ),
}


class Aligner(wiring.Component):
    """Move the product of each lane to where its scale says, in the segment of the quire register that is the lane's.

    Combinational. Two stages: products move by 0 to 15 in one row of columns that the lanes divide among them, then by
    blocks of 16, which is a choice among few.

    Parameters
    ----------
    quire_bits : int
        Width of the quire register.
    kinds : iterable of {"one", "two", "four"}
        Lanes that it is built for.

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

    def __init__(self, quire_bits: int, kinds: Iterable[str] = tuple(_LANES)) -> None:
        self.quire_bits = quire_bits
        self.kinds = tuple(kind for kind in _LANES if kind in set(kinds))
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
        """Build both stages."""
        m = Module()
        columns = self._entered(m)
        live = {column for column, bit in enumerate(columns) if not isinstance(bit, Const)}
        sums = (self.sum_0, self.sum_1, self.sum_2, self.sum_3)
        amounts = [Signal(4, name=f"amount_{slot}") for slot in range(4)]
        for slot, amount in enumerate(amounts):
            of_two = sums[slot - slot % 2]
            m.d.comb += amount.eq(Mux(self.lanes.four, sums[slot], Mux(self.lanes.two, of_two, self.sum_0))[0:4])
        for stage in range(4):
            step = 1 << stage
            live |= {column + step for column in live if column + step < _COLUMNS}
            moved = []
            for column in range(_COLUMNS):
                slot = max(index for index, base in enumerate(_BASES) if base <= column)
                below = columns[column - step] if column >= step else Const(0, 1)
                moved.append(Mux(amounts[slot][stage], below, columns[column]) if column in live else Const(0, 1))
            columns = moved
        return self._placed(m, columns)

    def _flag(self, kinds: Iterable[str]) -> Value:
        """Return whether the lanes are of one of some kinds."""
        wanted = set(kinds)
        return Const(1, 1) if wanted >= set(self.kinds) else one_of([getattr(self.lanes, k) for k in sorted(wanted)])

    def _entered(self, m: Module) -> list[Value]:
        """Return the columns with the products in them."""
        sources: dict[tuple[int, int], list[str]] = defaultdict(list)
        for kind in self.kinds:
            for lane in _LANES[kind]:
                for bit in range(lane.bits):
                    sources[_BASES[lane.slot] + lane.column + bit, lane.low + bit].append(kind)
        columns: list[Value] = [Const(0, 1)] * _COLUMNS
        for (column, bit), kinds in sources.items():
            entering = self.product[bit] & self._flag(kinds)
            columns[column] = entering if isinstance(columns[column], Const) else columns[column] | entering
        return columns

    def _placed(self, m: Module, columns: list[Value]) -> Module:
        """Choose the block that each bit of the quire sees."""
        sums = (self.sum_0, self.sum_1, self.sum_2, self.sum_3)
        seen: dict[tuple[int, int], list[tuple[str, int, int]]] = defaultdict(list)
        for kind in self.kinds:
            width = self.quire_bits // len(_LANES[kind])
            for number, lane in enumerate(_LANES[kind]):
                for block in range(lane.blocks):
                    for column in range(lane.columns):
                        place = column + _BLOCK * (block - lane.back)
                        if 0 <= place < min(lane.reach, width):
                            key = (number * width + place, _BASES[lane.slot] + column)
                            seen[key].append((kind, lane.slot, block))
        chosen: dict[tuple[tuple[str, int, int], ...], Signal] = {}
        bits: list[Value] = [Const(0, 1)] * self.quire_bits
        for (place, column), conditions in sorted(seen.items()):
            if isinstance(columns[column], Const):
                continue
            when = tuple(conditions)
            if when not in chosen:
                chosen[when] = Signal(name=f"choice_{len(chosen)}")
                m.d.comb += chosen[when].eq(
                    one_of([self._flag([kind]) & (sums[slot][4:] == block) for kind, slot, block in when])
                )
            part = columns[column] & chosen[when]
            bits[place] = part if isinstance(bits[place], Const) else bits[place] | part
        m.d.comb += self.magnitude.eq(Cat(bits))
        return m
