"""Requantisation in hardware: accumulator times a dyadic number, rounded and clipped to an activation."""

__all__ = ["Requantizer"]

from amaranth import Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tetrit import checks, formats


class Requantizer(wiring.Component):
    """``clip(floor((acc * multiplier + 2**(shift - 1)) / 2**shift))``, with ReLU where asked.

    Two pipeline stages (multiply; shift, round and clip): latency 2 cycles, throughput 1 per cycle. It stands still
    while
    the output is blocked.

    Parameters
    ----------
    acc_bits : int
        Width of the accumulator.
    out_format : str
        ``int2`` .. ``int16``.
    multiplier_bits : int
        Width of the unsigned multiplier.

    Members
    -------
    i : In(stream of {acc: signed(acc_bits), multiplier: multiplier_bits, shift, relu: 1})
        `shift` is at least 1 and at most ``acc_bits + multiplier_bits``.
    o : Out(stream of signed(out bits))
        Activations.
    """

    def __init__(self, acc_bits: int, out_format: str = "int8", multiplier_bits: int = 16) -> None:
        self.acc_bits = checks.integer("acc_bits", acc_bits, minimum=2)
        self.out_bits = formats.get(checks.choice("out_format", out_format, [f"int{n}" for n in range(2, 17)])).bits
        self.multiplier_bits = checks.integer("multiplier_bits", multiplier_bits)
        self.max_shift = self.acc_bits + self.multiplier_bits
        payload = data.StructLayout(
            {
                "acc": signed(self.acc_bits),
                "multiplier": self.multiplier_bits,
                "shift": self.max_shift.bit_length(),
                "relu": 1,
            }
        )
        super().__init__({"i": In(stream.Signature(payload)), "o": Out(stream.Signature(signed(self.out_bits)))})

    @staticmethod
    def rounded(product: Value, before: Value) -> Value:
        """Return ``product / 2**(before + 1)`` rounded to nearest, halves up."""
        return ((product >> before) + 1) >> 1

    def elaborate(self, platform: object) -> Module:
        """Build the two stages."""
        m = Module()
        high, low = 2 ** (self.out_bits - 1) - 1, -(2 ** (self.out_bits - 1))
        product = Signal(signed(self.max_shift), reset_less=True)
        before = Signal(range(self.max_shift), reset_less=True)  # shift - 1
        relu = Signal(reset_less=True)
        rounded = Signal(signed(self.max_shift + 1))
        result = Signal(signed(self.out_bits), reset_less=True)
        full = Signal(2)
        move = Signal()
        m.d.comb += [
            move.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(move),
            self.o.valid.eq(full[1]),
            self.o.payload.eq(result),
            rounded.eq(self.rounded(product, before)),
        ]
        with m.If(move):
            m.d.sync += [
                full.eq(self.i.valid | (full[0] << 1)),
                product.eq(self.i.payload.acc * self.i.payload.multiplier),
                before.eq(self.i.payload.shift - 1),
                relu.eq(self.i.payload.relu),
                result.eq(Mux(rounded < Mux(relu, 0, low), Mux(relu, 0, low), Mux(rounded > high, high, rounded))),
            ]
        return m
