"""The read-out at the foot of a column: the lanes' quires and a bias added, scaled, and rounded to a code."""

__all__ = ["ResultMode", "SimdReadout"]

from dataclasses import dataclass

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tetrit.formats import get
from tetrit.hardware.simd_engine import PORT_BITS, SIMD_FORMATS, SimdEngine
from tetrit.rtl.simd.adders import blockwise, compressed
from tetrit.rtl.simd.encoder import FRACTION_BITS, ResultEncoder
from tetrit.rtl.simd.modes import SimdMode, lane_flags, lane_kinds

_GROUP = 16
_WINDOW = _GROUP + FRACTION_BITS
"""Bits that a group and those that a code can depend on, one by one, have together."""


class ResultMode(data.StructLayout):
    """How a result is made: formats of the operands and of the result, ReLU, and a power of two to scale with."""

    def __init__(self) -> None:
        super().__init__({"operands": SimdMode(), "out_format": 2, "relu": 1, "shift": signed(7)})


class SimdReadout(wiring.Component):
    """Turn the quires of one element into a code: ``round(relu(2**shift * (sum of the lanes + bias)))``.

    Exact up to the one rounding. Four stages: sum; ReLU, absolute value, and the group of 16 bits that its first 1 lies
    in, with what follows; normalisation; rounding. So a code is at the output `machine.readout_latency` enabled cycles
    after its quires were at the input, and one is taken per enabled cycle. Nothing moves while `enable` is 0. No
    register has a reset.

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
        """Build the four stages."""
        m = Module()
        modes = [Signal(ResultMode(), name=f"mode_{stage}", reset_less=True) for stage in range(3)]
        nar = Signal(3, reset_less=True)
        total = Signal(signed(self.total_bits), reset_less=True)
        with m.If(self.enable):
            m.d.sync += [
                total.eq(self._sum(m)),
                *(later.eq(mode) for later, mode in zip(modes, (self.mode, *modes), strict=False)),
                nar.eq(Cat(self.nar, nar)),
            ]
        negative, zero = Signal(2, reset_less=True), Signal(2, reset_less=True)
        window, below = Signal(_WINDOW, reset_less=True), Signal(reset_less=True)
        group = Signal(range(-(-self.total_bits // _GROUP)), reset_less=True)
        found = self._first_group(m, total)
        with m.If(self.enable):
            m.d.sync += [
                window.eq(found.window),
                below.eq(found.below),
                group.eq(found.group),
                negative.eq(Cat(total[-1], negative)),
                zero.eq(Cat(found.zero | (modes[0].relu & total[-1]), zero)),
            ]
        scale = Signal(signed(self.scale_bits), reset_less=True)
        fraction, sticky = Signal(FRACTION_BITS, reset_less=True), Signal(reset_less=True)
        moved, zeros = self._normalised(m, window)
        m.submodules.encoder = encoder = self.encoder()
        with m.If(self.enable):
            m.d.sync += [
                scale.eq(self._scale(m, modes[1], group, zeros)),
                fraction.eq(moved[-1 - FRACTION_BITS : -1]),
                sticky.eq(below | moved[: -1 - FRACTION_BITS].any()),
                self.code.eq(encoder.code),
                self.lost.eq(encoder.nar & (encoder.format == 0)),
            ]
        m.d.comb += [
            encoder.format.eq(modes[2].out_format),
            encoder.negative.eq(negative[1]),
            encoder.zero.eq(zero[1]),
            encoder.nar.eq(nar[2]),
            encoder.scale.eq(scale),
            encoder.fraction.eq(fraction),
            encoder.sticky.eq(sticky),
        ]
        return m

    def _sum(self, m: Module) -> Value:
        """Return the sum of the lanes' quires and the bias.

        One addend is lane 0, of whatever width; one is lane 1 of two, or the sum of the other three of four.
        """
        flags = lane_flags(m, self.machine.formats, self.mode.operands)
        kinds = lane_kinds(self.machine.formats)
        firsts, others = [], []
        for kind, count in (("one", 1), ("two", 2), ("four", 4)):
            width = self.machine.quire_bits // count
            if kind not in kinds:
                continue
            lanes = [self.quires[index * width : (index + 1) * width].as_signed() for index in range(count)]
            chosen = getattr(flags, kind)
            firsts.append((chosen, lanes[0]))
            if count == 2:
                others.append((chosen, lanes[1]))
            if count == 4:
                wide = [self._widened(lane, width + 2) for lane in lanes[1:]]
                others.append(
                    (chosen, blockwise(m, *compressed(m, *wide, name="threes"), Const(0, 1), name="three").as_signed())
                )
        addends = [self._chosen(firsts), self._chosen(others), self._widened(self.bias, self.total_bits)]
        return blockwise(m, *compressed(m, *addends, name="addends"), Const(0, 1), name="sum")

    def _chosen(self, values: list[tuple[Value, Value]]) -> Value:
        """Return which of some signed values is chosen, or 0, as wide as the sum."""
        total: Value = Const(0, self.total_bits)
        for flag, value in values:
            total = total | (self._widened(value, self.total_bits) & flag.replicate(self.total_bits))
        return total

    @staticmethod
    def _widened(value: Value, width: int) -> Value:
        """Return a signed value with its sign repeated."""
        return Cat(value, value[-1].replicate(width - len(value)))

    def _first_group(self, m: Module, total: Value) -> "_Found":
        """Return the highest group of bits of the absolute value that has a 1, and the bits below it."""
        count = -(-self.total_bits // _GROUP)
        size = Signal(count * _GROUP)
        m.d.comb += size.eq(
            blockwise(
                m,
                total.as_unsigned() ^ total[-1].replicate(self.total_bits),
                Const(0, self.total_bits),
                total[-1],
                name="size",
            )
        )
        some = Signal(count)
        m.d.comb += some.eq(Cat(size.word_select(index, _GROUP).any() for index in range(count)))
        rest = _WINDOW - _GROUP
        window: Value = Const(0, _WINDOW)
        below: Value = Const(0, 1)
        for index in range(count):
            first = Signal(name=f"first_{index}")
            m.d.comb += first.eq(some[index] & ~some[index + 1 :].any())
            end = (index + 1) * _GROUP
            bits = Cat(Const(0, _WINDOW), size[:end])[-_WINDOW:]
            window = window | (bits & first.replicate(_WINDOW))
            lower = index * _GROUP - rest
            if lower > 0:
                partly = size[lower - lower % _GROUP : lower].any() | some[: lower // _GROUP].any()
                below = below | (first & partly)
        numbers = [
            Cat(some[index] & ~some[index + 1 :].any() for index in range(count) if index >> bit & 1).any()
            for bit in range((count - 1).bit_length())
        ]
        return _Found(window=window, below=below, group=Cat(numbers), zero=~some.any())

    def _normalised(self, m: Module, window: Value) -> tuple[Value, Value]:
        """Return a window moved up until its highest bit is 1, and by how much, if there is a 1 in its first group."""
        moved: Value = window
        zeros = []
        for stage in reversed(range((_GROUP - 1).bit_length())):
            amount = 1 << stage
            empty = ~moved[_WINDOW - amount :].any()
            zeros.append(empty)
            stepped = Signal(_WINDOW, name=f"moved_{stage}")
            m.d.comb += stepped.eq(Mux(empty, moved << amount, moved))
            moved = stepped
        return moved, Cat(reversed(zeros))

    def _scale(self, m: Module, mode: data.View, group: Value, zeros: Value) -> Value:
        """Return the exponent of the leading one: its place, in units of the quire, and the shift."""
        place = Cat(~zeros, group)  # of each group, the highest bit is the last
        base = Signal(signed(self.scale_bits))
        m.d.comb += base.eq(mode.shift + self._unit(mode.operands))
        total: Value = place + base
        return total

    def _unit(self, operands: data.View) -> Value:
        """Return the exponent of the quire's unit."""
        units = Array(get(name).lsb_exponent for name in SIMD_FORMATS)
        return (
            Array(Const(unit, signed(8)) for unit in units)[operands.act_format]
            + Array(Const(unit, signed(8)) for unit in units)[operands.weight_format]
        )


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The first bits of a number: `window`, whose first group has a 1 unless it is `zero`.

    `below` says whether any bit below the window is set; `group` counts groups from the lowest one.
    """

    window: Value
    below: Value
    group: Value
    zero: Value
