"""Compiled loops of the mapper of SIMD engines: cycles of blocks of tiles, their cost, and the search.

Arrays and scalars only. Times come from the recurrence of `tetrit.sim.simd`.
"""

from typing import Any

import numpy as np
from numba import njit

from tetrit.hls.mapping.nest._kernels import up
from tetrit.hls.mapping.shift._kernels import fetches
from tetrit.sim.simd._kernels import last_drains

__all__ = ["CHOICE", "best", "block_bound", "cycles", "price"]

CHOICE = 3
"""Numbers of a mapping: group_m, group_n, and whether the loop over groups of n is the outer."""

# places in `timing`
_ROWS, _COLS, _FIRST, _INTERVAL, _DRAIN, _MAC, _TAIL = range(7)
# places in `sizes`, those of `tetrit.hls.mapping.shift`
_ACT_ROOM, _WEIGHT_ROOM, _ACT_BITS, _WEIGHT_BITS, _OUT_BITS, _WIDTH, _LATENCY = range(3, 10)
# places in `prices`
_E_CONST, _E_CYCLE, _E_A, _E_W, _E_C = range(5)


@njit(cache=True, nogil=True)
def _last_drain(m: int, n: int, steps: int, timing: Any) -> int:
    """Return the cycle in which the last row of a product starts to drain.

    From a few tiles on, each regular one takes the same number of cycles: the time from a tile's last step to its last
    drain settles within `timing[_DRAIN]` tiles, since it only grows by whole cycles while drains hold each other up.
    """
    rows = up(m, timing[_ROWS])
    in_row = up(n, timing[_COLS])
    kept = min(rows, up(timing[_DRAIN] + 4, in_row) + 3)
    ends = np.empty(2, dtype=np.int64)
    last_drains(
        np.array([m - (rows - kept) * timing[_ROWS], m - (rows - kept + 1) * timing[_ROWS]])[: 2 if kept > 1 else 1],
        np.array([n, n]),
        np.array([steps, steps]),
        np.array([timing[_FIRST], timing[_FIRST]]),
        timing[_ROWS],
        timing[_COLS],
        timing[_INTERVAL],
        timing[_DRAIN],
        timing[_MAC],
        ends,
    )
    return ends[0] + (0 if rows == kept else (rows - kept) * (ends[0] - ends[1]))


@njit(cache=True, nogil=True)
def cycles(m: int, n: int, steps: int, choice: Any, timing: Any) -> int:
    """Return the cycles of all blocks of a product, one after the other."""
    block_m, block_n = min(choice[0] * timing[_ROWS], m), min(choice[1] * timing[_COLS], n)
    m_blocks, n_blocks = up(m, block_m), up(n, block_n)
    m_rest, n_rest = m - (m_blocks - 1) * block_m, n - (n_blocks - 1) * block_n
    total = m_blocks * n_blocks * timing[_TAIL] + _last_drain(m_rest, n_rest, steps, timing)
    if m_blocks > 1:
        total += (m_blocks - 1) * _last_drain(block_m, n_rest, steps, timing)
    if n_blocks > 1:
        total += (n_blocks - 1) * _last_drain(m_rest, block_n, steps, timing)
    if m_blocks > 1 and n_blocks > 1:
        total += (m_blocks - 1) * (n_blocks - 1) * _last_drain(block_m, block_n, steps, timing)
    return total


@njit(cache=True, nogil=True)
def block_bound(m: int, n: int, steps: int, blocks: int, timing: Any) -> int:
    """Return cycles that no mapping of that many blocks is below: all steps, or all drains, and what each block adds.

    In a block, steps begin in cycle `first`; its last row drains after its last step, and its first drain after as many
    steps as a tile has.
    """
    tiles = up(m, timing[_ROWS]) * up(n, timing[_COLS])
    in_row = up(n, timing[_COLS])
    of_steps = tiles * steps * timing[_INTERVAL] + blocks * (timing[_FIRST] - timing[_INTERVAL] + timing[_MAC])
    first_drain = timing[_FIRST] + (steps - 1) * timing[_INTERVAL] + timing[_MAC]
    of_drains = m * in_row * timing[_DRAIN] + blocks * (first_drain - timing[_DRAIN])
    return max(of_steps, of_drains) + blocks * timing[_TAIL]


@njit(cache=True, nogil=True)
def price(m: int, k: int, n: int, n_cycles: int, act: int, weight: int, sizes: Any, prices: Any, kind: int) -> float:
    """Return the cost of a mapping: 0 latency, 1 energy, 2 their product."""
    latency = n_cycles
    if sizes[_WIDTH] > 0:
        words = act * up(m * k * sizes[_ACT_BITS], sizes[_WIDTH]) + weight * up(
            k * n * sizes[_WEIGHT_BITS], sizes[_WIDTH]
        )
        latency = max(latency, words + up(m * n * sizes[_OUT_BITS], sizes[_WIDTH]) + sizes[_LATENCY])
    if kind == 0:
        return float(latency)
    energy = prices[_E_CONST] + prices[_E_CYCLE] * n_cycles
    energy += prices[_E_A] * (act * m * k * sizes[_ACT_BITS])
    energy += prices[_E_W] * (weight * k * n * sizes[_WEIGHT_BITS])
    energy += prices[_E_C] * (m * n * sizes[_OUT_BITS])
    return energy if kind == 1 else energy * latency


@njit(cache=True, nogil=True)
def best(
    m: int,
    k: int,
    n: int,
    steps: int,
    timing: Any,
    sizes: Any,
    prices: Any,
    kind: int,
    fine: bool,
    choice: Any,
    cost: float,
    most_nodes: int,
) -> tuple[float, bool]:
    """Search for a mapping that costs less than `cost`, write it to `choice`; return its cost, and if all was seen."""
    trial = np.empty(CHOICE, dtype=np.int64)
    nest = np.empty(6, dtype=np.int64)
    m_tiles, n_tiles = up(m, timing[_ROWS]), up(n, timing[_COLS])
    nest[0], nest[1], nest[2] = timing[_ROWS], k, timing[_COLS]
    # where not even a tile's operand fits, no block changes how often it comes
    least_act = n_tiles if min(timing[_ROWS], m) * k > sizes[_ACT_ROOM] // sizes[_ACT_BITS] else 1
    least_weight = m_tiles if min(timing[_COLS], n) * k > sizes[_WEIGHT_ROOM] // sizes[_WEIGHT_BITS] else 1
    nodes = 0
    group_m = m_tiles
    while group_m > 0:
        m_groups = up(m_tiles, group_m)
        group_n = n_tiles
        while group_n > 0:
            n_groups = up(n_tiles, group_n)
            bound = block_bound(m, n, steps, m_groups * n_groups, timing)
            nodes += 1
            if nodes > most_nodes:
                return cost, False
            if price(m, k, n, bound, least_act, least_weight, sizes, prices, kind) >= cost:
                break  # narrower groups are more blocks
            for n_outer in range(1 if m_groups == 1 or n_groups == 1 else 2):
                trial[0], trial[1], trial[2] = group_m, group_n, n_outer
                nest[3], nest[4], nest[5] = group_m, group_n, n_outer
                act, weight = fetches(m, k, n, nest, sizes)
                if price(m, k, n, bound, act, weight, sizes, prices, kind) >= cost:
                    continue
                found = price(m, k, n, cycles(m, n, steps, trial, timing), act, weight, sizes, prices, kind)
                nodes += 20 + group_n  # as the tiles of a few rows are run
                if found < cost:
                    cost = found
                    choice[:] = trial
            parts = up(n_tiles, group_n - 1) if group_n > 1 else 0
            group_n = group_n - 1 if fine or parts == 0 else up(n_tiles, parts)
        parts = up(m_tiles, group_m - 1) if group_m > 1 else 0
        group_m = group_m - 1 if fine or parts == 0 else up(m_tiles, parts)
    return cost, True
