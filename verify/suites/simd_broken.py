"""Variants of the SIMD components with one plausible mistake each; a bench that passes one of them proves nothing."""

__all__ = ["BROKEN_SIMD", "ForgetfulArray", "HalfUpEncoder", "LeakingMultiplier", "UncutDecoder", "UncutMac"]

from collections.abc import Sequence
from typing import Any

from amaranth import Const, Module, Value
from amaranth.lib import data

from tetrit.rtl.simd.array import SimdArray
from tetrit.rtl.simd.decoders import OperandDecoder
from tetrit.rtl.simd.encoder import ResultEncoder
from tetrit.rtl.simd.mac import SimdMac
from tetrit.rtl.simd.multiplier import SignificandMultiplier
from tetrit.rtl.simd.readout import SimdReadout
from tetrit.verify.suites.simd_designs import SimdDesigns


class UncutDecoder(OperandDecoder):
    """Bits of the low byte move up into the high byte, also when these are two codes."""

    @staticmethod
    def moved_up(bits: Sequence[Value], index: int, amount: int, moves: Value, whole: Value) -> Value:
        """Take the bytes for one word."""
        return OperandDecoder.moved_up(bits, index, amount, moves, Const(1, 1))


class HalfUpEncoder(ResultEncoder):
    """Ties are rounded up."""

    @staticmethod
    def rounds_up(body: Value, rest: Value) -> Value:
        """Look at neither the code nor what is below the tie."""
        return ~(body[0] & 0)


class HalfUpReadout(SimdReadout):
    """Ties are rounded up."""

    def encoder(self) -> ResultEncoder:
        """Return the broken encoder."""
        return HalfUpEncoder(self.scale_bits)


class UncutMac(SimdMac):
    """Carries cross from one of two lanes to the other."""

    @staticmethod
    def joined(lanes: data.View, slot: int) -> Value:
        """Take two lanes for one."""
        return lanes.one | lanes.two if slot == 2 else SimdMac.joined(lanes, slot)


class LeakingMultiplier(SignificandMultiplier):
    """With two lanes, one product of the lanes' highest bits leaks into the upper lane."""

    def elaborate(self, platform: object) -> Module:
        """Set a bit that should not be."""
        m = super().elaborate(platform)
        with m.If(self.lanes.two & self.a[5] & self.b[12]):
            m.d.comb += self.product[17].eq(1)
        return m


class UnskewedArray(SimdArray):
    """All columns drain the same row at once."""

    @staticmethod
    def delayed(m: Module, value: Any, cycles: int, enable: Value, *, reset_less: bool = True) -> Any:
        """Leave out the delay of the drained row."""
        row = getattr(value, "name", "") == "drain_row"
        return SimdArray.delayed(m, value, 0 if row else cycles, enable, reset_less=reset_less)


class ForgetfulArray(SimdArray):
    """The status bit for NaR is lost with the next result."""

    def elaborate(self, platform: object) -> Module:
        """Clear the bit when a result is handed out."""
        m = super().elaborate(platform)
        with m.If(self.results.valid & self.results.ready):
            m.d.sync += self.nar.eq(0)
        return m


BROKEN_SIMD = SimdDesigns(
    decoder=UncutDecoder,
    encoder=HalfUpEncoder,
    multiplier=LeakingMultiplier,
    mac=UncutMac,
    readout=HalfUpReadout,
    array=UnskewedArray,
)
