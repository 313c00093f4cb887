"""The order that needs the least room when nothing may leave the scratchpad before its last use."""

__all__ = ["least_peak"]

import heapq
import random
import time

from tetrit.hls.memory._bits import BitGraph, bits
from tetrit.hls.memory._search import Part

_MOST_SETTLED = 1_000_000
"""After so many sets of operators the search gives up as if the time were over: each takes some hundred bytes."""


def least_peak(
    graph: BitGraph, part: Part, floor: int, deadline: float, width: int = 0, rng: random.Random | None = None
) -> tuple[list[int] | None, int]:
    """Return operators in an order of least peak, and that peak; peaks up to `floor` count as equal to it.

    A set of operators that are done fixes what is in the scratchpad, so the search goes over such sets, the lowest peak
    first. If the time is over, the order is None and the peak a lower bound. With a `width`, only so many sets are
    followed after each operator: the peak is then an upper bound.
    """
    size = graph.size

    def steps(done: int, live: int, used: int, peak: int) -> list[tuple[int, int, int, int, int]]:
        found = []
        for op in bits(part.end & ~done):
            if graph.before[op] & ~done:
                continue
            during = used + sum(size[t] for t in bits(graph.needed[op] & ~live))
            after = done | 1 << op
            inside = live | graph.needed[op]
            dying = sum(1 << t for t in bits(graph.needed[op]) if not graph.readers[t] & ~after)
            left = during - sum(size[t] for t in bits(dying))
            step = (op, after, inside & ~dying, left, during)
            if during <= peak and left <= used:  # it fits and makes room: no order that waits with it is better
                return [step]
            found.append(step)
        return found

    first = (part.begin, part.resident, graph.bytes_of(part.resident))
    parents: dict[int, tuple[int, int]] = {}
    peaks = {part.begin: max(floor, first[2])}
    if width:
        layer = {first[0]: (first[1], first[2])}
        for _ in range((part.end & ~part.begin).bit_count()):
            following: dict[int, tuple[int, int]] = {}
            for done, (live, used) in layer.items():
                for op, after, rest, left, during in steps(done, live, used, peaks[done]):
                    peak = max(peaks[done], during)
                    if after not in following or peak < peaks[after]:
                        peaks[after] = peak
                        parents[after] = (done, op)
                        following[after] = (rest, left)
            if time.monotonic() > deadline:
                width = 1
            kept = sorted(following, key=lambda after: (peaks[after], following[after][1]))[:width]
            layer = {after: following[after] for after in kept}
        return _walk(parents, part), peaks[part.end]

    heap: list[tuple[int, int, float, int, int, int]] = [(peaks[part.begin], 0, 0.0, *first)]
    settled: set[int] = set()
    while heap:
        peak, _, _, done, live, used = heapq.heappop(heap)
        if done in settled:
            continue
        settled.add(done)
        if done == part.end:
            return _walk(parents, part), peak
        if len(settled) == _MOST_SETTLED or (len(settled) % 256 == 0 and time.monotonic() > deadline):
            return None, peak
        for op, after, rest, left, during in steps(done, live, used, peak):
            higher = max(peak, during)
            if after in settled or peaks.get(after, higher + 1) <= higher:
                continue
            peaks[after] = higher
            parents[after] = (done, op)
            tie = left if rng is None else rng.random()
            heapq.heappush(heap, (higher, -after.bit_count(), tie, after, rest, left))
    raise AssertionError("every part has an order")


def _walk(parents: dict[int, tuple[int, int]], part: Part) -> list[int]:
    ops, done = [], part.end
    while done != part.begin:
        done, op = parents[done]
        ops.append(op)
    return ops[::-1]
