"""What a layer renews now and then while it trains: losses in wires, thermal noise, drift compensation, converters.

All of it follows from the integer weights, as cells are on average, and changes slowly with them. Wires are solved on
the CPU, array by array.
"""

__all__ = ["Converters", "Standing", "converters", "standing", "volts"]

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tetrit import noise
from tetrit.hardware import Crossbar
from tetrit.parallel import run_each
from tetrit.sim.crossbar import chain, readout
from tetrit.sim.crossbar.converters import adc_errors, dac_table
from tetrit.sim.crossbar.mapping import reference_levels
from tetrit.sim.crossbar.wires import effective_conductance
from tetrit.train.noise.geometry import Geometry
from tetrit.train.noise.statistics import level_statistics
from tetrit.train.noise.wires import Losses, Wires, array_levels, thermal_sums

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_DAC, _ADC = chain._DAC, readout._ADC


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
    base = machine.window[0] / machine.level_siemens
    mean, fresh = base + statistics.mean, base + statistics.fresh
    level_of = np.ascontiguousarray(geometry.level_of.reshape(machine.columns_per_output, -1))
    wires = Losses(geometry) if machine.has_wires else None
    thermal = np.zeros((len(geometry.parts), geometry.n_columns))
    compensation = np.ones((len(geometry.parts), layout.col_arrays))

    def array(number: int) -> None:
        """Work out what one array has."""
        i, j = divmod(number, layout.col_arrays)
        rows, outputs = layout.rows(i), layout.outputs(j)
        n_rows, n_outputs = rows.stop - rows.start, outputs.stop - outputs.start
        cells = np.zeros((machine.rows, machine.cols), np.int64)
        where = layout.columns(np.arange(n_outputs))
        array_levels(integers[outputs, rows], geometry.integers[0], level_of, where.reshape(n_outputs, -1), cells)
        if geometry.n_references:
            cells[:n_rows, layout.references] = reference_levels(machine)
        now = mean[cells]
        effective = _through_wires(machine, now, method) if machine.has_wires else now
        if wires is not None:
            wires.put(i, j, cells, now, effective, statistics.variance)
        sums = np.zeros(machine.cols)
        thermal_sums(cells, now, effective, statistics.thermal, sums)
        thermal[i, geometry.array_of == j] = _columns(geometry, sums, where)
        if compensates:
            before = fresh[cells]
            if machine.has_wires:
                before = _through_wires(machine, before, method)
            compensation[i, j] = before[:n_rows].sum() / effective[:n_rows].sum()

    n_arrays = layout.row_arrays * layout.col_arrays
    if method == "lumped" and torch.get_num_threads() > 1:
        run_each(array, n_arrays)
    else:  # an exact solution has threads of its own
        for number in range(n_arrays):
            array(number)
    return Standing(
        wires=None if wires is None else wires.found(device),
        thermal=_tensor(thermal, device) if statistics.thermal.any() else None,
        compensation=_tensor(compensation[:, geometry.array_of], device) if compensates else None,
    )


def _through_wires(machine: Crossbar, now: Floats, method: str) -> Floats:
    """Return what wires leave of conductances in levels."""
    unit = machine.level_siemens
    left = effective_conductance(
        now * unit,
        machine.r_row_ohm,
        machine.r_col_ohm,
        machine.r_driver_ohm,
        machine.r_sense_ohm,
        drive=machine.drive,
        method=method,
    )
    left /= unit
    return left


def _columns(geometry: Geometry, sums: Floats, where: Ints) -> Floats:
    """Return sums over an array's physical columns as those over columns of the layer, in the order of these."""
    own = sums[where].reshape(len(where), geometry.groups, -1).sum(axis=2).T.ravel()
    return np.concatenate([own, sums[geometry.layout.references]])


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
