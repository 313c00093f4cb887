"""Stochastic units against the enumeration of all their states: what is unbiased, by how much the rest is off."""

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit.errors import InvalidValueError
from tetrit.estimators import units
from tetrit.estimators.units import exact, reference

A = np.array([-1.7, 0.4, 0.0, 2.1])
C = np.array([0.7, -1.3, 2.0, 0.4])
M = np.array([[0.0, 1.1, -0.6, 0.2], [0.0, 0.0, 0.9, -1.4], [0.0, 0.0, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0]])


def linear(h):
    return h @ C + 0.3


def multilinear(h):
    return h @ C + np.einsum("...i,ij,...j->...", h, M, h)


def wild(h):
    return np.exp(np.sin(3 * h @ C) + h[..., 0]) * (1 + h[..., 1] * h[..., 2]) - 2


LOSSES = [linear, multilinear, wild]


def all_rows():
    """All states with their probabilities, by scalar loops."""
    rows, weights = [], []
    for h in itertools.product((0.0, 1.0), repeat=len(A)):
        rows.append(h)
        weights.append(
            math.prod(reference.sigmoid(x) if bit else reference.sigmoid(-x) for x, bit in zip(A, h, strict=True))
        )
    return np.array(rows), np.array(weights)


ROWS, WEIGHTS = all_rows()
BATCH = np.tile(A, (len(ROWS), 1))


def slow_gradient(loss):
    """Derivative of the expected loss, from the scores of all states."""
    total = [0.0] * len(A)
    for h, weight in zip(ROWS, WEIGHTS, strict=True):
        for i in range(len(A)):
            total[i] += weight * float(loss(h)) * (h[i] - reference.sigmoid(A[i]))
    return np.array(total)


def moments(estimates):
    mean = WEIGHTS @ estimates
    return mean, WEIGHTS @ (estimates - mean) ** 2


def central(loss):
    """Derivative of the expected loss by central differences of the enumerated expectation."""
    out = []
    for i in range(len(A)):
        sides = []
        for step in (1e-5, -1e-5):
            a = A.copy()
            a[i] += step
            sides.append(exact.probabilities(a) @ loss(exact.all_states(len(A))))
        out.append((sides[0] - sides[1]) / 2e-5)
    return np.array(out)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_exact_gradient_is_that_of_the_enumerated_expectation(loss):
    got = exact.expected_gradient(A, loss)
    np.testing.assert_allclose(got, slow_gradient(loss), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(got, central(loss), rtol=1e-8, atol=1e-9)


def test_the_exact_gradient_does_not_care_how_the_lower_state_is_called():
    got = exact.expected_gradient(A, lambda h: wild((h + 1) / 2), low=-1.0)
    np.testing.assert_allclose(got, exact.expected_gradient(A, wild), rtol=1e-14)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_probabilities_sum_to_one(n):
    a = np.linspace(-40, 3, n)
    assert exact.all_states(n).shape == (2**n, n)
    assert len({tuple(row) for row in exact.all_states(n, low=-1.0)}) == 2**n
    assert math.isclose(exact.probabilities(a).sum(), 1.0, rel_tol=1e-15)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("baseline", [0.0, 1.5, -40.0, "per unit", "of the other units"])
def test_reinforce_is_unbiased_for_any_baseline_without_the_own_state(loss, baseline):
    if baseline == "per unit":
        baseline = np.array([3.0, -2.0, 0.5, 10.0])
    elif baseline == "of the other units":
        others = ROWS.sum(axis=1, keepdims=True) - ROWS
        baseline = np.cos(others) * 5 - others
    mean, _ = moments(units.get("reinforce").backward(BATCH, ROWS, loss(ROWS), baseline=baseline))
    np.testing.assert_allclose(mean, slow_gradient(loss), rtol=1e-12, atol=1e-13)


def test_reinforce_is_biased_by_a_baseline_of_the_own_state():
    mean, _ = moments(units.get("reinforce").backward(BATCH, ROWS, wild(ROWS), baseline=ROWS))
    p = 1 / (1 + np.exp(-A))
    np.testing.assert_allclose(mean - slow_gradient(wild), -p * (1 - p), rtol=1e-12)


@given(
    a=st.lists(st.floats(-4, 4), min_size=1, max_size=4),
    offset=st.floats(-10, 10),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_the_variance_is_a_parabola_about_the_minimum_variance_baseline(a, offset, seed):
    a = np.array(a)
    rows = exact.all_states(len(a))
    losses = np.random.default_rng(seed).normal(size=len(rows)) * 3
    weights = exact.probabilities(a)
    best = exact.minimum_variance_baseline(a, lambda _: losses)
    batch = np.tile(a, (len(rows), 1))

    def variance(baseline):
        estimates = units.get("reinforce").backward(batch, rows, losses, baseline=baseline)
        return weights @ (estimates - weights @ estimates) ** 2

    p = 1 / (1 + np.exp(-a))
    lowest = variance(best)
    np.testing.assert_allclose(variance(best + offset), lowest + p * (1 - p) * offset**2, rtol=1e-9, atol=1e-11)
    assert (variance(best + offset) >= lowest - 1e-11).all()
    weighted = (rows - p) ** 2
    by_moments = (weights * losses) @ weighted / (weights @ weighted)
    np.testing.assert_allclose(best, by_moments, rtol=1e-9, atol=1e-10)


def two_units(h):
    return 2 * h[..., 0] - h[..., 1] + 3 * h[..., 0] * h[..., 1] + 1


def expected_over_batches(baseline_of):
    """Enumerate all batches of three samples of two units; expectation of the estimate of the first sample."""
    a = np.array([[0.6, -0.9], [-0.2, 1.1], [1.3, 0.3]])
    total = np.zeros(2)
    for bits in itertools.product((0.0, 1.0), repeat=6):
        h = np.array(bits).reshape(3, 2)
        weight = math.prod(reference.sigmoid(x if bit else -x) for x, bit in zip(a.reshape(-1), bits, strict=True))
        losses = two_units(h)
        grad = units.get("reinforce").backward(a, h, losses, baseline=baseline_of(a, h, losses))
        total += weight * grad[0]
    return total, exact.expected_gradient(a[0], two_units)


def test_reinforce_with_the_leave_one_out_baseline_is_unbiased():
    got, wanted = expected_over_batches(units.leave_one_out_baseline)
    np.testing.assert_allclose(got, wanted, rtol=1e-13)


def test_a_baseline_estimated_with_the_own_sample_is_biased():
    def own_included(a, h, losses):
        weight = (h - 1 / (1 + np.exp(-a))) ** 2
        return (weight * losses[:, None]).sum(axis=0) / weight.sum(axis=0)

    got, wanted = expected_over_batches(own_included)
    assert (np.abs(got - wanted) > 0.02).all()


def test_the_leave_one_out_baseline_tends_to_the_exact_one():
    n = 60_000
    a = np.tile(A, (n, 1))
    h = units.get("reinforce").sample(a, rng=np.random.default_rng(12))
    estimated = units.leave_one_out_baseline(a, h, multilinear(h)).mean(axis=0)
    best = exact.minimum_variance_baseline(A, multilinear)
    p = 1 / (1 + np.exp(-A))
    weighted = (ROWS - p) ** 2
    spread = np.sqrt(WEIGHTS @ (weighted * (multilinear(ROWS)[:, None] - best)) ** 2) / (p * (1 - p))
    assert (np.abs(estimated - best) < 5 * spread / math.sqrt(n)).all()


def gradient_of(loss):
    """Derivative of the losses with respect to h, (states, units)."""
    if loss is linear:
        return np.tile(C, (len(ROWS), 1))
    return C + ROWS @ (M + M.T)


@pytest.mark.parametrize("loss", [linear, multilinear])
def test_straight_through_with_slope_is_unbiased_for_multilinear_losses(loss):
    mean, _ = moments(units.get("st_bernoulli", slope=True).backward(BATCH, ROWS, gradient_of(loss)))
    np.testing.assert_allclose(mean, slow_gradient(loss), rtol=1e-12, atol=1e-13)


def test_the_bias_of_straight_through_for_squares():
    p = 1 / (1 + np.exp(-A))
    mean, _ = moments(units.get("st_bernoulli", slope=True).backward(BATCH, ROWS, 2 * C * ROWS))
    bias = mean - slow_gradient(lambda h: h**2 @ C)
    np.testing.assert_allclose(bias, C * p * (1 - p) * (2 * p - 1), rtol=1e-12, atol=1e-14)
    assert (np.abs(bias[[0, 1, 3]]) > 0.01).all()


def test_the_bias_of_straight_through_without_slope():
    p = 1 / (1 + np.exp(-A))
    mean, _ = moments(units.get("st_bernoulli").backward(BATCH, ROWS, gradient_of(linear)))
    truth = slow_gradient(linear)
    np.testing.assert_allclose(mean - truth, C * (1 - p * (1 - p)), rtol=1e-12)
    assert (mean / truth >= 4 - 1e-12).all()


def test_smooth_times_stochastic_has_the_mean_of_bernoulli_and_half_its_gradient():
    layer = units.get("smooth_times_stochastic")
    p = 1 / (1 + np.exp(-A))
    root = np.sqrt(p)
    mean_h = mean_grad = 0
    for fired, probability in ((1.0, root), (0.0, 1 - root)):
        h = fired * root
        mean_h = mean_h + probability * h
        mean_grad = mean_grad + probability * layer.backward(A[None], h[None], C[None])[0]
    np.testing.assert_allclose(mean_h, p, rtol=1e-14)
    np.testing.assert_allclose(mean_grad, slow_gradient(linear) / 2, rtol=1e-12)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_noise_injection_is_unbiased(sigma):
    layer = units.get("noise_injection", sigma=sigma)
    z = (np.arange(400_000) + 0.5) / 20_000 - 10
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) / 20_000
    for a in A:
        batch = np.full((len(z), 1), a)
        h = np.maximum(0, batch + sigma * z[:, None])
        cdf = 0.5 * math.erfc(-a / sigma / math.sqrt(2))
        pdf = math.exp(-((a / sigma) ** 2) / 2) / math.sqrt(2 * math.pi)
        one = density @ layer.backward(batch, h, np.ones(h.shape))[:, 0]
        square = density @ layer.backward(batch, h, 2 * h)[:, 0]
        assert math.isclose(one, cdf, abs_tol=3e-5)
        assert math.isclose(square, 2 * (a * cdf + sigma * pdf), abs_tol=1e-8)


N_SAMPLES = 40_000


def sampled_mean(layer, feedback_of, **keywords):
    a = np.tile(A, (N_SAMPLES, 1))
    h = layer.sample(a, rng=np.random.default_rng(2024))
    return layer.backward(a, h, feedback_of(h), **keywords).mean(axis=0)


def within(mean, wanted, variance):
    return np.abs(mean - wanted) <= 5 * np.sqrt(variance / N_SAMPLES) + 1e-12


@pytest.mark.parametrize("baseline", [0.0, "best"])
def test_sampled_means_of_reinforce_agree(baseline):
    layer = units.get("reinforce")
    if baseline == "best":
        baseline = exact.minimum_variance_baseline(A, wild)
    mean, variance = moments(layer.backward(BATCH, ROWS, wild(ROWS), baseline=baseline))
    got = sampled_mean(layer, wild, baseline=baseline)
    assert within(got, mean, variance).all()
    assert not within(-got, mean, variance).all()


@pytest.mark.parametrize("slope", [False, True])
def test_sampled_means_of_straight_through_agree(slope):
    layer = units.get("st_bernoulli", slope=slope)
    mean, variance = moments(layer.backward(BATCH, ROWS, gradient_of(multilinear)))
    assert within(sampled_mean(layer, lambda h: C + h @ (M + M.T)), mean, variance).all()
    if not slope:
        assert not within(mean, slow_gradient(multilinear), variance).any()


def test_sampled_means_of_smooth_times_stochastic_agree():
    layer = units.get("smooth_times_stochastic")
    p = 1 / (1 + np.exp(-A))
    root = np.sqrt(p)
    top = C * root * (1 - p) / 2
    got = sampled_mean(layer, lambda h: np.tile(C, (len(h), 1)))
    assert within(got, root * top, root * (1 - root) * top**2).all()
    assert not within(got, slow_gradient(linear), root * (1 - root) * top**2).any()


def test_sampled_means_of_noise_injection_agree():
    cdf = np.array([0.5 * math.erfc(-a / math.sqrt(2)) for a in A])
    got = sampled_mean(units.get("noise_injection"), lambda h: np.tile(C, (len(h), 1)))
    assert within(got, C * cdf, C**2 * cdf * (1 - cdf)).all()


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: exact.all_states(21), "`n` must be an integer from 0 to 20, got 21"),
        (lambda: exact.probabilities(np.zeros((1, 2))), "`a` must have 1 dimension (units), got shape (1, 2)"),
        (lambda: exact.probabilities(np.zeros(21)), "`a` must have at most 20 units to be enumerated, got 21"),
        (lambda: exact.expected_gradient(A, lambda h: h), "`loss(h)` must have shape (16,), got (16, 4)"),
        (
            lambda: exact.minimum_variance_baseline(A, lambda h: np.where(h[:, 0] > 0, np.nan, 1.0)),
            "`loss(h)` must be finite, got nan at index (1,)",
        ),
    ],
)
def test_errors(call, text):
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        call()
