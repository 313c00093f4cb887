"""What a program of the co-processor is made of: jobs, and what the host does between them."""

__all__ = ["Copy", "HostNode", "JobStep", "Step"]

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tetrit.hls.integer import IntegerNode, IntegerTensor
from tetrit.hls.jobs.place import Memory, Place
from tetrit.sim.coprocessor import MatmulJob


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a program.

    Attributes
    ----------
    name : str
        What it does.
    node : str
        Of the graph, that it belongs to.
    gives : str or None
        The tensor that is complete after it.
    """

    name: str
    node: str
    gives: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobStep(Step):
    """A job of the co-processor.

    Attributes
    ----------
    job : MatmulJob
        With all its addresses.
    macs : int
        Multiply-accumulates of the layer itself among those of the job; 0 for a job that moves or clears data.
    """

    job: MatmulJob
    macs: int = 0


@dataclass(frozen=True, kw_only=True)
class Copy(Step):
    """The host copies blocks of bytes, or clears them.

    Attributes
    ----------
    counts, source_steps, target_steps : tuple of int
        A loop each, outermost first: how many blocks, and bytes from one to the next.
    source : int or None
        Address of the first block; None clears.
    target : int
        Where it goes.
    block : int
        Bytes of a block.
    """

    counts: tuple[int, ...]
    source_steps: tuple[int, ...]
    target_steps: tuple[int, ...]
    source: int | None
    target: int
    block: int

    @property
    def n_bytes(self) -> int:
        """Bytes written."""
        return math.prod(self.counts) * self.block

    def perform(self, memory: Memory) -> None:
        """Do it, in place."""
        to = self._index(self.target, self.target_steps)
        memory[to] = 0 if self.source is None else memory[self._index(self.source, self.source_steps)]

    def _index(self, base: int, steps: tuple[int, ...]) -> npt.NDArray[np.int64]:
        index = np.arange(self.block, dtype=np.int64)
        for count, step in zip(reversed(self.counts), reversed(steps), strict=True):
            index = (np.arange(count, dtype=np.int64) * step)[:, np.newaxis] + index.ravel()
        return base + index.ravel()


@dataclass(frozen=True, kw_only=True, eq=False)
class HostNode(Step):
    """The host computes a node of the graph that is no product.

    Attributes
    ----------
    operation : IntegerNode
        What it computes.
    sources : tuple of Place
        Its inputs, in order.
    target : Place
        Its output.
    """

    operation: IntegerNode
    sources: tuple[Place, ...]
    target: Place

    @property
    def n_bytes(self) -> int:
        """Bytes read, each input once, and written."""
        return sum(place.batch * math.prod(place.shape) for place in (*self.sources, self.target))

    def perform(self, memory: Memory, tensors: Mapping[str, IntegerTensor]) -> None:
        """Do it, in place."""
        given = [
            place.read(memory).reshape(place.batch, *tensors[name].shape)
            for name, place in zip(self.operation.sources, self.sources, strict=True)
        ]
        self.target.write(memory, self.operation.compute(given, tensors))
