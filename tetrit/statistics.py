"""The authority for what is significant: intervals of means, quantiles and shares, paired differences, corrections."""

__all__ = [
    "LEVEL",
    "Bounded",
    "Interval",
    "holm",
    "mean_interval",
    "paired_p",
    "quantile_interval",
    "share_interval",
    "t_quantile",
    "t_tail",
]

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
    >>> from tetrit.statistics import mean_interval
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
    >>> from tetrit.statistics import paired_p
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
    >>> from tetrit.statistics import holm
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
    >>> from tetrit.statistics import t_tail
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
    >>> from tetrit.statistics import t_quantile
    >>> [round(t_quantile(0.975, df), 3) for df in (1, 2, 4)]
    [12.706, 4.303, 2.776]
    """
    from scipy.special import stdtrit

    return float(stdtrit(df, p))


@dataclass(frozen=True, kw_only=True)
class Bounded:
    """An estimate and the bounds of its confidence interval.

    Attributes
    ----------
    value : float
    low, high : float or None
        None where there are too few values for a bound of this kind.
    """

    value: float
    low: float | None
    high: float | None


def quantile_interval(values: Sequence[float], q: float) -> Bounded:
    """Return the `q` quantile of `values` and a 95 % interval that holds for any distribution.

    Parameters
    ----------
    values : sequence of float
        Finite, independent draws, at least one.
    q : float
        Above 0 and below 1.

    Returns
    -------
    Bounded
        `value` is interpolated between neighbours as numpy's ``linear`` does it. The bounds are two of the values.

    Raises
    ------
    InvalidValueError
        If there is no value, or `q` is out of range.

    Notes
    -----
    How many draws fall below the true quantile is binomial with n and `q`; each bound leaves out at most 2.5 % of it.
    Source: Conover, "Practical Nonparametric Statistics", 3rd ed., Wiley 1999, section 3.2.

    Examples
    --------
    >>> from tetrit.statistics import quantile_interval
    >>> quantile_interval(range(1, 11), 0.5)  # the 2nd and the 9th of 10: P(Bin(10, 1/2) <= 1) = 11/1024
    Bounded(value=5.5, low=2.0, high=9.0)
    >>> quantile_interval(range(1, 11), 0.05).low is None
    True
    """
    from scipy.special import bdtr, bdtrc

    if not 0 < q < 1:
        raise InvalidValueError(f"`q` must be above 0 and below 1, got {q}")
    order = sorted(float(value) for value in values)
    n = len(order)
    if n == 0:
        raise InvalidValueError("a quantile needs at least one value, got none")
    place = q * (n - 1)
    below = int(place)
    value = order[below]
    if below + 1 < n:
        value += (place - below) * (order[below + 1] - value)
    tail = (1 - LEVEL) / 2
    # the interval from the k-th to the l-th value misses if fewer than k, or l and more, are below the quantile
    lows = [k for k in range(1, n + 1) if bdtr(k - 1, n, q) <= tail]
    highs = [k for k in range(1, n + 1) if bdtrc(k - 1, n, q) <= tail]
    return Bounded(value=value, low=order[lows[-1] - 1] if lows else None, high=order[highs[0] - 1] if highs else None)


def share_interval(successes: int, n: int) -> Bounded:
    """Return the share of `successes` among `n` independent trials and its exact 95 % interval.

    Raises
    ------
    InvalidValueError
        If there is no trial, or more successes than trials.

    Notes
    -----
    Source: Clopper and Pearson, "The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial",
    Biometrika 26, 1934. The interval covers the true share in at least 95 % of all cases, whatever it is.

    Examples
    --------
    >>> from tetrit.statistics import share_interval
    >>> found = share_interval(10, 10)
    >>> found.value, round(found.low, 4), found.high  # 0.025 ** (1 / 10)
    (1.0, 0.6915, 1.0)
    """
    from scipy.special import betaincinv

    if n < 1 or not 0 <= successes <= n:
        raise InvalidValueError(f"a share needs at least one trial, and no more successes, got {successes} of {n}")
    tail = (1 - LEVEL) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1 - tail))
    return Bounded(value=successes / n, low=low, high=high)
