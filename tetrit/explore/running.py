"""An exploration from beginning to end: its file, its networks, its points over processes or a cluster, its front."""

__all__ = ["begin", "fingerprint", "run"]

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tetrit
from tetrit import checks, processes
from tetrit.errors import Interrupted, InvalidValueError
from tetrit.explore import networks, sampling
from tetrit.explore.evaluate import Task, evaluate
from tetrit.explore.figures import Result
from tetrit.explore.machines import variant
from tetrit.explore.networks import Networks
from tetrit.explore.pareto import front
from tetrit.explore.space import FIGURES, Point, Space
from tetrit.explore.store import FILE, Store
from tetrit.explore.workload import DigitsWorkload
from tetrit.files import alone

_BATCHES = 2000
"""Batches of points that a round is cut into, at most."""

Recorded = Callable[[Result], None]


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Points that a process evaluates one after the other, and the file that it writes them to, one by one."""

    tasks: tuple[Task, ...]
    file: Path


def run(
    space: Space,
    out: Path | str,
    *,
    jobs: int | None = None,
    dask: str | None = None,
    progress: bool = False,
) -> Store:
    """Evaluate all points of a space that are not evaluated yet, and mark the Pareto front.

    Contract: with the same space the results are the same, whatever `jobs` and `dask` are, and however often the work
    was interrupted. A point that has a result is never evaluated again; points that were at work when everything was
    killed are.

    Parameters
    ----------
    space : Space
    out : path-like
        Folder of ``points.sqlite`` and of the trained networks.
    jobs : int, optional
        Processes; by default one for each core.
    dask : str, optional
        Address of a Dask scheduler, or ``local`` for a cluster of `jobs` workers on this machine.
    progress : bool, default False
        Draw a bar on standard error.

    Returns
    -------
    Store
        Open; close it, or use it as a context.

    Raises
    ------
    InvalidValueError
        If the folder holds another space, or another process is at work there.
    ToolError
        If what data, bars or the cluster need is not installed, a process is killed, or the cluster cannot be reached.
    Interrupted
        After Ctrl-C; the same call goes on from there.
    """
    out = Path(out)
    n_jobs = processes.cores() if jobs is None else checks.integer("jobs", jobs, maximum=1024)
    with alone(out, "exploration"):
        store = begin(space, out)
        try:
            _evaluate(space, out, store, n_jobs, dask, progress)
            _judge(space, store)
        except BaseException:
            store.close()
            raise
    return store


def begin(space: Space, out: Path) -> Store:
    """Open the file of an exploration, or make it; raises InvalidValueError if it is another one's."""
    store = Store(out / FILE)
    try:
        store.begin(
            {
                "tetrit": tetrit.__version__,
                "space": fingerprint(space),
                "table": json.dumps(space.table(), sort_keys=True),
            }
        )
    except BaseException:
        store.close()
        raise
    return store


def fingerprint(space: Space) -> str:
    """Return a digest of all that the figures of a space depend on."""
    return hashlib.sha256(json.dumps(space.table(), sort_keys=True).encode()).hexdigest()


def _evaluate(space: Space, out: Path, store: Store, jobs: int, dask: str | None, progress: bool) -> None:
    from tqdm import tqdm

    total = space.size if space.sampling.points is None else space.sampling.points
    finished = sum(store.counts()[state] for state in ("done", "failed"))
    bar = tqdm(total=total, initial=finished, unit="point", disable=not progress)
    try:
        with bar:
            for number in range(sampling.rounds(space)):
                if store.n_rounds() <= number:
                    drawn = sampling.sample(space, number, store.numbers(), functools.partial(store.figures, number))
                    store.add_round(number, [space.point(place) for place in drawn])
                waiting = [space.point(place) for place in store.waiting()]
                if not waiting:
                    continue
                tasks = _tasks(space, waiting, out, bar.set_postfix_str)
                bar.set_postfix_str("")
                if dask is None:
                    _local(tasks, out / FILE, jobs, bar.update)
                else:
                    from tetrit.explore import cluster

                    cluster.run(tasks, dask, jobs=jobs, done=functools.partial(_recorded, store, bar.update))
    except KeyboardInterrupt:
        done = sum(store.counts()[state] for state in ("done", "failed"))
        raise Interrupted(
            f"interrupted with {done} of {total} points evaluated; the same command goes on from there"
        ) from None


def _tasks(space: Space, points: Sequence[Point], out: Path, say: Callable[[str], None]) -> list[Task]:
    """Return what is to be evaluated; networks that are missing are trained first."""
    keys = {}
    found = Networks(files={}, errors={})
    work = space.workload
    if isinstance(work, DigitsWorkload):
        for point in points:
            try:
                keys[point.number] = networks.key_of(variant(space.base(point.machine), point.parameters))
            except InvalidValueError:
                continue  # the evaluation finds that out again, and records it
        found = networks.prepare(work, keys.values(), out / "networks", seed=space.seed, say=say)
    tasks = []
    for point in points:
        key = keys.get(point.number)
        tasks.append(
            Task(
                number=point.number,
                base=space.base(point.machine),
                parameters=point.parameters,
                workload=work,
                area=space.area,
                seed=space.seed,
                network=None if key is None else found.files.get(key),
                trouble="" if key is None else found.errors.get(key, ""),
            )
        )
    return tasks


def _local(tasks: Sequence[Task], file: Path, jobs: int, update: Callable[[int], object]) -> None:
    """Evaluate over processes, each of which writes its results itself."""
    size = -(-len(tasks) // _BATCHES)
    batches = [_Batch(tasks=tuple(tasks[start : start + size]), file=file) for start in range(0, len(tasks), size)]

    def done(batch: _Batch) -> None:
        update(len(batch.tasks))

    try:
        processes.run_all(batches, _work, jobs=jobs, done=done, name=lambda batch: f"point {batch.tasks[0].number}")
    finally:
        while _open:  # what this process has opened, where it has done the work itself
            _open.popitem()[1].close()


_open: dict[Path, Store] = {}
"""The file that this process writes to, opened once."""


def _work(batch: _Batch, stopped: Callable[[], bool] | None) -> None:
    if batch.file not in _open:
        _open[batch.file] = Store(batch.file)
    for task in batch.tasks:
        if stopped is not None and stopped():
            raise KeyboardInterrupt
        _open[batch.file].record(evaluate(task, stopped))


def _recorded(store: Store, update: Callable[[int], object], result: Result) -> None:
    store.record(result)
    update(1)


def _judge(space: Space, store: Store) -> None:
    """Mark the feasible points, and among them the front."""
    found = store.figures()
    feasible = {number: space.feasible(figures) for number, figures in found}
    good = [(number, figures) for number, figures in found if feasible[number]]
    best: set[int] = set()
    if good:
        costs: Any = [[FIGURES[name] * figures[name] for name in space.objectives] for _, figures in good]
        best = {good[place][0] for place in np.flatnonzero(front(costs))}
    store.judge(feasible, best)
