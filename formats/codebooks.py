"""Codebooks: formats whose values the user gives."""

__all__ = ["Codebook", "codebook"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit.checks import finite
from tetrit.errors import InvalidValueError
from tetrit.formats._steps import Steps, midpoints, steps_from_borders
from tetrit.formats.real import RealFormat


@dataclass(frozen=True, kw_only=True)
class Codebook(RealFormat):
    """A table of up to 256 values, code i standing for ``levels[i]``; rounds to the nearest, ties to the even code.

    Codes past the last level are reserved (NaN). Of equal levels, `encode` gives the one with the lowest code. Make
    one with `tetrit.formats.codebook`.

    Parameters
    ----------
    levels : tuple of float
        The values, in any order; as many as a code can tell apart, or fewer.
    """

    levels: tuple[float, ...]

    def _make_values(self) -> NDArray[Any]:
        values = np.full(1 << self.bits, np.nan)
        values[: len(self.levels)] = self.levels
        return values

    def _make_steps(self) -> Steps:
        distinct, codes = np.unique(np.array(self.levels), return_index=True)
        borders, exact = midpoints(distinct)
        return steps_from_borders(codes, borders, tie_possible=exact, split_zero=False)


def codebook(values: ArrayLike | Sequence[float], *, name: str = "codebook") -> Codebook:
    """Make a format from a table of values, such as a learned one.

    Parameters
    ----------
    values : array_like (n,)
        2 to 256 finite numbers; code i stands for ``values[i]``. A code has as many bits as n values need.
    name : str
        Name of the format.

    Returns
    -------
    Codebook

    Raises
    ------
    InvalidValueError
        If the values are not one-dimensional, not finite, or too many or too few.

    Examples
    --------
    >>> from tetrit import formats
    >>> book = formats.codebook([-1.0, -0.25, 0.25, 1.0])
    >>> book.encode([0.6, 0.7, -9.0]).tolist()
    [2, 3, 0]
    """
    levels = np.asarray(values, dtype=np.float64)
    if levels.ndim != 1 or not 2 <= levels.size <= 256:
        raise InvalidValueError(f"`values` must be 2 to 256 numbers in one dimension, got shape {levels.shape}")
    finite("values", levels)
    # + 0.0 turns -0.0 into 0.0: a codebook has one zero
    return Codebook(name=name, bits=(levels.size - 1).bit_length(), levels=tuple((levels + 0.0).tolist()))
