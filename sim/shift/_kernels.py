"""Recurrences over tiles behind `tetrit.sim.shift.cycles`; times are cycle numbers, cycle 0 the first after reset."""

from typing import Any

import numpy as np
from numba import njit

__all__ = ["output_stationary", "weight_stationary"]


@njit(cache=True)
def weight_stationary(
    vectors: Any,
    weight_rows: Any,
    previous: Any,
    issue_interval: int,
    weight_interval: int,
    weight_first: int,
    vector_first: int,
    result_delay: int,
    reread_delay: int,
) -> tuple[Any, Any]:
    """Return the cycles in which each tile's first weight row and first activation vector are taken."""
    n_tiles = len(vectors)
    first_rows = np.zeros(n_tiles, dtype=np.int64)
    start = np.zeros(n_tiles, dtype=np.int64)
    loaded = -1  # cycle in which the last weight row of the previous tile was taken
    freed = -1  # cycle in which the bank's previous tile took its last vector
    last = -1  # cycle of the latest activation vector
    for tile in range(n_tiles):
        first_row = weight_first if tile == 0 else max(loaded + weight_interval, freed + 1)
        first_rows[tile] = first_row
        loaded = first_row + (weight_rows[tile] - 1) * weight_interval
        begin = max(loaded + 1, vector_first if tile == 0 else last + issue_interval)
        if previous[tile] >= 0:
            begin = max(begin, start[previous[tile]] + result_delay + reread_delay)
        start[tile] = begin
        freed = last
        last = begin + (vectors[tile] - 1) * issue_interval
    return first_rows, start


@njit(cache=True)
def output_stationary(
    steps: Any,
    drained_rows: Any,
    previous: Any,
    step_interval: int,
    drain_interval: int,
    step_first: int,
    drain_first: int,
    result_delay: int,
    reread_delay: int,
) -> tuple[Any, Any, Any]:
    """Return the cycles of each tile's first step, last step and first drained row."""
    n_tiles = len(steps)
    first_steps = np.zeros(n_tiles, dtype=np.int64)
    last_steps = np.zeros(n_tiles, dtype=np.int64)
    start = np.zeros(n_tiles, dtype=np.int64)
    last_step = -1
    last_drain = -1
    for tile in range(n_tiles):
        first_step = step_first if tile == 0 else last_step + step_interval
        last_step = max(first_step + (steps[tile] - 1) * step_interval, last_drain)
        first_steps[tile] = first_step
        last_steps[tile] = last_step
        begin = max(last_step + 1, drain_first if tile == 0 else last_drain + drain_interval)
        if previous[tile] >= 0:
            begin = max(begin, start[previous[tile]] + result_delay + reread_delay)
        start[tile] = begin
        last_drain = begin + (drained_rows[tile] - 1) * drain_interval
    return first_steps, last_steps, start
