"""Two-point estimates: unbiased by full enumeration, perturbations bit by bit, exact return where floats allow it."""

import doctest
import importlib
import itertools
import math
import pickle
import re
import tracemalloc
from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators.zeroth import SPSA, reference, step_seed, two_point

DISTRIBUTIONS = ["rademacher", "normal"]


def signs(*shapes):
    """All lists of arrays of these shapes with entries of +1 and -1."""
    sizes = [math.prod(shape) for shape in shapes]
    for flat in itertools.product((1.0, -1.0), repeat=sum(sizes)):
        parts = np.split(np.array(flat), np.cumsum(sizes)[:-1])
        yield [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def mean_estimate(loss, params, epsilon):
    """The expectation over all sign vectors, term by term."""
    totals = [np.zeros(w.shape) for w in params]
    count = 0
    for z in signs(*(w.shape for w in params)):
        slope = two_point(loss, params, z, epsilon=epsilon)
        for total, part in zip(totals, z, strict=True):
            total += slope * part
        count += 1
    return [total / count for total in totals]


# --- unbiasedness, by enumeration ------------------------------------------------------------------------------------


def test_the_estimate_of_a_quadratic_loss_is_unbiased_exactly():
    """Integers and powers of two only, so that float arithmetic is exact: equality, not closeness."""
    rng = np.random.default_rng(0)
    a = rng.integers(-8, 9, (7, 7)).astype(float)
    b = rng.integers(-8, 9, 7).astype(float)
    w = rng.integers(-8, 9, 7) / 4.0

    def loss(params):
        v = np.concatenate([p.reshape(-1) for p in params])
        return v @ a @ v + b @ v

    got = mean_estimate(loss, [w[:4].reshape(2, 2), w[4:]], 0.25)
    wanted = (a + a.T) @ w + b
    np.testing.assert_array_equal(np.concatenate([g.reshape(-1) for g in got]), wanted)


def test_a_linear_network_with_squared_error_is_unbiased_exactly():
    """One layer of a network whose loss is quadratic in it, the other fixed: the ElasticZO case."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(-2, 3, (4, 3)).astype(float), rng.integers(-2, 3, (4, 2)).astype(float)
    first, last = rng.integers(-3, 4, (3, 3)) / 2.0, rng.integers(-3, 4, (3, 2)) / 2.0
    got = mean_estimate(lambda p: np.sum((x @ p[0] @ last - y) ** 2), [first], 0.5)[0]
    np.testing.assert_array_equal(got, 2 * x.T @ (x @ first @ last - y) @ last.T)


@pytest.mark.parametrize("epsilon", [0.5, 0.25])
def test_the_bias_of_a_cubic_loss_is_its_third_derivative_exactly(epsilon):
    """E = gradient + epsilon^2 / 6 E[z D^3 L(z, z, z)], with both sides computed in full."""
    rng = np.random.default_rng(2)
    c = rng.integers(-3, 4, (5, 5, 5)).astype(float)
    w = rng.integers(-4, 5, 5) / 2.0

    def cube(v):
        return np.einsum("ijk,i,j,k", c, v, v, v)

    got = mean_estimate(lambda p: cube(p[0]), [w], epsilon)[0]
    gradient = sum(np.einsum(f"ijk,{rest}->{one}", c, w, w) for one, rest in (("i", "j,k"), ("j", "i,k"), ("k", "i,j")))
    # D^3 L(z, z, z) = 6 cube(z)
    bias = sum(z * cube(z) for (z,) in signs((5,))) / 2**5
    np.testing.assert_array_equal(got, gradient + epsilon**2 * bias)


def test_the_bias_of_a_network_falls_with_the_square_of_epsilon():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(6, 2)), rng.normal(size=(6, 1))
    params = [rng.normal(size=(2, 3)), rng.normal(size=(3, 1))]

    def loss(p):
        return float(np.mean((np.tanh(x @ p[0]) @ p[1] - y) ** 2))

    hidden = np.tanh(x @ params[0])
    error = 2 * (hidden @ params[1] - y) / len(x)
    gradient = [x.T @ (error @ params[1].T * (1 - hidden**2)), hidden.T @ error]
    biases = []
    for epsilon in (0.1, 0.05, 0.025):
        got = mean_estimate(loss, params, epsilon)
        biases.append(max(np.abs(a - b).max() for a, b in zip(got, gradient, strict=True)))
    assert 1e-4 < biases[0] < 0.2
    assert biases[0] / biases[1] == pytest.approx(4.0, rel=0.1)
    assert biases[1] / biases[2] == pytest.approx(4.0, rel=0.03)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_generators_own_noise_averages_to_the_gradient(distribution):
    """What enumeration shows of the definition, the regenerated noise keeps: 4000 seeds, within 5 standard errors."""
    w = np.array([1.0, -2.0, 0.5])
    spsa = SPSA(epsilon=0.5, distribution=distribution)
    estimates = np.array([spsa.gradient(lambda p: float(p[0] @ p[0]), [w], seed=s)[0] for s in range(4000)])
    errors = estimates.std(axis=0, ddof=1) / math.sqrt(4000)
    assert (np.abs(estimates.mean(axis=0) - 2 * w) < 5 * errors).all()
    assert errors.max() < 0.15


# --- perturbations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (2, 3, 4)])
def test_reference(distribution, dtype, shape):
    w = np.random.default_rng(4).normal(size=shape).astype(dtype)
    spsa = SPSA(epsilon=0.37, distribution=distribution)
    got = spsa.perturbed(w, -2, seed=6, offset=1000)
    wanted = reference.added(w, -2 * 0.37, distribution=distribution, seed=6, offset=1000)
    assert (got.dtype, got.shape) == (dtype, shape)
    assert got.tobytes() == wanted.tobytes()
    got = spsa.updated(w, 1.25, rate=0.3, seed=6)
    assert got.tobytes() == reference.added(w, -(0.3 * 1.25), distribution=distribution, seed=6).tobytes()


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_memory_order_changes_nothing_and_out_may_be_the_weights(distribution):
    spsa = SPSA(distribution=distribution, epsilon=0.1)
    w = np.random.default_rng(5).normal(size=(6, 7)).astype(np.float32)
    wanted = spsa.perturbed(w, 1, seed=2)
    for view in (np.asfortranarray(w), np.flip(np.flip(w).copy()), w.astype(">f4"), np.stack([w, w], -1)[..., 0]):
        np.testing.assert_array_equal(spsa.perturbed(view, 1, seed=2), wanted)
    for out in (np.empty((6, 7), np.float32), np.empty((7, 6), np.float32).T, w.copy()):
        assert spsa.perturbed(w, 1, seed=2, out=out) is out
        np.testing.assert_array_equal(out, wanted)
    transposed = np.asfortranarray(w)
    assert spsa.perturbed(transposed, 1, seed=2, out=transposed) is transposed
    np.testing.assert_array_equal(transposed, wanted)
    same = w.copy()
    spsa.perturbed(same, 1, seed=2, out=same)
    np.testing.assert_array_equal(same, wanted)
    half = w.astype(np.float16)
    assert spsa.perturbed(half, 1, seed=2).dtype == np.float32
    with pytest.raises(InvalidValueError, match=r"^`out` must not overlap `w` in memory, unless it is the same array$"):
        flat = np.zeros(43, np.float32)
        spsa.perturbed(flat[:42], 1, seed=2, out=flat[1:])
    with pytest.raises(InvalidValueError, match=r"^`out` must have the shape and dtype of `w`, \(6, 7\) and float32, "):
        spsa.perturbed(w, 1, seed=2, out=np.empty((6, 7)))


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 2**18), st.integers(1, 40), st.sampled_from([np.float32, np.float64]))
def test_signs_on_a_grid_return_exactly(seed, multiple, n, dtype):
    """Weights and epsilon on a grid of 2^-20: + epsilon z, - 2 epsilon z, + epsilon z is the identity, bit for bit."""
    grid = 2.0**-20
    spsa = SPSA(epsilon=multiple * grid)
    start = (np.random.default_rng(seed).integers(-(2**20), 2**20, n) * grid).astype(dtype)
    w = start.copy()
    for times in (1, -2, 1):
        spsa.perturbed(w, times, seed=seed, out=w)
    np.testing.assert_array_equal(w, start)


def test_the_drift_elsewhere_is_three_roundings_and_a_copy_has_none():
    rng = np.random.default_rng(6)
    start = rng.normal(size=5000).astype(np.float32)
    for restore in ("drift", "copy"):
        w = start.copy()
        SPSA(epsilon=1e-3, restore=restore).step(lambda p: 1.0, [w], rate=0.5, seed=1)  # slope 0: nothing to learn
        drift = np.abs(w.astype(np.float64) - start)
        if restore == "copy":
            assert not drift.any()
        else:
            reach = np.spacing((np.abs(start) + 1e-3).astype(np.float32))
            assert drift.max() > 0 and (drift <= 1.5 * reach).all()


def test_a_step_needs_no_memory_of_the_size_of_the_weights():
    w = np.zeros((1000, 1000), np.float32)
    SPSA().step(lambda p: 0.0, [w], rate=0.1, seed=0)  # compiles
    peaks = {}
    for restore in ("drift", "copy"):
        tracemalloc.start()
        SPSA(restore=restore).step(lambda p: 0.0, [w], rate=0.1, seed=0)
        peaks[restore] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks["drift"] < 100_000 < w.nbytes <= peaks["copy"] < 1.1 * w.nbytes


# --- steps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("restore", ["drift", "copy"])
def test_a_step_is_its_passes(distribution, restore):
    rng = np.random.default_rng(7)
    params = [rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=5)]
    spsa = SPSA(epsilon=0.01, distribution=distribution, restore=restore)

    def loss(p):
        return float(np.sum(p[0].astype(float) ** 2) + np.sum(np.cos(p[1])))

    def passes(arrays, factor):
        return [
            reference.added(w, factor, distribution=distribution, seed=3, offset=at)
            for w, at in zip(arrays, (0, 12), strict=True)
        ]

    plus = passes(params, 0.01)
    minus = passes(plus, -0.02) if restore == "drift" else passes(params, -0.01)
    slope = (loss(plus) - loss(minus)) / 0.02
    wanted = passes(minus, 0.01 - 0.1 * slope) if restore == "drift" else passes(params, 0.0 - 0.1 * slope)
    seen = []

    def watched(p):
        seen.append([w.copy() for w in p])
        return loss(p)

    mean, got_slope = spsa.step(watched, params, rate=0.1, seed=3)
    for got, want in zip([*seen[0], *seen[1], *params], [*plus, *minus, *wanted], strict=True):
        assert got.tobytes() == want.tobytes()
    assert got_slope == slope
    assert mean == 0.5 * (loss(plus) + loss(minus))


def test_gradient_leaves_the_weights_and_is_the_definition():
    rng = np.random.default_rng(8)
    params = [rng.normal(size=(2, 3)), rng.normal(size=4)]
    before = [w.copy() for w in params]
    spsa = SPSA(epsilon=0.125)

    def loss(p):
        return float(np.prod(p[0].sum(axis=0)) + p[1] @ p[1])

    z = [spsa.direction((2, 3), seed=9), spsa.direction((4,), seed=9, offset=6)]
    slope = two_point(loss, params, z, epsilon=0.125)
    for got, part in zip(spsa.gradient(loss, params, seed=9), z, strict=True):
        np.testing.assert_array_equal(got, slope * part)
    for w, old in zip(params, before, strict=True):
        np.testing.assert_array_equal(w, old)


def network_parts(rng):
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))

    def features(p):
        return np.tanh(x @ p[0])

    def head_of(last):
        def head(h):
            error = h @ last - y
            return float(np.mean(error**2)), [h.T @ error * (2 / error.size)]

        return head

    return x, y, features, head_of


def test_elastic_is_two_points_below_and_backpropagation_above():
    """By enumeration: the first layer's mean estimate and the last layer's mean gradient, both up to epsilon^2."""
    rng = np.random.default_rng(10)
    _, _, features, head_of = network_parts(rng)
    first, last = rng.normal(size=(3, 2)), rng.normal(size=(2, 2))
    head = head_of(last)
    _, exact_last = head(features([first]))
    step = 1e-6
    exact_first = np.empty_like(first)
    for index in np.ndindex(*first.shape):
        moved = [first.copy(), first.copy()]
        moved[0][index] += step
        moved[1][index] -= step
        exact_first[index] = (head(features([moved[0]]))[0] - head(features([moved[1]]))[0]) / (2 * step)
    errors = []
    for epsilon in (0.1, 0.05):
        mean_first, mean_last = np.zeros_like(first), np.zeros_like(last)
        for (z,) in signs(first.shape):
            slope = two_point(lambda p: head(features(p))[0], [first], [z], epsilon=epsilon)
            mean_first += slope * z / 2**6
            above = [head(features([first + side * epsilon * z]))[1][0] for side in (1, -1)]
            mean_last += (above[0] + above[1]) / 2 / 2**6
        errors.append([np.abs(mean_first - exact_first).max(), np.abs(mean_last - exact_last[0]).max()])
    assert errors[0][0] / errors[1][0] == pytest.approx(4.0, rel=0.1)
    assert errors[0][1] / errors[1][1] == pytest.approx(4.0, rel=0.1)
    # and the method is that definition, for its own noise
    spsa = SPSA(epsilon=0.1)
    loss, slope, (grad_last,) = spsa.elastic(features, head, [first], seed=4)
    z = spsa.direction(first.shape, seed=4)
    points = [head(features([first + side * 0.1 * z])) for side in (1, -1)]
    assert slope == two_point(lambda p: head(features(p))[0], [first], [z], epsilon=0.1)
    assert loss == 0.5 * (points[0][0] + points[1][0])
    np.testing.assert_array_equal(grad_last, 0.5 * (points[0][1][0] + points[1][1][0]))


def test_elastic_training_learns_faster_than_zeroth_order_alone():
    rng = np.random.default_rng(11)
    _, _, features, head_of = network_parts(rng)
    losses = {}
    for name in ("zeroth", "elastic"):
        first, last = np.full((3, 4), 0.1) + np.eye(3, 4), np.zeros((4, 2))
        spsa = SPSA(epsilon=1e-3, restore="copy")
        for step in range(150):
            seed = step_seed(0, step)
            if name == "elastic":
                loss, slope, (grad,) = spsa.elastic(features, head_of(last), [first], seed=seed)
                spsa.updated(first, slope, rate=0.05, seed=seed, out=first)
                last -= 0.2 * grad
            else:
                loss, _ = spsa.step(lambda p: head_of(p[1])(features(p))[0], [first, last], rate=0.05, seed=seed)
        losses[name] = loss
    start = head_of(np.zeros((4, 2)))(features([np.eye(3, 4)]))[0]
    assert losses["elastic"] < losses["zeroth"] < start


# --- interface -------------------------------------------------------------------------------------------------------


def test_contract():
    spsa = SPSA(epsilon=0.5, distribution="normal")
    assert pickle.loads(pickle.dumps(spsa)) == spsa
    with pytest.raises(FrozenInstanceError):
        spsa.epsilon = 1.0
    assert spsa.projected(Fraction(3), Fraction(1)) == 2.0


@pytest.mark.parametrize("module", ["counter", "spsa", "integer"])
def test_documented_examples(module):
    result = doctest.testmod(importlib.import_module(f"tetrit.estimators.zeroth.{module}"))
    assert result.failed == 0
    assert result.attempted > 3


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: SPSA(epsilon=0), InvalidValueError, "`epsilon` must be above 0, got 0"),
        (lambda: SPSA(epsilon=math.nan), InvalidValueError, "`epsilon` must be finite, got nan"),
        (
            lambda: SPSA(distribution="gauss"),
            UnknownNameError,
            "unknown distribution 'gauss'; known: normal, rademacher",
        ),
        (lambda: SPSA(restore="keep"), UnknownNameError, "unknown restore 'keep'; known: copy, drift"),
        (
            lambda: SPSA().perturbed(np.arange(3), 1, seed=0),
            TypeError,
            "`w` must be a float16, float32 or float64 array, got int64",
        ),
        (
            lambda: SPSA().step(lambda p: 0.0, [np.zeros(2, np.float16)], rate=1.0, seed=0),
            TypeError,
            "`params[0]` must be a float32 or float64 array, got dtype('float16')",
        ),
        (
            lambda: SPSA().step(lambda p: 0.0, [], rate=1.0, seed=0),
            InvalidValueError,
            "`params` must have at least one array, got none",
        ),
        (
            lambda: SPSA().step(lambda p: 0.0, [np.zeros(2)], rate=-1.0, seed=0),
            InvalidValueError,
            "`rate` must be at least 0, got -1",
        ),
    ],
)
def test_bad_arguments(call, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        call()
