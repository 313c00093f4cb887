"""The authority for what a mapping onto a shift array is: sizes of tiles, groups of them, order of the loops."""

__all__ = ["OUTER", "Outer", "Tiling"]

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tetrit import checks
from tetrit.sim import Mapping, Workload
from tetrit.sim.shift.tiles import TileList

Outer = Literal["m", "n"]
OUTER: tuple[Outer, ...] = ("m", "n")


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """A nest of loops over tiles: groups of tiles outside, then k, then the tiles of a group, m before n.

    Partial sums of one group lie in the accumulator memory until the group is done; they never leave the chip.
    Operands are reused from the scratchpads where they fit, see `tetrit.hls.mapping.memory`.

    Attributes
    ----------
    tile_m, tile_k, tile_n : int
        Size of a tile. Weight stationary, tile_k <= rows, tile_n <= cols; output stationary, tile_m <= rows, tile_n <=
        cols.
    group_m, group_n : int
        Tiles of a group along m and along n. Weight stationary, `group_m` is 1: a tile can have as many vectors.
    outer : {"m", "n"}
        Whether the loop over the groups of m is the outer one, or that over the groups of n.

    Examples
    --------
    The two orders of `tetrit.sim.Mapping` are special cases:

    >>> from tetrit.sim import Workload
    >>> Tiling(tile_m=8, tile_k=16, tile_n=16, group_n=4).sim_mapping(Workload(m=8, k=32, n=64)).order
    'mkn'
    """

    tile_m: int
    tile_k: int
    tile_n: int
    group_m: int = 1
    group_n: int = 1
    outer: Outer = "m"

    def __post_init__(self) -> None:
        for name in ("tile_m", "tile_k", "tile_n", "group_m", "group_n"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name)))
        checks.choice("outer", self.outer, OUTER)

    def counts(self, workload: Workload) -> tuple[int, int, int]:
        """Return the number of tiles along m, k and n."""
        return -(-workload.m // self.tile_m), -(-workload.k // self.tile_k), -(-workload.n // self.tile_n)

    def tiles(self, workload: Workload) -> TileList:
        """Return all tiles of `workload` in order of execution, as the cycle model of the array takes them."""
        m_tiles, k_tiles, n_tiles = self.counts(workload)
        m_groups, n_groups = -(-m_tiles // self.group_m), -(-n_tiles // self.group_n)
        groups = [(i, j) for i in range(m_groups) for j in range(n_groups)]
        if self.outer == "n":
            groups = [(i, j) for j in range(n_groups) for i in range(m_groups)]
        rows = []
        done = 0
        for i, j in groups:
            m_here = np.arange(i * self.group_m, min((i + 1) * self.group_m, m_tiles))
            n_here = np.arange(j * self.group_n, min((j + 1) * self.group_n, n_tiles))
            k_index, m_index, n_index = (
                index.ravel() for index in np.meshgrid(np.arange(k_tiles), m_here, n_here, indexing="ij")
            )
            tile = done + np.arange(len(k_index))
            rows.append((m_index, k_index, n_index, np.where(k_index > 0, tile - len(m_here) * len(n_here), -1)))
            done += len(k_index)
        m_index, k_index, n_index, previous = (
            np.concatenate(part).astype(np.int64) for part in zip(*rows, strict=True)
        )
        start = {"m": m_index * self.tile_m, "k": k_index * self.tile_k, "n": n_index * self.tile_n}
        size = {
            axis: np.minimum(getattr(self, f"tile_{axis}"), getattr(workload, axis) - start[axis]) for axis in "mkn"
        }
        return TileList(
            **{f"{axis}_start": start[axis] for axis in "mkn"},
            **{f"{axis}_size": size[axis] for axis in "mkn"},
            previous=previous,
        )

    def sim_mapping(self, workload: Workload) -> Mapping | None:
        """Return the `Mapping` of `tetrit.sim` with the same list of tiles, None if there is none."""
        m_tiles, _, n_tiles = self.counts(workload)
        order: Literal["mnk", "mkn"]
        rows_apart = self.tile_k < workload.k or self.group_n < n_tiles
        if self.group_m > 1 and m_tiles > 1 and rows_apart:
            return None
        if self.outer == "n" and m_tiles > 1 and self.group_n < n_tiles:
            return None
        if self.group_n == 1 or self.tile_k >= workload.k:
            order = "mnk"
        elif self.group_n >= n_tiles:
            order = "mkn"
        else:
            return None
        return Mapping(tile_m=self.tile_m, tile_k=self.tile_k, tile_n=self.tile_n, order=order)
