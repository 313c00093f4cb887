"""The authority for one bench on one design: Verilog, executable model, simulation, and the result in numbers."""

__all__ = ["DEFAULT_BUILD_DIR", "TOP", "Outcome", "Workbench"]

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import rtl
from tetrit.errors import InvalidValueError
from tetrit.verify import tools
from tetrit.verify.batch import (
    Library,
    StitchedModel,
    build_library,
    coprocessor_source,
    in_lanes,
    lockstep,
    sliced,
)
from tetrit.verify.building import ports
from tetrit.verify.model import Model, build
from tetrit.verify.results import BenchResult, Level
from tetrit.verify.simulate import simulate
from tetrit.verify.suites.job import Job
from tetrit.verify.waves import Tap, Waves, tracks

DEFAULT_BUILD_DIR = Path("build", "verify")
Executable = Model | Library | StitchedModel
TOP = "dut"
"""Name of the top module of every design."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What a job gave: the result, and every array that the bench observed."""

    result: BenchResult
    observed: dict[str, npt.NDArray[Any]]


class Workbench:
    """Builds models and runs jobs on them.

    Parameters
    ----------
    build_dir : Path or None
        Where models are kept; default `DEFAULT_BUILD_DIR`.
    waves : Waves or None
        What is recorded of jobs at RTL level; their models are built so that they can be.

    Raises
    ------
    ToolError
        A tool is missing or too old.
    """

    def __init__(self, build_dir: Path | None, *, waves: Waves | None = None) -> None:
        self.build_dir = DEFAULT_BUILD_DIR if build_dir is None else Path(build_dir)
        self.waves = waves
        self.toolchain = tools.find()

    def verilog(self, job: Job, level: Level) -> str:
        """Return the Verilog of a job's design: as emitted, or mapped to the default library, with cell models."""
        if level == "rtl":
            return rtl.to_verilog(job.design(), TOP)
        synthesis = rtl.synthesize(job.design(), name=TOP)
        return f"{synthesis.models}\n{synthesis.netlist}"

    def model(self, job: Job, level: Level) -> Executable:
        """Return what a job runs on: lockstep jobs that are recorded, or are long, on a batch model."""
        recorded = self.waves is not None and level == "rtl"
        verilog = self.verilog(job, level)
        if job.parts and not recorded:
            found = self.parts(verilog)
            if found is not None:
                return found
        if job.batch or (recorded and job.bench == "lockstep"):
            return self.library(verilog, waves=recorded)
        return self.build(verilog, waves=recorded)

    def build(self, verilog: str, *, waves: bool = False) -> Model:
        """Return the executable model; safe to call from several threads."""
        return build(verilog, TOP, toolchain=self.toolchain, directory=self.build_dir, waves=waves)

    def library(self, verilog: str, *, optimisation: int = 1, waves: bool = False) -> Library:
        """Return the batch model of a design; safe to call from several threads."""
        return build_library(
            verilog,
            TOP,
            toolchain=self.toolchain,
            directory=self.build_dir,
            optimisation=optimisation,
            waves=waves,
        )

    def parts(self, verilog: str) -> StitchedModel | None:
        """Return the model that computes 64 parts of the rows at once; None if the design does not allow it."""
        lanes = in_lanes(verilog, TOP, directory=self.build_dir)
        if lanes is None:
            return None
        return StitchedModel(self.library(lanes), ports(verilog, TOP), lambda: self.library(verilog))

    def coprocessor(self, verilog: str) -> Library:
        """Return the batch model of a co-processor, for `tetrit.verify.batch.BatchCoprocessor`.

        Equal instances in it are sliced, except where it is recorded: every element has its own waveforms there.
        """
        recorded = self.waves is not None
        text = verilog if recorded else sliced(verilog, TOP, directory=self.build_dir)
        return build_library(
            text,
            TOP,
            toolchain=self.toolchain,
            directory=self.build_dir,
            optimisation=3 if text == verilog and not recorded else 1,  # a slice is long to compile, and fast anyway
            driver=coprocessor_source(ports(verilog, TOP), waves=recorded),
            waves=recorded,
        )

    def observe(self, job: Job, model: Executable, tap: Tap | None = None) -> dict[str, npt.NDArray[Any]]:
        """Run a job on a model; return what the bench observed. Lockstep jobs also run on batch models.

        With `tap` a window is recorded, and the bench may end with it.
        """
        if not isinstance(model, Model):
            if job.bench != "lockstep":
                raise InvalidValueError(f"a batch model runs lockstep jobs only, not '{job.bench}'")
            return lockstep.observe(model, job.stimulus, tap)
        return simulate(model, job.bench, job.stimulus, tap)

    def record(
        self,
        job: Job,
        model: Executable,
        observed: dict[str, npt.NDArray[Any]],
        names: Sequence[str] = (),
    ) -> None:
        """Run a job once more, as far as the window goes that is recorded of it.

        Parameters
        ----------
        job : Job
            What was run.
        model : Model or Library
            On this, which was built for recording; where it was not, nothing is done.
        observed : dict of str to ndarray
            What the bench observed of all of it.
        names : sequence of str
            Of the cases.
        """
        if self.waves is None or isinstance(model, StitchedModel) or not model.waves:
            return
        found, until = list(model.ports), None
        if job.bench == "lockstep":
            wrong = np.flatnonzero(observed["wrong"])
            mismatch = int(wrong[0]) + 1 if wrong.size else None
            widths = {port.name: port.bits for port in found}
            window = self.waves.window(mismatch)
            added = tracks.lockstep_tracks(job.stimulus, observed, widths, window)
            until = 2 * min(
                window[1] - 1, len(observed["wrong"])
            )  # the last cycle; a design without clock may be quiet
        else:
            wrong = observed["wrong_at"][observed["wrong_at"] >= 0]
            mismatch = int(wrong[0]) if wrong.size else None
            added = tracks.stream_tracks(job.stimulus, observed, self.waves.window(mismatch), names)
        with self.waves.record(
            job.name, job.component, mismatch=mismatch, tracks=added, until=until, ports=[port.name for port in found]
        ) as tap:
            self.observe(job, model, tap)

    def run(self, job: Job, level: Level, model: Executable, rtl_outcome: Outcome | None = None) -> Outcome:
        """Run a job on a model and count; at gate level also compare with what the RTL gave."""
        observed = self.observe(job, model)
        messages = [str(text) for text in observed["messages"]]
        if job.bench == "lockstep":
            vectors, mismatches = len(observed["wrong"]), int(observed["wrong"].sum())
            cases, cycles_rtl, cycles_model = 0, None, None
        else:
            vectors, mismatches = _stream_counts(job, observed)
            cases, cycles_rtl, cycles_model = _cycles(job, observed)
        if rtl_outcome is not None:
            different = _differences(job, rtl_outcome.observed, observed)
            mismatches += different
            if different:
                messages.append(f"{different} observations differ from the RTL's")
        result = BenchResult(
            name=job.name,
            component=job.component,
            level=level,
            vectors=vectors,
            mismatches=mismatches,
            cycles_rtl=cycles_rtl,
            cycles_model=cycles_model,
            cases=cases,
            passed=mismatches == 0,
            message="; ".join(messages[:5]),
        )
        return Outcome(result=result, observed=observed)


def _stream_counts(job: Job, observed: dict[str, npt.NDArray[Any]]) -> tuple[int, int]:
    """Return the number of words that were compared, and of mismatches."""
    vectors = sum(len(observed[f"words_{sink}"]) for sink in job.stimulus["sinks"])
    return vectors, int(observed["mismatches"].sum())


def _exact(job: Job) -> npt.NDArray[np.bool_]:
    """Return which cases must take exactly the predicted cycles."""
    streams = (*job.stimulus["sources"], *job.stimulus["sinks"])
    waits = np.any([job.stimulus[f"idle_{name}"] > 0 for name in streams], axis=0)
    exact: npt.NDArray[np.bool_] = ~waits & (job.stimulus["cut"] < 0) & (job.stimulus["cycles"] >= 0)
    return exact


def _cycles(job: Job, observed: dict[str, npt.NDArray[Any]]) -> tuple[int, int | None, int | None]:
    """Return how many cases are exact in cycles, and their cycles as counted and as predicted."""
    exact = _exact(job)
    if not exact.any():
        return 0, None, None
    return int(exact.sum()), int(observed["cycles"][exact].sum()), int(job.stimulus["cycles"][exact].sum())


def _differences(job: Job, one: dict[str, npt.NDArray[Any]], other: dict[str, npt.NDArray[Any]]) -> int:
    """Count checked outputs, words and cycles in which two runs of a job differ."""
    if job.bench == "lockstep":
        ports = [name.removeprefix("expected_") for name in job.stimulus if name.startswith("expected_")]
        rows = [(one[f"out_{p}"] != other[f"out_{p}"]) & job.stimulus.get(f"check_{p}", True) for p in ports]
        return int(np.any(rows, axis=0).sum())
    count = int((one["cycles"] != other["cycles"]).sum())
    for sink in job.stimulus["sinks"]:
        a, b = one[f"words_{sink}"], other[f"words_{sink}"]
        shared = min(len(a), len(b))
        count += abs(len(a) - len(b)) + int((a[:shared] != b[:shared]).any(axis=1).sum())
    return count
