"""Signed-zero ternary in hardware: the decoder in front of the datapath, the encoder of a training engine."""

__all__ = ["SZTDecoder", "SZTEncoder"]

from amaranth import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit import checks


class SZTDecoder(wiring.Component):
    """Decode one SZT code: 00 = +0, 01 = +1, 10 = -0, 11 = -1.

    Combinational; one AND gate on the way to the datapath. The sign of a zero never reaches the datapath: it leaves on
    `zero_sign` towards whatever trains the weights.

    Members
    -------
    code : In(2)
        b0 nonzero, b1 sign.
    nonzero : Out(1)
        The weight is +1 or -1.
    negate : Out(1)
        The weight is -1; 0 for both zeros.
    zero_sign : Out(1)
        The weight is -0.

    Source: Uhlmann, arXiv 2508.05905, for the four states; the assignment of code words is our reconstruction.
    """

    def __init__(self) -> None:
        super().__init__({"code": In(2), "nonzero": Out(1), "negate": Out(1), "zero_sign": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        nonzero, sign = self.code[0], self.code[1]
        m.d.comb += [
            self.nonzero.eq(nonzero),
            self.negate.eq(sign & nonzero),
            self.zero_sign.eq(sign & ~nonzero),
        ]
        return m


class SZTEncoder(wiring.Component):
    """Encode a fixed-point latent weight to SZT by comparing it with a threshold.

    Combinational. ``value > threshold`` gives +1, ``value < -threshold`` gives -1, anything between the zero of the
    value's sign; a value of 0 gives +0.

    Parameters
    ----------
    width : int
        Bits of the latent weight.

    Members
    -------
    value : In(signed(width))
        Latent weight.
    threshold : In(width - 1)
        Dead-zone border, in the units of `value`.
    code : Out(2)
        SZT code.
    """

    def __init__(self, width: int = 16) -> None:
        self.width = checks.integer("width", width, minimum=2)
        super().__init__({"value": In(signed(self.width)), "threshold": In(self.width - 1), "code": Out(2)})

    def elaborate(self, platform: object) -> Module:
        """Build the logic: two comparators and a sign."""
        m = Module()
        outside = (self.value > self.threshold) | (self.value < -self.threshold)
        m.d.comb += self.code.eq(outside | (self.value[-1] << 1))
        return m
