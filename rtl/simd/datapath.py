"""The datapath between operand words and quires: decode and multiply, then align."""

__all__ = ["SimdDatapath"]

from collections.abc import Iterable

from amaranth import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit.hardware.simd_engine import SimdEngine
from tetrit.rtl.simd.aligner import Aligner
from tetrit.rtl.simd.decoders import OperandDecoder
from tetrit.rtl.simd.modes import LaneFlags, SimdMode, is_format, lane_kinds
from tetrit.rtl.simd.multiplier import ExponentUnit, SignificandMultiplier

_ALWAYS = (*range(4), *range(8, 12), *range(14, 18), *range(22, 26))
"""Bits of the product register that four lanes use."""

_UNITS = (8, 0, 22, 14)
"""The lowest bit of each slot's product with four lanes."""


class SimdDatapath(wiring.Component):
    """Form the signed products of two operand words, aligned to the lanes' quires.

    Latency 1 enabled cycle: decoders, multiplier and exponent adders are before the registers, the aligner behind.

    Parameters
    ----------
    machine : SimdEngine
        Formats, quire and gating.
    kinds : iterable of {"one", "two", "four"}, optional
        Lanes that it is built for; by default those that the formats need.

    Members
    -------
    step : In(1)
        Operands count; registers may take new values.
    enable : In(1)
        Clock enable.
    mode : In(SimdMode), lanes : In(LaneFlags)
        Formats of the operands, and the lanes that they make.
    product_lanes : In(LaneFlags)
        Lanes of the products, 1 enabled cycle later.
    act, weight : In(16)
        Operand words.
    magnitude : Out(quire_bits), negative : Out(4), nar : Out(1)
        Absolute values of the products, in place; sign of each slot's; whether a NaR was among the operands.
    """

    def __init__(self, machine: SimdEngine, kinds: Iterable[str] | None = None) -> None:
        self.machine = machine
        self.kinds = tuple(lane_kinds(machine.formats) if kinds is None else kinds)
        super().__init__(
            {
                "step": In(1),
                "enable": In(1),
                "mode": In(SimdMode()),
                "lanes": In(LaneFlags()),
                "product_lanes": In(LaneFlags()),
                "act": In(machine.port_bits),
                "weight": In(machine.port_bits),
                "magnitude": Out(machine.quire_bits),
                "negative": Out(4),
                "nar": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build both halves."""
        m = Module()
        product, sums = self._multiplied(m)
        m.submodules.aligner = aligner = Aligner(self.machine.quire_bits, self.kinds, gating=self.machine.gating)
        m.d.comb += [
            aligner.product.eq(product),
            aligner.lanes.eq(self.product_lanes),
            *(getattr(aligner, f"sum_{slot}").eq(sums[slot]) for slot in range(4)),
            self.magnitude.eq(aligner.magnitude),
        ]
        return m

    def _clocked(self, *needed: Value) -> Value:
        """Return when registers take new values: if the machine has gating, only if they are needed."""
        when: Value = self.enable
        for condition in (self.step, *needed) if self.machine.gating else ():
            when = when & condition
        return when

    def _multiplied(self, m: Module) -> tuple[Signal, list[Signal]]:
        """Build what is before the registers; return product and sums of scales, registered."""
        formats, gating = self.machine.formats, self.machine.gating
        m.submodules.act_decoder = act = OperandDecoder(formats, gating=gating)
        m.submodules.weight_decoder = weight = OperandDecoder(formats, gating=gating)
        m.submodules.multiplier = multiplier = SignificandMultiplier(gating=gating)
        m.submodules.exponents = exponents = ExponentUnit()
        selectors = (self.mode.act_format, self.mode.weight_format)
        small = [is_format(formats, selector, "fp4_e2m1", "posit4_1") for selector in selectors]
        powers = is_format(formats, selectors[0], "posit4_1") & is_format(formats, selectors[1], "posit4_1")
        a, b = act.operand, weight.operand
        m.d.comb += [
            act.word.eq(self.act),
            act.format.eq(selectors[0]),
            act.lanes.eq(self.lanes),
            weight.word.eq(self.weight),
            weight.format.eq(selectors[1]),
            weight.lanes.eq(self.lanes),
            *(decoder.powers.eq(powers) for decoder in (act, weight) if gating),
            exponents.a.eq(a),
            exponents.b.eq(b),
            exponents.carry.eq(small[0] ^ small[1]),
            multiplier.a.eq(a.significand),
            multiplier.b.eq(b.significand),
            multiplier.lanes.eq(self.lanes),
        ]
        nonzero = a.nonzero & b.nonzero
        formed = Signal(26)
        m.d.comb += formed.eq(multiplier.product)
        if gating:  # products of powers of two are known without the multiplier
            for slot, unit in enumerate(_UNITS):
                m.d.comb += formed[unit].eq(multiplier.product[unit] | (powers & nonzero[slot]))
        product = Signal(26, reset_less=True)
        sums = [
            Signal.like(getattr(exponents, f"sum_{slot}"), name=f"sum_{slot}", reset_less=True) for slot in range(4)
        ]
        with m.If(self._clocked()):
            m.d.sync += [
                *(product[bit].eq(formed[bit]) for bit in _ALWAYS),
                sums[0].eq(exponents.sum_0),
                self.negative.eq((a.sign ^ b.sign) & nonzero),
                self.nar.eq((a.nar | b.nar).any()),
            ]
        with m.If(self._clocked(~self.lanes.four)):
            m.d.sync += [product[bit].eq(formed[bit]) for bit in range(26) if bit not in _ALWAYS]
        with m.If(self._clocked(~self.lanes.one)):
            m.d.sync += sums[2].eq(exponents.sum_2)
        with m.If(self._clocked(self.lanes.four)):
            m.d.sync += [sums[1].eq(exponents.sum_1), sums[3].eq(exponents.sum_3)]
        return product, sums
