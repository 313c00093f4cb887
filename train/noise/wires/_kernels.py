"""Loops over the cells of an array: what its wires leave of them, in float64."""

__all__ = ["array_levels", "thermal_sums", "wire_losses"]

import math
from typing import Any

from numba import njit

_ROWS = 16  # of an array that are looked at before the next column


@njit(cache=True, nogil=True)
def array_levels(integers: Any, low: int, level_of: Any, where: Any, cells: Any) -> None:
    """Write the levels of the cells that an array has for integer weights; the others stay.

    Parameters
    ----------
    integers : array of int64, shape (n_outputs, inputs)
    low : int
        The integer of the first entry of `level_of`.
    level_of : array of int64, shape (columns of an output, integers)
    where : array of int64, shape (n_outputs, columns of an output)
        Physical columns.
    cells : array of int64, shape (rows, cols)
        Is changed.
    """
    for start in range(0, integers.shape[1], _ROWS):
        for o in range(integers.shape[0]):
            for k in range(start, min(integers.shape[1], start + _ROWS)):
                at = integers[o, k] - low
                for c in range(level_of.shape[0]):
                    cells[k, where[o, c]] = level_of[c, at]


@njit(cache=True, nogil=True, error_model="numpy")  # nothing is divided by 0, and to look for it takes time
def _left(now: float, effective: float) -> float:
    """Return the share that wires leave of a conductance, 1 at most and of one of 0."""
    return min(effective / now, 1.0) if now > 0.0 else 1.0


@njit(cache=True, nogil=True)
def thermal_sums(cells: Any, now: Any, effective: Any, thermal: Any, sums: Any) -> None:
    """Add up the thermal noise of every column of an array, as much as wires leave of it.

    Parameters
    ----------
    cells : array of int64, shape (rows, cols)
        Levels.
    now, effective : array of float64, shape (rows, cols)
        Conductances, and what wires leave of them.
    thermal : array of float64, shape (levels,)
    sums : array of float64, shape (cols,)
        Zeros to be filled.
    """
    for k in range(cells.shape[0]):
        for c in range(cells.shape[1]):
            share = _left(now[k, c], effective[k, c])
            sums[c] += thermal[cells[k, c]] * (share * share)


@njit(cache=True, nogil=True, error_model="numpy")
def wire_losses(cells: Any, now: Any, effective: Any, variance: Any, where: Any, share: Any, rest: Any) -> None:
    """Write what wires make of the columns of an array, pairs of cells put together.

    Parameters
    ----------
    cells, now, effective
        As in `thermal_sums`.
    variance : array of float64, shape (levels,)
        Of conductances.
    where : array of int64, shape (groups, n_outputs, polarities)
        Physical columns of the outputs; the second of two is subtracted.
    share, rest : array of float32, shape (groups, n_outputs, inputs)
        Are filled: see `losses.Wires`. By the cells' variances, by their conductances where these are all 0.
    """
    n_in = share.shape[2]
    for start in range(0, n_in, _ROWS):
        for g in range(where.shape[0]):
            for o in range(where.shape[1]):
                for k in range(start, min(n_in, start + _ROWS)):
                    net = wanted = spread = weight = by_spread = by_weight = 0.0
                    for p in range(where.shape[2]):
                        c = where[g, o, p]
                        before, after, own = now[k, c], effective[k, c], variance[cells[k, c]]
                        left = _left(before, after)
                        spread += own
                        by_spread += left * left * own
                        weight += before
                        by_weight += left * before
                        net += before if p == 0 else -before
                        wanted += after if p == 0 else -after
                    found = math.sqrt(by_spread / spread) if spread > 0.0 else 1.0
                    if spread == 0.0 and weight > 0.0:
                        found = by_weight / weight
                    share[g, o, k] = found
                    rest[g, o, k] = wanted - found * net
