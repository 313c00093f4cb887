"""The output converters of a chip, column by column: their steps, their errors, and the sum of their codes."""

__all__ = ["Readout"]

from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import noise
from tetrit.errors import InvalidValueError
from tetrit.sim.crossbar import _kernels
from tetrit.sim.crossbar.arrays import Arrays
from tetrit.sim.crossbar.converters import AdcErrors, adc_errors, adc_range, step_for
from tetrit.sim.crossbar.stages import Conversion

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[Any]

_ADC = 3  # which quantity a key draws, see `arrays.ARRAY`


class Readout:
    """The converters of all arrays, and the way from codes to results.

    Parameters
    ----------
    arrays : Arrays
    seed : int
        Of the chip.
    """

    def __init__(self, arrays: Arrays, seed: int) -> None:
        self.arrays, self.layout, self.machine = arrays, arrays.layout, arrays.machine
        self.references = arrays.references()
        digital = self.machine.readout == "digital"
        self.merges = not digital and len(self.references) > 0  # references are subtracted before the converter
        self.codes: tuple[int, int] | None = None
        self._converters: list[tuple[Ints, AdcErrors]] = []
        if self.machine.adc_bits is not None:
            self.codes = adc_range(self.machine.adc_bits, signed=not digital or self.layout.signed)
            self._converters = [self._draw(i, seed) for i in range(self.layout.row_arrays)]
        self._steps: list[Floats] | None = None  # by input digit, (row_arrays, n_columns)

    def _draw(self, i: int, seed: int) -> tuple[Ints, AdcErrors]:
        """Draw the converters of a panel, and say which column has which; -1 where there is none."""
        machine, layout, arrays = self.machine, self.layout, self.arrays
        assert machine.adc_bits is not None
        references = 0 if self.merges else len(self.references)
        n = -(-(layout.places * arrays.groups + references) // machine.adc.columns_per_adc)
        column = np.full(arrays.n_columns, -1, np.int64)
        drawn = []
        for j in range(layout.col_arrays):
            drawn.append(adc_errors(machine.adc, machine.adc_bits, n, key=noise.key(seed, _ADC, i, j)))
            outputs = layout.outputs(j)
            for group in range(arrays.groups):
                start = group * arrays.width
                number = arrays.places[i, j] * arrays.groups + group
                column[start + outputs.start : start + outputs.stop] = j * n + number // machine.adc.columns_per_adc
            for s in range(references):
                last = (layout.places * arrays.groups + s) // machine.adc.columns_per_adc
                column[arrays.groups * arrays.width + s * layout.col_arrays + j] = j * n + last
        tables = [errors.thresholds for errors in drawn if errors.thresholds is not None]
        return column, AdcErrors(
            gain=np.concatenate([errors.gain for errors in drawn]),
            offset=np.concatenate([errors.offset for errors in drawn]),
            thresholds=np.concatenate(tables) if tables else None,
        )

    def _step(self, i: int, digit: int) -> Floats:
        """Return the converters' step in units, for every column of a panel.

        Raises
        ------
        InvalidValueError
            Converters that are not calibrated yet.
        """
        n, adc = self.arrays.n_columns, self.machine.adc
        if self.codes is None:
            return np.ones(n)
        if adc.range == "full":
            rows = min(self.machine.rows, self.layout.n_in)
            full = rows * self.layout.digit_reach[digit] * (2**self.machine.bits_per_cell - 1)
            return np.full(n, step_for(full, self.codes[1], power_of_two=True))
        if adc.full_scale is not None:
            return np.full(n, step_for(adc.full_scale, self.codes[1]))
        if self._steps is None:
            raise InvalidValueError(
                "the converters are not calibrated; call `calibrate` with a batch of activations first"
            )
        return np.asarray(self._steps[digit][i])

    def calibrate(self, digit: int, currents: list[Matrix]) -> None:
        """Choose the steps for an input digit from the currents of every panel for a batch."""
        assert self.codes is not None
        adc, top = self.machine.adc, self.codes[1]
        used = [column >= 0 for column, _ in self._converters]
        parts = [np.abs(part[:, mask]) for part, mask in zip(currents, used, strict=True)]
        steps = np.ones((len(parts), self.arrays.n_columns))
        if adc.range == "calibrated":
            largest = np.quantile(np.concatenate([part.ravel() for part in parts]), adc.calibration_quantile)
            steps[...] = step_for(float(largest), top)
        else:
            for row, part, mask in zip(steps, parts, used, strict=True):
                row[mask] = np.maximum(np.quantile(part, adc.calibration_quantile, axis=0) / top, 1.0)
        if self._steps is None or len(self._steps) == len(self.layout.digit_reach):
            self._steps = []
        self._steps.insert(digit, steps)

    def merge(self, currents: Matrix) -> None:
        """Subtract reference columns' currents, where that is done before the converter."""
        if self.merges:
            _kernels.subtract(currents, self.references, self.arrays.width)

    def noise(self, i: int, digit: int) -> Floats:
        """Return the variances of the converters' own noise, in square units."""
        if self.codes is None:
            return np.zeros(self.arrays.n_columns)
        _, gain, _ = self._lines(i, digit)
        sigma = np.divide(self.machine.adc.noise_sigma_lsb, np.abs(gain), out=np.zeros_like(gain), where=gain != 0)
        return np.asarray(sigma**2)

    def conversion(self, i: int, digit: int, compensation: Floats, dtype: Any) -> Conversion:
        """Return the conversion of a panel's columns; `compensation` has a factor for every output."""
        arrays, machine, n = self.arrays, self.machine, self.layout.n_out
        step, gain, offset = self._lines(i, digit)
        factor = compensation * self.layout.digit_weights[digit]
        split = arrays.groups // machine.n_slices
        signs = [(-1) ** (g % split) * 2 ** (machine.bits_per_cell * (g // split)) for g in range(arrays.groups)]
        columns = [slice(g * arrays.width, g * arrays.width + n) for g in range(arrays.groups)]
        none = np.zeros((0, n))
        taken = none
        if len(self.references) and not self.merges:
            taken = np.array([step[where] * factor * sign for where, sign in zip(self.references, signs, strict=True)])
        thresholds, converters = None, np.zeros(0, np.int64)
        if self.codes is not None:
            converters, errors = self._converters[i]
            thresholds = errors.thresholds
        return Conversion(
            merged=self.references if self.merges else none.astype(np.int64),
            gain=gain.astype(dtype),
            offset=offset.astype(dtype),
            low=0 if self.codes is None else self.codes[0],
            bits=machine.adc_bits or 0,
            thresholds=np.zeros((0, 0)) if thresholds is None else thresholds,
            converters=converters,
            scale=np.array([step[where] * factor * sign for where, sign in zip(columns, signs, strict=True)]),
            taken=taken,
            references=self.references,
            width=arrays.width,
        )

    def _lines(self, i: int, digit: int) -> tuple[Floats, Floats, Floats]:
        """Return, for the columns of a panel, the step, and the slope and intercept that lead to a code, if any."""
        step = self._step(i, digit)
        if self.codes is None:
            return step, np.zeros(0), np.zeros(0)
        column, errors = self._converters[i]
        used = column >= 0
        return step, np.where(used, errors.gain[column], 0.0) / step, np.where(used, errors.offset[column], 0.0) + 0.5
