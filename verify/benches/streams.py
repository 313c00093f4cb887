"""Bench for designs between valid/ready streams: cases of words in, words out, and cycles.

Stimulus, with `S` a stream's name and words as rows of little-endian bytes:

``sources``, ``sinks``
    Names of the streams that the bench feeds and drains; ports ``S__valid``, ``S__ready``, ``S__payload``.
``words_S``, ``start_S``
    Words of all cases of a stream, uint8 of shape (words, bytes), and the first word of each case and the end, shape
    (cases + 1,). For a sink: the words that are expected.
``payload_bits_S``
    Width of the payload.
``idle_S``
    Per case: probability that a source with words left waits a cycle, or that a sink is not ready in a cycle.
``latency_S``
    Sources, optional: cycles before the first word is offered, and from the hand-over of a word to its return.
``returns_S``
    Sources, optional, per word: index within the case of the word of the first sink whose content this word's data is,
    or -1. It is offered ``1 + latency`` cycles after the word ``until_S`` was handed over at the earliest.
``reset``
    Per case: whether the design is reset before it.
``cut``
    Per case: the cycle in which the case is broken off by a reset, or -1.
``cycles``
    Per case: the cycles that the model predicts; exact unless a stream idles.
``seed``
    Of the waits.

Cycle 0 is the first in which sources may offer words; counting ends with the cycle in which the last word is taken.
Checked in every case: every word and its order; payload and valid hold until ready; nothing is left over; cycles.
Observed: ``words_S`` and ``start_S`` of each sink, and ``taken_S``, the cycle of each word since the simulation began;
``cycles`` and ``mismatches`` per case, ``began``, its cycle 0, and ``wrong_at``, that of its first mismatch, or -1.
"""

__all__: list[str] = []

import random
from itertools import pairwise
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from tetrit.verify.benches import files

_QUIET_CYCLES = 6  # watched after a case's last word


class _Stream:
    """What source and sink share: the handles, the words of every case, the waits."""

    def __init__(self, dut: Any, name: str, arrays: dict[str, Any]) -> None:
        self.name = name
        self.valid = getattr(dut, f"{name}__valid")
        self.ready = getattr(dut, f"{name}__ready")
        self.payload = getattr(dut, f"{name}__payload")
        self.bits = int(arrays[f"payload_bits_{name}"])
        start = arrays[f"start_{name}"]
        words = [int.from_bytes(row.tobytes(), "little") for row in arrays[f"words_{name}"]]
        self.cases = [words[low:high] for low, high in pairwise(start)]
        self.idle_of_case = arrays[f"idle_{name}"].tolist()
        self.words: list[int] = []
        self.idle = 0.0
        self.random = random.Random()

    def begin(self, case: int, seed: int) -> None:
        self.words = self.cases[case]
        self.idle = self.idle_of_case[case]
        self.random = random.Random(f"{seed} {case} {self.name}")


class Source(_Stream):
    """Offers words; drives noise on the payload while it offers none."""

    def __init__(self, dut: Any, name: str, arrays: dict[str, Any]) -> None:
        super().__init__(dut, name, arrays)
        self.latency = int(arrays.get(f"latency_{name}", 0))
        self.noise = random.Random(name).getrandbits(self.bits)
        start = arrays[f"start_{name}"]
        pairs = list(pairwise(start))
        self.returns_of_case = [
            arrays[f"returns_{name}"][a:b].tolist() if f"returns_{name}" in arrays else [] for a, b in pairs
        ]
        self.until_of_case = [
            arrays[f"until_{name}"][a:b].tolist() if f"until_{name}" in arrays else [] for a, b in pairs
        ]
        self.data_mask = (1 << (self.bits - 1)) - 1
        self.taken = 0
        self.offering = True
        self.quiet()

    def quiet(self) -> None:
        """Offer nothing."""
        if self.offering:
            self.offering = False
            self.valid.value = 0
            self.payload.value = self.noise

    def begin_case(self, case: int, seed: int, sink: "Sink") -> None:
        self.begin(case, seed)
        self.taken = 0
        self.returns = self.returns_of_case[case]
        self.until = self.until_of_case[case]
        self.sink = sink
        self.offer(0)

    def offer(self, cycle: int) -> None:
        """Offer the next word in `cycle`, if there is one and it may be."""
        index = self.taken
        if index == len(self.words) or cycle < self.latency or (self.idle and self.random.random() < self.idle):
            self.quiet()
            return
        word = self.words[index]
        if self.returns and self.returns[index] >= 0:
            until = self.until[index]
            if len(self.sink.seen) <= until or cycle < self.sink.seen_at[until] + 1 + self.latency:
                self.quiet()
                return
            word |= self.sink.seen[self.returns[index]] & self.data_mask
        self.payload.value = word
        if not self.offering:
            self.offering = True
            self.valid.value = 1

    def step(self, cycle: int) -> bool:
        """Take note of the hand-over in the cycle before `cycle`; offer a word in `cycle`."""
        moved = self.offering and bool(self.ready.value)
        if moved:
            self.taken += 1
        if moved or not self.offering:
            self.offer(cycle)
        return moved


class Sink(_Stream):
    """Takes words, and watches that an offer stands until it is taken."""

    def __init__(self, dut: Any, name: str, arrays: dict[str, Any]) -> None:
        super().__init__(dut, name, arrays)
        self.seen: list[int] = []
        self.seen_at: list[int] = []
        self.complaints: list[str] = []
        self.open = False
        self.refused: int | None = None
        self.ready.value = 0

    def begin_case(self, case: int, seed: int) -> None:
        self.begin(case, seed)
        self.seen, self.seen_at, self.complaints = [], [], []
        self.complained_at: list[int] = []
        self.refused = None
        self.set_ready()

    def set_ready(self) -> None:
        wanted = not (self.idle and self.random.random() < self.idle)
        if wanted != self.open:
            self.open = wanted
            self.ready.value = int(wanted)

    def step(self, cycle: int) -> bool:
        """Take note of the hand-over in the cycle before `cycle`; decide whether to be ready in `cycle`."""
        offered = bool(self.valid.value)
        moved = offered and self.open
        if offered or self.refused is not None:
            word = int(self.payload.value)
            if self.refused is not None and not offered:
                self.complain(cycle - 1, "drops valid before ready")
            elif self.refused is not None and word != self.refused:
                self.complain(cycle - 1, "changes its payload before ready")
            if moved:
                self.seen.append(word)
                self.seen_at.append(cycle - 1)
            self.refused = word if offered and not moved else None
        self.set_ready()
        return moved

    def complain(self, cycle: int, text: str) -> None:
        """Take note of a breach of the protocol."""
        self.complaints.append(f"cycle {cycle}: {self.name} {text}")
        self.complained_at.append(cycle)

    def wrong_at(self) -> list[int]:
        """Return the cycles of the case in which something was wrong."""
        pairs = zip(self.seen, self.words, self.seen_at, strict=False)
        return [*self.complained_at, *(at for seen, expected, at in pairs if seen != expected)]


class TB:
    """Clock, reset, sources and sinks of one design."""

    def __init__(self, dut: Any, arrays: dict[str, Any]) -> None:
        self.dut = dut
        self.arrays = arrays
        self.sources = [Source(dut, str(name), arrays) for name in arrays["sources"]]
        self.sinks = [Sink(dut, str(name), arrays) for name in arrays["sinks"]]
        self.edge = RisingEdge(dut.clk)
        self.began: list[int] = []
        self.wrong_at: list[int] = []
        Clock(dut.clk, 2, "step").start(start_high=False)

    async def reset(self) -> None:
        """Reset for one cycle with all sources silent."""
        self.dut.rst.value = 1
        for source in self.sources:
            source.quiet()
        await self.edge
        self.dut.rst.value = 0

    async def run(self, case: int) -> tuple[int, int, list[str]]:
        """Run one case; return its cycles, its number of mismatches, and what they are."""
        seed, cut = int(self.arrays["seed"]), int(self.arrays["cut"][case])
        predicted = int(self.arrays["cycles"][case])
        if self.arrays["reset"][case]:
            await self.reset()
        for sink in self.sinks:
            sink.begin_case(case, seed)
        for source in self.sources:
            source.begin_case(case, seed, self.sinks[0])
        self.began.append(files.cycle())
        cycle, moved_at, cycles, quiet = 0, 0, -1, 0
        patience = int(self.arrays["patience"])
        while cycle != cut and quiet < _QUIET_CYCLES and cycle - moved_at < patience:
            await self.edge
            cycle += 1
            moved = False
            for sink in self.sinks:
                moved |= sink.step(cycle)
            for source in self.sources:
                moved |= source.step(cycle)
            if moved:
                moved_at = cycle
            if cycles < 0 and all(len(sink.seen) >= len(sink.words) for sink in self.sinks):
                cycles = cycle
            if cycles >= 0:
                quiet += 1
        complaints = [text for sink in self.sinks for text in sink.complaints]
        wrong = len(complaints)
        for sink in self.sinks:
            number, text = _compare(sink, broken_off=cut >= 0)
            wrong += number
            complaints += text
        if cut < 0:
            for source in self.sources:
                if source.taken < len(source.words):
                    wrong += 1
                    complaints.append(f"{source.name} still holds {len(source.words) - source.taken} words")
            waits = any(stream.idle for stream in (*self.sources, *self.sinks))
            if cycles >= 0 and predicted >= 0 and (cycles < predicted if waits else cycles != predicted):
                wrong += 1
                complaints.append(f"{cycles} cycles, the model says {'at least ' if waits else ''}{predicted}")
        first = min((at for sink in self.sinks for at in sink.wrong_at()), default=max(cycle - 1, 0))
        self.wrong_at.append(self.began[-1] + first if wrong else -1)
        if cut >= 0 or wrong:
            await self.reset()
        return cycles, wrong, [f"case {case}: {text}" for text in complaints]


def _compare(sink: Sink, *, broken_off: bool) -> tuple[int, list[str]]:
    """Count and describe the differences between what a sink took and what it should have taken."""
    texts = []
    wrong = 0
    for index, (seen, expected) in enumerate(zip(sink.seen, sink.words, strict=False)):
        if seen != expected:
            wrong += 1
            if wrong <= 2:
                digits = -(-sink.bits // 4)
                texts.append(f"{sink.name} word {index} is {seen:0{digits}x}, expected {expected:0{digits}x}")
    missing = len(sink.words) - len(sink.seen)
    if missing < 0 or (missing > 0 and not broken_off):
        wrong += abs(missing)
        texts.append(f"{sink.name} has {abs(missing)} words too {'few' if missing > 0 else 'many'}")
    return wrong, texts


@cocotb.test()
async def streams(dut: Any) -> None:
    """Run all cases, then fail if any had a mismatch."""
    arrays = files.load()
    files.end_with_window()
    tb = TB(dut, arrays)
    await tb.reset()
    results = []
    messages: list[str] = []
    seen: dict[str, list[list[int]]] = {sink.name: [] for sink in tb.sinks}
    taken: dict[str, list[int]] = {sink.name: [] for sink in tb.sinks}
    for case in range(len(arrays["cut"])):
        cycles, wrong, texts = await tb.run(case)
        results.append((cycles, wrong))
        messages += texts
        for sink in tb.sinks:
            seen[sink.name].append(sink.seen)
            taken[sink.name] += [tb.began[case] + at for at in sink.seen_at]
    observed: dict[str, Any] = {
        "cycles": np.array([cycles for cycles, _ in results], dtype=np.int64),
        "mismatches": np.array([wrong for _, wrong in results], dtype=np.int64),
        "began": np.array(tb.began, dtype=np.int64),
        "wrong_at": np.array(tb.wrong_at, dtype=np.int64),
    }
    for sink in tb.sinks:
        n_bytes = -(-sink.bits // 8)
        joined = b"".join(word.to_bytes(n_bytes, "little") for words in seen[sink.name] for word in words)
        observed[f"words_{sink.name}"] = np.frombuffer(joined, dtype=np.uint8).reshape(-1, n_bytes)
        observed[f"start_{sink.name}"] = np.cumsum([0, *(len(words) for words in seen[sink.name])])
        observed[f"taken_{sink.name}"] = np.array(taken[sink.name], dtype=np.int64)
    files.save(observed, messages)
    files.report(messages)
