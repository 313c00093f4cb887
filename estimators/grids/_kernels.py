"""Golden kernels of this family, under the rules of `tetrit.estimators._kernels`: rows, chunks, float64.

A quantiser with few values is a sorted list of thresholds per row: the place of x is the number of thresholds below it.
Counting all of them, without a branch, is vector code, and faster than a search up to some 200 of them.
Exponentials and logarithms are those of the C library, in float64; no code depends on their last place.
"""

__all__ = [
    "adaptive_backward",
    "between_magnitudes",
    "magnitude_histogram",
    "matching_magnitudes",
    "member_sums",
    "mirrored_values",
    "place_codes",
    "place_values",
    "power_sums",
    "product",
    "pulled",
    "ranked_magnitudes",
    "row_sums",
]

import math
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tetrit.estimators._kernels import LANES, chunk_at, lane_total
from tetrit.estimators.integers._kernels import step_slope

Floats: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[Any]
Counts: TypeAlias = NDArray[np.int64]

_RUN = 1024
"""Elements whose places are counted together: they stay in the first cache. A multiple of the lanes."""
_FEW = 64
"""Thresholds up to which levels of float32 are selected as they are: faster than a place and its look-up."""
_MEMBER_LANES = 8
_BINS = 1 << 11
"""Of the histogram of a short row: by the upper 11 bits of the magnitude."""


@njit(cache=True, nogil=True)
def _places(x: Floats, thresholds: Floats, places: Codes) -> None:
    """Count the thresholds below every x: ascending, a multiple of four, at most 255 of them finite."""
    for k in range(x.size):
        places[k] = np.uint8(0)
    for b in range(0, thresholds.size, 4):
        t0, t1, t2, t3 = thresholds[b], thresholds[b + 1], thresholds[b + 2], thresholds[b + 3]
        p1, p2, p3 = np.uint8(b + 1), np.uint8(b + 2), np.uint8(b + 3)
        p4 = np.uint8((b + 4) & 255)  # 256 only past the last finite threshold, where nothing gets to
        for k in range(x.size):
            v = x[k]
            place = p1 if v > t0 else places[k]
            place = p2 if v > t1 else place
            place = p3 if v > t2 else place
            places[k] = p4 if v > t3 else place


@njit(cache=True, nogil=True)
def place_codes(x: Floats, thresholds: Floats, table: Codes, codes: Codes, first: int, last: int) -> None:
    """Write table[place of x]."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        for start in range(i, j, _RUN):
            part, part_codes = x[r, start : min(j, start + _RUN)], codes[r, start : min(j, start + _RUN)]
            _places(part, thresholds[r], part_codes)
            for k in range(part.size):
                part_codes[k] = table[part_codes[k]]


@njit(cache=True, nogil=True)
def _levels(x: Floats, thresholds: Floats, levels: Floats, out: Floats) -> None:
    """Write levels[thresholds below x], without the place: one level more than thresholds."""
    for k in range(x.size):
        out[k] = levels[0]
    for b in range(0, thresholds.size, 4):
        t0, t1, t2, t3 = thresholds[b], thresholds[b + 1], thresholds[b + 2], thresholds[b + 3]
        l1, l2, l3, l4 = levels[b + 1], levels[b + 2], levels[b + 3], levels[b + 4]
        for k in range(x.size):
            v = x[k]
            level = l1 if v > t0 else out[k]
            level = l2 if v > t1 else level
            level = l3 if v > t2 else level
            out[k] = l4 if v > t3 else level


@njit(cache=True, nogil=True)
def place_values(x: Floats, thresholds: Floats, levels: Floats, out: Floats, first: int, last: int) -> None:
    """Write the row's levels[place of x]; a row of `levels` is one longer than the thresholds, `out` is not `x`."""
    places = np.empty(_RUN, np.uint8)
    few = out.itemsize == 4 and thresholds.shape[1] <= _FEW
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        table = levels[r]
        for start in range(i, j, _RUN):
            part, part_out = x[r, start : min(j, start + _RUN)], out[r, start : min(j, start + _RUN)]
            if few:
                _levels(part, thresholds[r], table, part_out)
                continue
            _places(part, thresholds[r], places[: part.size])
            for k in range(part.size):
                part_out[k] = table[places[k]]


@njit(cache=True, nogil=True)
def _mirrored(x: Floats, t: Floats, levels: Floats, out: Floats) -> None:
    t0, t1, t2, t3, t4, t5, t6, t7 = t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]
    l1, l2, l3, l4 = levels[0], levels[1], levels[2], levels[3]
    l5, l6, l7, l8 = levels[4], levels[5], levels[6], levels[7]
    zero = out.dtype.type(0.0)
    for k in range(x.size):
        v = x[k]
        a = abs(v)
        level = l1 if a > t0 else zero
        level = l2 if a > t1 else level
        level = l3 if a > t2 else level
        level = l4 if a > t3 else level
        level = l5 if a > t4 else level
        level = l6 if a > t5 else level
        level = l7 if a > t6 else level
        level = l8 if a > t7 else level
        out[k] = (level if v > 0.0 else -level) + zero  # -0.0 + 0.0 is 0.0


@njit(cache=True, nogil=True)
def mirrored_values(x: Floats, thresholds: Floats, levels: Floats, out: Floats, first: int, last: int) -> None:
    """Write, with the sign of x, the row's level of the last threshold below |x|, 0 where there is none; eight each."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        _mirrored(x[r, i:j], thresholds[r], levels[r], out[r, i:j])


@njit(cache=True, nogil=True)
def member_sums(
    x: Floats, thresholds: Floats, grad: Floats, sums: Doubles, counts: Counts, first: int, last: int
) -> None:
    """Write for every chunk and place the sum of grad and the number of its x, in eight interleaved lanes."""
    places = np.empty(_RUN, np.uint8)
    n = sums.shape[2]
    for item in range(first, last):
        r, c, i, j = chunk_at(item, x.shape[1])
        lanes = np.zeros((_MEMBER_LANES, n))
        held = np.zeros((_MEMBER_LANES, n), np.int64)
        for start in range(i, j, _RUN):
            part, part_grad = x[r, start : min(j, start + _RUN)], grad[r, start : min(j, start + _RUN)]
            _places(part, thresholds[r], places[: part.size])
            for k in range(part.size):
                lanes[k % _MEMBER_LANES, places[k]] += np.float64(part_grad[k])
                held[k % _MEMBER_LANES, places[k]] += 1
        for p in range(n):
            total, count = 0.0, np.int64(0)
            for lane in range(_MEMBER_LANES):
                total += lanes[lane, p]
                count += held[lane, p]
            sums[r, c, p], counts[r, c, p] = total, count


@njit(cache=True, nogil=True)
def pulled(
    x: Floats, thresholds: Floats, levels: Doubles, strength: float, quadratic: bool, out: Floats, first: int, last: int
) -> None:
    """Write x moved to its level c: by `strength`, at most all the way, or to (x + strength c) / (1 + strength)."""
    places = np.empty(_RUN, np.uint8)
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        table = levels[r]
        for start in range(i, j, _RUN):
            part, part_out = x[r, start : min(j, start + _RUN)], out[r, start : min(j, start + _RUN)]
            _places(part, thresholds[r], places[: part.size])
            for k in range(part.size):
                w, c = np.float64(part[k]), table[places[k]]
                d = w - c
                if quadratic:
                    part_out[k] = (w + strength * c) / (1.0 + strength)
                else:
                    part_out[k] = c if abs(d) <= strength else w - math.copysign(strength, d)


@njit(cache=True, nogil=True)
def power_sums(
    x: Floats,
    thresholds: Floats,
    scales: Doubles,
    power: float,
    bent: Doubles,
    straight: Doubles,
    middle: int,
    grad: Floats,
    parts: Doubles,
    first: int,
    last: int,
) -> None:
    """Write the sum of grad (bent y ln y + straight) of every chunk, y = |x / scale|^power; 0 at the middle place."""
    places = np.empty(_RUN, np.uint8)
    for item in range(first, last):
        r, c, i, j = chunk_at(item, x.shape[1])
        lanes = np.zeros(LANES)
        for start in range(i, j, _RUN):
            part, part_grad = x[r, start : min(j, start + _RUN)], grad[r, start : min(j, start + _RUN)]
            _places(part, thresholds[r], places[: part.size])
            for k in range(part.size):
                p = places[k]
                if p != middle:
                    log = math.log(abs(np.float64(part[k])) / scales[r]) * power
                    slope = scales[r] * (bent[p] * (math.exp(log) * log) + straight[p])
                    lanes[k % LANES] += np.float64(part_grad[k]) * slope
        total = 0.0
        for k in range(LANES):
            total += lanes[k]
        parts[r, c] = total


@njit(cache=True, nogil=True)
def _adapted(
    x: Floats, step: float, low: float, high: float, gain: float, grad: Floats, rounds: Doubles, slopes: Doubles,
    out: Floats,
) -> None:  # fmt: skip
    for k in range(x.size):
        z, g = np.float64(x[k]) / step, np.float64(grad[k])
        inside = (z > low) & (z < high)
        rounds[k] += g * step_slope(z, low, high)
        slopes[k] += g * z if inside else 0.0
        out[k] = g * gain if inside else 0.0


@njit(cache=True, nogil=True)
def adaptive_backward(
    x: Floats, steps: Doubles, low: float, high: float, gains: Doubles, grad: Floats, out: Floats, by_step: Doubles,
    by_beta: Doubles, first: int, last: int,
) -> None:  # fmt: skip
    """Write grad times the row's gain where low < z = x / step < high, else 0, and two sums of every chunk.

    They are of grad times `step_slope`, and of grad z where low < z < high.
    """
    rounds, slopes = np.empty(LANES), np.empty(LANES)
    for item in range(first, last):
        r, c, i, j = chunk_at(item, x.shape[1])
        rounds[:] = 0.0
        slopes[:] = 0.0
        for start in range(i, j, LANES):
            stop = min(j, start + LANES)
            part, part_grad, part_out = x[r, start:stop], grad[r, start:stop], out[r, start:stop]
            _adapted(part, steps[r], low, high, gains[r], part_grad, rounds, slopes, part_out)
        by_step[r, c], by_beta[r, c] = lane_total(rounds), lane_total(slopes)


@njit(cache=True, nogil=True)
def row_sums(x: Floats, parts: Doubles, first: int, last: int) -> None:
    """Write the sum of every chunk, in the interleaved lanes of `tetrit.estimators._kernels.magnitude_sum`."""
    for item in range(first, last):
        r, c, i, j = chunk_at(item, x.shape[1])
        lanes = np.zeros(LANES)
        for start in range(i, j, LANES):
            part = x[r, start : min(j, start + LANES)]
            for k in range(part.size):
                lanes[k] += np.float64(part[k])
        total = 0.0
        for k in range(LANES):
            total += lanes[k]
        parts[r, c] = total


@njit(cache=True, nogil=True)
def product(a: Doubles, b: Doubles, out: Doubles) -> None:
    """Write the matrix product a b, the terms of every sum from left to right."""
    for i in range(a.shape[0]):
        row = out[i]
        for j in range(row.size):
            row[j] = 0.0
        for k in range(b.shape[0]):
            factor, terms = a[i, k], b[k]
            for j in range(row.size):
                row[j] += factor * terms[j]


@njit(cache=True, nogil=True)
def magnitude_histogram(bits: Codes, shift: int, counts: Counts) -> None:
    """Count the floats with these bit patterns by the bits of their magnitude from `shift` upwards, the sign left out.

    `counts` has a bin for every number of these bits.
    """
    mask = counts.size - 1
    for k in range(bits.size):
        counts[np.int64(bits[k] >> shift) & mask] += 1


@njit(cache=True, nogil=True)
def ranked_magnitudes(bits: Codes, sign: Any, shift: Any, k: int, out: Codes, first: int, last: int) -> None:
    """Write the pattern of rank k (from 1) of the magnitudes of every row: histogram, then sort where they match."""
    counts = np.empty(_BINS, np.int64)
    found = np.empty(bits.shape[1], bits.dtype)
    for r in range(first, last):
        row = bits[r]
        counts[:] = 0
        for i in range(row.size):
            counts[np.int64(row[i] >> shift) & (_BINS - 1)] += 1
        wanted, before = 0, 0
        while before + counts[wanted] < k:
            before += counts[wanted]
            wanted += 1
        n = 0
        for i in range(row.size):
            if np.int64(row[i] >> shift) & (_BINS - 1) == wanted:
                found[n] = row[i] & ~sign
                n += 1
        out[r] = np.sort(found[:n])[k - before - 1]


@njit(cache=True, nogil=True)
def between_magnitudes(bits: Codes, magnitude: Any, low: Any, high: Any, counts: Counts, found: Codes) -> None:
    """Gather the magnitudes above `low` and below `high`, as many as `found` has room for.

    `bits` are signed integers and `magnitude` the mask that clears their sign. `counts` become the number of magnitudes
    up to `low`, the number between `low` and `high`, and the largest magnitude.
    """
    flags = np.zeros(_RUN, np.uint8)
    words = flags.view(np.uint64)
    n, n_low, largest = 0, np.int64(0), magnitude & 0
    for start in range(0, bits.size, _RUN):
        part = bits[start : start + _RUN]
        part_low = np.int32(0)  # in 32 bits, so that a vector holds as many counters as floats
        for k in range(part.size):
            a = part[k] & magnitude
            part_low = np.int32(part_low + np.int32(a <= low))
            largest = max(largest, a)
            flags[k] = (a > low) & (a < high)
        flags[part.size :] = 0
        n_low += part_low
        for i in range(words.size):  # hardly any has a flag
            if words[i] == 0:
                continue
            for k in range(8 * i, 8 * i + 8):
                if flags[k] != 0:
                    if n < found.size:
                        found[n] = part[k] & magnitude
                    n += 1
    counts[0], counts[1], counts[2] = n_low, n, largest


@njit(cache=True, nogil=True)
def matching_magnitudes(bits: Codes, shift: int, wanted: int, mask: int, out: Codes) -> int:
    """Gather the patterns whose bits from `shift` upwards, under the mask, are `wanted`; return their number."""
    n = 0
    for k in range(bits.size):
        if np.int64(bits[k] >> shift) & mask == wanted:
            out[n] = bits[k]
            n += 1
    return n
