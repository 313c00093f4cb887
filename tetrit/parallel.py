"""Splits a compiled loop over threads: blocks are handed out one by one, so a slow core does less."""

__all__ = ["SMALL", "run_blocks", "run_each", "run_items", "threads", "undivided"]

import _thread
import threading
from collections.abc import Callable
from itertools import count

SMALL = 4096
"""Arrays up to this size are not worth loading the compiler for; numpy handles them by the definition itself."""

_BLOCK = 1 << 18

_here = threading.local()


class undivided:  # noqa: N801, used like a function
    """Let the calling thread do loops of up to `largest` elements alone, inside of a ``with``.

    For callers whose own threads (those of PyTorch's operators, which spin for a while after their work) would only
    lose the cores to ours.
    """

    def __init__(self, largest: int) -> None:
        self.largest = largest

    def __enter__(self) -> None:
        self.before = getattr(_here, "largest", 0)
        _here.largest = self.largest

    def __exit__(self, *error: object) -> None:
        _here.largest = self.before


def run_blocks(task: Callable[[int, int], None], n: int) -> None:
    """Call ``task(start, stop)`` for consecutive blocks of ``range(n)``, see `run_each`; not split where `n` is small.

    Parameters
    ----------
    task : callable
    n : int
        In elements that take about as long as those of a loop over arrays.
    """
    if n <= max(_BLOCK, getattr(_here, "largest", 0)):
        task(0, n)
        return
    run_each(lambda block: task(block * _BLOCK, min(n, (block + 1) * _BLOCK)), -(-n // _BLOCK))


def run_each(task: Callable[[int], None], n: int) -> None:
    """Call ``task(i)`` for every i of ``range(n)`` on as many threads as NUMBA_NUM_THREADS says.

    The task must release the GIL to gain anything, and be worth a thread, which takes about 30 us to start. Threads
    live for this call only, so forks and concurrent callers are safe. The first exception of a task is raised again
    here, after all threads have stopped.
    """
    numbers = count()
    errors: list[BaseException] = []

    def work() -> None:
        while not errors and (i := next(numbers)) < n:
            try:
                task(i)
            except BaseException as error:
                errors.append(error)

    def other(running: _thread.LockType) -> None:
        try:
            work()
        finally:
            running.release()

    locks = [_thread.allocate_lock() for _ in range(min(threads(), n) - 1)]
    for lock in locks:
        lock.acquire()
        _thread.start_new_thread(other, (lock,))  # threading.Thread would have us wait until it runs
    work()
    for lock in locks:
        lock.acquire()
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
