"""The matrices that a layer's arrays multiply by, in tensor operations: drawn by statistics, cell by cell, or golden.

Columns are those of `geometry`. Conductances count in levels; what the columns of an unused window would carry, its
lower end, is taken off, as `tetrit.sim.crossbar.arrays` does.
"""

__all__ = ["GoldenPanel", "Panel", "Tables", "by_cells", "by_statistics", "golden", "with_references"]

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tetrit.hardware import Crossbar
from tetrit.sim.crossbar.arrays import Arrays
from tetrit.sim.crossbar.mapping import levels
from tetrit.train.noise.cells import Cells, looked_up
from tetrit.train.noise.geometry import Geometry
from tetrit.train.noise.statistics import LevelStatistics, level_statistics
from tetrit.train.noise.wires import Wires

Ints = npt.NDArray[np.int64]
Normals = Callable[[int, int], Tensor]
"""Standard normals for so many columns and inputs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """What a layer's columns multiply by, and their noise, as in `tetrit.sim.crossbar.arrays.Panel`.

    Attributes
    ----------
    weights : Tensor, shape (n_columns, n_in)
    flicker, shot : Tensor, shape (n_columns, n_in), or None
    """

    weights: Tensor
    flicker: Tensor | None
    shot: Tensor | None

    def of_part(self, geometry: Geometry, i: int) -> Tensor:
        """Return the conductances of a part of the inputs, shape (n_columns, n_inputs)."""
        return self.weights[:, geometry.parts[i]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """Statistics of cells by level and by integer weight, as float32 tensors on a device.

    Attributes
    ----------
    level : dict of str to Tensor, shape (levels,)
        The fields of `LevelStatistics`; ``mean`` and ``fresh`` count from 0 S.
    weight : dict of str to Tensor, shape (groups, polarities, integers)
        The same by integer weight, from the format's smallest on.
    net : tuple of Tensor, shape (groups, integers)
        Mean, standard deviation and variance of 1/f noise of a column's cells, a pair's taken together.
    base : float
        The window's lower end, in levels.
    low : int
        The format's smallest integer.
    """

    level: dict[str, Tensor]
    weight: dict[str, Tensor]
    net: tuple[Tensor, Tensor, Tensor]
    base: float
    low: int

    @classmethod
    def of(cls, geometry: Geometry, device: torch.device, scale: float = 1.0) -> "Tables":
        """Return the tables of a machine, with cells that are perfect for a scale of 0 and its own for 1."""
        machine = geometry.machine
        found = _scaled(level_statistics(machine), scale)
        base = machine.window[0] / machine.level_siemens
        level, weight = {}, {}
        for field in fields(LevelStatistics):
            values = found[field.name] + (base if field.name in ("mean", "fresh") else 0.0)
            level[field.name] = torch.tensor(values, dtype=torch.float32, device=device)
            weight[field.name] = torch.tensor(values[geometry.level_of], dtype=torch.float32, device=device)
        mean, variance, flicker = (weight[name] for name in ("mean", "variance", "flicker"))
        net = mean[:, 0] - mean[:, 1] if geometry.paired else mean[:, 0]
        return cls(
            level=level,
            weight=weight,
            net=(net.contiguous(), variance.sum(1).sqrt(), flicker.sum(1)),
            base=base,
            low=geometry.integers[0],
        )

    def index(self, integers: Tensor) -> Tensor:
        """Return where integer weights stand in the tables."""
        last = next(iter(self.weight.values())).shape[-1] - 1
        return (integers - self.low).clamp(0, last).long()


def _scaled(found: LevelStatistics, scale: float) -> dict[str, npt.NDArray[np.float64]]:
    exact = np.arange(len(found.mean), dtype=np.float64)
    values = {name: getattr(found, name) for name in ("flicker", "shot", "thermal")}
    values["variance"] = found.variance * scale**2
    values |= {name: exact + scale * (getattr(found, name) - exact) for name in ("mean", "fresh")}
    return values


def by_statistics(
    geometry: Geometry,
    tables: Tables,
    integers: Tensor,
    wires: Wires | None,
    normals: Normals,
    *,
    shot: bool,
    flicker: bool,
) -> Panel:
    """Draw conductances as normals of the cells' mean and variance; a pair's difference takes one normal.

    Parameters
    ----------
    geometry : Geometry
    tables : Tables
    integers : Tensor, shape (n_out, n_in)
        Integer weights.
    wires : Wires or None
    normals : callable
    flicker, shot : bool
        Whether there is such noise.
    """
    n_in = integers.shape[1]
    at = tables.index(integers)
    mean, sigma, quiet = (looked_up(values, at) for values in tables.net)
    z = normals(geometry.groups * geometry.n_out, n_in).reshape(mean.shape)
    weights = mean + sigma * z
    noises = {
        "flicker": quiet if flicker else None,
        "shot": looked_up(tables.weight["shot"].sum(1), at) if shot else None,
    }
    if wires is not None:
        share = wires.share[0]
        weights = weights * share + wires.rest[0]
        noises = {name: None if v is None else v * share.square() for name, v in noises.items()}
    if not geometry.paired:
        weights = weights - tables.base
    lines = {name: None if v is None else v.reshape(-1, n_in) for name, v in noises.items()}
    found = Panel(weights=weights.reshape(-1, n_in), flicker=lines["flicker"], shot=lines["shot"])
    return with_references(geometry, tables, found, wires, normals)


def with_references(geometry: Geometry, tables: Tables, panel: Panel, wires: Wires | None, normals: Normals) -> Panel:
    """Return a panel of the outputs' columns with the reference columns after them, drawn by statistics."""
    if not geometry.n_references:
        return panel
    n_in = panel.weights.shape[1]
    share, rest = (1.0, 0.0) if wires is None else (wires.share[1], wires.rest[1])
    level = geometry.constant("reference_level", panel.weights.device)
    lines = {name: values[level, None].expand(-1, n_in) for name, values in tables.level.items()}
    spread = lines["variance"].sqrt() * normals(geometry.n_references, n_in)
    weights = (lines["mean"] + spread) * share + rest - tables.base
    noises = {}
    for name in ("flicker", "shot"):
        own = getattr(panel, name)
        noises[name] = None if own is None else torch.cat([own, lines[name] * share * share])
    return Panel(weights=torch.cat([panel.weights, weights]), **noises)


def by_cells(geometry: Geometry, cells: Cells, integers: Tensor, wires: Wires | None, scale: float = 1.0) -> Panel:
    """Realise every cell of a chip: programming, spread, faults and drift, from the chip's own numbers.

    Parameters
    ----------
    geometry, integers, wires
        As in `by_statistics`.
    cells : Cells
        The chip.
    scale : float
        Of the deviations of conductances from perfect ones.
    """
    base = geometry.machine.window[0] / geometry.machine.level_siemens
    n_in = integers.shape[1]
    table = geometry.constant("level_of", integers.device)
    at = (integers - geometry.integers[0]).clamp(0, table.shape[-1] - 1).long()
    level = looked_up(table, at)
    found = cells.read(level)
    own = found.levels
    if scale != 1.0:
        ideal = level + base
        own = ideal + scale * (own - ideal)
    noises = {name: v for name, v in (("flicker", found.flicker), ("shot", found.shot)) if v is not None}
    weights = own[:, 0] - own[:, 1] if geometry.paired else own[:, 0]
    noises = {name: values.sum(1) for name, values in noises.items()}
    if wires is not None:
        weights = weights * wires.share[0] + wires.rest[0]
        noises = {name: values * wires.share[0].square() for name, values in noises.items()}
    if not geometry.paired:
        weights = weights - base
    weights = weights.reshape(-1, n_in)
    noises = {name: values.reshape(-1, n_in) for name, values in noises.items()}
    if geometry.n_references:
        lines = cells.read_references()
        lines_levels = lines.levels
        if scale != 1.0:
            ideal = geometry.constant("reference_level", integers.device)[:, None] + base
            lines_levels = ideal + scale * (lines_levels - ideal)
        share, rest = (1.0, 0.0) if wires is None else (wires.share[1], wires.rest[1])
        weights = torch.cat([weights, lines_levels * share + rest - base])
        for name, values in noises.items():
            noises[name] = torch.cat([values, getattr(lines, name) * (share * share)])
    return Panel(
        weights=weights.float(),
        flicker=noises["flicker"].float() if "flicker" in noises else None,
        shot=noises["shot"].float() if "shot" in noises else None,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class GoldenPanel:
    """A chip as the simulator programs it, for one matrix of weights.

    Attributes
    ----------
    panel : Panel
    thermal : Tensor, shape (parts, n_columns), or None
    compensation : Tensor, shape (parts, n_columns)
    places : dict
        By array, where each output lies.
    """

    panel: Panel
    thermal: Tensor | None
    compensation: Tensor
    places: dict[tuple[int, int], Ints]


def golden(geometry: Geometry, machine: Crossbar, integers: Ints, seed: int, device: torch.device) -> GoldenPanel:
    """Program the chip `seed` with `tetrit.sim.crossbar`: wires exact, spare columns used.

    Parameters
    ----------
    geometry : Geometry
    machine : Crossbar
    integers : array of int64, shape (n_out, n_in)
    seed : int
    device : torch.device
    """
    arrays = Arrays(geometry.layout, levels(machine, integers.T), seed=seed)
    columns = np.concatenate([g * arrays.width + np.arange(geometry.n_out) for g in range(geometry.groups)])
    taken = np.concatenate([columns, arrays.groups * arrays.width + np.arange(geometry.n_references)])
    found = [arrays.panel(i, machine.time_s) for i in range(len(geometry.parts))]

    def tensor(name: str) -> Tensor | None:
        """Join what the rows of arrays gave: along the inputs, or as lines; zeros where a row has no such noise."""
        parts = [getattr(panel, name) for panel in found]
        if all(part is None for part in parts):
            return None
        shapes = [panel.weights.shape if name != "thermal" else panel.weights.shape[1:] for panel in found]
        whole = [np.zeros(s) if p is None else p for s, p in zip(shapes, parts, strict=True)]
        joined = np.concatenate(whole) if whole[0].ndim == 2 else np.stack(whole)
        return torch.tensor(np.ascontiguousarray(joined[:, taken].T), dtype=torch.float32, device=device)

    weights, flicker, shot, thermal = (tensor(name) for name in ("weights", "flicker", "shot", "thermal"))
    assert weights is not None
    compensation = np.stack([panel.compensation[geometry.array_of] for panel in found])
    return GoldenPanel(
        panel=Panel(weights=weights, flicker=flicker, shot=shot),
        thermal=None if thermal is None else thermal.T,
        compensation=torch.tensor(compensation, dtype=torch.float32, device=device),
        places=arrays.places,
    )
