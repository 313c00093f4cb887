"""Activation functions that a ramp converter realises, as values, monotone pieces, and where they cross a level."""

__all__ = ["CURVES", "Curve", "Points", "curve", "table"]

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError, unknown_name

Floats = npt.NDArray[np.float64]
Points = tuple[tuple[float, float], ...]

_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_ALPHA = 1.6732632423543772848170429916717
_MOST_POINTS = 65536


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """A continuous function of one variable that is monotone between its turning points.

    Attributes
    ----------
    name : str
    rule : callable
        float64 array -> float64 array.
    turns : tuple of float
        Where it goes from rising to falling or back, ascending.
    domain : tuple of float
        Input range that is taken where the user names none.
    """

    name: str
    rule: Callable[[Floats], Floats]
    turns: tuple[float, ...] = ()
    domain: tuple[float, float]

    def __call__(self, x: npt.ArrayLike) -> Floats:
        """Return the values at `x`."""
        with np.errstate(over="ignore"):  # exp of a large number: the quotient is 0, as it should be
            return self.rule(np.asarray(x, dtype=np.float64))

    def pieces(self, low: float, high: float) -> tuple[tuple[float, float], ...]:
        """Return the monotone stretches that make up [low, high], in order."""
        ends = [low, *(turn for turn in self.turns if low < turn < high), high]
        return tuple(itertools.pairwise(ends))

    def crossings(self, levels: Floats, low: float, high: float) -> tuple[Floats, int]:
        """Find where one monotone stretch crosses levels.

        Contract: exact in float64. A crossing x is the first number of (low, high] whose value is on the other side of
        the level than the value at `low`; a value that equals the level is above it.

        Parameters
        ----------
        levels : ndarray of float64, shape (n,)
            Ascending.
        low, high : float
            The stretch.

        Returns
        -------
        ndarray of float64, shape (m,)
            Crossings, ascending; levels that are not crossed have none.
        int
            1 where the stretch rises, -1 where it falls.
        """
        first, last = self(low), self(high)
        rising = bool(last >= first)
        crossed = levels[(first < levels) & (levels <= last)] if rising else levels[(last < levels) & (levels <= first)]
        below = np.full(len(crossed), _ordinal(low))  # the value is still on the side of `first`
        above = np.full(len(crossed), _ordinal(high))
        while (below + 1 < above).any():
            middle = (below & above) + ((below ^ above) >> 1)  # rounded down, without overflow
            there = (self(_number(middle)) >= crossed) == rising
            above = np.where(there, middle, above)
            below = np.where(there, below, middle)
        found = _number(above)
        return (found, 1) if rising else (found[::-1].copy(), -1)


def curve(function: str | Points) -> Curve:
    """Return the curve of a name of `CURVES`, or the straight lines between points (x, y)."""
    if isinstance(function, str):
        if function not in CURVES:
            raise unknown_name("function", function, CURVES)
        return CURVES[function]
    return _from_points(checked_points(function))


def table(function: Callable[[Floats], Any], low: float, high: float, *, n: int = 1025) -> Points:
    """Sample a function at `n` equal distances, for ``RampAdc(function=...)``, which takes straight lines in between.

    Parameters
    ----------
    function : callable
        Called once, with a float64 array of shape (n,).
    low, high : float
        Ends of the samples.
    n : int
        2..65536.

    Returns
    -------
    tuple of (float, float)

    Raises
    ------
    InvalidValueError
        If `function` returns another number of values, or a NaN or an infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.hardware.curves import table
    >>> table(np.square, 0, 2, n=3)
    ((0.0, 0.0), (1.0, 1.0), (2.0, 4.0))
    """
    if not callable(function):
        raise TypeError(f"`function` must be callable, got {function!r}")
    low, high = checks.real("low", low), checks.real("high", high)
    if not low < high:
        raise InvalidValueError(f"`low` must be below `high`, got {low:g} and {high:g}")
    x = np.linspace(low, high, checks.integer("n", n, minimum=2, maximum=_MOST_POINTS))
    y = np.asarray(function(x.copy()), dtype=np.float64)
    if y.shape != x.shape:
        raise InvalidValueError(f"`function` must return {len(x)} values for {len(x)} numbers, got shape {y.shape}")
    checks.finite("function(x)", y)
    return checked_points(tuple(zip(x.tolist(), y.tolist(), strict=True)))


def checked_points(points: Any) -> Points:
    """Return `points` as pairs of floats with ascending x; errors speak of `function`."""
    if not isinstance(points, tuple | list):
        raise TypeError(f"`function` must be a name or points (x, y), got {points!r}")
    if not 2 <= len(points) <= _MOST_POINTS:
        raise InvalidValueError(f"`function` must have 2 to {_MOST_POINTS} points, got {len(points)}")
    pairs = []
    for index, point in enumerate(points):
        if not isinstance(point, tuple | list) or len(point) != 2:
            raise TypeError(f"`function` must have points (x, y), got {point!r} at index {index}")
        pairs.append((checks.real(f"function[{index}].x", point[0]), checks.real(f"function[{index}].y", point[1])))
        if index and not pairs[-2][0] < pairs[-1][0]:
            raise InvalidValueError(
                f"`function` must have ascending x, got {pairs[-1][0]:g} after {pairs[-2][0]:g} at index {index}"
            )
        if index and not math.isfinite((pairs[-1][1] - pairs[-2][1]) / (pairs[-1][0] - pairs[-2][0])):
            raise InvalidValueError(f"`function` must have finite slopes, got an infinite one before index {index}")
    return tuple(pairs)


def _from_points(points: Points) -> Curve:
    xs, ys = (np.array(column) for column in zip(*points, strict=True))

    def rule(x: Floats) -> Floats:
        place = np.clip(np.searchsorted(xs, x, side="right") - 1, 0, len(xs) - 2)
        left, right = ys[place], ys[place + 1]
        values = np.interp(x, xs, ys)  # may round past the end of its line, and so not be monotone
        return np.asarray(np.clip(values, np.minimum(left, right), np.maximum(left, right)))

    return Curve(name="table", rule=rule, turns=_turns(points), domain=(points[0][0], points[-1][0]))


def _turns(points: Iterable[tuple[float, float]]) -> tuple[float, ...]:
    """Return where the lines between points turn; a level stretch belongs to what comes before it."""
    turns: list[float] = []
    direction, previous = 0, None
    for x, y in points:
        if previous is not None and y != previous[1]:
            now = 1 if y > previous[1] else -1
            if now == -direction:
                turns.append(previous[0])
            direction = now
        previous = (x, y)
    return tuple(turns)


def _ordinal(x: float) -> int:
    """Return the place of a number among all float64, 0 for 0.0."""
    bits = int(np.float64(x).view(np.int64))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFFFFFFFFFF)


def _number(ordinals: npt.NDArray[np.int64]) -> Floats:
    magnitude: Floats = np.abs(ordinals).view(np.float64)
    return np.copysign(magnitude, ordinals.astype(np.float64))


def _sigmoid(x: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-x))


def _selu(x: Floats) -> Floats:
    return _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0.0)))


_ERF = np.frompyfunc(math.erf, 1, 1)


def _gelu(x: Floats) -> Floats:
    return 0.5 * x * (1.0 + np.asarray(_ERF(x / math.sqrt(2.0)), dtype=np.float64))


CURVES: dict[str, Curve] = {
    found.name: found
    for found in (
        Curve(name="gelu", rule=_gelu, turns=(-0.7517915246935645,), domain=(-4.0, 4.0)),
        Curve(name="identity", rule=lambda x: x + 0.0, domain=(-1.0, 1.0)),
        Curve(name="relu", rule=lambda x: np.maximum(x, 0.0), domain=(-4.0, 4.0)),
        Curve(name="selu", rule=_selu, domain=(-4.0, 4.0)),
        Curve(name="sigmoid", rule=_sigmoid, domain=(-6.0, 6.0)),
        Curve(name="silu", rule=lambda x: x * _sigmoid(x), turns=(-1.2784645427610737,), domain=(-6.0, 6.0)),
        Curve(name="softplus", rule=lambda x: np.logaddexp(0.0, x), domain=(-4.0, 4.0)),
        Curve(name="tanh", rule=np.tanh, domain=(-3.0, 3.0)),
    )
}
"""Named functions. GELU is the exact one, with the error function; SELU of Klambauer et al. 2017."""
