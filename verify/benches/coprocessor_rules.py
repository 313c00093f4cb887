"""The rules of AXI that a co-processor must keep, watched cycle by cycle."""

__all__ = ["Rules"]

from collections import deque
from typing import Any, ClassVar

from cocotb.triggers import RisingEdge

_BOUNDARY = 4096


class Rules:
    """What AXI demands of the design, checked in every cycle.

    Valid and payload stay until ready; no valid in reset; bursts increment by whole beats, are aligned, no longer than
    allowed and within 4 KiB; the last beat of each burst and no other is marked so; answers are expected; nothing is
    read that is not the job's.
    """

    _PAYLOADS: ClassVar[dict[str, tuple[str, ...]]] = {
        "m_axi_ar": ("addr", "len", "size", "burst"),
        "m_axi_aw": ("addr", "len", "size", "burst"),
        "m_axi_w": ("data", "strb", "last"),
        "s_axil_b": ("resp",),
        "s_axil_r": ("data", "resp"),
    }

    def __init__(self, dut: Any, burst_beats: int) -> None:
        self.dut = dut
        self.burst_beats = burst_beats
        self.size = (len(dut.m_axi_wdata) // 8).bit_length() - 1
        self.channels = {
            name: (
                getattr(dut, f"{name}valid"),
                getattr(dut, f"{name}ready"),
                [getattr(dut, name + field) for field in fields],
            )
            for name, fields in self._PAYLOADS.items()
        }
        self.answers = [
            tuple(getattr(dut, f"m_axi_{name}") for name in names)
            for names in (("rvalid", "rready", "rlast"), ("bvalid", "bready"))
        ]
        self.complaints: list[str] = []
        self.spans: list[tuple[int, int]] = []
        self.forget()

    def forget(self) -> None:
        """Start anew, as after a reset."""
        self.refused: dict[str, tuple[int, ...]] = {}
        self.beats: deque[int] = deque()  # of write bursts whose data are still to come
        self.ahead: deque[bool] = deque()  # beats of data that came before their address: marked as last?
        self.reads: deque[int] = deque()
        self.writes = 0  # bursts whose answer is to come
        self.finished = 0  # of these, those with all data sent

    @property
    def quiet(self) -> bool:
        """Whether no burst is under way."""
        return not (self.beats or self.reads or self.writes or self.ahead or self.refused)

    def say(self, text: str) -> None:
        """Note a breach."""
        self.complaints.append(text)

    async def watch(self) -> None:
        """Check every cycle, for ever."""
        edge = RisingEdge(self.dut.clk)
        while True:
            await edge
            self.step()

    def step(self) -> None:
        """Check the cycle that ends."""
        if self.dut.rst.value:
            self.forget()
            return
        for name, (valid, ready, fields) in self.channels.items():
            before = self.refused.get(name)
            if not valid.value:
                if before is not None:
                    self.say(f"{name} drops valid before ready")
                    del self.refused[name]
                continue
            payload = tuple(int(field.value) for field in fields)
            if before is not None and payload != before:
                self.say(f"{name} changes its payload before ready")
            if ready.value:
                self.refused.pop(name, None)
                self.taken(name, payload)
            else:
                self.refused[name] = payload
        (valid, ready, last), (answered, taken) = self.answers
        if valid.value and ready.value:
            self.reads[0] -= 1
            if bool(last.value) != (self.reads[0] == 0):
                self.say("the bench's memory marks a wrong beat as last")
            if not self.reads[0]:
                self.reads.popleft()
        if answered.value and taken.value:
            self.writes -= 1

    def taken(self, name: str, payload: tuple[int, ...]) -> None:
        """Check what was handed over."""
        if name == "m_axi_w":
            self.data(bool(payload[2]))
        elif name in ("m_axi_ar", "m_axi_aw"):
            self.burst(name, *payload)

    def burst(self, name: str, address: int, length: int, size: int, kind: int) -> None:
        """Check a burst's address."""
        n_bytes = (length + 1) << self.size
        if kind != 1 or size != self.size:
            self.say(f"{name} at {address:#x} is no incrementing burst of whole beats")
        if address & ((1 << self.size) - 1):
            self.say(f"{name} at {address:#x} is not aligned")
        if length + 1 > self.burst_beats:
            self.say(f"{name} at {address:#x} has {length + 1} beats")
        if address // _BOUNDARY != (address + n_bytes - 1) // _BOUNDARY:
            self.say(f"{name} at {address:#x} crosses 4 KiB")
        if name == "m_axi_ar":
            self.reads.append(length + 1)
            if not any(first <= address and address + n_bytes <= end for first, end in self.spans):
                self.say(f"{name} reads {address:#x} to {address + n_bytes:#x}, which is not the job's")
            return
        self.writes += 1
        self.beats.append(length + 1)
        while self.ahead and self.beats:
            self.data(self.ahead.popleft())

    def data(self, last: bool) -> None:
        """Check that a beat of data is marked as last as its burst says."""
        if not self.beats:
            self.ahead.append(last)
            return
        self.beats[0] -= 1
        if last != (self.beats[0] == 0):
            self.say("wlast is not at the burst's end" if last else "wlast is missing at the burst's end")
        if not self.beats[0]:
            self.beats.popleft()
