"""Which classes a verification run of the SIMD engine builds, and the wrappers that benches need around them."""

__all__ = ["SIMD_DESIGNS", "CodePath", "MacPath", "SimdDesigns", "StatusPath"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth import Array, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit import formats
from tetrit.hardware.simd_engine import MAC_LATENCY, SIMD_FORMATS, SimdEngine
from tetrit.rtl.simd.array import SimdArray
from tetrit.rtl.simd.decoders import OperandDecoder
from tetrit.rtl.simd.encoder import FRACTION_BITS, ResultEncoder
from tetrit.rtl.simd.mac import SimdMac
from tetrit.rtl.simd.multiplier import SignificandMultiplier
from tetrit.rtl.simd.readout import ResultMode, SimdReadout


@dataclass(frozen=True, kw_only=True)
class SimdDesigns:
    """The classes under test, or what makes their instances."""

    decoder: Callable[..., Any] = OperandDecoder
    encoder: Callable[..., Any] = ResultEncoder
    multiplier: Callable[..., Any] = SignificandMultiplier
    mac: Callable[..., Any] = SimdMac
    readout: Callable[..., Any] = SimdReadout
    array: Callable[..., Any] = SimdArray


SIMD_DESIGNS = SimdDesigns()

BIAS_BITS = 62
"""Bits of a bias that a lockstep bench can apply."""


class CodePath(wiring.Component):  # type: ignore[misc]  # Amaranth carries no types
    """A decoder before an encoder: the operand of one slot comes out as the code that went in.

    Members
    -------
    word, format, one, two, four
        As of `OperandDecoder`.
    slot : In(2)
        Whose operand is encoded.
    code : Out(16)
        Its code.
    """

    def __init__(self, decoder: Callable[..., Any], encoder: Callable[..., Any]) -> None:
        self.decoder: Any = decoder()
        self.encoder: Any = encoder()
        ports = {"word": In(16), "format": In(2), "slot": In(2), "code": Out(16)}
        super().__init__(ports | {name: In(1) for name in ("one", "two", "four")})

    def elaborate(self, platform: object) -> Module:
        """Place each slot's significand below a leading one, and its scale above the format's unit."""
        m = Module()
        m.submodules.decoder, m.submodules.encoder = self.decoder, self.encoder
        decoder, encoder = self.decoder, self.encoder
        operand = decoder.operand
        m.d.comb += [
            decoder.word.eq(self.word),
            decoder.format.eq(self.format),
            *(getattr(decoder.lanes, name).eq(getattr(self, name)) for name in ("one", "two", "four")),
            encoder.format.eq(self.format),
            encoder.negative.eq(operand.sign.bit_select(self.slot, 1)),
            encoder.zero.eq(~operand.nonzero.bit_select(self.slot, 1)),
            encoder.nar.eq(operand.nar.bit_select(self.slot, 1)),
        ]
        size = operand.significand
        four = Array([size[4:6], size[0:2], size[11:13], size[7:9]])[self.slot]
        small = Mux(self.four, four, Array([Mux(self.one, size[11:13], size[4:6]), 0, size[11:13], 0])[self.slot])
        wide = Mux(self.one, size[:12], Mux(self.slot == 2, size[7:12], size[:5]) << 7)
        scale = Array([operand.scale_0, operand.scale_1, operand.scale_2, operand.scale_3])[self.slot]
        unit = Array(formats.get(name).lsb_exponent for name in SIMD_FORMATS)[self.format]
        narrow = self.format < 2
        place = Signal(signed(10))
        m.d.comb += [
            place.eq(scale + unit + (narrow & small[1])),
            encoder.scale.eq(place),
            self.code.eq(encoder.code),
            encoder.fraction.eq(Mux(narrow, (small[0] & small[1]) << (FRACTION_BITS - 1), wide << 1)),
        ]
        return m


class MacPath(wiring.Component):  # type: ignore[misc]  # Amaranth carries no types
    """A `SimdMac` before a `SimdReadout`; what is said of a result is given with its sum's last word.

    Members
    -------
    enable, act_in, weight_in, valid_in, last_in
        As of the element.
    act_format, weight_format, out_format, relu, shift, bias
        As of the read-out; `bias` has 62 bits.
    quire_0 .. quire_3 : Out(quire_bits / 4)
        Quarters of the element's result, and `nar`.
    code, lost
        As of the read-out.
    """

    def __init__(self, mac: Callable[..., Any], readout: Callable[..., Any], machine: SimdEngine) -> None:
        self.machine = machine
        self.mac: Any = mac(machine)
        self.readout: Any = readout(machine)
        self.passed = ("enable", "act_in", "weight_in", "valid_in", "last_in")
        ports: dict[str, Any] = {name: In(16 if name in ("act_in", "weight_in") else 1) for name in self.passed}
        ports |= {"act_format": In(2), "weight_format": In(2), "out_format": In(2), "relu": In(1)}
        ports |= {"shift": In(signed(7)), "bias": In(signed(BIAS_BITS)), "nar": Out(1), "code": Out(16), "lost": Out(1)}
        ports |= {f"quire_{index}": Out(machine.quire_bits // 4) for index in range(4)}
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        """Delay what the read-out is told by the stages of the element."""
        m = Module()
        m.submodules.mac, m.submodules.readout = self.mac, self.readout
        mac, readout = self.mac, self.readout
        mode, bias = Signal(ResultMode()), self.bias
        m.d.comb += [getattr(mac, name).eq(getattr(self, name)) for name in self.passed]
        m.d.comb += [
            mode.operands.act_format.eq(self.act_format),
            mode.operands.weight_format.eq(self.weight_format),
            mode.out_format.eq(self.out_format),
            mode.relu.eq(self.relu),
            mode.shift.eq(self.shift),
        ]
        operands = [mode.operands]
        for stage in range(MAC_LATENCY):
            later = Signal(ResultMode(), name=f"mode_{stage}", reset_less=True)
            later_bias = Signal.like(bias, name=f"bias_{stage}", reset_less=True)
            with m.If(self.enable):
                m.d.sync += [later.eq(mode), later_bias.eq(bias)]
            mode, bias = later, later_bias
            operands.append(mode.operands)
        width = self.machine.quire_bits // 4
        m.d.comb += [
            mac.mode.eq(operands[1]),
            readout.enable.eq(self.enable),
            readout.mode.eq(mode),
            readout.bias.eq(bias),
            readout.quires.eq(mac.result),
            readout.nar.eq(mac.nar),
            self.nar.eq(mac.nar),
            self.code.eq(readout.code),
            self.lost.eq(readout.lost),
            *(getattr(self, f"quire_{index}").eq(mac.result.word_select(index, width)) for index in range(4)),
        ]
        return m


class StatusPath(wiring.Component):  # type: ignore[misc]  # Amaranth carries no types
    """An array of one element whose results are taken at once; each tile is one word of operands, without a bias.

    Members
    -------
    valid : In(1), act, weight : In(16)
        Operands, offered for a cycle.
    act_format, weight_format, out_format : In(2)
        The tile's formats, held until its result is there.
    clear : In(1), nar : Out(1)
        As of the array.
    """

    def __init__(self, array: Callable[..., Any]) -> None:
        self.array: Any = array(SimdEngine(rows=1, cols=1))
        ports = {name: In(2) for name in ("act_format", "weight_format", "out_format")}
        ports |= {"valid": In(1), "act": In(16), "weight": In(16), "clear": In(1)}
        super().__init__(ports | {"nar": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Connect the array."""
        m = Module()
        m.submodules.array = array = self.array
        tile = array.tiles.payload
        m.d.comb += [
            array.activations.valid.eq(self.valid),
            array.weights.valid.eq(self.valid),
            array.tiles.valid.eq(1),
            array.activations.payload.data.eq(self.act),
            array.weights.payload.data.eq(self.weight),
            array.activations.payload.last.eq(1),
            array.weights.payload.last.eq(1),
            tile.result.operands.act_format.eq(self.act_format),
            tile.result.operands.weight_format.eq(self.weight_format),
            tile.result.out_format.eq(self.out_format),
            array.results.ready.eq(1),
            array.clear.eq(self.clear),
            self.nar.eq(array.nar),
        ]
        return m
