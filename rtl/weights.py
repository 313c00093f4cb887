"""How a weight code steers a shift PE: the fields of a decoded weight, and the decoder for each weight format."""

__all__ = ["DecodedWeight", "WeightDecoder"]

import numpy as np
from amaranth import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tetrit.formats import RealFormat
from tetrit.rtl.szt import SZTDecoder


class DecodedWeight(data.StructLayout):
    """What a shift PE needs to know of a weight: fields that a format does not need are absent.

    Attributes
    ----------
    nonzero : 1 bit
        Absent if the format has no zero.
    negate : 1 bit
        0 whenever the weight is zero.
    shift : bits of the largest shift
        Left shift of the activation, in units of the format's smallest positive value; absent if that is always 0.
    """

    def __init__(self, weights: RealFormat) -> None:
        integers = [int(i) for i in weights.integers]
        self.max_shift = max(abs(i).bit_length() for i in integers) - 1
        fields: dict[str, int] = {"negate": 1}
        if 0 in integers:
            fields["nonzero"] = 1
        if self.max_shift:
            fields["shift"] = self.max_shift.bit_length()
        super().__init__(fields)


class WeightDecoder(wiring.Component):
    """Decode one weight code of any format whose values are zero and plus or minus powers of two.

    Combinational. SZT goes through `SZTDecoder`; two's-complement ternary takes its sign bit as it is; the others are
    tables written from the format. NaR and reserved codes decode to zero: the simulator refuses such weights.

    Parameters
    ----------
    weights : RealFormat
        The weight format.

    Members
    -------
    code : In(weights.bits)
        Weight code.
    weight : Out(DecodedWeight(weights))
        Its fields.
    """

    def __init__(self, weights: RealFormat) -> None:
        self.weights = weights
        self.layout = DecodedWeight(weights)
        super().__init__({"code": In(weights.bits), "weight": Out(self.layout)})

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        if self.weights.name == "szt":
            m.submodules.szt = szt = SZTDecoder()
            m.d.comb += [szt.code.eq(self.code), self.weight.nonzero.eq(szt.nonzero), self.weight.negate.eq(szt.negate)]
            return m
        if self.layout.max_shift == 0:
            m.d.comb += [self.weight.nonzero.eq(self.code[0]), self.weight.negate.eq(self.code[1])]
            return m
        with m.Switch(self.code):
            for code, integer in enumerate(self.weights.integers):
                magnitude = abs(int(integer))
                if magnitude == 0 or np.isnan(self.weights.values[code]):
                    continue
                with m.Case(code):
                    m.d.comb += [
                        self.weight.negate.eq(int(integer < 0)),
                        self.weight.shift.eq(magnitude.bit_length() - 1),
                    ]
                    if "nonzero" in self.layout.members:
                        m.d.comb += self.weight.nonzero.eq(1)
        return m
