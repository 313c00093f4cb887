"""Codebooks: formats whose values the user gives, and the names from which they can be made again."""

__all__ = ["Codebook", "codebook", "codebook_name", "named_codebook"]

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit.checks import finite
from tetrit.errors import InvalidValueError
from tetrit.formats._steps import Steps, midpoints, steps_from_borders
from tetrit.formats.real import RealFormat

_OPEN, _CLOSE = "codebook(", ")"


@dataclass(frozen=True, kw_only=True)
class Codebook(RealFormat):
    """A table of up to 256 values, code i standing for ``levels[i]``; rounds to the nearest, ties to the even code.

    Codes past the last level are reserved (NaN). Of equal levels, `encode` gives the one with the lowest code.
    `tetrit.formats.codebook` makes one with as many bits as the values need.

    Parameters
    ----------
    levels : tuple of float
        2 to 256 finite values, in any order; as many as a code can tell apart, or fewer. -0.0 becomes 0.0.

    Raises
    ------
    TypeError
        If the levels are no real numbers.
    InvalidValueError
        If they are not one-dimensional, not finite, or too many or too few.
    """

    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "levels", _levels("levels", self.levels))
        if len(self.levels) > 1 << self.bits:
            raise InvalidValueError(
                f"`levels` of {self.bits} bits must be at most {1 << self.bits}, got {len(self.levels)}"
            )

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
    TypeError
        If the values are no real numbers.
    InvalidValueError
        If they are not one-dimensional, not finite, or too many or too few.

    Examples
    --------
    >>> from tetrit import formats
    >>> book = formats.codebook([-1.0, -0.25, 0.25, 1.0])
    >>> book.encode([0.6, 0.7, -9.0]).tolist()
    [2, 3, 0]
    """
    levels = _levels("values", values)
    return Codebook(name=name, bits=(len(levels) - 1).bit_length(), levels=levels)


def codebook_name(values: ArrayLike | Sequence[float]) -> str:
    """Return the name by which `tetrit.formats.get` finds the codebook with these values, in any process.

    It spells the values, each so that reading it gives the same double: a quantised tensor that carries this name needs
    nothing else to be decoded.

    Parameters
    ----------
    values : array_like (n,)
        2 to 256 finite numbers; code i stands for ``values[i]``.

    Returns
    -------
    str

    Raises
    ------
    TypeError
        If the values are no real numbers.
    InvalidValueError
        If they are not one-dimensional, not finite, or too many or too few.

    Examples
    --------
    >>> from tetrit import formats
    >>> name = formats.codebook_name([-1.0, -0.25, 0.25, 1.0])
    >>> name
    'codebook(-1.0,-0.25,0.25,1.0)'
    >>> formats.get(name).encode([0.6, 0.7, -9.0]).tolist()
    [2, 3, 0]
    """
    return f"{_OPEN}{','.join(map(repr, _levels('values', values)))}{_CLOSE}"


@lru_cache(maxsize=128)
def named_codebook(name: str) -> Codebook | None:
    """Return the codebook of a name that `codebook_name` gave, None for a name of another kind."""
    if not (name.startswith(_OPEN) and name.endswith(_CLOSE)):
        return None
    levels = []
    for word in name[len(_OPEN) : -len(_CLOSE)].split(","):
        try:
            levels.append(float(word))
        except ValueError:
            raise InvalidValueError(f"values of a codebook's name must be numbers, got '{word}'") from None
    return codebook(levels, name=codebook_name(levels))


def _levels(argument: str, values: ArrayLike) -> tuple[float, ...]:
    """Return the values of a codebook as floats, if they can be that."""
    try:
        given = np.asarray(values)
    except ValueError:
        raise TypeError(f"`{argument}` must hold real numbers, got nested lists of different lengths") from None
    if not np.can_cast(given.dtype, np.longdouble, "safe"):
        raise TypeError(f"`{argument}` must hold real numbers, got {given.dtype}")
    if given.ndim != 1 or not 2 <= given.size <= 256:
        raise InvalidValueError(f"`{argument}` must be 2 to 256 numbers in one dimension, got shape {given.shape}")
    with np.errstate(over="ignore", under="ignore"):
        levels = given.astype(np.float64)
    finite(argument, levels)
    # + 0.0 turns -0.0 into 0.0: a codebook has one zero
    return tuple((levels + 0.0).tolist())
