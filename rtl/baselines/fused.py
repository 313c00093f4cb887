"""The authority for floating-point multiply-add: an FP8 product added to a wider IEEE number, rounded once."""

__all__ = ["ACCUMULATORS", "FloatFormat", "FloatMultiplyAdd"]

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.formats import Minifloat
from tetrit.rtl.baselines.arithmetic import ADDERS, Adders, added, multiplied
from tetrit.rtl.baselines.operands import small_float
from tetrit.rtl.simd.decoders import leading_zeros

_EXTRA = 3
"""Bits below the unit in the last place: guard, one for a shift by one place, and whether anything lies below."""


@dataclass(frozen=True, kw_only=True)
class FloatFormat:
    """A binary interchange format of IEEE 754.

    Attributes
    ----------
    exponent_bits, fraction_bits : int
        Widths of both fields.
    """

    exponent_bits: int
    fraction_bits: int

    def __post_init__(self) -> None:
        checks.integer("exponent_bits", self.exponent_bits, minimum=2)
        checks.integer("fraction_bits", self.fraction_bits)

    @property
    def bits(self) -> int:
        """Width of a number."""
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def bias(self) -> int:
        """What is subtracted from the exponent field."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def infinity(self) -> int:
        """The code of plus infinity."""
        return ((1 << self.exponent_bits) - 1) << self.fraction_bits

    @property
    def nan(self) -> int:
        """The code of the NaN that is the result of invalid operations: quiet, positive, no payload."""
        return self.infinity | 1 << (self.fraction_bits - 1)


ACCUMULATORS: Mapping[str, FloatFormat] = MappingProxyType(
    {
        "fp16": FloatFormat(exponent_bits=5, fraction_bits=10),
        "fp32": FloatFormat(exponent_bits=8, fraction_bits=23),
    }
)
"""Accumulator formats by name."""


@dataclass(frozen=True, kw_only=True)
class _Term:
    """What is added: sign, significand with the leading bit on top, and exponent in the accumulator's biased units."""

    sign: Value
    significand: Value
    exponent: Value
    nan: Value
    infinite: Value


class FloatMultiplyAdd(wiring.Component):
    """Return ``a * b + c`` rounded once, to nearest, ties to even.

    Combinational. The product is exact. Subnormal numbers are numbers like any other, on all sides. Overflow gives
    infinity. NaN among the operands, zero times infinity, and infinity minus infinity give the format's `nan`. A sum
    that is exactly zero is positive unless both addends are negative zeros. All of this is IEEE 754's default; FP8-E4M3
    has no infinity, and one NaN of each sign.

    One path for all cases: the term with the smaller exponent moves right, what falls off is one sticky bit, the
    difference is made positive if need be, and the sum moves left as far as its leading zeros and the least exponent
    allow. Plain, not tuned: no separate near and far path, no leading-zero anticipation.

    Parameters
    ----------
    operands : str
        ``"fp8_e4m3"`` or ``"fp8_e5m2"``.
    accumulator : str
        One of `ACCUMULATORS`.
    adders : {"fast", "compact"}
        What adders and multiplier are built of, see `tetrit.rtl.baselines.arithmetic`.

    Members
    -------
    a, b : In(8)
        Codes of the factors.
    c, y : In(bits), Out(bits)
        Codes of the addend and of the result.
    """

    def __init__(self, operands: str, accumulator: str, *, adders: Adders = "fast") -> None:
        found = formats.get(operands)
        if not isinstance(found, Minifloat) or not found.fraction_bits or found.bits > 8:
            raise InvalidValueError(f"`operands` must be a floating-point format of at most 8 bits, got {operands}")
        self.operands = found
        checks.choice("accumulator", accumulator, tuple(ACCUMULATORS))
        self.accumulator = ACCUMULATORS[accumulator]
        checks.choice("adders", adders, ADDERS)
        self.adders: Adders = adders
        bits = self.accumulator.bits
        super().__init__({"a": In(found.bits), "b": In(found.bits), "c": In(bits), "y": Out(bits)})

    def elaborate(self, platform: object) -> Module:
        """Build product, sum, rounding and special cases."""
        m = Module()
        product, addend = self._product(m), self._addend()
        y = self._rounded(m, product, addend)
        invalid = product.nan | addend.nan
        invalid |= product.infinite & addend.infinite & (product.sign ^ addend.sign)
        with m.If(invalid):
            m.d.comb += self.y.eq(self.accumulator.nan)
        with m.Elif(product.infinite | addend.infinite):
            sign = Mux(product.infinite, product.sign, addend.sign)
            m.d.comb += self.y.eq(Cat(Const(self.accumulator.infinity, self.accumulator.bits - 1), sign))
        with m.Else():
            m.d.comb += self.y.eq(y)
        return m

    def _factor(self, m: Module, name: str, code: Value) -> _Term:
        """Decode a factor; the significand of a subnormal number moves up to its leading bit."""
        fmt = self.operands
        sign, field, fraction = small_float(code, fmt)
        normal = field.any()
        significand = Signal(fmt.fraction_bits + 1, name=f"{name}_significand")
        exponent = Signal(signed(fmt.exponent_bits + 2), name=f"{name}_exponent")
        with m.If(normal):
            m.d.comb += [significand.eq(Cat(fraction, 1)), exponent.eq(field)]
        for zeros in range(fmt.fraction_bits):
            with m.Elif(fraction[-1 - zeros]):
                m.d.comb += [significand.eq(fraction << (zeros + 1)), exponent.eq(-zeros)]
        ends = field.all()
        nan: Value = Const(0, 1)
        infinite: Value = Const(0, 1)
        if fmt.specials == "nan":
            nan = ends & fraction.all()
        elif fmt.specials == "ieee":
            nan, infinite = ends & fraction.any(), ends & ~fraction.any()
        return _Term(sign=sign, significand=significand, exponent=exponent, nan=nan, infinite=infinite)

    def _product(self, m: Module) -> _Term:
        """Multiply; the product's leading bit is its first, or it is zero, with an exponent below all others."""
        a, b = self._factor(m, "a", self.a), self._factor(m, "b", self.b)
        width = len(a.significand) + len(b.significand)
        raw = Signal(width, name="raw_product")
        significand = Signal(self.accumulator.fraction_bits + 1, name="product")
        offset = self.accumulator.bias - 2 * self.operands.bias
        top = 2 ** (self.operands.exponent_bits + 1) + abs(offset) + 1
        exponent = Signal(signed(top.bit_length() + 1), name="product_exponent")
        zero_a, zero_b = ~a.significand.any(), ~b.significand.any()
        room = len(significand) - width
        m.d.comb += [
            raw.eq(multiplied(m, self.adders, a.significand, b.significand)),
            significand.eq(Mux(raw[-1], raw, raw << 1) << room),
        ]
        both = added(m, self.adders, a.exponent, b.exponent, raw[-1], len(exponent)).as_signed()
        moved = added(m, self.adders, both, Const(offset, signed(len(exponent))), 0, len(exponent))
        m.d.comb += exponent.eq(Mux(zero_a | zero_b, 0, moved.as_signed()))
        return _Term(
            sign=a.sign ^ b.sign,
            significand=significand,
            exponent=exponent,
            nan=a.nan | b.nan | (a.infinite & zero_b) | (b.infinite & zero_a),
            infinite=a.infinite | b.infinite,
        )

    def _addend(self) -> _Term:
        """Decode the addend."""
        fraction_bits = self.accumulator.fraction_bits
        fraction, field = self.c[:fraction_bits], self.c[fraction_bits:-1]
        normal, ends = field.any(), field.all()
        return _Term(
            sign=self.c[-1],
            significand=Cat(fraction, normal),
            exponent=field | ~normal,
            nan=ends & fraction.any(),
            infinite=ends & ~fraction.any(),
        )

    def _rounded(self, m: Module, product: _Term, addend: _Term) -> Value:
        """Add two finite terms and round."""
        fmt = self.accumulator
        width = fmt.fraction_bits + 1
        gap = Signal(signed(len(product.exponent) + 1))
        larger = Signal()  # the product's exponent is, or both are the same
        m.d.comb += [
            gap.eq(
                added(m, self.adders, product.exponent, ~Cat(addend.exponent, Const(0, 1)).as_signed(), 1, len(gap))
            ),
            larger.eq(~gap[-1]),
        ]
        distance = Signal(len(gap))
        big, small = Signal(width), Signal(width)
        exponent = Signal(len(product.exponent))
        m.d.comb += [
            distance.eq(self._made_positive(m, gap)),
            big.eq(Mux(larger, product.significand, addend.significand)),
            small.eq(Mux(larger, addend.significand, product.significand)),
            exponent.eq(Mux(larger, product.exponent, addend.exponent)),
        ]
        moved = self._aligned(m, Cat(Const(0, _EXTRA), small), distance)
        subtract = product.sign ^ addend.sign
        difference = Signal(signed(width + _EXTRA + 2))
        total = Signal(width + _EXTRA + 1)
        turned = (Cat(moved, Const(0, 2)) ^ subtract.replicate(len(difference))).as_signed()
        m.d.comb += [
            difference.eq(added(m, self.adders, Cat(Const(0, _EXTRA), big), turned, subtract, len(difference))),
            total.eq(self._made_positive(m, difference)),
        ]
        negative = Mux(larger, product.sign, addend.sign) ^ difference[-1]
        size = 1 << (len(total) - 1).bit_length()
        none, zeros = leading_zeros(list(Cat(Const(0, size - len(total)), total)))
        count = Signal(size.bit_length() - 1)
        subnormal = Signal()
        room = Signal.like(count)
        m.d.comb += [
            count.eq(zeros),
            subnormal.eq(count > exponent),
            room.eq(Mux(subnormal, exponent, count)),
        ]
        shifted = Signal(len(total))
        field = Signal(len(exponent) + 1)  # the exponent's, less 1 for a normal number: its leading bit is added to it
        reached = added(m, self.adders, exponent, ~Cat(count, Const(0, 1)).as_signed(), 1, len(field))
        m.d.comb += [
            shifted.eq(total << room),
            field.eq(Mux(subnormal | none, 0, reached)),
        ]
        below = len(total) - width
        up = shifted[below - 1] & (shifted[: below - 1].any() | shifted[below])
        kept, leading = Cat(shifted[below:-1], field), Cat(Const(0, fmt.fraction_bits), shifted[-1])
        packed = Signal(len(kept))
        m.d.comb += packed.eq(added(m, self.adders, kept, leading, up, len(packed)))
        overflow = packed >= fmt.infinity
        sign = Mux(none, product.sign & addend.sign, negative)
        return Cat(Mux(overflow, fmt.infinity, packed)[: fmt.bits - 1], sign)

    def _made_positive(self, m: Module, number: Value) -> Value:
        """Return the absolute value."""
        flipped = number ^ number[-1].replicate(len(number))
        return added(m, self.adders, flipped, Const(0, 1), number[-1], len(number))

    def _aligned(self, m: Module, value: Value, distance: Value) -> Value:
        """Move right; the lowest bit says whether any bit has fallen off or lies there."""
        stages = (len(value) - 1).bit_length()
        lost: Value = Const(0, 1)
        for stage in range(stages):
            amount = 1 << stage
            row = Signal(len(value), name=f"moved_{stage}")
            fallen = Signal(name=f"fallen_{stage}")
            m.d.comb += [
                row.eq(Mux(distance[stage], value[amount:], value)),
                fallen.eq(lost | (distance[stage] & value[:amount].any())),
            ]
            value, lost = row, fallen
        far = distance[stages:].any()
        kept = Signal(len(value), name="aligned")
        m.d.comb += [
            kept[1:].eq(Mux(far, 0, value[1:])),
            kept[0].eq(lost | Mux(far, value.any(), value[0])),
        ]
        return kept
