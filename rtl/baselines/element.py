"""The authority for what every baseline element has in common: its ports, its registers, and when they are written."""

__all__ = ["MacElement"]

from abc import abstractmethod

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit import checks
from tetrit.rtl.baselines.arithmetic import ADDERS, Adders


class MacElement(wiring.Component):
    """A multiply-accumulate element, output stationary; what it computes is the subclass's business.

    In each enabled cycle in which `valid_in` is 1 the product of the two codes is added to the sum; with `last_in` the
    sum with that product becomes the result, and the next one begins at zero. Operands and flags leave through
    registers, to the next element of an array. Latency 1 cycle, throughput 1 product per cycle; multiplier and adder
    are between the same two rows of registers in all subclasses, so that their figures compare. Data registers have no
    reset, as those of `tetrit.rtl.ShiftPE`.

    Parameters
    ----------
    act_bits, weight_bits, acc_bits : int
        Widths of both operands' codes, and of the sum.
    adders : {"fast", "compact"}
        What adders and multiplier are built of, see `tetrit.rtl.baselines.arithmetic`.

    Members
    -------
    enable : In(1)
        Clock enable of the whole element.
    act_in, act_out : In(act_bits), Out(act_bits)
        Activation codes, passed on after 1 cycle.
    weight_in, weight_out : In(weight_bits), Out(weight_bits)
        Weight codes, passed on after 1 cycle.
    valid_in, valid_out, last_in, last_out : In(1), Out(1)
        This step counts; this step ends a sum. Passed on after 1 cycle.
    result : Out(acc_bits)
        The sum that ended last, until the next one ends.
    """

    def __init__(self, act_bits: int, weight_bits: int, acc_bits: int, *, adders: Adders = "fast") -> None:
        self.act_bits = checks.integer("act_bits", act_bits)
        self.weight_bits = checks.integer("weight_bits", weight_bits)
        self.acc_bits = checks.integer("acc_bits", acc_bits, minimum=2)
        checks.choice("adders", adders, ADDERS)
        self.adders: Adders = adders
        super().__init__(
            {
                "enable": In(1),
                "act_in": In(act_bits),
                "act_out": Out(act_bits),
                "weight_in": In(weight_bits),
                "weight_out": Out(weight_bits),
                "valid_in": In(1),
                "valid_out": Out(1),
                "last_in": In(1),
                "last_out": Out(1),
                "result": Out(acc_bits),
            }
        )

    @abstractmethod
    def added(self, m: Module, total: Value) -> Value:
        """Build what adds the product of the operands to `total`; return the sum, `acc_bits` wide."""

    def elaborate(self, platform: object) -> Module:
        """Build the registers."""
        m = Module()
        total = Signal(self.acc_bits)
        result = Signal(self.acc_bits, reset_less=True)
        act, weight = Signal(self.act_bits, reset_less=True), Signal(self.weight_bits, reset_less=True)
        valid, last = Signal(), Signal(reset_less=True)
        added = Signal(self.acc_bits)
        m.d.comb += added.eq(self.added(m, total))
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
        return m
