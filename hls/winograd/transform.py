"""The transforms of Winograd's convolution F(m, r), exact: the authority for the matrices and their integer form.

``y = A^T [(G g) * (B^T d)]`` gives the m outputs ``y_i = sum_j d_{i+j} g_j`` of r taps from ``n = m + r - 1`` inputs
by n products instead of m r; in two dimensions ``Y = A^T [(G g G^T) * (B^T d B)] A``.
"""

__all__ = ["IntegerTransform", "Transform", "transform"]

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hls.winograd.points import named

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.object_]
Matrix = tuple[tuple[Fraction, ...], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerTransform:
    """The same transforms in integers: ``denominator * y = A [(G g) * (B d)]``.

    Rows of `b` and `g` are scaled to the smallest integers that are in proportion to them; `a` and `denominator` make
    up for it. In two dimensions the result is ``denominator**2`` times the convolution, exactly.

    Attributes
    ----------
    a : ndarray of object, shape (m, n)
        Python's integers, as all entries: those of some points are large.
    g : ndarray of object, shape (n, r)
    b : ndarray of object, shape (n, n)
    denominator : int
    """

    a: Objects
    g: Objects
    b: Objects
    denominator: int


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Transforms for F(m, r) at rational points and infinity, by the construction of Toom and Cook.

    Attributes
    ----------
    m : int
        Outputs of a tile, along one axis.
    r : int
        Taps of the kernel.
    points : tuple of Fraction
        The ``m + r - 2`` finite ones, all different.

    Notes
    -----
    With ``M_k(x) = prod_{l != k} (x - p_l)`` and ``N_k = M_k(p_k)``: row k of G is ``(1, p_k, p_k^2, ...) / N_k``, row
    k of B^T the coefficients of ``M_k``, column k of A^T ``(1, p_k, p_k^2, ...)``; the last rows belong to infinity:
    the last tap, the coefficients of ``prod (x - p_l)``, the last output. That this is the convolution is checked for
    every transform when it is made, over the rationals.

    Examples
    --------
    >>> f = transform(2, 3)
    >>> f.n, [[str(c) for c in row] for row in f.g]
    (4, [['-1', '0', '0'], ['1/2', '1/2', '1/2'], ['1/2', '-1/2', '1/2'], ['0', '0', '1']])
    >>> f.integer.g.tolist(), f.integer.denominator
    ([[-1, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 1]], 2)
    """

    m: int
    r: int
    points: tuple[Fraction, ...]

    def __post_init__(self) -> None:
        for name in ("m", "r"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), maximum=64))
        points = tuple(_fraction(point) for point in self.points)
        object.__setattr__(self, "points", points)
        if len(points) != self.n - 1:
            raise InvalidValueError(
                f"`points` must be {self.n - 1} finite ones for F({self.m},{self.r}), got {len(points)}"
            )
        if len(set(points)) < len(points):
            raise InvalidValueError(f"`points` must all be different, got {', '.join(map(str, points))}")
        self._check()

    @property
    def n(self) -> int:
        """Inputs of a tile, and products."""
        return self.m + self.r - 1

    @cached_property
    def a(self) -> Matrix:
        """A^T, m x n."""
        powers = [[point**i for point in self.points] for i in range(self.m)]
        return tuple((*row, Fraction(i == self.m - 1)) for i, row in enumerate(powers))

    @cached_property
    def g(self) -> Matrix:
        """G, n x r."""
        rows = [tuple(point**j / self._norm(k) for j in range(self.r)) for k, point in enumerate(self.points)]
        return (*rows, tuple(Fraction(j == self.r - 1) for j in range(self.r)))

    @cached_property
    def b(self) -> Matrix:
        """B^T, n x n."""
        rows = [_expand([p for other, p in enumerate(self.points) if other != k]) for k in range(self.n - 1)]
        padded = [(*row, *([Fraction(0)] * (self.n - len(row)))) for row in rows]
        return (*padded, tuple(_expand(self.points)))

    def _norm(self, k: int) -> Fraction:
        return math.prod((self.points[k] - p for other, p in enumerate(self.points) if other != k), start=Fraction(1))

    def _check(self) -> None:
        """Compare with the definition: tap j and input l contribute to output i where l = i + j, and nowhere else."""
        for i in range(self.m):
            for j in range(self.r):
                for place in range(self.n):
                    found = sum(self.a[i][k] * self.g[k][j] * self.b[k][place] for k in range(self.n))
                    assert found == (place == i + j)

    @cached_property
    def floats(self) -> tuple[Floats, Floats, Floats]:
        """A^T, G and B^T, each entry rounded once to float64."""
        a, g, b = (np.array([[float(x) for x in row] for row in rows]) for rows in (self.a, self.g, self.b))
        return a, g, b

    @cached_property
    def integer(self) -> IntegerTransform:
        """The transforms in integers."""
        b_rows, g_rows = ([_primitive(row) for row in rows] for rows in (self.b, self.g))
        scales = [b[1] * g[1] for b, g in zip(b_rows, g_rows, strict=True)]
        columns = [[self.a[i][k] / scales[k] for k in range(self.n)] for i in range(self.m)]
        denominator = math.lcm(*(x.denominator for row in columns for x in row))
        a = [[int(x * denominator) for x in row] for row in columns]
        b, g = ([row[0] for row in rows] for rows in (b_rows, g_rows))
        made = {name: np.array(rows, dtype=object) for name, rows in (("a", a), ("g", g), ("b", b))}
        return IntegerTransform(**made, denominator=denominator)

    @property
    def dyadic(self) -> bool:
        """Whether every entry of the transforms is a multiple of a power of two, and so exact in binary."""
        denominators = (x.denominator for rows in (self.a, self.g, self.b) for row in rows for x in row)
        return all(d & (d - 1) == 0 for d in denominators)

    @property
    def saving(self) -> float:
        """Products of a direct convolution over those of this one, in two dimensions."""
        return (self.m * self.r / self.n) ** 2

    def __str__(self) -> str:
        """Return its name and its points."""
        return f"F({self.m},{self.r}) at {', '.join(map(str, self.points)) or 'infinity only'}"


def transform(m: int, r: int, points: str | Iterable[Fraction | int | str] = "standard") -> Transform:
    """Return the transforms for m outputs and r taps.

    Parameters
    ----------
    m, r : int
    points : str or iterable of Fraction, int or str
        A name of `tetrit.hls.winograd.points.sets()`, or the finite points.

    Raises
    ------
    TypeError, InvalidValueError
        Sizes or points that are none; too few, too many or equal points.
    """
    if isinstance(points, str):
        return Transform(m=m, r=r, points=named(points, m, r))
    return Transform(m=m, r=r, points=tuple(_fraction(point) for point in points))


def _fraction(point: Fraction | int | str) -> Fraction:
    if isinstance(point, bool) or not isinstance(point, Fraction | int | str):
        raise TypeError(f"`points` must be fractions, integers or texts such as '5/6', got {point!r}")
    try:
        return Fraction(point)
    except (ValueError, ZeroDivisionError):
        raise InvalidValueError(f"`points`: '{point}' is no fraction") from None


def _expand(roots: Sequence[Fraction]) -> list[Fraction]:
    """Return the coefficients of ``prod (x - root)``, the constant first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [high - root * low for high, low in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return coefficients


def _primitive(row: Sequence[Fraction]) -> tuple[list[int], Fraction]:
    """Return the smallest integers in proportion to a row, and the positive factor between them."""
    denominator = math.lcm(*(x.denominator for x in row))
    integers = [int(x * denominator) for x in row]
    divisor = math.gcd(*integers) or 1
    return [x // divisor for x in integers], Fraction(denominator, divisor)
