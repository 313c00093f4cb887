"""Cells in parallel: processes that train one cell after another and end when they are told to, or left alone."""

__all__ = ["run_all"]

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing import connection
from typing import Any

from tetrit.errors import InvalidValueError, TetritError, ToolError
from tetrit.train.compare.cells import run_cell
from tetrit.train.compare.config import Cell
from tetrit.train.loop.interrupt import Interrupted


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
    waiting = [*floats, *cells]
    if jobs == 1 or len(waiting) == 1:
        for cell in waiting:
            _run(cell)
            done(cell)
        return
    _Pool(min(jobs, len(waiting))).run(waiting, done)


class _Pool:
    """Processes with a pipe to each: a cell goes in, None or an error comes back, and a second message is a stop."""

    def __init__(self, jobs: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipes: list[Any] = []
        self.processes: list[Any] = []
        self.at_work: dict[Any, Cell] = {}
        for _ in range(jobs):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)

    def run(self, waiting: list[Cell], done: Callable[[Cell], None]) -> None:
        """Hand the cells out."""
        try:
            missing = {cell.folder for cell in waiting if cell.estimator is None}
            while waiting or self.at_work:
                self._hand_out(waiting, missing)
                for pipe in connection.wait(list(self.at_work)):
                    cell = self.at_work.pop(pipe)
                    self._take(cell, pipe)
                    missing.discard(cell.folder)
                    done(cell)
        finally:
            self._end()

    def _hand_out(self, waiting: list[Cell], missing: set[Any]) -> None:
        for pipe in self.pipes:
            ready = next((cell for cell in waiting if cell.float_run not in missing), None)
            if pipe not in self.at_work and ready is not None:
                waiting.remove(ready)
                pipe.send(ready)
                self.at_work[pipe] = ready

    @staticmethod
    def _take(cell: Cell, pipe: Any) -> None:
        try:
            error = pipe.recv()
        except EOFError:
            raise ToolError(f"the process that trained '{cell.folder}' has ended; see above, or dmesg") from None
        if error is not None:
            raise error

    def _end(self) -> None:
        for pipe in self.pipes:
            pipe.close()  # what a process at work takes for a stop, and an idle one for the end
        try:
            for process in self.processes:
                process.join()
        except KeyboardInterrupt:
            for process in self.processes:
                process.terminate()
            raise


def _run(cell: Cell, after_step: Callable[[str, int], None] | None = None) -> None:
    """Train one cell; an error says which."""
    try:
        run_cell(cell, after_step)
    except InvalidValueError as error:
        who = "float network" if cell.estimator is None else f"estimator '{cell.estimator}'"
        raise InvalidValueError(f"task '{cell.task}', {who}, seed {cell.seed}: {error}") from None


def _work(pipe: Any) -> None:
    """Train cells until the other end of the pipe is closed, even in the middle of one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # Ctrl-C on a terminal reaches the first process only, which then closes the pipes

    def after_step(phase: str, step: int) -> None:
        if pipe.poll():
            signal.raise_signal(signal.SIGINT)  # the loop finishes its step and writes a checkpoint

    try:
        while True:
            cell = pipe.recv()
            try:
                _run(cell, after_step)
            except TetritError as error:
                pipe.send(error)
            else:
                pipe.send(None)
    except (EOFError, BrokenPipeError, ConnectionResetError, Interrupted):
        return
