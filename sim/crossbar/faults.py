"""Stuck cells of an array: where they are, what they do to conductances, and spare columns against them."""

__all__ = [
    "HEALTHY",
    "STUCK_OFF",
    "STUCK_ON",
    "assign_columns",
    "checked_faults",
    "checked_targets",
    "fault_map",
    "with_faults",
]

from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks, noise
from tetrit.errors import InvalidValueError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Faults = npt.NDArray[np.int8]

HEALTHY, STUCK_OFF, STUCK_ON = 0, 1, 2
"""Codes of a fault map."""

_FAULT = 5  # which quantity a key draws; 1 to 4 are those of `cells`
_ROUNDING = 1e-9  # of the window: how far a target may lie outside for having been computed
_COST_STEPS = 2**16  # of harm in one window; whole numbers of them add up to the same in any order


def fault_map(shape: tuple[int, int], *, stuck_on: float, stuck_off: float, key: int) -> Faults:
    """Draw which cells are stuck: each on with probability `stuck_on`, off with `stuck_off`, independently.

    With larger shares the cells that were stuck stay so.
    """
    faults = np.zeros(shape, np.int8)
    if stuck_on or stuck_off:
        drawn = noise.uniforms(noise.key(key, _FAULT), faults.size).reshape(shape)
        faults[drawn >= 1.0 - stuck_on] = STUCK_ON
        faults[drawn < stuck_off] = STUCK_OFF
    return faults


def checked_faults(faults: Any, shape: tuple[int, int]) -> Faults:
    """Return a user's fault map as int8, after checking kind, shape and codes."""
    try:
        given = np.asarray(faults)
    except ValueError:
        raise InvalidValueError(f"`faults` must have shape {shape}, got rows of different lengths") from None
    if given.dtype.kind not in "iu":
        raise TypeError(f"`faults` must be integers, got {given.dtype}")
    if given.shape != shape:
        raise InvalidValueError(f"`faults` must have shape {shape}, got {given.shape}")
    wrong = (given < HEALTHY) | (given > STUCK_ON)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InvalidValueError(
            f"`faults` must be 0 (healthy), 1 (stuck off) or 2 (stuck on), "
            f"got {given[row, column]} at row {row}, column {column}"
        )
    return given.astype(np.int8)


def with_faults(g_siemens: Floats, faults: Faults, window: tuple[float, float]) -> Floats:
    """Return conductances with stuck cells at the ends of `window`."""
    low, high = window
    return np.where(faults == STUCK_OFF, low, np.where(faults == STUCK_ON, high, g_siemens))


def assign_columns(
    targets_siemens: npt.ArrayLike,
    faults: Faults,
    window: tuple[float, float],
    *,
    columns_per_output: int,
    significance: npt.ArrayLike | None = None,
) -> Ints:
    """Choose which columns hold which output, so that stuck cells do the least harm.

    The harm is the sum over stuck cells of ``significance |stuck - target|``, in steps of 2^-16 of the window. The
    assignment is a linear one and solved exactly; of equally good ones, one that moves the fewest outputs.

    Parameters
    ----------
    targets_siemens : array_like of float, shape (rows, n_outputs * columns_per_output)
        Wanted conductances, an output's columns side by side.
    faults : array of int8, shape (rows, n_places * columns_per_output)
        Of the physical columns; places beyond the outputs are spare.
    window : tuple of float
    columns_per_output : int
    significance : array_like of float, shape (columns_per_output,), optional
        What an error in each column of an output counts, for instance 1, 1, 16, 16 for the pairs of two slices of 4
        bits; by default 1 each.

    Returns
    -------
    array of int64, shape (n_outputs,)
        Place of every output, all different.

    Raises
    ------
    InvalidValueError
        Shapes do not fit, fewer places than outputs, or targets outside the window.

    Examples
    --------
    >>> import numpy as np
    >>> faults = np.array([[STUCK_ON, HEALTHY, HEALTHY]], np.int8)
    >>> assign_columns([[0.0, 1.0]], faults, (0.0, 1.0), columns_per_output=1)  # the output that is on takes place 0
    array([2, 1])
    """
    targets = checked_targets(targets_siemens, window)
    width = checks.integer("columns_per_output", columns_per_output)
    given = np.asarray(faults)
    rows, columns = targets.shape
    if columns % width:
        raise InvalidValueError(f"`targets_siemens` must have a multiple of {width} columns, got {columns}")
    if given.ndim != 2 or given.shape[0] != rows or given.shape[1] % width or given.shape[1] < columns:
        raise InvalidValueError(
            f"`faults` must have {rows} rows and a multiple of {width} columns, {columns} at least, "
            f"got shape {given.shape}"
        )
    stuck = checked_faults(given, given.shape)
    counts = np.ones(width) if significance is None else np.asarray(significance, np.float64)
    if counts.shape != (width,) or not (np.isfinite(counts) & (counts >= 0)).all():
        raise InvalidValueError(f"`significance` must be {width} non-negative numbers, got {significance!r}")
    n_outputs, n_places = columns // width, stuck.shape[1] // width
    places = np.arange(n_outputs, dtype=np.int64)
    if not stuck.any():
        return places
    from scipy.optimize import linear_sum_assignment

    low, high = window
    height = np.rint((targets - low) * (_COST_STEPS / (high - low))).reshape(rows, n_outputs, width) * counts
    full = _COST_STEPS * counts
    kinds = stuck.reshape(rows, n_places, width)
    off, on = ((kinds == code).astype(np.float64) for code in (STUCK_OFF, STUCK_ON))
    over = (rows * width, -1)
    wanted = height.transpose(0, 2, 1).reshape(over)
    missing = (full - height).transpose(0, 2, 1).reshape(over)
    cost = wanted.T @ off.transpose(0, 2, 1).reshape(over) + missing.T @ on.transpose(0, 2, 1).reshape(over)
    moves = np.ones_like(cost)
    moves[places, places] = 0.0
    chosen = linear_sum_assignment(cost + moves / (2 * n_outputs))[1]
    return np.asarray(chosen, np.int64)


def checked_targets(targets_siemens: npt.ArrayLike, window: tuple[float, float]) -> Floats:
    """Return target conductances as a float64 matrix, after checking that every one is within `window`."""
    targets = np.asarray(targets_siemens, np.float64)
    if targets.ndim != 2 or targets.size == 0:
        raise InvalidValueError(f"`targets_siemens` must have rows and columns, got shape {targets.shape}")
    low, high = window
    slack = _ROUNDING * (high - low)
    wrong = ~((targets >= low - slack) & (targets <= high + slack))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InvalidValueError(
            f"`targets_siemens` must be within {low:g}..{high:g} S, got {targets[row, column]:g} "
            f"at row {row}, column {column}"
        )
    return targets
