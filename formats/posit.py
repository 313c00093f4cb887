"""Posits of 3 to 16 bits."""

__all__ = ["Posit"]

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.checks import integer
from tetrit.formats._steps import Steps, steps_from_borders
from tetrit.formats.real import RealFormat


@dataclass(frozen=True, kw_only=True)
class Posit(RealFormat):
    """Posit(bits, es): sign, run-length regime, up to `es` exponent bits and a fraction, negated by two's complement.

    Rounding is that of the posit standard: the border between two neighbours is the posit of one more bit between
    them, a tie goes to the even code, and no nonzero real becomes 0 or NaR. Infinities and NaN become NaR.

    Parameters
    ----------
    es : int
        Exponent bits, 0 to 3.

    Notes
    -----
    Source: Gustafson and Yonemoto, "Beating Floating Point at its Own Game" (2017); Standard for Posit Arithmetic
    (2022), section 4, generalised to any `es`.

    Examples
    --------
    >>> from tetrit import formats
    >>> formats.get("posit4_1").values[1:8].tolist()
    [0.0625, 0.25, 0.5, 1.0, 2.0, 4.0, 16.0]
    """

    es: int

    def __post_init__(self) -> None:
        super().__post_init__()
        integer("bits", self.bits, minimum=3, maximum=16)
        integer("es", self.es, minimum=0, maximum=3)

    def _make_values(self) -> NDArray[Any]:
        positive = _positive_values(np.arange(1, 1 << (self.bits - 1)), self.bits, self.es)
        return np.concatenate(([0.0], positive, [np.nan], -positive[::-1]))

    def _make_steps(self) -> Steps:
        half = 1 << (self.bits - 1)
        # from -inf to +inf: NaR, the negative codes, 0, the positive codes, NaR
        codes = np.concatenate(([half], np.arange(half + 1, 2 * half), np.arange(half), [half]))
        between = _positive_values(2 * np.arange(1, half - 1) + 1, self.bits + 1, self.es)
        borders = np.concatenate(([-np.inf], -between[::-1], [-0.0, 0.0], between, [np.inf]))
        return steps_from_borders(codes, borders)


def _positive_values(codes: NDArray[np.int64], bits: int, es: int) -> NDArray[np.float64]:
    """Return the values of positive posit codes of any width."""
    body_bits = bits - 1
    leading = (codes >> (body_bits - 1)) & 1
    # length of the run of bits equal to the leading one
    flipped = np.where(leading == 1, ~codes & ((1 << body_bits) - 1), codes)
    run = body_bits - np.where(flipped > 0, np.frexp(flipped.astype(np.float64))[1], 0)
    regime = np.where(leading == 1, run - 1, -run)
    rest_bits = np.maximum(body_bits - run - 1, 0)
    rest = codes & ((1 << rest_bits) - 1)
    # exponent bits that the regime pushed out are zeros
    fraction_bits = np.maximum(rest_bits - es, 0)
    exponent = (rest >> fraction_bits) << np.maximum(es - rest_bits, 0)
    fraction = rest & ((1 << fraction_bits) - 1)
    scale = regime * (1 << es) + exponent
    values: NDArray[np.float64] = np.ldexp((fraction + (1 << fraction_bits)).astype(np.float64), scale - fraction_bits)
    return values
