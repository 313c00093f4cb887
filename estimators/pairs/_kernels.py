"""Golden kernels of this family, under the rules of `tetrit.estimators._kernels`: chunks, float64, fixed order."""

__all__ = ["products", "root_codes"]

from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tetrit.estimators._kernels import LANES, chunk_at

Floats: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.uint8]


@njit(cache=True, nogil=True)
def _root_chunk(re: Floats, im: Floats, codes: Codes, sums: Doubles, counts: Doubles) -> None:
    lanes = np.zeros((2, LANES))
    finite: np.bool_ = np.bool_(True)
    for start in range(0, re.size, LANES):
        part_re, part_im = re[start : start + LANES], im[start : start + LANES]
        part_codes = codes[start : start + LANES]
        for k in range(part_re.size):
            x, y = np.float64(part_re[k]), np.float64(part_im[k])
            a, b = abs(x), abs(y)
            finite &= a + b < np.inf
            across = a < b
            negative = y < 0.0 if across else x < 0.0
            part_codes[k] = np.uint8(across) | (np.uint8(negative) << 1)
            lanes[0, k] += 0.0 if across else a
            lanes[1, k] += b if across else 0.0
    for part in range(2):
        total = 0.0
        for k in range(LANES):
            total += lanes[part, k]
        sums[part] = total if finite else np.inf
    imaginary = np.int64(0)
    for k in range(codes.size):
        imaginary += np.int64(codes[k] & 1)
    counts[0] = codes.size - imaginary
    counts[1] = imaginary


@njit(cache=True, nogil=True)
def root_codes(re: Floats, im: Floats, codes: Codes, sums: Doubles, counts: Doubles, first: int, last: int) -> None:
    """Write the code k of the nearest i^k; of every chunk and either axis, sum and count of the magnitudes on it.

    The sums of a chunk are infinite where it holds a value that is not finite.
    """
    for item in range(first, last):
        r, c, i, j = chunk_at(item, re.shape[1])
        _root_chunk(re[r, i:j], im[r, i:j], codes[r, i:j], sums[r, :, c], counts[r, :, c])


@njit(cache=True, nogil=True)
def products(a: Floats, b: Floats, out: Doubles, first: int, last: int) -> None:
    """Write sum_t a[h, t, r] b[h, t, n], added in the order of t, into the rows (h, r) `first` to before `last`."""
    terms, rows = a.shape[1], a.shape[2]
    for item in range(first, last):
        h, r = item // rows, item % rows
        target = out[h, r]
        target[:] = 0.0
        for t in range(terms):
            factor, row = np.float64(a[h, t, r]), b[h, t]
            for n in range(target.size):
                target[n] += factor * np.float64(row[n])
