"""The Pareto front: exactly those points that no other one equals in all figures and beats in one."""

__all__ = ["front"]

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError


def front(costs: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return which rows are dominated by no other row; less is better in every column.

    A row dominates another if it is at most as large in all columns and smaller in one. Equal rows do not dominate each
    other: all of them are in the front, or none.

    Parameters
    ----------
    costs : array_like of float, shape (points, objectives)
        Finite.

    Returns
    -------
    ndarray of bool, shape (points,)

    Raises
    ------
    InvalidValueError
        If it is no matrix with a column, or not finite.

    Examples
    --------
    >>> front([[1, 4], [2, 2], [3, 3], [2, 2], [5, 1]]).tolist()
    [True, True, False, True, True]
    """
    table = np.asarray(costs, np.float64)
    if table.ndim != 2 or table.shape[1] == 0:
        raise InvalidValueError(f"`costs` must be a matrix (points, objectives), got shape {table.shape}")
    checks.finite("costs", table)
    best = np.zeros(len(table), np.bool_)
    waiting = np.lexsort(table.T[::-1])  # the first of what is left is dominated by nothing that comes after it
    while waiting.size:
        row = table[waiting[0]]
        rest = table[waiting]
        equal = (rest == row).all(axis=1)
        best[waiting[equal]] = True
        waiting = waiting[(rest < row).any(axis=1)]
    return best
