"""The shared operand decoder: a 16-bit word of any of the engine's formats into signs, significands and scales."""

__all__ = ["OperandDecoder"]

from collections.abc import Sequence
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

    @classmethod
    def either(cls, first: Value, one: "_Code", other: "_Code") -> "_Code":
        """Return `one` if `first` is set, else `other`."""
        return cls(**{name: Mux(first, value, getattr(other, name)) for name, value in vars(one).items()})


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
    operand : Out(Decoded)
        See there. Slots that the lanes leave idle are undefined but for `nonzero` and `nar`, which are 0.
    """

    def __init__(self, formats: Sequence[str] = SIMD_FORMATS, *, gating: bool = True) -> None:
        self.formats = tuple(formats)
        self.gating = gating
        super().__init__({"word": In(PORT_BITS), "format": In(2), "lanes": In(LaneFlags()), "operand": Out(Decoded())})

    def elaborate(self, platform: object) -> Module:
        """Build both decoders, and choose between them slot by slot."""
        m = Module()
        small, whole = Signal(), Signal()  # a format of 4 bits; of 16
        m.d.comb += [
            small.eq(is_format(self.formats, self.format, "fp4_e2m1", "posit4_1")),
            whole.eq(is_format(self.formats, self.format, "posit16_1")),
        ]
        nibbles = [self.small_code(m, number, small) for number in range(4)]
        low, high, full = self.long_codes(m, small, whole)
        one, four = self.lanes.one, self.lanes.four
        zeroth = _Code.either(small, nibbles[0], low)
        second = _Code.either(small, nibbles[2], high)
        pairs = [nibbles[number].significand[4:6] & four.replicate(2) for number in (1, 3)]
        narrow = Cat(
            (zeroth.significand | Cat(pairs[0], Const(0, 4))) & ~one.replicate(6),
            Const(0, 1),
            Mux(one, zeroth.significand, second.significand | Cat(pairs[1], Const(0, 4))),
        )
        operand = self.operand
        m.d.comb += [
            operand.sign.eq(Cat(Mux(whole, full.sign, zeroth.sign), nibbles[1].sign, second.sign, nibbles[3].sign)),
            operand.scale_0.eq(Mux(whole, full.scale, zeroth.scale)),
            operand.scale_1.eq(nibbles[1].scale),
            operand.scale_2.eq(second.scale),
            operand.scale_3.eq(nibbles[3].scale),
            operand.significand.eq(Mux(whole, full.significand, narrow)),
        ]
        for name in ("nonzero", "nar"):
            flags = [
                Mux(whole, getattr(full, name), getattr(zeroth, name)),
                getattr(nibbles[1], name) & four,
                getattr(second, name) & ~one,
                getattr(nibbles[3], name) & four,
            ]
            m.d.comb += getattr(operand, name).eq(Cat(flags))
        return m

    def small_code(self, m: Module, number: int, small: Value) -> _Code:
        """Decode nibble `number`: a 4-bit posit, or FP4. Significands are two bits above four zeros."""
        code = self.word.word_select(number, 4)
        fp4 = is_format(self.formats, self.format, "fp4_e2m1")
        seen = Signal(4, name=f"nibble_{number}")
        m.d.comb += seen.eq(code & small.replicate(4) if self.gating else code)
        sign, nonzero = seen[3], seen[0:3].any()
        flip = sign & ~fp4
        size = Signal(3, name=f"size_{number}")  # the code of the absolute value
        m.d.comb += size.eq(seen[0:3] ^ Cat(Const(0, 1), flip & seen[0], flip & (seen[0] | seen[1])))
        normal = size[1] | size[2]
        scale = Signal(4, name=f"scale_{number}")
        significand = Signal(6, name=f"significand_{number}")
        most, least = size == 7, size == 1
        m.d.comb += [
            significand.eq(Cat(Const(0, 4), Mux(fp4, size[0], nonzero), fp4 & normal)),
            scale.eq(
                Mux(
                    fp4,
                    Cat(size[2] & ~size[1], size[2] & size[1]),
                    Cat(size[0] & ~most & ~least, size[1] & ~most, size[2] & ~most, most),
                )
            ),
        ]
        return _Code(sign=sign, nonzero=nonzero, nar=flip & ~nonzero, significand=significand, scale=scale)

    def long_codes(self, m: Module, small: Value, whole: Value) -> tuple[_Code, _Code, _Code]:
        """Decode both bytes as posit8_0, and the word as posit16_1; the results are right for either or the other."""
        x, y = Signal(16, name="seen"), Signal(15, name="absolute")
        m.d.comb += x.eq(self.word & ~small.replicate(16) if self.gating else self.word)
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
        (_, low_run), (beyond, high_run) = leading_zeros(list(ends[0:8])), leading_zeros(list(ends[8:16]))
        upper, lower = Signal(3), Signal(3)  # lengths of the regimes
        m.d.comb += [upper.eq(Mux(beyond, low_run, high_run)), lower.eq(Mux(whole, upper, low_run))]
        moved: list[Value] = [y[index] for index in range(14)]
        for stage, amount in ((3, 8), (2, 4), (1, 2), (0, 1)):
            moved = [
                self.moved_up(
                    moved, index, amount, beyond & whole if stage == 3 else (upper, lower)[index < 8][stage], whole
                )
                for index in range(14)
            ]
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
        low = _Code(
            sign=x[7],
            nonzero=nonzero[0],
            nar=x[7] & ~nonzero[0],
            significand=Cat(fraction[1:6], nonzero[0]),
            scale=exponents[0][0:4],
        )
        high = _Code(
            sign=x[15],
            nonzero=nonzero[1],
            nar=x[15] & ~nonzero[1],
            significand=Cat(fraction[9:14], nonzero[1]),
            scale=exponents[1][0:4],
        )
        full = _Code(
            sign=x[15],
            nonzero=nonzero[2],
            nar=x[15] & ~nonzero[2],
            significand=Cat(fraction[1:13], nonzero[2]),
            scale=Cat(fraction[13], exponents[1]),
        )
        return low, high, full

    @staticmethod
    def moved_up(bits: Sequence[Value], index: int, amount: int, moves: Value, whole: Value) -> Value:
        """Return bit `index` of `bits` moved up by `amount` where `moves`; from byte to byte only if it is one word."""
        below: Value = bits[index - amount] if index >= amount else Const(0, 1)
        if index >= 8 > index - amount:
            below = below & whole
        return Mux(moves, below, bits[index])
