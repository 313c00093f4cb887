"""Golden kernels of the estimators: the exact order of every floating-point operation is fixed here.

Arrays are C-contiguous (rows, row length), one row per scale. Comparisons and arithmetic are in float64 whatever the
storage type; gradients are rounded once, on the store. A row is cut into chunks of `CHUNK` elements, numbered row by
row, and every kernel works on the chunks from `first` to before `last`, so that threads can share the work. A sum runs
in `LANES` interleaved lanes within a chunk, then over the lanes in index order; the caller adds the chunks of a row in
index order: the result does not depend on the number of threads.

A kernel on one chunk sees slices and counts from 0, which is what lets the compiler vectorise it.
"""

__all__ = [
    "BLOCK",
    "CHUNK",
    "GROUP",
    "LANES",
    "NEST",
    "band_backward",
    "blended",
    "chunk_at",
    "decoded",
    "divided",
    "held_numbers",
    "lane_sums",
    "lane_total",
    "largest_bits",
    "largest_word",
    "magnitude_sum",
    "nested_backward",
    "nested_codes",
    "nested_values",
    "row_totals",
    "scaled",
]

import math
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[Any]
Words: TypeAlias = NDArray[Any]

CHUNK = 1 << 15
LANES = 64
GROUP = 8  # rows that are summed together
NEST = 1 << 8  # elements whose exponents under several references stay in the nearest cache
BLOCK = 1 << 10  # what is done again as a whole if one element of it needs more care


@njit(cache=True, nogil=True)
def chunk_at(item: int, n: int) -> tuple[int, int, int, int]:
    """Return where chunk `item` of rows of `n` elements lies: row, number in the row, first element, end."""
    chunks = (n + CHUNK - 1) // CHUNK
    r, c = item // chunks, item % chunks
    return r, c, c * CHUNK, min(n, (c + 1) * CHUNK)


@njit(cache=True, nogil=True)
def lane_total(lanes: Doubles) -> float:
    """Return the sum of the lanes in index order."""
    total = 0.0
    for k in range(LANES):
        total += lanes[k]
    return total


@njit(cache=True, nogil=True)
def row_totals(lanes: Doubles, totals: Doubles, n: int) -> None:
    """Write `lane_total` of the first `n` rows of lanes, four rows at a time: an addition waits for that before it."""
    for r in range(0, n // 4 * 4, 4):
        a = b = c = d = 0.0
        for k in range(LANES):
            a += lanes[r, k]
            b += lanes[r + 1, k]
            c += lanes[r + 2, k]
            d += lanes[r + 3, k]
        totals[r], totals[r + 1], totals[r + 2], totals[r + 3] = a, b, c, d
    for r in range(n // 4 * 4, n):
        totals[r] = lane_total(lanes[r])


@njit(cache=True, nogil=True)
def lane_sums(x: Floats, lanes: Doubles) -> None:
    """Write the sums of |x| of one chunk in lanes; four blocks at a time, so that a lane stays in its register."""
    lanes[:] = 0.0
    full, four = x.size // LANES * LANES, x.size // (4 * LANES) * (4 * LANES)
    for i in range(0, four, 4 * LANES):
        block = x[i : i + 4 * LANES]
        for k in range(LANES):
            total = lanes[k] + abs(np.float64(block[k]))
            total += abs(np.float64(block[k + LANES]))
            total += abs(np.float64(block[k + 2 * LANES]))
            lanes[k] = total + abs(np.float64(block[k + 3 * LANES]))
    for i in range(four, full, LANES):
        block = x[i : i + LANES]
        for k in range(LANES):
            lanes[k] += abs(np.float64(block[k]))
    for k in range(x.size - full):
        lanes[k] += abs(np.float64(x[full + k]))


@njit(cache=True, nogil=True)
def magnitude_sum(x: Floats, parts: Doubles, first: int, last: int) -> None:
    """Write the sum of |x| of every chunk, in float64."""
    lanes, totals = np.empty((GROUP, LANES)), np.empty(GROUP)
    for start in range(first, last, GROUP):
        count = min(GROUP, last - start)
        for item in range(count):
            r, _, i, j = chunk_at(start + item, x.shape[1])
            lane_sums(x[r, i:j], lanes[item])
        row_totals(lanes, totals, count)
        for item in range(count):
            r, c, _, _ = chunk_at(start + item, x.shape[1])
            parts[r, c] = totals[item]


@njit(cache=True, nogil=True)
def largest_word(bits: Words, magnitude: Any) -> Any:
    """Return the largest of the words without their sign bits, `magnitude` being the mask for that; 0 if empty."""
    largest = magnitude & 0
    for k in range(bits.size):
        largest = max(largest, bits[k] & magnitude)
    return largest


@njit(cache=True, nogil=True)
def largest_bits(bits: Words, magnitude: Any, parts: Words, first: int, last: int) -> None:
    """Write the largest of the words of every chunk without their sign bits, `magnitude` being the mask for that.

    Of floats, as integers, this is the largest magnitude, with infinities and NaN on top; and integers vectorise.
    """
    for item in range(first, last):
        r, c, i, j = chunk_at(item, bits.shape[1])
        parts[r, c] = largest_word(bits[r, i:j], magnitude)


@njit(cache=True, nogil=True)
def held_numbers(x: Floats, least: float, greatest: float, out: Doubles) -> bool:
    """Write x in float64, and return whether all of it lies from `least` to `greatest`."""
    held: np.bool_ = np.bool_(True)
    for k in range(x.size):
        v = np.float64(x[k])
        held &= (v >= least) & (v <= greatest)
        out[k] = v
    return bool(held)


@njit(cache=True, nogil=True)
def _magnitude_units(x: Floats, scale: float, units: Doubles) -> None:
    for k in range(x.size):
        units[k] = abs(np.float64(x[k])) / scale


@njit(cache=True, nogil=True)
def _from_border(units: Doubles, border: float, term: float, chosen: Doubles) -> None:
    for k in range(units.size):
        chosen[k] = term if units[k] >= border else chosen[k]


@njit(cache=True, nogil=True)
def _blended_block(x: Floats, units: Doubles, chosen: Doubles, lowest: float, rest: float, out: Floats) -> None:
    for k in range(x.size):
        w = np.float64(x[k])
        signed = math.copysign(chosen[k], w)
        term = signed if units[k] >= lowest else 0.0
        out[k] = term + rest * w


@njit(cache=True, nogil=True)
def blended(
    x: Floats, scales: Doubles, magnitudes: Doubles, borders: Doubles, lam: float, out: Floats, first: int, last: int
) -> None:
    """Write lam value + (1 - lam) x, the value being scale times the magnitude that |x| / scale is given, signed as x.

    The magnitudes ascend; number m + 1 begins at border m. A magnitude of 0 has no sign.
    """
    lowest = borders[0] if magnitudes[0] == 0.0 else 0.0
    units, chosen = np.empty(BLOCK), np.empty(BLOCK)
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        for start in range(i, j, BLOCK):
            stop = min(j, start + BLOCK)
            part, part_units, part_chosen = x[r, start:stop], units[: stop - start], chosen[: stop - start]
            _magnitude_units(part, scales[r], part_units)
            part_chosen[:] = lam * (magnitudes[0] * scales[r])
            for m in range(borders.size):
                _from_border(part_units, borders[m], lam * (magnitudes[m + 1] * scales[r]), part_chosen)
            _blended_block(part, part_units, part_chosen, lowest, 1.0 - lam, out[r, start:stop])


@njit(cache=True, nogil=True)
def band_backward(x: Floats, grad: Floats, limits: Doubles, out: Floats, first: int, last: int) -> None:
    """Write grad where |x| <= the row's limit, and 0 elsewhere."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_grad, part_out, limit = x[r, i:j], grad[r, i:j], out[r, i:j], limits[r]
        for k in range(part.size):
            part_out[k] = part_grad[k] if abs(np.float64(part[k])) <= limit else 0.0


@njit(cache=True, nogil=True)
def decoded(codes: Codes, table: Doubles, scales: Doubles, out: Floats, first: int, last: int) -> None:
    """Write value of the code times scale."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, codes.shape[1])
        part, part_out, scale = codes[r, i:j], out[r, i:j], scales[r]
        for k in range(part.size):
            part_out[k] = table[part[k]] * scale


@njit(cache=True, nogil=True)
def divided(x: Floats, scales: Doubles, out: Doubles, first: int, last: int) -> None:
    """Write x / scale."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_out, scale = x[r, i:j], out[r, i:j], scales[r]
        for k in range(part.size):
            part_out[k] = np.float64(part[k]) / scale


@njit(cache=True, nogil=True)
def scaled(x: Floats, factor: float, out: Floats, first: int, last: int) -> None:
    """Write factor * x."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_out = x[r, i:j], out[r, i:j]
        for k in range(part.size):
            part_out[k] = factor * np.float64(part[k])


@njit(cache=True, nogil=True)
def nested_codes(references: Floats, codes: Codes) -> None:
    """Write the sign-scale code: exponent S_t = H(w_t) (1 + S_{t-1}) below, the sign bit of reference 0 on top."""
    depth, n = references.shape
    for i in range(n):
        exponent = 0
        for t in range(1, depth):
            exponent = exponent + 1 if references[t, i] > 0.0 else 0
        codes[i] = exponent + (depth if math.copysign(1.0, references[0, i]) < 0.0 else 0)


@njit(cache=True, nogil=True)
def _doubled(row: Floats, powers: Floats) -> None:
    for k in range(row.size):
        doubled = powers[k] + powers[k]
        powers[k] = doubled if row[k] > 0.0 else 1.0


@njit(cache=True, nogil=True)
def _signed(row: Floats, powers: Floats, scale: float, out: Floats) -> None:
    for k in range(row.size):
        out[k] = math.copysign(np.float64(powers[k]), np.float64(row[k])) * scale


@njit(cache=True, nogil=True)
def nested_values(out: Floats, references: Floats, scale: float, first: int, last: int) -> None:
    """Write the values of the codes of `nested_codes` times scale into the one row of `out`."""
    powers = np.empty(NEST, references.dtype)  # up to 2^7: exact in any type
    for item in range(first, last):
        _, _, i, j = chunk_at(item, out.shape[1])
        for start in range(i, j, NEST):
            stop = min(j, start + NEST)
            powers[:] = 1.0
            for t in range(1, references.shape[0]):
                _doubled(references[t, start:stop], powers)
            _signed(references[0, start:stop], powers, scale, out[0, start:stop])


@njit(cache=True, nogil=True)
def _climb(row: Floats, before: Doubles, after: Doubles, powers: Doubles) -> None:
    """Write S_t for the S_{t-1} before it, and 2 to that."""
    for k in range(row.size):
        positive = row[k] > 0.0
        climbed, doubled = before[k] + 1.0, 2.0 * powers[k]
        after[k] = climbed if positive else 0.0
        powers[k] = doubled if positive else 1.0


@njit(cache=True, nogil=True)
def _outermost(
    row: Floats, grad: Floats, powers: Doubles, scale: float, clip: float, slopes: Doubles, out: Floats
) -> None:
    """Write the gradient of reference 0, and what all others have in common."""
    for k in range(row.size):
        w, g = np.float64(row[k]), np.float64(grad[k])
        magnitude = scale * powers[k]
        through = g * magnitude
        out[k] = through if abs(w) <= clip else 0.0
        slopes[k] = g * (math.copysign(1.0, w) * magnitude * math.log(2.0))


@njit(cache=True, nogil=True)
def _descend(row: Floats, before: Doubles, clip: float, slopes: Doubles, out: Floats) -> None:
    """Write the gradient of one reference, and clear the slopes of those below it where it is not positive."""
    for k in range(row.size):
        w = np.float64(row[k])
        slope = slopes[k] * (1.0 + before[k])
        out[k] = slope if abs(w) <= clip else 0.0
        slopes[k] = slopes[k] if w > 0.0 else 0.0


@njit(cache=True, nogil=True)
def nested_backward(
    grad: Floats, references: Floats, scale: float, clip: float, out: Floats, first: int, last: int
) -> None:
    """Write the gradient of every reference; H' and sign' are 1 within +-clip and 0 outside (straight through).

    `grad` has one row; `references` and `out` have one for every reference.
    """
    depth = references.shape[0]
    exponents, powers, slopes = np.empty((depth + 1, NEST)), np.empty(NEST), np.empty(NEST)
    exponents[1] = 0.0  # S_0; row t has S_{t-1}
    for item in range(first, last):
        _, _, start, end = chunk_at(item, grad.shape[1])
        for i in range(start, end, NEST):
            j = min(end, i + NEST)
            powers[:] = 1.0
            for t in range(1, depth):
                _climb(references[t, i:j], exponents[t], exponents[t + 1], powers)
            _outermost(references[0, i:j], grad[0, i:j], powers, scale, clip, slopes, out[0, i:j])
            for t in range(depth - 1, 0, -1):
                _descend(references[t, i:j], exponents[t], clip, slopes, out[t, i:j])
