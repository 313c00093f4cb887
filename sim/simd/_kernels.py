"""Compiled loops of the SIMD engine: look-up of operands, their extent, wide sums rounded to odd; times of tiles.

Arrays and scalars only; callers validate, allocate and split the work over threads. No fastmath.
"""

__all__ = ["accumulate", "last_drains", "look_up", "rounded", "survey"]

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_MANTISSA_BITS = 52
_BIAS = 1023
_LAST_EXPONENT = 1000


@njit(cache=True, nogil=True)
def look_up(codes: NDArray[np.unsignedinteger], table: NDArray[Any], out: NDArray[Any], first: int, last: int) -> None:
    """Write each code's entry, for the rows `first` to before `last`; codes are known to be in range."""
    for i in range(first, last):
        row, target = codes[i], out[i]
        for j in range(row.size):
            target[j] = table[row[j]]


@njit(cache=True, nogil=True)
def survey(
    codes: NDArray[np.unsignedinteger],
    magnitudes: NDArray[np.int64],
    dropped: int,
    used: NDArray[np.int64],
    sums: NDArray[np.int64],
    first: int,
    last: int,
) -> None:
    """Write for each row the bits that its magnitudes have between them, and the sum of magnitudes >> dropped."""
    for i in range(first, last):
        row = codes[i]
        bits = np.int64(0)
        total = np.int64(0)
        for j in range(row.size):
            magnitude = magnitudes[row[j]]
            bits |= magnitude
            total += magnitude >> dropped
        used[i] = bits
        sums[i] = total


@njit(cache=True, nogil=True)
def _add(words: NDArray[np.uint64], carry: NDArray[np.uint64], row: NDArray[np.floating], shift: int) -> None:
    """Add integers times 2**shift to two's complement numbers (n_words, n), lowest word first.

    One word at a time for all numbers, so that the compiler makes vector code of each loop.
    """
    first = shift >> 6
    offset = np.uint64(shift & 63)
    rest_offset = np.uint64(63) - offset
    one = np.uint64(1)
    sign_shift = np.int64(63)
    target = words[first]
    for j in range(row.size):
        part = np.uint64(np.int64(row[j])) << offset
        added = target[j] + part
        carry[j] = np.uint64(added < part)
        target[j] = added
    for index in range(first + 1, words.shape[0]):
        target = words[index]
        for j in range(row.size):
            value = np.int64(row[j])
            part = np.uint64(value >> sign_shift)
            if index == first + 1:
                part = (part << offset) | (np.uint64(value) >> rest_offset >> one)
            added = target[j] + part
            total = added + carry[j]
            carry[j] = np.uint64(added < part) | np.uint64(total < added)
            target[j] = total


@njit(cache=True, nogil=True)
def _length(word: np.uint64) -> int:
    """Return the number of bits of a word above zero."""
    length = 1
    for step in (32, 16, 8, 4, 2, 1):
        upper = word >> np.uint64(step)
        if upper:
            word = upper
            length += step
    return length


@njit(cache=True, nogil=True)
def _to_odd(magnitude: NDArray[np.uint64], exponent: int) -> np.uint64:
    """Return the bit pattern of an unsigned number of 64-bit words times 2**exponent as a double, rounded to odd.

    Beyond 2**1000 it is a number of that size: the largest one of every format is far below.
    """
    none = np.uint64(0)
    head = magnitude.size - 1
    while head > 0 and magnitude[head] == none:
        head -= 1
    if magnitude[head] == none:
        return none
    length = _length(magnitude[head])
    missing = np.uint64(64 - length)
    mantissa = magnitude[head] << missing
    lost = none
    if head > 0:
        below = magnitude[head - 1]
        mantissa |= below >> np.uint64(length - 1) >> np.uint64(1)
        lost = below << missing
        for index in range(head - 1):
            lost |= magnitude[index]
    dropped = np.uint64(63 - _MANTISSA_BITS)
    lost |= mantissa & ((np.uint64(1) << dropped) - np.uint64(1))
    mantissa = (mantissa >> dropped) | np.uint64(lost != none)
    field = min(64 * head + length - 1 + exponent, _LAST_EXPONENT) + _BIAS
    fraction = mantissa & ((np.uint64(1) << np.uint64(_MANTISSA_BITS)) - np.uint64(1))
    return (np.uint64(field) << np.uint64(_MANTISSA_BITS)) | fraction


@njit(cache=True, nogil=True)
def accumulate(
    parts: NDArray[np.floating], shifts: NDArray[np.int64], words: NDArray[np.uint64], first: int, last: int
) -> None:
    """Add sum_ij parts[i, :, j] * 2**shifts[i, j] to two's complement numbers, for the rows `first` to before `last`.

    Parts are integers in floats, (n_i, m, n_j, n); words are (m, n_words, n), lowest word first.
    """
    carry = np.empty(words.shape[2], dtype=np.uint64)
    for row in range(first, last):
        for i in range(shifts.shape[0]):
            for j in range(shifts.shape[1]):
                _add(words[row], carry, parts[i, row, j], shifts[i, j])


@njit(cache=True, nogil=True)
def rounded(
    words: NDArray[np.uint64], relu: bool, exponent: int, out: NDArray[np.uint64], first: int, last: int
) -> None:
    """Write two's complement numbers times 2**exponent as bit patterns of doubles, rounded to odd.

    Words are (m, n_words, n), lowest word first; negative numbers give 0 if `relu`. Rows `first` to before `last`.
    """
    n_words, n = words.shape[1:]
    magnitude = np.empty(n_words, dtype=np.uint64)
    top = np.uint64(63)
    none = np.uint64(0)
    for row in range(first, last):
        for j in range(n):
            sign = words[row, n_words - 1, j] >> top
            if relu and sign:
                out[row, j] = none
                continue
            flip = none - sign
            borrow = sign
            for index in range(n_words):  # the two's complement of negative numbers
                word = (words[row, index, j] ^ flip) + borrow
                borrow = borrow & np.uint64(word == none)
                magnitude[index] = word
            out[row, j] = (sign << top) | _to_odd(magnitude, exponent)


@njit(cache=True, nogil=True)
def last_drains(
    m: NDArray[np.int64],
    n: NDArray[np.int64],
    steps: NDArray[np.int64],
    step_first: NDArray[np.int64],
    rows: int,
    cols: int,
    step_interval: int,
    drain_interval: int,
    mac_latency: int,
    out: NDArray[np.int64],
) -> None:
    """Write for each layer the cycle in which its last row starts to drain, see `tetrit.sim.simd.cycles`."""
    for layer in range(m.size):
        n_tiles = -(-m[layer] // rows) * -(-n[layer] // cols)
        in_row = -(-n[layer] // cols)
        length = (steps[layer] - 1) * step_interval
        last_step = step_first[layer] - step_interval
        last_drain = np.int64(-drain_interval)
        for tile in range(n_tiles):
            drained = min(rows, m[layer] - tile // in_row * rows)
            last_step = max(last_step + step_interval + length, last_drain)
            begin = max(last_step + mac_latency, last_drain + drain_interval)
            last_drain = begin + (drained - 1) * drain_interval
        out[layer] = last_drain
