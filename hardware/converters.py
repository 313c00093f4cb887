"""The converters of a crossbar described: input DACs, and output ADCs with their range policies and errors."""

__all__ = ["RANGES", "Adc", "Dac", "Range"]

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from tetrit import checks
from tetrit.errors import InvalidValueError

Range = Literal["full", "fixed", "calibrated", "calibrated_per_column"]
RANGES: tuple[Range, ...] = ("full", "fixed", "calibrated", "calibrated_per_column")


@dataclass(frozen=True, kw_only=True)
class Dac:
    """Errors of the input converters; one converter a row. The class without arguments is perfect.

    Attributes
    ----------
    offset_sigma_lsb, gain_sigma : float
        Spread over the rows of a chip: offset in steps, relative gain error.
    dnl_sigma_lsb : float
        Random mismatch of every step; the converter's curve is their running sum, corrected at both ends.
    inl_lsb : tuple of float
        A given curve of the error in steps, spread evenly from the lowest code to the highest and linear in between,
        the same for all rows; empty for none.
    """

    offset_sigma_lsb: float = 0.0
    gain_sigma: float = 0.0
    dnl_sigma_lsb: float = 0.0
    inl_lsb: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _check(self, ("offset_sigma_lsb", "gain_sigma", "dnl_sigma_lsb"))

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again."""
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class Adc:
    """Range and errors of the output converters.

    One *unit* is the current of one conductance level at one input step, so that an ideal column is an integer.

    Attributes
    ----------
    range : {"full", "fixed", "calibrated", "calibrated_per_column"}
        ``full``: what the column can reach at most, so nothing is ever clipped; the step is rounded up to a power of
        two of units. ``fixed``: `full_scale` units. ``calibrated``: the quantile `calibration_quantile` of the
        magnitudes of the columns' currents over the batch given to ``engine.calibrate``, one range for all columns of
        a layer; or one for each column. No step is finer than a unit.
    full_scale : float or None
        Units, for ``fixed``.
    calibration_quantile : float
        Of the magnitudes, 0..1; 1 takes the largest.
    offset_sigma_lsb, gain_sigma : float
        Spread over the converters of a chip.
    noise_sigma_lsb : float
        Noise of every conversion.
    dnl_sigma_lsb : float
        Random mismatch of every step; the curve is their running sum, corrected at both ends.
    inl_lsb : tuple of float
        A given curve of the error in steps, see `Dac`.
    capacitor_sigma : float
        Relative mismatch of the unit capacitor of a binary-weighted successive-approximation converter; the bit
        capacitor of weight 2**b has a relative mismatch of this over sqrt(2**b).
    columns_per_adc : int
        Columns that share a converter, one after the other.
    conversion_cycles : int or None
        Clock cycles of a conversion; None: one a bit.
    """

    range: Range = "full"
    full_scale: float | None = None
    calibration_quantile: float = 1.0
    offset_sigma_lsb: float = 0.0
    gain_sigma: float = 0.0
    noise_sigma_lsb: float = 0.0
    dnl_sigma_lsb: float = 0.0
    inl_lsb: tuple[float, ...] = ()
    capacitor_sigma: float = 0.0
    columns_per_adc: int = 1
    conversion_cycles: int | None = None

    def __post_init__(self) -> None:
        checks.choice("range", self.range, RANGES)
        if (self.full_scale is not None) != (self.range == "fixed"):
            raise InvalidValueError(
                f"`full_scale` belongs to `range` = 'fixed', got {self.full_scale} with '{self.range}'"
            )
        if self.full_scale is not None:
            object.__setattr__(
                self, "full_scale", checks.real("full_scale", self.full_scale, minimum=0.0, exclusive=True)
            )
        quantile = checks.real("calibration_quantile", self.calibration_quantile, minimum=0.0, exclusive=True)
        if quantile > 1:
            raise InvalidValueError(f"`calibration_quantile` must be at most 1, got {quantile:g}")
        object.__setattr__(self, "calibration_quantile", quantile)
        _check(self, ("offset_sigma_lsb", "gain_sigma", "noise_sigma_lsb", "dnl_sigma_lsb", "capacitor_sigma"))
        object.__setattr__(self, "columns_per_adc", checks.integer("columns_per_adc", self.columns_per_adc))
        if self.conversion_cycles is not None:
            object.__setattr__(self, "conversion_cycles", checks.integer("conversion_cycles", self.conversion_cycles))

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again."""
        return replace(self, **changes)


def _check(converter: Dac | Adc, sigmas: tuple[str, ...]) -> None:
    for name in sigmas:
        object.__setattr__(converter, name, checks.real(name, getattr(converter, name), minimum=0.0))
    curve = converter.inl_lsb
    if not isinstance(curve, tuple | list):
        raise TypeError(f"`inl_lsb` must be two numbers or more, or none, got {curve!r}")
    if len(curve) == 1:
        raise InvalidValueError("`inl_lsb` must be two numbers or more, or none, got 1")
    object.__setattr__(converter, "inl_lsb", tuple(checks.real("inl_lsb", value) for value in curve))
