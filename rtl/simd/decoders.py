"""The shared operand decoder: a 16-bit word of any of the engine's formats into signs, significands and scales."""

__all__ = ["OperandDecoder", "PositDecoder"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit.hardware.simd_engine import PORT_BITS, SIMD_FORMATS
from tetrit.rtl.simd.modes import Decoded, LaneFlags, is_format


@dataclass(frozen=True, kw_only=True)
class _Code:
    """One decoded code; `significand` with its hidden bit."""

    sign: Value
    nonzero: Value
    nar: Value
    significand: Value
    scale: Value


def leading_zeros(bits: Sequence[Value]) -> tuple[Value, Value]:
    """Return whether all bits are 0, and how many are above the highest 1; `bits` from low to high, a power of two."""
    if len(bits) == 1:
        return ~bits[0], Const(0, 0)
    half = len(bits) // 2
    low_none, low_count = leading_zeros(bits[:half])
    high_none, high_count = leading_zeros(bits[half:])
    return low_none & high_none, Cat(Mux(high_none, low_count, high_count), high_none)


class OperandDecoder(wiring.Component):
    """Decode four 4-bit, two 8-bit or one 16-bit operands, or a narrower one in each of fewer lanes.

    Combinational. One posit decoder serves 16 bits, or 8 bits twice: one row of inverters for negative codes, two
    counters of regimes that join to one, one shifter that takes the regime away. Four small decoders serve the 4-bit
    formats.

    Parameters
    ----------
    formats : sequence of str
        Formats that it knows, of `tetrit.hardware.simd_engine.SIMD_FORMATS`.
    gating : bool
        Whether the decoder that a format does not need sees zeros.

    Members
    -------
    word : In(16)
        Codes; that of a format narrower than its lane in the lane's low bits, whatever the others are.
    format : In(2)
        As `tetrit.rtl.simd.modes.FORMAT_CODES`.
    lanes : In(LaneFlags)
        Lanes of the pair that this operand is of.
    powers : In(1)
        No significand is needed: both operands are of posit4_1. They are 0.
    operand : Out(Decoded)
        See there. Slots that the lanes leave idle are undefined but for `nonzero` and `nar`, which are 0.
    """

    def __init__(self, formats: Sequence[str] = SIMD_FORMATS, *, gating: bool = True) -> None:
        self.formats = tuple(formats)
        self.gating = gating
        super().__init__(
            {
                "word": In(PORT_BITS),
                "format": In(2),
                "lanes": In(LaneFlags()),
                "powers": In(1),
                "operand": Out(Decoded()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build both decoders, and choose between them slot by slot."""
        m = Module()
        small = Signal()  # a format of 4 bits
        m.submodules.posits = posits = PositDecoder(self.moved_up)
        m.d.comb += [
            small.eq(is_format(self.formats, self.format, "fp4_e2m1", "posit4_1")),
            posits.word.eq(self.word & ~small.replicate(16) if self.gating else self.word),
            posits.whole.eq(is_format(self.formats, self.format, "posit16_1")),
            posits.one.eq(self.lanes.one),
        ]
        nibbles = [self.small_code(m, number, small) for number in range(4)]
        operand, wide = self.operand, posits.operand
        one, four = self.lanes.one, self.lanes.four
        places = [nibbles[1].significand & four.replicate(2), nibbles[0].significand & ~one.replicate(2)]
        places += [nibbles[3].significand & four.replicate(2)]
        places += [Mux(one, nibbles[0].significand, nibbles[2].significand)]
        narrow = Cat(places[0], Const(0, 2), places[1], Const(0, 1), places[2], Const(0, 2), places[3])
        m.d.comb += [
            operand.significand.eq(self._either(small, narrow, wide.significand)),
            operand.scale_0.eq(Mux(small, nibbles[0].scale, wide.scale_0)),
            operand.scale_1.eq(nibbles[1].scale),
            operand.scale_2.eq(Mux(small, nibbles[2].scale, wide.scale_2)),
            operand.scale_3.eq(nibbles[3].scale),
        ]
        used = (Const(1, 1), four, ~one, four)
        for name in ("sign", "nonzero", "nar"):
            own = Cat(
                getattr(nibble, name) & (Const(1, 1) if name == "sign" else flag)
                for nibble, flag in zip(nibbles, used, strict=True)
            )
            m.d.comb += getattr(operand, name).eq(self._either(small, own, getattr(wide, name)))
        return m

    def _either(self, small: Value, narrow: Value, wide: Value) -> Value:
        """Return what the decoder in use gives; with gating, the other one gives zeros."""
        return narrow | wide if self.gating else Mux(small, narrow, wide)

    def small_code(self, m: Module, number: int, small: Value) -> _Code:
        """Decode nibble `number`: a 4-bit posit, or FP4."""
        code = self.word.word_select(number, 4)
        fp4 = is_format(self.formats, self.format, "fp4_e2m1")
        seen = Signal(4, name=f"nibble_{number}")
        m.d.comb += seen.eq(code & small.replicate(4) if self.gating else code)
        sign, nonzero = seen[3], seen[0:3].any()
        flip = sign & ~fp4
        size = Signal(3, name=f"size_{number}")  # the code of the absolute value
        m.d.comb += size.eq(seen[0:3] ^ Cat(Const(0, 1), flip & seen[0], flip & (seen[0] | seen[1])))
        scale = Signal(4, name=f"scale_{number}")
        significand = Signal(2, name=f"significand_{number}")
        most, least = size == 7, size == 1
        m.d.comb += [
            significand.eq(Cat(Mux(fp4, seen[0], nonzero & ~self.powers), fp4 & (seen[1] | seen[2]))),
            scale.eq(
                Mux(
                    fp4,
                    Cat(seen[2] & ~seen[1], seen[2] & seen[1]),
                    Cat(size[0] & ~most & ~least, size[1] & ~most, size[2] & ~most, most),
                )
            ),
        ]
        return _Code(sign=sign, nonzero=nonzero, nar=flip & ~nonzero, significand=significand, scale=scale)

    @staticmethod
    def moved_up(bits: Sequence[Value], index: int, amount: int, moves: Value, whole: Value) -> Value:
        """Return bit `index` of `bits` moved up by `amount` where `moves`; from byte to byte only if it is one word."""
        below: Value = bits[index - amount] if index >= amount else Const(0, 1)
        if index >= 8 > index - amount:
            below = below & whole
        return Mux(moves, below, bits[index])


class PositDecoder(wiring.Component):
    """Decode a word as two codes of posit8_0, or as one of posit16_1.

    Combinational. One row of inverters for negative codes, two counters of regimes that join to one, one shifter that
    takes the regime away.

    Parameters
    ----------
    moved_up : callable
        As `OperandDecoder.moved_up`.

    Members
    -------
    word : In(16)
        Codes.
    whole : In(1)
        It is one code.
    one : In(1)
        There is one lane: of two codes, only the lower one counts.
    operand : Out(Decoded)
        See there, but for slots 1 and 3. Zeros give zeros, except for scales.
    """

    def __init__(self, moved_up: Callable[..., Value]) -> None:
        self._moved_up = moved_up
        super().__init__({"word": In(PORT_BITS), "whole": In(1), "one": In(1), "operand": Out(Decoded())})

    def elaborate(self, platform: object) -> Module:
        """Take absolute values, count, move, and place the significands."""
        m = Module()
        x, whole, operand = self.word, self.whole, self.operand
        y = Signal(15, name="absolute")
        signs = Signal(2)  # of the low byte, of the high byte or word
        m.d.comb += signs.eq(Cat(Mux(whole, x[15], x[7]), x[15]))
        below: Value = Const(0, 1)  # whether a lower bit of the code is set
        for index in range(15):
            if index == 8:
                below = below & whole
            m.d.comb += y[index].eq(x[index] ^ (signs[index // 8] & below))
            below = below | x[index]
        rest = x[0:7].any(), x[8:15].any()
        ends = Signal(16)  # where the regime ends; runs of each byte begin with an empty place
        m.d.comb += ends.eq(
            Cat(1, y[1:7] ^ y[0:6], whole & (y[7] ^ y[6]), ~whole | (y[8] ^ y[7]), y[9:15] ^ y[8:14], 0)
        )
        found = leading_zeros(list(ends[0:8])), leading_zeros(list(ends[8:16]))
        low_run, high_run, beyond = Signal(3), Signal(3), Signal()  # named, or Amaranth would repeat what bits share
        m.d.comb += [low_run.eq(found[0][1]), high_run.eq(found[1][1]), beyond.eq(found[1][0])]
        upper, lower = Signal(3), Signal(3)  # lengths of the regimes
        m.d.comb += [upper.eq(Mux(beyond, low_run, high_run)), lower.eq(Mux(whole, upper, low_run))]
        moved: list[Value] = [y[index] for index in range(14)]
        for stage, amount in ((3, 8), (2, 4), (1, 2), (0, 1)):
            moved = [
                self._moved_up(
                    moved, index, amount, beyond & whole if stage == 3 else (upper, lower)[index < 8][stage], whole
                )
                for index in range(14)
            ]
            row = Signal(14, name=f"moved_{stage}")
            m.d.comb += row.eq(Cat(moved))
            moved = list(row)
        fraction = Cat(moved)
        exponents = []
        for run, leads, wide in (
            (Cat(low_run, Const(0, 1)), y[6], Const(0, 1)),
            (Cat(upper, beyond & whole), y[14], whole),
        ):
            falls = ~leads
            constant = Cat(Const(1, 1), falls, Const(1, 1), wide, falls)  # 13 or -1; for 8 bits 5 or -9
            exponents.append(((run ^ falls.replicate(4)) + constant)[0:5])
        nonzero = rest[0], rest[1], rest[0] | rest[1] | x[7]
        sign = Mux(whole, x[15], x[7]), x[15]
        low, high = fraction[1:6], fraction[9:14]
        wide = Cat(fraction[1:13], nonzero[2])
        narrow = Cat(low, nonzero[0]), Cat(high, nonzero[1])
        first, some = Mux(whole, nonzero[2], nonzero[0]), nonzero[1] & ~self.one
        bytes_ = Mux(self.one, Cat(Const(0, 7), narrow[0]), Cat(narrow[0], Const(0, 1), narrow[1]))
        m.d.comb += [
            operand.sign.eq(Cat(sign[0], Const(0, 1), sign[1], Const(0, 1))),
            operand.nonzero.eq(Cat(first, Const(0, 1), some, Const(0, 1))),
            operand.nar.eq(Cat(sign[0] & ~first, Const(0, 1), sign[1] & ~nonzero[1] & ~self.one, Const(0, 1))),
            operand.significand.eq(Mux(whole, wide, bytes_)),
            operand.scale_0.eq(Mux(whole, Cat(fraction[13], exponents[1]), exponents[0][0:4])),
            operand.scale_2.eq(exponents[1][0:4]),
        ]
        return m
