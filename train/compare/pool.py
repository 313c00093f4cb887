"""The cells of a comparison in parallel: float networks first, and what starts from each as soon as it is there."""

__all__ = ["run_all"]

import signal
from collections.abc import Callable, Sequence

from tetrit import processes
from tetrit.errors import InvalidValueError
from tetrit.train.compare.cells import run_cell
from tetrit.train.compare.config import Cell


def run_all(floats: Sequence[Cell], cells: Sequence[Cell], *, jobs: int, done: Callable[[Cell], None]) -> None:
    """Train all cells; one that starts from a float network waits for it.

    With one job everything happens in this process. Cells have one thread each, and results do not depend on `jobs`.

    Parameters
    ----------
    floats, cells : sequence of Cell
        Those that are not finished.
    jobs : int
        Processes.
    done : callable
        Called for every cell that has been finished.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C; every cell at work has finished its step and written a checkpoint.
    """
    processes.run_all(
        [*floats, *cells],
        _run,
        jobs=jobs,
        done=done,
        ready=lambda cell, unfinished: all(other.folder != cell.float_run for other in unfinished),
        name=lambda cell: str(cell.folder),
    )


def _run(cell: Cell, stopped: Callable[[], bool] | None) -> None:
    """Train one cell; an error says which."""

    def after_step(phase: str, step: int) -> None:
        if stopped is not None and stopped():
            signal.raise_signal(signal.SIGINT)  # the loop finishes its step and writes a checkpoint

    try:
        run_cell(cell, None if stopped is None else after_step)
    except InvalidValueError as error:
        who = "float network" if cell.estimator is None else f"estimator '{cell.estimator}'"
        raise InvalidValueError(f"task '{cell.task}', {who}, seed {cell.seed}: {error}") from None
