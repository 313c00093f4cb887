"""Splits a compiled loop over threads: blocks are handed out one by one, so a slow core does less."""

__all__ = ["SMALL", "lent_team", "run_blocks", "run_each", "run_items", "threads", "undivided"]

import _thread
import os
import threading
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tetrit.native import Team

SMALL = 4096
"""Arrays up to this size are not worth loading the compiler for; numpy handles them by the definition itself."""

_BLOCK = 1 << 18

_here = threading.local()


class undivided:  # noqa: N801, used like a function
    """Let the calling thread do loops of up to `largest` elements alone, inside of a ``with``.

    For callers whose own threads (those of PyTorch's operators, which spin for a while after their work) would only
    lose the cores to ours. They may lend these as a `team`, for loops that can be native tasks.
    """

    def __init__(self, largest: int, team: "Team | None" = None) -> None:
        self.now = largest, team

    def __enter__(self) -> None:
        self.before = _now()
        _here.now = self.now

    def __exit__(self, *error: object) -> None:
        _here.now = self.before


def _now() -> "tuple[int, Team | None]":
    """Return up to what size loops are undivided here, and the caller's team."""
    found: tuple[int, Team | None] = getattr(_here, "now", (0, None))
    return found


def lent_team() -> "Team | None":
    """Return the threads that the caller has lent, see `undivided`."""
    return _now()[1]


def run_blocks(task: Callable[[int, int], None], n: int) -> None:
    """Call ``task(start, stop)`` for consecutive blocks of ``range(n)``, see `run_each`; not split where `n` is small.

    Parameters
    ----------
    task : callable
    n : int
        In elements that take about as long as those of a loop over arrays.
    """
    if n <= max(_BLOCK, _now()[0]):
        task(0, n)
        return
    run_each(lambda block: task(block * _BLOCK, min(n, (block + 1) * _BLOCK)), -(-n // _BLOCK))


class _Worker:
    """A thread that sleeps until it is given work; waking it takes a third of the time that starting one does."""

    def __init__(self) -> None:
        self._given, self._done = _thread.allocate_lock(), _thread.allocate_lock()
        self._given.acquire()
        self._done.acquire()
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        while True:
            self._given.acquire()
            self._work()
            del self._work  # and what it holds
            self._done.release()

    def start(self, work: Callable[[], None]) -> None:
        self._work = work
        self._given.release()

    def wait(self) -> None:
        self._done.acquire()


_idle: list[_Worker] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # threads do not outlive a fork


def run_each(task: Callable[[int], None], n: int) -> None:
    """Call ``task(i)`` for every i of ``range(n)`` on as many threads as NUMBA_NUM_THREADS says.

    The task must release the GIL to gain anything, and be worth waking a thread, which takes about 20 us. Threads sleep
    between calls; concurrent callers have threads of their own. The first exception of a task is raised again here,
    after all threads have stopped.
    """
    numbers = count()
    errors: list[BaseException] = []

    def work() -> None:
        while not errors and (i := next(numbers)) < n:
            try:
                task(i)
            except BaseException as error:
                errors.append(error)

    workers = []
    for _ in range(min(threads(), n) - 1):
        try:
            workers.append(_idle.pop())
        except IndexError:
            workers.append(_Worker())
        workers[-1].start(work)
    work()
    for worker in workers:
        worker.wait()
        _idle.append(worker)
    if errors:
        raise errors[0]


def threads() -> int:
    """Return how many threads NUMBA_NUM_THREADS says."""
    import numba

    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


def run_items(task: Callable[[int, int], None], n_items: int, size: int) -> None:
    """Call ``task(first, last)`` on several threads so that each item, of about `size` elements, is done once."""
    size = max(size, 1)
    run_blocks(lambda start, stop: task(-(-start // size), -(-stop // size)), n_items * size)
