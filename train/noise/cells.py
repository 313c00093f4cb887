"""Every cell of a chip in tensor operations: the law of `tetrit.sim.crossbar.cells`, on any device, in float32."""

__all__ = ["Both", "CellRead", "Cells", "ChipSamples", "FreshSamples", "Samples", "looked_up"]

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tetrit import noise
from tetrit.hardware import Device
from tetrit.hardware.device import CHARGE, REFERENCE_K
from tetrit.sim.crossbar import cells as law
from tetrit.sim.crossbar.arrays import ARRAY
from tetrit.sim.crossbar.faults import HEALTHY, STUCK_OFF, STUCK_ON, fault_map
from tetrit.train.noise.geometry import Geometry

DEVICE, PROGRAM, CYCLE, DRIFT = law._DEVICE, law._PROGRAM, law._CYCLE, law._DRIFT
"""The quantities that are drawn, numbered as the simulator's keys are."""

_LEAST_RATIO = 1e-12  # of g / g_max, as in `tetrit.hardware.device`

Both = tuple[Tensor, Tensor]
"""Something of outputs' cells, shape (groups, polarities, n_out, n_in), and references', shape (n_references, n_in)."""


class Samples(Protocol):
    """Where a chip's random numbers come from."""

    def normals(self, quantity: int, attempt: int = 0) -> Both:
        """Return the standard normals of all cells for a quantity (and an attempt at programming)."""

    def faults(self) -> Both:
        """Return the fault map."""


class ChipSamples:
    """The numbers of the chip `seed`: those of the simulator's cells, with no output moved to a spare column."""

    def __init__(self, geometry: Geometry, seed: int, device: torch.device) -> None:
        self.geometry, self.seed, self.device = geometry, seed, device
        self._kept: dict[tuple[int, int], Both] = {}
        self._faults: Both | None = None

    def normals(self, quantity: int, attempt: int = 0) -> Both:
        """Return the normals, drawn once."""
        if (quantity, attempt) not in self._kept:
            numbers = (quantity, 0, attempt) if quantity in (PROGRAM, CYCLE) else (quantity,)
            self._kept[quantity, attempt] = self._gathered(
                lambda key, shape: np.asarray(noise.normals(noise.key(key, *numbers), math.prod(shape))).reshape(shape),
                torch.float32,
            )
        return self._kept[quantity, attempt]

    def faults(self) -> Both:
        """Return the fault map, drawn once."""
        if self._faults is None:
            machine = self.geometry.machine
            self._faults = self._gathered(
                lambda key, shape: fault_map(shape, stuck_on=machine.stuck_on, stuck_off=machine.stuck_off, key=key),
                torch.int8,
            )
        return self._faults

    def _gathered(self, draw, dtype: torch.dtype) -> Both:  # type: ignore[no-untyped-def]
        layout, g = self.geometry.layout, self.geometry
        shape = (g.machine.rows, g.machine.cols)
        own = np.zeros((g.n_in, g.n_out, g.machine.columns_per_output), np.float32)
        lines = np.zeros((g.n_in, g.groups if g.n_references else 0, layout.col_arrays), np.float32)
        for i, j in np.ndindex(layout.row_arrays, layout.col_arrays):
            rows, outputs = layout.rows(i), layout.outputs(j)
            values = draw(noise.key(self.seed, ARRAY, i, j), shape)[: rows.stop - rows.start]
            own[rows, outputs] = values[:, layout.columns(np.arange(outputs.stop - outputs.start))]
            lines[rows, :, j] = values[:, layout.references]
        split = own.reshape(g.n_in, g.n_out, g.groups, -1).transpose(2, 3, 1, 0)
        tensors = (np.ascontiguousarray(split), np.ascontiguousarray(lines.reshape(g.n_in, -1).T))
        a, b = (torch.from_numpy(values).to(self.device, dtype) for values in tensors)
        return a, b


class FreshSamples:
    """Numbers of a torch generator, other ones at every call."""

    def __init__(self, geometry: Geometry, generator: torch.Generator, device: torch.device) -> None:
        self.geometry, self.generator, self.device = geometry, generator, device

    def _shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        g = self.geometry
        polarities = g.machine.columns_per_output // g.groups
        return (g.groups, polarities, g.n_out, g.n_in), (g.n_references, g.n_in)

    def normals(self, quantity: int, attempt: int = 0) -> Both:
        """Draw normals."""
        a, b = (torch.randn(shape, generator=self.generator, device=self.device) for shape in self._shapes())
        return a, b

    def faults(self) -> Both:
        """Draw a fault map."""
        machine = self.geometry.machine
        a, b = (self._faults(shape, machine.stuck_on, machine.stuck_off) for shape in self._shapes())
        return a, b

    def _faults(self, shape: tuple[int, ...], on: float, off: float) -> Tensor:
        drawn = torch.rand(shape, generator=self.generator, device=self.device)
        return STUCK_ON * (drawn >= 1.0 - on).to(torch.int8) + STUCK_OFF * (drawn < off).to(torch.int8)


@dataclass(frozen=True, kw_only=True, eq=False)
class CellRead:
    """Cells when they are read.

    Attributes
    ----------
    levels : Tensor
        Conductances in levels, from 0 S.
    flicker, shot : Tensor or None
        Variances as in `tetrit.sim.crossbar.noise.CellNoise`.
    """

    levels: Tensor
    flicker: Tensor | None
    shot: Tensor | None


class Cells:
    """The cells of a chip.

    Parameters
    ----------
    geometry : Geometry
    samples : Samples
    device : torch.device
    """

    def __init__(self, geometry: Geometry, samples: Samples, device: torch.device) -> None:
        self.geometry, self.device = geometry, device
        self.samples: Samples = samples
        machine = geometry.machine
        low, high = machine.window
        share = np.arange(2**machine.bits_per_cell) / (2**machine.bits_per_cell - 1)
        targets = low * (1.0 - share) + high * share
        lines = (targets, machine.cell.program_sigma(targets), *machine.cell.drift_statistics(targets))
        self._tables = [torch.tensor(line, dtype=torch.float32, device=device) for line in lines]
        self._spread = [bool(line.any()) for line in lines]

    def read(self, level: Tensor) -> CellRead:
        """Return the cells of outputs with these levels, shape (groups, polarities, n_out, n_in)."""
        return self._read(level, 0)

    def read_references(self) -> CellRead:
        """Return the cells of the reference columns, shape (n_references, n_in)."""
        level = self.geometry.constant("reference_level", self.device)
        return self._read(level[:, None].expand(-1, self.geometry.n_in), 1)

    def _read(self, level: Tensor, which: int) -> CellRead:
        machine = self.geometry.machine
        cell, unit = machine.cell, machine.level_siemens
        target, sigma, mean, spread = (looked_up(table, level) for table in self._tables)
        faults = self.samples.faults()[which] if machine.stuck_on or machine.stuck_off else None
        programmed = self._stuck(self._programmed(cell, target, sigma, which), faults)
        g = programmed
        if machine.time_s > 0 and (self._spread[2] or self._spread[3]):
            exponent = (mean + spread * self.samples.normals(DRIFT)[which]).abs()
            g = self._stuck(g * torch.exp(-math.log1p(machine.time_s / cell.drift_start_s) * exponent), faults)
        g = self._heated(cell, g)
        flicker = None
        if cell.flicker is not None or type(cell).flicker_sigma is not Device.flicker_sigma:
            flicker = (self._flicker(cell, g, programmed) / unit).square()
        shot = 2 * CHARGE / (2 * machine.read_time_s) / unit**2 * g if cell.shot else None
        return CellRead(levels=g / unit, flicker=flicker, shot=shot)

    def _programmed(self, cell: Device, target: Tensor, sigma: Tensor, which: int) -> Tensor:
        draw = self.samples.normals
        made = self._factor(cell.device_spread, cell.device_distribution, DEVICE, 0, which)
        found, busy = None, None
        for attempt in range(cell.write_cycles):
            tried = target + sigma * draw(PROGRAM, attempt)[which] if self._spread[1] else target
            tried = tried * self._factor(cell.cycle_spread, cell.cycle_distribution, CYCLE, attempt, which) * made
            tried = tried.clamp_min(0.0)
            found = tried if busy is None or found is None else torch.where(busy, tried, found)
            if cell.write_tolerance_siemens is not None:
                missed = (found - target).abs() > cell.write_tolerance_siemens
                busy = missed if busy is None else busy & missed
        assert found is not None
        return found

    def _factor(self, spread: float, distribution: str, quantity: int, attempt: int, which: int) -> Tensor | float:
        if spread == 0:
            return 1.0
        z = spread * self.samples.normals(quantity, attempt)[which]
        return z.exp() if distribution == "lognormal" else 1.0 + z

    def _stuck(self, g: Tensor, faults: Tensor | None) -> Tensor:
        if faults is None:
            return g
        low, high = self.geometry.machine.window
        return torch.where(faults == HEALTHY, g, torch.where(faults == STUCK_ON, high, low))

    def _heated(self, cell: Device, g: Tensor) -> Tensor:
        kelvin = self.geometry.machine.temperature_k
        if type(cell).at_temperature is not Device.at_temperature:
            return _through_numpy(lambda x: cell.at_temperature(x, kelvin), g)
        return (g * (1.0 + cell.temperature_per_k * (kelvin - REFERENCE_K))).clamp_min(0.0)

    def _flicker(self, cell: Device, g: Tensor, programmed: Tensor) -> Tensor:
        machine = self.geometry.machine
        if type(cell).flicker_sigma is not Device.flicker_sigma:
            return _through_numpy(
                lambda x, y: cell.flicker_sigma(x, y, machine.time_s, machine.read_time_s), g, programmed
            )
        assert cell.flicker is not None
        coefficient, exponent, greatest = cell.flicker
        ratio = (programmed / cell.g_max_siemens).clamp_min(_LEAST_RATIO)
        quality = (coefficient * ratio**-exponent).clamp_max(greatest)
        octaves = math.log(
            max((machine.time_s + cell.drift_start_s + machine.read_time_s) / (2 * machine.read_time_s), 1.0)
        )
        return g * quality * math.sqrt(octaves)


def looked_up(table: Tensor, at: Tensor) -> Tensor:
    """Return ``table[..., at]``, a line of the table after another: a fourth of the time that the index takes."""
    lines = [line.index_select(0, at.reshape(-1)) for line in table.reshape(-1, table.shape[-1])]
    whole = lines[0] if len(lines) == 1 else torch.stack(lines)
    return whole.view(*table.shape[:-1], *at.shape)


def _through_numpy(method, *tensors: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    """Call a method of a device of one's own, which takes arrays; it waits for the device."""
    found = method(*(t.double().cpu().numpy() for t in tensors))
    return torch.as_tensor(np.asarray(found), dtype=torch.float32, device=tensors[0].device)
