"""Signed powers: of two, with and without zero, for multipliers made of shifters; and of the square root of two."""

__all__ = ["Power"]

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tetrit.checks import integer
from tetrit.errors import InvalidValueError
from tetrit.formats._steps import Steps, midpoints, steps_from_borders
from tetrit.formats.real import RealFormat


@dataclass(frozen=True, kw_only=True)
class Power(RealFormat):
    """Sign bit on top, magnitude field m below.

    Without zero a code stands for ``±base**(lowest + m)``; with zero, for 0 if m = 0, else ``±base**(lowest + m - 1)``.

    Rounds to the nearest value, ties to the even code, and saturates. Without zero, the sign of the input's zero
    decides. With zero, the code of "minus zero" (sign bit set, m = 0) decodes to 0 as well, so that hardware need not
    look at the sign, but `encode` never gives it.

    Parameters
    ----------
    zero : bool
        Whether m = 0 is zero.
    half_powers : int
        Base ``2**(half_powers / 2)``: 2 for base 2, 1 for base sqrt(2).
    lowest : int
        Power of the base of the smallest magnitude.

    Notes
    -----
    Sources of the value sets: DenseShift (arXiv 2208.09708) without zero; n-BQ-NN (arXiv 2004.02396) with zero; POST
    in ASQ (arXiv 2504.17263) for base sqrt(2) with largest magnitude 1. The assignment of codes is ours, and so is
    the size of POST's set: 7 magnitudes, so that sign and magnitude fit 4 bits.

    Examples
    --------
    >>> from tetrit import formats
    >>> formats.get("pot3").values.tolist()
    [1.0, 2.0, 4.0, 8.0, -1.0, -2.0, -4.0, -8.0]
    >>> formats.get("pot3z").values.tolist()
    [0.0, 1.0, 2.0, 4.0, 0.0, -1.0, -2.0, -4.0]
    """

    zero: bool = False
    half_powers: Literal[1, 2] = 2
    lowest: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        integer("bits", self.bits, minimum=2, maximum=8)
        integer("half_powers", self.half_powers, minimum=1, maximum=2)
        integer("lowest", self.lowest, minimum=-512, maximum=512)

    def _magnitudes(self) -> NDArray[np.float64]:
        """Values of the codes with a clear sign bit."""
        half_exponents = (np.arange((1 << (self.bits - 1)) - self.zero) + self.lowest) * self.half_powers
        powers = np.ldexp(np.where(half_exponents & 1, np.sqrt(2.0), 1.0), half_exponents >> 1)
        return np.concatenate(([0.0] * self.zero, powers))

    def _make_values(self) -> NDArray[Any]:
        magnitudes = self._magnitudes()
        return np.concatenate((magnitudes, np.where(magnitudes > 0, -magnitudes, 0.0)))

    def _make_steps(self) -> Steps:
        magnitudes = self._magnitudes()
        positive = np.arange(len(magnitudes))
        negative = positive[self.zero :][::-1]
        codes = np.concatenate((negative + len(magnitudes), positive))
        borders, exact = midpoints(np.concatenate((-magnitudes[negative], magnitudes)))
        return steps_from_borders(codes, borders, tie_possible=exact)

    @cached_property
    def _dyadic(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self.half_powers == 1:
            raise InvalidValueError(
                f"format '{self.name}' holds powers of sqrt(2): there are no exact integers behind them"
            )
        return super()._dyadic
