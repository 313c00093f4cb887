"""What a layer renews now and then while it trains: losses in wires, thermal noise, drift compensation, converters.

All of it follows from the integer weights, as cells are on average, and changes slowly with them. Wires are solved on
the CPU, array by array.
"""

__all__ = ["Converters", "Standing", "Wires", "converters", "standing", "volts"]

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tetrit import noise
from tetrit.hardware import Crossbar
from tetrit.sim.crossbar import chain, readout
from tetrit.sim.crossbar.converters import adc_errors, dac_table
from tetrit.sim.crossbar.mapping import levels, reference_levels
from tetrit.sim.crossbar.wires import effective_conductance
from tetrit.train.noise.cells import Both
from tetrit.train.noise.geometry import Geometry
from tetrit.train.noise.statistics import level_statistics

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_DAC, _ADC = chain._DAC, readout._ADC


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Standing:
    """What stays between two renewals.

    Attributes
    ----------
    wires : Wires or None
    thermal : Tensor, shape (parts, n_columns), or None
        See `tetrit.sim.crossbar.noise.CellNoise`, summed over rows.
    compensation : Tensor, shape (parts, n_columns), or None
    """

    wires: Wires | None
    thermal: Tensor | None
    compensation: Tensor | None

    def wires_at(self, scale: float) -> Wires | None:
        """Return the wires for a scale of the noise."""
        return None if self.wires is None else self.wires.scaled(scale)


def standing(geometry: Geometry, integers: Ints | None, device: torch.device, method: str = "exact") -> Standing:
    """Work out what follows from integer weights, shape (n_out, n_in).

    Wires are solved for the cells' mean conductances, by a `method` of `effective_conductance`; what they make of
    others is that to first order.
    """
    machine, layout = geometry.machine, geometry.layout
    statistics = level_statistics(machine)
    compensates = machine.drift_compensation == "global" and machine.time_s > 0
    if not (machine.has_wires or statistics.thermal.any() or compensates):
        return Standing(wires=None, thermal=None, compensation=None)
    assert integers is not None
    low, unit = machine.window[0], machine.level_siemens
    each = levels(machine, integers.T)
    ideal, found, shares, variances = (_Gathered(geometry) for _ in range(4))
    thermal = np.zeros((len(geometry.parts), geometry.n_columns))
    compensation = np.ones((len(geometry.parts), layout.col_arrays))
    for i, j in np.ndindex(layout.row_arrays, layout.col_arrays):
        rows, outputs = layout.rows(i), layout.outputs(j)
        n_rows, n_outputs = rows.stop - rows.start, outputs.stop - outputs.start
        cells = np.zeros((machine.rows, machine.cols), np.int64)
        where = layout.columns(np.arange(n_outputs))
        cells[:n_rows, where.ravel()] = each[rows, outputs].reshape(n_rows, -1)
        if geometry.n_references:
            cells[:n_rows, layout.references] = reference_levels(machine)
        now = low / unit + statistics.mean[cells]
        effective, share = now, np.ones(now.shape)
        if machine.has_wires:
            effective = _through_wires(machine, now * unit, method) / unit
            share = np.minimum(np.divide(effective, now, out=share, where=now > 0), 1.0)
            for gathered, values in ((ideal, now), (found, effective), (shares, share)):
                gathered.put(i, j, values)
            variances.put(i, j, statistics.variance[cells])
        sums = (statistics.thermal[cells] * share**2).sum(axis=0)
        thermal[i, geometry.array_of == j] = _columns(geometry, sums, where)
        if compensates:
            before = low / unit + statistics.fresh[cells]
            if machine.has_wires:
                before = _through_wires(machine, before * unit, method) / unit
            compensation[i, j] = before[:n_rows].sum() / effective[:n_rows].sum()
    wires = _wires(geometry, ideal, found, shares, variances, device) if machine.has_wires else None
    return Standing(
        wires=wires,
        thermal=_tensor(thermal, device) if statistics.thermal.any() else None,
        compensation=_tensor(compensation[:, geometry.array_of], device) if compensates else None,
    )


def _wires(
    geometry: Geometry,
    ideal: "_Gathered",
    found: "_Gathered",
    shares: "_Gathered",
    variances: "_Gathered",
    device: torch.device,
) -> Wires:
    """Put cells of pairs together."""
    share, variance, now, effective = (each.columns() for each in (shares, variances, ideal, found))
    spread, weight = variance.sum(1), now.sum(1)
    by_spread = np.sqrt(_mean(share**2, variance, spread))
    own = np.where(spread > 0, by_spread, _mean(share, now, weight))
    sign = np.array([1.0, -1.0])[: share.shape[1]] if geometry.paired else np.ones(1)
    net, wanted = (np.einsum("gpok,p->gok", values, sign) for values in (now, effective))
    lines = shares.references(), found.references() - shares.references() * ideal.references()
    return Wires(
        share=(_tensor(own, device), _tensor(lines[0], device)),
        rest=(_tensor(wanted - own * net, device), _tensor(lines[1], device)),
    )


def _mean(values: Floats, weights: Floats, total: Floats) -> Floats:
    """Return means over the axis of polarities, 1 where nothing weighs."""
    sums = (values * weights).sum(1)
    return np.divide(sums, total, out=np.ones_like(sums), where=total > 0)


def _through_wires(machine: Crossbar, g_siemens: Floats, method: str) -> Floats:
    return effective_conductance(
        g_siemens,
        machine.r_row_ohm,
        machine.r_col_ohm,
        machine.r_driver_ohm,
        machine.r_sense_ohm,
        drive=machine.drive,
        method=method,
    )


def _columns(geometry: Geometry, sums: Floats, where: Ints) -> Floats:
    """Return sums over an array's physical columns as those over columns of the layer, in the order of these."""
    own = sums[where].reshape(len(where), geometry.groups, -1).sum(axis=2).T.ravel()
    return np.concatenate([own, sums[geometry.layout.references]])


class _Gathered:
    """A number for every cell of a layer, put together from arrays."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        lines = geometry.groups if geometry.n_references else 0
        self.own = np.zeros((geometry.n_in, geometry.n_out, geometry.machine.columns_per_output))
        self.lines = np.zeros((geometry.n_in, lines, geometry.layout.col_arrays))

    def put(self, i: int, j: int, cells: Floats) -> None:
        """Take the cells of an array, shape (rows, cols)."""
        layout = self.geometry.layout
        rows, outputs = layout.rows(i), layout.outputs(j)
        n_rows = rows.stop - rows.start
        self.own[rows, outputs] = cells[:n_rows][:, layout.columns(np.arange(outputs.stop - outputs.start))]
        self.lines[rows, :, j] = cells[:n_rows, layout.references]

    def columns(self) -> Floats:
        """Return those of outputs, shape (groups, polarities, n_out, n_in)."""
        g = self.geometry
        return self.own.reshape(g.n_in, g.n_out, g.groups, -1).transpose(2, 3, 1, 0)

    def references(self) -> Floats:
        """Return those of reference columns, shape (n_references, n_in)."""
        return self.lines.reshape(self.geometry.n_in, -1).T


def _tensor(values: Floats, device: torch.device) -> Tensor:
    return torch.tensor(np.ascontiguousarray(values), dtype=torch.float32, device=device)


@dataclass(frozen=True, kw_only=True, eq=False)
class Converters:
    """The converters of a chip.

    Attributes
    ----------
    gain, offset : Tensor, shape (parts, n_converted)
        Relative gain, and offset in steps with the half that rounds.
    thresholds : Tensor, shape (parts, n_converted, codes), or None
        See `tetrit.sim.crossbar.converters.AdcErrors`.
    inputs : tuple of Tensor or None
        By input digit, what a row puts out for each value from the lowest on: shape (n_in, values); None where that is
        the value itself.
    kept : dict
        What `compiled` works out of them.
    """

    gain: Tensor
    offset: Tensor
    thresholds: Tensor | None
    inputs: tuple[Tensor | None, ...]
    kept: dict[str, Any] = field(default_factory=dict)


def converters(
    geometry: Geometry, seed: int, device: torch.device, places: dict[tuple[int, int], Ints] | None = None
) -> Converters:
    """Draw the converters of the chip `seed`; `places` says where outputs lie that are not in order."""
    n = geometry.n_converted
    shape = (len(geometry.parts), n)
    gain, offset = np.ones(shape), np.zeros(shape)
    thresholds: Floats | None = None
    machine, layout = geometry.machine, geometry.layout
    adc = machine.adc
    uneven = bool(adc.dnl_sigma_lsb or adc.inl_lsb or adc.capacitor_sigma)
    if machine.adc_bits is not None and (uneven or adc.gain_sigma or adc.offset_sigma_lsb):
        lines = 0 if geometry.merged_references else machine.n_slices if geometry.n_references else 0
        own = geometry.groups * geometry.n_out
        each = -(-(layout.places * geometry.groups + lines) // adc.columns_per_adc)
        if uneven:
            thresholds = np.zeros((*shape, 2**machine.adc_bits))
        for i, j in np.ndindex(layout.row_arrays, layout.col_arrays):
            drawn = adc_errors(adc, machine.adc_bits, each, key=noise.key(seed, _ADC, i, j))
            outputs = np.arange(geometry.n_out)[layout.outputs(j)]
            place = np.arange(len(outputs)) if places is None else places[i, j]
            numbers, columns = [], []
            for g in range(geometry.groups):
                numbers.append(place * geometry.groups + g)
                columns.append(g * geometry.n_out + outputs)
            if lines:
                numbers.append(layout.places * geometry.groups + np.arange(lines))
                columns.append(own + np.arange(lines) * layout.col_arrays + j)
            number, column = np.concatenate(numbers) // adc.columns_per_adc, np.concatenate(columns)
            gain[i, column], offset[i, column] = drawn.gain[number], drawn.offset[number]
            if thresholds is not None:
                assert drawn.thresholds is not None
                thresholds[i, column] = drawn.thresholds[number]
    return Converters(
        gain=_tensor(gain, device),
        offset=_tensor(offset + 0.5, device),
        thresholds=None if thresholds is None else _tensor(thresholds, device),
        inputs=_inputs(geometry, seed, device),
    )


def _inputs(geometry: Geometry, seed: int, device: torch.device) -> tuple[Tensor | None, ...]:
    machine, layout = geometry.machine, geometry.layout
    found: list[Tensor | None] = []
    last = len(layout.digit_reach) - 1
    for digit, reach in enumerate(layout.digit_reach):
        low = -reach if digit == last and layout.signed else 0
        high = reach - 1 if low < 0 else reach
        rows = []
        for i, part in enumerate(geometry.parts):
            n = part.stop - part.start
            table = dac_table(machine.dac, low, high, n, key=noise.key(seed, _DAC, i))
            bend = machine.cell.sinh_volt
            if bend is not None:  # across the cell there is less where wires take some: that is left out
                volt = geometry.step_volts(digit)
                plain = np.tile(np.arange(low, high + 1, dtype=np.float64), (n, 1))
                table = bend / volt * np.sinh((plain if table is None else table) * (volt / bend))
            rows.append(table)
        whole = [row for row in rows if row is not None]
        found.append(_tensor(np.concatenate(whole), device) if whole else None)
    return tuple(found)


def lowest(geometry: Geometry, digit: int) -> int:
    """Return the least value of an input digit."""
    last = digit == len(geometry.layout.digit_reach) - 1
    return -geometry.layout.digit_reach[digit] if last and geometry.layout.signed else 0


def volts(geometry: Geometry, tables: tuple[Tensor | None, ...], x: Tensor, digit: int) -> Tensor:
    """Return what the rows put out for an input digit of integers `x`, shape (n, n_in), in steps."""
    v = geometry.input_digit(x, digit)
    table = tables[digit]
    if table is None:
        return v
    unknown = v.isnan()
    at = (v.masked_fill(unknown, 0.0) - lowest(geometry, digit)).long()
    found = torch.gather(table.expand(len(v), -1, -1), 2, at[..., None])[..., 0]
    return found.masked_fill(unknown, torch.nan)
