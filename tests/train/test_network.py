"""The network: gradients against finite differences and against the chain rule written out; the loss."""

from itertools import pairwise

import numpy as np
import pytest

from tetrit import estimators
from tetrit.train.network import Layer, Network, cross_entropy


def float_network(rng):
    widths = [5, 7, 6, 4]
    layers = [Layer(latent=rng.normal(size=(a, b)), bias=rng.normal(size=b), relu=b != 4) for a, b in pairwise(widths)]
    return Network(layers=layers)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("field", ["latent", "bias"])
def test_gradient_is_the_finite_difference(place, field):
    rng = np.random.default_rng(place)
    network = float_network(rng)  # in float64
    x = rng.normal(size=(9, 5))
    target = rng.dirichlet(np.ones(4), size=9)
    _, grad = cross_entropy(network.forward(x, record=True), target)
    got = network.backward(grad)[place][field == "bias"]
    array = getattr(network.layers[place], field)
    for index in np.ndindex(*array.shape):
        kept = array[index]
        losses = []
        for step in (1e-6, -1e-6):
            array[index] = kept + step
            losses.append(cross_entropy(network.forward(x), target)[0])
        array[index] = kept
        assert got[index] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-4, abs=1e-7)


def test_quantised_layers_follow_the_estimators():
    rng = np.random.default_rng(1)
    rule = estimators.get("szt", axis=1, surrogate=estimators.signed_zero_slope(epsilon=0.25, clip=1.5))
    w0, w1 = rng.normal(size=(5, 7)).astype(np.float32), rng.normal(size=(7, 3)).astype(np.float32)
    zeros = [np.zeros(7, np.float32), np.zeros(3, np.float32)]
    network = Network(
        layers=[
            Layer(latent=w0, bias=zeros[0], estimator=rule, relu=True, limit=2.0),
            Layer(latent=w1, bias=zeros[1], estimator=rule),
        ]
    )
    x = rng.normal(size=(11, 5)).astype(np.float32)
    grad = rng.normal(size=(11, 3)).astype(np.float32)
    act = estimators.get("ste_clipped", format="int8", limit=2.0)

    before = x @ rule(w0).values.astype(np.float32)
    hidden = act(np.maximum(before, 0)).values.astype(np.float32)
    np.testing.assert_array_equal(network.forward(x, record=True), hidden @ rule(w1).values.astype(np.float32))

    (got0, bias0), (got1, bias1) = network.backward(grad)
    np.testing.assert_array_equal(got1, rule.backward(w1, hidden.T @ grad))
    np.testing.assert_array_equal(bias1, grad.sum(axis=0))
    back = grad @ rule(w1).values.astype(np.float32).T
    back = np.where((before > 0) & (before <= 2.0), back, 0)
    np.testing.assert_array_equal(got0, rule.backward(w0, x.T @ back))
    np.testing.assert_array_equal(bias0, back.sum(axis=0))


def test_cross_entropy():
    loss, grad = cross_entropy(np.zeros((2, 4), np.float32), np.eye(4, dtype=np.float32)[:2])
    assert loss == pytest.approx(np.log(4))
    np.testing.assert_allclose(grad.sum(axis=1), 0, atol=1e-7)
    huge, _ = cross_entropy(np.array([[1e4, -1e4]], np.float32), np.array([[0.0, 1.0]], np.float32))
    assert huge == pytest.approx(2e4)
