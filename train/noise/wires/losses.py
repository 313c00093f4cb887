"""What the wires of arrays leave of a layer's columns: the rule by which a column's cells share their losses."""

__all__ = ["Losses", "Wires"]

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tetrit.train.noise.cells import Both
from tetrit.train.noise.geometry import Geometry
from tetrit.train.noise.wires import _kernels

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Wires:
    """What wires make of a column's conductances g in levels, a pair's difference taken as one: ``share * g + rest``.

    The share is what wires leave of a cell's conductance, of two cells the mean (weighted so that the variance of their
    difference is right); a cell that is nearly open carries more than its own current, for there are ways around it:
    its share counts as 1. The rest makes the mean conductances exact.

    Attributes
    ----------
    share, rest : tuple of Tensor
        Of the outputs' columns, shape (groups, n_out, n_in), and of the references', (n_references, n_in).
    """

    share: Both
    rest: Both

    def scaled(self, scale: float) -> "Wires":
        """Return wires of which a scale of 0 leaves nothing and 1 all."""
        if scale == 1.0:
            return self
        a, b = self.share
        return Wires(
            share=(1.0 + scale * (a - 1.0), 1.0 + scale * (b - 1.0)),
            rest=(self.rest[0] * scale, self.rest[1] * scale),
        )


class Losses:
    """What wires leave of all columns of a layer, put together from arrays."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        own = geometry.groups, geometry.n_out, geometry.n_in
        lines = geometry.groups if geometry.n_references else 0, geometry.layout.col_arrays, geometry.n_in
        self.own = np.empty(own, np.float32), np.empty(own, np.float32)
        self.lines = np.empty(lines, np.float32), np.empty(lines, np.float32)

    def put(self, i: int, j: int, cells: Ints, now: Floats, effective: Floats, variance: Floats) -> None:
        """Take the cells of an array, shape (rows, cols): levels, conductances, and what wires leave of these."""
        geometry, layout = self.geometry, self.geometry.layout
        rows, outputs = layout.rows(i), layout.outputs(j)
        where = layout.columns(np.arange(outputs.stop - outputs.start)).reshape(
            -1, geometry.groups, 1 + geometry.paired
        )
        share, rest = (x[:, outputs, rows] for x in self.own)
        _kernels.wire_losses(cells, now, effective, variance, where.transpose(1, 0, 2), share, rest)
        if geometry.n_references:
            where = np.arange(*layout.references.indices(geometry.machine.cols)).reshape(-1, 1, 1)
            share, rest = (x[:, j : j + 1, rows] for x in self.lines)
            _kernels.wire_losses(cells, now, effective, variance, where, share, rest)

    def found(self, device: torch.device) -> Wires:
        """Return the losses as tensors."""
        a, b = (torch.from_numpy(x).to(device) for x in self.own)
        c, d = (torch.from_numpy(x.reshape(-1, self.geometry.n_in)).to(device) for x in self.lines)
        return Wires(share=(a, c), rest=(b, d))
