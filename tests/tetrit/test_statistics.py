"""Intervals, p-values and Holm's correction: against SciPy, by hand, and by their meaning."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tetrit.errors import InvalidValueError
from tetrit.statistics import (
    LEVEL,
    Interval,
    holm,
    mean_interval,
    paired_p,
    quantile_interval,
    share_interval,
    t_quantile,
    t_tail,
)

DEGREES = (1, 2, 3, 4, 9, 29, 200)


@pytest.mark.parametrize("df", DEGREES)
def test_quantiles_are_those_of_scipy(df):
    for p in (0.5, 0.6, 0.9, 0.975, 0.995, 0.9999):
        assert t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("df", DEGREES)
def test_tails_are_those_of_scipy(df):
    for t in (0.0, 1e-3, 0.3, 1.0, 2.5, 12.0, 1e3):
        assert t_tail(t, df) == pytest.approx(2 * stats.t.sf(t, df), rel=1e-10, abs=1e-12)
    assert t_tail(1e200, df) == 0.0


def test_one_degree_of_freedom_is_the_cauchy_distribution():
    for t in (1e-9, 0.1, 1.0, 3.0, 50.0):
        assert t_tail(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), abs=1e-13)


def test_an_interval_by_hand():
    # of 91, 92, 96: mean 93, deviations -2, -1, 3, variance 14 / 2 = 7, t(0.975, 2) = 4.302653
    found = mean_interval([91.0, 92.0, 96.0])
    assert (found.mean, found.n) == (93.0, 3)
    assert found.half == pytest.approx(4.302653 * math.sqrt(7 / 3), rel=1e-6)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9).filter(lambda values: len(set(values)) > 1))
def test_intervals_are_those_of_scipy(values):
    found = mean_interval(values)
    assert found.mean == pytest.approx(statistics.fmean(values), rel=1e-12, abs=1e-9)
    error = statistics.stdev(values) / math.sqrt(len(values))
    assert found.half == pytest.approx(stats.t.ppf(0.5 + LEVEL / 2, len(values) - 1) * error, rel=1e-9)


def test_an_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for values in rng.normal(loc=3.0, size=(4000, 3)):
        found = mean_interval(values.tolist())
        covered += abs(found.mean - 3.0) <= found.half
    assert 0.94 < covered / 4000 < 0.96  # five standard errors are 0.017


def test_a_single_value_has_no_interval_and_equal_ones_a_width_of_zero():
    assert mean_interval([0.5]) == Interval(mean=0.5, half=None, n=1)
    assert not mean_interval([0.5]).excludes_zero
    assert mean_interval([0.1, 0.1, 0.1]) == Interval(mean=0.1, half=0.0, n=3)
    assert mean_interval([0.1, 0.1]).excludes_zero
    assert not mean_interval([0.0, 0.0]).excludes_zero
    with pytest.raises(InvalidValueError, match=r"^a mean needs at least one value, got none$"):
        mean_interval([])


def test_p_values():
    one, two = [0.9, 0.8, 0.95, 0.7], [0.85, 0.81, 0.9, 0.6]
    differences = [a - b for a, b in zip(one, two, strict=True)]
    assert paired_p(differences) == pytest.approx(stats.ttest_rel(one, two).pvalue, rel=1e-9)
    assert paired_p([0.3]) is None
    assert paired_p([]) is None
    assert paired_p([0.0, 0.0]) == 1.0
    assert paired_p([0.2, 0.2]) == 0.0


@given(st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=6).filter(lambda values: len(set(values)) > 1))
def test_an_interval_excludes_zero_where_p_is_below_the_level(differences):
    p = paired_p(differences)
    if abs(p - (1 - LEVEL)) > 1e-9:
        assert mean_interval(differences).excludes_zero == (p < 1 - LEVEL)


def test_holm_by_hand():
    # 0.005 * 4, 0.01 * 3, then 0.03 * 2 and 0.04 * 1 raised to that
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, None, 0.6]) == [1.0, None, 1.0]
    assert holm([0.5, None]) == [0.5, None]
    assert holm([None]) == [None]
    assert holm([]) == []


def test_holm_rejects_wrongly_less_often_than_the_level():
    rng = np.random.default_rng(2)
    rejected = sum(min(holm(p)) < 0.05 for p in rng.uniform(size=(4000, 12)).tolist())
    assert 0.03 < rejected / 4000 < 0.065


@pytest.mark.parametrize("q", [0.05, 0.3, 0.5, 0.95])
@pytest.mark.parametrize("n", [1, 2, 5, 6, 59, 100])
def test_quantile_intervals_are_the_narrowest_whose_tails_hold(n, q):
    values = np.random.default_rng(n).normal(size=n)
    found = quantile_interval(values, q)
    assert found.value == pytest.approx(np.quantile(values, q), rel=1e-13)
    order = [-math.inf, *sorted(values), math.inf]  # with the bounds that always hold
    tail = (1 - LEVEL) / 2
    low = max(k for k in range(n + 1) if k == 0 or stats.binom.cdf(k - 1, n, q) <= tail)
    high = min(k for k in range(1, n + 2) if k == n + 1 or stats.binom.sf(k - 1, n, q) <= tail)
    assert (found.low, found.high) == (order[low] if low else None, order[high] if high <= n else None)


def test_quantile_intervals_cover_the_quantile():
    rng = np.random.default_rng(0)
    for q in (0.05, 0.5):
        missed = 0
        for _ in range(400):
            found = quantile_interval(rng.exponential(size=100), q)
            true = -math.log1p(-q)
            missed += not (found.low or -math.inf) <= true <= (found.high or math.inf)
        assert missed <= 400 * 0.05 + 3 * math.sqrt(400 * 0.05 * 0.95)


def test_quantiles_of_nothing_and_beyond_the_ends_are_refused():
    with pytest.raises(InvalidValueError, match=r"^a quantile needs at least one value, got none$"):
        quantile_interval([], 0.5)
    for q in (0, 1, -0.5, math.nan):
        with pytest.raises(InvalidValueError, match=rf"^`q` must be above 0 and below 1, got {q}$"):
            quantile_interval([1.0], q)


@given(st.integers(1, 300), st.data())
def test_intervals_of_shares_are_those_of_scipy(n, data):
    good = data.draw(st.integers(0, n))
    found = share_interval(good, n)
    wanted = stats.binomtest(good, n).proportion_ci(LEVEL, method="exact")
    assert found.value == good / n
    assert (found.low, found.high) == (pytest.approx(wanted.low, abs=1e-12), pytest.approx(wanted.high, abs=1e-12))
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(("good", "n"), [(0, 0), (2, 1), (-1, 3)])
def test_shares_of_no_trials_are_refused(good, n):
    message = f"^a share needs at least one trial, and no more successes, got {good} of {n}$"
    with pytest.raises(InvalidValueError, match=message):
        share_interval(good, n)
