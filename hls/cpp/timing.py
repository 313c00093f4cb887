"""Times of the dataflow: the authority for initiation interval, latency and depths of streams, by a model of ours.

Every process is one pipelined loop. Its step i begins at

    t[i] = max(t[i - 1] + interval, a[b] - offset[b] for all beats b that it reads in step i),

where beat b can be read from cycle a[b] on; what step i writes at offset o is there at ``t[i] + o + depth``. Streams
hold as many beats as they must, so that nothing ever waits for room. The latency is the cycle after the last beat of
the last output; the interval of the whole is that of its slowest process, ``steps * interval``.

These are estimates: no synthesis tool was asked. The depths are `DEPTHS`, to which a product adds its adder tree.
"""

__all__ = ["DEPTHS", "Time", "depth_of", "times"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError
from tetrit.hls.cpp.processes import Pattern, Process, Stream

Ints = npt.NDArray[np.int64]

DEPTHS = {
    "product": 3,  # read and keep, decode, multiply or shift
    "slide": 2,
    "max pool": 2,
    "average pool": 6,
    "add": 5,
    "look up": 2,
    "narrow": 1,
    "widen": 1,
    "fork": 1,
    "concatenate": 1,
    "load": 2,
    "store": 1,
}
"""Cycles from a step to what it writes, of each kind of process: an assumption."""
REQUANTISE_DEPTH, ENCODE_DEPTH = 4, 6
"""What a product adds where it requantises (bias, multiply in two, shift and clip) or encodes (bias, absolute value,
leading one, align, round, sign)."""

MOST_STEPS = 2**24


@dataclass(frozen=True, kw_only=True)
class Time:
    """When a process is at work on one input, in cycles from the first beat that can be read.

    Attributes
    ----------
    first_read, first_written, last_written : int
        Of its beats.
    """

    first_read: int
    first_written: int
    last_written: int


def depth_of(kind: str, *, products: int = 1, finish: int = 0) -> int:
    """Return the pipeline depth of a process; a product adds up `products` at once and is finished in `finish`."""
    return DEPTHS[kind] + ((products - 1).bit_length() + 1 + finish if kind == "product" else 0)


def times(
    processes: Sequence[Process], inputs: Sequence[Stream]
) -> tuple[dict[str, Time], dict[str, int], dict[str, int]]:
    """Return the times of all processes and, of all streams, the beats that wait at most and the last one's cycle.

    Parameters
    ----------
    processes : sequence of Process
        In an order in which they can run.
    inputs : sequence of Stream
        Which have a beat ready in each cycle from 0 on.

    Raises
    ------
    InvalidValueError
        More steps than can be laid out.
    """
    for process in processes:
        if process.steps > MOST_STEPS or any(s.beats > MOST_STEPS for s in (*process.inputs, *process.outputs)):
            raise InvalidValueError(
                f"'{process.name}' takes {process.steps} steps an input, beyond the {MOST_STEPS} that can be laid out: "
                "ask for a smaller `interval`, or `unroll` it"
            )
    ready: dict[str, Ints] = {stream.name: np.arange(stream.beats, dtype=np.int64) for stream in inputs}
    found: dict[str, Time] = {}
    waiting: dict[str, int] = {}
    last: dict[str, int] = {}
    for process in processes:
        reads, writes = process.pattern()
        start = _starts(process, reads, [ready[stream.name] for stream in process.inputs])
        taken = [start[p.step] + p.offset for p in reads]
        for stream, when in zip(process.inputs, taken, strict=True):
            waiting[stream.name] = _most_waiting(ready.pop(stream.name), when)
        given = [start[p.step] + p.offset + process.depth for p in writes]
        for stream, when in zip(process.outputs, given, strict=True):
            ready[stream.name] = when
            last[stream.name] = int(when[-1])
        first = min((int(when[0]) for when in taken), default=int(start[0]))
        ends = given or [start + process.depth]  # a store writes to memory in each step
        found[process.name] = Time(
            first_read=first,
            first_written=min(int(when[0]) for when in ends),
            last_written=max(int(when[-1]) for when in ends),
        )
    return found, waiting, last


def _starts(process: Process, reads: Sequence[Pattern], ready: Sequence[Ints]) -> Ints:
    """Return the cycles in which steps begin: a running maximum, once each step's own share is taken off."""
    own = np.arange(process.steps, dtype=np.int64) * process.interval
    earliest = np.zeros(process.steps, dtype=np.int64)
    for pattern, when in zip(reads, ready, strict=True):
        np.maximum.at(earliest, pattern.step, when - pattern.offset)
    starts: Ints = np.maximum.accumulate(earliest - own) + own
    return starts


def _most_waiting(written: Ints, read: Ints) -> int:
    """Return how many beats a stream must hold: those written by a cycle and not yet read before it."""
    return int((np.arange(1, len(written) + 1) - np.searchsorted(read, written, side="left")).max())
