"""Two's complement and unsigned integers."""

__all__ = ["Integer"]

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.checks import integer
from tetrit.errors import InvalidValueError
from tetrit.formats._steps import Steps, midpoints, steps_from_borders
from tetrit.formats.real import RealFormat


@dataclass(frozen=True, kw_only=True)
class Integer(RealFormat):
    """Integers of 2 to 16 bits; rounds to nearest, ties to even, and saturates.

    Parameters
    ----------
    signed : bool
        Two's complement, or unsigned.
    symmetric : bool
        Whether the most negative code is reserved (its value is NaN, and `encode` never gives it), so that the range
        is symmetric.

    Examples
    --------
    >>> from tetrit import formats
    >>> formats.get("int8").quantize([0.5, 1.5, -200.0]).tolist()
    [0.0, 2.0, -128.0]
    >>> formats.get("int8", symmetric=True).quantize(-200.0).tolist()
    -127.0
    """

    signed: bool = True
    symmetric: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        integer("bits", self.bits, minimum=2, maximum=16)
        if self.symmetric and not self.signed:
            raise InvalidValueError(f"format '{self.name}' is unsigned: it has no symmetric variant")

    def _make_values(self) -> NDArray[Any]:
        values = np.arange(1 << self.bits, dtype=np.float64)
        half = 1 << (self.bits - 1)
        if self.signed:
            values[half:] -= 2 * half
        if self.symmetric:
            values[half] = np.nan
        return values

    def _make_steps(self) -> Steps:
        low = -(1 << (self.bits - 1)) + self.symmetric if self.signed else 0
        high = (1 << (self.bits - self.signed)) - 1
        numbers = np.arange(low, high + 1)
        return steps_from_borders(numbers & ((1 << self.bits) - 1), midpoints(numbers.astype(np.float64))[0])
