"""Work spread over processes that do one item after another and end when they are told to, or left alone."""

__all__ = ["cores", "run_all"]

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection
from typing import Any, Generic, TypeVar

from tetrit.errors import TetritError, ToolError

Item = TypeVar("Item")
Stopped = Callable[[], bool]
Work = Callable[[Item, Stopped | None], None]

_GONE = (EOFError, BrokenPipeError, ConnectionResetError)
"""What a pipe raises whose other end is closed."""

_ONE_THREAD = dict.fromkeys(("MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(
    items: Sequence[Item],
    work: Work[Item],
    *,
    jobs: int,
    done: Callable[[Item], None],
    ready: Callable[[Item, Sequence[Item]], bool] | None = None,
    name: Callable[[Item], str] = str,
) -> None:
    """Call ``work(item, stopped)`` for all items.

    With one job everything happens in this process, in the given order, and `stopped` is None: there Ctrl-C interrupts
    the work itself. Processes have one thread each; in them, ``stopped()`` says, whenever it is asked, whether the work
    is to end early, which it does by raising KeyboardInterrupt.

    Parameters
    ----------
    items : sequence
        What can be pickled.
    work : callable
        A function of a module. What it finds goes to files; a TetritError is raised here again.
    jobs : int
        Processes.
    done : callable
        Called here for every item that has been finished.
    ready : callable, optional
        ``ready(item, unfinished)``: whether an item can begin while those are unfinished. In the given order, every
        item must be ready.
    name : callable, optional
        What a message calls an item that its process has ended with.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C; every work in progress has ended.
    ToolError
        If a process was killed.
    """
    if jobs == 1 or len(items) == 1:
        for item in items:
            work(item, None)
            done(item)
        return
    _Pool(min(jobs, len(items)), work, name).run(list(items), done, ready)


class _Pool(Generic[Item]):
    """Processes with a pipe to each: an item goes in, None or an error comes back, and a second message is a stop."""

    def __init__(self, jobs: int, work: Work[Item], name: Callable[[Item], str]) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self.pipes: list[Any] = []
        self.processes: list[Any] = []
        self.at_work: dict[Any, Item] = {}
        with _environment(_ONE_THREAD):  # what libraries read when they are imported
            for _ in range(jobs):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(work, theirs), daemon=True)
                process.start()
                theirs.close()
                self.pipes.append(ours)
                self.processes.append(process)

    def run(
        self,
        waiting: list[Item],
        done: Callable[[Item], None],
        ready: Callable[[Item, Sequence[Item]], bool] | None,
    ) -> None:
        """Hand the items out."""
        try:
            while waiting or self.at_work:
                self._hand_out(waiting, ready)
                for pipe in connection.wait(list(self.at_work)):
                    self._take(pipe)
                    done(self.at_work.pop(pipe))
        finally:
            self._end()

    def _hand_out(self, waiting: list[Item], ready: Callable[[Item, Sequence[Item]], bool] | None) -> None:
        for pipe in self.pipes:
            if pipe in self.at_work:
                continue
            unfinished = [*self.at_work.values(), *waiting]
            place = next((p for p, item in enumerate(waiting) if ready is None or ready(item, unfinished)), None)
            if place is not None:
                self.at_work[pipe] = waiting.pop(place)
                try:
                    pipe.send(self.at_work[pipe])
                except _GONE:
                    raise self._ended(pipe) from None

    def _take(self, pipe: Any) -> None:
        try:
            error = pipe.recv()
        except _GONE:
            raise self._ended(pipe) from None
        if error is not None:
            raise error

    def _ended(self, pipe: Any) -> ToolError:
        name = self.name(self.at_work[pipe])
        return ToolError(f"the process at work on '{name}' has ended; see above, or dmesg")

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


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started inside of the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(work: Work[Any], pipe: Any) -> None:
    """Do items until the other end of the pipe is closed, even in the middle of one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # Ctrl-C on a terminal reaches the first process only, which then closes the pipes
    try:
        while True:
            item = pipe.recv()
            try:
                work(item, pipe.poll)
            except TetritError as error:
                pipe.send(error)
            else:
                pipe.send(None)
    except (*_GONE, KeyboardInterrupt):
        return
