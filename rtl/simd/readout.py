"""The read-out at the foot of a column: the lanes' quires and a bias added, scaled, and rounded to a code."""

__all__ = ["ResultMode", "SimdReadout"]


from amaranth import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tetrit.formats import get
from tetrit.hardware.simd_engine import PORT_BITS, SIMD_FORMATS, SimdEngine
from tetrit.rtl.simd.encoder import FRACTION_BITS, ResultEncoder
from tetrit.rtl.simd.modes import SimdMode, lane_flags, lane_kinds


class ResultMode(data.StructLayout):
    """How a result is made: formats of the operands and of the result, ReLU, and a power of two to scale with."""

    def __init__(self) -> None:
        super().__init__({"operands": SimdMode(), "out_format": 2, "relu": 1, "shift": signed(7)})


class SimdReadout(wiring.Component):
    """Turn the quires of one element into a code: ``round(relu(2**shift * (sum of the lanes + bias)))``.

    Exact up to the one rounding. Three stages: sum; ReLU, absolute value and normalisation; rounding. So a code is at
    the output 3 enabled cycles after its quires were at the input, and one is taken per enabled cycle. Nothing moves
    while `enable` is 0. No register has a reset.

    Parameters
    ----------
    machine : SimdEngine
        Formats and width of the quire.

    Members
    -------
    enable : In(1)
        Clock enable.
    mode : In(ResultMode)
        Goes with the quires.
    quires : In(quire_bits), nar : In(1)
        From `SimdMac`.
    bias : In(signed(quire_bits))
        In units of the quire.
    code : Out(16)
        See `ResultEncoder`.
    lost : Out(1)
        This code stands for a NaR that its format, FP4, does not have.
    """

    def __init__(self, machine: SimdEngine) -> None:
        self.machine = machine
        self.total_bits = machine.quire_bits + 3
        self.scale_bits = 10 if machine.quire_bits <= 256 else 12
        super().__init__(
            {
                "enable": In(1),
                "mode": In(ResultMode()),
                "quires": In(machine.quire_bits),
                "nar": In(1),
                "bias": In(signed(machine.quire_bits)),
                "code": Out(PORT_BITS),
                "lost": Out(1),
            }
        )

    def encoder(self) -> ResultEncoder:
        """Return the encoder of the last stage."""
        return ResultEncoder(self.scale_bits)

    def elaborate(self, platform: object) -> Module:
        """Build the three stages."""
        m = Module()
        total = Signal(signed(self.total_bits), reset_less=True)
        modes = [Signal(ResultMode(), name=f"mode_{stage}", reset_less=True) for stage in range(2)]
        nar = Signal(2, reset_less=True)
        negative = Signal(reset_less=True)
        zero = Signal(reset_less=True)
        scale = Signal(signed(self.scale_bits), reset_less=True)
        fraction, sticky = Signal(FRACTION_BITS, reset_less=True), Signal(reset_less=True)
        m.submodules.encoder = encoder = self.encoder()
        size, place = self._normalised(m, total)
        with m.If(self.enable):
            m.d.sync += [
                total.eq(self._lanes(m) + self.bias),
                modes[0].eq(self.mode),
                modes[1].eq(modes[0]),
                nar.eq(Cat(self.nar, nar[0])),
                negative.eq(total[-1]),
                zero.eq(~size[-1] | (modes[0].relu & total[-1])),
                scale.eq(place + modes[0].shift + self._unit(modes[0].operands)),
                fraction.eq(size[-1 - FRACTION_BITS : -1]),
                sticky.eq(size[: -1 - FRACTION_BITS].any()),
                self.code.eq(encoder.code),
                self.lost.eq(encoder.nar & (encoder.format == 0)),
            ]
        m.d.comb += [
            encoder.format.eq(modes[1].out_format),
            encoder.negative.eq(negative),
            encoder.zero.eq(zero),
            encoder.nar.eq(nar[1]),
            encoder.scale.eq(scale),
            encoder.fraction.eq(fraction),
            encoder.sticky.eq(sticky),
        ]
        return m

    def _lanes(self, m: Module) -> Value:
        """Return the sum of the lanes' quires."""
        flags = lane_flags(m, self.machine.formats, self.mode.operands)
        sums: list[Value] = []
        for kind, count in (("one", 1), ("two", 2), ("four", 4)):
            width = self.machine.quire_bits // count
            if kind not in lane_kinds(self.machine.formats):
                continue
            parts = [self.quires[index * width : (index + 1) * width].as_signed() for index in range(count)]
            while len(parts) > 1:
                parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=True)]
            chosen = Signal(signed(self.machine.quire_bits + 2), name=f"sum_{kind}")
            m.d.comb += chosen.eq(Mux(getattr(flags, kind), parts[0], 0))
            sums.append(chosen)
        total = sums[0]
        for other in sums[1:]:
            total = total | other
        return total.as_signed()

    def _normalised(self, m: Module, total: Value) -> tuple[Value, Value]:
        """Return the absolute value moved up until its highest bit is 1 unless it is 0, and where that bit was."""
        width = self.total_bits
        size = Signal(width)
        m.d.comb += size.eq(Mux(total[-1], -total, total))
        moved: Value = size
        zeros = []
        for stage in reversed(range((width - 1).bit_length())):
            amount = 1 << stage
            empty = ~moved[width - amount :].any()
            zeros.append(empty)
            stepped = Signal(width, name=f"moved_{stage}")
            m.d.comb += stepped.eq(Mux(empty, moved << amount, moved))
            moved = stepped
        place = Signal(signed(self.scale_bits))
        m.d.comb += place.eq(width - 1 - Cat(reversed(zeros)))
        return moved, place

    def _unit(self, operands: data.View) -> Value:
        """Return the exponent of the quire's unit."""
        units = Array(get(name).lsb_exponent for name in SIMD_FORMATS)
        return (
            Array(Const(unit, signed(8)) for unit in units)[operands.act_format]
            + Array(Const(unit, signed(8)) for unit in units)[operands.weight_format]
        )
