"""Compiled loops of the waveform files: value changes out of VCD text, and into the chains of an FST block.

A log of changes has, per change, the signal (from 0), the index of its time, and where its characters begin, as many as
the signal has bits, the highest first.
"""

__all__ = ["BACKWARDS", "CUT", "DONE", "FULL", "NO_VALUE", "UNKNOWN", "chains", "scan", "settle", "varints"]

import numpy as np
import numpy.typing as npt
from numba import njit

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

DONE, CUT, FULL, UNKNOWN, NO_VALUE, BACKWARDS = range(6)
"""Why `scan` ends: no whole line is left; enough for a block, before a time; no room; an unknown code; no such value; a
time before the last one."""

_HASH, _DOLLAR, _B, _ZERO, _ONE, _X, _SPACE = 35, 36, 98, 48, 49, 120, 32
_FIRST_CODE, _CODES = 33, 94
_LEVELS = np.frombuffer(b"xzhuwl-?", dtype=np.uint8)


@njit(cache=True, nogil=True)
def scan(
    text: Bytes,
    begin: int,
    signal_of: Ints,
    bits: Ints,
    times: Ints,
    signal: Ints,
    when: Ints,
    start: Ints,
    values: Bytes,
    counts: Ints,
    enough: int,
) -> tuple[int, int]:
    """Read lines of VCD from `begin`, and append to the log, of which `counts` says how long it is.

    `signal_of` gives for a code, as a number of base 94 whose lowest digit comes first, the signal, -1 if there is
    none, -2 if it is of no interest. `counts` are times, changes and characters. Returns where it ended, and why.
    """
    n_times, n_changes, n_chars = counts[0], counts[1], counts[2]
    end = text.size
    at = begin
    why = DONE
    while at < end:
        line = at
        stop = at
        while stop < end and text[stop] != 10:
            stop += 1
        if stop == end:
            break
        at = stop + 1
        while line < stop and text[line] <= _SPACE:
            line += 1
        while stop > line and text[stop - 1] <= _SPACE:
            stop -= 1
        if line == stop or text[line] == _DOLLAR:
            continue
        first = text[line]
        if first == _HASH:
            if n_chars + n_changes >= enough:
                at = line
                why = CUT
                break
            time = np.int64(0)
            for place in range(line + 1, stop):
                time = 10 * time + (text[place] - _ZERO)
            if n_times and times[n_times - 1] == time:
                continue
            if n_times and times[n_times - 1] > time:
                at = line
                why = BACKWARDS
                break
            if n_times == times.size:
                at = line
                why = FULL
                break
            times[n_times] = time
            n_times += 1
            continue
        if first == _B or first == 66:
            low = line + 1
            high = low
            while high < stop and text[high] > _SPACE:
                high += 1
            code_at = high + 1
        else:
            low, high, code_at = line, line + 1, line + 1
        code, weight = np.int64(0), np.int64(1)
        for place in range(code_at, stop):
            code += weight * (np.int64(text[place]) - _FIRST_CODE + 1)
            weight *= _CODES
        which = signal_of[code] if 0 < code < signal_of.size else -1
        if which == -2:
            continue
        if which < 0:
            at = line
            why = UNKNOWN
            break
        width = bits[which]
        if n_changes == signal.size or n_chars + width > values.size:
            at = line
            why = FULL
            break
        if high == low:
            at = line
            why = NO_VALUE
            break
        fill = text[low] | 32 if text[low] >= 65 else text[low]
        if fill == _ONE:
            fill = np.uint8(_ZERO)
        missing = width - (high - low)
        bad = False
        for place in range(width):
            source = low + place - missing
            char = fill
            if source >= low:
                char = text[source]
                if char >= 65:
                    char |= 32
            if char != _ZERO and char != _ONE and char != _X:
                known = False
                for level in _LEVELS:
                    known |= char == level
                bad |= not known
            values[n_chars + place] = char
        if bad:
            at = line
            why = NO_VALUE
            break
        signal[n_changes] = which
        when[n_changes] = max(n_times - 1, 0)
        start[n_changes] = n_chars
        n_changes += 1
        n_chars += width
    counts[0], counts[1], counts[2] = n_times, n_changes, n_chars
    return at, why


@njit(cache=True, nogil=True)
def settle(frame: Bytes, frame_at: Ints, bits: Ints, signal: Ints, start: Ints, values: Bytes) -> None:
    """Bring the values of all signals, in `frame`, to the end of a log."""
    for change in range(signal.size):
        which = signal[change]
        for place in range(bits[which]):
            frame[frame_at[which] + place] = values[start[change] + place]


@njit(cache=True, nogil=True)
def _put(out: Bytes, at: int, number: int) -> int:
    """Write a number in groups of seven bits, the low ones first; return the end."""
    while number >= 128:
        out[at] = (number & 127) | 128
        number >>= 7
        at += 1
    out[at] = number
    return at + 1


@njit(cache=True, nogil=True)
def varints(numbers: Ints) -> Bytes:
    """Return numbers, one after the other, in groups of seven bits."""
    out = np.empty(10 * numbers.size, dtype=np.uint8)
    at = 0
    for number in numbers:
        at = _put(out, at, number)
    return out[:at]


@njit(cache=True, nogil=True)
def chains(bits: Ints, signal: Ints, when: Ints, start: Ints, values: Bytes) -> tuple[Bytes, Ints]:
    """Return the chains of all signals one after the other, and where each begins.

    A change is the steps of time since the one before, and its value: of one bit in the same number, else packed into
    bytes, or as characters if it is not all 0 and 1.
    """
    n_signals = bits.size
    first = np.zeros(n_signals + 1, dtype=np.int64)
    n_bytes = 0
    for change in range(signal.size):
        first[signal[change] + 1] += 1
        n_bytes += 10 + bits[signal[change]]
    for which in range(n_signals):
        first[which + 1] += first[which]
    order = np.empty(signal.size, dtype=np.int64)
    fill = first[:n_signals].copy()
    for change in range(signal.size):
        order[fill[signal[change]]] = change
        fill[signal[change]] += 1
    out = np.empty(n_bytes, dtype=np.uint8)
    begin = np.zeros(n_signals + 1, dtype=np.int64)
    at = 0
    for which in range(n_signals):
        before = np.int64(0)
        for number in range(first[which], first[which + 1]):
            change = order[number]
            step = when[change] - before
            before = when[change]
            if bits[which] == 1:
                at = _put_bit(out, at, step, values[start[change]])
            else:
                at = _put_word(out, at, step, values, start[change], bits[which])
        begin[which + 1] = at
    return out[:at], begin


@njit(cache=True, nogil=True)
def _put_bit(out: Bytes, at: int, step: int, char: int) -> int:
    if char in (_ZERO, _ONE):
        return _put(out, at, step << 2 | (char - _ZERO) << 1)
    level = 0
    for number in range(_LEVELS.size):
        if _LEVELS[number] == char:
            level = number
    return _put(out, at, step << 4 | level << 1 | 1)


@njit(cache=True, nogil=True)
def _put_word(out: Bytes, at: int, step: int, values: Bytes, start: int, bits: int) -> int:
    binary = True
    for place in range(start, start + bits):
        binary &= values[place] == _ZERO or values[place] == _ONE
    at = _put(out, at, step << 1 | (0 if binary else 1))
    if not binary:
        out[at : at + bits] = values[start : start + bits]
        return at + bits
    for byte in range((bits + 7) // 8):
        packed = 0
        for place in range(8):
            packed <<= 1
            if 8 * byte + place < bits:
                packed |= values[start + 8 * byte + place] & 1
        out[at] = packed
        at += 1
    return at
