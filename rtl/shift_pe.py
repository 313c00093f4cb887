"""The processing elements of the shift array: no multiplier, one masked shift, one conditional negation, one adder."""

__all__ = ["ShiftPE"]

from typing import Any

from amaranth import Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit.formats import RealFormat
from tetrit.hardware.shift_array import Dataflow
from tetrit.rtl.weights import DecodedWeight


class ShiftPE(wiring.Component):
    """One processing element.

    It adds ``(nonzero ? act << shift : 0) * (negate ? -1 : 1)`` to a sum; the negation is a row of XOR gates and the
    adder's carry-in. Every output is registered: latency 1 cycle, throughput 1 per cycle. Nothing moves while `enable`
    is 0. Data registers have no reset.

    Parameters
    ----------
    weights : RealFormat
        Weight format, see `tetrit.rtl.weights`.
    act_bits, acc_bits : int
        Widths of activation and sum.
    dataflow : {"weight_stationary", "output_stationary"}
        Which of the two elements to build.

    Members
    -------
    enable : In(1)
        Clock enable of the whole element.
    act_in : In(signed(act_bits)), act_out : Out(signed(act_bits))
        Activations, passed to the right.
    weight_in : In(DecodedWeight)
        Weight stationary: the weight to be stored while `load_in`. Output stationary: the weight of this step.
    load_in, load_out, load_bank_in, load_bank_out : In(1), Out(1)
        Weight stationary: store `weight_in` in that bank; passed to the right.
    bank_in, bank_out : In(1), Out(1)
        Weight stationary: the bank that goes with this activation; passed to the right.
    sum_in : In(signed(acc_bits)), sum_out : Out(signed(acc_bits))
        Weight stationary: partial sums, passed down.
    weight_out : Out(DecodedWeight)
        Output stationary: passed down.
    valid_in, valid_out, last_in, last_out : In(1), Out(1)
        Output stationary: this step counts; this step ends a sum. Passed to the right.
    result : Out(signed(acc_bits))
        Output stationary: the sum that ended last, until the next one ends.
    """

    def __init__(self, weights: RealFormat, act_bits: int, acc_bits: int, dataflow: Dataflow) -> None:
        self.weights = weights
        self.act_bits = act_bits
        self.acc_bits = acc_bits
        self.dataflow = dataflow
        self.layout = DecodedWeight(weights)
        act, total = signed(act_bits), signed(acc_bits)
        ports: dict[str, Any] = {
            "enable": In(1),
            "act_in": In(act),
            "act_out": Out(act),
            "weight_in": In(self.layout),
        }
        if dataflow == "weight_stationary":
            for name in ("load", "load_bank", "bank"):
                ports |= {f"{name}_in": In(1), f"{name}_out": Out(1)}
            ports |= {"sum_in": In(total), "sum_out": Out(total)}
        else:
            for name in ("valid", "last"):
                ports |= {f"{name}_in": In(1), f"{name}_out": Out(1)}
            ports |= {"weight_out": Out(self.layout), "result": Out(total)}
        super().__init__(ports)

    def accumulate(self, m: Module, weight: Any, total: Value) -> Signal:
        """Return ``total`` plus the product of `weight` and the activation, wrapped to `acc_bits`."""
        members = self.layout.members
        moved = Signal(signed(self.act_bits + self.layout.max_shift))
        addend = Signal(signed(self.act_bits + self.layout.max_shift))
        added = Signal(signed(self.acc_bits))
        m.d.comb += moved.eq(self.act_in << weight.shift if "shift" in members else self.act_in)
        selected = Mux(weight.nonzero, moved, 0) if "nonzero" in members else moved
        m.d.comb += [
            addend.eq(selected ^ weight.negate.replicate(len(addend))),
            added.eq(total + addend + weight.negate),
        ]
        return added

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        if self.dataflow == "weight_stationary":
            self._weight_stationary(m)
        else:
            self._output_stationary(m)
        return m

    def _weight_stationary(self, m: Module) -> None:
        act, load, load_bank, bank = (
            Signal.like(p, reset_less=True) for p in (self.act_in, self.load_in, self.bank_in, self.bank_in)
        )
        banks = [Signal(self.layout, name=f"weight_{index}", reset_less=True) for index in range(2)]
        weight = Signal(self.layout)
        total = Signal(signed(self.acc_bits), reset_less=True)
        m.d.comb += weight.eq(Mux(self.bank_in, banks[1], banks[0]))
        added = self.accumulate(m, weight, self.sum_in)
        with m.If(self.enable):
            m.d.sync += [
                act.eq(self.act_in),
                bank.eq(self.bank_in),
                load.eq(self.load_in),
                load_bank.eq(self.load_bank_in),
                total.eq(added),
            ]
            for index, stored in enumerate(banks):
                with m.If(self.load_in & (self.load_bank_in == index)):
                    m.d.sync += stored.eq(self.weight_in)
        m.d.comb += [
            self.act_out.eq(act),
            self.bank_out.eq(bank),
            self.load_out.eq(load),
            self.load_bank_out.eq(load_bank),
            self.sum_out.eq(total),
        ]

    def _output_stationary(self, m: Module) -> None:
        act = Signal.like(self.act_in, reset_less=True)
        weight = Signal(self.layout, reset_less=True)
        valid, last = Signal(), Signal(reset_less=True)
        total = Signal(signed(self.acc_bits))
        result = Signal(signed(self.acc_bits), reset_less=True)
        added = self.accumulate(m, self.weight_in, total)
        with m.If(self.enable):
            m.d.sync += [act.eq(self.act_in), weight.eq(self.weight_in), valid.eq(self.valid_in), last.eq(self.last_in)]
            with m.If(self.valid_in):
                m.d.sync += total.eq(Mux(self.last_in, 0, added))
                with m.If(self.last_in):
                    m.d.sync += result.eq(added)
        m.d.comb += [
            self.act_out.eq(act),
            self.weight_out.eq(weight),
            self.valid_out.eq(valid),
            self.last_out.eq(last),
            self.result.eq(result),
        ]
