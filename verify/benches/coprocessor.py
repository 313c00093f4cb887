"""Bench for the matrix co-processor: jobs over AXI4-Lite, memory behind AXI4, the protocol watched in every cycle.

Stimulus, one entry of each list a case (``_i`` is the case's number):

``memory_i``, ``expected_i``
    All bytes of the memory before and after. Unless ``complete``, each byte is one or the other.
``spans_i``
    Ranges that may be read.
``writes_i``
    Pairs of register offset and value, in order, before the job is started.
``stall``
    Per case and channel (AR, R, AW, W, B): probability that the bus partner waits a cycle.
``fixed``
    Whether the memory is `FixedMemory`, which never waits, or cocotbext-axi's, for all cases.
``latency``
    Per case, of reads and of writes: what a `FixedMemory` is told; the other adds the first number to each burst.
``fail_i``
    Rows ``(first, end, kind)``: bursts that touch these bytes are answered with an error; kind 0 reads, 1 writes;
    2 and 3 the same with DECERR.
``act``, ``act_cycle``
    Per case: 0 nothing, 1 abort, 2 reset, 3 a write of the registers ``locked``, which must be refused; and the cycle
    after the start in which it happens.
``bytewise``
    Per case: whether registers are written byte by byte.
``status``, ``status_mask``
    Per case: what the status register must say at the end.
``counters``
    Per case: counters that are predicted, -1 where not, in the order of ``counter_offsets``, low halves. Cycles come
    first, and may differ by the share ``tolerance``.
``unused``, ``constant``
    Offsets at which there is no register, and of registers that nothing writes: accesses that must be refused.

Offsets of registers: ``control``, ``status_offset``, and values ``start``, ``abort``, ``clear``.

Observed: ``cycles``, ``mismatches``, ``counters`` per case, and ``ended``, its last cycle since the simulation began.
"""

__all__: list[str] = []

import logging
import random
from collections.abc import Callable, Iterator
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRamRead, AxiRamWrite, AxiResp

from tetrit.verify.benches import files
from tetrit.verify.benches.coprocessor_memory import FixedMemory
from tetrit.verify.benches.coprocessor_rules import Rules

_RESET_CYCLES = 3
_NOTHING, _ABORT, _RESET, _POKE = range(4)
_CHANNELS = ("ar", "r", "aw", "w", "b")


class TB:
    """Clock, reset, host, memory and rules of one co-processor."""

    def __init__(self, dut: Any, arrays: dict[str, Any]) -> None:
        self.dut = dut
        self.arrays = arrays
        self.memory = bytearray(int(max(len(arrays[f"memory_{i}"]) for i in range(len(arrays["act"])))))
        for name in ("s_axil_aw", "s_axil_w", "s_axil_b", "s_axil_ar", "s_axil_r", "m_axi"):
            logging.getLogger(f"cocotb.dut.{name}").setLevel(logging.ERROR)
        logging.getLogger("cocotb.dut").setLevel(logging.ERROR)
        Clock(dut.clk, 2, "step").start(start_high=False)
        self.edge = RisingEdge(dut.clk)
        self.host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        self.rules = Rules(dut, int(arrays["burst_beats"]))
        cocotb.start_soon(self.rules.watch())
        self.fail: list[tuple[int, int, int]] = []
        self.latency = 0
        self.fixed: FixedMemory | None = None
        if arrays["fixed"]:
            self.fixed = FixedMemory(dut, self.memory, self.failure)
            cocotb.start_soon(self.fixed.serve())
            return
        bus = AxiBus.from_prefix(dut, "m_axi")
        self.reads = AxiRamRead(bus.read, dut.clk, dut.rst, mem=self.memory)
        self.stores = AxiRamWrite(bus.write, dut.clk, dut.rst, mem=self.memory)
        self.ports = {
            "ar": self.reads.ar_channel,
            "r": self.reads.r_channel,
            "aw": self.stores.aw_channel,
            "w": self.stores.w_channel,
            "b": self.stores.b_channel,
        }
        writes, reads = self.host.write_if, self.host.read_if
        self.host_ports = {
            "host aw": writes.aw_channel,
            "host w": writes.w_channel,
            "host b": writes.b_channel,
            "host ar": reads.ar_channel,
            "host r": reads.r_channel,
        }
        self._arm()

    def _arm(self) -> None:
        """Let the memory answer with errors, and wait, where a case says so."""
        read, write = self.reads._read, self.stores._write
        receive, send, answer = self.reads.ar_channel.recv, self.reads.r_channel.send, self.stores.b_channel.send

        async def late() -> Any:
            item = await receive()
            if self.latency:
                await ClockCycles(self.dut.clk, self.latency)
            return item

        async def failing_read(address: int, length: int) -> Any:
            self._refuse(address, length, written=False)
            return await read(address, length)

        async def failing_write(address: int, data: bytes) -> None:
            self._refuse(address, len(data), written=True)
            await write(address, data)

        def decoded(forward: Callable[[Any], Any], field: str) -> Callable[[Any], Any]:
            async def passed(item: Any) -> None:
                if getattr(item, field) == AxiResp.SLVERR and any(kind >= 2 for _, _, kind in self.fail):
                    setattr(item, field, AxiResp.DECERR)
                await forward(item)

            return passed

        self.reads._read, self.stores._write = failing_read, failing_write
        self.reads.ar_channel.recv = late
        self.reads.r_channel.send = decoded(send, "rresp")
        self.stores.b_channel.send = decoded(answer, "bresp")

    def failure(self, address: int, length: int, written: bool) -> int:
        """Return whether a transfer fails: 0 no, 1 with SLVERR, 2 with DECERR."""
        for first, end, kind in self.fail:
            if kind % 2 == int(written) and first < address + length and address < end:
                return 1 + kind // 2
        return 0

    def _refuse(self, address: int, length: int, *, written: bool) -> None:
        if self.failure(address, length, written):
            raise OSError("this address answers with an error")

    async def reset(self) -> None:
        """Reset; the design must be silent meanwhile."""
        self.dut.rst.value = 1
        await self.edge
        for _ in range(_RESET_CYCLES):
            await self.edge
            for name in ("m_axi_arvalid", "m_axi_awvalid", "m_axi_wvalid", "irq"):
                if getattr(self.dut, name).value:
                    self.rules.say(f"{name} is 1 in reset")
        self.dut.rst.value = 0
        await self.edge

    def stalls(self, case: int) -> None:
        """Set the waits of all channels."""
        latencies = self.arrays["latency"][case].tolist()
        self.latency = latencies[0]
        if self.fixed is not None:
            self.fixed.read_latency, self.fixed.write_latency = latencies
            return
        for name, probability in zip(_CHANNELS, self.arrays["stall"][case].tolist(), strict=True):
            port = self.ports[name]
            self.pause(port, f"{case} {name}", probability)
        punctual = int(self.arrays["act"][case]) in (_ABORT, _POKE)  # else the job may end before the host acts
        for name, port in self.host_ports.items():
            self.pause(port, f"{case} {name}", 0.0 if punctual else self.arrays["stall"][case][0])

    def pause(self, port: Any, key: str, probability: float) -> None:
        """Set the waits of a channel."""
        port.clear_pause_generator()
        port.pause = False
        if probability:
            port.set_pause_generator(_waits(f"{int(self.arrays['seed'])} {key}", probability))

    async def read(self, offset: int) -> int:
        """Return a register."""
        return int.from_bytes((await self.host.read(offset, 4)).data, "little")

    async def write(self, offset: int, value: int, *, bytewise: bool = False) -> None:
        """Set a register."""
        data = value.to_bytes(4, "little")
        parts = [(offset + lane, data[lane : lane + 1]) for lane in (2, 0, 3, 1)] if bytewise else [(offset, data)]
        for at, part in parts:
            answer = await self.host.write(at, part)
            if answer.resp != AxiResp.OKAY:
                self.rules.say(f"register {at:#x} answers {answer.resp!r}")

    async def run(self, case: int) -> tuple[int, list[str], list[int]]:
        """Run one case; return its busy cycles, what is wrong, and its counters."""
        arrays = self.arrays
        self.rules.complaints.clear()
        given = arrays[f"memory_{case}"].tobytes()
        self.memory[: len(given)] = given
        self.rules.spans = [tuple(row) for row in arrays[f"spans_{case}"].tolist()]
        self.fail = [tuple(row) for row in arrays[f"fail_{case}"].tolist()]
        self.stalls(case)
        for offset, value in arrays[f"writes_{case}"].tolist():
            await self.write(offset, value, bytewise=bool(arrays["bytewise"][case]))
        act, after = int(arrays["act"][case]), int(arrays["act_cycle"][case])
        await self.begin(act, after)
        if act == _RESET:
            await self.reset()
            self.check_memory(case)
            return -1, list(self.rules.complaints), []
        if not await self.ended():
            await self.reset()
            return -1, ["the job does not end", *self.rules.complaints], []
        return await self.judge(case)

    async def begin(self, act: int, after: int) -> None:
        """Start the job; abort it, or write registers that are locked, some cycles later, or at once."""
        arrays = self.arrays
        control = int(arrays["control"])
        start, abort = (int(arrays[name]).to_bytes(4, "little") for name in ("start", "abort"))
        if act == _ABORT and not after:
            pending = [self.host.init_write(control, word) for word in (start, abort)]
            for event in pending:
                await event.wait()
            return
        await self.write(control, int(arrays["start"]))
        if act == _NOTHING:
            return
        await ClockCycles(self.dut.clk, after)
        if act == _ABORT:
            await self.write(control, int(arrays["abort"]))
        elif act == _POKE:
            for offset in arrays["locked"].tolist():
                await self.refused(offset, "in mid-job")

    async def refused(self, offset: int, when: str) -> None:
        """Write a register that must refuse it."""
        answer = await self.host.write(offset, b"\xff\xff\xff\xff")
        if answer.resp != AxiResp.SLVERR:
            self.rules.say(f"register {offset:#x} takes a write {when}")

    async def misuse(self) -> list[str]:
        """Access what there is not; return what is wrong."""
        for offset in (*self.arrays["unused"].tolist(), *self.arrays["constant"].tolist()):
            await self.refused(offset, "that it has no use for")
        for offset in self.arrays["unused"].tolist():
            answer = await self.host.read(offset, 4)
            if answer.resp != AxiResp.SLVERR:
                self.rules.say(f"register {offset:#x} is read, and there is none")
        return [f"registers: {text}" for text in self.rules.complaints]

    async def ended(self) -> bool:
        """Wait for the interrupt, as long as patience lasts."""
        for _ in range(int(self.arrays["patience"])):
            await self.edge
            if self.dut.irq.value:
                return True
        return False

    async def judge(self, case: int) -> tuple[int, list[str], list[int]]:
        """Check what a job that has ended leaves behind."""
        arrays, complaints = self.arrays, self.rules.complaints
        if not self.rules.quiet:
            complaints.append("bursts are under way after the end")
        status = await self.read(int(arrays["status_offset"]))
        mask, wanted = int(arrays["status_mask"][case]), int(arrays["status"][case])
        if status & mask != wanted:
            complaints.append(f"status is {status & mask:#x}, expected {wanted:#x}")
        counters = [await self.read(offset) for offset in arrays["counter_offsets"].tolist()]
        for index, (seen, model) in enumerate(zip(counters, arrays["counters"][case].tolist(), strict=True)):
            within = 0.0 if index else float(arrays["tolerance"][case]) * model
            if model >= 0 and abs(seen - model) > within:
                what = f"counter {index} is {seen}, expected" if index else f"{seen} cycles, the model says"
                complaints.append(f"{what} {model}")
        cycles = counters[0]
        self.check_memory(case)
        await self.write(int(arrays["status_offset"]), int(arrays["clear"]))
        await self.edge
        if self.dut.irq.value:
            complaints.append("the interrupt stays after it was cleared")
        return cycles, list(complaints), counters

    def check_memory(self, case: int) -> None:
        """Compare memory with what it must be."""
        expected, before = self.arrays[f"expected_{case}"], self.arrays[f"memory_{case}"]
        seen = np.frombuffer(bytes(self.memory[: expected.size]), dtype=np.uint8)
        wrong = seen != expected
        if not self.arrays["complete"][case]:
            wrong &= seen != before
        places = np.flatnonzero(wrong)
        self.rules.complaints += [
            f"byte {at:#x} is {seen[at]:02x}, expected {expected[at]:02x}" for at in places[:2].tolist()
        ]
        if places.size > 2:
            self.rules.complaints.append(f"{places.size} bytes are wrong")


def _waits(key: str, probability: float) -> Iterator[bool]:
    """Yield whether to wait, for ever."""
    source = random.Random(key)
    while True:
        yield source.random() < probability


@cocotb.test()
async def coprocessor(dut: Any) -> None:
    """Run all cases, then fail if any had a mismatch."""
    arrays = files.load()
    files.end_with_window()
    tb = TB(dut, arrays)
    await tb.reset()
    messages = await tb.misuse()
    cycles, mismatches, counters, ended = [], [], [], []
    width = len(arrays["counter_offsets"])
    for case in range(len(arrays["act"])):
        taken, complaints, counted = await tb.run(case)
        cycles.append(taken)
        ended.append(files.cycle() - 1)
        mismatches.append(len(complaints))
        counters.append(counted or [-1] * width)
        messages += [f"case {case}: {text}" for text in complaints]
    mismatches[0] += sum(text.startswith("registers") for text in messages)
    files.save(
        {
            "cycles": np.array(cycles, dtype=np.int64),
            "mismatches": np.array(mismatches, dtype=np.int64),
            "ended": np.array(ended, dtype=np.int64),
            "counters": np.array(counters, dtype=np.int64).reshape(-1, width),
        },
        messages,
    )
    files.report(messages)
