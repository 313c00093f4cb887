"""A comparison from beginning to end: its folder, its cells, and the summary of their results."""

__all__ = ["COMPARISON", "run"]

from pathlib import Path
from typing import Any

from tetrit import checks, processes
from tetrit.errors import Interrupted, InvalidValueError, ToolError
from tetrit.files import alone, write_atomic
from tetrit.train.compare.cells import read_result
from tetrit.train.compare.config import Cell, CompareConfig
from tetrit.train.compare.results import summarise, to_json

COMPARISON = "comparison.json"


def run(
    config: CompareConfig,
    out: Path | str,
    *,
    resume: bool = False,
    jobs: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Train every estimator on every task from every seed, and compare.

    The float network of a task and a seed is trained once, and every estimator starts its quantised phase from it: the
    same steps, batches and schedule for all. A cell is the training that `tetrit train` would do with that estimator,
    float phase included, to the same result bit for bit.

    Contract: with the same configuration, data and machine the result is the same, whatever `jobs` is, and however
    often the comparison was interrupted and resumed.

    Parameters
    ----------
    config : CompareConfig
    out : path-like
        Folder: one for each cell, and ``comparison.json`` at the end.
    resume : bool, default False
        Go on with what is there: finished cells are skipped, begun ones go on from their checkpoints. The configuration
        may have gained tasks, estimators and seeds since.
    jobs : int, optional
        Processes; by default one for each core.
    progress : bool, default False
        Draw a bar over the cells on standard error.

    Returns
    -------
    dict
        As in ``comparison.json``; see `tetrit.train.compare.results`.

    Raises
    ------
    InvalidValueError
        If the folder holds another comparison, or this one and `resume` is not set; an estimator does not fit a
        network; or the data cannot be read. A training that diverges is recorded, not raised.
    ToolError
        If PyTorch, or what the data needs, is not installed, or a process is killed.
    Interrupted
        After Ctrl-C or, with one job, SIGTERM; everything is ready to be resumed.
    """
    out = Path(out)
    n_jobs = processes.cores() if jobs is None else checks.integer("jobs", jobs, maximum=1024)
    floats, cells = config.cells(out)
    begun = (out / "cells").exists() or (out / "float").exists()
    if begun and not resume:
        raise InvalidValueError(f"'{out}' already holds a comparison: resume it (--resume) or choose another folder")
    if resume and not begun:
        raise InvalidValueError(f"there is no comparison in '{out}' to resume")
    with alone(out, "comparison"):
        _train(config, floats, cells, jobs=n_jobs, progress=progress)
        results = [result for cell in cells if (result := read_result(cell)) is not None]
        comparison = summarise(config, cells, results)
        write_atomic(out / COMPARISON, to_json(comparison))
    return comparison


def _train(config: CompareConfig, floats: list[Cell], cells: list[Cell], *, jobs: int, progress: bool) -> None:
    open_floats, open_cells = ([cell for cell in group if read_result(cell) is None] for group in (floats, cells))
    if not open_cells:
        return
    try:
        from tqdm import tqdm

        from tetrit.train.compare import pool, preflight
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "tqdm"):
            raise
        raise ToolError(f"training in PyTorch needs {error.name}: pip install 'tetrit[train]'") from None
    total = len(floats) + len(cells)
    finished = total - len(open_floats) - len(open_cells)
    try:
        tasks = {cell.task for cell in open_cells}
        preflight.check(config, [task for task in config.tasks if task in tasks])
        with tqdm(total=total, initial=finished, unit="cell", disable=not progress) as bar:

            def done(cell: Cell) -> None:
                nonlocal finished
                finished += 1
                bar.set_postfix_str(f"{cell.task}, {cell.estimator or 'float network'}, seed {cell.seed}")
                bar.update()

            pool.run_all(open_floats, open_cells, jobs=jobs, done=done)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted with {finished} of {total} cells finished") from None
