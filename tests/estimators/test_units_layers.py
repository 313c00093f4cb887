"""Stochastic units, one layer at a time: samples and gradients against the slow references; corners; errors."""

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators import units
from tetrit.estimators.units import reference

FLOATS = [np.float16, np.float32, np.float64]
NAMES = ["noise_injection", "psa", "reinforce", "smooth_times_stochastic", "st_bernoulli"]
shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=6)


def floats(dtype, bound):
    return st.one_of(st.sampled_from([0.0, -0.0, 1.0, -0.5]), st.floats(-bound, bound, width=np.finfo(dtype).bits))


def arrays(dtype, shape, bound=700.0):
    return hnp.arrays(dtype, shape, elements=floats(dtype, bound))


def feedback_for(layer, a, dtype=np.float64):
    shape = a.shape[:1] if layer.feedback == "loss" else a.shape
    return np.random.default_rng(9).normal(size=shape).astype(dtype)


def slow_sample(layer, a, seed):
    rng = np.random.default_rng(seed)
    if layer.name == "noise_injection":
        return reference.noise_injection_forward(a, rng.standard_normal(a.shape), layer.sigma)
    if layer.name == "smooth_times_stochastic":
        return reference.smooth_forward(a, rng.random(a.shape))
    return reference.sample(a, rng.random(a.shape), -1.0 if layer.name == "psa" else 0.0)


def slow_backward(layer, a, h, feedback):
    if layer.name == "noise_injection":
        return np.where(h > 0, feedback, 0).astype(np.float64)
    if layer.name == "smooth_times_stochastic":
        return reference.smooth_backward(a, h, feedback)
    if layer.name == "psa":
        return reference.psa_backward(a, h, feedback)
    if layer.name == "reinforce":
        return reference.reinforce_backward(a, h, feedback, np.zeros(a.shape))
    return reference.st_backward(a, feedback, slope=layer.slope)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", FLOATS)
@settings(max_examples=40)
@given(data=st.data())
def test_samples_equal_the_reference(data, dtype, name):
    a = data.draw(arrays(dtype, shapes))
    seed = data.draw(st.integers(0, 2**32))
    layer = units.get(name)
    h = layer.sample(a, rng=np.random.default_rng(seed))
    wanted = slow_sample(layer, a, seed)
    assert h.dtype == np.float64
    assert h.shape == a.shape
    np.testing.assert_array_equal(h > 0, wanted > 0)
    np.testing.assert_allclose(h, wanted, rtol=1e-15)


@pytest.mark.parametrize("name, params", [(name, {}) for name in NAMES] + [("st_bernoulli", {"slope": True})])
@pytest.mark.parametrize("dtype", FLOATS)
@settings(max_examples=40)
@given(data=st.data())
def test_gradients_equal_the_reference_within_one_rounding(data, dtype, name, params):
    layer = units.get(name, **params)
    a = data.draw(arrays(data.draw(st.sampled_from(FLOATS)), shapes))
    h = layer.sample(a, rng=np.random.default_rng(1))
    shape = a.shape[:1] if layer.feedback == "loss" else a.shape
    feedback = data.draw(arrays(dtype, shape, bound=1000.0))
    grad = layer.backward(a, h, feedback)
    wanted = slow_backward(layer, a, h, feedback)
    assert grad.dtype == dtype
    assert grad.shape == a.shape
    info = np.finfo(dtype)
    np.testing.assert_allclose(
        grad.astype(np.float64), wanted, rtol=max(float(info.eps), 2e-15), atol=float(info.smallest_subnormal)
    )


@given(data=st.data())
def test_a_baseline_is_subtracted_from_the_loss(data):
    a = data.draw(arrays(np.float64, shapes, bound=30.0))
    h = units.get("reinforce").sample(a, rng=np.random.default_rng(2))
    loss = data.draw(arrays(np.float64, a.shape[:1], bound=100.0))
    baseline = data.draw(arrays(np.float64, a.shape, bound=100.0))
    got = units.get("reinforce").backward(a, h, loss, baseline=baseline)
    np.testing.assert_allclose(got, reference.reinforce_backward(a, h, loss, baseline), rtol=1e-15)


@given(data=st.data())
def test_the_leave_one_out_baseline_equals_the_reference(data):
    a = data.draw(arrays(np.float64, shapes, bound=30.0))
    h = units.get("reinforce").sample(a, rng=np.random.default_rng(3))
    loss = data.draw(arrays(np.float64, a.shape[:1], bound=100.0))
    got = units.leave_one_out_baseline(a, h, loss)
    np.testing.assert_allclose(got, reference.leave_one_out(a, h, loss), rtol=1e-13, atol=1e-12)


def test_the_leave_one_out_baseline_does_not_contain_the_own_sample():
    rng = np.random.default_rng(4)
    a = rng.normal(size=(6, 3)) * 20
    h = units.get("reinforce").sample(a, rng=rng)
    loss = rng.normal(size=6)
    before = units.leave_one_out_baseline(a, h, loss)
    for s in range(6):
        changed, louder = h.copy(), loss.copy()
        changed[s] = 1 - changed[s]
        louder[s] = 1e200
        after = units.leave_one_out_baseline(a, changed, louder)
        np.testing.assert_array_equal(after[s], before[s])
        assert (np.delete(after, s, axis=0) != np.delete(before, s, axis=0)).any()


@pytest.mark.parametrize("name", NAMES)
def test_a_generator_in_the_same_state_gives_the_same_states(name):
    a = np.random.default_rng(0).normal(size=(40, 5))
    layer = units.get(name)
    first, second = np.random.default_rng(7), np.random.default_rng(7)
    h = layer.sample(a, rng=first)
    np.testing.assert_array_equal(h, layer.sample(a, rng=second))
    assert (h != layer.sample(a, rng=first)).any()
    (second.standard_normal if name == "noise_injection" else second.random)(a.shape)
    assert first.bit_generator.state == second.bit_generator.state


@pytest.mark.parametrize("name", NAMES)
def test_memory_order_and_byte_order_change_nothing(name):
    layer = units.get(name)
    a = np.random.default_rng(5).normal(size=(8, 10))
    h = layer.sample(a, rng=np.random.default_rng(6))
    g = feedback_for(layer, a)
    grad = layer.backward(a, h, g)
    wide = np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3]
    for view in (np.asfortranarray(a), wide, a[::-1, ::-1][::-1, ::-1], a.astype(a.dtype.newbyteorder())):
        np.testing.assert_array_equal(layer.sample(view, rng=np.random.default_rng(6)), h)
        np.testing.assert_array_equal(layer.backward(view, np.asfortranarray(h), g[::-1][::-1]), grad)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_stay_as_they_are_and_results_are_new(name):
    layer = units.get(name)
    a = np.random.default_rng(5).normal(size=(3, 4))
    h = layer.sample(a, rng=np.random.default_rng(6))
    g = feedback_for(layer, a)
    kept = a.copy(), h.copy(), g.copy()
    grad = layer.backward(a, h, g)
    grad[...] = 5
    for array, copy in zip((a, h, g), kept, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("name", NAMES)
def test_threads_change_nothing(name):
    layer = units.get(name)
    a = np.random.default_rng(5).normal(size=(200, 30))
    g = feedback_for(layer, a)

    def once(_):
        h = layer.sample(a, rng=np.random.default_rng(8))
        return h.tobytes() + layer.backward(a, h, g).tobytes()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(once, range(8)))) == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty_layers(name, shape):
    layer = units.get(name)
    a = np.empty(shape, np.float32)
    h = layer.sample(a, rng=np.random.default_rng(0))
    assert h.shape == shape
    assert layer.backward(a, h, feedback_for(layer, a)).shape == shape


@pytest.mark.parametrize("name", NAMES)
def test_both_zeros_are_the_same_pre_activation(name):
    layer = units.get(name)
    plus, minus = np.zeros((5, 4)), -np.zeros((5, 4))
    h = layer.sample(plus, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(layer.sample(minus, rng=np.random.default_rng(1)), h)
    g = feedback_for(layer, plus)
    np.testing.assert_array_equal(layer.backward(minus, h, g), layer.backward(plus, h, g))


@pytest.mark.parametrize("name, low", [("st_bernoulli", 0.0), ("reinforce", 0.0), ("psa", -1.0)])
def test_huge_pre_activations_are_certain(name, low):
    a = np.array([[1e308, -1e308, 800.0, -800.0]])
    h = units.get(name).sample(a, rng=np.random.default_rng(0))
    assert h.tolist() == [[1.0, low, 1.0, low]]
    feedback = np.ones(1) if name == "reinforce" else np.ones((1, 4))
    grad = units.get(name, **({"slope": True} if name == "st_bernoulli" else {})).backward(a, h, feedback)
    np.testing.assert_array_equal(grad, np.zeros((1, 4)))


def test_the_complement_keeps_its_digits():
    a = np.array([[40.0, -40.0]])
    grad = units.get("reinforce").backward(a, np.array([[1.0, 0.0]]), np.ones(1))
    np.testing.assert_allclose(grad, [[np.exp(-40.0), -np.exp(-40.0)]], rtol=1e-15)
    slope = units.get("st_bernoulli", slope=True).backward(a, np.array([[1.0, 0.0]]), np.ones((1, 2)))
    np.testing.assert_allclose(slope, [[np.exp(-40.0), np.exp(-40.0)]], rtol=1e-15)


def test_a_rare_smooth_unit_keeps_its_amplitude():
    grad = units.get("smooth_times_stochastic").backward(np.array([[-1400.0]]), np.ones((1, 1)), np.ones((1, 1)))
    np.testing.assert_allclose(grad, [[0.5 * np.exp(-700.0)]], rtol=1e-15)


def test_without_noise_the_rectifier_is_plain():
    a = np.array([[-1.0, -0.0, 0.0, 2.5]])
    layer = units.get("noise_injection", sigma=0.0)
    h = layer.sample(a, rng=np.random.default_rng(0))
    assert h.tolist() == [[0.0, 0.0, 0.0, 2.5]]
    assert not np.signbit(h).any()
    assert layer.backward(a, h, np.ones((1, 4))).tolist() == [[0.0, 0.0, 0.0, 1.0]]


def test_a_gradient_too_large_for_its_dtype_becomes_an_infinity():
    a, h = np.zeros((1, 1)), np.ones((1, 1))
    grad = units.get("reinforce").backward(a, h, np.array([6e4], np.float16), baseline=-1e6)
    assert grad.dtype == np.float16
    assert grad.tolist() == [[np.inf]]


def test_names_and_parameters():
    assert list(units.names()) == NAMES
    assert units.get("st_bernoulli") == units.STBernoulli(slope=False)
    assert hash(units.get("psa")) == hash(units.PSA())
    with pytest.raises(UnknownNameError, match=r"^unknown units 'reinforced'; did you mean 'reinforce'\?$"):
        units.get("reinforced")
    text = "unknown parameter of 'noise_injection' 'sigmas'; did you mean 'sigma'?"
    with pytest.raises(UnknownNameError, match=f"^{re.escape(text)}$"):
        units.get("noise_injection", sigmas=1.0)


@pytest.mark.parametrize(
    "name, params, kind, text",
    [
        ("noise_injection", {"sigma": -1.0}, InvalidValueError, "`sigma` must be at least 0, got -1"),
        ("noise_injection", {"sigma": np.nan}, InvalidValueError, "`sigma` must be finite, got nan"),
        ("noise_injection", {"sigma": "1"}, TypeError, "`sigma` must be a number, got '1'"),
        ("st_bernoulli", {"slope": 1}, TypeError, "`slope` must be True or False, got 1"),
    ],
)
def test_wrong_parameters(name, params, kind, text):
    with pytest.raises(kind, match=f"^{re.escape(text)}$"):
        units.get(name, **params)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "a, kind, text",
    [
        (np.zeros(3), InvalidValueError, "`a` must have 2 dimensions (batch, units), got shape (3,)"),
        (np.zeros((2, 2), int), TypeError, "`a` must be a float16, float32 or float64 array, got int64"),
        (np.array([[0.0, np.nan]]), InvalidValueError, "`a` must be finite, got nan at index (0, 1)"),
        (np.array([[0.0], [-np.inf]]), InvalidValueError, "`a` must be finite, got -inf at index (1, 0)"),
    ],
)
def test_wrong_pre_activations(name, a, kind, text):
    layer = units.get(name)
    with pytest.raises(kind, match=f"^{re.escape(text)}$"):
        layer.sample(a, rng=np.random.default_rng(0))
    with pytest.raises(kind, match=f"^{re.escape(text)}$"):
        layer.backward(a, np.ones(a.shape), np.ones(a.shape))


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_is_no_generator(name):
    with pytest.raises(TypeError, match=r"^`rng` must be a numpy\.random\.Generator, got 3$"):
        units.get(name).sample(np.zeros((1, 1)), rng=3)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_feedback(name):
    layer = units.get(name)
    a = h = np.ones((2, 3))
    wanted = (2,) if layer.feedback == "loss" else (2, 3)
    text = f"`feedback` must have shape {wanted}, got (3, 2)"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        layer.backward(a, h, np.ones((3, 2)))
    bad = np.ones(wanted)
    bad.reshape(-1)[-1] = np.nan
    where = (1,) if layer.feedback == "loss" else (1, 2)
    text = f"`feedback` must be finite, got nan at index {where}"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        layer.backward(a, h, bad)
    text = "`feedback` must be a float16, float32 or float64 array, got int64"
    with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
        layer.backward(a, h, np.ones(wanted, int))


@pytest.mark.parametrize(
    "name, h, text",
    [
        ("st_bernoulli", -1.0, "`h` must be 0 or 1, got -1 at index (0, 1)"),
        ("reinforce", 0.5, "`h` must be 0 or 1, got 0.5 at index (0, 1)"),
        ("psa", 0.0, "`h` must be -1 or 1, got 0 at index (0, 1)"),
        ("smooth_times_stochastic", -0.5, "`h` must not be negative, got -0.5 at index (0, 1)"),
        ("noise_injection", -2.0, "`h` must not be negative, got -2 at index (0, 1)"),
    ],
)
def test_states_of_another_kind_of_unit(name, h, text):
    layer = units.get(name)
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        layer.backward(np.zeros((1, 2)), np.array([[1.0, h]]), feedback_for(layer, np.zeros((1, 2))))


@pytest.mark.parametrize(
    "baseline, text",
    [
        (np.ones(2), "`baseline` must broadcast to shape (2, 3), got (2,)"),
        (np.full((2, 3), np.inf), "`baseline` must be finite, got inf at index (0, 0)"),
        (np.nan, "`baseline` must be finite, got nan"),
    ],
)
def test_wrong_baselines(baseline, text):
    a = h = np.ones((2, 3))
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        units.get("reinforce").backward(a, h, np.ones(2), baseline=baseline)
