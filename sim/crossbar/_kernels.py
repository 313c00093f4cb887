"""Loops over a block of vectors: inputs to digits, noise onto currents, currents to codes, codes added up.

Every row is a vector of its own, so that any split into blocks gives the same bits.
"""

__all__ = [
    "accumulate",
    "add_noise",
    "counted",
    "driven",
    "energies",
    "mend",
    "quantize",
    "run",
    "search",
    "squared",
    "subtract",
]

from typing import Any

import numpy as np
from numba import njit

from tetrit.noise._kernels import normal_pair, random_word
from tetrit.sim.crossbar.products._kernels import BLOCK, CELL_TOP, ROWS, WIDTH, multiply, multiply_counts

_LANES = 64
_TOLERANCE = np.float32(0.01)  # of a variance, so half a percent of a standard deviation


@njit(cache=True, nogil=True)
def driven(x: Any, inputs: Any, out: Any) -> None:
    """Write what the rows of a panel are driven with, in steps, to `out`, and 0 to its rows and columns beyond.

    Vectors are x (n, m). A mask of -1 keeps their sign.
    """
    start, stop, shift, mask, low, table, _ = inputs
    n = stop - start
    for b in range(x.shape[0]):
        row, given = out[b], x[b, start:stop]
        for k in range(n):
            row[k] = (given[k] >> shift) & mask
        for k in range(table.shape[0]):
            row[k] = table[k, int(row[k]) - low]
        row[n:] = 0
    out[x.shape[0] :] = 0


@njit(cache=True, nogil=True)
def energies(v: Any, x: Any, inputs: Any, row_joules: Any, out: Any) -> None:
    """Add ``v[b]**2 @ row_joules`` to each ``out[b]``, in sums that a vector unit takes side by side.

    Where there is a table of powers, those of the digits of vectors x (n, m) are taken in place of squares.
    """
    start, stop, shift, mask, low, _, powers = inputs
    if powers.shape[0] > 0:
        for b in range(out.size):
            for k in range(stop - start):
                out[b] += powers[k, ((x[b, start + k] >> shift) & mask) - low] * row_joules[k]
        return
    lanes = np.empty(_LANES)
    for b in range(out.size):
        lanes[:] = 0.0
        for start in range(0, row_joules.size, _LANES):
            row, joules = v[b, start : start + _LANES], row_joules[start : start + _LANES]
            for k in range(_LANES):
                lanes[k] += np.float64(row[k]) * np.float64(row[k]) * joules[k]
        total = 0.0
        for k in range(_LANES):
            total += lanes[k]
        out[b] += total


@njit(cache=True, nogil=True)
def counted(v: Any, square_scale: float, magnitude_scale: float, out: Any) -> None:
    """Write ``v**2 * square_scale`` as integers, and to further columns, if any, ``|v| * magnitude_scale``."""
    squares, magnitudes = v.dtype.type(square_scale), v.dtype.type(magnitude_scale)
    n = v.shape[1]
    for b in range(v.shape[0]):
        row, first = v[b], out[b, :n]
        for k in range(n):
            first[k] = np.int16(np.rint(row[k] * row[k] * squares))
        if out.shape[1] > n:
            second = out[b, n:]
            for k in range(n):
                second[k] = np.int16(np.rint(np.abs(row[k]) * magnitudes))


@njit(cache=True, nogil=True)
def squared(v: Any, per_volt: float, out: Any) -> None:
    """Write ``v**2``, and to further columns, if any, ``|v| * per_volt``."""
    magnitudes = v.dtype.type(per_volt)
    n = v.shape[1]
    for b in range(v.shape[0]):
        row, first = v[b], out[b, :n]
        for k in range(n):
            first[k] = row[k] * row[k]
        if out.shape[1] > n:
            second = out[b, n:]
            for k in range(n):
                second[k] = np.abs(row[k]) * magnitudes


@njit(cache=True, nogil=True)
def _rounded(v: Any, factor: float, squares: bool, counts: Any) -> float:
    """Return what rounding cost inputs, in counts."""
    lost = 0.0
    for k in range(v.size):
        wanted = np.float64(v[k])
        lost += np.abs((wanted * wanted if squares else np.abs(wanted)) * factor - counts[k])
    return lost


@njit(cache=True, nogil=True)
def mend(v: Any, counts: Any, exact: bool, noise: Any, found: Any) -> None:
    """Add up variances again, in float64, where rounding of cells or of inputs may have cost 1 % of one.

    What was found for v (n, depth) with its counts is in found (n, columns); the rest is as `Variances` has it. `exact`
    says that no input was rounded. Rounding costs at most half a step of each cell for every count of its input, and
    the largest cell for what was rounded off the input; all blocks are taken to have the largest step.
    """
    floor, _, _, scale, variances, square_scale, magnitude_scale, per_volt = noise
    depth, columns = v.shape[1], found.shape[1]
    n_halves, half = counts.shape[1] // depth, depth // BLOCK
    steps = np.zeros((n_halves, columns), np.float32)
    for h in range(n_halves):
        for t in range(scale.shape[0]):
            for block in range(h * half, (h + 1) * half):
                for c in range(WIDTH):
                    steps[h, t * WIDTH + c] = max(steps[h, t * WIDTH + c], scale[t, block, c])
    bound = np.empty(columns, np.float32)
    for b in range(found.shape[0]):
        row, sums = v[b], found[b]
        bound[:] = 0
        for h in range(n_halves):
            counted, step = counts[b, h * depth : (h + 1) * depth], steps[h]
            total = np.int64(0)
            for k in range(depth):
                total += counted[k]
            lost = 0.5 * total
            if not exact:
                lost += (CELL_TOP + 0.5) * _rounded(row, magnitude_scale if h else square_scale, h == 0, counted)
            single = np.float32(lost)
            for c in range(columns):
                bound[c] += single * step[c]
        doubtful = 0
        for c in range(columns):
            doubtful += 1 if bound[c] > _TOLERANCE * (sums[c] + floor[c]) else 0
        if doubtful == 0:
            continue
        for c in range(columns):
            if bound[c] > _TOLERANCE * (sums[c] + floor[c]):
                cells, at = variances[c // WIDTH], c % WIDTH
                again = 0.0
                for k in range(depth):
                    again += np.float64(row[k]) * np.float64(row[k]) * np.float64(cells[k, at])
                for k in range(variances.shape[1] - depth):
                    again += np.abs(np.float64(row[k])) * per_volt * np.float64(cells[depth + k, at])
                sums[c] = again


@njit(cache=True, nogil=True)
def add_noise(currents: Any, variances: Any, floor: Any, key: Any, first: int) -> None:
    """Add normals of variance ``variances + floor``, which belong to vector ``first + row`` and the column.

    The number of columns is even. Without rows, `variances` are zeros.
    """
    n = currents.shape[1]
    pairs = n // 2
    normals = np.empty(n, np.float32)
    many = variances.size > 0
    for b in range(currents.shape[0]):
        word = np.uint64(first + b) * np.uint64(pairs)
        for p in range(pairs):
            one, other = normal_pair(random_word(key, word + np.uint64(p)))
            normals[2 * p] = one
            normals[2 * p + 1] = other
        row = currents[b]
        if many:
            variance = variances[b]
            for c in range(n):
                row[c] += np.sqrt(variance[c] + floor[c]) * normals[c]
        else:
            for c in range(n):
                row[c] += np.sqrt(floor[c]) * normals[c]


@njit(cache=True, nogil=True)
def subtract(currents: Any, references: Any, width: int) -> None:
    """Subtract from output o of group g, in column ``g * width + o``, the current in column ``references[g, o]``."""
    groups, n = references.shape
    for b in range(currents.shape[0]):
        row = currents[b]
        for g in range(groups):
            for o in range(n):
                row[g * width + o] -= row[references[g, o]]


@njit(cache=True, nogil=True)
def quantize(currents: Any, gain: Any, offset: Any, low: float, high: float, clipped: Any) -> None:
    """Replace currents by codes, the integer at or below ``current * gain + offset``, and count those out of range."""
    least, most = currents.dtype.type(low), currents.dtype.type(high)
    for b in range(currents.shape[0]):
        row = currents[b]
        out = 0
        for c in range(row.size):
            code = np.floor(row[c] * gain[c] + offset[c])
            bounded = min(max(code, least), most)
            out += 1 if bounded != code else 0
            row[c] = bounded
        clipped[b] += out


@njit(cache=True, nogil=True)
def search(
    currents: Any,
    gain: Any,
    offset: Any,
    low: int,
    bits: int,
    thresholds: Any,
    converters: Any,
    clipped: Any,
) -> None:
    """Do as `quantize` does, with converters whose codes begin at `thresholds` above `low`, bit by bit."""
    for b in range(currents.shape[0]):
        for c in range(converters.size):
            if converters[c] < 0:
                currents[b, c] = 0
                continue
            level = np.float64(currents[b, c] * gain[c] + offset[c])
            line = thresholds[converters[c]]
            code = 0
            for bit in range(bits - 1, -1, -1):
                trial = code | (1 << bit)
                if level >= line[trial] + low:
                    code = trial
            if np.floor(level) < low or np.floor(level) >= low + (1 << bits):
                clipped[b] += 1
            currents[b, c] = code + low


@njit(cache=True, nogil=True)
def accumulate(currents: Any, scale: Any, references: Any, taken: Any, width: int, out: Any) -> None:
    """Add to every output its column in each group, times `scale`, less its references, if any, times `taken`."""
    n = out.shape[1]
    for b in range(currents.shape[0]):
        row, sums = currents[b], out[b]
        for g in range(scale.shape[0]):
            column, factor = row[g * width : g * width + n], scale[g]
            for o in range(n):
                sums[o] += np.float64(column[o]) * factor[o]
        for g in range(taken.shape[0]):
            for o in range(n):
                sums[o] -= np.float64(row[references[g, o]]) * taken[g, o]


@njit(cache=True, nogil=True)
def run(x: Any, stage: Any, given: Any, first: int, buffers: Any, joules: Any, clipped: Any, output: Any) -> None:
    """Take a block of vectors x (n, m), of which the first has the number `first`, through a `Stage`.

    `given` (n, columns) are its currents, which are changed; without rows, they are the product. What cells take is
    added to joules (n,), conversions out of range to clipped (n,), and results to output (n, n_out).
    """
    inputs, (weights, row_joules), noise, conversion = stage
    floor, key, counts, count_scale, variances, square_scale, magnitude_scale, per_volt = noise
    merged, gain, offset, low, bits, thresholds, converters, scale, taken, references, width = conversion
    volts_memory, currents_memory, counts_memory, squares_memory, variances_memory = buffers
    n, depth, columns = x.shape[0], weights.shape[1], weights.shape[0] * WIDTH
    tall = (n + ROWS - 1) // ROWS
    rows = tall * ROWS
    v = volts_memory[: rows * depth].reshape(rows, depth)
    driven(x, inputs, v)
    energies(v, x, inputs, row_joules, joules)
    currents = given
    if given.shape[0] == 0:
        whole = currents_memory[: rows * columns].reshape(rows, columns)
        multiply(v, weights, whole, 0, tall)
        currents = whole[:n]
    if floor.size > 0:
        many = rows if counts.size > 0 or variances.size > 0 else 0
        found = variances_memory[: many * columns].reshape(many, columns)
        if counts.size > 0:
            inner = 2 * counts.shape[1]
            whole_counts = counts_memory[: rows * inner].reshape(rows, inner)
            counted(v, square_scale, magnitude_scale, whole_counts)
            multiply_counts(whole_counts, counts, count_scale, found, 0, tall)
            mend(v, whole_counts, square_scale >= 1 and inputs[5].size == 0, noise, found[:n])
        elif variances.size > 0:
            inner = variances.shape[1]
            squares = squares_memory[: rows * inner].reshape(rows, inner)
            squared(v, per_volt, squares)
            multiply(squares, variances, found, 0, tall)
        add_noise(currents, found, floor, key, first)
    if merged.shape[0] > 0:
        subtract(currents, merged, width)
    if thresholds.size > 0:
        search(currents, gain, offset, low, bits, thresholds, converters, clipped)
    elif gain.size > 0:
        quantize(currents, gain, offset, float(low), float(low + (1 << bits) - 1), clipped)
    accumulate(currents, scale, references, taken, width, output)
