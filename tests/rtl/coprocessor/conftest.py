"""A memory on the bus, a host on the register bus, and jobs: what the tests of the co-processor share."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from tetrit.hardware import Memory as Scratchpad
from tetrit.hardware import ShiftArray
from tetrit.rtl.coprocessor import MatmulCoprocessor, register
from tetrit.rtl.simd.modes import FORMAT_CODES

OKAY, SLVERR, DECERR = 0, 2, 3
SCRATCHPAD = Scratchpad(size_bytes=256)
SHIFT = ShiftArray(
    rows=2,
    cols=2,
    dataflow="output_stationary",
    act_memory=SCRATCHPAD,
    weight_memory=SCRATCHPAD,
    acc_memory=SCRATCHPAD,
)
CONTAINERS = {4: 0, 8: 1, 16: 2}


@dataclass
class Memory:
    """AXI4 slave: serves bursts in order, waits at random, checks the protocol."""

    size: int = 1 << 16
    read_latency: int = 2
    write_latency: int = 2
    stall: float = 0.0
    seed: int = 1
    bad_reads: range = range(0)
    bad_writes: range = range(0)
    reads: list = field(default_factory=list)  # (address, words)
    writes: list = field(default_factory=list)

    def __post_init__(self):
        self.rng = np.random.default_rng(self.seed)
        self.data = self.rng.integers(0, 256, self.size, dtype=np.uint8)
        self.touched = np.zeros(self.size, dtype=bool)
        self.now = 0
        self.reset()

    def reset(self):
        self.read_queue, self.write_queue, self.word_queue, self.answers = [], [], [], []
        self.r = self.b = None
        self.before = {}

    def waits(self):
        return self.stall > 0 and self.rng.random() < self.stall


class System:
    """The co-processor, its memory, and a host; one `cycle` at a time."""

    def __init__(self, dut, memory):
        self.dut, self.memory = dut, memory
        self.bus_bytes = dut.geometry.bus_bytes
        self.cycles = 0
        self.irq_at = None

    def run(self, bench):
        """Run a coroutine that takes this system; return what it returns."""
        domain, top = ClockDomain("sync"), Module()
        top.domains.sync = self.domain = domain
        top.submodules.dut = self.dut
        result = []

        async def start(context):
            self.context = context
            result.append(await bench(self))

        simulator = Simulator(top)
        simulator.add_clock(1e-6)
        simulator.add_testbench(start)
        simulator.run()
        return result[0]

    def get(self, name):
        return self.context.get(getattr(self.dut, name))

    def set(self, name, value):
        self.context.set(getattr(self.dut, name), value)

    async def cycle(self):
        """Let a cycle pass in which the host's signals are as they are."""
        memory = self.memory
        self.drive()
        seen = self.sample()
        await self.context.tick()
        self.cycles += 1
        memory.now += 1
        self.serve(seen)
        return seen

    def drive(self):
        """Set the memory's outputs for this cycle."""
        memory = self.memory
        for name in ("awready", "wready", "arready"):
            self.set(f"m_axi_{name}", int(not memory.waits()))
        if memory.r is None and memory.read_queue and memory.read_queue[0]["from"] <= memory.now and not memory.waits():
            burst = memory.read_queue[0]
            address = burst["address"]
            bad = address in memory.bad_reads
            if address + self.bus_bytes <= memory.size:
                word, answer = memory.data[address : address + self.bus_bytes].tobytes(), SLVERR if bad else OKAY
            else:
                word, answer = bytes(self.bus_bytes), DECERR
            burst["address"] += self.bus_bytes
            burst["words"] -= 1
            memory.r = (int.from_bytes(word, "little"), answer, int(burst["words"] == 0))
            if burst["words"] == 0:
                memory.read_queue.pop(0)
        self.set("m_axi_rvalid", int(memory.r is not None))
        if memory.r is not None:
            for name, value in zip(("rdata", "rresp", "rlast"), memory.r, strict=True):
                self.set(f"m_axi_{name}", value)
        if memory.b is None and memory.answers and memory.answers[0][0] <= memory.now and not memory.waits():
            memory.b = memory.answers.pop(0)[1]
        self.set("m_axi_bvalid", int(memory.b is not None))
        if memory.b is not None:
            self.set("m_axi_bresp", memory.b)

    def sample(self):
        """Read the bus in this cycle; check that what is offered stays."""
        memory, seen = self.memory, {}
        for channel, names in (("ar", ("addr", "len")), ("aw", ("addr", "len")), ("w", ("data", "strb", "last"))):
            offered = None
            if self.get(f"m_axi_{channel}valid"):
                offered = tuple(self.get(f"m_axi_{channel}{name}") for name in names)
            kept = memory.before.get(channel)
            assert kept is None or kept == offered, f"{channel} changed or was withdrawn before it was taken"
            taken = offered is not None and self.get(f"m_axi_{channel}ready")
            memory.before[channel] = None if taken else offered
            seen[channel] = offered if taken else None
        seen["r"] = memory.r is not None and self.get("m_axi_rready")
        seen["b"] = memory.b is not None and self.get("m_axi_bready")
        seen["irq"] = self.get("irq")
        if seen["irq"] and self.irq_at is None:
            self.irq_at = self.cycles
        return seen

    def serve(self, seen):
        """Take what was offered."""
        memory, size = self.memory, self.bus_bytes
        if seen["r"]:
            memory.r = None
        if seen["b"]:
            memory.b = None
        for channel, log in (("ar", memory.reads), ("aw", memory.writes)):
            if seen[channel] is not None:
                address, length = seen[channel]
                assert address % size == 0
                assert length < self.dut.geometry.burst_beats
                assert address // 4096 == (address + (length + 1) * size - 1) // 4096, "a burst crosses a border"
                log.append((address, length + 1))
                if channel == "ar":
                    start = memory.now - 1 + memory.read_latency
                    memory.read_queue.append({"address": address, "words": length + 1, "from": start})
                else:
                    memory.write_queue.append((address, length + 1))
        if seen["w"] is not None:
            memory.word_queue.append(seen["w"])
        while memory.write_queue and len(memory.word_queue) >= memory.write_queue[0][1]:
            address, words = memory.write_queue.pop(0)
            answer = OKAY
            for index in range(words):
                word, strobe, last = memory.word_queue.pop(0)
                assert last == (index == words - 1)
                here = address + index * size
                if here in memory.bad_writes or here + size > memory.size:
                    answer = SLVERR
                    continue
                for byte in range(size):
                    if strobe >> byte & 1:
                        memory.data[here + byte] = word >> 8 * byte & 0xFF
                        memory.touched[here + byte] = True
            memory.answers.append((memory.now - 1 + memory.write_latency, answer))

    async def store(self, address, value, strobe=15):
        """Write a register; return the response."""
        for name, given in (("awaddr", address), ("wdata", value & 0xFFFFFFFF), ("wstrb", strobe)):
            self.set(f"s_axil_{name}", given)
        for name in ("awvalid", "wvalid", "bready"):
            self.set(f"s_axil_{name}", 1)
        assert self.get("s_axil_awready") and self.get("s_axil_wready")
        await self.cycle()
        for name in ("awvalid", "wvalid"):
            self.set(f"s_axil_{name}", 0)
        assert self.get("s_axil_bvalid")
        response = self.get("s_axil_bresp")
        await self.cycle()
        assert not self.get("s_axil_bvalid")
        return response

    async def load(self, address):
        """Read a register; return value and response."""
        self.set("s_axil_araddr", address)
        self.set("s_axil_arvalid", 1)
        self.set("s_axil_rready", 1)
        await self.cycle()
        self.set("s_axil_arvalid", 0)
        assert self.get("s_axil_rvalid")
        answer = self.get("s_axil_rdata"), self.get("s_axil_rresp")
        await self.cycle()
        return answer

    async def write(self, name, **fields):
        """Write the fields of a register; others 0."""
        found = register(name)
        known = {f.name: f for f in found.fields}
        value = sum((given << known[key].low) & known[key].mask for key, given in fields.items())
        assert await self.store(found.offset, value) == OKAY

    async def read(self, name, part=None):
        """Read a register, or a field of it."""
        found = register(name)
        value, response = await self.load(found.offset)
        assert response == OKAY
        if part is None:
            return value
        [f] = [f for f in found.fields if f.name == part]
        return (value & f.mask) >> f.low

    async def counter(self, name):
        low = await self.read(f"{name}_LOW")
        return low | await self.read(f"{name}_HIGH") << 32

    async def status(self):
        """Return the names of the bits of STATUS that are set."""
        value = await self.read("STATUS")
        return {f.name for f in register("STATUS").fields if value & f.mask}

    async def begin(self, job, start=True):
        """Set all registers and start."""
        for letter in "acw":
            base = getattr(job, f"{letter}_base")
            await self.write(f"{letter.upper()}_BASE_LOW", value=base & 0xFFFFFFFF)
            await self.write(f"{letter.upper()}_BASE_HIGH", value=base >> 32)
            await self.write(f"{letter.upper()}_STRIDE", value=getattr(job, f"{letter}_stride"))
        await self.write("P_BASE_LOW", value=job.p_base)
        await self.write("MODE", **job.mode)
        await self.write("SHIFT", shift=job.shift)
        await self.write("ORDER", n_outer=job.n_outer)
        for name in "mkn":
            await self.write(name.upper(), value=getattr(job, name))
        if start:
            await self.write("CONTROL", start=1, irq_done=1, irq_error=1)

    async def finish(self, limit=20000):
        """Wait for the interrupt."""
        for _ in range(limit):
            if (await self.cycle())["irq"]:
                return
        raise AssertionError("the job hangs")

    async def job(self, job):
        """Run a job to its end; return the bits of STATUS."""
        job.fill(self.memory, self.dut.geometry)
        await self.begin(job)
        await self.finish()
        return await self.status()


@dataclass
class Job:
    """A product with its operands as codes: a (m, k), w (k, n)."""

    a: np.ndarray
    w: np.ndarray
    formats: tuple = (0, 0, 0)
    act_bits: int = 4
    weight_bits: int = 4
    out_bits: int = 4
    relu: int = 0
    shift: int = 0
    n_outer: int = 0
    records: list | None = None
    a_base: int = 0x1000
    w_base: int = 0x5000
    c_base: int = 0x9000
    p_base: int = 0xD000
    pad: int = 0  # bytes more from row to row

    def __post_init__(self):
        (self.m, self.k), self.n = self.a.shape, self.w.shape[1]
        step = 128
        for letter, count, bits in (
            ("a", self.k, self.act_bits),
            ("w", self.k, self.weight_bits),
            ("c", self.n, self.out_bits),
        ):
            setattr(self, f"{letter}_stride", -(-count * bits // step) * step // 8 + self.pad)
        act, weight, out = self.formats
        self.mode = {
            "act_format": act,
            "weight_format": weight,
            "out_format": out,
            "relu": self.relu,
            "params": int(self.records is not None),
            "container": CONTAINERS[self.out_bits],
        }

    def fill(self, memory, geometry):
        """Put operands and parameters into memory."""
        for base, stride, rows, bits in (
            (self.a_base, self.a_stride, self.a, self.act_bits),
            (self.w_base, self.w_stride, self.w.T, self.weight_bits),
        ):
            for index, row in enumerate(rows):
                total = sum(int(code) << bits * place for place, code in enumerate(row))
                given = len(row) * bits
                last = base + index * stride + given // 8
                if given % 8:  # what is beyond the row stays as it was
                    total |= int(memory.data[last]) >> given % 8 << given
                put(memory, base + index * stride, total, -(-given // 8))
        for index, record in enumerate(self.records or ()):
            size = geometry.record_words * geometry.bus_bytes
            put(memory, self.p_base + index * size, record, geometry.record_bits // 8)

    def result(self, memory):
        """Return the codes of C; check that no other byte was written."""
        codes = np.zeros((self.m, self.n), dtype=np.int64)
        expected = np.zeros(memory.size, dtype=bool)
        for row in range(self.m):
            start, n_bytes = self.c_base + row * self.c_stride, -(-self.n * self.out_bits // 8)
            expected[start : start + n_bytes] = True
            total = int.from_bytes(memory.data[start : start + n_bytes].tobytes(), "little")
            for column in range(self.n):
                codes[row, column] = total >> column * self.out_bits & (1 << self.out_bits) - 1
            assert total >> self.n * self.out_bits == 0
        assert (memory.touched == expected).all(), "bytes beyond C were written, or some of C not"
        return codes


def put(memory, address, value, n_bytes):
    """Write an integer, little endian."""
    mask = (1 << 8 * n_bytes) - 1
    memory.data[address : address + n_bytes] = np.frombuffer((value & mask).to_bytes(n_bytes, "little"), np.uint8)


def shift_job(m, k, n, seed=1, **settings):
    """A random job of `SHIFT` with results of 8 bits, and its result."""
    rng = np.random.default_rng(seed)
    a, w = rng.integers(0, 256, (m, k)), rng.choice([0, 1, 2, 3], (k, n))
    bias = rng.integers(-99, 99, n)
    records = [int(b) & (1 << 64) - 1 | 3 << 64 | 4 << 96 for b in bias]
    job = Job(a, w, act_bits=8, weight_bits=2, out_bits=8, records=records, **settings)
    acc = np.where(a > 127, a - 256, a) @ np.array([0, 1, 0, -1])[w] + bias
    return job, np.clip(acc * 3 + 8 >> 4, -128, 127) & 255


@pytest.fixture
def system():
    """Build a system around `SHIFT`, or another machine."""

    def build(machine=SHIFT, memory=None, **settings):
        return System(MatmulCoprocessor(machine, **settings), memory or Memory())

    return build


@pytest.fixture(scope="session")
def bench():
    return SimpleNamespace(
        Job=Job,
        Memory=Memory,
        System=System,
        MatmulCoprocessor=MatmulCoprocessor,
        codes=FORMAT_CODES,
        SHIFT=SHIFT,
        shift_job=shift_job,
    )
