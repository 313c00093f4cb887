"""Golden kernels of this family, under the rules of `tetrit.estimators._kernels`: chunks, float64, fixed order."""

__all__ = ["products", "quantized_products", "root_codes", "root_sums", "root_values"]

from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tetrit.estimators._kernels import LANES, chunk_at, lane_sums, lane_total
from tetrit.estimators.deterministic._kernels import odd_block

Floats: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.uint8]

_DEPTH, _WIDTH = 64, 256  # terms and columns of a panel: 128 KiB, for the second cache
_ROWS = 64  # that share a panel


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
def _add_four(factors: Doubles, terms: Doubles, a: Doubles, b: Doubles, c: Doubles, d: Doubles) -> None:
    """Add factors[i, t] terms[t] to four rows i in the order of t; a sum stays in its register for four terms."""
    full = terms.shape[0] // 4 * 4
    for t in range(0, full, 4):
        a0, a1, a2, a3 = factors[0, t], factors[0, t + 1], factors[0, t + 2], factors[0, t + 3]
        b0, b1, b2, b3 = factors[1, t], factors[1, t + 1], factors[1, t + 2], factors[1, t + 3]
        c0, c1, c2, c3 = factors[2, t], factors[2, t + 1], factors[2, t + 2], factors[2, t + 3]
        d0, d1, d2, d3 = factors[3, t], factors[3, t + 1], factors[3, t + 2], factors[3, t + 3]
        r0, r1, r2, r3 = terms[t], terms[t + 1], terms[t + 2], terms[t + 3]
        for n in range(a.size):
            x0, x1, x2, x3 = r0[n], r1[n], r2[n], r3[n]
            sum_a, sum_b, sum_c, sum_d = a[n] + a0 * x0, b[n] + b0 * x0, c[n] + c0 * x0, d[n] + d0 * x0
            sum_a, sum_b, sum_c, sum_d = sum_a + a1 * x1, sum_b + b1 * x1, sum_c + c1 * x1, sum_d + d1 * x1
            sum_a, sum_b, sum_c, sum_d = sum_a + a2 * x2, sum_b + b2 * x2, sum_c + c2 * x2, sum_d + d2 * x2
            a[n], b[n], c[n], d[n] = sum_a + a3 * x3, sum_b + b3 * x3, sum_c + c3 * x3, sum_d + d3 * x3
    for t in range(full, terms.shape[0]):
        _add_one(factors[0, t : t + 1], terms[t : t + 1], a)
        _add_one(factors[1, t : t + 1], terms[t : t + 1], b)
        _add_one(factors[2, t : t + 1], terms[t : t + 1], c)
        _add_one(factors[3, t : t + 1], terms[t : t + 1], d)


@njit(cache=True, nogil=True)
def _add_one(factors: Doubles, terms: Doubles, target: Doubles) -> None:
    for t in range(factors.size):
        for n in range(target.size):
            target[n] += factors[t] * terms[t, n]


@njit(cache=True, nogil=True)
def _product_rows(left: Floats, right: Floats, first: int, factors: Doubles, panel: Doubles, out: Doubles) -> None:
    """Write the rows from `first` on of left^T right: by panels of `right`, in float64, which all of them share."""
    n_rows, n = out.shape
    out[:] = 0.0
    for start in range(0, n, _WIDTH):
        stop = min(n, start + _WIDTH)
        for t in range(0, left.shape[0], _DEPTH):
            depth = min(_DEPTH, left.shape[0] - t)
            terms = panel[: depth * (stop - start)].reshape(depth, stop - start)
            for k in range(depth):
                for c in range(stop - start):
                    terms[k, c] = right[t + k, start + c]
            for r in range(0, n_rows, 4):
                some = left[t : t + depth, first + r : first + min(n_rows, r + 4)]
                for k in range(depth):
                    for i in range(some.shape[1]):
                        factors[i, k] = some[k, i]
                if r + 4 <= n_rows:
                    a, b, c, d = out[r], out[r + 1], out[r + 2], out[r + 3]
                    _add_four(factors, terms, a[start:stop], b[start:stop], c[start:stop], d[start:stop])
                else:
                    for i in range(n_rows - r):
                        _add_one(factors[i, :depth], terms, out[r + i, start:stop])


@njit(cache=True, nogil=True)
def products(left: Floats, right: Floats, out: Doubles, first: int, last: int) -> None:
    """Write sum_t left[h, t, r] right[h, t, n], added in the order of t, into the rows (h, r) `first` to before `last`.

    Float64, no multiplication and addition in one.
    """
    rows = left.shape[2]
    factors, panel = np.empty((4, _DEPTH)), np.empty(_DEPTH * _WIDTH)
    item = first
    while item < last:
        h, r = item // rows, item % rows
        stop = min(rows, r + _ROWS, r + last - item)
        _product_rows(left[h], right[h], r, factors, panel, out[h, r:stop])
        item += stop - r


@njit(cache=True, nogil=True)
def quantized_products(left: Floats, right: Floats, half: float, out: Floats, first: int, last: int) -> bool:
    """Write the values that `tetrit.estimators.StatsQ` gives every row of `products`.

    False, and stop, where a magnitude or their sum is not finite. `half` is half the number of values. A row has one
    chunk at most.
    """
    rows, n = left.shape[2], right.shape[2]
    factors, panel, lanes = np.empty((4, _DEPTH)), np.empty(_DEPTH * _WIDTH), np.empty(LANES)
    held = np.empty((_ROWS, n))
    item = first
    while item < last:
        h, r = item // rows, item % rows
        stop = min(rows, r + _ROWS, r + last - item)
        _product_rows(left[h], right[h], r, factors, panel, held[: stop - r])
        for i in range(stop - r):
            lane_sums(held[i], lanes)
            total = lane_total(lanes)
            if not total < np.inf:
                return False
            scale = total / n / half
            odd_block(held[i], scale if scale > 0.0 else 1.0, half, out[h, r + i])
        item += stop - r
    return True
