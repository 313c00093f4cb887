"""The wires of a crossbar approximately: every line for itself, and what lines do to each other on a coarser grid."""

__all__ = ["lumped_conductance"]

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tetrit.sim.crossbar.wires import _kernels

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

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
    rows = _middles(by_rows, g.shape[0], coarse.shape[0])
    cols = _middles(by_cols, g.shape[1], coarse.shape[1])
    together, alone = (_along(lumps, *cols) for lumps in (exact(coarse, thick), _each_line(coarse, thick)))
    found = _each_line(g, wiring)
    _kernels.corrected(*rows, together, alone, found)
    return found


def _each_line(g: Floats, wiring: Wiring) -> Floats:
    """Return effective conductances where a row's voltages see the cells only, see `_kernels.each_line`."""
    found = np.empty_like(g)
    rows, cols = (wiring.r_row, wiring.r_row + wiring.r_driver), (wiring.r_col, wiring.r_col + wiring.r_sense)
    _kernels.each_line(g, rows, cols, wiring.two_sided, found)
    return found


def _lumps(g: Floats, by_rows: int, by_cols: int) -> Floats:
    """Return sums of conductances over blocks, which begin where currents leave; the last ones may lack cells."""
    sums = np.add.reduceat(g[::-1], np.arange(0, g.shape[0], by_rows), axis=0)[::-1]
    return np.ascontiguousarray(np.add.reduceat(sums, np.arange(0, g.shape[1], by_cols), axis=1))


def _middles(width: int, n: int, blocks: int) -> tuple[Ints, Floats]:
    """Return where each of `n` lines lies between the middles of blocks of `width`: after which, and how far.

    Lines beyond the middles of the outer blocks lie at these.
    """
    at = np.clip((np.arange(n) + 0.5) / width - 0.5, 0.0, blocks - 1.0)
    first = np.minimum(at.astype(np.int64), max(blocks - 2, 0))
    return first, at - first


def _along(lumps: Floats, first: Ints, share: Floats) -> Floats:
    """Return values at all columns, linearly between those of blocks."""
    after = np.minimum(first + 1, lumps.shape[1] - 1)
    return lumps[:, first] * (1.0 - share) + lumps[:, after] * share
