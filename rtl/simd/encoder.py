"""The shared encoder: a normalised number to the code of any of the engine's formats, rounded once."""

__all__ = ["FRACTION_BITS", "ResultEncoder"]

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit.formats import get
from tetrit.hardware.simd_engine import PORT_BITS, SIMD_FORMATS
from tetrit.rtl.simd.modes import FORMAT_CODES, is_format

FRACTION_BITS = 13
"""Bits below the leading one that a code or its rounding can depend on one by one; what is below them is sticky."""

_POSITS = tuple(name for name in SIMD_FORMATS if name.startswith("posit"))


class ResultEncoder(wiring.Component):
    """Round ``(-1)**negative * 1.fraction * 2**scale`` to a code.

    Combinational; exactly the rounding of `tetrit.formats`: posits at the borders of the posit standard, never to zero
    or NaR; FP4 to nearest and saturating; ties to the even code.

    Parameters
    ----------
    scale_bits : int
        Width of the scale.

    Members
    -------
    format : In(2)
        As `tetrit.rtl.simd.modes.FORMAT_CODES`.
    negative, zero, nar : In(1)
        Sign; that the number is 0; that it is NaR, whatever the others say.
    scale : In(signed(scale_bits))
        Exponent of the leading one.
    fraction : In(13)
        Bits below the leading one.
    sticky : In(1)
        Whether any bit below those is set.
    code : Out(16)
        The code; bits above the format's width are 0. NaR in FP4, which has none, is ``0b1111``.
    """

    def __init__(self, scale_bits: int = 10) -> None:
        self.scale_bits = scale_bits
        super().__init__(
            {
                "format": In(2),
                "negative": In(1),
                "zero": In(1),
                "nar": In(1),
                "scale": In(signed(scale_bits)),
                "fraction": In(FRACTION_BITS),
                "sticky": In(1),
                "code": Out(PORT_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the string of bits to be rounded, and round it."""
        m = Module()
        is_fp4, is_posit8 = (is_format(SIMD_FORMATS, self.format, name) for name in ("fp4_e2m1", "posit8_0"))
        bits, dropped = Signal(16), Signal()  # bits of the code and beyond, the first in the highest place
        over, under = Signal(), Signal()
        with m.If(is_fp4):
            self._minifloat_string(m, bits, dropped, over, under)
        with m.Else():
            self._posit_string(m, bits, dropped, over, under, is_posit8)
        body, guard, rest = Signal(15), Signal(), Signal()
        widths = {name: get(name).bits - 1 for name in SIMD_FORMATS}
        with m.Switch(self.format):
            for name, width in widths.items():
                with m.Case(FORMAT_CODES[name]):
                    m.d.comb += [
                        body.eq(bits[16 - width :]),
                        guard.eq(bits[15 - width]),
                        rest.eq(dropped | bits[: 15 - width].any()),
                    ]
        largest = Array((1 << widths[name]) - 1 for name in SIMD_FORMATS)[self.format]
        size, rounded = Signal(15), Signal(16)
        up = guard & self.rounds_up(body, rest)
        kept = Mux(under, Mux(is_fp4, 0, 1), Mux(over, largest, body))
        m.d.comb += size.eq(kept)
        added = up & ~over & ~under & ~(body == largest)
        least = ~is_fp4 & (size == 0) & ~added  # a posit above zero is not rounded to zero
        m.d.comb += rounded.eq(size + (added | least))
        negated = Signal(16)
        m.d.comb += negated.eq(Mux(is_fp4, rounded | 8, ~rounded + 1))
        mask = Array((1 << (widths[name] + 1)) - 1 for name in SIMD_FORMATS)[self.format]
        not_real = Array([15, *(1 << widths[name] for name in SIMD_FORMATS[1:])])[self.format]
        with m.If(self.nar):
            m.d.comb += self.code.eq(not_real)
        with m.Elif(~self.zero):
            m.d.comb += self.code.eq(Mux(self.negative, negated & mask, rounded))
        return m

    @staticmethod
    def rounds_up(body: Value, rest: Value) -> Value:
        """Return whether a number with a 1 behind its code is rounded up."""
        return body[0] | rest

    def _posit_string(self, m: Module, bits: Value, dropped: Value, over: Value, under: Value, flat: Value) -> None:
        """Write regime, exponent and fraction; `flat` says that there is no exponent bit."""
        regime = Signal(signed(self.scale_bits))
        m.d.comb += regime.eq(Mux(flat, self.scale, self.scale >> 1))
        falls = regime[-1]
        tail = Mux(flat, Cat(Const(0, 1), self.fraction), Cat(self.fraction, self.scale[0]))
        string = Cat(tail, falls, ~falls)  # 16 bits: the last two of a regime of one place, the rest
        run = Signal(self.scale_bits)
        m.d.comb += run.eq(regime ^ falls.replicate(self.scale_bits))
        limits = {name: get(name).bits - 2 for name in _POSITS}
        limit = Array(limits.get(name, 0) for name in SIMD_FORMATS)[self.format]
        beyond = run[4:].any() | (run[:4] > limit)
        moved = Cat(string, (~falls).replicate(16)) >> run[:4]
        lost = (Cat(Const(0, 16), string) >> run[:4])[:16]
        m.d.comb += [
            bits.eq(moved[:16]),
            dropped.eq(self.sticky | lost.any()),
            over.eq(beyond & ~falls),
            under.eq(beyond & falls),
        ]

    def _minifloat_string(self, m: Module, bits: Value, dropped: Value, over: Value, under: Value) -> None:
        """Write exponent and fraction of FP4: subnormal below 1, nothing that rounds to more than 0 below 1/4."""
        m.d.comb += [over.eq(self.scale > 2), under.eq(self.scale < -2), dropped.eq(self.sticky)]
        with m.If(self.scale == -2):
            m.d.comb += bits.eq(Cat(self.fraction[1:], Const(1, 1), Const(0, 3)))
        with m.Elif(self.scale == -1):
            m.d.comb += bits.eq(Cat(self.fraction, Const(1, 1), Const(0, 2)))
        with m.Else():
            exponent = (self.scale[:2] + 1)[:2]
            m.d.comb += bits.eq(Cat(Const(0, 1), self.fraction, exponent))
        with m.If(self.scale == -2):
            m.d.comb += dropped.eq(self.sticky | self.fraction[0])
