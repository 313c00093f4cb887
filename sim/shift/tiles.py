"""A workload cut into tiles: what each covers, in which order they run, whose partial sums they continue."""

__all__ = ["TileList", "check", "partial_sum_bytes", "tile_list"]

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray
from tetrit.sim.program import Mapping, Workload

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class TileList:
    """Tiles in order of execution; all arrays have one entry per tile.

    Attributes
    ----------
    m_start, k_start, n_start : ndarray of int64
        First index of the tile in each dimension.
    m_size, k_size, n_size : ndarray of int64
        Extent of the tile.
    previous : ndarray of int64
        Index of the tile whose results are this tile's partial sums; -1 where the bias is.
    """

    m_start: Ints
    k_start: Ints
    n_start: Ints
    m_size: Ints
    k_size: Ints
    n_size: Ints
    previous: Ints

    def __len__(self) -> int:
        return len(self.previous)


def check(workload: Workload, mapping: Mapping, machine: ShiftArray) -> None:
    """Raise InvalidValueError unless `mapping` fits the array and its accumulator memory."""
    limits = {"tile_n": ("cols", machine.cols)}
    if machine.dataflow == "weight_stationary":
        limits["tile_k"] = ("rows", machine.rows)
    else:
        limits["tile_m"] = ("rows", machine.rows)
    for field, (side, limit) in limits.items():
        if getattr(mapping, field) > limit:
            raise InvalidValueError(
                f"`{field}` must be at most the array's {side} ({limit}) when {machine.dataflow}, "
                f"got {getattr(mapping, field)}"
            )
    needed = partial_sum_bytes(workload, mapping, machine)
    if needed > machine.acc_memory.size_bytes:
        raise InvalidValueError(
            f"partial sums of the mapping need {needed} bytes, `acc_memory` has {machine.acc_memory.size_bytes}; "
            "use a smaller `tile_m`"
        )


def partial_sum_bytes(workload: Workload, mapping: Mapping, machine: ShiftArray) -> int:
    """Return the room that unfinished sums take in the accumulator memory; 0 if no sum is split over tiles."""
    if mapping.tile_k >= workload.k:
        return 0
    held = 1 if mapping.order == "mnk" else -(-workload.n // mapping.tile_n)
    vector_bytes = -(-machine.acc_words * machine.acc_word_bits // 8)
    return min(mapping.tile_m, workload.m) * held * vector_bytes


def tile_list(workload: Workload, mapping: Mapping) -> TileList:
    """Return the tiles of `workload` under `mapping`, in order of execution."""
    steps = {"m": mapping.tile_m, "k": mapping.tile_k, "n": mapping.tile_n}
    sizes = {"m": workload.m, "k": workload.k, "n": workload.n}
    counts = {axis: -(-sizes[axis] // steps[axis]) for axis in "mkn"}
    axes = tuple(mapping.order)
    grid = np.indices([counts[axis] for axis in axes], dtype=np.int64).reshape(3, -1)
    index = dict(zip(axes, grid, strict=True))
    start = {axis: index[axis] * steps[axis] for axis in "mkn"}
    size = {axis: np.minimum(steps[axis], sizes[axis] - start[axis]) for axis in "mkn"}
    distance = 1 if mapping.order == "mnk" else counts["n"]
    tile = np.arange(grid.shape[1], dtype=np.int64)
    return TileList(
        m_start=start["m"],
        k_start=start["k"],
        n_start=start["n"],
        m_size=size["m"],
        k_size=size["k"],
        n_size=size["n"],
        previous=np.where(index["k"] > 0, tile - distance, -1),
    )
