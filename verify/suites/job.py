"""The authority for what a bench is fed: jobs, and the stimulus arrays of the two kinds of bench."""

__all__ = ["Case", "Feed", "Job", "Task", "lockstep_stimulus", "stream_stimulus"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from amaranth.lib.wiring import Component

from tetrit.verify.results import BenchResult

_PATIENCE_CYCLES = 400
"""Cycles without any hand-over, beyond those that design and memories need, before a case is given up."""

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One design, one bench, one stimulus.

    Attributes
    ----------
    name : str
        The design and its parameters.
    component : str
        Name of the component under test.
    design : callable
        Makes the component to be built.
    bench : {"lockstep", "streams"}
        A module of `tetrit.verify.benches`.
    stimulus : mapping of str to ndarray
        What the bench wants, expected values included.
    gates : bool
        Whether the mapped netlist goes through the same bench.
    batch : bool
        Whether a lockstep job runs on a batch model, which is worth its longer build from some 100,000 rows on.
    parts : bool
        Whether that model computes 64 parts of the rows at once: worth a minute's build from ten million rows on.
    """

    name: str
    component: str
    design: Callable[[], Component]
    bench: Literal["lockstep", "streams"]
    stimulus: Mapping[str, npt.NDArray[Any]]
    gates: bool
    batch: bool = False
    parts: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A part of a campaign that can run beside others.

    Attributes
    ----------
    name : str
        The design and its parameters.
    run : callable
        Runs it, and returns its results.
    """

    name: str
    run: Callable[[], list[BenchResult]]


def lockstep_stimulus(
    inputs: Mapping[str, npt.ArrayLike],
    expected: Mapping[str, npt.ArrayLike],
    widths: Mapping[str, int],
    checked: Mapping[str, npt.ArrayLike] | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Return the stimulus of the lockstep bench.

    Parameters
    ----------
    inputs, expected : mapping of str to array_like of int, shape (rows,)
        Values of each port, signed or not.
    widths : mapping of str to int
        Bits of each port, at most 63; values are cut to them.
    checked : mapping of str to array_like of bool, optional
        In which rows an output counts; default all.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    for prefix, group in (("in", inputs), ("expected", expected)):
        for port, values in group.items():
            cut = np.asarray(values).astype(np.int64) & ((1 << widths[port]) - 1)
            arrays[f"{prefix}_{port}"] = cut.astype(np.min_scalar_type((1 << widths[port]) - 1))
    for port, flags in (checked or {}).items():
        arrays[f"check_{port}"] = np.asarray(flags, dtype=np.bool_)
    return arrays


@dataclass(frozen=True, kw_only=True, eq=False)
class Feed:
    """The words of one source in one case.

    Attributes
    ----------
    words : ndarray of uint8, shape (n, bytes)
        Little-endian payloads.
    returns, until : ndarray of int64, shape (n,), or None
        Where a word's data is the content of the sink's word `returns` (-1: no), offered after word `until` was taken.
    """

    words: Bytes
    returns: Ints | None = None
    until: Ints | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One case of the streams bench.

    Attributes
    ----------
    feeds : mapping of str to Feed
        Words of each source.
    expected : mapping of str to ndarray of uint8, shape (n, bytes)
        Words of each sink.
    cycles : int
        What the model predicts, or -1.
    idle : mapping of str to float
        Probability that a stream waits in a cycle; default 0.
    reset : bool
        Whether to reset the design before it.
    cut : int
        Cycle in which a reset breaks it off, or -1.
    """

    feeds: Mapping[str, Feed]
    expected: Mapping[str, Bytes]
    cycles: int = -1
    idle: Mapping[str, float] = field(default_factory=dict)
    reset: bool = True
    cut: int = -1


def stream_stimulus(
    cases: Sequence[Case],
    payload_bits: Mapping[str, int],
    *,
    latency: Mapping[str, int] | None = None,
    depth: int = 0,
    seed: int,
) -> dict[str, npt.NDArray[Any]]:
    """Return the stimulus of the streams bench.

    Parameters
    ----------
    cases : sequence of Case
        At least one; all with the same streams.
    payload_bits : mapping of str to int
        Width of each stream's payload.
    latency : mapping of str to int, optional
        Cycles before a source may offer its first word, and before a returned word may be offered.
    depth : int
        Cycles that the design itself may be silent, from a word taken to the word that follows from it.
    seed : int
        Of the waits.
    """
    arrays: dict[str, npt.NDArray[Any]] = {
        "sources": np.array(list(cases[0].feeds), dtype=str),
        "sinks": np.array(list(cases[0].expected), dtype=str),
        "reset": np.array([case.reset for case in cases]),
        "cut": np.array([case.cut for case in cases], dtype=np.int64),
        "cycles": np.array([case.cycles for case in cases], dtype=np.int64),
        "seed": np.array(seed),
        "patience": np.array(_PATIENCE_CYCLES + depth + 2 * max((latency or {}).values(), default=0)),
    }
    for name, bits in payload_bits.items():
        words = [case.feeds[name].words if name in case.feeds else case.expected[name] for case in cases]
        arrays[f"words_{name}"] = np.concatenate(words)
        arrays[f"start_{name}"] = np.cumsum([0, *map(len, words)])
        arrays[f"payload_bits_{name}"] = np.array(bits)
        arrays[f"idle_{name}"] = np.array([case.idle.get(name, 0.0) for case in cases])
    for name in cases[0].feeds:
        arrays[f"latency_{name}"] = np.array((latency or {}).get(name, 0))
        for attribute in ("returns", "until"):
            columns = [getattr(case.feeds[name], attribute) for case in cases]
            if all(column is not None for column in columns):
                arrays[f"{attribute}_{name}"] = np.concatenate(columns)
    return arrays
