"""The fastest tiling of a workload on a shift array."""

__all__ = ["best_mapping"]

from dataclasses import replace
from itertools import product

from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray
from tetrit.sim.program import LOOP_ORDERS, Mapping, Workload
from tetrit.sim.shift import cycles
from tetrit.sim.shift.tiles import partial_sum_bytes


def best_mapping(workload: Workload, machine: ShiftArray) -> Mapping:
    """Return the fastest of a few mappings under the cycle model.

    As few tiles as possible: in the two dimensions that lie on the array, full ones with a rest, or equal ones; along
    the third one, weight stationary, as many vectors as the accumulator memory has room for, in equal parts, since
    each tile loads its weights anew; output stationary, the whole reduction. Both loop orders; the first candidate wins
    a tie. Of all tilings of small random cases none is faster by more than the fill or drain of one tile, and nearly
    always none is faster at all: a test, not a proof.

    Parameters
    ----------
    workload : Workload
        Shape of the product.
    machine : ShiftArray
        The array.

    Returns
    -------
    Mapping

    Raises
    ------
    InvalidValueError
        Not even a single vector's partial sums fit the accumulator memory.
    """
    stationary = machine.dataflow == "weight_stationary"
    best: tuple[int, Mapping] | None = None
    tiles_on_rows = _sizes(workload.k if stationary else workload.m, machine.rows)
    for order, tile_n, on_rows in product(LOOP_ORDERS, _sizes(workload.n, machine.cols), tiles_on_rows):
        if stationary:
            one = Mapping(tile_m=1, tile_k=on_rows, tile_n=tile_n, order=order)
            needed = partial_sum_bytes(workload, one, machine)
            room = workload.m if needed == 0 else machine.acc_memory.size_bytes // needed
            if room == 0:
                continue
            mapping = replace(one, tile_m=_equal(workload.m, room))
        else:
            mapping = Mapping(tile_m=on_rows, tile_k=workload.k, tile_n=tile_n, order=order)
        cost = cycles.count(workload, mapping, machine)
        if best is None or cost < best[0]:
            best = cost, mapping
    if best is None:
        raise InvalidValueError(
            f"`acc_memory` of {machine.acc_memory.size_bytes} bytes cannot hold the partial sums of one vector"
        )
    return best[1]


def _equal(extent: int, limit: int) -> int:
    """Return the size of the fewest equal parts of `extent` that are at most `limit`."""
    return -(-extent // -(-extent // limit))


def _sizes(extent: int, limit: int) -> list[int]:
    """Return the tile sizes that give the fewest tiles: full ones with a rest, and equal ones."""
    return sorted({min(limit, extent), _equal(extent, limit)}, reverse=True)
