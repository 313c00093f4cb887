"""Tequila: codes, bias and gradients against the slow reference; what the bias means in a layer."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import estimators, formats
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators.adaptive import Tequila, reference

RATIOS = {"absmean": 0.5, "twn": 0.7}


def assert_bits(a, b):
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("threshold", ["absmean", "twn"])
@pytest.mark.parametrize("scale", ["absmean", "kept"])
@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("outputs", [0, 1])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_reference(threshold, scale, axis, outputs, dtype, same):
    rng = np.random.default_rng(0)
    w, g = rng.normal(size=(2, 9, 130)).astype(dtype)
    h = rng.normal(size=w.shape[outputs]).astype(dtype)
    e = Tequila(threshold=threshold, scale=scale, strength=0.3, outputs=outputs, axis=axis)
    codes, scales = reference.tequila_forward(w, ratio=RATIOS[threshold], scale=scale, axis=axis)
    same(e(w), codes, scales, axis)
    assert e(w).format == "int2_symmetric"
    assert 0 < (codes == 0).sum() < codes.size
    assert_bits(e.bias(w), np.array(reference.tequila_bias(w, codes, strength=0.3, outputs=outputs)))
    wanted = reference.tequila_backward(codes, g, h, strength=0.3, outputs=outputs)
    assert_bits(e.backward(w, g, grad_bias=h), wanted)
    assert_bits(e.backward(w, g), g)


def test_reference_over_more_than_one_chunk(same):
    rng = np.random.default_rng(1)
    w, g = rng.normal(size=(2, 2, 33000)).astype(np.float32)
    e = Tequila(outputs=0, axis=0)
    codes, scales = reference.tequila_forward(w, ratio=0.5, scale="absmean", axis=0)
    same(e(w), codes, scales, 0)
    assert_bits(e.bias(w), np.array(reference.tequila_bias(w, codes, strength=1e-3, outputs=0)))
    h = np.array([1.5, -2.5])
    assert_bits(e.backward(w, g, grad_bias=h), reference.tequila_backward(codes, g, h, strength=1e-3, outputs=0))


def test_the_codes_are_those_of_signed_zero_ternary_without_its_signs():
    w = np.random.default_rng(2).normal(size=(20, 30))
    ours, theirs = Tequila(threshold="twn", scale="kept")(w), estimators.get("szt")(w)
    np.testing.assert_array_equal(ours.codes, np.where(theirs.codes & 1, theirs.codes, 0))
    np.testing.assert_array_equal(ours.values, theirs.values)
    np.testing.assert_array_equal(formats.get("szt").decode(ours.codes), formats.get(ours.format).decode(ours.codes))


def test_a_weight_on_the_threshold_is_dead_and_negative_zero_is_zero():
    w = np.array([[2.0, 1.0, -1.0, -0.0, 1.0, 1.0]])  # M = 1, D = 1/2
    w[0, 1:3] = [0.5, -0.5]
    w[0, 0] = 3.0
    w[0, 4:] = 1.0
    assert np.abs(w).mean() == 1.0
    e = Tequila(strength=1.0)
    assert e(w).codes.tolist() == [[1, 0, 0, 0, 1, 1]]
    assert not np.signbit(e(w).values[0, 3])
    assert e.bias(w).tolist() == [0.0]
    got = e.backward(w, np.zeros((1, 6)), grad_bias=np.ones(1))
    assert got.tolist() == [[0.0, 1.0, 1.0, 1.0, 0.0, 0.0]]


@pytest.mark.parametrize("shape", [(6, 11), (4, 3, 3, 2)])
def test_the_gradient_of_a_dead_weight_is_the_finite_difference_of_its_layer(shape):
    """The bias term is a true derivative: the loss of y = x Q(w) + b(w), as long as no code changes."""
    rng = np.random.default_rng(3)
    w = rng.normal(size=shape)
    e = Tequila(threshold="twn", scale="kept", strength=0.25)
    target = rng.normal(size=(5, shape[0]))
    x = rng.normal(size=(5, w[0].size))

    def layer(w):
        return x @ e(w).values.reshape(shape[0], -1).T + e.bias(w)

    dy = layer(w) - target  # of half the squared error
    grad = e.backward(w, np.zeros(shape), grad_bias=dy.sum(axis=0))
    dead = np.flatnonzero(e(w).codes.reshape(-1) == 0)
    inner = [k for k in dead if abs(w.flat[k]) < 0.5 * np.abs(w.flat[dead]).max()]
    assert len(inner) > 3
    kept = e(w).codes
    for k in inner:
        losses = []
        for step in (1e-5, -1e-5):
            moved = w.copy()
            moved.flat[k] += step
            np.testing.assert_array_equal(e(moved).codes, kept)
            y = x @ e(w).values.reshape(shape[0], -1).T + e.bias(moved)
            losses.append(0.5 * np.sum((y - target) ** 2))
        assert grad.flat[k] == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-6)


def test_a_trapped_weight_gets_out_only_with_its_bias_gradient():
    """No straight-through signal (g = 0): the bias alone carries the weight across the threshold."""
    e = Tequila(strength=0.5)
    for share, codes in ((0.0, 0), (1.0, 1)):
        w = np.full((2, 8), 1.0)
        w[0, 0] = 0.0
        for _ in range(200):
            h = share * np.array([-1.0, 0.0])  # the loss wants output 0 to be larger
            w -= 0.02 * e.backward(w, np.zeros_like(w), grad_bias=h)
        assert e(w).codes[0, 0] == codes
        assert (e(w).codes.reshape(-1)[1:] == 1).all()


@settings(max_examples=60)
@given(
    hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=5), elements=st.floats(-4, 4, width=16)),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.data(),
)
def test_bias_and_values_share_the_weights(w, strength, data):
    """Each weight is in the values or in the bias, never in both, never in neither."""
    outputs = data.draw(st.integers(-w.ndim, w.ndim - 1))
    e = Tequila(strength=strength, outputs=outputs)
    dead = np.where(e(w).codes == 0, w, 0).astype(np.float64)
    others = tuple(k for k in range(w.ndim) if k != outputs % w.ndim)
    np.testing.assert_allclose(e.bias(w), strength * dead.sum(axis=others), rtol=1e-13, atol=1e-13)
    assert e.bias(w).shape == (w.shape[outputs],)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (1,), (2, 3, 4)])
def test_any_shape(shape):
    e = Tequila()
    w = np.full(shape, 0.5)
    assert e(w).codes.shape == shape
    assert e.bias(w).shape == shape[:1]
    assert e.backward(w, np.ones(shape), grad_bias=np.ones(shape[0])).shape == shape


def test_scalars_have_codes_but_no_outputs():
    e = Tequila()
    codes = e(np.float64(-2.0)).codes
    assert isinstance(codes, np.ndarray)
    assert (codes.shape, codes.dtype, codes.tolist()) == ((), np.uint8, 3)
    assert e.backward(np.float64(1.0), np.float64(3.0)).tolist() == 3.0
    with pytest.raises(InvalidValueError, match=r"^`w` must have an axis of outputs, got 0-d$"):
        e.bias(np.float64(1.0))


@pytest.mark.parametrize("outputs", [0, 1])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_out_with_a_bias_gradient(outputs, dtype):
    rng = np.random.default_rng(4)
    w, g = rng.normal(size=(2, 6, 5)).astype(dtype)
    h = rng.normal(size=(6, 5)[outputs])
    e = Tequila(outputs=outputs, strength=0.5)
    wanted = e.backward(w, g, grad_bias=h)
    for out in (np.empty((6, 5), dtype), np.empty((5, 6), dtype).T, np.empty((6, 10), dtype)[:, ::2]):
        assert e.backward(w, g, out=out, grad_bias=h) is out
        assert_bits(out, wanted)
    for place in (0, 1):
        inputs = [w.copy(), g.copy()]
        assert_bits(e.backward(*inputs, out=inputs[place], grad_bias=h), wanted)


def test_out_may_overlap_the_bias_gradient():
    rng = np.random.default_rng(5)
    for shape in ((8,), (4, 3)):
        w, g, h = rng.normal(size=shape), rng.normal(size=shape), rng.normal(size=shape[:1])
        e = Tequila(strength=0.5)
        wanted = e.backward(w, g, grad_bias=h)
        for shift in (0, 1, 3):
            memory = np.zeros(w.size + 8)
            given = memory[shift : shift + h.size]
            given[...] = h
            got = e.backward(w, g, grad_bias=given, out=memory[: w.size].reshape(shape))
            assert_bits(got, wanted)


def test_only_a_bias_gradient_needs_the_values():
    w = np.array([1.0, np.nan])
    assert Tequila().backward(w, np.ones(2)).tolist() == [1.0, 1.0]
    with pytest.raises(InvalidValueError, match=r"^`w` must be finite, got nan at index \(1,\)$"):
        Tequila().backward(w, np.ones(2), grad_bias=np.ones(2))


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"strength": -1}, InvalidValueError, "`strength` must be at least 0, got -1"),
        ({"strength": np.nan}, InvalidValueError, "`strength` must be finite, got nan"),
        ({"threshold": "absmax"}, UnknownNameError, "unknown threshold 'absmax'; did you mean 'absmean'?"),
        ({"scale": "keep"}, UnknownNameError, "unknown scale 'keep'; did you mean 'kept'?"),
        ({"outputs": None}, TypeError, "`outputs` must be an integer, got None"),
        ({"outputs": 64}, InvalidValueError, "`outputs` must be an integer from -64 to 63, got 64"),
        ({"axis": True}, TypeError, "`axis` must be an integer or None, got True"),
    ],
)
def test_bad_parameters(params, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        Tequila(**params)


def test_bad_bias_gradients():
    e, w = Tequila(), np.ones((2, 3))
    with pytest.raises(InvalidValueError, match=r"^`grad_bias` must have shape \(2,\), got \(3,\)$"):
        e.backward(w, w, grad_bias=np.ones(3))
    with pytest.raises(TypeError, match=r"^`grad_bias` must be a float16, float32 or float64 array, got int64$"):
        e.backward(w, w, grad_bias=np.arange(2))
    with pytest.raises(
        InvalidValueError, match=r"^`outputs` must be from -2 to 1 for an array of 2 dimensions, got 2$"
    ):
        Tequila(outputs=2).bias(w)
