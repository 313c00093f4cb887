"""The authority for what is significant: means with Student's t intervals, paired differences, Holm's correction."""

__all__ = ["LEVEL", "Interval", "holm", "mean_interval", "paired_p", "t_quantile", "t_tail"]

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tetrit.errors import InvalidValueError

LEVEL = 0.95
"""Coverage of all intervals."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean and its confidence interval.

    Attributes
    ----------
    mean : float
    half : float or None
        Half of the interval's width; None where there is one value only.
    n : int
        How many values.
    """

    mean: float
    half: float | None
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval exists and 0 lies outside of it."""
        return self.half is not None and abs(self.mean) > self.half


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean of `values` and its 95 % interval by Student's t with n - 1 degrees of freedom.

    Parameters
    ----------
    values : sequence of float
        Finite, independent draws, at least one. For a paired comparison: the differences.

    Returns
    -------
    Interval
        Of width 0 where all values are the same.

    Raises
    ------
    InvalidValueError
        If there is no value.

    Notes
    -----
    The interval assumes that the values are normally distributed. A few seeds cannot show whether they are.

    Examples
    --------
    >>> from tetrit.train.compare.statistics import mean_interval
    >>> found = mean_interval([1.0, 2.0, 3.0])
    >>> found.mean, round(found.half, 4)  # 4.3027 / sqrt(3)
    (2.0, 2.4841)
    """
    n = len(values)
    mean, error = _moments(values)
    return Interval(mean=mean, half=None if n == 1 else t_quantile(0.5 + LEVEL / 2, n - 1) * error, n=n)


def paired_p(differences: Sequence[float]) -> float | None:
    """Return the p-value of the paired t test, two-sided: how likely such a mean is where the true one is 0.

    None for fewer than two differences. Where all are the same, there is no spread to judge by: then 1 if they are 0,
    else 0.

    Examples
    --------
    >>> from tetrit.train.compare.statistics import paired_p
    >>> round(paired_p([1.0, 2.0, 3.0]), 4)
    0.0742
    """
    n = len(differences)
    if n < 2:
        return None
    mean, error = _moments(differences)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return t_tail(abs(mean) / error, n - 1)


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard error, 0 for a single value."""
    n = len(values)
    if n == 0:
        raise InvalidValueError("a mean needs at least one value, got none")
    if min(values) == max(values):
        return values[0], 0.0
    mean = math.fsum(values) / n
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted for their number by the step-down procedure of Holm; None stays None and does not count.

    Adjusted values below a level are the hypotheses that can be rejected while the chance of even one wrong rejection
    stays below that level.

    Notes
    -----
    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6, 1979.

    Examples
    --------
    >>> from tetrit.train.compare.statistics import holm
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        adjusted[place] = largest
    return adjusted


def t_tail(t: float, df: int) -> float:
    """Return the chance that Student's t with `df` degrees of freedom exceeds `t` in magnitude; within 1e-12.

    Examples
    --------
    >>> from tetrit.train.compare.statistics import t_tail
    >>> round(t_tail(1.0, 1), 12)
    0.5
    """
    from scipy.special import betainc

    square = t * t
    if square < df:  # the incomplete beta function from the end that the chance is far from
        return float(1.0 - betainc(0.5, df / 2, square / (df + square)))
    return float(betainc(df / 2, 0.5, df / (df + square)))


def t_quantile(p: float, df: int) -> float:
    """Return the value that Student's t with `df` degrees of freedom stays below with the chance `p`, from 0.5 to 1.

    Examples
    --------
    >>> from tetrit.train.compare.statistics import t_quantile
    >>> [round(t_quantile(0.975, df), 3) for df in (1, 2, 4)]
    [12.706, 4.303, 2.776]
    """
    from scipy.special import stdtrit

    return float(stdtrit(df, p))
