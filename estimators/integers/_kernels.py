"""Golden kernels of integers within two ends, under the rules of `tetrit.estimators._kernels`: float64, fixed order.

Where x and result are float32, most of the arithmetic is in float32, at twice the speed, and proved for every block to
give the same bits: see `_scale_parts` and `_single_block`.
"""

__all__ = [
    "clipped_block",
    "clipped_codes",
    "clipped_row",
    "clipped_values",
    "slope_sums",
    "step_slope",
    "stepped_backward",
    "stepped_rows",
    "uniform_rows",
]

import math
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tetrit.estimators._kernels import BLOCK, GROUP, LANES, chunk_at, lane_total, largest_word, row_totals

Floats: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[Any]
Words: TypeAlias = NDArray[Any]

_FEW = 255.0  # integers up to here are worth being tried one by one
_SINGLE = np.float32(1.5e-7)  # above the relative error of a product of two float32 numbers, one of them rounded
_HALF = np.float32(0.5)
_TWO = np.float32(2.0)
_ZERO = np.float32(0.0)
_SPLIT = np.float32(257.0)  # 2^8 + 1: Dekker's split of 24 bits into 16 and 8


@njit(cache=True, nogil=True)
def clipped_codes(
    x: Floats, scales: Doubles, low: float, high: float, mask: int, codes: Codes, first: int, last: int
) -> None:
    """Write the two's-complement code of x / scale, rounded to nearest even and held within [low, high]."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_codes, scale = x[r, i:j], codes[r, i:j], scales[r]
        for k in range(part.size):
            q = np.rint(np.float64(part[k]) / scale)
            q = q if q < high else high
            q = q if q > low else low
            part_codes[k] = np.int32(q) & mask


@njit(cache=True, nogil=True)
def clipped_block(x: Floats, scale: float, low: float, high: float, factor: float, out: Floats) -> None:
    """Write factor times x / scale, rounded to nearest even and held within [low, high]; |low|, |high| up to 2^16."""
    # A product is four times as fast as a quotient. The two differ by less than 2^-50 of their value, and only what
    # is below 2^17 matters, so they round alike unless they lie next to the middle between two integers.
    inverse = 1.0 / scale
    near: np.bool_ = np.bool_(scale < 1e-300)  # the inverse may be infinite
    for k in range(x.size):
        t = np.float64(x[k]) * inverse
        q = np.rint(t)
        near |= abs(abs(t - q) - 0.5) < 1e-9
        q = q if q < high else high
        q = q if q > low else low
        out[k] = (q + 0.0) * factor  # -0 becomes +0, as integers have it
    if near:
        for k in range(x.size):
            q = np.rint(np.float64(x[k]) / scale)
            q = q if q < high else high
            q = q if q > low else low
            out[k] = (q + 0.0) * factor


@njit(cache=True, nogil=True)
def _scale_parts(factor: float, top: float) -> tuple[np.float32, np.float32, bool]:
    """Return c and d such that fl(q c) + fl(q d) in float32 is q factor rounded twice, and whether that is so.

    c has 16 bits, so that q c is exact for the integers q up to `top`. All of these are tried.
    """
    single = np.float32(factor)
    scaled = single * _SPLIT
    coarse = scaled - (scaled - single)
    rest = np.float32(factor - np.float64(coarse))
    wrong = np.int32(0)
    for i in range(int(top) + 1):
        q = np.float32(i)
        wrong |= np.int32(q * coarse + q * rest != np.float32(np.float64(i) * factor))
    return coarse, rest, wrong == 0


@njit(cache=True, nogil=True)
def _single_block(
    x: Floats, inverse: np.float32, low: np.float32, high: np.float32, edge: np.float32,
    coarse: np.float32, rest: np.float32, out: Floats,
) -> bool:  # fmt: skip
    """Write what `clipped_block` does; return whether some quotient is too near to the middle for float32 to tell."""
    near = np.int32(0)
    for k in range(x.size):
        t = np.float32(x[k]) * inverse
        q = np.float32(np.rint(t))
        near |= np.int32(abs(t - q) > edge)
        q = q if q < high else high
        q = q if q > low else low
        q = q + _ZERO
        out[k] = q * coarse + q * rest
    return near != 0


@njit(cache=True, nogil=True)
def clipped_row(x: Floats, scale: float, low: float, high: float, factor: float, out: Floats) -> None:
    """Write what `clipped_block` does for a row of any length."""
    top = max(-low, high)
    normal = min(scale, factor) > 1e-30 and max(scale, factor) < 1e30
    if x.itemsize == 4 and out.itemsize == 4 and top <= min(_FEW, x.size) and normal:
        coarse, rest, good = _scale_parts(factor, top)
        if good:
            inverse, edge = np.float32(1.0 / scale), _HALF - _SINGLE * (np.float32(top) + _TWO)
            for k in range(0, x.size, BLOCK):
                part, part_out = x[k : k + BLOCK], out[k : k + BLOCK]
                if _single_block(part, inverse, np.float32(low), np.float32(high), edge, coarse, rest, part_out):
                    clipped_block(part, scale, low, high, factor, part_out)
            return
    for k in range(0, x.size, BLOCK):
        clipped_block(x[k : k + BLOCK], scale, low, high, factor, out[k : k + BLOCK])


@njit(cache=True, nogil=True)
def clipped_values(
    x: Floats, scales: Doubles, factors: Doubles, low: float, high: float, out: Floats, first: int, last: int
) -> None:
    """Write the row's factor times x / scale, rounded to nearest even and held within [low, high], up to 2^16."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        clipped_row(x[r, i:j], scales[r], low, high, factors[r], out[r, i:j])


@njit(cache=True, nogil=True)
def uniform_rows(
    x: Floats, bits: Words, magnitude: Any, words: Words, magnitudes: Floats, limit: float, least: float,
    largest: float, limits: Doubles, out: Floats, first: int, last: int,
) -> bool:  # fmt: skip
    """Write limit and values of the rows `first` to before `last`; return False, and stop, where x is not finite.

    The limit is the largest magnitude, or `limit` if that is not negative; scale = limit / largest, `least` where that
    is 0. `bits` are x, and `words` are `magnitudes`, as integers: these have room for one number per row.
    """
    for r in range(first, last):
        words[r] = largest_word(bits[r], magnitude)
        if not math.isfinite(magnitudes[r]):
            return False
        limits[r] = np.float64(magnitudes[r]) if limit < 0.0 else limit
        scale = limits[r] / largest
        scale = scale if scale != 0.0 else least
        clipped_row(x[r], scale, -largest, largest, scale, out[r])
    return True


@njit(cache=True, nogil=True)
def stepped_rows(
    x: Floats, bits: Words, magnitude: Any, greatest: Any, steps: Doubles, low: float, high: float, out: Floats,
    first: int, last: int,
) -> bool:  # fmt: skip
    """Write what `clipped_values` does for the rows `first` to before `last`; False, and stop, where x is not finite.

    A step is scale and factor. `bits` are x as integers, `greatest` those of the greatest finite number.
    """
    for r in range(first, last):
        if largest_word(bits[r], magnitude) > greatest:
            return False
        clipped_row(x[r], steps[r], low, high, steps[r], out[r])
    return True


@njit(cache=True, nogil=True)
def step_slope(z: float, low: float, high: float) -> float:
    """Return the slope of a value by the step: rint(z) - z between low and high, low or high at them and beyond."""
    slope = np.rint(z) - z
    slope = slope if z > low else low
    return slope if z < high else high


@njit(cache=True, nogil=True)
def _inner(x: Floats, step: float, low: float, high: float, grad: Floats, lanes: Doubles, out: Floats) -> None:
    """Write grad where low < z = x / step < high, else 0, and add grad times the slope; up to one block of lanes."""
    for k in range(x.size):
        z, g = np.float64(x[k]) / step, grad[k]
        lanes[k] += np.float64(g) * step_slope(z, low, high)
        out[k] = g if (z > low) & (z < high) else 0.0


@njit(cache=True, nogil=True)
def _inner_blocks(x: Floats, step: float, low: float, high: float, grad: Floats, lanes: Doubles, out: Floats) -> None:
    """Do what `_inner` does for four blocks of lanes at a time, so that a lane stays in its register."""
    four = 4 * LANES
    for start in range(0, x.size // four * four, four):
        part, part_grad, part_out = x[start : start + four], grad[start : start + four], out[start : start + four]
        for k in range(LANES):
            total = lanes[k]
            for b in range(4):
                z, g = np.float64(part[k + b * LANES]) / step, part_grad[k + b * LANES]
                total += np.float64(g) * step_slope(z, low, high)
                part_out[k + b * LANES] = g if (z > low) & (z < high) else 0.0
            lanes[k] = total
    for start in range(x.size // four * four, x.size, LANES):
        stop = min(x.size, start + LANES)
        _inner(x[start:stop], step, low, high, grad[start:stop], lanes, out[start:stop])


@njit(cache=True, nogil=True)
def stepped_backward(
    x: Floats, steps: Doubles, low: float, high: float, grad: Floats, out: Floats, parts: Doubles, first: int, last: int
) -> None:
    """Write grad where low < z = x / step < high, else 0, and the sum of grad times `step_slope` of every chunk.

    The sum runs in the lanes of `tetrit.estimators._kernels`.
    """
    lanes, totals = np.empty((GROUP, LANES)), np.empty(GROUP)
    for begin in range(first, last, GROUP):
        count = min(GROUP, last - begin)
        for item in range(count):
            r, _, i, j = chunk_at(begin + item, x.shape[1])
            lanes[item] = 0.0
            _inner_blocks(x[r, i:j], steps[r], low, high, grad[r, i:j], lanes[item], out[r, i:j])
        row_totals(lanes, totals, count)
        for item in range(count):
            r, c, _, _ = chunk_at(begin + item, x.shape[1])
            parts[r, c] = totals[item]


@njit(cache=True, nogil=True)
def _slope_terms(x: Floats, step: float, low: float, high: float, grad: Floats, lanes: Doubles) -> None:
    for k in range(x.size):
        lanes[k] += np.float64(grad[k]) * step_slope(np.float64(x[k]) / step, low, high)


@njit(cache=True, nogil=True)
def _slope_blocks(x: Floats, step: float, low: float, high: float, grad: Floats, lanes: Doubles) -> None:
    """Add grad times the slope, four blocks of lanes at a time."""
    four = 4 * LANES
    for start in range(0, x.size // four * four, four):
        part, part_grad = x[start : start + four], grad[start : start + four]
        for k in range(LANES):
            total = lanes[k]
            for b in range(4):
                z = np.float64(part[k + b * LANES]) / step
                total += np.float64(part_grad[k + b * LANES]) * step_slope(z, low, high)
            lanes[k] = total
    for start in range(x.size // four * four, x.size, LANES):
        stop = min(x.size, start + LANES)
        _slope_terms(x[start:stop], step, low, high, grad[start:stop], lanes)


@njit(cache=True, nogil=True)
def slope_sums(
    x: Floats, steps: Doubles, low: float, high: float, grad: Floats, parts: Doubles, first: int, last: int
) -> None:
    """Write the sum of `stepped_backward` alone."""
    lanes = np.empty(LANES)
    for item in range(first, last):
        r, c, i, j = chunk_at(item, x.shape[1])
        lanes[:] = 0.0
        _slope_blocks(x[r, i:j], steps[r], low, high, grad[r, i:j], lanes)
        parts[r, c] = lane_total(lanes)
