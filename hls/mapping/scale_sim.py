"""SCALE-Sim's count of cycles: its closed forms, the same count from our recurrences, and what makes ours another.

SCALE-Sim (Samajdar et al., ISPASS 2020; v3, arXiv 2504.15377) reports for a product M x K times K x N on an array of R
x C, without stalls,

- weight stationary: ``ceil(K / R) ceil(N / C) (2 R + C + M - 2) - 1``
- output stationary: ``ceil(M / R) ceil(N / C) (R + C + K - 2) - 1``

as fitted to, and exact on, 96 runs of version 3.0 (our measurement). Our recurrences give the same numbers, but for the
1, when they are set to its assumptions, all of them at once:

- every tile alone: no weights loaded, and no results drained, while another tile computes;
- every tile full: R weight rows are loaded, R rows are drained, whatever the tile has;
- memories that deliver and take a vector in the cycle in which it is asked for;
- no register behind the last processing element, so that a result leaves R + C - 2 (output stationary, C - 2) cycles
  after the vector that completes it was taken;
- cycles counted from 0, as the number of the last one: less by 1, once a product.
"""

__all__ = ["DATAFLOWS", "cycles", "recurrence", "terms"]

import numpy as np

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware import Memory, ShiftArray
from tetrit.hls.mapping.nest._kernels import nest_cycles
from tetrit.hls.mapping.shift import Tiling
from tetrit.hls.mapping.shift.numbers import Ints, timing
from tetrit.sim import Workload
from tetrit.sim.shift import cycles as model
from tetrit.sim.shift.tiles import TileList

DATAFLOWS: tuple[str, ...] = ("weight_stationary", "output_stationary")
_ANY = 1 << 62


def cycles(workload: Workload, *, rows: int, cols: int, dataflow: str) -> int:
    """Return the cycles that SCALE-Sim reports for a product, by its closed form.

    Parameters
    ----------
    workload : Workload
        The product.
    rows, cols : int
        Size of the array.
    dataflow : {"weight_stationary", "output_stationary"}

    Examples
    --------
    >>> from tetrit.sim import Workload
    >>> cycles(Workload(m=100, k=16, n=16), rows=16, cols=16, dataflow="weight_stationary")
    145
    """
    rows, cols = checks.integer("rows", rows), checks.integer("cols", cols)
    m, k, n = workload.m, workload.k, workload.n
    if checks.choice("dataflow", dataflow, DATAFLOWS) == "weight_stationary":
        return -(-k // rows) * -(-n // cols) * (2 * rows + cols + m - 2) - 1
    return -(-m // rows) * -(-n // cols) * (rows + cols + k - 2) - 1


def recurrence(workload: Workload, *, rows: int, cols: int, dataflow: str) -> int:
    """Return the same count, from the recurrences of `tetrit.sim.shift` set to SCALE-Sim's assumptions."""
    rows, cols = checks.integer("rows", rows), checks.integer("cols", cols)
    stationary = checks.choice("dataflow", dataflow, DATAFLOWS) == "weight_stationary"
    along = workload.k if stationary else workload.m
    tiles = -(-along // rows) * -(-workload.n // cols)
    m, k = (workload.m, rows) if stationary else (rows, workload.k)
    return tiles * _alone(stationary, m, k, _ideal(stationary, rows, cols)) - 1


def _ideal(stationary: bool, rows: int, cols: int) -> Ints:
    """Return the timing of an array with SCALE-Sim's memories and registers."""
    return np.array([1, 1, 0, 0, 0, 0, rows + cols - 1 if stationary else cols - 1], dtype=np.int64)


def _alone(stationary: bool, m: int, k: int, clock: Ints) -> int:
    """Return the cycles of one tile on an array at rest."""
    one = np.array([m, k, 1, 1, 1, 0], dtype=np.int64)
    return int(nest_cycles(stationary, m, k, 1, one, clock, _ANY, np.zeros(1, dtype=np.int64)))


def _apart(tiles: TileList, stationary: bool, clock: Ints) -> int:
    """Return the cycles of tiles one after the other, each alone."""
    shapes, times = np.unique(np.stack([tiles.m_size, tiles.k_size]), axis=1, return_counts=True)
    return sum(
        int(count) * _alone(stationary, int(m), int(k), clock)
        for (m, k), count in zip(shapes.T.tolist(), times.tolist(), strict=True)
    )


def terms(workload: Workload, machine: ShiftArray, tiling: Tiling) -> dict[str, int]:
    """Return what leads from SCALE-Sim's cycles to those of a mapped product on our array, term by term.

    Parameters
    ----------
    workload : Workload
        The product.
    machine : ShiftArray
        The array with its memories.
    tiling : Tiling
        How it is mapped.

    Returns
    -------
    dict of str to int
        ``scale_sim``; ``counted_from_0``; ``short_tiles`` (only rows that exist are loaded or drained);
        ``registers`` (behind the array, and a word that takes its cycle on the way in and out); ``memories`` (latency,
        narrow words); ``tiling`` (other tiles than SCALE-Sim's); ``overlap`` (tiles behind each other, less what
        partial sums wait). Their sum is exactly our cycles.

    Examples
    --------
    >>> from tetrit.hardware import ShiftArray
    >>> from tetrit.hls.mapping import Tiling
    >>> from tetrit.sim import Workload
    >>> array, product = ShiftArray(rows=16, cols=16), Workload(m=100, k=64, n=16)
    >>> terms(product, array, Tiling(tile_m=100, tile_k=16, tile_n=16))  # doctest: +NORMALIZE_WHITESPACE
    {'scale_sim': 583, 'counted_from_0': 1, 'short_tiles': 0, 'registers': 12, 'memories': 0, 'tiling': 0,
     'overlap': -147}
    """
    stationary = machine.dataflow == "weight_stationary"
    reference = Tiling(
        tile_m=workload.m if stationary else machine.rows,
        tile_k=machine.rows if stationary else workload.k,
        tile_n=machine.cols,
    ).tiles(workload)
    own = tiling.tiles(workload)
    without = Memory(size_bytes=machine.acc_memory.size_bytes)
    free = machine.replace(weight_memory=without, act_memory=without, acc_memory=without)
    clock = timing(machine)
    stages = {
        "scale_sim": cycles(workload, rows=machine.rows, cols=machine.cols, dataflow=machine.dataflow),
        "counted_from_0": recurrence(workload, rows=machine.rows, cols=machine.cols, dataflow=machine.dataflow) + 1,
        "short_tiles": _apart(reference, stationary, _ideal(stationary, machine.rows, machine.cols)),
        "registers": _apart(reference, stationary, timing(free)),
        "memories": _apart(reference, stationary, clock),
        "tiling": _apart(own, stationary, clock),
        "overlap": model.count_tiles(own, machine),
    }
    if max(own.n_size) > machine.cols:
        raise InvalidValueError(f"`tile_n` must be at most the array's cols ({machine.cols}), got {tiling.tile_n}")
    result, before = {}, 0
    for name, total in stages.items():
        result[name] = total - before
        before = total
    return result
