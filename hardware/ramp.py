"""The nonlinear ramp converter of a crossbar described: its function, and all thresholds, steps and cells of it."""

__all__ = ["Piece", "RampAdc"]

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware.curves import Curve, Points, checked_points, curve
from tetrit.hardware.device import Device

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """The ramp of one monotone stretch of the function, before any error.

    Attributes
    ----------
    start : float
        Input at which the ramp begins.
    thresholds : ndarray of float64, shape (n,)
        Inputs that the ramp reaches after 1, 2, .. n steps; the counter moves by one at each.
    levels : ndarray of float64, shape (n,)
        Value of the function halfway between the two codes of each threshold.
    steps : ndarray of float64, shape (n + 1,)
        Heights of the steps in units of the input; the last one is what the ramp runs out with.
    direction : int
        1 where the counter counts up, -1 where it counts down.
    """

    start: float
    thresholds: Floats
    levels: Floats
    steps: Floats
    direction: int


@dataclass(frozen=True, kw_only=True)
class RampAdc:
    """An analog-to-digital converter whose code is a nonlinear function of its input.

    An extra column of the array makes a ramp, one cell switched on after the other; comparators hold the columns'
    results against it, and the code is the number of steps until the ramp has passed. With steps of unequal height the
    code is a function of the result, so that conversion and activation are one act.

    Contract: without errors, the value of the code is `levels` rounded from f(x) to the nearest, a tie going to the
    larger one, exactly in float64; x is clipped to the input range, and f(x) to the output range.

    Attributes
    ----------
    function : str or tuple of (float, float)
        A name of `hardware.curves.CURVES` (sigmoid, tanh, softplus, selu, relu, identity, gelu, silu), or points (x, y)
        with ascending x and straight lines in between; `hardware.curves.table` makes them from a Python function.
    bits : int
        3..8.
    input_range : tuple of float or None
        Lowest and highest input; None: that of the curve, or of the points.
    output_range : tuple of float or None
        Values of the lowest and of the highest code; None: the extremes of the function over the input range.
    device : Device or str
        The cells of the ramp.
    cells_per_step : int
        Most cells that are switched on together for one step, 1..64; more of them widen the range of step heights.
    calibration_cells : int
        0..8, for each ramp.
    calibrated : bool
        Whether the ramp is shifted by calibration cells after programming.
    stuck_off : float
        Share of cells of the ramp, calibration cells among them, that stay at the device's smallest conductance.
    tracks : bool
        Whether the ramp is made by the array's read voltage, and so rises and falls with it. False: an ordinary
        converter of the same thresholds with a reference voltage of its own.
    read_voltage_v : float
        Nominal, at which thresholds are what they should be.
    max_pieces : int
        Most ramps of a function that is not monotone.
    columns_per_ramp : int or None
        Neighbouring columns that one ramp serves; None: all.

    Raises
    ------
    InvalidValueError
        If the function is constant over the range, needs more ramps than `max_pieces`, or steps that the device's
        window cannot hold.

    Notes
    -----
    Source: "NL-ADC", arXiv 2411.18271, Nature Communications 16 (2025): an extra memristor column generates a
    pre-distorted ramp, the comparators' result is the function of the product; 32 cells of the ramp and 5 for the
    calibration of its bias at 5 bits; the ramp tracks the read voltage. **Our reconstruction**, all of it: thresholds
    are the inverse function of the middles between neighbouring levels, 2**bits - 1 of them; the ramp begins one step
    below the first threshold, as high as the second step, and its last cell runs it out by as much as the step before,
    which makes 2**bits cells; the largest step has all of `cells_per_step` cells at their largest conductance; a
    function that is not monotone is cut at its turning points, each stretch with its own ramp and calibration cells,
    one after the other, the counter going up or down; how the calibration works (`tetrit.sim.crossbar.ramp`).

    Examples
    --------
    >>> from tetrit.hardware.ramp import RampAdc
    >>> adc = RampAdc(function="sigmoid", bits=3, output_range=(0, 1))
    >>> adc.pieces[0].thresholds.round(3) + 0.0
    array([-2.565, -1.299, -0.588,  0.   ,  0.588,  1.299,  2.565])
    >>> adc.n_ramp_cells, adc.n_calibration_cells, adc.conversion_cycles
    (8, 5, 8)
    >>> silu = RampAdc(function="silu", bits=5)
    >>> len(silu.pieces), silu.n_ramp_cells, silu.conversion_cycles
    (2, 34, 34)
    """

    function: str | Points = "sigmoid"
    bits: int = 5
    input_range: tuple[float, float] | None = None
    output_range: tuple[float, float] | None = None
    device: Device | str = "ideal"
    cells_per_step: int = 1
    calibration_cells: int = 5
    calibrated: bool = True
    stuck_off: float = 0.0
    tracks: bool = True
    read_voltage_v: float = 0.2
    max_pieces: int = 4
    columns_per_ramp: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.device, str):
            self._set("device", Device.load(self.device))
        if not isinstance(self.device, Device):
            raise TypeError(f"`device` must be a Device, got {self.device!r}")
        for name in ("calibrated", "tracks"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"`{name}` must be true or false, got {getattr(self, name)!r}")
        for name, least, greatest in (
            ("bits", 3, 8),
            ("cells_per_step", 1, 64),
            ("calibration_cells", 0, 8),
            ("max_pieces", 1, 64),
        ):
            self._set(name, checks.integer(name, getattr(self, name), minimum=least, maximum=greatest))
        if self.columns_per_ramp is not None:
            self._set("columns_per_ramp", checks.integer("columns_per_ramp", self.columns_per_ramp))
        self._set("read_voltage_v", checks.real("read_voltage_v", self.read_voltage_v, minimum=0.0, exclusive=True))
        self._set("stuck_off", checks.real("stuck_off", self.stuck_off, minimum=0.0))
        if self.stuck_off > 1:
            raise InvalidValueError(f"`stuck_off` must be at most 1, got {self.stuck_off:g}")
        if self.calibrated and not self.calibration_cells:
            raise InvalidValueError("`calibrated` needs at least one of `calibration_cells`, got 0")
        if self.cell.capacitance_farad is not None:
            raise InvalidValueError(f"a ramp needs cells with a conductance; '{self.cell.name}' is charge-domain")
        if not isinstance(self.function, str):
            self._set("function", checked_points(self.function))
        domain = curve(self.function).domain  # refuses unknown names
        for name in ("input_range", "output_range"):
            self._check_range(name)
        low, high = self.inputs
        if not isinstance(self.function, str) and not domain[0] <= low < high <= domain[1]:
            raise InvalidValueError(
                f"`input_range` must be within the points of `function`, {domain[0]:g}..{domain[1]:g}, "
                f"got {low:g}..{high:g}"
            )
        _check_steps(self)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_range(self, name: str) -> None:
        given = getattr(self, name)
        if given is None:
            return
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise TypeError(f"`{name}` must be two numbers, got {given!r}")
        low, high = (checks.real(name, end) for end in given)
        if not low < high:
            raise InvalidValueError(f"`{name}` must ascend, got {low:g} and {high:g}")
        if not math.isfinite(high - low):
            raise InvalidValueError(f"`{name}` must have a finite width, got {low:g} and {high:g}")
        self._set(name, (low, high))

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again."""
        return replace(self, **changes)

    @property
    def cell(self) -> Device:
        """The device, loaded."""
        assert isinstance(self.device, Device)
        return self.device

    @property
    def curve(self) -> Curve:
        """The function, to be called with arrays."""
        return curve(self.function)

    @property
    def inputs(self) -> tuple[float, float]:
        """Lowest and highest input."""
        return self.curve.domain if self.input_range is None else self.input_range

    @property
    def levels(self) -> Floats:
        """Values of the codes, shape (2**bits,), read-only."""
        return _layout(self)[0]

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The ramps, in the order of their inputs; stretches without a threshold have none."""
        return _layout(self)[1]

    @property
    def codes(self) -> npt.NDArray[np.uint8]:
        """State of the counter after 0, 1, .. all thresholds of all ramps, read-only."""
        return _layout(self)[2]

    @property
    def lsb(self) -> float:
        """Distance of neighbouring levels, in units of the function's value."""
        return float((self.levels[-1] - self.levels[0]) / (2**self.bits - 1))

    @property
    def siemens_per_input(self) -> float:
        """Conductance that raises the ramp by one unit of the input."""
        return self.cells_per_step * self.cell.g_max_siemens / max(float(piece.steps.max()) for piece in self.pieces)

    def cells_of(self, piece: Piece) -> npt.NDArray[np.int64]:
        """Return the number of cells of every step of a ramp."""
        wanted = piece.steps * (self.siemens_per_input / self.cell.g_max_siemens)
        cells = np.ceil(wanted * (1 - 1e-12)).astype(np.int64)  # a step of exactly n cells must not take one more
        return np.clip(cells, 1, self.cells_per_step)

    @property
    def n_ramp_cells(self) -> int:
        """Cells of all ramps; 2**bits for a monotone function with one cell a step."""
        return sum(int(self.cells_of(piece).sum()) for piece in self.pieces)

    @property
    def n_calibration_cells(self) -> int:
        """Calibration cells of all ramps."""
        return self.calibration_cells * len(self.pieces)

    @property
    def conversion_cycles(self) -> int:
        """Steps of all ramps, one a cycle; 2**bits for a monotone function. All columns convert at once."""
        return sum(len(piece.steps) for piece in self.pieces)


@lru_cache(maxsize=256)
def _layout(adc: RampAdc) -> tuple[Floats, tuple[Piece, ...], npt.NDArray[np.uint8]]:
    """Return levels, ramps, and the counter's states."""
    low, high = adc.inputs
    stretches = adc.curve.pieces(low, high)
    if adc.output_range is None:
        ends = adc.curve(np.array([low, *(stretch[1] for stretch in stretches)]))
        bottom, top = float(ends.min()), float(ends.max())
    else:
        bottom, top = adc.output_range
    if not math.isfinite(top - bottom):
        raise InvalidValueError(f"`function` must have values of a finite range, got {bottom:g} to {top:g}")
    share = np.arange(2**adc.bits) / (2**adc.bits - 1)
    levels = bottom * share[::-1] + top * share  # exactly symmetric about 0 where the range is
    if not (levels[1:] > levels[:-1]).all():
        raise InvalidValueError(
            f"`function` must have {2**adc.bits} different levels over the input range, got values from {bottom:g} "
            f"to {top:g}"
        )
    middles = _middles(levels)
    found = [adc.curve.crossings(middles, *stretch) for stretch in stretches]
    if not any(len(thresholds) for thresholds, _ in found):
        raise InvalidValueError(
            f"`output_range` must hold values of `function`, which stays within one of {2**adc.bits} levels over "
            f"{low:g}..{high:g}"
        )
    pieces, changes = [], []
    place = int(np.searchsorted(middles, adc.curve(low), side="right"))
    first = place
    for thresholds, direction in found:
        n = len(thresholds)
        if n == 0:
            continue
        crossed = middles[place : place + n] if direction > 0 else middles[place - n : place][::-1]
        place += direction * n
        changes.append(np.full(n, direction))
        pieces.append(_piece(thresholds, crossed, direction, lone_step=(high - low) / 2**adc.bits))
    if len(pieces) > adc.max_pieces:
        raise InvalidValueError(
            f"`function` has {len(pieces)} monotone pieces with thresholds over {low:g}..{high:g}, and `max_pieces` "
            f"is {adc.max_pieces}"
        )
    codes = (first + np.cumsum(np.concatenate([[0], *changes]))).astype(np.uint8)
    for array in (levels, codes):
        array.flags.writeable = False
    return levels, tuple(pieces), codes


def _piece(thresholds: Floats, crossed: Floats, direction: int, lone_step: float) -> Piece:
    between = np.diff(thresholds)
    ends = (between[0] or lone_step, between[-1] or lone_step) if len(between) else (lone_step, lone_step)
    steps = np.concatenate([[ends[0]], between, [ends[1]]])
    levels = crossed.copy()
    for array in (thresholds, levels, steps):
        array.flags.writeable = False
    return Piece(
        start=float(thresholds[0] - ends[0]), thresholds=thresholds, levels=levels, steps=steps, direction=direction
    )


def _middles(levels: Floats) -> Floats:
    """Return the smallest numbers that are nearer to the upper of two neighbouring levels, or halfway."""
    low, high = levels[:-1] / 2, levels[1:] / 2
    total = low + high
    part = total - low
    lost = (low - (total - part)) + (high - part)  # the rounding error of the sum, exactly (Knuth's two-sum)
    return np.where(lost > 0, np.nextafter(total, np.inf), total)


def _check_steps(adc: RampAdc) -> None:
    """Refuse steps whose cells would lie below the window."""
    device = adc.cell
    least = math.inf
    for piece in adc.pieces:
        wanted = piece.steps * adc.siemens_per_input
        least = min(least, float((wanted / adc.cells_of(piece)).min()))
    if least < device.g_min_siemens * (1 - 1e-9):
        heights = np.concatenate([piece.steps for piece in adc.pieces])
        ratio = math.inf if heights.min() == 0 else float(heights.max() / heights.min())
        more = math.ceil(ratio / device.on_off_ratio) if math.isfinite(ratio) else 0
        hint = (
            f"; `cells_per_step` of at least {more} would do"
            if adc.cells_per_step < more <= 64 and device.on_off_ratio >= 2
            else ""
        )
        raise InvalidValueError(
            f"the ramp of `function` has steps from {heights.min():g} to {heights.max():g}, and {adc.cells_per_step} "
            f"cells of '{device.name}' with {device.g_min_siemens:g}..{device.g_max_siemens:g} S span a ratio of "
            f"{adc.cells_per_step * device.on_off_ratio:g} only{hint}"
        )
