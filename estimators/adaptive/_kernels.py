"""Golden kernels of the adaptive estimators, under the rules of `tetrit.estimators._kernels`: rows, chunks, float64."""

__all__ = ["dead_terms", "histogram_counts", "revived_backward", "ternary_values"]

import math
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tetrit.estimators._kernels import chunk_at

Floats: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.uint8]
Counts: TypeAlias = NDArray[np.int64]


@njit(cache=True, nogil=True)
def ternary_values(x: Floats, thresholds: Doubles, scales: Doubles, out: Floats, first: int, last: int) -> None:
    """Write scale with the sign of x where |x| > threshold, and +0 elsewhere."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_out, threshold, scale = x[r, i:j], out[r, i:j], thresholds[r], scales[r]
        for k in range(part.size):
            w = np.float64(part[k])
            part_out[k] = math.copysign(scale, w) if abs(w) > threshold else 0.0


@njit(cache=True, nogil=True)
def dead_terms(codes: Codes, x: Floats, out: Doubles, first: int, last: int) -> None:
    """Write x where its ternary code is 0 (b0 clear), and 0 elsewhere."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_codes, part_out = x[r, i:j], codes[r, i:j], out[r, i:j]
        for k in range(part.size):
            part_out[k] = 0.0 if part_codes[k] & 1 else np.float64(part[k])


@njit(cache=True, nogil=True)
def revived_backward(
    codes: Codes, grad: Floats, bias_grad: Doubles, strength: float, out: Floats, first: int, last: int
) -> None:
    """Write grad, plus strength times the row's bias gradient where the code is 0."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, codes.shape[1])
        part_codes, part_grad, part_out, pull = codes[r, i:j], grad[r, i:j], out[r, i:j], strength * bias_grad[r]
        for k in range(part_codes.size):
            g = np.float64(part_grad[k])
            part_out[k] = g if part_codes[k] & 1 else g + pull


@njit(cache=True, nogil=True)
def histogram_counts(x: Floats, reach: float, counts: Counts, first: int, last: int) -> None:
    """Count the values of every chunk, one row of `counts` each, in equal bins over [-reach, reach]; beyond: the ends.

    A bin holds its lower border; the last one its upper border too.
    """
    bins = counts.shape[1]
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part = x[r, i:j]
        for k in range(part.size):
            place = (np.float64(part[k]) / reach + 1.0) * (0.5 * bins)
            counts[item, int(min(max(place, 0.0), bins - 1.0))] += 1
