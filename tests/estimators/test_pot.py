"""Powers of two: codes against the slow reference and against the format's own encoder; the blend and its gradient."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import estimators, formats
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators import reference

FORMATS = ["pot2", "pot3", "pot3z", "pot4", "pot4z"]
FLOATS = [np.float16, np.float32, np.float64]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_forward_equals_the_reference(data, name, dtype, same):
    elements = st.floats(-60000, 60000, width=16) | st.sampled_from([0.0, -0.0, 0.5, 1.5, -3.0, 4.0, 6.0, 8.0, 12.0])
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6)
    w = data.draw(hnp.arrays(dtype, shapes, elements=elements))
    axis = data.draw(st.none() | st.integers(0, w.ndim - 1)) if w.ndim else None
    q = estimators.get("pot", format=name, axis=axis)(w)
    same(q, *reference.nearest_forward(w, values=formats.get(name).values.tolist(), axis=axis), axis)
    assert q.codes.dtype == np.uint8
    assert q.format == name


@pytest.mark.parametrize("name", FORMATS)
def test_codes_are_those_of_the_format(name):
    fmt = formats.get(name)
    rng = np.random.default_rng(0)
    midpoints = (fmt.values[:, None] + fmt.values[None, :]).reshape(-1) / 2
    zeros = [0.0, -0.0, 5e-324, -5e-324]
    w = np.concatenate([rng.normal(size=2000) * fmt.max_value / 3, midpoints, zeros, [fmt.max_value]])
    w = np.clip(w, -fmt.max_value, fmt.max_value)  # the scale is then 1, and ties stay ties
    q = estimators.get("pot", format=name)(w)
    assert float(q.scale) == 1.0
    np.testing.assert_array_equal(fmt.decode(q.codes), fmt.quantize(w))
    np.testing.assert_array_equal(q.codes, fmt.encode(w))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("name", FORMATS)
def test_the_sign_of_a_zero_decides_where_no_code_means_zero(name, axis, dtype, same):
    fmt = formats.get(name)
    for w in (np.array([[-0.0, 0.0, 1.0]], dtype), np.array([[-0.0, 0.0]], dtype), np.array([[-1e-300, -1e8]])):
        q = estimators.get("pot", format=name, axis=axis)(w)
        values = fmt.values.tolist()
        same(q, *reference.nearest_forward(w, values=values, axis=axis), axis)
        np.testing.assert_array_equal(q.codes, fmt.encode(w / q.scale))
        if not name.endswith("z"):
            np.testing.assert_array_equal(fmt.decode(q.codes) < 0, np.signbit(w))


@pytest.mark.parametrize("name", FORMATS)
def test_a_quotient_that_vanishes_keeps_its_sign(name, same):
    w = np.array([-5e-324, 5e-324, 1e300])
    q = estimators.get("pot", format=name)(w)
    same(q, *reference.nearest_forward(w, values=formats.get(name).values.tolist()), None)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("lam", [0.0, 0.25, 1.0, 1 / 3])
def test_blend_and_its_gradient(lam, dtype):
    w, g = np.random.default_rng(4).normal(size=(2, 9, 7)).astype(dtype)
    e = estimators.get("pot", lam=lam, axis=1)
    np.testing.assert_array_equal(e.forward(w), lam * e(w).values + (1 - lam) * w.astype(np.float64))
    got = e.backward(w, g)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, ((1 - lam) * g.astype(np.float64)).astype(dtype))


def test_gradient_is_that_of_the_blend():
    """Away from the steps, a finite difference of the forward pass with the scale held by a large first weight."""
    w = np.array([4.0, 0.3, -0.8, 1.7, -2.9])
    e = estimators.get("pot", lam=0.6)
    for k in range(1, 5):
        step = np.eye(5)[k] * 1e-6
        slope = (e.forward(w + step) - e.forward(w - step)) / 2e-6
        np.testing.assert_allclose(slope[k], e.backward(w, np.ones(5))[k], rtol=1e-6)


def test_schedule_raises_the_blend():
    e = estimators.get("pot", lam=0.8, format="pot4z")
    assert [e.at(t).lam for t in (-1, 0, 0.5, 1, 2)] == [0, 0, 0.4, 0.8, 0.8]
    assert e.at(0.5).format == "pot4z"


def test_zero_and_empty():
    assert estimators.get("pot")(np.zeros(2)).values.tolist() == [0, 0]
    assert float(estimators.get("pot")(np.zeros(2)).scale) == 1.0
    assert estimators.get("pot")(np.zeros((0, 2))).codes.shape == (0, 2)


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"lam": 1.5}, InvalidValueError, "`lam` must be from 0 to 1, got 1.5"),
        ({"lam": -0.5}, InvalidValueError, "`lam` must be at least 0, got -0.5"),
        ({"format": "pot5"}, UnknownNameError, "unknown format 'pot5'; did you mean 'pot4'?"),
        ({"axis": 0.0}, TypeError, "`axis` must be an integer or None, got 0.0"),
    ],
)
def test_bad_parameters(params, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        estimators.get("pot", **params)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_weights(bad):
    with pytest.raises(InvalidValueError, match=rf"^`w` must be finite, got {bad} at index \(2,\)$"):
        estimators.get("pot")(np.array([1.0, 2.0, bad]))
