"""A memory behind AXI4 of fixed latency: never waits, answers each burst as many cycles later as it is told to."""

__all__ = ["FixedMemory"]

from collections import deque
from collections.abc import Callable
from typing import Any

from cocotb.triggers import RisingEdge

_OKAY, _SLVERR, _DECERR = 0b00, 0b10, 0b11


class FixedMemory:
    """Takes every address and every word in the cycle in which it is offered.

    The first word of a burst whose address is taken in cycle t is there in cycle ``t + read_latency``, or in the cycle
    after the last word of the burst before; the others follow, one a cycle. A burst whose address and last word are
    both taken by cycle t is answered in cycle ``t + write_latency``, or in the cycle after the answer before.

    Parameters
    ----------
    dut : handle
        With ports ``m_axi_*``.
    memory : bytearray
        Read and written in place.
    failure : callable
        Of first byte, number of bytes, and whether they are written: 0, or 1 for SLVERR, or 2 for DECERR.
    """

    def __init__(self, dut: Any, memory: bytearray, failure: Callable[[int, int, bool], int]) -> None:
        self.dut, self.memory, self.failure = dut, memory, failure
        self.width = len(dut.m_axi_wdata) // 8
        self.read_latency = self.write_latency = 1
        for name in ("rvalid", "bvalid", "rdata", "rresp", "bresp", "rlast", "rid", "bid"):
            getattr(dut, f"m_axi_{name}").value = 0
        for name in ("arready", "awready", "wready"):
            getattr(dut, f"m_axi_{name}").value = 1
        self.forget()

    def forget(self) -> None:
        """Start anew, as after a reset."""
        self.now = 0
        self.reads: deque[tuple[int, int, int]] = deque()  # cycle, address, words
        self.bursts: deque[tuple[int, int]] = deque()  # address, words
        self.words: deque[tuple[int, int]] = deque()
        self.answers: deque[tuple[int, int]] = deque()  # cycle, response
        self.word_there = self.answer_there = False

    async def serve(self) -> None:
        """Serve for ever."""
        edge = RisingEdge(self.dut.clk)
        while True:
            await edge
            self.step()

    def step(self) -> None:
        """Take note of the cycle that ends; drive the next one."""
        dut = self.dut
        if dut.rst.value:
            self.forget()
        else:
            if self.word_there and dut.m_axi_rready.value:
                at, address, left = self.reads.popleft()
                if left > 1:
                    self.reads.appendleft((at, address + self.width, left - 1))
            if self.answer_there and dut.m_axi_bready.value:
                self.answers.popleft()
            if dut.m_axi_arvalid.value:
                address, left = int(dut.m_axi_araddr.value), int(dut.m_axi_arlen.value) + 1
                self.reads.append((self.now + self.read_latency, address, left))
            if dut.m_axi_awvalid.value:
                self.bursts.append((int(dut.m_axi_awaddr.value), int(dut.m_axi_awlen.value) + 1))
            if dut.m_axi_wvalid.value:
                self.words.append((int(dut.m_axi_wdata.value), int(dut.m_axi_wstrb.value)))
            self.write()
            self.now += 1
        self.drive()

    def write(self) -> None:
        """Write the bursts that are complete."""
        while self.bursts and len(self.words) >= self.bursts[0][1]:
            address, count = self.bursts.popleft()
            error = self.failure(address, count * self.width, True)
            for index in range(count):
                word, strobes = self.words.popleft()
                given = word.to_bytes(self.width, "little")
                for lane in range(self.width):
                    if strobes >> lane & 1 and not error:
                        self.memory[address + index * self.width + lane] = given[lane]
            self.answers.append((self.now + self.write_latency, (_OKAY, _SLVERR, _DECERR)[error]))

    def drive(self) -> None:
        """Offer what is due."""
        dut = self.dut
        there = bool(self.reads) and self.reads[0][0] <= self.now
        if there:
            _, address, left = self.reads[0]
            error = self.failure(address, self.width, False)
            dut.m_axi_rdata.value = int.from_bytes(self.memory[address : address + self.width], "little")
            dut.m_axi_rresp.value = (_OKAY, _SLVERR, _DECERR)[error]
            dut.m_axi_rlast.value = int(left == 1)
        if there != self.word_there:
            dut.m_axi_rvalid.value = int(there)
            self.word_there = there
        answered = bool(self.answers) and self.answers[0][0] <= self.now
        if answered:
            dut.m_axi_bresp.value = self.answers[0][1]
        if answered != self.answer_there:
            dut.m_axi_bvalid.value = int(answered)
            self.answer_there = answered
