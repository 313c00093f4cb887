"""The authority for verifying components: which benches run, on which levels, and their results."""

__all__ = ["SUITES", "components", "run"]

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tetrit import checks
from tetrit.verify.bench import Outcome, Workbench
from tetrit.verify.results import BenchResult, Level
from tetrit.verify.suites import gearbox, requantizer, shift_array, shift_pe, szt, weights
from tetrit.verify.suites.designs import DESIGNS, Designs
from tetrit.verify.suites.job import Job

SUITES: dict[str, Callable[[Designs, int, int | None], list[Job]]] = {
    "SZTDecoder": szt.decoder_jobs,
    "SZTEncoder": szt.encoder_jobs,
    "WeightDecoder": weights.jobs,
    "Upsizer": gearbox.upsizer_jobs,
    "Downsizer": gearbox.downsizer_jobs,
    "ShiftPE": shift_pe.jobs,
    "Requantizer": requantizer.jobs,
    "ShiftPEArray": shift_array.jobs,
}
_LEVELS: tuple[Level, ...] = ("rtl", "gates")


def components() -> tuple[str, ...]:
    """Names of the components that have benches."""
    return tuple(SUITES)


def run(
    targets: Sequence[str] = (),
    *,
    seed: int = 0,
    cases: int | None = None,
    build_dir: Path | None = None,
    progress: bool = False,
    levels: Sequence[Level] = _LEVELS,
    designs: Designs = DESIGNS,
) -> list[BenchResult]:
    """Run the benches of components on Verilator, on the emitted Verilog and on mapped netlists.

    Parameters
    ----------
    targets : sequence of str
        Component names, see `components`; empty: all.
    seed : int
        Of all random vectors, shapes and waits.
    cases : int, optional
        Random cases per component: tensors of `SZTEncoder`, runs of words per width of `Requantizer`, cases with exact
        cycles over all arrays of `ShiftPEArray` (default 240). The exhaustive parts always run.
    build_dir : Path, optional
        Where executable models are kept between runs; default ``build/verify``.
    progress : bool
        Whether to show a progress bar on standard error.
    levels : sequence of {"rtl", "gates"}
        ``rtl`` is always run where ``gates`` is, as its outputs are compared with the RTL's.
    designs : Designs
        The classes under test.

    Returns
    -------
    list of BenchResult
        In order of components, designs, levels; failing benches included.

    Raises
    ------
    UnknownNameError
        An unknown component; the message suggests the nearest.
    ToolError
        A tool is missing, too old, or failed.

    Examples
    --------
    >>> from tetrit import verify
    >>> [result] = verify.run(["SZTDecoder"], levels=["rtl"])  # doctest: +SKIP
    >>> result.passed, result.vectors  # doctest: +SKIP
    (True, 4)
    """
    names = [checks.choice("component", target, SUITES) for target in targets] or list(SUITES)
    seed = checks.integer("seed", seed, minimum=0)
    if cases is not None:
        cases = checks.integer("cases", cases)
    wanted = [checks.choice("level", level, _LEVELS) for level in levels]
    workbench = Workbench(build_dir)
    jobs = [job for name in dict.fromkeys(names) for job in SUITES[name](designs, seed, cases)]
    results: list[BenchResult] = []
    with ThreadPoolExecutor(max_workers=max(2, min(4, os.cpu_count() or 1))) as pool:
        pending = [pool.submit(_levels, workbench, job, gates="gates" in wanted and job.gates) for job in jobs]
        try:
            for number, (job, future) in enumerate(zip(jobs, pending, strict=True), start=1):
                results += future.result()
                if progress:
                    sys.stderr.write(f"\r\033[Kverified {number}/{len(jobs)}: {job.name}")
        finally:
            for future in pending:
                future.cancel()
            if progress:
                sys.stderr.write("\n")
    return results


def _levels(workbench: Workbench, job: Job, *, gates: bool) -> list[BenchResult]:
    """Run one job on its levels."""
    outcomes: list[Outcome] = []
    for level in _LEVELS[: 2 if gates else 1]:
        model = workbench.build(workbench.verilog(job, level))
        outcomes.append(workbench.run(job, level, model, outcomes[0] if outcomes else None))
    return [outcome.result for outcome in outcomes]
