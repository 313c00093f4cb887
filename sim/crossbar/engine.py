"""Running matrix products on an analog crossbar: a chip drawn from a seed, programmed, aged, calibrated and read."""

__all__ = ["CrossbarEngine"]

from functools import partial
from typing import Any, Protocol, Self, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt

from tetrit import checks, noise
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar
from tetrit.sim.cost.analog import AnalogPrices
from tetrit.sim.crossbar import cycles
from tetrit.sim.crossbar.arrays import Arrays
from tetrit.sim.crossbar.chain import Chain, ReadNoise
from tetrit.sim.crossbar.mapping import Layout, levels
from tetrit.sim.crossbar.memory import check_memory
from tetrit.sim.crossbar.ramp import Ramps, check_fits
from tetrit.sim.run import Run

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@runtime_checkable
class _Quantized(Protocol):
    codes: npt.NDArray[Any]
    format: str


class CrossbarEngine:
    """A chip of a `Crossbar` that can be loaded with weights and run.

    The same seed is the same chip with the same noise: results are the same bits for any number of threads, and for any
    split of a batch, since read noise belongs to a vector's number in the life of the engine. An engine is for one
    thread at a time.

    Parameters
    ----------
    machine : Crossbar
        What to simulate.
    seed : int, default 0
        The chip: from 0 to 2^64 - 1.
    prices : AnalogPrices, optional
        Energy per event; by default the committed table's.

    Attributes
    ----------
    machine, seed, prices
        As given.
    time_s : float
        Since programming.
    layout : Layout
        How the loaded weights lie on arrays.
    arrays : Arrays
        The arrays: ``arrays.cells[i, j]`` and ``arrays.effective[i, j]``, in siemens.
    """

    def __init__(self, machine: Crossbar, seed: int = 0, prices: AnalogPrices | None = None) -> None:
        self.machine = machine
        self.seed = checks.integer("seed", seed, minimum=0, maximum=noise.MAX_SEED)
        self.prices = AnalogPrices.modelled() if prices is None else prices
        self.prices.check(machine)
        self.time_s = machine.time_s
        allowed = machine.activations.integers
        self._act_range = int(allowed.min()), int(allowed.max())
        self.weight: Ints | None = None
        self.layout: Layout
        self.arrays: Arrays
        self._chain: Chain
        self._faults: npt.ArrayLike | None = None
        self._ramp_scale: float | None = None
        self._generation = 0
        self._vectors = 0

    def load(self, weight: Any, *, faults: npt.ArrayLike | None = None, ramp_scale: float | None = None) -> Self:
        """Program weight codes; the time since programming is the machine's again.

        Parameters
        ----------
        weight : Quantized or array_like of int, shape (n_in, n_out)
            Codes of the machine's weight format; a `Quantized` is checked for its format. Its scale, one or one a
            column, rides beside: apply it once to the output, or, with a ramp, put it into `ramp_scale`.
        faults : array_like of int, shape (row_arrays, col_arrays, rows, cols), optional
            Stuck cells in place of the drawn ones: 0 healthy, 1 stuck off, 2 stuck on. ``(rows, cols)`` will do where
            one array holds all.
        ramp_scale : float, optional
            For a machine with a `ramp`, which needs it: the input of the ramp's function for one unit of the integer
            product, the same for all columns; scale of weights times scale of activations, say.

        Returns
        -------
        CrossbarEngine
            Itself.

        Raises
        ------
        TypeError
            Codes that are no integers.
        InvalidValueError
            Wrong format or shape; a code out of range, or one that stands for no number; a fault map of the wrong
            shape; a matrix of more inputs than an array has rows, for a ramp; not enough memory.
        """
        codes = self._checked(weight)
        scale = self._checked_scale(ramp_scale, len(codes))
        layout = Layout(machine=self.machine, n_in=codes.shape[0], n_out=codes.shape[1])
        check_memory(layout)
        integers = self._integers(codes)
        arrays = Arrays(
            layout,
            levels(self.machine, integers),
            seed=self.seed,
            faults=faults,
            generation=self._generation,
        )
        ramps = None
        if scale is not None:
            places = [arrays.places[0, j] for j in range(layout.col_arrays)]
            ramps = Ramps(layout, places, seed=self.seed, scale=scale)
        chain = Chain(arrays, self.seed, self.machine.time_s, ramps)
        self.weight, self.layout, self.arrays, self._chain = integers, layout, arrays, chain
        self._faults, self.time_s, self._generation = faults, self.machine.time_s, self._generation + 1
        self._ramp_scale = scale
        self._cycles, self._bound = cycles.per_vector(layout), cycles.bound(layout)
        self._events = cycles.events(layout) | ({} if ramps is None else ramps.events())
        self._weight_cells = layout.n_in * layout.n_out * self.machine.columns_per_output
        return self

    def reprogram(self) -> Self:
        """Program the loaded weights again: the same cells, other programming errors, and no drift so far."""
        return self.load(self._loaded_codes(), faults=self._faults, ramp_scale=self._ramp_scale)

    def at(self, time_s: float) -> Self:
        """Let the chip be read `time_s` after programming, for drift and 1/f noise; calibrations are kept.

        Raises
        ------
        InvalidValueError
            A negative time, or no weights loaded.
        """
        time_s = checks.real("time_s", time_s, minimum=0.0)
        self._loaded()
        self._chain.move_to(time_s)
        self.time_s = time_s
        return self

    def calibrate(self, x: npt.ArrayLike) -> Self:
        """Set the ranges of the converters from the currents of a batch, without noise, see `Adc`.

        Each input digit has a range of its own. Until weights are loaded again, the ranges stay.

        Raises
        ------
        TypeError
            `x` that are no integers.
        InvalidValueError
            Shape or values do not fit, no weights are loaded, or the converters' `range` is not calibrated.
        """
        if not self.machine.adc.range.startswith("calibrated") or self.machine.adc_bits is None:
            raise InvalidValueError(
                f"`calibrate` needs converters with `range` = 'calibrated' or 'calibrated_per_column', got "
                f"'{self.machine.adc.range}' and `adc_bits` = {self.machine.adc_bits}"
            )
        self._loaded()
        self._chain.calibrate(self._activations(x))
        return self

    def matmul(self, x: npt.ArrayLike, *, read_noise: ReadNoise = "output") -> Run:
        """Multiply activations with the loaded weights.

        Parameters
        ----------
        x : array_like of int, shape (batch, n_in)
            Activations, in the range of the machine's activation format.
        read_noise : {"output", "output_float32", "per_cell", "off"}
            Noise drawn for every column, with variances summed in 16-bit integers (standard deviations within 0.5 % for
            any input, usually 1e-5, see `tetrit.sim.crossbar.products`) or in float32; for every cell, the slow
            reference; or none.

        Returns
        -------
        Run
            `output` is float64 of shape (batch, n_out), in units of the exact integer product. With a perfect device
            and enough converter bits it is that product exactly. `events` has ``adc_clipped`` beside the priced ones.
            With a ramp, `output` is a value of its `levels` for each column: that of the code of
            f(product * `ramp_scale`). Drift compensation then scales the input of f, and nothing counts as clipped.

        Raises
        ------
        TypeError
            `x` that are no integers.
        InvalidValueError
            Shape or values do not fit, no weights are loaded, or converters are not calibrated.

        Examples
        --------
        >>> from tetrit import hardware, sim
        >>> machine = hardware.Crossbar(rows=4, cols=8, weight_format="int4", adc_bits=None)
        >>> engine = sim.build(machine).load([[1, 3], [2, 15]])  # code 15 is -1
        >>> engine.matmul([[5, 7]]).output
        array([[19.,  8.]])
        """
        if read_noise not in get_args(ReadNoise):
            raise InvalidValueError(f"`read_noise` must be one of {', '.join(get_args(ReadNoise))}, got {read_noise!r}")
        self._loaded()
        acts = self._activations(x)
        done = self._chain.run(acts, self._vectors, read_noise)
        self._vectors += len(acts)
        n_cycles = len(acts) * self._cycles + 1
        events = {"cycles": n_cycles, **{name: len(acts) * n for name, n in self._events.items()}}
        events["adc_clipped"] = done.clipped
        cells = self.machine.rows * self.machine.cols * len(self.arrays.cells)
        return Run(
            output=done.output,
            cycles=n_cycles,
            utilization=self._weight_cells / cells,
            bound=self._bound,
            events=events,
            price=partial(self.prices.breakdown, events, self.machine, cells_pj=done.cells_pj),
        )

    def _loaded(self) -> None:
        if self.weight is None:
            raise InvalidValueError("no weights are loaded; call `load` first")

    def _loaded_codes(self) -> Ints:
        self._loaded()
        return self._codes

    def _checked(self, weight: Any) -> npt.NDArray[Any]:
        """Return weight codes, after checking kind and shape."""
        if isinstance(weight, _Quantized):
            if weight.format != self.machine.weight_format:
                raise InvalidValueError(f"weights are {weight.format}, the machine takes {self.machine.weight_format}")
            weight = weight.codes
        try:
            codes = np.asarray(weight)
        except ValueError:
            raise InvalidValueError(
                "weight codes must be a matrix (n_in, n_out), got rows of different lengths"
            ) from None
        if not np.issubdtype(codes.dtype, np.integer):
            raise TypeError(f"weight codes must be integers, got {codes.dtype}")
        if codes.ndim != 2 or codes.size == 0:
            raise InvalidValueError(f"weight codes must be a non-empty matrix (n_in, n_out), got shape {codes.shape}")
        return codes

    def _checked_scale(self, ramp_scale: float | None, n_in: int) -> float | None:
        """Return the scale of a ramp's inputs, after checking that the product is fit for one."""
        if self.machine.ramp is None:
            if ramp_scale is not None:
                raise InvalidValueError(f"`ramp_scale` belongs to a machine with a `ramp`, got {ramp_scale!r} without")
            return None
        check_fits(self.machine, n_in)
        if ramp_scale is None:
            raise InvalidValueError(
                "`ramp_scale` must be given: the input of the ramp's function for one unit of the integer product"
            )
        return checks.real("ramp_scale", ramp_scale, minimum=0.0, exclusive=True)

    def _integers(self, codes: npt.NDArray[Any]) -> Ints:
        """Return the integers of weight codes, which are kept."""
        wanted = self.machine.weights
        bad = (codes < 0) | (codes >= len(wanted.values))
        if not bad.any():
            bad = np.isnan(wanted.values)[codes]
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            raise InvalidValueError(
                f"weight code {int(codes[row, column])} at ({row}, {column}) is no number of "
                f"{self.machine.weight_format}"
            )
        self._codes: Ints = codes.astype(np.int64)
        return wanted.integers[self._codes]

    def _activations(self, x: npt.ArrayLike) -> Ints:
        assert self.weight is not None
        n_in = self.weight.shape[0]
        try:
            array = np.asarray(x)
        except ValueError:
            raise InvalidValueError(f"`x` must have shape (batch, {n_in}), got rows of different lengths") from None
        if not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"`x` must be integers, got {array.dtype}")
        if array.ndim != 2 or array.shape[1] != n_in or array.shape[0] == 0:
            raise InvalidValueError(f"`x` must have shape (batch, {n_in}), got {array.shape}")
        low, high = self._act_range
        if array.min() < low or array.max() > high:
            raise InvalidValueError(
                f"`x` must be within {low}..{high} ({self.machine.act_format}), "
                f"got {int(array.min())}..{int(array.max())}"
            )
        return np.ascontiguousarray(array, np.int64)
