"""ASQ: codes and gradients against the slow reference, difference quotients; the network of its factor."""

import math
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._kernels import CHUNK
from tetrit.estimators.grids import ASQ, AdaptiveStep, reference
from tetrit.estimators.stochastic import LSQ

FLOATS = [np.float16, np.float32, np.float64]
NAMES = ["uint2", "uint4", "uint8", "int4", "int2_symmetric", "uint12"]


def ends(name):
    values = formats.get(name).values
    return int(np.nanmin(values)), int(np.nanmax(values))


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data(), name=st.sampled_from(NAMES), step=st.sampled_from([0.01, 0.5, 3.0]))
def test_codes_and_gradients_equal_the_reference(data, name, step, dtype):
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
    elements = st.floats(-1000, 1000, width=16) | st.sampled_from([0.0, -0.0, 0.5, -1.5, 3.0, -8.0, 7.5])
    x = data.draw(hnp.arrays(dtype, shapes, elements=elements))
    g = data.draw(hnp.arrays(dtype, x.shape, elements=st.floats(-100, 100, width=16)))
    axis = data.draw(st.none() | st.integers(0, x.ndim - 1)) if x.ndim else None
    samples = [None] if axis is None else list(range(x.shape[axis]))
    betas = {k: data.draw(st.sampled_from([0.5, 0.7, 1.0, 2.0, 3.5])) for k in samples}
    e = ASQ(format=name, axis=axis, step=step, beta=tuple(betas.values()))
    low, high = ends(name)
    fmt = formats.get(name)
    known = {"low": low, "high": high, "step": step, "betas": betas, "axis": axis}
    q = e(x)
    np.testing.assert_array_equal(q.codes, reference.asq_codes(x, bits=fmt.bits, **known))
    assert q.codes.dtype == fmt.code_dtype
    assert q.scale.shape == ()
    assert float(q.scale) == step
    got = e.backward(x, g)
    np.testing.assert_array_equal(got, reference.asq_backward(x, g, **known))
    assert got.dtype == dtype
    by_step, by_beta = reference.asq_gradients(x, g, **known)
    gradients = e.parameter_gradients(x, g)
    assert float(gradients["step"]) == by_step
    np.testing.assert_array_equal(gradients["beta"], by_beta)
    assert gradients["beta"].shape == (len(samples),)


@pytest.mark.parametrize("n", [CHUNK - 1, CHUNK + 65])
def test_long_rows_equal_the_reference(n):
    rng = np.random.default_rng(n)
    x, g = rng.normal(size=(2, n)).astype(np.float32), rng.normal(size=(2, n)).astype(np.float32)
    e = ASQ(format="int4", step=0.3, beta=(0.5, 1.25))
    by_step, by_beta = reference.asq_gradients(x, g, low=-8, high=7, step=0.3, betas=dict(enumerate(e.beta)), axis=0)
    gradients = e.parameter_gradients(x, g)
    assert float(gradients["step"]) == by_step
    assert gradients["beta"].tolist() == by_beta


def away_from_borders(rng, shape, low, high):
    """Multiples of the step on both sides of the range and inside, none within 1/10 of a border, or 1/2 of an end."""
    z = rng.integers(low - 4, high + 5, shape) + rng.uniform(-0.4, 0.4, shape)
    z[np.abs(z - low) < 0.5] = low - 3.0
    z[np.abs(z - high) < 0.5] = high + 3.0
    return z


@pytest.mark.parametrize("name", ["uint2", "int4", "uint8"])
def test_gradients_by_differences(name):
    low, high = ends(name)
    rng = np.random.default_rng(31)
    step, betas = 0.3, np.array([0.5, 1.0, 1.75])
    z = away_from_borders(rng, (3, 200), low, high)
    x, g = z * (step * betas[:, None]), rng.normal(size=(3, 200))
    e = ASQ(format=name, step=step, beta=tuple(betas))
    inside = (z > low) & (z < high)
    assert 0 < inside.sum() < inside.size
    c = np.where(inside, np.rint(z) - z, 0.0)  # rounding, passed straight through, adds a constant

    def surrogate(x, step, betas):
        return step * (np.clip(x / (step * betas[:, None]), low, high) + c)

    np.testing.assert_allclose(surrogate(x, step, betas), e.forward(x), atol=1e-12)
    h = 1e-6
    by_step = (g * (surrogate(x, step + h, betas) - surrogate(x, step - h, betas))).sum() / (2 * h)
    gradients = e.parameter_gradients(x, g)
    assert float(gradients["step"]) == pytest.approx(by_step * e.gradient_factor(200), rel=1e-6)
    by_beta = (g * (surrogate(x, step, betas + h) - surrogate(x, step, betas - h))).sum(axis=1) / (2 * h)
    np.testing.assert_allclose(gradients["beta"], by_beta, rtol=1e-6)
    by_x = g * (surrogate(x + h, step, betas) - surrogate(x - h, step, betas)) / (2 * h)
    np.testing.assert_allclose(e.backward(x, g), by_x, rtol=1e-6, atol=1e-9)


def test_one_beta_for_all_has_the_sum_of_the_gradients():
    rng = np.random.default_rng(5)
    x, g = rng.normal(size=(2, 4, 30))
    one = ASQ(step=0.1, beta=1.5).parameter_gradients(x, g)
    each = ASQ(step=0.1, beta=(1.5,) * 4).parameter_gradients(x, g)
    assert one["beta"].shape == ()
    assert float(one["beta"]) == pytest.approx(each["beta"].sum(), rel=1e-12)
    assert float(one["step"]) == float(each["step"])


@pytest.mark.parametrize("name", ["uint4", "int4"])
def test_with_beta_one_it_is_lsq(name):
    x, g = np.random.default_rng(6).normal(size=(2, 500))
    e, lsq = ASQ(format=name, axis=None), LSQ(format=name)
    np.testing.assert_array_equal(e(x).codes, lsq(x).codes)
    np.testing.assert_array_equal(e(x).scale, lsq(x).scale)
    np.testing.assert_array_equal(e.backward(x, g), lsq.backward(x, g))
    np.testing.assert_array_equal(e.parameter_gradients(x, g)["step"], lsq.parameter_gradients(x, g)["step"])


def test_beta_is_not_undone():
    x = np.full((2, 1), 4.0)
    assert ASQ(step=1.0, beta=(1.0, 2.0)).forward(x).tolist() == [[4.0], [2.0]]


def test_start_fixes_the_step():
    x = np.abs(np.random.default_rng(7).normal(size=(4, 30)))
    e, latent = ASQ(beta=2.0).start(x)
    assert e.step == pytest.approx(2 * x.mean() / math.sqrt(15), rel=1e-14)
    assert e.beta == 2.0
    np.testing.assert_array_equal(latent, x)
    assert replace(e, step=None)(x).scale == e(x).scale


def test_bad_betas_and_sums():
    x = np.ones((3, 2))
    text = "`beta` must be a number or a tuple of 3, one per channel, got 2"
    with pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$"):
        ASQ(beta=(1.0, 2.0))(x)
    with pytest.raises(InvalidValueError, match=r"^`step` times `beta` must be a positive double, got 0$"):
        ASQ(step=1e-300, beta=1e-300)(x)
    with pytest.raises(InvalidValueError, match=r"^`step` times `beta` must be a positive double, got inf$"):
        ASQ(step=1e300, beta=1e300)(x)
    with pytest.raises(InvalidValueError, match=r"^`w` must have a sum of magnitudes that float64 can hold, got an"):
        ASQ()(np.full((2, 2), 1e308))
    assert ASQ(step=1.0)(np.full((2, 2), 1e308)).values.tolist() == [[15.0, 15.0]] * 2


PARAMETERS = ("hidden_weight", "hidden_bias", "out_weight", "out_bias")


def network(seed, channels=8):
    net = AdaptiveStep.initial(channels, np.random.default_rng(seed))
    return net, {name: getattr(net, name) for name in PARAMETERS}


@pytest.mark.parametrize("shape", [(3, 8), (5, 8, 7), (2, 8, 5, 3), (0, 8, 2), (2, 8, 0)])
def test_the_network_equals_the_reference(shape):
    net, parameters = network(9)
    rng = np.random.default_rng(1)
    x, g = rng.normal(size=shape), rng.normal(size=shape[0])
    betas, _, _ = reference.adaptive_step(x, parameters)
    np.testing.assert_array_equal(net(x), betas)
    assert net(x).shape == shape[:1]
    wanted = reference.adaptive_step_backward(x, g, parameters)
    got = net.backward(x, g)
    assert set(got) == {*PARAMETERS, "x"}
    for name, gradient in got.items():
        assert gradient.shape == wanted[name].shape
        np.testing.assert_allclose(gradient, wanted[name], rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(net(x.astype(np.float32)), net(x.astype(np.float32).astype(np.float64)))


def test_long_channels_are_pooled_in_the_golden_order():
    net, parameters = network(2, channels=2)
    x = np.random.default_rng(3).normal(size=(1, 2, CHUNK + 77))
    np.testing.assert_array_equal(net(x), reference.adaptive_step(x, parameters)[0])


def test_the_gradients_of_the_network_by_differences():
    parameters = network(4)[1] | {"hidden_bias": np.zeros(2)}
    net = AdaptiveStep(**parameters)
    rng = np.random.default_rng(5)
    x, g = rng.normal(size=(6, 8, 3, 3)), rng.normal(size=6)
    h = 1e-6

    def loss(x, parameters):
        return float(g @ AdaptiveStep(**parameters)(x))

    got = net.backward(x, g)
    hidden = reference.adaptive_step(x, parameters)[2]
    assert 0 < (hidden > 0).sum() < hidden.size  # both sides of the ReLU
    for name in PARAMETERS:
        for index in np.ndindex(*parameters[name].shape):
            up, down = parameters[name].copy(), parameters[name].copy()
            up[index] += h
            down[index] -= h
            slope = (loss(x, parameters | {name: up}) - loss(x, parameters | {name: down})) / (2 * h)
            assert got[name][index] == pytest.approx(slope, rel=1e-6, abs=1e-8)
    for index in [(0, 0, 0, 0), (3, 5, 1, 2), (5, 7, 2, 2)]:
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        slope = (loss(up, parameters) - loss(down, parameters)) / (2 * h)
        assert got["x"][index] == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_below_the_floor_nothing_is_learned():
    net = AdaptiveStep(hidden_weight=[[1.0]], hidden_bias=[0.0], out_weight=[-1.0], out_bias=0.5)
    x = np.array([[0.25], [3.0]])
    assert net(x).tolist() == [0.25, 1e-8]
    got = net.backward(x, np.ones(2))
    assert got["out_bias"] == 1.0
    assert got["out_weight"].tolist() == [0.25]
    assert got["x"].tolist() == [[-1.0], [0.0]]


def test_network_and_estimator_learn_together():
    rng = np.random.default_rng(8)
    x = np.abs(rng.normal(size=(16, 8, 20))) * np.linspace(0.2, 3.0, 16)[:, None, None]
    target = x / x.mean(axis=(1, 2), keepdims=True)  # what only a beta that follows the sample can give
    net, parameters = network(10)
    e = ASQ(step=0.25)

    def error(net):
        y = replace(e, beta=tuple(net(x))).forward(x)
        return float(((y - target) ** 2).mean()), 2 * (y - target) / y.size

    before, _ = error(net)
    for _ in range(150):
        _, grad = error(net)
        by_beta = replace(e, beta=tuple(net(x))).parameter_gradients(x, grad)["beta"]
        gradients = net.backward(x, by_beta)
        parameters = {name: parameters[name] - 0.05 * gradients[name] for name in PARAMETERS}
        net = AdaptiveStep(**parameters)
    assert error(net)[0] < before / 3


def test_the_network_as_an_object():
    net, _ = network(11, channels=3)
    assert net.hidden_weight.shape == (1, 3)
    assert not net.hidden_weight.flags.writeable
    copy = pickle.loads(pickle.dumps(net))
    x = np.ones((2, 3))
    np.testing.assert_array_equal(copy(x), net(x))
    assert (net(np.zeros((2, 3))) > 0).all()


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"hidden_weight": [1.0]}, InvalidValueError, "`hidden_weight` must have shape (hidden, channels), got (1,)"),
        ({"hidden_bias": [1.0]}, InvalidValueError, "`hidden_bias` must have shape (2,), got (1,)"),
        ({"out_bias": [1.0]}, InvalidValueError, "`out_bias` must have shape (), got (1,)"),
        ({"out_weight": [np.nan, 0]}, InvalidValueError, "`out_weight` must be finite, got nan at index (0,)"),
        ({"out_weight": ["a", 0]}, TypeError, "`out_weight` must be an array of real numbers"),
    ],
)
def test_bad_networks(change, error, text):
    fitting = {"hidden_weight": np.ones((2, 3)), "hidden_bias": [0, 0], "out_weight": [1, 1], "out_bias": 0}
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        AdaptiveStep(**fitting | change)


def test_bad_activations():
    net, _ = network(12)
    with pytest.raises(InvalidValueError, match=r"^`x` must have shape \(samples, 8, \.\.\.\), got \(2, 7\)$"):
        net(np.ones((2, 7)))
    with pytest.raises(InvalidValueError, match=r"^`x` must be finite, got inf at index \(1, 2, 0\)$"):
        x = np.ones((2, 8, 3))
        x[1, 2, 0] = np.inf
        net(x)
    with pytest.raises(InvalidValueError, match=r"^`x` must have sums that float64 can hold, got an overflow$"):
        net(np.full((2, 8, 3), 1e308))
    with pytest.raises(InvalidValueError, match=r"^`grad_out` must have shape \(2,\), got \(3,\)$"):
        net.backward(np.ones((2, 8)), np.ones(3))
    with pytest.raises(TypeError, match=r"^`rng` must be a numpy\.random\.Generator, got 3$"):
        AdaptiveStep.initial(8, 3)
