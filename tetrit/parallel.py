"""Splits a compiled loop over threads: blocks are handed out one by one, so a slow core does less."""

__all__ = ["SMALL", "run_blocks", "run_items", "undivided"]

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
    """Call ``task(start, stop)`` for consecutive blocks of ``range(n)`` on as many threads as NUMBA_NUM_THREADS says.

    The task must release the GIL to gain anything. Threads live for this call only, so forks and concurrent callers are
    safe. The first exception of a task is raised again here, after all threads have stopped.
    """
    n_blocks = -(-n // _BLOCK)
    if n_blocks <= 1 or n <= getattr(_here, "largest", 0):
        task(0, n)
        return
    import numba

    n_threads = min(int(numba.config.NUMBA_NUM_THREADS), n_blocks)  # type: ignore[attr-defined]
    blocks = count()
    errors: list[BaseException] = []

    def work() -> None:
        while not errors and (block := next(blocks)) < n_blocks:
            try:
                task(block * _BLOCK, min(n, (block + 1) * _BLOCK))
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(n_threads - 1)]
    for thread in threads:
        thread.start()
    work()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def run_items(task: Callable[[int, int], None], n_items: int, size: int) -> None:
    """Call ``task(first, last)`` on several threads so that each item, of about `size` elements, is done once."""
    size = max(size, 1)
    run_blocks(lambda start, stop: task(-(-start // size), -(-stop // size)), n_items * size)
