"""Loops of a batch as tasks for PyTorch's threads, which wait actively for their next operator.

Threads of our own would have to fight those for the cores, and lose more time than they gain. GCC's OpenMP starts a
task on its waiting threads within 3 us, without Python; PyTorch brings it along, or another that answers to the same
names. Where there is none, the calling thread does everything. Results are the same bits for any number of threads:
whatever is drawn has its number, and nothing is summed across tasks.
"""

__all__ = ["CONVERT", "DRAW", "ENTER", "QUANTISE", "Task"]

import ctypes
from functools import cache, cached_property
from pathlib import Path
from struct import Struct
from typing import Any

import torch

_LEAST = 1 << 13
"""Elements that are not worth another thread."""

_SHARES = 4
"""Blocks for each thread: they are handed out one by one, so that a slow core does less."""


@cache
def _fork() -> Any:
    """Return ``GOMP_parallel(task, words, threads, flags)`` of the OpenMP that PyTorch is linked with, if any."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        found = ctypes.CDLL(str(library)).GOMP_parallel
    except (OSError, AttributeError):
        return None
    found.argtypes, found.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint), None
    return found


class Task:
    """A loop of `_kernels` over units that do not depend on each other.

    Parameters
    ----------
    name : str
        Of the compiled function.
    layout : str
        Its words after the first three as `struct` packs them, each of 8 bytes.
    """

    def __init__(self, name: str, layout: str) -> None:
        self.name = name
        self._words = Struct("=3q" + layout)

    @cached_property
    def _compiled(self) -> tuple[int, Any]:
        """Address of the compiled function, and the function; compiled when it is first asked for."""
        from tetrit.train.noise.threads import _kernels

        found = getattr(_kernels, self.name)
        return found.address, ctypes.CFUNCTYPE(None, ctypes.c_void_p)(found.address)

    def __call__(self, units: int, size: int, *words: float) -> bool:
        """Do so many units, of about `size` elements each; return whether the task found nothing wrong.

        Parameters
        ----------
        units, size : int
        *words : int or float
            Numbers, and addresses of memory that the caller holds.
        """
        address, alone = self._compiled
        threads = min(torch.get_num_threads(), units) if units * size >= _LEAST else 1
        fork = _fork() if threads > 1 else None
        block = units if fork is None else -(-units // (_SHARES * threads))
        memory = ctypes.create_string_buffer(self._words.pack(0, units, block, *words))
        if fork is None:
            alone(memory)
        else:
            fork(address, memory, threads, 0)
        return self._words.unpack_from(memory)[1] == units


DRAW = Task("draw", "3qd5qd3q2Q4q")
ENTER = Task("enter", "3q3d6q")
CONVERT = Task("convert", "3qd2q2Q2q2d6qd4q")
QUANTISE = Task("quantise", "3q3dq")
