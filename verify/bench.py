"""The authority for one bench on one design: Verilog, executable model, simulation, and the result in numbers."""

__all__ = ["DEFAULT_BUILD_DIR", "TOP", "Outcome", "Workbench"]

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import rtl
from tetrit.errors import InvalidValueError
from tetrit.verify import tools
from tetrit.verify.batch import Library, build_library, coprocessor_source, lockstep
from tetrit.verify.building import ports
from tetrit.verify.model import Model, build
from tetrit.verify.results import BenchResult, Level
from tetrit.verify.simulate import simulate
from tetrit.verify.suites.job import Job

DEFAULT_BUILD_DIR = Path("build", "verify")
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

    Raises
    ------
    ToolError
        A tool is missing or too old.
    """

    def __init__(self, build_dir: Path | None) -> None:
        self.build_dir = DEFAULT_BUILD_DIR if build_dir is None else Path(build_dir)
        self.toolchain = tools.find()

    def verilog(self, job: Job, level: Level) -> str:
        """Return the Verilog of a job's design: as emitted, or mapped to the default library, with cell models."""
        if level == "rtl":
            return rtl.to_verilog(job.design(), TOP)
        synthesis = rtl.synthesize(job.design(), name=TOP)
        return f"{synthesis.models}\n{synthesis.netlist}"

    def build(self, verilog: str) -> Model:
        """Return the executable model; safe to call from several threads."""
        return build(verilog, TOP, toolchain=self.toolchain, directory=self.build_dir)

    def library(self, verilog: str, *, optimisation: int = 1) -> Library:
        """Return the batch model of a design; safe to call from several threads."""
        return build_library(
            verilog, TOP, toolchain=self.toolchain, directory=self.build_dir, optimisation=optimisation
        )

    def coprocessor(self, verilog: str) -> Library:
        """Return the batch model of a co-processor, for `tetrit.verify.batch.BatchCoprocessor`."""
        return build_library(
            verilog,
            TOP,
            toolchain=self.toolchain,
            directory=self.build_dir,
            optimisation=3,
            driver=coprocessor_source(ports(verilog, TOP)),
        )

    def observe(self, job: Job, model: Model | Library) -> dict[str, npt.NDArray[Any]]:
        """Run a job on a model; return what the bench observed. Lockstep jobs also run on batch models."""
        if isinstance(model, Library):
            if job.bench != "lockstep":
                raise InvalidValueError(f"a batch model runs lockstep jobs only, not '{job.bench}'")
            return lockstep.observe(model, job.stimulus)
        return simulate(model, job.bench, job.stimulus)

    def run(self, job: Job, level: Level, model: Model | Library, rtl_outcome: Outcome | None = None) -> Outcome:
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
