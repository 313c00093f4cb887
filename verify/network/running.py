"""The authority for running a job program on the RTL, host steps included, and for what counts as equal."""

__all__ = ["SLOW_MEMORY", "NetworkRun", "NodeCheck", "build_coprocessor", "run_network"]

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError, ToolError
from tetrit.hls.jobs import JobProgram, JobStep
from tetrit.rtl.coprocessor.registers import register
from tetrit.sim.coprocessor import Coprocessor
from tetrit.sim.coprocessor.cycles import MemoryTiming, count
from tetrit.verify.batch import BatchCoprocessor, Library
from tetrit.verify.bench import Workbench
from tetrit.verify.results import BenchResult
from tetrit.verify.suites import coprocessor
from tetrit.verify.suites.coprocessor_tasks import emitted
from tetrit.verify.suites.coprocessor_waves import STATES, Stores
from tetrit.verify.waves import Tap, Waves
from tetrit.verify.waves.tracks import number_tracks

Memory = npt.NDArray[np.uint8]

SLOW_MEMORY = MemoryTiming(read_latency=20, write_latency=12, stall=(0.1, 0.1, 0.1, 0.1, 0.1))
"""A memory whose channels wait at random, which the model knows on average only."""

TOLERANCE = 0.02
"""How far the cycles of a whole network may be from the model's on a memory that waits at random."""

_PATIENCE = 2000
_DONE = next(part.mask for part in register("STATUS").fields if part.name == "done")


@dataclass(kw_only=True)
class NodeCheck:
    """What was seen of a node of the graph.

    Attributes
    ----------
    node : str
        Its name; that of an input for the zeros around it.
    integers, mismatches : int
        Integers of its tensor that were compared with the golden ones, and how many differ.
    jobs, inexact : int
        Jobs that ran for it, and how many took other cycles than the model says.
    cycles_rtl, cycles_model : int
        Of all of them.
    message : str
        The first difference in words.
    """

    node: str
    integers: int = 0
    mismatches: int = 0
    jobs: int = 0
    inexact: int = 0
    cycles_rtl: int = 0
    cycles_model: int = 0
    message: str = ""

    def complain(self, text: str) -> None:
        """Keep the first complaint."""
        self.message = self.message or text


@dataclass(kw_only=True)
class NetworkRun:
    """What a network gave on the RTL.

    Attributes
    ----------
    outputs : dict of str to ndarray of int64
        As the hardware left them.
    nodes : dict of str to NodeCheck
        In order.
    passes : int
        Batches that ran.
    exact : bool
        Whether cycles had to be the model's, job by job.
    stray_bytes : int
        Bytes of memory that differ from those of the model after a pass.
    breaches : int
        Breaches of AXI4.
    """

    outputs: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    nodes: dict[str, NodeCheck] = field(default_factory=dict)
    passes: int = 0
    exact: bool = True
    stray_bytes: int = 0
    breaches: int = 0

    @property
    def integers(self) -> int:
        """Integers that were compared."""
        return sum(node.integers for node in self.nodes.values())

    @property
    def mismatches(self) -> int:
        """Integers that differ."""
        return sum(node.mismatches for node in self.nodes.values())

    @property
    def cycles_rtl(self) -> int:
        """Cycles of all jobs, as the hardware counted them."""
        return sum(node.cycles_rtl for node in self.nodes.values())

    @property
    def cycles_model(self) -> int:
        """Cycles of all jobs, as the model predicts them."""
        return sum(node.cycles_model for node in self.nodes.values())

    @property
    def cycles_within(self) -> bool:
        """Whether cycles are as near to the model's as they must be."""
        if self.exact:
            return not any(node.inexact for node in self.nodes.values())
        return abs(self.cycles_rtl - self.cycles_model) <= TOLERANCE * self.cycles_model

    @property
    def passed(self) -> bool:
        """Whether all is as it must be."""
        return not (self.mismatches or self.stray_bytes or self.breaches) and self.cycles_within

    def benches(self, name: str) -> list[BenchResult]:
        """Return the results as a report has them: one for each node, or on a memory that waits one for all."""
        if not self.exact:
            wrong = self.mismatches + self.stray_bytes + self.breaches + (not self.cycles_within)
            texts = [node.message for node in self.nodes.values() if node.message]
            return [_bench(name, self.integers, wrong, self.cycles_rtl, self.cycles_model, 0, texts)]
        found = []
        for check in self.nodes.values():
            if not check.integers and not check.jobs:
                continue
            wrong = check.mismatches + check.inexact
            texts = [check.message] if check.message else []
            found.append(
                _bench(
                    f"{check.node} on {name if check.jobs else 'the host'}",
                    check.integers,
                    wrong,
                    check.cycles_rtl,
                    check.cycles_model,
                    check.jobs,
                    texts,
                )
            )
        wrong = self.stray_bytes + self.breaches
        texts = [f"{self.stray_bytes} bytes of memory and {self.breaches} transfers are wrong"] if wrong else []
        found.append(_bench(f"memory and bus of {name}", self.passes, wrong, None, None, 0, texts))
        return found


def _bench(
    name: str, vectors: int, wrong: int, rtl: int | None, model: int | None, cases: int, texts: list[str]
) -> BenchResult:
    return BenchResult(
        name=name,
        component="MatmulCoprocessor",
        level="rtl",
        vectors=vectors,
        mismatches=wrong,
        cycles_rtl=rtl or None,
        cycles_model=model or None,
        cases=cases,
        passed=wrong == 0,
        message="; ".join(texts[:5]),
    )


def build_coprocessor(unit: Coprocessor, *, build_dir: Path | None = None, waves: Waves | None = None) -> Library:
    """Build the executable co-processor that `run_network` takes; it is kept in `build_dir`.

    With `waves` it can record waveforms.

    Raises
    ------
    ToolError
        A tool is missing, too old, or failed.
    """
    return Workbench(build_dir, waves=waves).coprocessor(emitted(unit))


def run_network(
    program: JobProgram,
    x: npt.ArrayLike,
    *,
    library: Library | None = None,
    build_dir: Path | None = None,
    timing: MemoryTiming | None = None,
    seed: int = 0,
    waves: Waves | None = None,
    name: str = "the co-processor",
) -> NetworkRun:
    """Run images through a network from start to end on the Verilated co-processor.

    Memory lies beside the RTL behind its bus; the host's steps are done on the same memory between the jobs. When a
    tensor is complete it is read from memory and compared with `IntegerGraph.trace`, integer for integer. After each
    pass all of the memory is compared with that of the golden model of the co-processor.

    Parameters
    ----------
    program : JobProgram
        From `tetrit.hls.jobs.compile_jobs`, for a graph with one input.
    x : array_like of int, shape (images, height, width, channels)
        As the graph takes them. The last batch is filled up with zeros, which count.
    library : Library, optional
        Of `build_coprocessor` for the program's unit; built here if it is not given.
    build_dir : Path, optional
        Where it is kept between runs; default ``build/verify``.
    timing : MemoryTiming, optional
        Of the memory; default: no waits, and then every job must take exactly the cycles of the model. With waits the
        sum over all jobs must be within 2 percent.
    seed : int
        Of the waits.
    waves : Waves, optional
        What is recorded, in a second run as far as the window goes, by a library that can.
    name : str
        Of the run, in waveforms.

    Returns
    -------
    NetworkRun

    Raises
    ------
    InvalidValueError
        Several inputs, or images that do not fit.
    ToolError
        A tool is missing, too old, or failed; a job does not end.
    """
    graph = program.graph
    if len(graph.inputs) != 1:
        raise InvalidValueError(f"`program` must have one input, got {', '.join(graph.inputs)}")
    images = np.asarray(x)
    if images.ndim == 0 or images.shape[1:] != graph.tensors[graph.inputs[0]].shape or not len(images):
        wanted = ", ".join(["images", *map(str, graph.tensors[graph.inputs[0]].shape)])
        raise InvalidValueError(f"`x` must have shape ({wanted}), got {images.shape}")
    checks.integer("seed", seed, minimum=0)
    built = build_coprocessor(program.unit, build_dir=build_dir, waves=waves) if library is None else library
    timing = timing or MemoryTiming()
    n_images, batch = len(images), program.batch
    padded = np.zeros((-(-n_images // batch) * batch, *images.shape[1:]), dtype=np.int64)
    padded[:n_images] = images
    history = _History()
    run = _passes(program, built, padded, timing, seed, history)
    run.outputs = {output: found[:n_images] for output, found in run.outputs.items()}
    if waves is not None and built.waves:
        mismatch = history.mismatch
        window = waves.window(mismatch)
        shown = [number for number, cycle in enumerate(history.began) if cycle < window[1]]
        added = number_tracks(
            window, [history.began[n] for n in shown], batch=True, names=[history.names[n] for n in shown]
        )
        with waves.record(
            name,
            "MatmulCoprocessor",
            mismatch=mismatch,
            tracks=[*added, *history.stores.tracks(program.unit, window)],
            enumerations=STATES,
            ports=[port.name for port in built.ports],
        ) as tap:
            _passes(program, built, padded, timing, seed, _History(), tap)
    return run


@dataclass(kw_only=True)
class _History:
    """When the jobs of a run began, and what they stored."""

    names: list[str] = field(default_factory=list)
    began: list[int] = field(default_factory=list)
    stores: Stores = field(default_factory=Stores)
    complained: int | None = None

    @property
    def mismatch(self) -> int | None:
        """The cycle of the first wrong word, or the last one of the first job that was wrong in another way."""
        found = [cycle for cycle in (self.stores.first_wrong, self.complained) if cycle is not None]
        return min(found, default=None)


def _passes(
    program: JobProgram,
    library: Library,
    x: npt.NDArray[np.int64],
    timing: MemoryTiming,
    seed: int,
    history: _History,
    tap: Tap | None = None,
) -> NetworkRun:
    """Run all batches; with `tap` as far as the window goes."""
    run = NetworkRun(exact=not any(timing.stall))
    outputs: dict[str, list[npt.NDArray[np.int64]]] = {name: [] for name in program.graph.outputs}
    memory = program.memory()
    with _design(library, memory, timing, seed, tap) as design:
        for start in range(0, len(x), program.batch):
            _pass(program, design, x[start : start + program.batch], run, timing, history, tap)
            if tap is not None and design.cycle >= tap.end:
                return run
            for name, found in outputs.items():
                found.append(program.read(memory, name))
        run.breaches = design.breaches[0]
    run.outputs = {name: np.concatenate(found) for name, found in outputs.items()}
    return run


@contextmanager
def _design(
    library: Library, memory: Memory, timing: MemoryTiming, seed: int, tap: Tap | None
) -> Iterator[BatchCoprocessor]:
    with BatchCoprocessor(
        library,
        memory,
        read_latency=timing.read_latency,
        write_latency=timing.write_latency,
        stall=timing.stall,
        seed=seed,
        tap=tap,
    ) as design:
        yield design


def _pass(
    program: JobProgram,
    design: BatchCoprocessor,
    x: npt.NDArray[np.int64],
    run: NetworkRun,
    timing: MemoryTiming,
    history: _History,
    tap: Tap | None,
) -> None:
    """Run one batch."""
    golden = program.graph.trace(x)
    memory = design.memory
    program.write_inputs(memory, x)
    model = memory.copy()
    known: dict[Any, int] = {}
    for step, after in program.simulate(model):
        if tap is not None and design.cycle >= tap.end:
            return
        check = run.nodes.setdefault(step.node, NodeCheck(node=step.node))
        if isinstance(step, JobStep):
            if step.job not in known:
                known[step.job] = count(step.job, program.unit, timing).cycles
            history.names.append(step.name)
            history.began.append(design.cycle)
            _job(program, design, step, known[step.job], check, run.exact)
            if design.records and tap is None:
                history.stores.add(design, after, program.unit.data_bytes)
        else:
            program.host(step, memory)
        for name in program.given(step):
            _compare(name, program.read(memory, name), golden[name], check)
        if history.complained is None and check.message:
            history.complained = max(design.cycle - 1, 0)
        model = after
    run.stray_bytes += int((memory != model).sum())
    run.passes += 1


def _job(
    program: JobProgram, design: BatchCoprocessor, step: JobStep, predicted: int, check: NodeCheck, exact: bool
) -> None:
    """Run one job as a driver does: registers, start, interrupt, status."""
    for offset, value in coprocessor.register_writes(step.job, program.unit):
        if not design.write(offset, value):
            raise ToolError(f"'{step.name}': the co-processor did not take register {offset:#x}")
    design.write(coprocessor.offset("CONTROL"), coprocessor.control("start"))
    design.wait(_PATIENCE + 12 * predicted)
    status = design.read(coprocessor.offset("STATUS"))
    cycles = design.read(coprocessor.offset("BUSY_LOW"))
    design.write(coprocessor.offset("STATUS"), coprocessor.clear())
    check.jobs += 1
    check.cycles_rtl += cycles
    check.cycles_model += predicted
    if status != _DONE:
        check.mismatches += 1
        check.complain(f"'{step.name}' ended with status {status:#x}")
    if exact and cycles != predicted:
        check.inexact += 1
        check.complain(f"'{step.name}' took {cycles} cycles, the model says {predicted}")


def _compare(name: str, seen: npt.NDArray[np.int64], golden: npt.NDArray[np.int64], check: NodeCheck) -> None:
    wrong = seen != golden
    check.integers += wrong.size
    check.mismatches += int(wrong.sum())
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        check.complain(f"'{name}' at {at} is {int(seen[at])}, expected {int(golden[at])}")
