"""The threads of PyTorch's own operators, which wait actively for the next of them.

Threads of our own would have to fight those for the cores, and lose more time than they gain. GCC's OpenMP starts a
task on its waiting threads within 3 us, without Python; PyTorch brings it along, or another with the same names.
"""

__all__ = ["torch_team"]

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tetrit.native import Team


@cache
def torch_team() -> Team | None:
    """Return the threads of the OpenMP that PyTorch is linked with, if any."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        parallel = ctypes.CDLL(str(library)).GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.argtypes, parallel.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint), None

    def fork(task: int, words: Any, threads: int) -> None:
        parallel(task, words, threads, 0)

    return Team(fork=fork, size=torch.get_num_threads)
