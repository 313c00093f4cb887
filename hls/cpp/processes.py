"""Streams and the processes between them: the authority for what a loop of the generated C++ is."""

__all__ = ["Pattern", "Patterns", "Process", "Stream"]

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tetrit.hls.cpp.geometry import ceil_div

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A stream of beats: `groups` times `count` values, each group packed on its own into beats of `lanes`.

    Attributes
    ----------
    name : str
        In C++.
    type : str
        Of a value, in C++.
    bits : int
        Of a value.
    groups, count, lanes : int
        See above.
    """

    name: str
    type: str
    bits: int
    groups: int
    count: int
    lanes: int

    @property
    def beats(self) -> int:
        """Beats for one input of the network."""
        return self.groups * ceil_div(self.count, self.lanes)

    @property
    def beat(self) -> str:
        """Type of a beat, in C++."""
        return f"tetrit::Beat<{self.type}, {self.lanes}>"

    @property
    def even(self) -> bool:
        """Whether all beats are full, so that groups do not matter."""
        return self.count % self.lanes == 0


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """In which step of a process each beat of a stream moves, and how many cycles after the step's first."""

    step: Ints
    offset: Ints


Patterns = tuple[list[Pattern], list[Pattern]]


@dataclass(frozen=True, kw_only=True)
class Process:
    """One loop that runs beside the others.

    Attributes
    ----------
    name, kind, layer : str
        What it is called; what it does; the layer that it belongs to, "" for none.
    call : str
        What runs it, in C++, with ``{reads}`` and ``{writes}`` for the names of its streams.
    inputs, outputs : tuple of Stream
        What it reads and writes.
    steps, interval, depth : int
        Steps for one input of the network, cycles from one to the next, cycles from a step to what it writes.
    pattern : callable
        Returns the patterns of all inputs and of all outputs.
    """

    name: str
    kind: str
    layer: str
    call: str
    inputs: tuple[Stream, ...]
    outputs: tuple[Stream, ...]
    steps: int
    interval: int
    depth: int
    pattern: Callable[[], Patterns]

    @property
    def statement(self) -> str:
        """The statement that runs it, in C++."""
        reads, writes = (", ".join(stream.name for stream in streams) for streams in (self.inputs, self.outputs))
        return self.call.format(reads=reads, writes=writes) + ";"

    @property
    def cycles(self) -> int:
        """Cycles that it is busy for one input of the network."""
        return self.steps * self.interval
