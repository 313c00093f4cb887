"""True 4-bit with the soft clip: fifteen codes, the straight-through gradient, the step after the optimiser's."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators import STE
from tetrit.estimators import reference as uniform_reference
from tetrit.estimators.deterministic import TanhClip, reference

FLOATS = [np.float16, np.float32, np.float64]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


def test_the_codes_are_the_fifteen_values_and_no_more():
    e = TanhClip()
    assert sorted((e(np.arange(-7.0, 8.0)).values).tolist()) == list(range(-7, 8))
    codes = e(np.linspace(-3, 3, 10001)).codes
    assert set(codes.tolist()) == set(range(16)) - {8}


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_forward_and_backward(data, dtype, same):
    bound = float(np.finfo(dtype).max)
    elements = st.floats(-bound, bound, width=np.finfo(dtype).bits) | st.sampled_from([0.0, -0.0, 0.5, 3.5, -7.0])
    w = data.draw(hnp.arrays(dtype, SHAPES, elements=elements))
    axis = data.draw(st.none() | st.integers(0, w.ndim - 1)) if w.ndim else None
    e = TanhClip(axis=axis)
    same(e(w), *uniform_reference.uniform_forward(w, bits=4, axis=axis), axis)
    g = data.draw(hnp.arrays(dtype, w.shape, elements=st.floats(-8, 8, width=16)))
    np.testing.assert_array_equal(e.backward(w, g), g)
    np.testing.assert_array_equal(e(w).codes, STE(format="int4", axis=axis)(w).codes)


def test_after_step_on_every_finite_float16():
    w = np.arange(2**16, dtype=np.uint16).view(np.float16)
    w = np.sort(w[np.isfinite(w)])
    got = TanhClip().after_step(w)
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, reference.tanh_clip_step(w, bound=3.0))
    assert (np.diff(got.astype(np.float64)) >= 0).all()
    assert (np.abs(got) <= 3.0).all()
    assert (np.abs(got) <= np.abs(w)).all()
    np.testing.assert_array_equal(got, -got[::-1])
    np.testing.assert_array_equal(np.signbit(got), np.signbit(w))
    assert got[-1] == 3.0


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data(), bound=st.sampled_from([3.0, 0.1, 100.0]))
def test_after_step_equals_the_reference(data, bound, dtype):
    largest = float(np.finfo(dtype).max)
    elements = st.floats(-largest, largest, width=np.finfo(dtype).bits) | st.floats(-8, 8, width=16)
    w = data.draw(hnp.arrays(dtype, SHAPES, elements=elements))
    kept = w.copy()
    got = TanhClip(bound=bound).after_step(w)
    assert (got.dtype, got.shape) == (w.dtype, w.shape)
    np.testing.assert_array_equal(got, reference.tanh_clip_step(w, bound=bound))
    np.testing.assert_array_equal(w, kept)


def test_an_outlier_no_longer_stretches_the_scale():
    w = np.append(np.linspace(-1, 1, 50), 1000.0)
    e = TanhClip()
    assert float(e(w).scale) == 1000.0 / 7
    assert float(e(e.after_step(w)).scale) == 3.0 / 7


def test_another_bound_would_be_caught():
    w = np.linspace(-4, 4, 100)
    assert (TanhClip().after_step(w) != reference.tanh_clip_step(w, bound=2.9)).any()


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"bound": 0.0}, InvalidValueError, "`bound` must be above 0, got 0"),
        ({"limit": -1.0}, InvalidValueError, "`limit` must be above 0, got -1"),
        ({"format": "int17"}, UnknownNameError, "unknown format 'int17'; did you mean 'int7'?"),
    ],
)
def test_bad_parameters(params, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        TanhClip(**params)


def test_bad_weights_after_a_step():
    with pytest.raises(InvalidValueError, match=r"^`w` must be finite, got nan at index \(1,\)$"):
        TanhClip().after_step(np.array([0.0, np.nan]))
    with pytest.raises(TypeError, match=r"^`w` must be a float16, float32 or float64 array, got int64$"):
        TanhClip().after_step(np.array([1, 2]))
