"""PSA: the kernel against references and exact arithmetic, and whole networks against the enumeration of all states."""

import itertools
import math
import re
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit.errors import InvalidValueError
from tetrit.estimators import units
from tetrit.estimators.units import exact, reference

LAYER = units.get("psa")


def network(sizes, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=shape) * scale for shape in itertools.pairwise(sizes)]
    return rng.normal(size=sizes[0]), weights, [rng.normal(size=n) * 0.5 for n in sizes[1:]]


def linear(h):
    return h @ np.array([1.2, -0.7, 0.5])[: h.shape[-1]] + 0.4


def wild(h):
    return np.exp(np.sin(2 * linear(h))) - 1.5 * h[..., 0] * h[..., -1]


def scalar(loss):
    return lambda state: float(loss(np.array(state)))


def estimates(weights, pre, states, loss):
    """PSA gradients of all layers for one given state of the network, through the public functions."""
    rows = [np.array([h]) for h in states]
    levels = [np.array([a]) for a in pre]
    flips = units.flip_losses(loss, rows[-1])
    grads = []
    for k in reversed(range(len(rows))):
        grads.append(LAYER.backward(levels[k], rows[k], flips)[0])
        if k:
            flips = LAYER.flips_of_inputs(weights[k], rows[k - 1], levels[k], rows[k], flips)
    return grads[::-1]


def moments(x, weights, biases, loss):
    """Expectation and variance of the PSA gradients, over all states."""
    mean = [np.zeros(len(b)) for b in biases]
    square = [np.zeros(len(b)) for b in biases]
    for probability, pre, states in reference.network_states(tuple(x), weights, biases):
        for k, grad in enumerate(estimates(weights, pre, states, loss)):
            mean[k] += probability * grad
            square[k] += probability * grad**2
    return mean, [s - m**2 for s, m in zip(square, mean, strict=True)]


def truth(x, weights, biases, loss):
    return [np.array(g) for g in reference.network_gradients(tuple(x), weights, biases, scalar(loss))]


@given(
    n_in=st.integers(0, 5),
    n_out=st.integers(0, 5),
    batch=st.integers(0, 4),
    scale=st.sampled_from([1e-3, 1.0, 30.0, 1e3]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_flips_of_inputs_equal_the_reference(n_in, n_out, batch, scale, seed):
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(n_in, n_out)) * scale
    x = rng.choice([-1.0, 1.0], size=(batch, n_in))
    h = rng.choice([-1.0, 1.0], size=(batch, n_out))
    a = rng.normal(size=(batch, n_out)) * scale
    flips = rng.normal(size=(batch, n_out))
    got = LAYER.flips_of_inputs(weight, x, a, h, flips)
    wanted = reference.psa_through(weight, x, a, h, flips)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-15 * (1 + np.abs(flips).sum()))


def exact_difference(a, d):
    """F(a + d) - F(a) to 60 digits."""
    with localcontext() as context:
        context.prec = 60
        a, d = Decimal(a), Decimal(d)
        return 1 / (1 + (-a - d).exp()) - 1 / (1 + (-a).exp())


@given(a=st.floats(-50, 50), size=st.floats(-12, 2), sign=st.sampled_from([-1.0, 1.0]))
def test_small_and_large_weights_keep_their_digits(a, size, sign):
    weight = sign * 10.0**size
    got = LAYER.flips_of_inputs(
        np.array([[weight]]), -np.ones((1, 1)), np.array([[a]]), -np.ones((1, 1)), np.ones((1, 1))
    )
    wanted = exact_difference(a, 2 * weight)
    assert abs(Decimal(float(got[0, 0])) - wanted) <= abs(wanted) * Decimal("1e-13")


def test_huge_weights_do_not_overflow():
    weight = np.array([[1e308, -1e308, 0.0]])
    ones = np.ones((1, 3))
    got = LAYER.flips_of_inputs(
        weight, np.ones((1, 1)), np.array([[700.0, -700.0, 0.0]]), ones, np.array([[1.0, 2.0, 4.0]])
    )
    assert got.tolist() == [[1.0 - 2.0]]


@pytest.mark.parametrize("loss", [linear, wild])
def test_the_gradient_is_the_formula_of_the_authors_on_every_state(loss):
    x, weights, biases = network((2, 3, 2, 3), seed=1)
    for _, pre, states in reference.network_states(tuple(x), weights, biases):
        got = estimates(weights, pre, states, loss)
        for k, grad in enumerate(got):
            for j in range(len(grad)):
                wanted = reference.psa_path(weights, pre, states, scalar(loss), k, j)
                assert math.isclose(grad[j], wanted, rel_tol=1e-11, abs_tol=1e-14)


def test_a_wrong_formula_would_be_caught():
    x, weights, biases = network((2, 3, 2), seed=1)
    wrong = 0
    for _, pre, states in reference.network_states(tuple(x), weights, biases):
        flipped = [tuple(-value for value in states[0]), states[1]]
        got = estimates(weights, pre, states, wild)
        wrong += not math.isclose(
            got[0][0], reference.psa_path(weights, pre, flipped, scalar(wild), 0, 0), rel_tol=1e-6
        )
    assert wrong == 32


def test_one_layer_with_a_linear_loss_is_exact_in_every_sample():
    x, weights, biases = network((2, 3), seed=2)
    wanted = truth(x, weights, biases, linear)[0]
    for _, pre, states in reference.network_states(tuple(x), weights, biases):
        np.testing.assert_allclose(estimates(weights, pre, states, linear)[0], wanted, rtol=1e-12)


def test_one_layer_is_unbiased_for_every_loss():
    x, weights, biases = network((2, 3), seed=3)
    mean, variance = moments(x, weights, biases, wild)
    np.testing.assert_allclose(mean[0], truth(x, weights, biases, wild)[0], rtol=1e-12)
    a = x @ weights[0] + biases[0]
    np.testing.assert_allclose(mean[0], exact.expected_gradient(a, wild, low=-1.0), rtol=1e-12)
    assert (variance[0] > 1e-3).any()


@pytest.mark.parametrize("seed", range(4))
def test_two_layers_with_a_linear_loss_are_unbiased(seed):
    x, weights, biases = network((2, 3, 3), seed=seed)
    mean, _ = moments(x, weights, biases, linear)
    for got, wanted in zip(mean, truth(x, weights, biases, linear), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-14)


def test_the_last_layer_is_unbiased_for_every_loss_and_depth():
    x, weights, biases = network((2, 2, 3, 3), seed=5)
    mean, _ = moments(x, weights, biases, wild)
    np.testing.assert_allclose(mean[-1], truth(x, weights, biases, wild)[-1], rtol=1e-11)


@pytest.mark.parametrize("loss", [linear, wild])
def test_chains_of_single_units_are_unbiased_at_every_depth(loss):
    x, weights, biases = network((2, 1, 1, 1, 1, 1), seed=6)
    mean, _ = moments(x, weights, biases, loss)
    for got, wanted in zip(mean, truth(x, weights, biases, loss), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-15)


def test_below_wide_layers_and_a_bent_loss_there_is_a_bias_of_second_order():
    sizes = (2, 2, 3)
    largest = []
    for scale in (0.4, 0.2, 0.1):
        x, weights, biases = network(sizes, seed=7)
        weights[1] *= scale
        mean, _ = moments(x, weights, biases, wild)
        wanted = truth(x, weights, biases, wild)
        largest.append(np.abs(mean[0] - wanted[0]).max())
        np.testing.assert_allclose(mean[1], wanted[1], rtol=1e-11)
    assert largest[-1] > 1e-6
    for wide, narrow in itertools.pairwise(largest):
        assert 3 < wide / narrow < 9


def test_three_wide_layers_are_biased_even_for_a_linear_loss():
    x, weights, biases = network((2, 2, 3, 3), seed=8)
    mean, _ = moments(x, weights, biases, linear)
    wanted = truth(x, weights, biases, linear)
    assert np.abs(mean[0] - wanted[0]).max() > 1e-4
    np.testing.assert_allclose(mean[1], wanted[1], rtol=1e-10)


def test_for_small_weights_psa_becomes_straight_through():
    rng = np.random.default_rng(9)
    x, h = rng.choice([-1.0, 1.0], size=(5, 4)), rng.choice([-1.0, 1.0], size=(5, 3))
    a, flips, weight = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng.normal(size=(4, 3)) * 1e-6
    got = LAYER.flips_of_inputs(weight, x, a, h, flips)
    straight = LAYER.backward(a, h, flips)
    np.testing.assert_allclose(got, -2 * x * (straight @ weight.T), rtol=1e-4)


def test_sampled_means_agree_with_the_enumeration():
    n = 20_000
    x, weights, biases = network((2, 3, 2), seed=10)
    mean, variance = moments(x, weights, biases, wild)
    layers = units.psa_gradients(np.tile(x, (n, 1)), weights, biases, wild, rng=np.random.default_rng(11))
    for layer, m, v in zip(layers, mean, variance, strict=True):
        assert layer.grad_a.shape == (n, len(m))
        off = np.abs(layer.grad_a.mean(axis=0) - m)
        assert (off <= 5 * np.sqrt(np.maximum(v, 0) / n) + 1e-12).all()
        np.testing.assert_allclose(layer.grad_bias, layer.grad_a.sum(axis=0))
        np.testing.assert_allclose(
            layer.grad_weight, np.einsum("si,sj->ij", layer.x, layer.grad_a), rtol=1e-9, atol=1e-9
        )


def test_a_network_is_its_layers_one_by_one():
    x, weights, biases = network((3, 4, 2), seed=12)
    batch = np.stack([x, -x, x * 2])
    targets = np.array([1.0, -1.0, 0.5])

    def loss(h):
        return (h.sum(axis=1) - targets) ** 2

    first, last = units.psa_gradients(batch, weights, biases, loss, rng=np.random.default_rng(13))
    rng = np.random.default_rng(13)
    for layer, weight, bias, below in ((first, weights[0], biases[0], batch), (last, weights[1], biases[1], first.h)):
        np.testing.assert_allclose(layer.a, below @ weight + bias, rtol=1e-13, atol=1e-15)
        np.testing.assert_array_equal(layer.x, below)
        np.testing.assert_array_equal(layer.h, LAYER.sample(layer.a, rng=rng))
    for s in range(3):
        wanted = estimates(
            weights, [first.a[s], last.a[s]], [first.h[s], last.h[s]], lambda h, s=s: (h.sum(axis=1) - targets[s]) ** 2
        )
        np.testing.assert_array_equal(first.grad_a[s], wanted[0])
        np.testing.assert_array_equal(last.grad_a[s], wanted[1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_dtype_is_that_of_the_feedback(dtype):
    ones = np.ones((2, 3), dtype)
    got = LAYER.flips_of_inputs(np.full((4, 3), 0.5, np.float16), np.ones((2, 4)), ones, ones, ones)
    assert got.dtype == dtype
    assert got.shape == (2, 4)
    np.testing.assert_array_equal(got, np.full((2, 4), 3 * math.tanh(0.5) / 2).astype(dtype))


def ones(*shape):
    return np.ones(shape)


@pytest.mark.parametrize(
    "call, text",
    [
        (
            lambda: LAYER.flips_of_inputs(ones(4, 2), ones(1, 4), ones(1, 3), ones(1, 3), ones(1, 3)),
            "`weight` must have shape (n_in, 3), got (4, 2)",
        ),
        (
            lambda: LAYER.flips_of_inputs(ones(4, 3), ones(1, 2), ones(1, 3), ones(1, 3), ones(1, 3)),
            "`x` must have shape (1, 4), got (1, 2)",
        ),
        (
            lambda: LAYER.flips_of_inputs(ones(1, 1), 0.5 * ones(1, 1), ones(1, 1), ones(1, 1), ones(1, 1)),
            "`x` must be -1 or 1, got 0.5 at index (0, 0)",
        ),
        (
            lambda: units.flip_losses(lambda h: h, ones(2, 3)),
            "`loss(h)` must have shape (2,), got (2, 3)",
        ),
        (
            lambda: units.flip_losses(lambda h: np.where(h[:, 1] < 0, np.nan, 1.0), ones(2, 3)),
            "`loss(h)` must be finite, got nan at index (0,)",
        ),
        (
            lambda: units.flip_losses(lambda h: h[:, 0], ones(3)),
            "`h` must have 2 dimensions (batch, units), got shape (3,)",
        ),
        (
            lambda: units.psa_gradients(ones(1, 2), [ones(2, 2)], [], linear, rng=np.random.default_rng(0)),
            "there must be one bias per weight, got 1 weights and 0 biases",
        ),
        (
            lambda: units.psa_gradients(ones(2), [ones(2, 2)], [ones(2)], linear, rng=np.random.default_rng(0)),
            "`x` must have 2 dimensions (batch, inputs), got shape (2,)",
        ),
        (
            lambda: units.psa_gradients(
                ones(1, 2), [ones(2, 3), ones(2, 2)], [ones(3), ones(2)], linear, rng=np.random.default_rng(0)
            ),
            "`weights[1]` must have shape (3, n_out), got (2, 2)",
        ),
        (
            lambda: units.psa_gradients(ones(1, 2), [ones(2, 3)], [ones(2)], linear, rng=np.random.default_rng(0)),
            "`biases[0]` must have shape (3,), got (2,)",
        ),
    ],
)
def test_errors(call, text):
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        call()
