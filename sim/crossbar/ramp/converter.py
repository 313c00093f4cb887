"""The nonlinear ramp converter at work: its programmed cells, their calibration, and codes that are f(MAC)."""

__all__ = ["RampConverter", "check_fits"]

import numpy as np
import numpy.typing as npt

from tetrit import checks, noise
from tetrit.errors import InvalidValueError
from tetrit.hardware.crossbar import Crossbar
from tetrit.hardware.device import Device
from tetrit.hardware.ramp import Piece, RampAdc
from tetrit.sim.crossbar import cells, faults
from tetrit.sim.crossbar.ramp._kernels import count_passed, fill_starts

Floats = npt.NDArray[np.float64]

_RAMP = int.from_bytes(b"ramp")  # sets these keys apart from those of the array's own cells
_BINS_PER_STEP = 4


class RampConverter:
    """The ramp converter of one array of one chip.

    Contract: a deterministic function of description, seed and tile. `codes` is exact: the number of thresholds that
    are not above the input, as the counter shows it; the same for any batch split.

    Parameters
    ----------
    adc : RampAdc
    seed : int
        Of the chip.
    tile : tuple of int
        Place of the array in its layer.
    columns : int or None
        Columns with a comparator; needed where `adc.columns_per_ramp` is set.
    unit : float
        Input of the function that one unit of the converter's input stands for; 1 where inputs are the function's own.

    Attributes
    ----------
    thresholds : ndarray of float64, shape (ramps, n)
        Inputs of the function at which the counter moves, at the nominal read voltage, read-only.

    Raises
    ------
    InvalidValueError
        If `columns` is missing, or `unit` is not positive.

    Notes
    -----
    **Our reconstruction**, nothing of it is in the paper: a cell is programmed like one of the array
    (`tetrit.sim.crossbar.cells.program`); one that is stuck off stays at the smallest conductance. The ramp's error at
    a threshold is the running sum of its steps' errors; its starting point has none. The calibration cells have the
    targets g_max / 2**j, j = 0, 1, .., none below the window. Any subset of them is added to the ramp's start, less the
    largest cell's target, so that a ramp can be moved both ways; the subset is taken that brings the middle threshold
    nearest to its place, as measured without noise after programming. Where errors make the ramp of one monotone piece
    begin below the end of the one before, the first passing counts. Drift, temperature and read noise of the ramp's
    cells, and offsets of comparators, are not modelled.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.hardware.ramp import RampAdc
    >>> from tetrit.sim.crossbar.ramp import RampConverter
    >>> converter = RampConverter(RampAdc(function="tanh", bits=3), seed=0)
    >>> codes = converter.codes(np.array([-5.0, -0.3, 0.0, 0.1, 1.0]))
    >>> codes
    array([0, 2, 4, 4, 6], dtype=uint8)
    >>> converter.values(codes).round(3)
    array([-0.995, -0.426,  0.142,  0.142,  0.711])
    """

    def __init__(
        self, adc: RampAdc, *, seed: int, tile: tuple[int, int] = (0, 0), columns: int | None = None, unit: float = 1.0
    ) -> None:
        if not isinstance(adc, RampAdc):
            raise TypeError(f"`adc` must be a RampAdc, got {adc!r}")
        self.adc = adc
        self.seed = checks.integer("seed", seed, minimum=0, maximum=noise.MAX_SEED)
        if not isinstance(tile, tuple) or len(tile) != 2:
            raise TypeError(f"`tile` must be two integers, got {tile!r}")
        self.tile = (checks.integer("tile", tile[0], minimum=0), checks.integer("tile", tile[1], minimum=0))
        self.columns = None if columns is None else checks.integer("columns", columns)
        if adc.columns_per_ramp is not None and self.columns is None:
            raise InvalidValueError("`columns` must be given where `columns_per_ramp` is set")
        self.unit = checks.real("unit", unit, minimum=0.0, exclusive=True)
        self.n_ramps = 1 if adc.columns_per_ramp is None else -(-(self.columns or 1) // adc.columns_per_ramp)
        self.thresholds = np.stack([self._program(ramp) for ramp in range(self.n_ramps)])
        self.thresholds.flags.writeable = False
        span = self.thresholds[:, -1] - self.thresholds[:, 0]
        n_bins = _BINS_PER_STEP * len(adc.codes)
        with np.errstate(divide="ignore", over="ignore"):
            self._bins_per_unit = n_bins / span
        self._bins_per_unit[~np.isfinite(self._bins_per_unit)] = 0.0
        self._starts = np.empty((self.n_ramps, n_bins), np.int32)
        self._ended = np.pad(self.thresholds, ((0, 0), (0, 1)), constant_values=np.nan)
        fill_starts(self._ended, self._bins_per_unit, self._starts)

    def _program(self, ramp: int) -> Floats:
        """Return the thresholds of one ramp after programming and calibration."""
        key = noise.key(self.seed, _RAMP, *self.tile, ramp)
        parts = [_ramp_of(self.adc, piece, noise.key(key, index)) for index, piece in enumerate(self.adc.pieces)]
        return np.maximum.accumulate(np.concatenate(parts))

    def codes(self, x: npt.ArrayLike, *, read_voltage_v: float | None = None) -> npt.NDArray[np.uint8]:
        """Convert results of the array.

        Parameters
        ----------
        x : array_like
            Numbers in units (see `unit`), infinities allowed; the last axis is that of the columns where `columns` is
            given.
        read_voltage_v : float, optional
            At which the array was read, and the ramp too if it `tracks`; nominal otherwise. `x` is what the array
            would give at the nominal voltage.

        Returns
        -------
        ndarray of uint8, the shape of `x`

        Raises
        ------
        TypeError
            If `x` are no real numbers.
        InvalidValueError
            If `x` has a NaN (the message names its index) or another number of columns.
        """
        try:
            inputs = np.asarray(x)
        except ValueError:
            raise InvalidValueError("`x` must be an array, got rows of different lengths") from None
        if inputs.dtype.kind in "cOSUmM":
            raise TypeError(f"`x` must be numbers, got {inputs.dtype}")
        if inputs.dtype not in (np.float32, np.float64):
            inputs = inputs.astype(np.float64)
        scale = self.unit
        if read_voltage_v is not None:
            voltage = checks.real("read_voltage_v", read_voltage_v, minimum=0.0, exclusive=True)
            if not self.adc.tracks:  # the results shrink with the voltage, the thresholds do not
                scale *= voltage / self.adc.read_voltage_v
        if self.columns is not None and (inputs.ndim == 0 or inputs.shape[-1] != self.columns):
            raise InvalidValueError(f"`x` must have {self.columns} columns, got shape {inputs.shape}")
        if np.isnan(inputs).any():
            where = tuple(int(i) for i in np.argwhere(np.isnan(inputs))[0])
            raise InvalidValueError(f"`x` must not have NaN, got one at index {where}")
        shared = self.adc.columns_per_ramp is None
        rows = np.ascontiguousarray(inputs).reshape((1, -1) if shared else (-1, inputs.shape[-1]))
        out = np.empty(rows.shape, np.uint8)
        group = self.adc.columns_per_ramp or max(rows.size, 1)
        count_passed(rows, scale, self._ended, self._bins_per_unit, self._starts, group, self.adc.codes, out)
        return out.reshape(inputs.shape)

    def values(self, codes: npt.ArrayLike) -> Floats:
        """Return the function's values that codes stand for.

        Raises
        ------
        TypeError
            If `codes` are not integers.
        InvalidValueError
            If there is a code of more bits.
        """
        numbers = np.asarray(codes)
        if numbers.dtype.kind not in "ui":
            raise TypeError(f"`codes` must be integers, got {numbers.dtype}")
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < 2**self.adc.bits):
            raise InvalidValueError(
                f"`codes` must be from 0 to {2**self.adc.bits - 1}, got {numbers.min()} to {numbers.max()}"
            )
        return np.asarray(self.adc.levels[numbers])

    def inl_lsb(self) -> Floats:
        """Return how far the function's value at each threshold is from the middle of its two levels.

        Shape (ramps, n), in steps of the code; after ``numpy.abs(...).max()`` the usual figure.
        """
        wanted = np.concatenate([piece.levels for piece in self.adc.pieces])
        return np.asarray((self.adc.curve(self.thresholds) - wanted) / self.adc.lsb)

    def dnl_lsb(self) -> Floats:
        """Return by how much the codes between neighbouring thresholds are too wide, in steps of the code.

        Shape (ramps, n - pieces): a code at a turning point, which lies between two ramps, has no width of its own.
        """
        inl, parts, first = self.inl_lsb(), [], 0
        for piece in self.adc.pieces:
            last = first + len(piece.thresholds)
            parts.append(piece.direction * np.diff(inl[:, first:last], axis=1))
            first = last
        return np.concatenate(parts, axis=1)

    def events(self, vectors: int, columns: int) -> dict[str, int]:
        """Count what converting `vectors` results of `columns` columns takes.

        Returns
        -------
        dict of str to int
            ``ramp_cycles``, in which all columns work at once; ``ramp_cells``, cells switched on, calibration
            included; ``comparisons`` of all comparators; ``conversions``.
        """
        vectors = checks.integer("vectors", vectors, minimum=0)
        columns = checks.integer("columns", columns)
        cycles = vectors * self.adc.conversion_cycles
        n_cells = self.adc.n_ramp_cells + (self.adc.n_calibration_cells if self.adc.calibrated else 0)
        return {
            "ramp_cycles": cycles,
            "ramp_cells": vectors * self.n_ramps * n_cells,
            "comparisons": cycles * columns,
            "conversions": vectors * columns,
        }


def check_fits(crossbar: Crossbar, n_in: int) -> None:
    """Raise InvalidValueError unless a column's current is a whole product, so that f of it is f of the product.

    Results of several arrays, slices or input digits must be added before the function, which a converter that applies
    the function itself does not allow.
    """
    n_in = checks.integer("n_in", n_in)
    why = crossbar.parts_of_sum
    if n_in > crossbar.rows:
        why = f"{n_in} inputs need {-(-n_in // crossbar.rows)} arrays of {crossbar.rows} rows"
    if why is not None:
        raise InvalidValueError(f"a ramp converter would apply its function to parts of a sum: {why}")


def _ramp_of(adc: RampAdc, piece: Piece, key: int) -> Floats:
    device = adc.cell
    n_cells = adc.cells_of(piece)
    step = np.repeat(np.arange(len(n_cells)), n_cells)
    targets = np.concatenate([(piece.steps * adc.siemens_per_input / n_cells)[step], _calibration_targets(adc)])
    errors = _programmed(device, targets, key, adc.stuck_off) - targets
    n = len(step)
    heights = np.bincount(step, weights=errors[:n])[:-1]  # the last step decides nothing
    moved: Floats = np.cumsum(heights, dtype=np.float64)
    if adc.calibrated:
        moved = moved + _shift(targets[n:], errors[n:], moved[len(moved) // 2])
    return piece.thresholds + moved / adc.siemens_per_input


def _calibration_targets(adc: RampAdc) -> Floats:
    halvings = np.arange(adc.calibration_cells)
    return np.asarray(np.maximum(adc.cell.g_max_siemens / 2.0**halvings, adc.cell.g_min_siemens))


def _shift(targets: Floats, errors: Floats, error_siemens: float) -> float:
    """Return what the best subset of calibration cells adds to a ramp whose middle is off by `error_siemens`."""
    n = len(targets)
    chosen = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    shifts = chosen @ targets - targets[0] + chosen @ errors
    return float(shifts[np.argmin(np.abs(error_siemens + shifts))])


def _programmed(device: Device, targets: Floats, key: int, stuck_off: float) -> Floats:
    """Return what cells hold after programming."""
    window = device.g_min_siemens, device.g_max_siemens
    column = targets.reshape(-1, 1)
    written = cells.program(column, device, window, key=key).g_siemens
    stuck = faults.fault_map(column.shape, stuck_on=0.0, stuck_off=stuck_off, key=key)
    return np.asarray(faults.with_faults(written, stuck, window)[:, 0])
