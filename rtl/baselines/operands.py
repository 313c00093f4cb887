"""The authority for how a baseline element reads one operand code: sign, significand, scale and flags."""

__all__ = ["Operand", "small_float", "unpacked"]

from dataclasses import dataclass

from amaranth import Cat, Const, Module, Mux, Signal, Value

from tetrit.errors import InvalidValueError
from tetrit.formats import Minifloat, RealFormat
from tetrit.rtl.simd.decoders import OperandDecoder
from tetrit.rtl.simd.modes import FORMAT_CODES, LaneFlags

_POSITS = {"posit4_1": ("four", 4, 2, 4, 0), "posit8_0": ("two", 0, 6, 4, 5), "posit16_1": ("one", 0, 13, 6, 12)}
"""The SIMD engine's decoder as it serves one posit: lanes, where slot 0's significand begins and its width, bits of
the scale that the slot uses, and how many of the significand's bits are a fraction."""


@dataclass(frozen=True, kw_only=True)
class Operand:
    """One decoded operand: ``(-1)**sign * significand * 2**(scale - point)`` in units of its format.

    Attributes
    ----------
    sign : 1 bit
        Of a zero, too.
    significand, scale : unsigned
        Not normalised; the significand of a zero is 0.
    point : int
        Bits of the significand behind its point. What lies behind it after the shift is 0.
    bad : 1 bit
        NaR, NaN or infinity.
    """

    sign: Value
    significand: Value
    scale: Value
    point: int
    bad: Value


def small_float(code: Value, fmt: Minifloat) -> tuple[Value, Value, Value]:
    """Return sign, exponent field and fraction of a code."""
    fraction = fmt.fraction_bits
    return code[-1], code[fraction : fmt.bits - 1], code[:fraction]


def unpacked(m: Module, name: str, code: Value, fmt: RealFormat) -> Operand:
    """Build the decoder of one operand.

    Parameters
    ----------
    m : Module
        What it is built in.
    name : str
        Of the submodule, where there is one.
    code : Value
        As wide as the format.
    fmt : RealFormat
        A small floating-point format or a posit of the SIMD engine.

    Raises
    ------
    InvalidValueError
        For any other format.
    """
    if isinstance(fmt, Minifloat):
        sign, field, fraction = small_float(code, fmt)
        normal = field.any()
        ends = field.all()
        bad: Value = {"none": Const(0, 1), "nan": ends & fraction.all(), "ieee": ends}[fmt.specials]
        return Operand(
            sign=sign, significand=Cat(fraction, normal), scale=(field - normal)[: fmt.exponent_bits], point=0, bad=bad
        )
    if fmt.name not in _POSITS:
        raise InvalidValueError(f"`fmt` must be a floating-point format or one of {', '.join(_POSITS)}, got {fmt.name}")
    kind, start, width, scale_bits, point = _POSITS[fmt.name]
    decoder = OperandDecoder((fmt.name,), gating=False)
    m.submodules[name] = decoder
    m.d.comb += [
        decoder.word.eq(code),
        decoder.format.eq(FORMAT_CODES[fmt.name]),
        decoder.lanes.eq(LaneFlags().const({kind: 1})),
    ]
    operand = decoder.operand
    significand = Signal(width, name=f"{name}_significand")
    m.d.comb += significand.eq(Mux(operand.nonzero[0], operand.significand[start : start + width], 0))
    return Operand(
        sign=operand.sign[0],
        significand=significand,
        scale=operand.scale_0[:scale_bits],
        point=point,
        bad=operand.nar[0],
    )
