"""The arrays of a chip: cells programmed with a weight matrix, and the matrices that they multiply by at a time.

Arrays side by side, with the same inputs, make one *panel*: their columns form one matrix, so that a batch takes one
product a panel and input digit. A panel's columns: for each group (digit and polarity of the weights) the outputs,
filled up to a multiple of 64; then the reference columns of all arrays, again filled up.
"""

__all__ = ["ARRAY", "Arrays", "Panel", "columns_of", "fault_grid", "padded"]

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import noise
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar
from tetrit.sim.crossbar.cells import Cells, drift_factor
from tetrit.sim.crossbar.faults import assign_columns, checked_faults, fault_map
from tetrit.sim.crossbar.mapping import Layout, targets
from tetrit.sim.crossbar.noise import CellNoise, cell_noise
from tetrit.sim.crossbar.wires import effective_conductance

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ARRAY = 1
"""Of the numbers that make a key: what belongs to the cells of an array. Others are in `engine`."""

_SNAP = 1e-9  # of a level: what rounding leaves of the conductance of an exact level


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """The matrix of arrays with the same inputs.

    Attributes
    ----------
    inputs : slice
    weights : array of float64, shape (n_inputs, n_columns)
        In levels.
    flicker, shot : array of float64, shape (n_inputs, n_columns), or None
    thermal : array of float64, shape (n_columns,), or None
        See `CellNoise`.
    compensation : array of float64, shape (col_arrays,)
        Factor of drift compensation.
    row_siemens : array of float64, shape (n_inputs,)
        Sum of each row's conductances, as seen through the wires: what its driver feeds.
    """

    inputs: slice
    weights: Floats
    flicker: Floats | None
    shot: Floats | None
    thermal: Floats | None
    compensation: Floats
    row_siemens: Floats


def padded(n: int) -> int:
    """Return `n` rounded up to a multiple of 64."""
    return -(-n // 64) * 64


def groups_of(layout: Layout) -> int:
    """Return the groups of columns that are converted."""
    return layout.machine.n_slices * (layout.polarities if layout.machine.readout == "digital" else 1)


def columns_of(layout: Layout) -> int:
    """Return the columns of a panel."""
    references = layout.machine.n_slices * layout.col_arrays if layout.machine.mapping == "offset" else 0
    return groups_of(layout) * padded(layout.n_out) + padded(references)


class Arrays:
    """All arrays that hold a weight matrix.

    Parameters
    ----------
    layout : Layout
    levels : array of int64, shape (n_in, n_out, columns_per_output)
    seed : int
        Of the chip.
    faults : array of int, shape (row_arrays, col_arrays, rows, cols), optional
        0 healthy, 1 stuck off, 2 stuck on; by default drawn as the machine says. Where there is one array, its two axes
        may be left out.
    generation : int
        How often the chip was programmed before.
    """

    def __init__(
        self, layout: Layout, levels: Ints, *, seed: int, faults: npt.ArrayLike | None = None, generation: int = 0
    ) -> None:
        self.layout = layout
        self.machine: Crossbar = layout.machine
        grid = (layout.row_arrays, layout.col_arrays)
        given = None if faults is None else fault_grid(faults, grid, (self.machine.rows, self.machine.cols))
        self.groups, self.width, self.n_columns = groups_of(layout), padded(layout.n_out), columns_of(layout)
        self.cells: dict[tuple[int, int], Cells] = {}
        self.places: dict[tuple[int, int], Ints] = {}
        self.effective: dict[tuple[int, int], Floats] = {}
        self._initial: dict[tuple[int, int], Floats] = {}
        for at in np.ndindex(*grid):
            tile = levels[layout.rows(at[0]), layout.outputs(at[1])]
            self._write(at, tile, noise.key(seed, ARRAY, *at), None if given is None else given[at], generation)

    def _write(self, at: tuple[int, ...], tile: Ints, key: int, faults: Any, generation: int) -> None:
        machine, layout = self.machine, self.layout
        i, j = at
        if faults is None:
            faults = fault_map(
                (machine.rows, machine.cols), stuck_on=machine.stuck_on, stuck_off=machine.stuck_off, key=key
            )
        n_driven, n_outputs = tile.shape[:2]
        places = np.arange(n_outputs, dtype=np.int64)
        if faults.any():
            # cells of rows that are not driven do no harm
            wanted = targets(layout, tile)[:n_driven, : n_outputs * machine.columns_per_output]
            places = assign_columns(
                wanted,
                faults[:n_driven, : layout.places * machine.columns_per_output],
                machine.window,
                columns_per_output=machine.columns_per_output,
                significance=layout.significance,
            )
        self.places[i, j] = places
        self.cells[i, j] = Cells.written(
            targets(layout, tile, places), machine.cell, machine.window, key=key, generation=generation, faults=faults
        )
        if machine.drift_compensation == "global":
            self._initial[i, j] = self._through_wires(self.cells[i, j].conductance(0.0, machine.temperature_k))

    def _through_wires(self, g_siemens: Floats) -> Floats:
        machine = self.machine
        if not machine.has_wires:
            return g_siemens
        return effective_conductance(
            g_siemens,
            machine.r_row_ohm,
            machine.r_col_ohm,
            machine.r_driver_ohm,
            machine.r_sense_ohm,
            drive=machine.drive,
        )

    @property
    def program_pulses(self) -> int:
        """Programming attempts that all cells took together."""
        return int(sum(int(cells.attempts.sum()) for cells in self.cells.values()))

    def references(self) -> Ints:
        """Return the panel's column of the reference of each group and output. int64 (groups, n_out), or (0, n_out)."""
        layout = self.layout
        if self.machine.mapping != "offset":
            return np.zeros((0, layout.n_out), np.int64)
        arrays = np.arange(layout.n_out) // self.machine.outputs_per_array
        return self.groups * self.width + np.arange(self.groups)[:, None] * layout.col_arrays + arrays

    def at(self, i: int, j: int, time_s: float) -> tuple[Floats, Floats, CellNoise]:
        """Return conductances, effective conductances and noise of an array `time_s` after programming."""
        cells = self.cells[i, j]
        g = cells.conductance(time_s, self.machine.temperature_k)
        effective = self._through_wires(g)
        return g, effective, cell_noise(self.machine, cells, g, effective, time_s)

    def merged(self, i: int, j: int, physical: Floats, sign: float) -> tuple[Floats, Floats]:
        """Gather an array's physical columns into those that are converted.

        Parameters
        ----------
        i, j : int
            The array.
        physical : array of float64, shape (n, cols)
        sign : float
            What the negative columns of pairs count that are merged before the converter: -1 for currents, 1 for
            variances.

        Returns
        -------
        array of float64, shape (n, groups, n_outputs), and array of float64, shape (n, n_references)
        """
        columns = physical[:, self.layout.columns(self.places[i, j])].transpose(0, 2, 1)
        if self.machine.mapping == "differential" and self.machine.readout == "analog":
            columns = columns[:, 0::2] + sign * columns[:, 1::2]
        return columns, physical[:, self.layout.references]

    def panel(self, i: int, time_s: float) -> Panel:
        """Return the matrix of the arrays (i, ...) `time_s` after programming."""
        machine, layout = self.machine, self.layout
        inputs = layout.rows(i)
        n = inputs.stop - inputs.start
        weights = np.zeros((n, self.n_columns))
        variances: dict[str, Floats] = {}
        compensation = np.ones(layout.col_arrays)
        row_siemens = np.zeros(n)
        for j in range(layout.col_arrays):
            _, effective, found = self.at(i, j, time_s)
            self.effective[i, j] = effective
            row_siemens += effective[:n].sum(axis=1)
            if machine.drift_compensation == "global":
                compensation[j] = drift_factor(self._initial[i, j][:n], effective[:n])
            self.place(weights, i, j, (effective[:n] - machine.window[0]) / machine.level_siemens, -1.0)
            for name in ("flicker", "shot", "thermal"):
                values = getattr(found, name)
                if values is not None:
                    rows = values.sum(axis=0, keepdims=True) if name == "thermal" else values[:n]
                    whole = variances.setdefault(name, np.zeros((rows.shape[0], self.n_columns)))
                    self.place(whole, i, j, rows, 1.0)
        nearest = np.rint(weights)
        return Panel(
            inputs=inputs,
            weights=np.where(np.abs(weights - nearest) < _SNAP, nearest, weights),
            flicker=variances.get("flicker"),
            shot=variances.get("shot"),
            thermal=variances["thermal"][0] if "thermal" in variances else None,
            compensation=compensation,
            row_siemens=row_siemens,
        )

    def place(self, matrix: Floats, i: int, j: int, physical: Floats, sign: float) -> None:
        """Write an array's columns to where a panel has them."""
        columns, references = self.merged(i, j, physical, sign)
        outputs = self.layout.outputs(j)
        for group in range(self.groups):
            start = group * self.width
            matrix[:, start + outputs.start : start + outputs.stop] = columns[:, group]
        first = self.groups * self.width + j
        matrix[:, first : first + references.shape[1] * self.layout.col_arrays : self.layout.col_arrays] = references


def fault_grid(faults: npt.ArrayLike, grid: tuple[int, int], shape: tuple[int, int]) -> npt.NDArray[np.int8]:
    """Return a user's fault map of a grid of arrays of a shape, after checking kind, shape and codes."""
    wanted = (*grid, *shape)
    try:
        given = np.asarray(faults)
    except ValueError:
        raise InvalidValueError(f"`faults` must have shape {wanted}, got rows of different lengths") from None
    if given.shape == shape and grid == (1, 1):
        given = given.reshape(wanted)
    if given.shape != wanted:
        raise InvalidValueError(
            f"`faults` must have shape {wanted}: arrays along inputs and outputs, rows, columns; got {given.shape}"
        )
    found = np.zeros(wanted, np.int8)
    for at in np.ndindex(*grid):
        found[at] = checked_faults(given[at], shape)
    return found
