"""Golden kernels of signed-zero ternary, under the rules of `tetrit.estimators._kernels`: chunks, fixed order.

Comparisons of float32 weights with a double are done in float32, with the largest one up to it: the same answer.
"""

__all__ = ["szt_backward", "szt_codes", "szt_kept", "szt_rows", "szt_values"]

import math
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tetrit.estimators._kernels import CHUNK, GROUP, LANES, chunk_at, lane_sums, lane_total, row_totals

Floats: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int64]
Codes: TypeAlias = NDArray[Any]


@njit(cache=True, nogil=True)
def szt_codes(x: Floats, thresholds: Doubles, codes: Codes, first: int, last: int) -> None:
    """Write the SZT code: b1 = sign bit, b0 = |x| > threshold."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_codes, threshold = x[r, i:j], codes[r, i:j], thresholds[r]
        for k in range(part.size):
            w = np.float64(part[k])
            part_codes[k] = np.uint8(abs(w) > threshold) | (np.uint8(math.copysign(1.0, w) < 0.0) << 1)


@njit(cache=True, nogil=True)
def single_below(threshold: float) -> np.float32:
    """Return the largest float32 up to a threshold that is not negative: no float32 lies between the two."""
    found = np.float32(threshold)
    return found if np.float64(found) <= threshold else np.nextafter(found, np.float32(0.0))


@njit(cache=True, nogil=True)
def _kept_count(x: Floats, threshold: Any) -> np.int64:
    kept = np.int32(0)
    for k in range(x.size):
        kept += np.int32(abs(x[k]) > threshold)
    return np.int64(kept)


@njit(cache=True, nogil=True)
def _kept_sums(x: Floats, threshold: Any, zero: Any, lanes: Doubles) -> None:
    lanes[:] = 0.0
    full, four = x.size // LANES * LANES, x.size // (4 * LANES) * (4 * LANES)
    for i in range(0, four, 4 * LANES):
        block = x[i : i + 4 * LANES]
        for k in range(LANES):
            a, b = abs(block[k]), abs(block[k + LANES])
            c, d = abs(block[k + 2 * LANES]), abs(block[k + 3 * LANES])
            total = lanes[k] + np.float64(a if a > threshold else zero)
            total += np.float64(b if b > threshold else zero)
            total += np.float64(c if c > threshold else zero)
            lanes[k] = total + np.float64(d if d > threshold else zero)
    for i in range(four, full, LANES):
        block = x[i : i + LANES]
        for k in range(LANES):
            a = abs(block[k])
            lanes[k] += np.float64(a if a > threshold else zero)
    for k in range(x.size - full):
        a = abs(x[full + k])
        lanes[k] += np.float64(a if a > threshold else zero)


@njit(cache=True, nogil=True)
def kept_lanes(x: Floats, threshold: float, lanes: Doubles) -> np.int64:
    """Write the sums in lanes of the |x| > threshold of one chunk, and return their number."""
    if x.itemsize == 4:
        single = single_below(threshold)
        _kept_sums(x, single, np.float32(0.0), lanes)
        return _kept_count(x, single)
    _kept_sums(x, threshold, 0.0, lanes)
    return _kept_count(x, threshold)


@njit(cache=True, nogil=True)
def szt_kept(x: Floats, thresholds: Doubles, sums: Doubles, kept: Counts, first: int, last: int) -> None:
    """Write sum and count of the |x| > threshold of every chunk."""
    lanes = np.empty(LANES)
    for item in range(first, last):
        r, c, i, j = chunk_at(item, x.shape[1])
        kept[r, c] = kept_lanes(x[r, i:j], thresholds[r], lanes)
        sums[r, c] = lane_total(lanes)


@njit(cache=True, nogil=True)
def _ternary(x: Floats, threshold: Any, scale: Any, zero: Any, out: Floats) -> None:
    for k in range(x.size):
        out[k] = math.copysign(scale if abs(x[k]) > threshold else zero, x[k])


@njit(cache=True, nogil=True)
def szt_row(x: Floats, threshold: float, scale: float, out: Floats) -> None:
    """Write scale where |x| > threshold, else 0, with the sign of x."""
    if x.itemsize == 4 and out.itemsize == 4:
        _ternary(x, single_below(threshold), np.float32(scale), np.float32(0.0), out)
    else:
        _ternary(x, threshold, scale, 0.0, out)


@njit(cache=True, nogil=True)
def szt_values(x: Floats, thresholds: Doubles, scales: Doubles, out: Floats, first: int, last: int) -> None:
    """Write scale where |x| > threshold, else 0, with the sign of x."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        szt_row(x[r, i:j], thresholds[r], scales[r], out[r, i:j])


@njit(cache=True, nogil=True)
def _row_sums(x: Floats, lanes: Doubles, totals: Doubles, sums: Doubles) -> None:
    """Write the sum of |x| of every row, its chunks added from left to right."""
    for i in range(0, x.shape[1], CHUNK):
        for r in range(x.shape[0]):
            lane_sums(x[r, i : i + CHUNK], lanes[r])
        row_totals(lanes, totals, x.shape[0])
        for r in range(x.shape[0]):
            sums[r] = sums[r] + totals[r] if i else totals[r]


@njit(cache=True, nogil=True)
def _row_scales(x: Floats, thresholds: Doubles, lanes: Doubles, totals: Doubles, counts: Counts, sums: Doubles) -> None:
    """Write sum and number of the |x| > threshold of every row, its chunks added from left to right."""
    for i in range(0, x.shape[1], CHUNK):
        for r in range(x.shape[0]):
            kept = kept_lanes(x[r, i : i + CHUNK], thresholds[r], lanes[r])
            counts[r] = counts[r] + kept if i else kept
        row_totals(lanes, totals, x.shape[0])
        for r in range(x.shape[0]):
            sums[r] = sums[r] + totals[r] if i else totals[r]


@njit(cache=True, nogil=True)
def szt_rows(
    x: Floats, ratio: float, of_kept: bool, clip: float, means: Doubles, thresholds: Doubles, clips: Doubles,
    out: Floats, first: int, last: int,
) -> bool:  # fmt: skip
    """Write mean, threshold, clip and values of the rows `first` to before `last`; False where a sum is not finite.

    A few rows at a time, so that they are read from memory once. No row is empty.
    """
    lanes, totals, sums = np.empty((GROUP, LANES)), np.empty(GROUP), np.empty(GROUP)
    counts = np.empty(GROUP, np.int64)
    for start in range(first, last, GROUP):
        stop = min(last, start + GROUP)
        part = x[start:stop]
        _row_sums(part, lanes, totals, sums)
        for r in range(start, stop):
            if not math.isfinite(sums[r - start]):
                return False
            mean = sums[r - start] / x.shape[1]
            means[r] = mean
            thresholds[r] = ratio * mean
            clips[r] = clip * mean if mean > 0.0 and clip < math.inf else math.inf
        _row_scales(part, thresholds[start:stop], lanes, totals, counts, sums)
        for r in range(start, stop):
            kept = counts[r - start]
            scale = sums[r - start] / max(kept, 1) if of_kept else (means[r] if kept > 0 else 0.0)
            szt_row(x[r], thresholds[r], scale if scale != 0.0 else 1.0, out[r])
    return True


@njit(cache=True, nogil=True)
def _sloped(
    x: Floats, grad: Floats, threshold: Any, clip: Any, zero: Any, gain: float, tilt: float, drift: float, out: Floats
) -> None:
    for k in range(x.size):
        g = np.float64(grad[k])
        a = abs(x[k])
        pull = tilt * abs(g) + drift
        dead = gain * g - (-pull if math.copysign(1.0, x[k]) < 0.0 else pull)
        live = grad[k] if a <= clip else zero
        out[k] = dead if a <= threshold else live


@njit(cache=True, nogil=True)
def szt_backward(
    x: Floats,
    grad: Floats,
    thresholds: Doubles,
    clips: Doubles,
    gain: float,
    tilt: float,
    drift: float,
    out: Floats,
    first: int,
    last: int,
) -> None:
    """Write the gradient: in the dead zone gain g - s (tilt |g| + drift) with s the sign of zero, then g, then 0."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_grad, part_out = x[r, i:j], grad[r, i:j], out[r, i:j]
        threshold, clip = thresholds[r], clips[r]
        if x.itemsize == 4:
            below, upto = single_below(threshold), single_below(clip)
            _sloped(part, part_grad, below, upto, 0.0, gain, tilt, drift, part_out)
        else:
            _sloped(part, part_grad, threshold, clip, 0.0, gain, tilt, drift, part_out)
