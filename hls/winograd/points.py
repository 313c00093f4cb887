"""Interpolation points of Winograd's convolution: the authority for the sets that have names, and their conditioning.

All sets have a further point at infinity, which is not listed.
"""

__all__ = ["NOVA", "condition", "named", "sets"]

from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from tetrit import checks
from tetrit.errors import InvalidValueError


def _symmetric(*magnitudes: str) -> tuple[Fraction, ...]:
    """Return 0 and every magnitude with both signs."""
    return (Fraction(0), *(sign * Fraction(size) for size in magnitudes for sign in (1, -1)))


NOVA: dict[int, tuple[Fraction, ...]] = {
    5: _symmetric("5/6", "7/6"),
    7: _symmetric("3/5", "1", "7/6"),
    9: _symmetric("2/5", "5/6", "1", "7/6"),
}
"""Finite points of J. Lohia, "NOVA" (arXiv 2512.18453), by their number: F(4,3), F(6,3) and F(8,3)."""

_HALVES: dict[int, tuple[Fraction, ...]] = {
    5: _symmetric("1", "2"),
    7: _symmetric("1", "2", "1/2"),
}
"""The usual points of libraries, by their number: consecutive integers for F(4,3), with +-1/2 for F(6,3)."""


def sets() -> tuple[str, ...]:
    """Return the names that `named` knows."""
    return ("standard", "halves", "nova")


def named(name: str, m: int, r: int) -> tuple[Fraction, ...]:
    """Return the ``m + r - 2`` finite points of a named set for F(m, r).

    Parameters
    ----------
    name : {"standard", "halves", "nova"}
        ``standard``: 0, 1, -1, 2, -2, ...; ``halves``: with +-1/2, as most libraries have them for F(6,3); ``nova``:
        see `NOVA`.
    m, r : int
        Outputs of a tile, and taps of the kernel.

    Returns
    -------
    tuple of Fraction

    Raises
    ------
    UnknownNameError
        Another name.
    InvalidValueError
        `m` or `r` below 1, or a set that has no points for this size.

    Examples
    --------
    >>> [str(point) for point in named("nova", 4, 3)]
    ['0', '5/6', '-5/6', '7/6', '-7/6']
    """
    checks.choice("points", name, sets())
    n = checks.integer("m", m, maximum=64) + checks.integer("r", r, maximum=64) - 2
    if name == "standard":
        return tuple(Fraction((place + 1) // 2 * (1 if place % 2 else -1)) for place in range(n))
    known = NOVA if name == "nova" else _HALVES
    if n not in known:
        sizes = ", ".join(map(str, sorted(known)))
        raise InvalidValueError(f"`points` '{name}' are known for {sizes} finite points, F({m},{r}) needs {n}")
    return known[n]


def condition(points: Iterable[Fraction | int]) -> float:
    """Return the condition number, in the 2-norm, of the square Vandermonde matrix of finite points.

    Parameters
    ----------
    points : iterable of Fraction or int
        All different.

    Notes
    -----
    This is the measure of NOVA (arXiv 2512.18453), whose figures it reproduces; the point at infinity is left out.

    Examples
    --------
    >>> round(condition(named("standard", 4, 3)), 1), round(condition(named("nova", 4, 3)), 1)
    (42.5, 14.5)
    """
    values = np.array([float(point) for point in points])
    return float(np.linalg.cond(np.vander(values, increasing=True), 2)) if values.size else 1.0
