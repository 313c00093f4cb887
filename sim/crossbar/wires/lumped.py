"""The wires of a crossbar approximately: every line for itself, and what lines do to each other on a coarser grid."""

__all__ = ["lumped_conductance"]

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tetrit.sim.crossbar.wires import _kernels

Floats = npt.NDArray[np.float64]

_COARSE = 16
"""Rows and columns of the coarser grid at most; arrays of up to as many are solved exactly."""


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What `effective_conductance` takes beside the cells: ohms, and whether rows are driven at both ends."""

    r_row: float
    r_col: float
    r_driver: float
    r_sense: float
    two_sided: bool

    def lumped(self, rows: int, cols: int) -> "Wiring":
        """Return the wiring of blocks of `rows` x `cols` cells: as many wires side by side, each as much longer."""
        return Wiring(
            r_row=self.r_row * cols / rows,
            r_col=self.r_col * rows / cols,
            r_driver=self.r_driver / rows,
            r_sense=self.r_sense / cols,
            two_sided=self.two_sided,
        )


def lumped_conductance(g: Floats, wiring: Wiring, exact: Callable[[Floats, Wiring], Floats]) -> Floats:
    """Return about what `exact` does, in time proportional to the cells.

    Parameters
    ----------
    g : array of float64, shape (rows, cols)
        Conductances of the cells in siemens, none negative.
    wiring : Wiring
    exact : callable
        Solves the coarser grid.
    """
    by_rows, by_cols = (-(-n // _COARSE) for n in g.shape)
    if by_rows == by_cols == 1:
        return exact(g, wiring)
    coarse, thick = _lumps(g, by_rows, by_cols), wiring.lumped(by_rows, by_cols)
    shapes = (by_rows, g.shape[0]), (by_cols, g.shape[1])
    alone = _between(_each_line(coarse, thick), *shapes)
    together = _between(exact(coarse, thick), *shapes)
    found = _each_line(g, wiring)
    return found * np.divide(together, alone, out=np.ones_like(found), where=alone > 0.0)


def _each_line(g: Floats, wiring: Wiring) -> Floats:
    """Return effective conductances where a row's voltages see the cells only.

    A cell passes on its share of a row's voltage, what its column's wire lets through, and its own conductance in
    series with the resistances at which it sees its row and its column; the other cells load both lines.
    """
    driven, by_row = _kernels.lines(
        np.ascontiguousarray(g.T), wiring.r_row, wiring.r_row + wiring.r_driver, wiring.two_sided
    )
    passed, by_col = _kernels.lines(np.ascontiguousarray(g[::-1]), wiring.r_col, wiring.r_col + wiring.r_sense, False)
    found: Floats = g * driven.T * passed[::-1] / (1.0 + g * (by_row.T + by_col[::-1]))
    return found


def _lumps(g: Floats, by_rows: int, by_cols: int) -> Floats:
    """Return sums of conductances over blocks, which begin where currents leave; the last ones may lack cells."""
    sums = np.add.reduceat(g[::-1], np.arange(0, g.shape[0], by_rows), axis=0)[::-1]
    return np.ascontiguousarray(np.add.reduceat(sums, np.arange(0, g.shape[1], by_cols), axis=1))


def _between(lumps: Floats, rows: tuple[int, int], cols: tuple[int, int]) -> Floats:
    """Return values at the cells, linearly between the middles of blocks and those of the outer ones beyond."""
    along_rows = _shares(*rows, lumps.shape[0])[::-1, ::-1]
    return along_rows @ lumps @ _shares(*cols, lumps.shape[1]).T


def _shares(width: int, n: int, blocks: int) -> Floats:
    """Return the shares of blocks in the values at cells, shape (n, blocks)."""
    at = np.clip((np.arange(n) + 0.5) / width - 0.5, 0.0, blocks - 1.0)
    first = np.minimum(at.astype(np.int64), max(blocks - 2, 0))
    shares = np.zeros((n, blocks))
    cells = np.arange(n)
    shares[cells, first] = 1.0 - (at - first)
    if blocks > 1:
        shares[cells, first + 1] = at - first
    return shares
