"""What every kind of run shares: its steps, timed and announced, and the platform that it ran on."""

__all__ = ["Steps", "bench_block", "platform_block"]

import datetime
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

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


def platform_block() -> dict[str, str]:
    """Return the report's ``platform``."""
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
