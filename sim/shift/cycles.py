"""The cycle model of the shift array: exact for the RTL, a function of shape, tiling, dataflow and memory widths.

Notation: a vector of stream s takes ``w_s = ceil(vector bits / word bits)`` words and cycles; reading starts after the
memory's latency ``l_s``. Results and partial sums share a width, ``w_a``. R x C is the array, D its pipeline depth
(R + C - 1 weight stationary, C output stationary).

Weight stationary, tile i with k_i weight rows and m_i activation vectors:

- weight row j of tile i is taken ``w_w`` after the one before, and row 0 not before the bank is free, which is the
cycle
  after tile i-2 took its last vector;
- vector 0 of tile i is taken after the tile's last weight row; vectors are ``I = max(w_x, w_a)`` apart;
- where tile i continues the sums of tile p, vector 0 also waits until tile p's first result has been written and read
  back: ``D + w_a`` after the vector was taken, and ``1 + l_a + w_a`` more.

So a long run of equal tiles costs ``max(m I, k w_w)`` cycles per tile.

Output stationary, tile i with k_i steps and m_i rows to drain:

- steps are ``I = max(w_x, w_w)`` apart; a tile's last step waits until the drain before it has ended;
- the drain starts the cycle after the last step, rows ``w_a`` apart, and waits for partial sums as above.

So a long run of equal tiles costs ``max(k I, m w_a)`` cycles per tile.

Every count ends with the cycle in which the last result word leaves, ``D + w_a`` after the last vector or row, plus one
since cycles are numbered from 0. The recurrences are our own: they follow from the documented handshake of
`tetrit.rtl.ShiftPEArray`, and its simulation on Verilator is compared with them for equality.
"""

__all__ = ["Schedule", "bound", "count", "count_tiles", "schedule"]

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tetrit.hardware import ShiftArray
from tetrit.sim.program import Mapping, Workload
from tetrit.sim.shift import _kernels
from tetrit.sim.shift.tiles import TileList, check, tile_list

Ints = npt.NDArray[np.int64]


def count(workload: Workload, mapping: Mapping, machine: ShiftArray) -> int:
    """Return the cycles of `workload` on `machine`.

    Parameters
    ----------
    workload : Workload
        Shape of the product.
    mapping : Mapping
        Tiles; must fit the machine.
    machine : ShiftArray
        The array with its memories.

    Returns
    -------
    int
        Exactly the cycles of the RTL when no source idles and the sink never blocks.

    Raises
    ------
    InvalidValueError
        The mapping does not fit the array or its accumulator memory.

    Examples
    --------
    >>> from tetrit import hardware, sim
    >>> from tetrit.sim.shift import cycles
    >>> cycles.count(
    ...     sim.Workload(m=100, k=16, n=16),
    ...     sim.Mapping(tile_m=100, tile_k=16, tile_n=16),
    ...     hardware.ShiftArray(rows=16, cols=16),
    ... )
    149
    """
    check(workload, mapping, machine)
    return count_tiles(tile_list(workload, mapping), machine)


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """When the array takes each vector, and hands out each result.

    Attributes
    ----------
    weights, activations, partials : ndarray of int64
        Cycle in which each vector of that stream is taken, in order.
    results : ndarray of int64
        Cycle in which the last word of each result leaves.
    """

    weights: Ints
    activations: Ints
    partials: Ints
    results: Ints

    @property
    def cycles(self) -> int:
        """Length of the run: cycles are numbered from 0."""
        return int(self.results[-1]) + 1


def schedule(tiles: TileList, machine: ShiftArray) -> Schedule:
    """Return the schedule of tiles that are known to fit."""
    times = _tile_times(tiles, machine)
    if machine.dataflow == "weight_stationary":
        first_rows, start = times
        taken = _spread(start, tiles.m_size, max(machine.act_words, machine.acc_words))
        weights, activations, partials = _spread(first_rows, tiles.k_size, machine.weight_words), taken, taken
    else:
        first_steps, last_steps, start = times
        steps = _spread(first_steps, tiles.k_size, max(machine.act_words, machine.weight_words))
        steps[np.cumsum(tiles.k_size) - 1] = last_steps
        weights, activations, partials = steps, steps, _spread(start, tiles.m_size, machine.acc_words)
    return Schedule(
        weights=weights,
        activations=activations,
        partials=partials,
        results=partials + machine.pipeline_depth + machine.acc_words,
    )


def count_tiles(tiles: TileList, machine: ShiftArray) -> int:
    """Return the cycles of tiles that are known to fit."""
    interval = machine.acc_words
    if machine.dataflow == "weight_stationary":
        interval = max(machine.act_words, machine.acc_words)
    last = int(_tile_times(tiles, machine)[-1][-1]) + (int(tiles.m_size[-1]) - 1) * interval
    return last + machine.pipeline_depth + machine.acc_words + 1


def _spread(start: Ints, sizes: Ints, interval: int) -> Ints:
    """Return the times of vectors that follow each tile's first one at equal intervals."""
    index = np.arange(int(sizes.sum()), dtype=np.int64) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    spread: Ints = np.repeat(start, sizes) + index * interval
    return spread


def _tile_times(tiles: TileList, machine: ShiftArray) -> tuple[Ints, ...]:
    weight_first = machine.weight_memory.latency_cycles + machine.weight_words
    act_first = machine.act_memory.latency_cycles + machine.act_words
    acc_first = machine.acc_memory.latency_cycles + machine.acc_words
    result_delay = machine.pipeline_depth + machine.acc_words
    reread_delay = 1 + acc_first
    times: tuple[Ints, ...]
    if machine.dataflow == "weight_stationary":
        times = _kernels.weight_stationary(
            tiles.m_size,
            tiles.k_size,
            tiles.previous,
            max(machine.act_words, machine.acc_words),
            machine.weight_words,
            weight_first,
            max(act_first, acc_first),
            result_delay,
            reread_delay,
        )
    else:
        times = _kernels.output_stationary(
            tiles.k_size,
            tiles.m_size,
            tiles.previous,
            max(machine.act_words, machine.weight_words),
            machine.acc_words,
            max(act_first, weight_first),
            acc_first,
            result_delay,
            reread_delay,
        )
    return times


def bound(tiles: TileList, machine: ShiftArray, cycles: int) -> str:
    """Name the busiest stream, ``compute`` if that is the array, ``latency`` if none is busy half the time."""
    weight_stationary = machine.dataflow == "weight_stationary"
    vectors = int((tiles.m_size if weight_stationary else tiles.k_size).sum())
    results = int(tiles.m_size.sum())
    weights = int(tiles.k_size.sum())
    busy = {
        "compute": vectors,
        "weights": weights * machine.weight_words,
        "activations": vectors * machine.act_words,
        "partials" if weight_stationary else "results": results * machine.acc_words,
    }
    name = max(busy, key=lambda stream: busy[stream])
    return name if 2 * busy[name] >= cycles else "latency"
