"""The fastest tiling of a workload on a shift array, by trying the candidates that can be fastest."""

__all__ = ["best_mapping"]

from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray
from tetrit.sim.program import LOOP_ORDERS, Mapping, Workload
from tetrit.sim.shift import cycles
from tetrit.sim.shift.tiles import check


def best_mapping(workload: Workload, machine: ShiftArray) -> Mapping:
    """Return the mapping with the fewest cycles under the cycle model.

    Full tiles in the two dimensions that lie on the array; along the third (m weight stationary, k output stationary)
    the
    full extent and its halvings, so that the partial sums fit the accumulator memory; both loop orders. Ties go to the
    earlier candidate, larger tiles first.

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
    tile_n = min(machine.cols, workload.n)
    stationary = machine.dataflow == "weight_stationary"
    best: tuple[int, Mapping] | None = None
    for order in LOOP_ORDERS:
        extent = workload.m if stationary else workload.k
        while True:
            mapping = Mapping(
                tile_m=extent if stationary else min(machine.rows, workload.m),
                tile_k=min(machine.rows, workload.k) if stationary else extent,
                tile_n=tile_n,
                order=order,
            )
            try:
                check(workload, mapping, machine)
            except InvalidValueError:
                pass
            else:
                cost = cycles.count(workload, mapping, machine)
                if best is None or cost < best[0]:
                    best = cost, mapping
            if extent == 1:
                break
            extent = -(-extent // 2)
    if best is None:
        raise InvalidValueError(
            f"`acc_memory` of {machine.acc_memory.size_bytes} bytes cannot hold the partial sums of one vector"
        )
    return best[1]
