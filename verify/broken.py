"""Variants of the components with one plausible mistake each; a bench that passes one of them proves nothing."""

__all__ = ["BROKEN"]

from typing import Any

from amaranth import Module, Mux, Signal, Value, signed

from tetrit.rtl import Requantizer, ShiftPE, ShiftPEArray, SZTDecoder, SZTEncoder
from tetrit.verify.suites.designs import Designs


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


class OnesComplementPE(ShiftPE):
    """The carry-in of the negation is missing."""

    def accumulate(self, m: Module, weight: Any, total: Value) -> Signal:
        """Take the carry away again."""
        short = Signal(signed(self.acc_bits))
        m.d.comb += short.eq(super().accumulate(m, weight, total) - weight.negate)
        return short


class TruncatingRequantizer(Requantizer):
    """The rounding constant is missing."""

    def elaborate(self, platform: object) -> Module:
        """Build the two stages without it."""
        m = Module()
        high, low = 2 ** (self.out_bits - 1) - 1, -(2 ** (self.out_bits - 1))
        product = Signal(signed(self.max_shift))
        shift = Signal(range(self.max_shift + 1))
        relu, first, second = Signal(), Signal(), Signal()
        result = Signal(signed(self.out_bits))
        shifted = product >> shift
        floor = Mux(relu, 0, low)
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            self.o.valid.eq(second),
            self.o.payload.eq(result),
        ]
        with m.If(self.i.ready):
            m.d.sync += [
                first.eq(self.i.valid),
                second.eq(first),
                product.eq(self.i.payload.acc * self.i.payload.multiplier),
                shift.eq(self.i.payload.shift),
                relu.eq(self.i.payload.relu),
                result.eq(Mux(shifted < floor, floor, Mux(shifted > high, high, shifted))),
            ]
        return m


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
    pe=OnesComplementPE,
    requantizer=TruncatingRequantizer,
    array=UnskewedArray,
)
