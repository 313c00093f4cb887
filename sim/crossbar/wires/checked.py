"""Checks of what describes an array with wires: conductances, voltages, resistances."""

__all__ = ["checked_array", "checked_resistances"]

from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware.crossbar import resistance


def checked_array(name: str, values: Any, *, negative: bool) -> npt.NDArray[np.float64]:
    """Return `values` as a C-contiguous float64 matrix, not empty and finite; a negative number only if allowed."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise InvalidValueError(f"`{name}` must be a matrix, got rows of different lengths") from None
    if array.dtype.kind not in "iuf" and array.dtype.name != "bfloat16":
        raise TypeError(f"`{name}` must hold real numbers, got {array.dtype}")
    if array.ndim != 2 or array.size == 0:
        raise InvalidValueError(f"`{name}` must be a matrix of at least 1 x 1, got shape {array.shape}")
    matrix = np.ascontiguousarray(array, dtype=np.float64)
    checks.finite(name, matrix)
    if not negative and (matrix < 0).any():
        where = tuple(int(i) for i in np.argwhere(matrix < 0)[0])
        raise InvalidValueError(f"`{name}` must not be negative, got {matrix[where]:g} at index {where}")
    return matrix


def checked_resistances(
    shape: tuple[int, ...], r_row_ohm: Any, r_col_ohm: Any, r_driver_ohm: Any, r_sense_ohm: Any
) -> tuple[float, float, float, float]:
    """Return the four resistances as floats; an infinite one is an error that names the lines that would float."""
    rows, cols = shape
    return (
        resistance("r_row_ohm", r_row_ohm, "row", rows),
        resistance("r_col_ohm", r_col_ohm, "column", cols),
        resistance("r_driver_ohm", r_driver_ohm, "row", rows),
        resistance("r_sense_ohm", r_sense_ohm, "column", cols),
    )
