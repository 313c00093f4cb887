"""Variants of the components with one plausible mistake each; a bench that passes one of them proves nothing."""

__all__ = ["BROKEN"]

from typing import Any

from amaranth import Module, Mux, Signal, Value, signed

from tetrit.rtl import Downsizer, Requantizer, ShiftPE, ShiftPEArray, SZTDecoder, SZTEncoder, Upsizer, WeightDecoder
from tetrit.verify.suites.designs import Designs
from tetrit.verify.suites.simd_broken import BROKEN_SIMD


class NegatingZeroDecoder(SZTDecoder):
    """-0 negates."""

    def elaborate(self, platform: object) -> Module:
        """Let the sign bit alone decide."""
        m = super().elaborate(platform)
        m.d.comb += self.negate.eq(self.code[1])
        return m


class InclusiveEncoder(SZTEncoder):
    """A value on the positive threshold counts as above it."""

    def elaborate(self, platform: object) -> Module:
        """Compare with ``>=``."""
        m = super().elaborate(platform)
        with m.If(self.value == self.threshold):
            m.d.comb += self.code.eq(0b01)
        return m


class UnsignedDecoder(WeightDecoder):
    """The sign is lost."""

    def elaborate(self, platform: object) -> Module:
        """Never negate."""
        m = super().elaborate(platform)
        m.d.comb += self.weight.negate.eq(0)
        return m


class EndlessUpsizer(Upsizer):
    """The end of a tile is lost."""

    def elaborate(self, platform: object) -> Module:
        """Never say `last`."""
        m = super().elaborate(platform)
        m.d.comb += self.o.payload.last.eq(0)
        return m


class RepeatingDownsizer(Downsizer):
    """The first word of every vector comes twice."""

    def elaborate(self, platform: object) -> Module:
        """Hand out the first word again in place of the second."""
        m = super().elaborate(platform)
        first, number = Signal(self.word_bits), Signal(range(self.words + 1))
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += number.eq(Mux(number == self.words - 1, 0, number + 1))
            with m.If(number == 0):
                m.d.sync += first.eq(self.o.payload.data)
        with m.If(number == 1):
            m.d.comb += self.o.payload.data.eq(first)
        return m


class OnesComplementPE(ShiftPE):
    """The carry-in of the negation is missing."""

    def accumulate(self, m: Module, weight: Any, total: Value) -> Signal:
        """Take the carry away again."""
        short = Signal(signed(self.acc_bits))
        m.d.comb += short.eq(super().accumulate(m, weight, total) - weight.negate)
        return short


class TruncatingRequantizer(Requantizer):
    """The rounding constant is missing."""

    @staticmethod
    def rounded(product: Value, before: Value) -> Value:
        """Round down."""
        return (product >> before) >> 1


class UnskewedArray(ShiftPEArray):
    """Weight stationary: all rows swap banks at once. Output stationary: all columns drain the same row at once."""

    @staticmethod
    def delayed(m: Module, value: Any, cycles: int, enable: Value, *, reset_less: bool = True) -> Any:
        """Leave out the delay of the bank and of the drained row."""
        unskewed = isinstance(value, Signal) and value.name in ("bank", "drain_row")
        return ShiftPEArray.delayed(m, value, 0 if unskewed else cycles, enable, reset_less=reset_less)


BROKEN = Designs(
    decoder=NegatingZeroDecoder,
    encoder=InclusiveEncoder,
    weight_decoder=UnsignedDecoder,
    upsizer=EndlessUpsizer,
    downsizer=RepeatingDownsizer,
    pe=OnesComplementPE,
    requantizer=TruncatingRequantizer,
    array=UnskewedArray,
    simd=BROKEN_SIMD,
)
