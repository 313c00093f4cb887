"""The processing element of the SIMD engine: operand words in and on, exact products into the quire of each lane."""

__all__ = ["SimdMac"]

from collections.abc import Sequence

from amaranth import Const, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tetrit.hardware.simd_engine import SimdEngine
from tetrit.rtl.simd.accumulator import BORDERS, QuireAccumulator
from tetrit.rtl.simd.datapath import SimdDatapath
from tetrit.rtl.simd.modes import LaneFlags, SimdMode, lane_flags, lane_kinds


class SimdMac(wiring.Component):
    """One processing element: per step four products of 4-bit, two of 8-bit or one of 16-bit codes.

    Three stages: operands are kept and passed on; decoded and multiplied; aligned and added to the quires. So a word's
    products are in the quires 3 enabled cycles after it was at the input, and one step is taken per enabled cycle.
    Nothing moves while `enable` is 0. Data registers have no reset.

    Parameters
    ----------
    machine : SimdEngine
        Formats, quire and gating. With gating, registers that a mode or an idle cycle leaves unused are not clocked,
        and decoders and multiplier see zeros where they are not needed.
    borders : sequence of int
        As of `QuireAccumulator`.

    Members
    -------
    enable : In(1)
        Clock enable of the whole element.
    mode : In(SimdMode)
        Formats. They must hold from the cycle after a sum's first word was at the input until 2 enabled cycles after
        its last word was; 1 if the machine takes no cycle to switch.
    act_in, act_out, weight_in, weight_out : In(16), Out(16)
        Operand words, passed on after 1 cycle.
    valid_in, valid_out, last_in, last_out : In(1), Out(1)
        This step counts; this step ends a sum. Passed on after 1 cycle.
    result : Out(quire_bits)
        The lanes' quires of the sum that ended last, lane 0 in the low bits, until the next sum ends.
    nar : Out(1)
        A NaR was among that sum's operands.
    """

    def __init__(self, machine: SimdEngine, *, borders: Sequence[int] = BORDERS) -> None:
        self.machine = machine
        self.borders = tuple(borders)
        self.kinds = lane_kinds(machine.formats)
        super().__init__(
            {
                "enable": In(1),
                "mode": In(SimdMode()),
                "act_in": In(machine.port_bits),
                "act_out": Out(machine.port_bits),
                "weight_in": In(machine.port_bits),
                "weight_out": Out(machine.port_bits),
                "valid_in": In(1),
                "valid_out": Out(1),
                "last_in": In(1),
                "last_out": Out(1),
                "result": Out(machine.quire_bits),
                "nar": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the three stages."""
        m = Module()
        lanes = lane_flags(m, self.machine.formats, self.mode)
        taken = self.enable & self.valid_in if self.machine.gating else self.enable
        with m.If(self.enable):
            m.d.sync += [self.valid_out.eq(self.valid_in), self.last_out.eq(self.last_in)]
        with m.If(taken):
            m.d.sync += [self.act_out.eq(self.act_in), self.weight_out.eq(self.weight_in)]
        valid, last = Signal(), Signal(reset_less=True)
        with m.If(self.enable):
            m.d.sync += [valid.eq(self.valid_out), last.eq(self.last_out)]
        product_lanes = lanes
        if self.machine.mode_switch_cycles == 0:
            product_lanes = Signal(LaneFlags(), reset_less=True)
            with m.If(self.enable & self.valid_out):
                m.d.sync += product_lanes.eq(lanes)
        magnitude, negative, nar = self.products(m, lanes, product_lanes)
        m.submodules.quires = quires = QuireAccumulator(
            self.machine.quire_bits, self.kinds, self.joined, gating=self.machine.gating, borders=self.borders
        )
        poisoned = Signal()
        step = self.enable & valid
        m.d.comb += [
            quires.step.eq(step),
            quires.last.eq(last),
            quires.lanes.eq(product_lanes),
            quires.magnitude.eq(magnitude),
            quires.negative.eq(negative),
        ]
        with m.If(step):
            m.d.sync += poisoned.eq(~last & (poisoned | nar))
            with m.If(last):
                m.d.sync += [self.result.eq(quires.total), self.nar.eq(poisoned | nar)]
        return m

    def products(self, m: Module, lanes: data.View, product_lanes: data.View) -> tuple[Value, Value, Value]:
        """Return the products of the words that are passed on now, in the next cycle: as `SimdDatapath` gives them."""
        m.submodules.datapath = path = SimdDatapath(self.machine, self.kinds)
        m.d.comb += [
            path.enable.eq(self.enable),
            path.step.eq(self.valid_out),
            path.mode.eq(self.mode),
            path.lanes.eq(lanes),
            path.product_lanes.eq(product_lanes),
            path.act.eq(self.act_out),
            path.weight.eq(self.weight_out),
        ]
        return path.magnitude, path.negative, path.nar

    @staticmethod
    def joined(lanes: data.View, slot: int) -> Value:
        """Return whether the segment of the quire register that begins with `slot` belongs to the lane below it."""
        return Const(0, 1) if slot == 0 else ~lanes.four if slot % 2 else lanes.one
