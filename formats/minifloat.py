"""Small binary floating point: FP4, FP8 and bfloat16."""

__all__ = ["Minifloat"]

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tetrit.checks import choice, integer
from tetrit.errors import InvalidValueError
from tetrit.formats._steps import Steps, midpoints, steps_from_borders
from tetrit.formats.real import RealFormat


@dataclass(frozen=True, kw_only=True)
class Minifloat(RealFormat):
    """Sign, exponent and fraction, with subnormals and signed zero; rounds to nearest, ties to even.

    Parameters
    ----------
    exponent_bits : int
        Width of the exponent field; its bias is ``2**(exponent_bits - 1) - 1``.
    specials : {"none", "nan", "ieee"}
        What the largest codes are: numbers like any other, and rounding saturates ("none", OCP FP4); the all-ones
        code of each sign is NaN, and overflow gives NaN ("nan", OCP FP8 E4M3); or the all-ones exponent is infinity
        and NaN ("ieee").

    Notes
    -----
    Sources: OCP Microscaling Formats (MX) v1.0 for E2M1; OCP 8-bit Floating Point Specification v1.0 for E4M3 and
    E5M2. Where these allow both saturation and overflow in FP8, we do what `ml_dtypes` does: overflow. E3M0 has no
    fraction bit, so its exponent field 0 holds zero only; its bias of 3 is our choice by the IEEE rule.

    Examples
    --------
    >>> from tetrit import formats
    >>> formats.get("fp4_e2m1").quantize([0.3, 1.25, -2.5, 100.0]).tolist()
    [0.5, 1.0, -2.0, 6.0]
    """

    exponent_bits: int
    specials: Literal["none", "nan", "ieee"] = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        integer("exponent_bits", self.exponent_bits, minimum=1, maximum=min(8, self.bits - 1))
        choice("specials", self.specials, ("none", "nan", "ieee"))
        if self.specials == "ieee" and self.fraction_bits == 0:
            raise InvalidValueError("`specials` 'ieee' needs a fraction bit to tell NaN from infinity")

    @property
    def fraction_bits(self) -> int:
        """Width of the fraction field."""
        return self.bits - 1 - self.exponent_bits

    @property
    def bias(self) -> int:
        """What is subtracted from the exponent field."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def _magnitude_codes(self) -> int:
        return 1 << (self.bits - 1)

    def _magnitudes(self) -> NDArray[np.float64]:
        """Values of the codes with a clear sign bit, as if none of them were special."""
        codes = np.arange(self._magnitude_codes)
        field, fraction = codes >> self.fraction_bits, codes & ((1 << self.fraction_bits) - 1)
        significand = fraction + np.where(field > 0, 1 << self.fraction_bits, 0)
        scale = np.maximum(field, 1) - self.bias - self.fraction_bits
        magnitudes: NDArray[np.float64] = np.ldexp(significand.astype(np.float64), scale)
        return magnitudes

    def _n_finite(self) -> int:
        """Count the finite magnitudes."""
        reserved = {"none": 0, "nan": 1, "ieee": 1 << self.fraction_bits}[self.specials]
        return self._magnitude_codes - reserved

    def _make_values(self) -> NDArray[Any]:
        magnitudes, n_finite = self._magnitudes(), self._n_finite()
        magnitudes[n_finite:] = np.nan
        if self.specials == "ieee":
            magnitudes[n_finite] = np.inf
        return np.concatenate((magnitudes, -magnitudes))

    def _make_steps(self) -> Steps:
        n_cells = self._n_finite() + (self.specials != "none")  # beyond the largest number: NaN or infinity
        positive = np.arange(n_cells)
        codes = np.concatenate((positive[::-1] + self._magnitude_codes, positive))
        magnitudes = self._magnitudes()[:n_cells]
        borders, _ = midpoints(np.concatenate((-magnitudes[::-1], magnitudes)))
        nan = {"none": None, "nan": n_cells - 1, "ieee": n_cells - 1 + (1 << self.fraction_bits >> 1)}[self.specials]
        return steps_from_borders(codes, borders, nan_codes=None if nan is None else (nan + self._magnitude_codes, nan))
