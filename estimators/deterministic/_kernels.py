"""Golden kernels of this family, under the rules of `tetrit.estimators._kernels`: rows, chunks, float64.

Hyperbolic tangents are those of the C library: correct within one unit in the last place. No code depends on them.
"""

__all__ = [
    "COLUMNS",
    "frozen_mask",
    "largest_of_groups",
    "odd_codes",
    "odd_values",
    "pack_kept",
    "part_at",
    "power_values",
    "pruned_gradient",
    "reste_backward",
    "sign_codes",
    "sign_values",
    "sine_backward",
    "sine_codes",
    "sine_values",
    "spread_kept",
    "tanh_values",
]

import math
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tetrit.estimators._kernels import BLOCK, LANES, chunk_at
from tetrit.estimators.elementary._kernels import cosine, powers, sine

Floats: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[Any]
Flags: TypeAlias = NDArray[np.bool_]

COLUMNS = 256
"""Columns that are worked on together where groups run along another axis than the last."""


@njit(cache=True, nogil=True)
def sign_codes(x: Floats, codes: Codes, first: int, last: int) -> None:
    """Write the two-bit integer of the sign bit: 1 for +1, 3 for -1."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_codes = x[r, i:j], codes[r, i:j]
        for k in range(part.size):
            part_codes[k] = 3 if math.copysign(1.0, np.float64(part[k])) < 0.0 else 1


@njit(cache=True, nogil=True)
def power_values(x: Floats, exponent: float, out: Doubles, first: int, last: int) -> None:
    """Write sign(x) |x|^exponent; a zero stays."""
    bases, powered = np.empty(BLOCK), np.empty(BLOCK)
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        for start in range(i, j, BLOCK):
            part, part_out = x[r, start : min(j, start + BLOCK)], out[r, start : min(j, start + BLOCK)]
            for k in range(part.size):
                a = abs(np.float64(part[k]))
                bases[k] = a if a > 0.0 else 1.0
            powers(bases[: part.size], exponent, powered[: part.size])
            for k in range(part.size):
                w = np.float64(part[k])
                part_out[k] = math.copysign(powered[k] if w != 0.0 else 0.0, w)


@njit(cache=True, nogil=True, error_model="numpy")
def reste_backward(
    x: Floats,
    grad: Floats,
    scales: Doubles,
    power: float,
    clip: float,
    secant: float,
    out: Floats,
    first: int,
    last: int,
) -> None:
    """Write grad * (scale * f'(x)): a secant up to `secant`, the derivative of |x|^(1/power) up to `clip`, then 0."""
    bases, powered = np.full(BLOCK, secant), np.empty(BLOCK)
    powers(bases[:1], 1.0 / power, powered[:1])
    flat = powered[0] / secant
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        scale = scales[r]
        for start in range(i, j, BLOCK):
            part, part_grad = x[r, start : min(j, start + BLOCK)], grad[r, start : min(j, start + BLOCK)]
            part_out = out[r, start : min(j, start + BLOCK)]
            for k in range(part.size):
                a = abs(np.float64(part[k]))
                bases[k] = a if a > secant else secant
            powers(bases[: part.size], (1.0 - power) / power, powered[: part.size])
            for k in range(part.size):
                a = abs(np.float64(part[k]))
                slope = powered[k] / power if a > secant else flat
                value = np.float64(part_grad[k]) * (scale * slope)
                part_out[k] = value if a <= clip else 0.0


@njit(cache=True, nogil=True)
def sine_codes(x: Floats, frequency: float, codes: Codes, first: int, last: int) -> None:
    """Write the two-bit integer of the sign bit of sin(frequency x): 1 for +1, 3 for -1."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_codes = x[r, i:j], codes[r, i:j]
        for k in range(part.size):
            wave = sine(frequency * np.float64(part[k]))
            part_codes[k] = 3 if math.copysign(1.0, wave) < 0.0 else 1


@njit(cache=True, nogil=True)
def sine_values(x: Floats, factor: float, frequency: float, out: Floats, first: int, last: int) -> None:
    """Write factor * sin(frequency x)."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_out = x[r, i:j], out[r, i:j]
        for k in range(part.size):
            part_out[k] = factor * sine(frequency * np.float64(part[k]))


@njit(cache=True, nogil=True)
def sine_backward(x: Floats, grad: Floats, factor: float, frequency: float, out: Floats, first: int, last: int) -> None:
    """Write grad * (factor * cos(frequency x))."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_grad, part_out = x[r, i:j], grad[r, i:j], out[r, i:j]
        for k in range(part.size):
            part_out[k] = np.float64(part_grad[k]) * (factor * cosine(frequency * np.float64(part[k])))


@njit(cache=True, nogil=True)
def odd_codes(x: Floats, scales: Doubles, half: float, mask: int, codes: Codes, first: int, last: int) -> None:
    """Write the code of the odd integer 2 q + 1, q = x / (2 scale) - 1/2 to nearest even, from -half to half - 1."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_codes, scale = x[r, i:j], codes[r, i:j], scales[r]
        for k in range(part.size):
            q = np.rint(np.float64(part[k]) / scale * 0.5 - 0.5)
            q = q if q < half - 1.0 else half - 1.0
            q = q if q > -half else -half
            part_codes[k] = (2 * np.int32(q) + 1) & mask


@njit(cache=True, nogil=True)
def _odd_block(x: Floats, scale: float, half: float, out: Floats) -> None:
    inverse = 0.5 / scale  # see `tetrit.estimators._kernels.clipped_values`
    near: np.bool_ = np.bool_(scale < 1e-300)
    for k in range(x.size):
        t = np.float64(x[k]) * inverse - 0.5
        q = np.rint(t)
        near |= abs(abs(t - q) - 0.5) < 1e-9
        q = q if q < half - 1.0 else half - 1.0
        q = q if q > -half else -half
        out[k] = (2.0 * q + 1.0) * scale
    if near:
        for k in range(x.size):
            q = np.rint(np.float64(x[k]) / scale * 0.5 - 0.5)
            q = q if q < half - 1.0 else half - 1.0
            q = q if q > -half else -half
            out[k] = (2.0 * q + 1.0) * scale


@njit(cache=True, nogil=True)
def odd_values(x: Floats, scales: Doubles, half: float, out: Floats, first: int, last: int) -> None:
    """Write scale times the odd integer of `odd_codes`; `half` up to 2^15."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        for k in range(i, j, BLOCK):
            stop = min(j, k + BLOCK)
            _odd_block(x[r, k:stop], scales[r], half, out[r, k:stop])


@njit(cache=True, nogil=True)
def sign_values(x: Floats, scales: Doubles, out: Floats, first: int, last: int) -> None:
    """Write scale with the sign of x."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_out, scale = x[r, i:j], out[r, i:j], scales[r]
        for k in range(part.size):
            part_out[k] = math.copysign(scale, np.float64(part[k]))


@njit(cache=True, nogil=True)
def frozen_mask(x: Floats, scales: Doubles, half: float, width: float, frozen: Flags, first: int, last: int) -> None:
    """Write whether x / (2 scale) is farther than `width` from every border, the integers between -half and half."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_frozen, scale = x[r, i:j], frozen[r, i:j], scales[r]
        for k in range(part.size):
            v = np.float64(part[k]) / scale * 0.5
            border = np.rint(v)
            border = border if border < half - 1.0 else half - 1.0
            border = border if border > 1.0 - half else 1.0 - half
            part_frozen[k] = not abs(v - border) <= width


@njit(cache=True, nogil=True)
def _rank(magnitudes: Floats, i: int, size: int, rank: Floats) -> None:
    """Write for member i of each of `size` groups (m, groups) how many are larger, or equal and earlier.

    Counted in the type of the magnitudes, so that one vector holds as many of either.
    """
    own = magnitudes[i]
    for k in range(size):
        rank[k] = 0.0
    for j in range(len(magnitudes)):
        other = magnitudes[j]
        if j < i:
            for k in range(size):
                rank[k] += 1.0 if other[k] >= own[k] else 0.0
        elif j > i:
            for k in range(size):
                rank[k] += 1.0 if other[k] > own[k] else 0.0


@njit(cache=True, nogil=True)
def part_at(item: int, inner: int) -> tuple[int, int, int]:
    """Return where part `item` of arrays (outer, length, inner) lies: the outer index, the first column, the end.

    A part is the whole length of up to `COLUMNS` columns.
    """
    parts = (inner + COLUMNS - 1) // COLUMNS
    o, left = item // parts, item % parts * COLUMNS
    return o, left, min(inner, left + COLUMNS)


@njit(cache=True, nogil=True)
def largest_of_groups(x: Floats, n: int, m: int, kept: Flags, first: int, last: int) -> None:
    """Write whether x is among the n largest |x| of its m along the middle axis; of equals, the earlier ones are.

    Done for the parts from `first` to before `last`.
    """
    magnitudes, rank = np.empty((m, LANES), x.dtype), np.empty(LANES, x.dtype)
    length, inner = x.shape[1], x.shape[2]
    whole = length // m
    for item in range(first, last):
        o, left, right = part_at(item, inner)
        if inner == 1:  # side by side: groups
            flat, flat_kept = x[o, :, 0], kept[o, :, 0]
            for start in range(0, whole, LANES):
                size = min(LANES, whole - start)
                for i in range(m):
                    for k in range(size):
                        magnitudes[i, k] = abs(flat[(start + k) * m + i])
                for i in range(m):
                    _rank(magnitudes, i, size, rank)
                    for k in range(size):
                        flat_kept[(start + k) * m + i] = rank[k] < n
        for start in range(whole * m if inner == 1 else 0, length, m):  # side by side: columns
            members = min(m, length - start)
            for column in range(left, right, LANES):
                size = min(LANES, right - column)
                for i in range(members):
                    for k in range(size):
                        magnitudes[i, k] = abs(x[o, start + i, column + k])
                for i in range(members):
                    _rank(magnitudes[:members], i, size, rank)
                    for k in range(size):
                        kept[o, start + i, column + k] = rank[k] < n


@njit(cache=True, nogil=True)
def pack_kept(kept: Flags, source: Floats, packed: Floats, first: int, last: int) -> None:
    """Write the elements of `source` that are kept along the middle axis, in their order, after one another."""
    # no branch on what nobody can predict: what is not kept is written, and then overwritten
    end, inner = packed.shape[1] - 1, kept.shape[2]
    places = np.zeros(COLUMNS, np.int64)
    for item in range(first, last):
        o, left, right = part_at(item, inner)
        if inner == 1:
            place = 0
            for i in range(kept.shape[1]):
                at = place if place < end else end
                keep = kept[o, i, 0]
                packed[o, at, 0] = source[o, i, 0] if keep or place < end else packed[o, at, 0]
                place += keep
            continue
        places[:] = 0
        for i in range(kept.shape[1]):
            for k in range(right - left):
                place = places[k]
                at = place if place < end else end
                keep = kept[o, i, left + k]
                element = source[o, i, left + k]
                packed[o, at, left + k] = element if keep or place < end else packed[o, at, left + k]
                places[k] = place + keep


@njit(cache=True, nogil=True)
def spread_kept(kept: Flags, packed: Floats, out: Floats, first: int, last: int) -> None:
    """Undo `pack_kept`: write the packed elements to where they came from in `out`, and nothing elsewhere."""
    end, inner = packed.shape[1] - 1, kept.shape[2]
    places = np.zeros(COLUMNS, np.int64)
    for item in range(first, last):
        o, left, right = part_at(item, inner)
        if inner == 1:
            place = 0
            for i in range(kept.shape[1]):
                keep = kept[o, i, 0]
                value = packed[o, place if place < end else end, 0]
                out[o, i, 0] = value if keep else out[o, i, 0]
                place += keep
            continue
        places[:] = 0
        for i in range(kept.shape[1]):
            for k in range(right - left):
                place = places[k]
                keep = kept[o, i, left + k]
                value = packed[o, place if place < end else end, left + k]
                out[o, i, left + k] = value if keep else out[o, i, left + k]
                places[k] = place + keep


@njit(cache=True, nogil=True)
def pruned_gradient(x: Floats, grad: Floats, decay: float, out: Floats, first: int, last: int) -> None:
    """Write grad + decay x."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_grad, part_out = x[r, i:j], grad[r, i:j], out[r, i:j]
        for k in range(part.size):
            part_out[k] = np.float64(part_grad[k]) + decay * np.float64(part[k])


@njit(cache=True, nogil=True)
def tanh_values(x: Floats, bound: float, out: Floats, first: int, last: int) -> None:
    """Write bound * tanh(x / bound)."""
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        part, part_out = x[r, i:j], out[r, i:j]
        for k in range(part.size):
            part_out[k] = bound * math.tanh(np.float64(part[k]) / bound)
