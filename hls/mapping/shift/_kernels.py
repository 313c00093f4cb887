"""Compiled loops of the mapper of shift arrays: what a nest of tiles moves and costs, bounds on both, and the search.

Arrays and scalars only.
"""

from typing import Any

import numpy as np
from numba import njit

from tetrit.hls.mapping.nest._kernels import nest_cycles, up

__all__ = ["CHOICE", "best", "counts", "cycle_bound", "fetches", "price", "root"]

CHOICE = 6
"""Numbers of a nest: tile_m, tile_k, tile_n, group_m, group_n, and whether the loop over groups of n is the outer."""

# places in `timing`, as in `tetrit.hls.mapping.nest`
_INTERVAL, _OTHER_INTERVAL, _FIRST, _OTHER_FIRST, _RESULT, _REREAD, _TAIL = range(7)
# places in `sizes`
_ROWS, _COLS, _ACC_VECTORS, _ACT_ROOM, _WEIGHT_ROOM, _ACT_BITS, _WEIGHT_BITS, _OUT_BITS, _WIDTH, _LATENCY = range(10)
# places in `prices`
_E_CONST, _E_CYCLE, _E_WEIGHT, _E_ACT, _E_REREAD, _E_UNFINISHED, _E_A, _E_W, _E_C = range(9)


@njit(cache=True, nogil=True)
def fetches(m: int, k: int, n: int, choice: Any, sizes: Any) -> tuple[int, int]:
    """Return how often each activation and each weight is fetched from off-chip memory."""
    tile_m, tile_k, tile_n, group_m, group_n, n_outer = choice
    m_tiles, n_tiles = up(m, tile_m), up(n, tile_n)
    act_room, weight_room = sizes[_ACT_ROOM] // sizes[_ACT_BITS], sizes[_WEIGHT_ROOM] // sizes[_WEIGHT_BITS]
    rows, columns = min(group_m * tile_m, m), min(group_n * tile_n, n)
    if m * k <= act_room or (not n_outer and rows * k <= act_room):
        act = 1
    elif min(tile_m, m) * min(tile_k, k) <= act_room:
        act = up(n_tiles, group_n)
    else:
        act = n_tiles
    if k * n <= weight_room or (n_outer and k * columns <= weight_room):
        weight = 1
    elif min(tile_k, k) * columns <= weight_room:
        weight = up(m_tiles, group_m)
    else:
        weight = m_tiles
    return act, weight


@njit(cache=True, nogil=True)
def counts(ws: bool, m: int, k: int, m_tiles: int, n_tiles: int, k_tiles: int) -> tuple[int, int, int, int]:
    """Return vectors of weights, of activations, of partial sums and biases read, and of partial sums written."""
    split = m * n_tiles * (k_tiles - 1)
    acts = m * n_tiles * k_tiles if ws else m_tiles * n_tiles * k
    return m_tiles * n_tiles * k, acts, split + m_tiles * n_tiles, split


@njit(cache=True, nogil=True)
def _energy(
    ws: bool,
    m: int,
    k: int,
    n: int,
    m_tiles: int,
    n_tiles: int,
    k_tiles: int,
    cycles: int,
    act: int,
    weight: int,
    sizes: Any,
    prices: Any,
) -> float:
    weights, acts, reread, unfinished = counts(ws, m, k, m_tiles, n_tiles, k_tiles)
    energy = prices[_E_CONST] + prices[_E_CYCLE] * cycles
    energy += prices[_E_WEIGHT] * weights
    energy += prices[_E_ACT] * acts
    energy += prices[_E_REREAD] * reread
    energy += prices[_E_UNFINISHED] * unfinished
    energy += prices[_E_A] * (act * m * k * sizes[_ACT_BITS])
    energy += prices[_E_W] * (weight * k * n * sizes[_WEIGHT_BITS])
    return energy + prices[_E_C] * (m * n * sizes[_OUT_BITS])


@njit(cache=True, nogil=True)
def _off_chip(m: int, k: int, n: int, act: int, weight: int, sizes: Any) -> int:
    """Return the cycles that off-chip memory takes; 0 without one."""
    width = sizes[_WIDTH]
    if width == 0:
        return 0
    words = act * up(m * k * sizes[_ACT_BITS], width) + weight * up(k * n * sizes[_WEIGHT_BITS], width)
    return words + up(m * n * sizes[_OUT_BITS], width) + sizes[_LATENCY]


@njit(cache=True, nogil=True)
def price(
    ws: bool,
    m: int,
    k: int,
    n: int,
    m_tiles: int,
    n_tiles: int,
    k_tiles: int,
    cycles: int,
    act: int,
    weight: int,
    sizes: Any,
    prices: Any,
    kind: int,
) -> float:
    """Return the cost of a nest, or of the least that it can be: 0 latency, 1 energy, 2 their product."""
    latency = max(cycles, _off_chip(m, k, n, act, weight, sizes))
    if kind == 0:
        return float(latency)
    energy = _energy(ws, m, k, n, m_tiles, n_tiles, k_tiles, cycles, act, weight, sizes, prices)
    return energy if kind == 1 else energy * latency


@njit(cache=True, nogil=True)
def cycle_bound(
    ws: bool,
    m: int,
    k: int,
    n_tiles: int,
    m_tiles: int,
    m_last: int,
    tile_k: int,
    m_groups: int,
    group_n: int,
    timing: Any,
) -> int:
    """Return cycles that no nest of these numbers of tiles is below; `m_last` at most the rows of its last tile.

    `group_n` is 0 where the groups are not known yet.
    """
    interval, other = timing[_INTERVAL], timing[_OTHER_INTERVAL]
    k_tiles = up(k, tile_k)
    delay = timing[_RESULT] + timing[_REREAD]
    if ws:
        begin = max(timing[_FIRST] + (tile_k - 1) * other + 1, timing[_OTHER_FIRST])
        bound = begin + (m * n_tiles * k_tiles - 1) * interval
        bound = max(bound, timing[_FIRST] + (m_tiles * n_tiles * k - 1) * other + 1 + (m_last - 1) * interval)
        if group_n > 0 and k_tiles > 1:
            n_groups = up(n_tiles, group_n)
            rest = n_tiles - (n_groups - 1) * group_n
            waits = (n_groups - 1) * max(m_tiles * delay, group_n * m * interval)
            waits += max(m_tiles * delay, rest * m * interval)
            bound = max(bound, begin + (k_tiles - 1) * waits + (m * n_tiles - 1) * interval)
        return bound + timing[_TAIL]
    bound = timing[_FIRST] + (m_tiles * n_tiles * k - 1) * interval + 1 + (m_last - 1) * other
    begin = max(timing[_FIRST] + (tile_k - 1) * interval + 1, timing[_OTHER_FIRST])
    bound = max(bound, begin + (m * n_tiles * k_tiles - 1) * other)
    if group_n > 0 and k_tiles > 1:
        bound = max(bound, begin + m_groups * up(n_tiles, group_n) * (k_tiles - 1) * delay)
    return bound + timing[_TAIL]


@njit(cache=True, nogil=True)
def _next(size: int, extent: int, fine: bool) -> int:
    """Return the next smaller size of a tile or a group to look at; unless `fine`, only those of equal parts."""
    if size == 1:
        return 0
    if fine:
        return size - 1
    parts = up(extent, size - 1)
    return up(extent, parts)


@njit(cache=True, nogil=True)
def best(
    ws: bool,
    m: int,
    k: int,
    n: int,
    timing: Any,
    sizes: Any,
    prices: Any,
    kind: int,
    fine: bool,
    choice: Any,
    cost: float,
    most_work: int,
    most_nodes: int,
) -> tuple[float, bool]:
    """Search for a nest that costs less than `cost`; write it to `choice`.

    Parameters
    ----------
    fine : bool
        Whether all sizes are looked at, or only those that cut their extent into equal parts.
    choice : ndarray of int64, shape (CHOICE,)
        Best so far; replaced by what is better.
    cost : float
        Of `choice`.
    most_work, most_nodes : int
        After that many tiles run, or bounds taken, the search ends.

    Returns
    -------
    tuple of float, bool
        Cost of `choice`, and whether the search was complete.
    """
    work, nodes, skipped = np.zeros(1, dtype=np.int64), 0, 0
    trial = np.empty(CHOICE, dtype=np.int64)
    most_n, most_k = min(sizes[_COLS], n), min(sizes[_ROWS], k) if ws else k
    most_m = m if ws else min(sizes[_ROWS], m)
    tile_n = up(n, up(n, most_n))
    while tile_n > 0:
        n_tiles = up(n, tile_n)
        tile_k = most_k if fine else up(k, up(k, most_k))
        while tile_k > 0:
            k_tiles = up(k, tile_k)
            room = sizes[_ACC_VECTORS] if k_tiles > 1 else 2 * m * n_tiles
            largest = min(most_m, room)
            nodes += 1
            if nodes > most_nodes:
                return cost, False
            if largest > 0:
                m_tiles = up(m, largest)
                bound = cycle_bound(ws, m, k, n_tiles, m_tiles, 1, tile_k, 1, 0, timing)
                if price(ws, m, k, n, m_tiles, n_tiles, k_tiles, bound, 1, 1, sizes, prices, kind) >= cost:
                    largest = 0
            while largest > 0:  # each number of tiles along m, ascending
                m_tiles = up(m, largest)
                smallest = up(m, m_tiles)
                nodes += 1
                if nodes > most_nodes:
                    return cost, False
                least_last = m - (m_tiles - 1) * largest
                bound = cycle_bound(ws, m, k, n_tiles, m_tiles, least_last, tile_k, 1, 0, timing)
                if price(ws, m, k, n, m_tiles, n_tiles, k_tiles, bound, 1, 1, sizes, prices, kind) >= cost:
                    largest = smallest - 1
                    continue
                group_m = 1 if ws else m_tiles
                while group_m > 0:
                    m_groups = up(m_tiles, group_m)
                    group_n = min(n_tiles, room // min(group_m * smallest, m))
                    while group_n > 0:
                        n_groups = up(n_tiles, group_n)
                        bound = cycle_bound(ws, m, k, n_tiles, m_tiles, least_last, tile_k, m_groups, group_n, timing)
                        for n_outer in range(1 if n_groups == 1 or m_groups == 1 else 2):
                            nodes += 1
                            if nodes > most_nodes:
                                return cost, False
                            trial[0], trial[1], trial[2] = smallest, tile_k, tile_n
                            trial[3], trial[4], trial[5] = group_m, group_n, n_outer
                            act, weight = fetches(m, k, n, trial, sizes)
                            least = price(
                                ws, m, k, n, m_tiles, n_tiles, k_tiles, bound, act, weight, sizes, prices, kind
                            )
                            if least >= cost:
                                continue
                            highest = largest
                            if m * group_n > room:
                                highest = min(largest, room // (group_m * group_n))
                            tile_m = smallest
                            while tile_m <= highest:
                                nodes += 1
                                trial[0] = tile_m
                                act, weight = fetches(m, k, n, trial, sizes)
                                last = m - (m_tiles - 1) * tile_m
                                exact = cycle_bound(ws, m, k, n_tiles, m_tiles, last, tile_k, m_groups, group_n, timing)
                                if (
                                    price(
                                        ws, m, k, n, m_tiles, n_tiles, k_tiles, exact, act, weight, sizes, prices, kind
                                    )
                                    < cost
                                ):
                                    cycles = nest_cycles(ws, m, k, n, trial, timing, most_work // 8, work)
                                    if cycles < 0:
                                        skipped += 1
                                        tile_m += 1
                                        continue
                                    found = price(
                                        ws, m, k, n, m_tiles, n_tiles, k_tiles, cycles, act, weight, sizes, prices, kind
                                    )
                                    if found < cost:
                                        cost = found
                                        choice[:] = trial
                                if work[0] > most_work or nodes > most_nodes:
                                    return cost, False
                                tile_m += 1 if fine else max(1, highest - tile_m)
                        group_n = _next(group_n, n_tiles, fine)
                    group_m = 0 if ws else _next(group_m, m_tiles, fine)
                largest = smallest - 1
            tile_k = _next(tile_k, k, fine)
        tile_n = _next(tile_n, n, False)
    return cost, skipped == 0


@njit(cache=True, nogil=True)
def root(ws: bool, m: int, k: int, n: int, timing: Any, sizes: Any, prices: Any, kind: int) -> float:
    """Return a cost that no nest is below."""
    most_k = min(sizes[_ROWS], k) if ws else k
    n_tiles = up(n, sizes[_COLS])
    least = np.inf
    tile_k = up(k, up(k, most_k))
    while tile_k > 0:  # the smallest size for each number of tiles along k
        k_tiles = up(k, tile_k)
        largest = m if ws else min(sizes[_ROWS], m)
        if k_tiles > 1:
            largest = min(largest, sizes[_ACC_VECTORS])
        if largest > 0:
            m_tiles = up(m, largest)
            bound = cycle_bound(ws, m, k, n_tiles, m_tiles, 1, tile_k, 1, 0, timing)
            least = min(least, price(ws, m, k, n, m_tiles, n_tiles, k_tiles, bound, 1, 1, sizes, prices, kind))
        tile_k = _next(tile_k, k, False)
    return least
