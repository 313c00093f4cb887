"""The authority for verifying components: which benches run, on which levels, and their results."""

__all__ = ["GROUPS", "SUITES", "TASKS", "components", "run", "selected"]

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tetrit import checks
from tetrit.verify.bench import Outcome, Workbench
from tetrit.verify.results import BenchResult, Level
from tetrit.verify.suites import (
    coprocessor_tasks,
    gearbox,
    requantizer,
    shift_array,
    shift_pe,
    simd,
    simd_array,
    simd_products,
    szt,
    weights,
)
from tetrit.verify.suites.designs import DESIGNS, Designs
from tetrit.verify.suites.job import Job, Task
from tetrit.verify.suites.simd_designs import SimdDesigns
from tetrit.verify.waves import Waves

Suite = Callable[[Designs, int, int | None], list[Job]]


def _of_simd(make: Callable[[SimdDesigns, int, int | None], list[Job]]) -> Suite:
    """Return a suite of the SIMD engine's designs as one of all designs."""
    return lambda designs, seed, cases: make(designs.simd, seed, cases)


SUITES: dict[str, Suite] = {
    "SZTDecoder": szt.decoder_jobs,
    "SZTEncoder": szt.encoder_jobs,
    "WeightDecoder": weights.jobs,
    "Upsizer": gearbox.upsizer_jobs,
    "Downsizer": gearbox.downsizer_jobs,
    "ShiftPE": shift_pe.jobs,
    "Requantizer": requantizer.jobs,
    "ShiftPEArray": shift_array.jobs,
    "SimdCodes": _of_simd(simd.code_jobs),
    "SimdMac": _of_simd(simd_products.element_jobs),
    "SimdArray": _of_simd(simd_array.jobs),
}
"""Components whose benches are jobs."""

TASKS: dict[str, Callable[[Workbench, Designs, int, int | None], list[Task]]] = {
    "MatmulCoprocessor": coprocessor_tasks.tasks,
}
"""Components whose benches are run in another way; they have no gate level."""

GROUPS: dict[str, tuple[str, ...]] = {
    "shift": tuple(name for name in SUITES if not name.startswith("Simd")),
    "simd": tuple(name for name in SUITES if name.startswith("Simd")),
    "SimdReadout": ("SimdMac",),
    "coprocessor": ("MatmulCoprocessor",),
}
"""Names for several components at once, or for one that has no bench of its own but is in all of another's."""

_LEVELS: tuple[Level, ...] = ("rtl", "gates")


def components() -> tuple[str, ...]:
    """Names of the components that have benches."""
    return (*SUITES, *TASKS)


def selected(targets: Sequence[str]) -> tuple[str, ...]:
    """Return the components that some names stand for, each once; no names stand for all.

    Parameters
    ----------
    targets : sequence of str
        Names of components, see `components`, and of groups: ``shift``, ``simd``, ``coprocessor``.

    Raises
    ------
    UnknownNameError
        An unknown name; the message suggests the nearest.

    Examples
    --------
    >>> selected(["simd", "SimdMac"])
    ('SimdCodes', 'SimdMac', 'SimdArray')
    """
    known = (*components(), *GROUPS)
    names = [name for target in targets for name in GROUPS.get(checks.choice("component", target, known), (target,))]
    return tuple(dict.fromkeys(names or components()))


def run(
    targets: Sequence[str] = (),
    *,
    seed: int = 0,
    cases: int | None = None,
    build_dir: Path | None = None,
    progress: bool = False,
    levels: Sequence[Level] = _LEVELS,
    designs: Designs = DESIGNS,
    waves: Waves | None = None,
) -> list[BenchResult]:
    """Run the benches of components on Verilator, on the emitted Verilog and on mapped netlists.

    Parameters
    ----------
    targets : sequence of str
        Names of components or groups, see `selected`; empty: all.
    seed : int
        Of all random vectors, shapes and waits.
    cases : int, optional
        Random cases per component: tensors of `SZTEncoder`, runs of words per width of `Requantizer`, cases with exact
        cycles over all arrays of `ShiftPEArray` (default 240) and of `SimdArray` (200), words of random sums per pair
        of formats of `SimdMac` (400) and thousands of its 16-bit products (2000), jobs with exact cycles of
        `MatmulCoprocessor` (280). The exhaustive parts always run.
    build_dir : Path, optional
        Where executable models are kept between runs; default ``build/verify``.
    progress : bool
        Whether to show a progress bar on standard error.
    levels : sequence of {"rtl", "gates"}
        ``rtl`` is always run where ``gates`` is, as its outputs are compared with the RTL's.
    designs : Designs
        The classes under test.
    waves : Waves, optional
        What is recorded of each bench at RTL level, in a second run as far as the window goes. Models are built so that
        they can record, and their first run takes longer too.

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
    names = selected(targets)
    seed = checks.integer("seed", seed, minimum=0)
    if cases is not None:
        cases = checks.integer("cases", cases)
    wanted = [checks.choice("level", level, _LEVELS) for level in levels]
    workbench = Workbench(build_dir, waves=waves)
    tasks: list[Task] = []
    for name in names:
        if name in TASKS:
            tasks += TASKS[name](workbench, designs, seed, cases)
            continue
        for job in SUITES[name](designs, seed, cases):
            gates = "gates" in wanted and job.gates
            tasks.append(Task(name=job.name, run=partial(_levels, workbench, job, gates=gates)))
    results: list[BenchResult] = []
    with ThreadPoolExecutor(max_workers=max(2, min(4, os.cpu_count() or 1))) as pool:
        pending = [pool.submit(task.run) for task in tasks]
        try:
            for number, (task, future) in enumerate(zip(tasks, pending, strict=True), start=1):
                results += future.result()
                if progress:
                    sys.stderr.write(f"\r\033[Kverified {number}/{len(tasks)}: {task.name}")
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
        model = workbench.model(job, level)
        outcomes.append(workbench.run(job, level, model, outcomes[0] if outcomes else None))
        workbench.record(job, model, outcomes[-1].observed)
    return [outcome.result for outcome in outcomes]
