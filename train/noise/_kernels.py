"""Loops of the CPU over one batch: inputs to integers, weights to drawn cells, currents to results.

Compiled, on float32; every result is what the tensor operations of `panels` and `product` give, but for the last place
of sums, and for the variances of 1/f noise: these are bfloat16, their bits in uint16. Normals are those of
`tetrit.noise`: element ``row * width + column`` of a key's stream, width even.
"""

__all__ = [
    "convert",
    "draw",
    "enter",
    "enter_patches",
    "follow",
    "integers",
    "numbered",
    "row_scales",
]

from typing import Any

import numpy as np
from numba import njit

from tetrit.noise._kernels import INCREMENT, normal_pair, random_word

_MAGNITUDE = np.int32(0x7FFFFFFF)


@njit(cache=True, nogil=True)
def _largest(x: Any) -> Any:
    """Return the largest magnitude in a vector of float32, 0 of none; NaN counts as more than infinity.

    Magnitudes are in the order of their bits, and whole numbers are compared many at a time.
    """
    bits = x.view(np.int32)
    found = np.int32(0)
    for k in range(bits.size):
        found = max(found, np.int32(bits[k] & _MAGNITUDE))
    return np.int32(found).view(np.float32)


@njit(cache=True, nogil=True)
def follow(x: Any, pace: Any, again: bool, kept: Any) -> None:
    """Move `kept`, float32 of no dimension, by a share `pace` to the largest magnitude in `x`, if that is finite.

    `again`: to what was kept, if that is more.
    """
    found, before = _largest(x), kept[()]
    found = max(found, before) if again else found
    if found < np.float32(np.inf):
        kept[()] = found if pace == 1 else before + pace * (found - before)


@njit(cache=True, nogil=True)
def integers(x: Any, step: Any, low: Any, high: Any, out: Any) -> None:
    """Write ``x / step``, rounded and held within low..high, to `out`; all vectors. NaN stays."""
    inverse = np.float32(1) / step
    for k in range(x.size):
        found = np.rint(x[k] * inverse)
        found = low if found < low else found
        out[k] = high if found > high else found


_INCREMENT = np.uint64(INCREMENT)
_HALF, _SIXTEEN, _LOWER = np.uint32(0x8000), np.uint32(16), np.uint32(0xFFFF)


@njit(cache=True, nogil=True)
def _to_bfloat16(x: Any) -> Any:
    """Return the bits of a float32 that is not negative as bfloat16: the nearest, a tie away from 0; NaN stays."""
    return np.uint16((np.float32(x).view(np.uint32) + _HALF) >> _SIXTEEN)


@njit(cache=True, nogil=True)
def _from_bfloat16(bits: Any) -> Any:
    """Return the float32 of bfloat16 bits."""
    return np.uint32(np.uint32(bits) << _SIXTEEN).view(np.float32)


@njit(cache=True, nogil=True)
def numbered(prefix: Any, count: Any) -> Any:
    """Return `tetrit.noise.key` of a key and a number, both uint64."""
    word = random_word(random_word(prefix, np.uint64(0)), count)
    return random_word((word ^ _INCREMENT) - _INCREMENT, np.uint64(0))


@njit(cache=True, nogil=True)
def _block(values: Any, n: int, n_in: int, rows: int, row: int, start: int) -> Any:
    """Return the inputs from `start` on of a row, where a matrix (n, n_in) lies by rows of arrays."""
    width = min(rows, n_in - start)
    first = n * start + row * width
    return values[first : first + width]


@njit(cache=True, nogil=True)
def _digits(given: Any, widths: Any, rows: int, n: int, b: int, out: Any, squares: Any) -> None:
    """Write the digits of vector `b` of `n`, and their squares, see `enter`."""
    n_in, digits = given.size, widths.size
    share = np.float32(1)
    for d in range(digits):
        row = out[d * n + b]
        if digits == 1:
            for k in range(n_in):
                row[k] = given[k]
        elif d == digits - 1:
            for k in range(n_in):
                row[k] = np.floor(given[k] * share)
        else:
            size = np.float32(1 << widths[d])
            part = np.float32(1) / size
            for k in range(n_in):
                rest = np.floor(given[k] * share)
                row[k] = rest - np.floor(rest * part) * size
            share *= part
        for start in range(0, n_in if squares.size > 0 else 0, rows):
            digit, squared = row[start : start + rows], _block(squares, digits * n, n_in, rows, d * n + b, start)
            for k in range(squared.size):
                squared[k] = _to_bfloat16(digit[k] * digit[k])


@njit(cache=True, nogil=True)
def enter(
    x: Any, step: Any, low: Any, high: Any, widths: Any, rows: int, out: Any, squares: Any, first: int, last: int
) -> None:
    """Write the vectors first..last as integers, see `integers`: their digits, and the squares of these.

    Parameters
    ----------
    x : array of float32, shape (n, n_in)
        Inputs, or integers with a `step` of 1. NaN stays.
    step, low, high : float32
    widths : array of int64, shape (digits,)
        Bits of each digit; the last takes all that is left, with its sign.
    rows : int
        Of an array.
    out : array of float32, shape (digits * n, n_in)
        Digits.
    squares : array of uint16, shape (digits * n * n_in,) or (0,)
        Bits of bfloat16: for each row of arrays the squares of its inputs, shape (digits * n, inputs).
    """
    own = np.empty(x.shape[1], np.float32)
    for b in range(first, last):
        row = out[b] if widths.size == 1 else own
        integers(x[b], step, low, high, row)
        _digits(row, widths, rows, x.shape[0], b, out, squares)


@njit(cache=True, nogil=True)
def enter_patches(
    images: Any,
    taps_down: int,
    taps_across: int,
    step_down: int,
    step_across: int,
    gap_down: int,
    gap_across: int,
    down: int,
    across: int,
    widths: Any,
    rows: int,
    out: Any,
    squares: Any,
    first: int,
    last: int,
) -> None:
    """Write the patches first..last of images as `enter` does vectors.

    Parameters
    ----------
    images : array of float32, shape (images, channels, height, width)
        Integers. NaN stays.
    taps_down, taps_across, step_down, step_across, gap_down, gap_across : int
        The kernel's taps, and how far apart its places and its taps are.
    down, across : int
        Places in an image.
    widths, rows, out, squares
        See `enter`.
    """
    channels, height, width = images.shape[1:]
    n, flat = images.shape[0] * down * across, images.reshape(-1)
    at = np.empty(channels * taps_down * taps_across, np.uint32)  # of each tap, from the first one's place on
    k = 0
    for c in range(channels):
        for i in range(taps_down):
            for j in range(taps_across):
                at[k] = (c * height + i * gap_down) * width + j * gap_across
                k += 1
    own = np.empty(at.size, np.float32)
    for b in range(first, last):
        place, x = divmod(b, across)
        image, y = divmod(place, down)
        here = flat[(image * channels * height + y * step_down) * width + x * step_across :]
        row = out[b] if widths.size == 1 else own
        for k in range(at.size):
            row[k] = here[at[k]]
        _digits(row, widths, rows, n, b, out, squares)


@njit(cache=True, nogil=True)
def _scale(line: Any, top: Any) -> Any:
    """Return the scale with which the largest magnitude of a vector is `top`; 1 for zeros."""
    found = _largest(line) / top
    return found if found > 0 else np.float32(1)


@njit(cache=True, nogil=True)
def row_scales(values: Any, top: Any, out: Any) -> None:
    """Write the `_scale` of each row."""
    for n in range(values.shape[0]):
        out[n] = _scale(values[n], top)


@njit(cache=True, nogil=True)
def draw(
    values: Any,
    top: Any,
    scales: Any,
    low: int,
    law: Any,
    base: Any,
    losses: Any,
    ends: Any,
    prefix: Any,
    count: Any,
    rows: int,
    out: Any,
    quiet: Any,
    first: int,
    last: int,
) -> None:
    """Draw the columns of the outputs first..last: conductances, and the variances of their 1/f noise.

    Parameters
    ----------
    values : array of float32, shape (n_out, n_in)
        Quantised weights.
    top : float32
        The integer of the largest magnitude in a row of them.
    scales : array of float32, shape (n_out,)
        Is filled: what an integer counts in each output, see `row_scales`.
    low : int
        The integer of the law's first entry.
    law : array of complex128, shape (groups, integers)
        By integer weight four float32 in one number, since a look into a table costs as much for 16 bytes as for 4:
        mean and standard deviation of the conductance of a column's cells, variance of its noise, and nothing.
    base : float32
        What is taken off.
    losses : array of uint32, shape (groups, n_out, n_in) or (0, 0, 0)
        Share of the conductance that wires leave, in the upper half, and what they add, in steps.
    ends : array of float32, shape (4,)
        Least share, its step, least that is added, its step.
    prefix, count : uint64
        The key of the normals is `numbered` by them.
    rows : int
        Of an array.
    out : array of float32, shape (groups * n_out, n_in)
        Conductances.
    quiet : array of uint16, shape (groups * n_out * n_in,) or (0,)
        Variances, if there is 1/f noise: bits of bfloat16, which lie as the squares of `enter` do.
    """
    n_out, n_in = values.shape
    key = numbered(prefix, count)
    noisy = quiet.size > 0
    pairs = (n_in + 1) // 2
    z = np.empty(2 * pairs, np.float32)
    at = np.empty(n_in, np.uint32)  # unsigned, or every look into a table would ask for the sign
    fours = np.empty(n_in, np.complex128)
    four = fours.view(np.float32)
    silence = np.empty(n_in, np.float32)
    least, most, zero = np.float32(0), np.float32(law.shape[1] - 1), np.float32(-low)
    loss = losses.size > 0
    least_share, share_step, least_more, more_step = ends
    for n in range(first, last):
        line = values[n]
        scales[n] = _scale(line, top)
        inverse = np.float32(1) / scales[n]
        for k in range(n_in):
            place = np.rint(line[k] * inverse) + zero
            place = least if place < least else place
            at[k] = np.uint32(most if place > most else place)
        for g in range(law.shape[0]):
            column, own = g * n_out + n, law[g]
            word = np.uint64(column) * np.uint64(pairs)
            for p in range(pairs):
                one, other = normal_pair(random_word(key, word + np.uint64(p)))
                z[2 * p] = one
                z[2 * p + 1] = other
            for k in range(n_in):
                fours[k] = own[at[k]]
            row = out[column]
            if loss:
                both = losses[g, n]
                for k in range(n_in):
                    share = least_share + share_step * np.float32(np.int32(both[k] >> _SIXTEEN))
                    more = least_more + more_step * np.float32(np.int32(both[k] & _LOWER))
                    row[k] = share * (four[4 * k] + four[4 * k + 1] * z[k]) + more - base
                    silence[k] = four[4 * k + 2] * (share * share)
            else:
                for k in range(n_in):
                    row[k] = four[4 * k] + four[4 * k + 1] * z[k] - base
                    silence[k] = four[4 * k + 2]
            for start in range(0, n_in if noisy else 0, rows):
                silent, here = _block(quiet, out.shape[0], n_in, rows, column, start), silence[start:]
                for k in range(silent.size):
                    silent[k] = _to_bfloat16(here[k])


@njit(cache=True, nogil=True)
def convert(
    currents: Any,
    variances: Any,
    spread: Any,
    floor: Any,
    prefix: Any,
    count: Any,
    gain: Any,
    offset: Any,
    low: Any,
    high: Any,
    converts: bool,
    factor: Any,
    scale: Any,
    step: Any,
    bias: Any,
    out: Any,
    first: int,
    last: int,
) -> None:
    """Add noise to the currents of the vectors first..last, convert them and add up the results; NaN stays.

    Parameters
    ----------
    currents : array of float32, shape (parts, digits * n, n_columns)
        In units.
    variances : array of uint16, shape (parts, digits * n, n_columns) or (0, 0, 0)
        Of 1/f noise, as bits of bfloat16.
    spread : float32
        What the noise's standard deviation is multiplied with.
    floor : array of float32, shape (digits, parts, n_columns) or (digits, parts, 0)
        Variance that does not depend on the inputs.
    prefix, count : uint64
        The key of the noise is `numbered` by them; the number of a normal is
        ``((digit * parts + part) * n + vector) * width + column``.
    gain, offset : array of float32, shape (digits, parts, n_columns) and (parts, n_columns)
        The code is the integer at or below ``current * gain + offset``.
    low, high : float32
        Of the codes.
    converts : bool
        Whether there are converters.
    factor : array of float32, shape (digits, parts, n_columns)
        What a code counts.
    scale : array of float32, shape (n_out,)
    step : float32
        Their product is what an integer result counts.
    bias : array of float32, shape (n_out,)
        What is added then.
    out : array of float32, shape (n, n_out)
        Columns c, c + n_out, ... belong to output c.
    """
    digits, parts, n_columns = factor.shape
    key = numbered(prefix, count)
    n, n_out = out.shape
    groups = n_columns // n_out
    pairs = (n_columns + 1) // 2
    z = np.empty(2 * pairs, np.float32)
    level = np.empty(n_columns, np.float32)
    sums = np.empty(n_out, np.float32)
    noisy, floored = variances.size > 0, floor.shape[2] > 0
    for b in range(first, last):
        sums[:] = 0
        for d in range(digits):
            for part in range(parts):
                row = currents[part, d * n + b]
                if noisy or floored:
                    word = np.uint64((d * parts + part) * n + b) * np.uint64(pairs)
                    for p in range(pairs):
                        one, other = normal_pair(random_word(key, word + np.uint64(p)))
                        z[2 * p] = one
                        z[2 * p + 1] = other
                if noisy and floored:
                    variance, least = variances[part, d * n + b], floor[d, part]
                    for c in range(n_columns):
                        level[c] = row[c] + np.sqrt(_from_bfloat16(variance[c]) + least[c]) * z[c] * spread
                elif noisy:
                    variance = variances[part, d * n + b]
                    for c in range(n_columns):
                        level[c] = row[c] + np.sqrt(_from_bfloat16(variance[c])) * z[c] * spread
                elif floored:
                    least = floor[d, part]
                    for c in range(n_columns):
                        level[c] = row[c] + np.sqrt(least[c]) * z[c] * spread
                else:
                    level[:] = row
                counts = factor[d, part]
                if converts:
                    up, by = gain[d, part], offset[part]
                    for c in range(n_columns):
                        code = np.floor(level[c] * up[c] + by[c])
                        code = low if code < low else code
                        level[c] = high if code > high else code
                for g in range(groups):
                    some, share = level[g * n_out : (g + 1) * n_out], counts[g * n_out : (g + 1) * n_out]
                    for o in range(n_out):
                        sums[o] += some[o] * share[o]
        row = out[b]
        for o in range(n_out):
            row[o] = sums[o] * (scale[o] * step) + bias[o]
