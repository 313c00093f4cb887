"""The matrix co-processor: registers, memory bus, scratchpads and an array, put together."""

__all__ = ["MatmulCoprocessor"]

from typing import Any

from amaranth import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit.hardware import ShiftArray
from tetrit.hardware.simd_engine import SimdEngine
from tetrit.rtl.coprocessor.bursts import ReadEngine
from tetrit.rtl.coprocessor.datapaths import path_for
from tetrit.rtl.coprocessor.fetcher import STORES, Fetcher
from tetrit.rtl.coprocessor.fifo import RowFifo
from tetrit.rtl.coprocessor.geometry import CODE_BITS, Geometry
from tetrit.rtl.coprocessor.ports import BUS, LITE, bus_ports, lite_ports
from tetrit.rtl.coprocessor.register_file import RegisterFile
from tetrit.rtl.coprocessor.registers import IDENTITY, VERSION
from tetrit.rtl.coprocessor.stores import OperandStore, ParameterStore
from tetrit.rtl.coprocessor.writer import CONTAINER_CODES, Writer

_INCR = 0b01
_CACHE = 0b0011  # bufferable, not to be cached


class MatmulCoprocessor(wiring.Component):
    """Computes ``C = round(relu(2**shift * (A W + bias)))`` in memory, for matrices of any size.

    One job at a time: set the registers of `tetrit.rtl.coprocessor.registers`, write `CONTROL.start`, wait for the
    interrupt or for `STATUS.busy` to fall. A row of A and the weights of an output are packed along the reduction, low
    code first, in containers of equal width; C is packed the same way, so that it can be the next job's A.

    C is cut into tiles of the array's size. Chunks of both operands are fetched into the one half of the scratchpads
    while the array works on the other; what a half still holds is not fetched again. Sums run on over chunks.

    A job that is refused, that meets an error of the bus, or that is aborted, ends with a bit of `STATUS`: bursts that
    were offered are completed, the array is emptied, and the next job can begin. A response that never comes keeps it
    busy.

    Parameters
    ----------
    machine : SimdEngine or ShiftArray
        The array, output stationary, and its scratchpads. The sizes of the memories count, and the widths of their
        words; latencies do not: the scratchpads have one cycle.
    data_bits : int
        Width of the memory bus: 32, 64, .. 1024.
    address_bits : int
        Width of its addresses: 32 or 64. Addresses wrap.
    burst_beats : int
        Most words of a burst, 1 to 256.

    Members
    -------
    s_axil_* : AXI4-Lite slave, 32 bits
        Registers.
    m_axi_* : AXI4 master
        Memory. One identifier; bursts are INCR, of whole words, and cross no 4 KiB border.
    irq : Out(1)
        High while an enabled bit of `STATUS` is set.

    Notes
    -----
    Timing, from cycle 0 in which the start acts: the job is checked in cycle 1, and ends there if it is refused; the
    first burst is offered in cycle 3, or 4 without parameters. Bursts are offered one per cycle, 8 at most unanswered.
    The array is offered the first vectors of a chunk 2 cycles after the chunk's last word came, and one per cycle from
    then on, which `SimdArray` and `ShiftPEArray` take as they document. A row of results is offered to the bus 3
    cycles after the array, or its requantisers, offered it, if nothing is before it. STATUS changes 2 cycles after the
    last write was answered; `STATUS.busy` is 1 from cycle 1 until then, and BUSY counts just that.
    `tetrit.sim.coprocessor.cycles` predicts it exactly.
    """

    def __init__(
        self,
        machine: SimdEngine | ShiftArray,
        *,
        data_bits: int = 64,
        address_bits: int = 32,
        burst_beats: int = 16,
    ) -> None:
        self.machine = machine
        self.geometry = Geometry(
            machine=machine, data_bits=data_bits, address_bits=address_bits, burst_beats=burst_beats
        )
        super().__init__({**lite_ports(), **bus_ports(self.geometry), "irq": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Put the parts together."""
        geometry, machine = self.geometry, self.machine
        m = Module()
        self._path = path_for(geometry)
        flush = Signal()
        core = ResetInserter(flush)
        m.submodules.registers = registers = RegisterFile(self._constants())
        params = ParameterStore(
            outputs=machine.cols, record_bits=geometry.record_bits, data_bits=geometry.data_bits, rows=machine.rows
        )
        acts = OperandStore(
            members=machine.rows,
            words=geometry.act_chunk_words,
            data_bits=geometry.data_bits,
            step_bits=geometry.act_step_bits,
            max_steps=geometry.chunk_steps,
        )
        weights = OperandStore(
            members=machine.cols,
            words=geometry.weight_chunk_words,
            data_bits=geometry.data_bits,
            step_bits=geometry.weight_step_bits,
            max_steps=geometry.chunk_steps,
        )
        stores: dict[str, Any] = dict(zip(STORES, (params, acts, weights), strict=True))
        reader = ReadEngine(
            data_bits=geometry.data_bits,
            address_bits=geometry.address_bits,
            burst_beats=geometry.burst_beats,
            stores=len(STORES),
            members=max(machine.rows, machine.cols),
            words=max(geometry.act_chunk_words, geometry.weight_chunk_words, machine.cols * geometry.record_words),
        )
        asks = {name: store.ask.payload.shape() for name, store in stores.items()}
        fetcher = Fetcher(geometry, asks, reader.command)
        writer = Writer(geometry)
        fifo = RowFifo(geometry.result_bits, geometry.result_rows)
        for name, part in (
            ("params", params),
            ("acts", acts),
            ("weights", weights),
            ("reader", reader),
            ("fetcher", fetcher),
            ("writer", writer),
            ("fifo", fifo),
            ("path", self._path),
        ):
            m.submodules[name] = core(part)
        self._connect_buses(m, registers, reader, writer)
        self._connect_data(m, stores, reader, fetcher, writer, fifo, registers.settings)
        self._control(m, flush, registers, reader, fetcher, writer)
        return m

    def _constants(self) -> dict[str, dict[str, int]]:
        """Return what the registers say that are fixed."""
        geometry = self.geometry
        return {
            "ID": {"value": IDENTITY},
            "VERSION": {"minor": VERSION[1], "major": VERSION[0]},
            "ARRAY": {"rows": self.machine.rows, "cols": self.machine.cols},
            "BUILD": {
                "datapath": self._path.code,
                "bus_bytes_log2": (geometry.bus_bytes - 1).bit_length(),
                "address_bits": geometry.address_bits,
                "burst_beats": geometry.burst_beats - 1,
                "formats": self._path.format_mask,
            },
            "RECORD": {
                "param_bytes": geometry.record_words * geometry.bus_bytes,
                "act_step_bits": geometry.act_step_bits,
                "weight_step_bits": geometry.weight_step_bits,
            },
            "CHUNK": {"value": geometry.chunk_steps},
        }

    def _connect_buses(self, m: Module, registers: RegisterFile, reader: ReadEngine, writer: Writer) -> None:
        """Connect the ports."""
        for prefix, parts in ((LITE, (registers,)), (BUS, (reader, writer))):
            for part in parts:
                for name, member in part.signature.members.items():
                    port = getattr(self, prefix + name, None)
                    if port is None:
                        continue
                    inner = getattr(part, name)
                    m.d.comb += inner.eq(port) if member.flow is In else port.eq(inner)
        m.d.comb += self.irq.eq(registers.irq)
        for channel in ("aw", "ar"):
            m.d.comb += [
                getattr(self, f"{BUS}{channel}size").eq((self.geometry.bus_bytes - 1).bit_length()),
                getattr(self, f"{BUS}{channel}burst").eq(_INCR),
                getattr(self, f"{BUS}{channel}cache").eq(_CACHE),
            ]

    def _connect_data(
        self,
        m: Module,
        stores: dict[str, Any],
        reader: ReadEngine,
        fetcher: Fetcher,
        writer: Writer,
        fifo: RowFifo,
        settings: Any,
    ) -> None:
        """Connect the streams between the parts."""
        path = self._path
        for number, name in enumerate(STORES):
            store = stores[name]
            mine = reader.store == number
            wiring.connect(m, getattr(fetcher, name), store.ask)
            wiring.connect(m, store.fetch, getattr(fetcher, f"fetch_{name}"))
            m.d.comb += [
                store.write.eq(reader.write & mine),
                store.filled.eq(reader.filled & mine),
                store.filled_half.eq(reader.half),
                store.word.half.eq(reader.half),
                store.word.member.eq(reader.member),
                store.word.word.eq(reader.word),
                store.word.data.eq(reader.data),
            ]
        wiring.connect(m, fetcher.commands, reader.commands)
        wiring.connect(m, stores["params"].tiles, path.tiles)
        wiring.connect(m, stores["acts"].vectors, path.activations)
        wiring.connect(m, stores["weights"].vectors, path.weights)
        wiring.connect(m, fifo.o, writer.rows)
        m.d.comb += [
            stores["acts"].tail.eq(path.act_tail),
            stores["weights"].tail.eq(path.weight_tail),
            fifo.i.valid.eq(path.rows.valid),
            fifo.i.payload.eq(self._packed(path.rows.payload, settings.mode.container)),
            path.rows.ready.eq(fifo.i.ready),
            path.mode.eq(settings.mode),
            path.shift.eq(settings.shift.shift),
            path.k.eq(settings.k.value),
        ]

    def _packed(self, codes: Value, container: Value) -> Value:
        """Return the codes of a row in the containers of the job."""
        lists = {
            bits: Cat(codes.word_select(column, CODE_BITS)[:bits] for column in range(self.machine.cols))
            for bits in CONTAINER_CODES
        }
        return Mux(
            container == CONTAINER_CODES[4],
            lists[4],
            Mux(container == CONTAINER_CODES[8], lists[8], lists[16]),
        )

    def _address(self, settings: Any, name: str) -> Value:
        """Return a base address."""
        low, high = settings[f"{name}_base_low"].value, settings[f"{name}_base_high"].value
        return Cat(low, high)[: self.geometry.address_bits]

    def _control(
        self,
        m: Module,
        flush: Signal,
        registers: RegisterFile,
        reader: ReadEngine,
        fetcher: Fetcher,
        writer: Writer,
    ) -> None:
        """Build what begins and ends jobs."""
        settings, path = registers.settings, self._path
        sizes = [settings[name].value for name in ("m", "k", "n")]
        low = (self.geometry.bus_bytes - 1).bit_length()
        aligned = [self._address(settings, name) for name in "awc"]
        aligned += [settings[f"{name}_stride"].value for name in "awc"]
        aligned.append(Mux(settings.mode.params, self._address(settings, "p"), 0))
        found = Signal(registers.outcome.shape())  # errors so far
        refused = Signal.like(found)
        m.d.comb += [
            refused.misaligned.eq(Cat(address[:low] for address in aligned).any()),
            refused.bad_size.eq(Cat(size == 0 for size in sizes).any()),
            refused.bad_format.eq(path.bad_format),
            refused.too_many_terms.eq(path.too_many_terms),
        ]
        for part in (fetcher, writer):
            job = part.job
            for name in job.shape().members:
                if name.endswith("_base"):
                    value: Value = self._address(settings, name[0])
                elif name.endswith("_stride") or name in ("m", "n"):
                    value = settings[name].value
                else:
                    value = {
                        "n_outer": settings.order.n_outer,
                        "steps": path.steps,
                        "params": settings.mode.params,
                        "container": settings.mode.container,
                    }[name]
                m.d.comb += job[name].eq(value)

        load, halt, busy = Signal(), Signal(), Signal()
        m.d.comb += [
            fetcher.load.eq(load),
            writer.load.eq(load),
            reader.halt.eq(halt),
            writer.halt.eq(halt),
            registers.busy.eq(busy),
            registers.outcome.eq(found),
        ]
        for name, event in (
            ("read_error", reader.failed),
            ("write_error", writer.failed),
            ("aborted", registers.abort),
        ):
            with m.If(busy & event):
                m.d.sync += found[name].eq(1)
        with m.FSM():
            with m.State("IDLE"), m.If(registers.start):
                m.d.comb += flush.eq(1)
                m.d.sync += Value.cast(found).eq(0)
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.comb += busy.eq(1)
                with m.If(refused.as_value().any()):
                    m.d.comb += [registers.outcome.eq(refused), registers.ended.eq(1)]
                    m.next = "IDLE"
                with m.Else():
                    m.d.comb += load.eq(1)
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += [busy.eq(1), halt.eq(found.as_value().any())]
                with m.If(halt & reader.quiet & writer.quiet):
                    m.d.comb += [flush.eq(1), registers.ended.eq(1)]
                    m.next = "IDLE"
                with m.Elif(~halt & writer.finished):
                    m.d.comb += [
                        registers.ended.eq(1),
                        registers.outcome.done.eq(1),
                        registers.outcome.nar.eq(path.nar),
                    ]
                    m.next = "IDLE"
        self._count(m, registers, busy, reader, writer)

    def _count(self, m: Module, registers: RegisterFile, busy: Value, reader: ReadEngine, writer: Writer) -> None:
        """Build the counters."""
        path = self._path
        stepped = path.activations.valid & path.activations.ready
        flight = Signal(range(path.flight_cycles + 1))  # cycles until the last step has left the array
        with m.If(stepped):
            m.d.sync += flight.eq(path.flight_cycles)
        with m.Elif(flight != 0):
            m.d.sync += flight.eq(flight - 1)
        events = {
            "busy": busy,
            "stalled": busy & ~stepped,
            "gated": busy & ~stepped & (flight == 0),
            "steps": busy & stepped,
            "read_words": reader.write,
            "written_words": writer.written,
        }
        for name, event in events.items():
            counter = Signal(64, name=f"{name}_count")
            m.d.comb += registers.counters[name].eq(counter)
            with m.If(registers.start):
                m.d.sync += counter.eq(0)
            with m.Elif(event):
                m.d.sync += counter.eq(counter + 1)
