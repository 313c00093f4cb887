"""Loops of a batch as tasks for PyTorch's threads.

Results are the same bits for any number of threads: whatever is drawn has its number, and nothing is summed across
tasks. Where there are no threads of PyTorch to be had, the calling thread does everything.
"""

__all__ = ["CONVERT", "DRAW", "ENTER", "PATCHES", "QUANTISE", "Loop"]

from functools import cached_property
from importlib import import_module

from tetrit.native import Task
from tetrit.train.threads import torch_team


class Loop:
    """A compiled loop over units that do not depend on each other.

    Parameters
    ----------
    module, name : str
        Of the compiled function.
    types : str
        Those of its arguments but the last two, as numba writes them.
    """

    def __init__(self, module: str, name: str, types: str) -> None:
        self.module, self.name, self.types = module, name, types

    @cached_property
    def _task(self) -> Task:
        """Compiled when it is first asked for."""
        from numba.core.sigutils import normalize_signature

        return Task(getattr(import_module(self.module), self.name), normalize_signature(f"({self.types},)")[0])

    def __call__(self, units: int, size: int, *words: float) -> bool:
        """Do so many units, of about `size` elements each, with the `words` of a `Task`; return what that does."""
        return bool(self._task(torch_team(), units, size, *words))


_VECTOR, _MATRIX, _CUBE = "float32[::1]", "float32[:, ::1]", "float32[:, :, ::1]"
_KEY = "uint64, uint64"
_OWN = "tetrit.train.noise._kernels"

DRAW = Loop(
    _OWN,
    "draw",
    f"{_MATRIX}, float32, {_VECTOR}, int64, complex128[:, ::1], float32, uint32[:, :, ::1], {_VECTOR}, {_KEY}, "
    f"int64, {_MATRIX}, uint16[::1]",
)
ENTER = Loop(_OWN, "enter", f"{_MATRIX}, float32, float32, float32, int64[::1], int64, {_MATRIX}, uint16[::1]")
PATCHES = Loop(
    _OWN,
    "enter_patches",
    f"float32[:, :, :, ::1], {', '.join(['int64'] * 8)}, int64[::1], int64, {_MATRIX}, uint16[::1]",
)
CONVERT = Loop(
    _OWN,
    "convert",
    f"{_CUBE}, uint16[:, :, ::1], float32, {_CUBE}, {_KEY}, {_CUBE}, {_MATRIX}, float32, float32, boolean, {_CUBE}, "
    f"{_VECTOR}, float32, {_VECTOR}, {_MATRIX}",
)
QUANTISE = Loop(
    "tetrit.estimators.integers._kernels",
    "uniform_rows",
    f"{_MATRIX}, int32[:, ::1], int32, int32[::1], {_VECTOR}, float64, float64, float64, float64[::1], {_MATRIX}",
)
