"""What every kind of run shares: its steps, timed and announced, and the platform that it ran on."""

__all__ = ["Steps", "bench_block", "cycles_block", "head_block", "verify_block"]

import datetime
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import tetrit
from tetrit import hardware
from tetrit.flow.fields import RunHead
from tetrit.hardware import ShiftArray, SimdEngine
from tetrit.verify import BenchResult


class Steps:
    """The steps of a run.

    Parameters
    ----------
    progress : bool
        Whether `say` writes to standard error.

    Attributes
    ----------
    started : str
        When, in UTC.
    seconds : dict of str to float
        Wall-clock time of each step so far.
    """

    def __init__(self, *, progress: bool) -> None:
        self.started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.seconds: dict[str, float] = {}
        self._progress = progress

    def say(self, text: str) -> None:
        """Announce what comes next."""
        if self._progress:
            sys.stderr.write(f"{text} ...\n")

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Measure a step."""
        begin = time.perf_counter()
        yield
        self.seconds[step] = round(time.perf_counter() - begin, 3)

    @property
    def timings(self) -> dict[str, Any]:
        """The report's ``timings``."""
        return {"started": self.started, "seconds": self.seconds}


def head_block(config: RunHead, accuracy: Any, training: Any, steps: Steps) -> dict[str, Any]:
    """Return what every report begins with: which run it is, where it ran, how well the networks do."""
    return {
        "schema": "tetrit-report/2",
        "tetrit": tetrit.__version__,
        "name": config.name,
        "seeds": list(config.seeds),
        "config": config.table,
        "platform": _platform(),
        "accuracy": accuracy,
        "training": training,
        "timings": steps.timings,
    }


def cycles_block(
    layers: list[dict[str, Any]], machine: ShiftArray | SimdEngine, n_images: int, cycles: int | None = None
) -> dict[str, Any]:
    """Return machine, layers, and the cycles of all of it; by default those of the layers together."""
    cycles = sum(layer["cycles"] for layer in layers) if cycles is None else cycles
    return {
        "layers": layers,
        "machine": hardware.to_dict(machine),
        "images": n_images,
        "cycles": cycles,
        "cycles_per_image": cycles / n_images,
        "clock_mhz": machine.clock_mhz,
        "latency_us": cycles / machine.clock_mhz,
    }


def verify_block(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the report's ``verify`` of entries as `bench_block` makes them."""
    return {
        "vectors": sum(entry["vectors"] for entry in entries),
        "mismatches": sum(entry["mismatches"] for entry in entries),
        "testbenches": entries,
    }


def _platform() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "blas": _blas(),
    }


def _blas() -> str:
    """Name the BLAS behind numpy and the processor kernels that it chose: training depends on them in its last bits."""
    found = (info for info in threadpool_info() if info["user_api"] == "blas")
    return ", ".join(
        dict.fromkeys(f"{i['internal_api']} {i['version']} {i.get('architecture', '')}".rstrip() for i in found)
    )


def bench_block(bench: BenchResult, dataflow: str | None) -> dict[str, Any]:
    """Return one entry of the report's ``verify``."""
    return {
        "name": bench.name,
        "component": bench.component,
        "level": bench.level,
        "dataflow": dataflow,
        "vectors": bench.vectors,
        "mismatches": bench.mismatches,
        "cycles_rtl": bench.cycles_rtl,
        "cycles_model": bench.cycles_model,
        "cases": bench.cases,
        "passed": bench.passed,
        "message": bench.message,
    }
