"""Golden kernels of this family, under the rules of `tetrit.estimators._kernels`: chunks, float64, fixed order."""

__all__ = ["products", "root_codes", "root_sums", "root_values"]

from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tetrit.estimators._kernels import LANES, chunk_at

Floats: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.uint8]


@njit(cache=True, nogil=True)
def _root_chunk(re: Floats, im: Floats, lanes: Doubles, sums: Doubles, counts: Doubles) -> None:
    on_real, on_imaginary = lanes[0], lanes[1]
    on_real[:] = 0.0
    on_imaginary[:] = 0.0
    finite: np.bool_ = np.bool_(True)
    imaginary = np.int64(0)
    full = re.size // LANES * LANES
    for start in range(0, full, LANES):
        part_re, part_im = re[start : start + LANES], im[start : start + LANES]
        for k in range(LANES):
            a, b = abs(np.float64(part_re[k])), abs(np.float64(part_im[k]))
            finite &= a + b < np.inf
            across = a < b
            on_real[k] += 0.0 if across else a
            on_imaginary[k] += b if across else 0.0
            imaginary += np.int64(across)
    for k in range(re.size - full):
        a, b = abs(np.float64(re[full + k])), abs(np.float64(im[full + k]))
        finite &= a + b < np.inf
        across = a < b
        on_real[k] += 0.0 if across else a
        on_imaginary[k] += b if across else 0.0
        imaginary += np.int64(across)
    for part in range(2):
        total = 0.0
        for k in range(LANES):
            total += lanes[part, k]
        sums[part] = total if finite else np.inf
    counts[0] = re.size - imaginary
    counts[1] = imaginary


@njit(cache=True, nogil=True)
def root_sums(re: Floats, im: Floats, sums: Doubles, counts: Doubles, first: int, last: int) -> None:
    """Write, of every chunk and either axis, sum and count of the magnitudes of the numbers that land on it.

    The sums of a chunk are infinite where it holds a value that is not finite.
    """
    lanes = np.empty((2, LANES))
    for item in range(first, last):
        r, c, i, j = chunk_at(item, re.shape[1])
        _root_chunk(re[r, i:j], im[r, i:j], lanes, sums[r, :, c], counts[r, :, c])


@njit(cache=True, nogil=True)
def root_codes(re: Floats, im: Floats, codes: Codes, first: int, last: int) -> None:
    """Write the code k of the nearest i^k; the real axis wins where both parts have the same magnitude."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, re.shape[1])
        part_re, part_im, part_codes = re[r, i:j], im[r, i:j], codes[r, i:j]
        for k in range(part_re.size):
            x, y = np.float64(part_re[k]), np.float64(part_im[k])
            across = abs(x) < abs(y)
            negative = y < 0.0 if across else x < 0.0
            part_codes[k] = np.uint8(across) | (np.uint8(negative) << 1)


@njit(cache=True, nogil=True)
def _root_values(re: Floats, im: Floats, reals: Doubles, imaginaries: Doubles, out_re: Floats, out_im: Floats) -> None:
    re0, re1, re2, re3 = reals[0], reals[1], reals[2], reals[3]
    im0, im1, im2, im3 = imaginaries[0], imaginaries[1], imaginaries[2], imaginaries[3]
    for k in range(re.size):
        x, y = np.float64(re[k]), np.float64(im[k])
        across = abs(x) < abs(y)
        left, below = x < 0.0, y < 0.0
        on_real = re2 if left else re0
        on_imaginary = re3 if below else re1
        out_re[k] = on_imaginary if across else on_real
        on_real = im2 if left else im0
        on_imaginary = im3 if below else im1
        out_im[k] = on_imaginary if across else on_real


@njit(cache=True, nogil=True)
def root_values(
    re: Floats, im: Floats, reals: Doubles, imaginaries: Doubles, out: Floats, first: int, last: int
) -> None:
    """Write both parts of what the codes of `root_codes` stand for: entry k of the row in `reals`, `imaginaries`."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, re.shape[1])
        _root_values(re[r, i:j], im[r, i:j], reals[r], imaginaries[r], out[0, r, i:j], out[1, r, i:j])


@njit(cache=True, nogil=True)
def _add_terms(factors: Doubles, rows: Doubles, target: Doubles) -> None:
    """Add factors[t] rows[t] in the order of t, four at a time: a sum then stays in its register for four terms."""
    full = factors.size // 4 * 4
    for t in range(0, full, 4):
        f0, f1, f2, f3 = factors[t], factors[t + 1], factors[t + 2], factors[t + 3]
        r0, r1, r2, r3 = rows[t], rows[t + 1], rows[t + 2], rows[t + 3]
        for n in range(target.size):
            total = target[n] + f0 * r0[n]
            total += f1 * r1[n]
            total += f2 * r2[n]
            target[n] = total + f3 * r3[n]
    for t in range(full, factors.size):
        for n in range(target.size):
            target[n] += factors[t] * rows[t, n]


@njit(cache=True, nogil=True)
def _add_both(factors: Doubles, rows: Doubles, one: Doubles, two: Doubles) -> None:
    """Do for two targets what `_add_terms` does for one, with one reading of the rows; factors are (2, terms)."""
    full = factors.shape[1] // 4 * 4
    for t in range(0, full, 4):
        f0, f1, f2, f3 = factors[0, t], factors[0, t + 1], factors[0, t + 2], factors[0, t + 3]
        g0, g1, g2, g3 = factors[1, t], factors[1, t + 1], factors[1, t + 2], factors[1, t + 3]
        r0, r1, r2, r3 = rows[t], rows[t + 1], rows[t + 2], rows[t + 3]
        for n in range(one.size):
            first, second = one[n] + f0 * r0[n], two[n] + g0 * r0[n]
            first, second = first + f1 * r1[n], second + g1 * r1[n]
            first, second = first + f2 * r2[n], second + g2 * r2[n]
            one[n], two[n] = first + f3 * r3[n], second + g3 * r3[n]
    for t in range(full, factors.shape[1]):
        for n in range(one.size):
            one[n] += factors[0, t] * rows[t, n]
            two[n] += factors[1, t] * rows[t, n]


@njit(cache=True, nogil=True)
def products(a: Doubles, b: Doubles, out: Doubles, first: int, last: int) -> None:
    """Write sum_t a[h, t, r] b[h, t, n], added in the order of t, into the rows (h, r) `first` to before `last`."""
    rows = a.shape[2]
    factors = np.empty((2, a.shape[1]))
    item = first
    while item < last:
        h, r = item // rows, item % rows
        factors[0] = a[h, :, r]
        out[h, r] = 0.0
        if item + 1 < last and r + 1 < rows:
            factors[1] = a[h, :, r + 1]
            out[h, r + 1] = 0.0
            _add_both(factors, b[h], out[h, r], out[h, r + 1])
            item += 2
        else:
            _add_terms(factors[0], b[h], out[h, r])
            item += 1
