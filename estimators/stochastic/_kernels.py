"""Golden kernels of the stochastic estimators: the exact order of every floating-point operation is fixed here.

The layout is that of `tetrit.estimators._kernels`: contiguous (rows, row length) arrays, one row per scale, chunks
numbered row by row and shared out to threads, arithmetic in float64, one rounding on the store. Random bits are a
function of a key and of the number that an element has in its tensor, so what becomes of it does not depend on who
computes it.
"""

__all__ = [
    "copied",
    "inner_backward",
    "narrowed_backward",
    "narrowed_values",
    "noisy_blocks",
    "random_codes",
    "random_values",
    "rounding_variance",
    "smoothed_backward",
    "term_sum",
]

import math
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tetrit.estimators._kernels import BLOCK, LANES, chunk_at
from tetrit.estimators.integers._kernels import clipped_block
from tetrit.noise._kernels import random_word

Floats: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[Any]
Places: TypeAlias = NDArray[np.int64]

_FEW = 32  # values of which trying each is faster than bisection

_S1, _S11, _S12 = np.uint64(1), np.uint64(11), np.uint64(12)


@njit(cache=True, nogil=True)
def _place_below(values: Doubles, v: float) -> int:
    """Index of the last value at or below v, -1 if there is none."""
    low, high = 0, values.size
    while low < high:
        middle = (low + high) // 2
        if values[middle] <= v:
            low = middle + 1
        else:
            high = middle
    return low - 1


@njit(cache=True, nogil=True)
def _draws(key: Any, r: int, start: int, channels: int, inner: int, out: Doubles) -> None:
    """Write a uniform number k 2^-53 for every element of a part of row r, by the number that it has in the tensor.

    The tensor is (outer, channels, inner), and row r holds its channel r.
    """
    if channels == 1 or inner >= start + out.size:  # the numbers are consecutive
        first = start + r * inner
        for k in range(out.size):
            out[k] = np.float64(np.int64(random_word(key, first + k) >> _S11)) * 2.0**-53
        return
    for k in range(out.size):
        place = (start + k) // inner
        number = (place * channels + r) * inner + (start + k - place * inner)
        out[k] = np.float64(np.int64(random_word(key, number) >> _S11)) * 2.0**-53


@njit(cache=True, nogil=True)
def _random_places(x: Floats, scale: float, values: Doubles, draws: Doubles, places: Places) -> None:
    """Write the place of the neighbour of v = x / scale that draw u chooses: the upper one if u < (v - a) / (b - a).

    `values` ascend, -0.0 before 0.0 where the format has both. A v outside saturates.
    """
    lowest, highest, top = values[0], values[-1], values.size - 1
    if _consecutive(values):
        for k in range(x.size):
            v = np.float64(x[k]) / scale
            v = v if v > lowest else lowest
            v = v if v < highest else highest
            below = np.floor(v)
            places[k] = np.int64(below - lowest) + (draws[k] < v - below)
        return
    for k in range(x.size):
        v = np.float64(x[k]) / scale
        place = max(_place_below(values, v), 0)
        # both zeros lie at or below either zero: take the one with the sign bit of v
        if v == 0.0 and math.copysign(1.0, v) < 0.0 and place > 0 and values[place - 1] == 0.0:
            place -= 1
        if place < top and values[place] < v:
            a, b = values[place], values[place + 1]
            place += draws[k] < (v - a) / (b - a)
        places[k] = place


@njit(cache=True, nogil=True)
def random_codes(
    x: Floats, scales: Doubles, values: Doubles, table: Codes, key: Any, channels: int, inner: int, codes: Codes,
    first: int, last: int,
) -> None:  # fmt: skip
    """Write the code, which `table` has for each of `values`, of the neighbour that `_random_places` chooses."""
    draws, places = np.empty(BLOCK), np.empty(BLOCK, np.int64)
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        for start in range(i, j, BLOCK):
            part, part_codes = x[r, start : min(j, start + BLOCK)], codes[r, start : min(j, start + BLOCK)]
            _draws(key, r, start, channels, inner, draws[: part.size])
            _random_places(part, scales[r], values, draws, places)
            for k in range(part.size):
                part_codes[k] = table[places[k]]


@njit(cache=True, nogil=True)
def random_values(
    x: Floats, scales: Doubles, values: Doubles, key: Any, channels: int, inner: int, out: Floats, first: int, last: int
) -> None:
    """Write scale times the neighbour that the draw chooses, see `_random_places`."""
    draws, places = np.empty(BLOCK), np.empty(BLOCK, np.int64)
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        scale = scales[r]
        for start in range(i, j, BLOCK):
            part, part_out = x[r, start : min(j, start + BLOCK)], out[r, start : min(j, start + BLOCK)]
            _draws(key, r, start, channels, inner, draws[: part.size])
            _random_places(part, scale, values, draws, places)
            for k in range(part.size):
                part_out[k] = values[places[k]] * scale


@njit(cache=True, nogil=True)
def _consecutive(values: Doubles) -> bool:
    """Return whether rising values are all integers from the first to the last."""
    gap = values[-1] - values[0]
    return bool(values.size > 1 and gap == values.size - 1 and np.floor(values[0]) == values[0])


@njit(cache=True, nogil=True)
def _copied_chunk(x: Floats, out: Floats) -> bool:
    finite: np.bool_ = np.bool_(True)
    for k in range(x.size):
        out[k] = x[k]
        finite &= abs(x[k]) < np.inf
    return bool(finite)


@njit(cache=True, nogil=True)
def copied(x: Floats, finite: NDArray[np.bool_], out: Floats, first: int, last: int) -> None:
    """Write x, and whether every chunk of it is finite."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        finite[item] = _copied_chunk(x[r, i:j], out[r, i:j])


@njit(cache=True, nogil=True)
def _bent(x: Floats, scale: float, lowest: float, highest: float, bends: Doubles) -> None:
    """Write for v = x / scale what the gap between its neighbours, floor and floor + 1, has over twice its distance."""
    for k in range(x.size):
        v = np.float64(x[k]) / scale
        inside = (lowest <= v) & (v < highest)
        bends[k] = 1.0 - 2.0 * (v - np.floor(v)) if inside else 0.0


@njit(cache=True, nogil=True)
def _divided(x: Floats, scale: float, out: Doubles) -> None:
    for k in range(x.size):
        out[k] = np.float64(x[k]) / scale


@njit(cache=True, nogil=True)
def _from_value(units: Doubles, value: float, gap: float, below: Doubles, gaps: Doubles) -> None:
    for k in range(units.size):
        reached = units[k] >= value
        below[k] = value if reached else below[k]
        gaps[k] = gap if reached else gaps[k]


@njit(cache=True, nogil=True)
def _cells(x: Floats, scale: float, values: Doubles, units: Doubles, above: Doubles, gaps: Doubles) -> None:
    """Write for v = x / scale its distance above the neighbour below and the gap between its neighbours; 0, 0 outside.

    `values` ascend. Where they are all integers from the first to the last, the neighbour is the floor; few values are
    tried one after the other, for all numbers at once. `units` has room for the numbers v.
    """
    _divided(x, scale, units)
    lowest, highest, top = values[0], values[-1], values.size - 1
    if _consecutive(values):
        for k in range(units.size):
            v = units[k]
            inside = (lowest <= v) & (v < highest)
            above[k] = v - np.floor(v) if inside else 0.0
            gaps[k] = 1.0 if inside else 0.0
    elif values.size <= _FEW:
        above[:] = lowest
        gaps[:] = 0.0
        for m in range(values.size):
            _from_value(units, values[m], values[m + 1] - values[m] if m < top else 0.0, above, gaps)
        for k in range(units.size):
            above[k] = units[k] - above[k] if gaps[k] > 0.0 else 0.0
    else:
        for k in range(units.size):
            place = _place_below(values, units[k])
            inside = 0 <= place < top
            above[k] = units[k] - values[place] if inside else 0.0
            gaps[k] = values[place + 1] - values[place] if inside else 0.0


@njit(cache=True, nogil=True)
def rounding_variance(x: Floats, scales: Doubles, values: Doubles, out: Doubles, first: int, last: int) -> None:
    """Write scale^2 d (gap - d), d = v - a above the lower neighbour a, gap = b - a; 0 where v saturates."""
    cells = np.empty((3, BLOCK))
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        scale = scales[r]
        for start in range(i, j, BLOCK):
            part, part_out = x[r, start : min(j, start + BLOCK)], out[r, start : min(j, start + BLOCK)]
            units, above, gaps = cells[0, : part.size], cells[1, : part.size], cells[2, : part.size]
            _cells(part, scale, values, units, above, gaps)
            for k in range(part.size):
                part_out[k] = (scale * scale) * (above[k] * (gaps[k] - above[k]))


@njit(cache=True, nogil=True)
def _fisher_sloped(grad: Floats, weight: float, half: float, bends: Doubles, out: Floats) -> None:
    for k in range(grad.size):
        g = np.float64(grad[k])
        out[k] = g + weight * (g * g) * (half * bends[k])


@njit(cache=True, nogil=True)
def smoothed_backward(
    x: Floats,
    scales: Doubles,
    values: Doubles,
    curvature: Doubles,
    fisher: bool,
    weight: float,
    grad: Floats,
    out: Floats,
    first: int,
    last: int,
) -> None:
    """Write g + weight h (1/2 scale (gap - 2 d)) with h = g g (`fisher`) or `curvature`; g alone where v saturates."""
    cells = np.empty((3, BLOCK))
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        scale = scales[r]
        for start in range(i, j, BLOCK):
            stop = min(j, start + BLOCK)
            part, part_grad, part_out = x[r, start:stop], grad[r, start:stop], out[r, start:stop]
            units, bends, gaps = cells[0, : part.size], cells[1, : part.size], cells[2, : part.size]
            if _consecutive(values):
                _bent(part, scale, values[0], values[-1], bends)
            else:
                _cells(part, scale, values, units, bends, gaps)
                for k in range(part.size):
                    bends[k] = gaps[k] - 2.0 * bends[k]
            if fisher:
                _fisher_sloped(part_grad, weight, 0.5 * scale, bends, part_out)
            else:
                part_h = curvature[r, start:stop]
                for k in range(part.size):
                    part_out[k] = np.float64(part_grad[k]) + weight * part_h[k] * (0.5 * scale * bends[k])


@njit(cache=True, nogil=True)
def term_sum(terms: Doubles, parts: Doubles, first: int, last: int) -> None:
    """Write the sum of every chunk, in the interleaved lanes of `tetrit.estimators._kernels.magnitude_sum`."""
    for item in range(first, last):
        r, c, i, j = chunk_at(item, terms.shape[1])
        lanes = np.zeros(LANES)
        for k in range(j - i):
            lanes[k % LANES] += terms[r, i + k]
        total = 0.0
        for k in range(LANES):
            total += lanes[k]
        parts[r, c] = total


@njit(cache=True, nogil=True)
def noisy_blocks(
    x: Floats, block: int, factor: float, tails: Doubles, key: Any, noisy: bool, steps: Doubles, out: Doubles,
    first: int, last: int,
) -> None:  # fmt: skip
    """Write x + R step, step = factor max |x| of each block x block square; x itself where R is 0.

    x is (matrices, rows, columns), `steps` (matrices, blocks down, blocks across); done for the rows of blocks from
    `first` to before `last`. R has the sign of the word's lowest bit; |R| is the number of `tails`, P(|R| > 0),
    P(|R| > 1), ..., above the uniform number of its top 52 bits. Without `noisy`, steps alone are written.
    """
    down, height, width = steps.shape[1], x.shape[1], x.shape[2]
    draws = np.empty(min(block, width), np.uint64)
    for item in range(first, last):
        m, p = item // down, item % down
        i, j = p * block, min(height, (p + 1) * block)
        for q in range(steps.shape[2]):
            left, right = q * block, min(width, (q + 1) * block)
            largest = 0.0
            for a in range(i, j):
                row = x[m, a, left:right]
                for b in range(row.size):
                    largest = max(largest, abs(np.float64(row[b])))
            step = largest * factor
            steps[m, p, q] = step
            for a in range(i if noisy else j, j):
                row, row_out = x[m, a, left:right], out[m, a, left:right]
                start = (m * height + a) * width + left
                for b in range(row.size):
                    draws[b] = random_word(key, start + b)
                for b in range(row.size):
                    t = np.float64(np.int64(draws[b] >> _S12)) * 2.0**-52
                    noise = 0.0
                    for k in range(tails.size):
                        noise += 1.0 if t < tails[k] else 0.0
                    noise = -noise if draws[b] & _S1 else noise
                    value = np.float64(row[b])
                    row_out[b] = value if noise == 0.0 else value + noise * step


@njit(cache=True, nogil=True)
def narrowed_values(
    x: Floats, scales: Doubles, half: float, step: float, narrow_half: float, out: Floats, first: int, last: int
) -> None:
    """Write scale step times rint(q / step), q = rint(x / scale), either held in its two's-complement range."""
    stored = np.empty(BLOCK)
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        width = scales[r] * step
        for start in range(i, j, BLOCK):
            part, part_out = x[r, start : min(j, start + BLOCK)], out[r, start : min(j, start + BLOCK)]
            clipped_block(part, scales[r], -half, half - 1.0, 1.0, stored[: part.size])
            for k in range(part.size):
                q = np.rint(stored[k] / step)
                q = q if q < narrow_half - 1.0 else narrow_half - 1.0
                q = q if q > -narrow_half else -narrow_half
                part_out[k] = (q + 0.0) * width


@njit(cache=True, nogil=True)
def narrowed_backward(
    x: Floats, scales: Doubles, half: float, step: float, narrow_half: float, grad: Floats, out: Floats,
    first: int, last: int,
) -> None:  # fmt: skip
    """Write grad where neither the clip of q = rint(x / scale) nor that of rint(q / step) changes anything, else 0."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_grad, part_out, scale = x[r, i:j], grad[r, i:j], out[r, i:j], scales[r]
        for k in range(part.size):
            q = np.rint(np.float64(part[k]) / scale)
            narrow = np.rint(q / step)
            inside = -half <= q < half and -narrow_half <= narrow < narrow_half
            part_out[k] = part_grad[k] if inside else 0.0


@njit(cache=True, nogil=True)
def inner_backward(
    x: Floats, scales: Doubles, low: float, high: float, grad: Floats, out: Floats, first: int, last: int
) -> None:
    """Write grad where low < x / scale < high, and 0 elsewhere."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_grad, part_out, scale = x[r, i:j], grad[r, i:j], out[r, i:j], scales[r]
        for k in range(part.size):
            z = np.float64(part[k]) / scale
            part_out[k] = part_grad[k] if low < z < high else 0.0
