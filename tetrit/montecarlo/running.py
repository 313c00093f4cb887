"""An analysis from beginning to end: its folder, its network, its chips, and the summary of their results."""

__all__ = ["NETWORK", "RESULT", "TIMINGS", "run"]

import datetime
import json
import time
from pathlib import Path
from typing import Any

from tetrit import checks, processes
from tetrit.errors import Interrupted, InvalidValueError
from tetrit.files import alone, write_atomic
from tetrit.montecarlo import network
from tetrit.montecarlo.chips import Cell, cells, read_result, run_cell
from tetrit.montecarlo.config import MonteCarloConfig
from tetrit.montecarlo.results import summarise, to_json

NETWORK = "network.npz"
RESULT = "montecarlo.json"
TIMINGS = "timings.json"


def run(
    config: MonteCarloConfig,
    out: Path | str,
    *,
    resume: bool = False,
    jobs: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Train the network, and run it on every chip, in every corner, at every time.

    Contract: with the same configuration and machine the result is the same, whatever `jobs` is, and however often the
    analysis was interrupted and resumed. A chip is that of ``sim.execute.execute(program, images, seed=...)``.

    Parameters
    ----------
    config : MonteCarloConfig
    out : path-like
        Folder: ``network.npz``, one file for each chip and corner, and ``montecarlo.json`` at the end;
        ``timings.json`` has what differs from run to run.
    resume : bool, default False
        Go on with what is there. The configuration may have gained chips and corners since.
    jobs : int, optional
        Processes; by default one for each core.
    progress : bool, default False
        Draw bars on standard error.

    Returns
    -------
    dict
        As in ``montecarlo.json``; see `tetrit.montecarlo.results`.

    Raises
    ------
    InvalidValueError
        If the folder holds another analysis, or this one and `resume` is not set; or the network does not fit the
        machine.
    ToolError
        If what data or progress bars need is not installed, or a process is killed.
    Interrupted
        After Ctrl-C; everything is ready to be resumed.
    """
    out = Path(out)
    n_jobs = processes.cores() if jobs is None else checks.integer("jobs", jobs, maximum=1024)
    begun = (out / NETWORK).exists() or (out / "chips").exists()
    if begun and not resume:
        raise InvalidValueError(f"'{out}' already holds an analysis: resume it (--resume) or choose another folder")
    if resume and not begun:
        raise InvalidValueError(f"there is no analysis in '{out}' to resume")
    started, begin = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), time.perf_counter()
    with alone(out, "analysis"):
        try:
            found = network.prepare(config, out / NETWORK, jobs=n_jobs, progress=progress)
        except KeyboardInterrupt:
            raise Interrupted("interrupted before the network was trained") from None
        trained = time.perf_counter()
        every = cells(config, found, out, out / NETWORK)
        waiting = [cell for cell in every if read_result(cell) is None]
        _run(waiting, len(every), jobs=n_jobs, progress=progress)
        results = [result for cell in every if (result := read_result(cell)) is not None]
        analysis = summarise(config, found, every, results)
        write_atomic(out / RESULT, to_json(analysis))
        seconds = {"network": round(trained - begin, 3), "chips": round(time.perf_counter() - trained, 3)}
        timings = {"started": started, "jobs": n_jobs, "cells": len(waiting), "seconds": seconds}
        write_atomic(out / TIMINGS, json.dumps(timings, indent=1) + "\n")
    return analysis


def _run(waiting: list[Cell], total: int, *, jobs: int, progress: bool) -> None:
    from tqdm import tqdm

    finished = total - len(waiting)
    try:
        with tqdm(total=total, initial=finished, unit="chip", disable=not progress) as bar:

            def done(cell: Cell) -> None:
                nonlocal finished
                finished += 1
                bar.set_postfix_str(f"{cell.corner}, chip {cell.seed}")
                bar.update()

            processes.run_all(waiting, run_cell, jobs=jobs, done=done, name=lambda cell: str(cell.file))
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted with {finished} of {total} chips finished; go on with --resume") from None
