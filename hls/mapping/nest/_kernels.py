"""Compiled loops of the cycles of a nest of tiles, run shortened; arrays and scalars only.

Times come from the recurrences of `tetrit.sim.shift`. What was left out is added after it has been seen that the times
of its repetitions differ by a constant: the recurrences are sums and maxima, so that equal distances stay equal for
ever. Where they are not yet equal, more is run.
"""

from typing import Any

import numpy as np
from numba import njit

from tetrit.sim.shift._kernels import output_stationary, weight_stationary

__all__ = ["nest_cycles", "up"]

# places in `timing`: of vectors (or steps), of weights (or drained rows), first ones, partial sums, what follows
_INTERVAL, _OTHER_INTERVAL, _FIRST, _OTHER_FIRST, _RESULT, _REREAD, _TAIL = range(7)


@njit(cache=True, nogil=True)
def up(a: int, b: int) -> int:
    return (a + b - 1) // b


@njit(cache=True, nogil=True)
def _times(ws: bool, m_sizes: Any, k_sizes: Any, previous: Any, timing: Any) -> tuple[Any, Any]:
    """Return two times of each tile: first weight row (last step), and first vector (drained row)."""
    if ws:
        return weight_stationary(
            m_sizes,
            k_sizes,
            previous,
            timing[_INTERVAL],
            timing[_OTHER_INTERVAL],
            timing[_FIRST],
            timing[_OTHER_FIRST],
            timing[_RESULT],
            timing[_REREAD],
        )
    _, last_steps, start = output_stationary(
        k_sizes,
        m_sizes,
        previous,
        timing[_INTERVAL],
        timing[_OTHER_INTERVAL],
        timing[_FIRST],
        timing[_OTHER_FIRST],
        timing[_RESULT],
        timing[_REREAD],
    )
    return last_steps, start


@njit(cache=True, nogil=True)
def _distance(first: Any, start: Any, one: int, other: int, length: int) -> int:
    """Return by how much the times of `length` tiles from `other` on are behind those from `one` on; -1: unequally."""
    step = start[other] - start[one]
    for i in range(length):
        if start[other + i] - start[one + i] != step or first[other + i] - first[one + i] != step:
            return -1
    return step


@njit(cache=True, nogil=True)
def _repeated(first: Any, start: Any, last: int, period: int, length: int) -> int:
    """Return the distance of three repetitions, the third of which begins at `last`; -1 if there is no single one."""
    step = _distance(first, start, last - period, last, length)
    if step < 0 or _distance(first, start, last - 2 * period, last - period, length) != step:
        return -1
    return step


@njit(cache=True, nogil=True)
def _whole(
    ws: bool,
    m: int,
    k: int,
    n_tiles: int,
    tile_m: int,
    group_m: int,
    group_n: int,
    n_outer: int,
    timing: Any,
    keep: int,
    most: int,
    work: Any,
) -> int:
    """Return the cycles of a nest with whole sums, -1 if more than `keep` repetitions or `most` tiles are needed."""
    m_tiles = up(m, tile_m)
    rest = m - (m_tiles - 1) * tile_m
    n_groups = up(n_tiles, group_n)
    lead, regular = 0, m_tiles - 1  # tiles ahead of all repetitions, and regular ones in each row of a repetition
    if rest == tile_m:
        lead, n_groups = m_tiles * n_tiles, 0
    elif not n_outer:
        m_groups = up(m_tiles, group_m)
        lead = (m_groups - 1) * group_m * n_tiles
        regular = m_tiles - 1 - (m_groups - 1) * group_m
    kept_groups = min(n_groups, keep + 1)
    n_runs = 1 + 2 * kept_groups
    runs = np.zeros(n_runs, dtype=np.int64)
    sizes = np.full(n_runs, tile_m)
    runs[0] = lead
    for group in range(kept_groups):
        tiles = group_n if group < kept_groups - 1 else n_tiles - (n_groups - 1) * group_n
        runs[1 + 2 * group] = regular * tiles
        runs[2 + 2 * group] = tiles
        sizes[2 + 2 * group] = rest
    longest = keep + 2
    total = 0
    for run in range(n_runs):
        total += min(runs[run], longest)
    work[0] += total
    if total > most:
        return -1
    m_sizes = np.empty(total, dtype=np.int64)
    place = 0
    for run in range(n_runs):
        for _ in range(min(runs[run], longest)):
            m_sizes[place] = sizes[run]
            place += 1
    first, start = _times(ws, m_sizes, np.full(total, k), np.full(total, -1), timing)
    missing = np.zeros(n_runs, dtype=np.int64)
    place = 0
    for run in range(n_runs):
        kept = min(runs[run], longest)
        place += kept
        if runs[run] > kept:
            step = _repeated(first, start, place - 1, 1, 1)
            if step < 0:
                return -1
            missing[run] = (runs[run] - kept) * step
    added = missing.sum()
    if n_groups > kept_groups:
        period = min(runs[1], longest) + min(runs[2], longest)
        last = min(runs[0], longest) + (keep - 1) * period
        step = _repeated(first, start, last, period, period)
        if step < 0:
            return -1
        group = 1 + 2 * (keep - 1)
        added += (n_groups - kept_groups) * (step + missing[group] + missing[group + 1])
    interval = timing[_INTERVAL] if ws else timing[_OTHER_INTERVAL]
    return start[-1] + (m_sizes[-1] - 1) * interval + timing[_TAIL] + added


@njit(cache=True, nogil=True)
def _split(
    ws: bool,
    m: int,
    k: int,
    n_tiles: int,
    tile_m: int,
    tile_k: int,
    group_m: int,
    group_n: int,
    n_outer: int,
    timing: Any,
    keep: int,
    most: int,
    work: Any,
) -> int:
    """Return the cycles of a nest with split sums, -1 if more than `keep` repetitions or `most` tiles are needed."""
    m_tiles, k_tiles = up(m, tile_m), up(k, tile_k)
    m_rest, k_rest = m - (m_tiles - 1) * tile_m, k - (k_tiles - 1) * tile_k
    m_groups, n_groups = up(m_tiles, group_m), up(n_tiles, group_n)
    m_last, n_last = m_tiles - (m_groups - 1) * group_m, n_tiles - (n_groups - 1) * group_n
    outer = n_groups if n_outer else m_groups
    inner = m_groups if n_outer else n_groups
    kept_outer, kept_inner = min(outer - 1, keep), min(inner - 1, keep)
    kept_rows = min(k_tiles - 1, keep + 1)  # regular ones; the first row of a block starts without partial sums
    row_tiles = np.zeros((kept_outer + 1, kept_inner + 1), dtype=np.int64)
    begins = np.zeros((kept_outer + 1, kept_inner + 1), dtype=np.int64)
    total = 0
    for i in range(kept_outer + 1):
        for j in range(kept_inner + 1):
            m_end = (j == kept_inner) if n_outer else (i == kept_outer)
            n_end = (i == kept_outer) if n_outer else (j == kept_inner)
            row_tiles[i, j] = (m_last if m_end else group_m) * (n_last if n_end else group_n)
            begins[i, j] = total
            total += row_tiles[i, j] * (kept_rows + 1)
    work[0] += total
    if total > most:
        return -1
    m_sizes = np.full(total, tile_m)
    k_sizes = np.full(total, tile_k)
    previous = np.full(total, -1)
    for i in range(kept_outer + 1):
        for j in range(kept_inner + 1):
            m_end = (j == kept_inner) if n_outer else (i == kept_outer)
            n_end = (i == kept_outer) if n_outer else (j == kept_inner)
            tiles, n_here = row_tiles[i, j], n_last if n_end else group_n
            for row in range(kept_rows + 1):
                begin = begins[i, j] + row * tiles
                for tile in range(tiles):
                    if m_end and tile // n_here == m_last - 1:
                        m_sizes[begin + tile] = m_rest
                    if row == kept_rows:
                        k_sizes[begin + tile] = k_rest
                    if row:
                        previous[begin + tile] = begin + tile - tiles
    first, start = _times(ws, m_sizes, k_sizes, previous, timing)
    added = 0
    outer_added = np.zeros(kept_outer + 1, dtype=np.int64)
    for i in range(kept_outer + 1):
        missing = 0
        for j in range(kept_inner + 1):
            missing = 0
            if kept_rows < k_tiles - 1:
                tiles = row_tiles[i, j]
                step = _repeated(first, start, begins[i, j] + (kept_rows - 1) * tiles, tiles, tiles)
                if step < 0:
                    return -1
                missing = (k_tiles - 1 - kept_rows) * step
            outer_added[i] += missing
            if j == kept_inner - 1 and kept_inner < inner - 1:
                period = begins[i, j] - begins[i, j - 1]
                step = _repeated(first, start, begins[i, j], period, period)
                if step < 0:
                    return -1
                outer_added[i] += (inner - 1 - kept_inner) * (step + missing)
        added += outer_added[i]
    if kept_outer < outer - 1:
        last = kept_outer - 1
        period = begins[last, 0] - begins[last - 1, 0]
        step = _repeated(first, start, begins[last, 0], period, period)
        if step < 0:
            return -1
        added += (outer - 1 - kept_outer) * (step + outer_added[last])
    interval = timing[_INTERVAL] if ws else timing[_OTHER_INTERVAL]
    return start[-1] + (m_sizes[-1] - 1) * interval + timing[_TAIL] + added


@njit(cache=True, nogil=True)
def nest_cycles(ws: bool, m: int, k: int, n: int, choice: Any, timing: Any, most: int, work: Any) -> int:
    """Return the cycles of a nest of tiles, exactly those of the whole list; -1 if it takes more than `most` tiles.

    `work` grows by the tiles that were run.
    """
    n_tiles = up(n, choice[2])
    limit = work[0] + most
    keep = 3
    while work[0] < limit:
        if choice[1] >= k:
            found = _whole(ws, m, k, n_tiles, choice[0], choice[3], choice[4], choice[5], timing, keep, most, work)
        else:
            found = _split(
                ws, m, k, n_tiles, choice[0], choice[1], choice[3], choice[4], choice[5], timing, keep, most, work
            )
        if found >= 0:
            return found
        keep *= 2
    return -1
