"""The arrays that fit into the co-processor, each behind the same streams of vectors."""

__all__ = ["DatapathSignature", "ShiftPath", "SimdPath", "path_for"]

from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tetrit import formats
from tetrit.hardware import ShiftArray
from tetrit.hardware.simd_engine import SimdEngine
from tetrit.rtl.coprocessor.fifo import Queue
from tetrit.rtl.coprocessor.geometry import CODE_BITS, Geometry
from tetrit.rtl.coprocessor.registers import Access, register
from tetrit.rtl.coprocessor.writer import CONTAINER_CODES
from tetrit.rtl.gearbox import Downsizer, Upsizer, beat
from tetrit.rtl.requantizer import Requantizer
from tetrit.rtl.shift_array import ShiftPEArray
from tetrit.rtl.simd.array import SimdArray
from tetrit.rtl.simd.modes import FORMAT_CODES, SimdMode, lane_flags

_COUNT_BITS = 32


class DatapathSignature(wiring.Signature):
    """What the co-processor sees of an array.

    Members
    -------
    mode, shift, k : In
        Registers of that name.
    steps : Out(32)
        Steps of the reduction, from the second cycle after the registers were set on.
    bad_format, too_many_terms : Out(1)
        See `STATUS`.
    act_tail, weight_tail : Out
        Which bits of the operands of a tile's last step count.
    activations, weights : In(stream of beat(vector))
        One step of all rows or outputs; `last` on a tile's last.
    tiles : In(stream of {last_row, records})
        Rows of a tile less one, and a record of parameters per output.
    rows : Out(stream)
        Codes of a row of a tile, 16 bits each.
    nar : Out(1)
        A result stood for a NaR that its format does not have.
    """

    def __init__(self, geometry: Geometry) -> None:
        machine = geometry.machine
        settings = {f.name: f.width for f in register("MODE").accessible(Access.WRITE)}
        tile = data.StructLayout(
            {
                "last_row": max(1, (machine.rows - 1).bit_length()),
                "records": data.ArrayLayout(geometry.record_bits, machine.cols),
            }
        )
        acts, weights = geometry.act_step_bits, geometry.weight_step_bits
        super().__init__(
            {
                "mode": In(data.StructLayout(settings)),
                "shift": In(register("SHIFT").fields[0].width),
                "k": In(_COUNT_BITS),
                "steps": Out(_COUNT_BITS),
                "bad_format": Out(1),
                "too_many_terms": Out(1),
                "act_tail": Out(acts),
                "weight_tail": Out(weights),
                "activations": In(stream.Signature(beat(machine.rows * acts))),
                "weights": In(stream.Signature(beat(machine.cols * weights))),
                "tiles": In(stream.Signature(tile)),
                "rows": Out(stream.Signature(geometry.result_bits)),
                "nar": Out(1),
            }
        )


def path_for(geometry: Geometry) -> "SimdPath | ShiftPath":
    """Return the datapath of a machine."""
    return SimdPath(geometry) if isinstance(geometry.machine, SimdEngine) else ShiftPath(geometry)


def _words(m: Module, name: str, *, valid: Value, last: Value, vector: Value, port: Any) -> Value:
    """Feed vectors to a port of the array, word by word where its words are narrower; return whether one is taken."""
    width = len(port.payload.data)
    source = port
    if width < len(vector):
        m.submodules[name] = downsizer = Downsizer(len(vector), width)
        wiring.connect(m, downsizer.o, port)
        source = downsizer.i
    m.d.comb += [source.valid.eq(valid), source.payload.data.eq(vector), source.payload.last.eq(last)]
    ready: Value = source.ready
    return ready


def _vectors(m: Module, port: Any, bits: int) -> Any:
    """Return the stream of vectors that the words of a port of the array make up."""
    width = len(port.payload.data)
    if width >= bits:
        return port
    m.submodules.results_in = upsizer = Upsizer(bits, width)
    wiring.connect(m, port, upsizer.i)
    return upsizer.o


def _unfit(m: Module, container: Value, needs: Value | int, cols: int) -> Value:
    """Return whether codes of some bits do not fit a container, or tiles would share a byte."""
    bits = Signal(range(max(CONTAINER_CODES) + 1))
    with m.Switch(container):
        for width, code in CONTAINER_CODES.items():
            with m.Case(code):
                m.d.comb += bits.eq(width)
    unfit: Value = bits < needs
    return unfit | (container == CONTAINER_CODES[4]) if cols % 2 else unfit


class SimdPath(wiring.Component):
    """`SimdArray` behind the streams of `DatapathSignature`."""

    code = 0
    """What `BUILD.datapath` says."""

    def __init__(self, geometry: Geometry) -> None:
        assert isinstance(geometry.machine, SimdEngine)
        self.machine = geometry.machine
        self.format_mask = sum(1 << FORMAT_CODES[name] for name in self.machine.formats)
        self.flight_cycles = self.machine.rows + self.machine.cols - 1 + self.machine.mac_latency
        super().__init__(DatapathSignature(geometry))

    def elaborate(self, platform: object) -> Module:
        """Connect the array, and derive what its formats ask for."""
        machine = self.machine
        m = Module()
        m.submodules.array = array = SimdArray(machine)
        for name, source, port, bits in (
            ("activations_out", self.activations, array.activations, machine.act_vector_bits),
            ("weights_out", self.weights, array.weights, machine.weight_vector_bits),
        ):
            ready = _words(
                m,
                name,
                valid=source.valid,
                last=source.payload.last,
                vector=source.payload.data[:bits],
                port=port,
            )
            m.d.comb += source.ready.eq(ready)
        operands = self._operands(m)
        tile = array.tiles.payload
        m.d.comb += [
            array.tiles.valid.eq(self.tiles.valid),
            self.tiles.ready.eq(array.tiles.ready),
            tile.result.operands.eq(operands),
            tile.result.out_format.eq(self.mode.out_format),
            tile.result.relu.eq(self.mode.relu),
            tile.result.shift.eq(self.shift.as_signed()),
            tile.last_row.eq(self.tiles.payload.last_row),
            self.nar.eq(array.nar),
        ]
        for column in range(machine.cols):
            m.d.comb += tile.bias[column].eq(self.tiles.payload.records[column].as_signed())
        results = _vectors(m, array.results, machine.result_vector_bits)
        m.d.comb += [
            self.rows.valid.eq(results.valid),
            self.rows.payload.eq(results.payload.data),
            results.ready.eq(self.rows.ready),
        ]
        return m

    def _operands(self, m: Module) -> Any:
        """Build what depends on the formats; return them as the array wants them."""
        machine = self.machine
        operands = Signal(SimdMode())
        m.d.comb += [
            operands.act_format.eq(self.mode.act_format),
            operands.weight_format.eq(self.mode.weight_format),
        ]
        lanes = lane_flags(m, machine.formats, operands)
        steps = Signal(_COUNT_BITS, reset_less=True)  # must survive the flush before a job
        m.d.sync += steps.eq(Mux(lanes.four, (self.k + 3) >> 2, Mux(lanes.two, (self.k + 1) >> 1, self.k)))
        m.d.comb += self.steps.eq(steps)
        tail = Signal(machine.port_bits)
        nibbles = Signal(4)
        with m.If(lanes.four):
            m.d.comb += nibbles.eq(Cat(self._before(self.k[:2], lane, 4) for lane in range(4)))
        with m.Elif(lanes.two):
            m.d.comb += nibbles.eq(Cat(self._before(self.k[:1], lane // 2, 2) for lane in range(4)))
        with m.Else():
            m.d.comb += nibbles.eq(0b1111)
        m.d.comb += tail.eq(Cat(bit.replicate(4) for bit in nibbles))
        unknown = [
            ~Cat(selector == FORMAT_CODES[name] for name in machine.formats).any()
            for selector in (self.mode.act_format, self.mode.weight_format, self.mode.out_format)
        ]
        needs = Signal(range(CODE_BITS + 1))
        with m.Switch(self.mode.out_format):
            for name in machine.formats:
                with m.Case(FORMAT_CODES[name]):
                    m.d.comb += needs.eq(formats.get(name).bits)
        too_many = []
        for act in machine.formats:
            for weight in machine.formats:
                most = machine.mode(act, weight).max_terms
                if most < (1 << _COUNT_BITS) - 1:
                    asked = Cat(
                        operands.act_format == FORMAT_CODES[act], operands.weight_format == FORMAT_CODES[weight]
                    )
                    too_many.append(asked.all() & (self.steps > most))
        m.d.comb += [
            self.act_tail.eq(tail),
            self.weight_tail.eq(tail),
            self.bad_format.eq(Cat(unknown).any() | _unfit(m, self.mode.container, needs, machine.cols)),
            self.too_many_terms.eq(Cat(too_many).any()),
        ]
        return operands

    @staticmethod
    def _before(rest: Value, lane: int, lanes: int) -> Value:
        """Return whether a lane of the last step has a term, if `rest` terms are left for it; 0 means all lanes."""
        return (rest == 0) | (lane < rest) if lane < lanes else rest == 0


class ShiftPath(wiring.Component):
    """`ShiftPEArray` with a `Requantizer` per column, behind the streams of `DatapathSignature`.

    A record: bias in bits 0 to 63, of which `acc_bits` are used; the requantiser's multiplier in bits 64 to 95, its
    shift in bits 96 to 103. The sum with its bias must fit into `acc_bits`.
    """

    code = 1
    """What `BUILD.datapath` says."""

    format_mask = 1

    def __init__(self, geometry: Geometry) -> None:
        assert isinstance(geometry.machine, ShiftArray)
        self.machine = geometry.machine
        self.geometry = geometry
        self.flight_cycles = self.machine.rows + self.machine.cols
        super().__init__(DatapathSignature(geometry))

    def elaborate(self, platform: object) -> Module:
        """Connect array and requantisers."""
        machine = self.machine
        m = Module()
        m.submodules.array = array = ShiftPEArray(machine)
        for name, source, port, count, step_bits, bits in (
            (
                "activations_out",
                self.activations,
                array.activations,
                machine.rows,
                self.geometry.act_step_bits,
                machine.activations.bits,
            ),
            (
                "weights_out",
                self.weights,
                array.weights,
                machine.cols,
                self.geometry.weight_step_bits,
                machine.weights.bits,
            ),
        ):
            vector = Cat(source.payload.data.word_select(index, step_bits)[:bits] for index in range(count))
            ready = _words(m, name, valid=source.valid, last=source.payload.last, vector=vector, port=port)
            m.d.comb += source.ready.eq(ready)
        m.d.comb += self.steps.eq(self.k)
        mode = self.mode
        most = self.geometry.max_terms
        m.d.comb += [
            self.act_tail.eq(~0),
            self.weight_tail.eq(~0),
            self.bad_format.eq(
                Cat(mode.act_format, mode.weight_format, mode.out_format).any()
                | ~mode.params
                | _unfit(m, mode.container, machine.activations.bits, machine.cols)
            ),
            self.too_many_terms.eq(self.steps > most if most < (1 << _COUNT_BITS) - 1 else 0),
        ]
        scales = self._biases(m, array)
        self._requantise(m, array, scales)
        return m

    def _biases(self, m: Module, array: ShiftPEArray) -> Any:
        """Offer a tile's biases to each of its rows; return the queue of what its requantisation needs."""
        machine = self.machine
        records = [self.tiles.payload.records[column] for column in range(machine.cols)]
        scale = data.StructLayout({"multiplier": machine.multiplier_bits, "shift": 8})
        m.submodules.scales = scales = Queue(data.ArrayLayout(scale, machine.cols), 2)
        row = Signal.like(self.tiles.payload.last_row)
        first, last, valid, taken = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            first.eq(row == 0),
            last.eq(row == self.tiles.payload.last_row),
            valid.eq(self.tiles.valid & (~first | scales.i.ready)),
        ]
        vector = Cat(record[: machine.acc_bits] for record in records)
        ready = _words(m, "partials_out", valid=valid, last=last, vector=vector, port=array.partials)
        m.d.comb += [
            taken.eq(valid & ready),
            self.tiles.ready.eq(taken & last),
            scales.i.valid.eq(self.tiles.valid & first & ready),
        ]
        for column, record in enumerate(records):
            m.d.comb += [
                scales.i.payload[column].multiplier.eq(record[64:96]),
                scales.i.payload[column].shift.eq(record[96:104]),
            ]
        with m.If(taken):
            m.d.sync += row.eq(Mux(last, 0, row + 1))
        return scales.o

    def _requantise(self, m: Module, array: ShiftPEArray, scales: Any) -> None:
        """Build the requantisers, which work in step."""
        machine = self.machine
        sums = _vectors(m, array.results, machine.acc_vector_bits)
        valid, ready = Signal(), Signal()
        m.d.comb += [
            valid.eq(sums.valid & scales.valid),
            sums.ready.eq(ready & scales.valid),
            scales.ready.eq(sums.valid & ready & sums.payload.last),
        ]
        for column in range(machine.cols):
            requantizer = Requantizer(machine.acc_bits, machine.act_format, machine.multiplier_bits)
            m.submodules[f"requantizer_{column}"] = requantizer
            payload = requantizer.i.payload
            m.d.comb += [
                requantizer.i.valid.eq(valid),
                payload.acc.eq(sums.payload.data.word_select(column, machine.acc_bits).as_signed()),
                payload.multiplier.eq(scales.payload[column].multiplier),
                payload.shift.eq(scales.payload[column].shift),
                payload.relu.eq(self.mode.relu),
                requantizer.o.ready.eq(self.rows.ready),
                self.rows.payload.word_select(column, CODE_BITS).eq(requantizer.o.payload.as_unsigned()),
            ]
            if not column:
                m.d.comb += [ready.eq(requantizer.i.ready), self.rows.valid.eq(requantizer.o.valid)]
