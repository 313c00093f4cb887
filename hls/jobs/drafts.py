"""Steps before addresses are known: buffers that live for a time, products and copies over them, and what they cost."""

__all__ = ["Buffer", "Costs", "Draft", "HostDraft", "Move", "Operands", "Work", "collapsed"]

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.hardware import ShiftArray
from tetrit.hls.integer import IntegerNode
from tetrit.hls.jobs.place import Place, aligned
from tetrit.sim.coprocessor import Coprocessor, MatmulJob
from tetrit.sim.coprocessor.cycles import count

JOB_CYCLES = 100
"""What the host spends on starting a job and on its end, when ways to compute a layer are weighed: our assumption."""


@dataclass(kw_only=True, eq=False)
class Buffer:
    """Bytes that some steps share.

    Attributes
    ----------
    name : str
        For the memory map.
    n_bytes : int
        Size.
    address : int
        Once it is placed.
    """

    name: str
    n_bytes: int
    address: int = 0


Spot = tuple[Buffer, int]
"""A buffer and an offset in it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Operands:
    """Constants of a product: weights by output, as codes of shape (k, n), and parameters."""

    weight: npt.NDArray[Any]
    bias: npt.NDArray[np.int64]
    multiplier: npt.NDArray[np.int64]
    shift: npt.NDArray[np.int64]
    relu: bool = False
    same_weights: bool = False


@dataclass(kw_only=True, eq=False)
class Draft:
    """What drafts share."""

    name: str
    node: str
    gives: str | None = None
    touches: tuple[Buffer, ...] = ()


@dataclass(kw_only=True, eq=False)
class Work(Draft):
    """A job: `m` rows of A from `a`, rows of C to `c`."""

    m: int
    a: Spot | None
    a_stride: int
    c: Spot
    c_stride: int
    operands: Operands
    macs: int = 0


@dataclass(kw_only=True, eq=False)
class Move(Draft):
    """A copy by the host, or with no source a clearing."""

    counts: tuple[int, ...]
    source_steps: tuple[int, ...]
    target_steps: tuple[int, ...]
    source: Spot | None
    target: Spot
    block: int

    @property
    def n_bytes(self) -> int:
        """Bytes written."""
        return math.prod(self.counts) * self.block


@dataclass(kw_only=True, eq=False)
class HostDraft(Draft):
    """A node for the host, with the places of its tensors and their buffers."""

    operation: IntegerNode
    sources: tuple[tuple[Buffer, Place], ...]
    target: tuple[Buffer, Place]

    @property
    def n_bytes(self) -> int:
        """Bytes read and written."""
        return sum(place.batch * math.prod(place.shape) for _, place in (*self.sources, self.target))


def collapsed(move: Move) -> Move:
    """Return the same copy with as few loops as there can be."""
    loops = [
        (count, source, target)
        for count, source, target in zip(move.counts, move.source_steps, move.target_steps, strict=True)
        if count > 1
    ]
    block = move.block
    while loops and loops[-1][1] == loops[-1][2] == block:
        block *= loops.pop()[0]
    merged: list[tuple[int, int, int]] = []
    for loop in reversed(loops):
        if merged:
            count, source, target = merged[0]
            if loop[1] == count * source and loop[2] == count * target:
                merged[0] = (count * loop[0], source, target)
                continue
        merged.insert(0, loop)
    counts, sources, targets = zip(*merged, strict=True) if merged else ((), (), ())
    move.counts, move.source_steps, move.target_steps, move.block = counts, sources, targets, block
    return move


@dataclass(kw_only=True, eq=False)
class Costs:
    """What drafts cost, in cycles, for the choice among them.

    Attributes
    ----------
    unit : Coprocessor
        Which runs the jobs.
    host_cycles_per_byte : float
        Of copies and of the host's nodes.
    """

    unit: Coprocessor
    host_cycles_per_byte: float
    _cycles: Callable[..., float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._cycles = lru_cache(maxsize=None)(self._count)

    def of(self, draft: Draft) -> float:
        """Return the cycles of a draft; those of long jobs are estimated from two short ones."""
        if isinstance(draft, Work):
            k, n = draft.operands.weight.shape
            return self._cycles(draft.m, k, n, draft.a_stride, draft.c_stride) + JOB_CYCLES
        assert isinstance(draft, Move | HostDraft)
        return draft.n_bytes * self.host_cycles_per_byte

    def _count(self, m: int, k: int, n: int, a_stride: int, c_stride: int) -> float:
        rows = self.unit.machine.rows
        if m <= 8 * rows:
            return float(count(self._job(m, k, n, a_stride, c_stride), self.unit).cycles)
        short, longer = (count(self._job(tiles * rows, k, n, a_stride, c_stride), self.unit).cycles for tiles in (4, 8))
        return longer + (longer - short) / (4 * rows) * (m - 8 * rows)

    def _job(self, m: int, k: int, n: int, a_stride: int, c_stride: int) -> MatmulJob:
        machine, step = self.unit.machine, self.unit.data_bytes
        assert isinstance(machine, ShiftArray)
        job = MatmulJob(
            m=m,
            k=k,
            n=n,
            act_format=machine.act_format,
            weight_format=machine.weight_format,
            out_format=machine.act_format,
            result_bits=8,
        )
        w_stride = aligned(job.row_bytes(self.unit)[1], step)
        return job.replace(a_stride=a_stride, w_stride=w_stride, c_stride=c_stride)
