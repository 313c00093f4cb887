"""The best mapping of a product onto a shift array: search, events, energy, traffic.

The space: all sizes of tiles that fit the array, all groups whose partial sums fit the accumulator memory, both orders
of the groups (`Tiling`). What is left out cannot cost less:

- of the sizes `tile_n` with the same number of tiles only the least one: cycles, words and energy depend on that
  number alone, and a narrower group fits where a wider one does;
- weight stationary, groups of several tiles along m: one tile with all their vectors has the same sums to keep, loads
  its weights once, and moves no more;
- the second order where there is one group along m or n: it is the same nest.

The search is a branch and bound, along n, k, m, then groups, then the exact size along m. Bounds on cycles: every
vector is issued, every weight row is loaded, every drained row leaves, one after the other, and the tiles of a group
wait for its partial sums (`cycle_bound`); bounds on traffic: every operand once, then what the groups leave possible.
First only sizes that cut an extent into equal parts are looked at, then, from the best of these, all.
"""

__all__ = ["events", "solve"]

from functools import lru_cache

import numpy as np

from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray
from tetrit.hls.mapping.layer import Settings, Solution
from tetrit.hls.mapping.memory import Moved, Traffic, moved
from tetrit.hls.mapping.nest._kernels import nest_cycles
from tetrit.hls.mapping.shift import _kernels, numbers
from tetrit.hls.mapping.shift.numbers import Ints
from tetrit.hls.mapping.shift.tiling import Tiling
from tetrit.sim import Workload
from tetrit.sim.cost import Prices
from tetrit.sim.shift.events import counted

_ANY = 1 << 62


@lru_cache(maxsize=4096)
def solve(workload: Workload, active: int, machine: ShiftArray, settings: Settings) -> Solution:
    """Return the mapping of least cost of a product.

    Parameters
    ----------
    workload : Workload
        The product.
    active : int
        How many of its multiply-accumulates have a weight that is not zero.
    machine : ShiftArray
        The array.
    settings : Settings
        Cost, off-chip memory, effort.

    Returns
    -------
    Solution

    Raises
    ------
    InvalidValueError
        Not even one vector's partial sums fit the accumulator memory.
    """
    ws = machine.dataflow == "weight_stationary"
    table = Prices.modelled(machine)
    clock = numbers.timing(machine)
    sizes = numbers.sizes(machine, settings.off_chip)
    prices = numbers.prices(workload, active, machine, table, settings)
    m, k, n = workload.m, workload.k, workload.n
    choice = np.zeros(_kernels.CHOICE, dtype=np.int64)
    cost, complete = np.inf, False
    for fine in (False, True):
        cost, complete = _kernels.best(
            *(ws, m, k, n, clock, sizes, prices, settings.kind, fine, choice, cost), settings.limit, settings.limit
        )
    if not choice.any():
        choice = _simple(workload, machine, int(sizes[2]))
    tile_m, tile_k, tile_n, group_m, group_n, n_outer = choice.tolist()
    tiling = Tiling(
        tile_m=tile_m,
        tile_k=tile_k,
        tile_n=tile_n,
        group_m=group_m,
        group_n=group_n,
        outer="n" if n_outer else "m",
    )
    cycles = int(nest_cycles(ws, m, k, n, choice, clock, _ANY, np.zeros(1, dtype=np.int64)))
    act, weight = (int(times) for times in _kernels.fetches(m, k, n, choice, sizes))
    happened = events(workload, active, tiling, machine, cycles)
    bound = cost if complete else _kernels.root(ws, m, k, n, clock, sizes, prices, settings.kind)
    return Solution(
        tiling=tiling,
        array_cycles=cycles,
        **_moved(workload, machine, settings, happened, act, weight, table),
        peak_macs=float(machine.rows * machine.cols),
        optimal=complete,
        bound=float(bound),
    )


def _simple(workload: Workload, machine: ShiftArray, room: int) -> Ints:
    """Return a mapping without groups, for a search that was cut short before it had any."""
    tile_m, tile_k, tile_n = workload.m, min(machine.rows, workload.k), min(machine.cols, workload.n)
    if machine.dataflow == "output_stationary":
        tile_m, tile_k = min(machine.rows, workload.m), workload.k
    elif tile_k < workload.k:
        if room == 0:
            raise InvalidValueError(
                f"`acc_memory` of {machine.acc_memory.size_bytes} bytes cannot hold the partial sums of one vector"
            )
        tile_m = min(tile_m, room)
    return np.array([tile_m, tile_k, tile_n, 1, 1, 0], dtype=np.int64)


def events(workload: Workload, active: int, tiling: Tiling, machine: ShiftArray, cycles: int) -> dict[str, int]:
    """Return the countable acts of a mapped product, as `tetrit.sim.ShiftEngine` counts them when it runs it."""
    m_tiles, k_tiles, n_tiles = tiling.counts(workload)
    weights, acts, reread, unfinished = (
        int(count)
        for count in _kernels.counts(
            machine.dataflow == "weight_stationary", workload.m, workload.k, m_tiles, n_tiles, k_tiles
        )
    )
    return counted(
        workload,
        machine,
        active=active,
        n_cycles=cycles,
        weights=weights,
        acts=acts,
        reread=reread,
        unfinished=unfinished,
    )


def _moved(
    workload: Workload,
    machine: ShiftArray,
    settings: Settings,
    happened: dict[str, int],
    act: int,
    weight: int,
    table: Prices,
) -> Moved:
    """Return energy, traffic and off-chip cycles; activations are fetched `act` times, weights `weight` times."""
    out = machine.activations.bits
    sums = Traffic(
        read_bytes=-(-happened["acc_read_word"] * machine.acc_word_bits // 8),
        write_bytes=-(-happened["acc_write_word"] * machine.acc_word_bits // 8),
    )
    return moved(
        workload,
        machine,
        settings.off_chip,
        breakdown=table.breakdown(happened, machine),
        happened=happened,
        bits={"act": out, "weight": machine.weights.bits, "result": out},
        fetched={"act": act, "weight": weight},
        results={"accumulator memory": sums},
    )
