"""Which classes a verification run builds: the real components, or variants of them in tests."""

__all__ = ["DESIGNS", "DecodedPE", "Designs"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit.formats import RealFormat
from tetrit.hardware.shift_array import Dataflow
from tetrit.rtl import Downsizer, Requantizer, ShiftPE, ShiftPEArray, SZTDecoder, SZTEncoder, Upsizer, WeightDecoder
from tetrit.rtl.coprocessor import MatmulCoprocessor
from tetrit.verify.suites.simd_designs import SIMD_DESIGNS, SimdDesigns


@dataclass(frozen=True, kw_only=True)
class Designs:
    """The classes under test, or what makes their instances."""

    decoder: Callable[..., Any] = SZTDecoder
    encoder: Callable[..., Any] = SZTEncoder
    weight_decoder: Callable[..., Any] = WeightDecoder
    upsizer: Callable[..., Any] = Upsizer
    downsizer: Callable[..., Any] = Downsizer
    pe: Callable[..., Any] = ShiftPE
    requantizer: Callable[..., Any] = Requantizer
    array: Callable[..., Any] = ShiftPEArray
    simd: SimdDesigns = SIMD_DESIGNS
    coprocessor: Callable[..., Any] = MatmulCoprocessor


DESIGNS = Designs()


class DecodedPE(wiring.Component):  # type: ignore[misc]  # Amaranth carries no types
    """A `ShiftPE` behind a `WeightDecoder`, so that a bench can speak in weight codes.

    Members
    -------
    code : In(weights.bits)
        Replaces `weight_in`.

    All other members are the element's own, except `weight_out`.
    """

    def __init__(
        self, pe: Callable[..., Any], weights: RealFormat, act_bits: int, acc_bits: int, dataflow: Dataflow
    ) -> None:
        self.pe: Any = pe(weights, act_bits, acc_bits, dataflow)
        self.decoder: Any = WeightDecoder(weights)
        shapes = {"act": signed(act_bits), "sum": signed(acc_bits), "result": signed(acc_bits)}
        ports: dict[str, Any] = {"code": In(weights.bits)}
        self.passed = [name for name in self.pe.signature.members if not name.startswith("weight")]
        for name in self.passed:
            shape = shapes.get(name.removesuffix("_in").removesuffix("_out"), 1)
            ports[name] = Out(shape) if self.pe.signature.members[name].flow == Out else In(shape)
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        """Connect the two."""
        m = Module()
        m.submodules.decoder = self.decoder
        m.submodules.pe = self.pe
        m.d.comb += [self.decoder.code.eq(self.code), self.pe.weight_in.eq(self.decoder.weight)]
        for name in self.passed:
            inner, outer = getattr(self.pe, name), getattr(self, name)
            m.d.comb += outer.eq(inner) if self.signature.members[name].flow == Out else inner.eq(outer)
        return m
