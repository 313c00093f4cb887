"""A network as jobs of the co-processor: the authority for its memory, its steps, and running it as a model."""

__all__ = ["JobProgram", "Totals"]

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.files import write_atomic
from tetrit.hls.integer import IntegerGraph
from tetrit.hls.jobs.layout import Choice
from tetrit.hls.jobs.memory import Segment
from tetrit.hls.jobs.place import Ints, Memory, Place
from tetrit.hls.jobs.steps import Copy, HostNode, JobStep, Step
from tetrit.sim.coprocessor import Coprocessor, execute
from tetrit.sim.coprocessor.cycles import MemoryTiming, count


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What a node of the graph costs over the batch.

    Attributes
    ----------
    node : str
        Its name; that of an input for the zeros around it.
    way : str
        How it is computed.
    jobs, cycles : int
        Of the co-processor.
    macs : int
        That the node needs.
    copied_bytes, cleared_bytes : int
        That the host writes in copies and in clearings.
    computed_bytes : int
        That the host reads and writes to compute the node itself.
    """

    node: str
    way: str
    jobs: int
    cycles: int
    macs: int
    copied_bytes: int
    cleared_bytes: int
    computed_bytes: int


@dataclass(frozen=True, kw_only=True, eq=False)
class JobProgram:
    """An integer graph compiled for the co-processor and the host beside it; see `tetrit.hls.jobs.compile_jobs`.

    Attributes
    ----------
    graph : IntegerGraph
        What it computes.
    unit : Coprocessor
        What it is compiled for.
    batch : int
        Images of a pass.
    steps : tuple of Step
        In order: `JobStep`, `Copy`, `HostNode`.
    places : mapping of str to Place
        Of every tensor; a place holds the tensor from the step that gives it until its last reader is done.
    segments : tuple of Segment
        The memory map.
    constants : bytes
        What lies in memory from address 0 on before the first pass.
    memory_bytes : int
        All of the memory that is used.
    choices : mapping of str to Choice
        How each node is computed.
    """

    graph: IntegerGraph
    unit: Coprocessor
    batch: int
    steps: tuple[Step, ...]
    places: Mapping[str, Place]
    segments: tuple[Segment, ...]
    constants: bytes = field(repr=False)
    memory_bytes: int
    choices: Mapping[str, Choice]

    @property
    def jobs(self) -> tuple[JobStep, ...]:
        """The steps that the co-processor does."""
        return tuple(step for step in self.steps if isinstance(step, JobStep))

    def memory(self) -> Memory:
        """Return the memory before the first pass: constants, and zeros."""
        image = np.zeros(self.memory_bytes, dtype=np.uint8)
        image[: len(self.constants)] = np.frombuffer(self.constants, dtype=np.uint8)
        return image

    def inputs(self, x: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> dict[str, Ints]:
        """Return the inputs by name; InvalidValueError for another batch than the program's, or what the graph refuses.

        Parameters
        ----------
        x : array_like of int, or mapping of str to array_like
            As `IntegerGraph.run` takes it.
        """
        given = x if isinstance(x, Mapping) else {self.graph.inputs[0]: x}
        arrays = {name: np.asarray(array) for name, array in given.items()}
        for name, array in arrays.items():
            if array.ndim == 0 or len(array) != self.batch:
                raise InvalidValueError(f"input '{name}' must have a batch of {self.batch}, got shape {array.shape}")
        return arrays

    def write_inputs(self, memory: Memory, x: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> None:
        """Write the inputs of a pass into memory, in place."""
        for name, array in self.inputs(x).items():
            self.places[name].write(memory, array)

    def read(self, memory: Memory, name: str) -> Ints:
        """Return a tensor from memory, shape (batch, *shape)."""
        place = self.places[checks.choice("name", name, self.graph.tensors)]
        return place.read(memory).reshape(self.batch, *self.graph.tensors[name].shape)

    def host(self, step: Step, memory: Memory) -> None:
        """Do a step of the host, in place."""
        if isinstance(step, Copy):
            step.perform(memory)
        elif isinstance(step, HostNode):
            step.perform(memory, self.graph.tensors)
        else:
            raise TypeError(f"`step` must be one of the host's, got {step!r}")

    def given(self, step: Step) -> tuple[str, ...]:
        """Return the tensors that are complete after a step: what it gives, also in other shapes."""
        if step.gives is None:
            return ()
        found, made = [step.gives], {other.gives for other in self.steps}
        for node in self.graph.nodes:
            if node.output not in made and node.sources[0] in found:
                found.append(node.output)
        return tuple(found)

    def simulate(self, memory: Memory) -> Iterator[tuple[Step, Memory]]:
        """Run a pass on the model of the co-processor; yield each step and the memory after it."""
        for step in self.steps:
            if isinstance(step, JobStep):
                memory = execute(memory, step.job, self.unit).memory
            else:
                memory = memory.copy()
                self.host(step, memory)
            yield step, memory

    def run(self, x: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> dict[str, Ints]:
        """Run a pass on the model; return the outputs by name, as `IntegerGraph.run` does."""
        memory = self.memory()
        self.write_inputs(memory, x)
        for _, after in self.simulate(memory):
            memory = after
        return {name: self.read(memory, name) for name in self.graph.outputs}

    def cycles(self, timing: MemoryTiming | None = None) -> list[int]:
        """Return the cycles of each job that the model predicts, for a memory of fixed latency by default."""
        known: dict[Any, int] = {}
        found = []
        for step in self.jobs:
            if step.job not in known:
                known[step.job] = count(step.job, self.unit, timing).cycles
            found.append(known[step.job])
        return found

    def totals(self, timing: MemoryTiming | None = None) -> tuple[Totals, ...]:
        """Return what each node costs, inputs with zeros around them first."""
        cycles = dict(zip(map(id, self.jobs), self.cycles(timing), strict=True))
        found = []
        for node in dict.fromkeys(step.node for step in self.steps):
            steps = [step for step in self.steps if step.node == node]
            copies = [step for step in steps if isinstance(step, Copy)]
            jobs = [step for step in steps if isinstance(step, JobStep)]
            found.append(
                Totals(
                    node=node,
                    way=str(self.choices.get(node, "zeros around it")),
                    jobs=len(jobs),
                    cycles=sum(cycles[id(step)] for step in jobs),
                    macs=sum(step.macs for step in jobs),
                    copied_bytes=sum(step.n_bytes for step in copies if step.source is not None),
                    cleared_bytes=sum(step.n_bytes for step in copies if step.source is None),
                    computed_bytes=sum(step.n_bytes for step in steps if isinstance(step, HostNode)),
                )
            )
        return tuple(found)

    def files(self, register_header: str | None = None) -> dict[str, str | bytes]:
        """Return job list, memory image and a driver in C as files by name; see `tetrit.hls.jobs.files`.

        Parameters
        ----------
        register_header : str, optional
            The text of ``tetrit_coprocessor.h``, which `tetrit.rtl.coprocessor.header` makes and ``tetrit rtl
            coprocessor --header`` writes; without it this file is left out.
        """
        from tetrit.hls.jobs.files import files

        return files(self, register_header)

    def write(self, directory: Path | str, register_header: str | None = None) -> list[Path]:
        """Write `files` to a folder, each in one step; return what was written.

        Raises
        ------
        InvalidValueError
            If the folder cannot be written, or a node of the host has no C.
        """
        made = self.files(register_header)
        for name, content in made.items():
            write_atomic(Path(directory) / name, content)
        return [Path(directory) / name for name in made]
