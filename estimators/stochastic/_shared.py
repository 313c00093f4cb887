"""What the estimators of this folder share: neighbours of a format, generators, steps, sums in the golden order."""

__all__ = [
    "REAL_FORMATS",
    "absmax_scales",
    "checked_step",
    "drawn_key",
    "integer_ends",
    "layout",
    "neighbours",
    "row_steps",
    "sums",
]

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._run import chunk_count, largest_magnitudes, run, sum_chunks
from tetrit.estimators.stochastic import _kernels

REAL_FORMATS = tuple(name for name in formats.names() if isinstance(formats.get(name), formats.RealFormat))
"""Names of the formats whose values lie on the real line."""


@cache
def neighbours(name: str) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return the finite values of a format, ascending, and their codes.

    Each value is there once, with its lowest code, but -0.0 and 0.0 count as two, in this order.
    """
    fmt = formats.get(name)
    codes = np.flatnonzero(np.isfinite(fmt.values))
    values = fmt.values[codes]
    order = np.lexsort((codes, ~np.signbit(values), values))
    codes, values = codes[order], values[order]
    new = np.ones(values.size, np.bool_)
    new[1:] = (values[1:] != values[:-1]) | (np.signbit(values[1:]) != np.signbit(values[:-1]))
    return values[new], codes[new].astype(fmt.code_dtype)


def drawn_key(rng: np.random.Generator | None, seed: int) -> np.uint64:
    """Return the key of one call's random bits: 64 bits of `rng`, or of a new generator seeded with `seed`.

    Anything but a Generator raises TypeError.
    """
    if rng is None:
        rng = np.random.default_rng(seed)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"`rng` must be a numpy.random.Generator or None, got {rng!r}")
    return rng.integers(2**64, dtype=np.uint64)


@cache
def integer_ends(name: str) -> tuple[float, float]:
    """Return the least and the greatest value of an integer format."""
    low, high = formats.get(name).integer_range
    return float(low), float(high)


def layout(shape: tuple[int, ...], axis: int | None) -> tuple[int, int]:
    """Return what numbers the elements of a row in the tensor: the channels, and the elements inside of their axis."""
    if axis is None:
        return 1, 1
    return shape[axis], math.prod(shape[axis % len(shape) + 1 :])


def absmax_scales(x: NDArray[Any], rows: NDArray[Any], limit: float | None, max_value: float) -> NDArray[np.float64]:
    """Return (limit or the largest |x| of the row) / max_value for every row, 1 where that is 0; x must be finite."""
    largest = largest_magnitudes(rows)
    if not np.isfinite(largest).all():
        checks.finite("w", x)
    scales: NDArray[np.float64] = (largest if limit is None else np.full_like(largest, limit)) / max_value
    scales[scales == 0] = 1.0
    return scales


def checked_step(name: str, step: Any) -> float | tuple[float, ...] | None:
    """Return `step` as a positive float, a tuple of them, or None."""
    if step is None:
        return None
    if isinstance(step, tuple | list) or (isinstance(step, np.ndarray) and step.ndim == 1):
        return tuple(checks.real(f"{name}[{i}]", s, minimum=0.0, exclusive=True) for i, s in enumerate(step))
    return checks.real(name, step, minimum=0.0, exclusive=True)


def row_steps(name: str, step: float | tuple[float, ...] | NDArray[np.float64], n_rows: int) -> NDArray[np.float64]:
    """Return one step per row; a tuple must have as many steps as there are rows."""
    if not isinstance(step, float | int) and len(step) != n_rows:
        raise InvalidValueError(f"`{name}` must be a number or a tuple of {n_rows}, one per channel, got {len(step)}")
    if isinstance(step, np.ndarray):
        return step
    steps = np.empty(n_rows)
    steps[:] = step
    return steps


def sums(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of every row in the golden order, whatever the number of threads."""
    parts = np.empty((terms.shape[0], chunk_count(terms.shape[1])))
    run(_kernels.term_sum, terms, parts)
    return sum_chunks(parts)
