"""POST: codes, scales and gradients against the slow reference; the quantile; the levels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import formats
from tetrit.estimators._kernels import CHUNK
from tetrit.estimators.grids import POST, reference

FLOATS = [np.float16, np.float32, np.float64]


def levels(name):
    values = formats.get(name).values.copy()
    values[values.size // 2] = np.nan
    return values.tolist()


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data(), name=st.sampled_from(["post4", "pot3z", "pot4z"]), clipped=st.booleans())
def test_codes_and_gradients_equal_the_reference(data, name, clipped, dtype, same):
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
    elements = st.floats(-1000, 1000, width=16) | st.sampled_from([0.0, -0.0, 0.5, -1.5, 0.75, -0.375, 1.0])
    w = data.draw(hnp.arrays(dtype, shapes, elements=elements))
    g = data.draw(hnp.arrays(dtype, w.shape, elements=st.floats(-100, 100, width=16)))
    axis = data.draw(st.none() | st.integers(0, w.ndim - 1)) if w.ndim else None
    quantile = data.draw(st.sampled_from([0.3, 0.8, 0.99, 1.0]))
    e = POST(format=name, axis=axis, quantile=quantile, clipped=clipped)
    same(e(w), *reference.post_forward(w, levels=levels(name), quantile=quantile, axis=axis), axis)
    wanted = reference.post_backward(w, g, quantile=quantile, axis=axis) if clipped else g
    got = e.backward(w, g)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("name", ["post4", "pot4z"])
def test_codes_are_those_of_the_format(name, axis):
    rng = np.random.default_rng(3)
    w = (rng.standard_t(2, size=(2, CHUNK + 1025)) * 0.1).astype(np.float32)
    q = POST(format=name, axis=axis)(w)
    np.testing.assert_array_equal(q.codes, formats.get(name).encode(w / q.scale))
    assert len(np.unique(q.codes)) == 2 ** formats.get(name).bits - 1


def test_ties_in_value():
    values = formats.get("post4").values[:8]
    middles = (values[1:] + values[:-1]) / 2
    w = np.concatenate((middles, -middles, [1.0]))
    codes = POST(quantile=1.0)(w).codes
    wanted = formats.get("post4").encode(w)
    np.testing.assert_array_equal(codes, wanted)
    assert codes[0] == 0  # 1/16 lies exactly between 0 and 1/8: to the even code
    assert codes[7] == 0
    # the middle in value, not in the logarithm: sqrt(2)^(-1/2) = 0.8409 lies below 0.8536
    assert POST(quantile=1.0)(np.array([0.845, 0.8536, 1.0])).codes.tolist() == [6, 7, 7]


def test_levels_are_powers_of_the_root_of_two():
    w = np.concatenate(([0.0], np.sqrt(2.0) ** -np.arange(7.0)))
    np.testing.assert_allclose(POST(quantile=1.0).forward(w), w, rtol=1e-15)
    assert POST(quantile=1.0)(np.linspace(-1, 1, 1001)).codes.max() == 15


def test_alpha_is_a_magnitude():
    w = np.random.default_rng(1).normal(size=1000)
    for quantile, k in ((0.99, 990), (0.5, 500), (1.0, 1000), (1e-6, 1)):
        assert float(POST(quantile=quantile)(w).scale) == np.sort(np.abs(w))[k - 1]
    assert float(POST()(w).scale) == float(POST()(-w[::-1]).scale)


def test_alpha_where_most_weights_are_zero():
    w = np.zeros(1000)
    w[7] = -3.0
    q = POST(quantile=0.9)(w)
    assert float(q.scale) == 3.0
    assert q.values[7] == -3.0
    assert np.count_nonzero(q.values) == 1


@given(st.integers(-20, 20))
def test_scaling_by_a_power_of_two_scales_the_scale_only(exponent):
    w = np.random.default_rng(2).normal(size=(3, 50))
    a, b = POST(axis=0)(w), POST(axis=0)(w * 2.0**exponent)
    np.testing.assert_array_equal(a.codes, b.codes)
    np.testing.assert_array_equal(a.scale * 2.0**exponent, b.scale)


def test_oddness():
    w = np.random.default_rng(4).normal(size=500)
    np.testing.assert_array_equal(POST().forward(-w), -POST().forward(w) + 0.0)


def test_the_clipped_gradient_is_that_of_the_clip():
    w = np.array([-3.0, -1.0, 0.2, 0.9, 1.0, 5.0])
    e = POST(quantile=4 / 6, clipped=True)
    assert float(e(w).scale) == 1.0
    h = 2.0**-20  # the surrogate: without the rounding, the value is the clip of w at alpha
    slopes = (np.clip(w + h, -1, 1) - np.clip(w - h, -1, 1)) / (2 * h)
    inside = np.abs(np.abs(w) - 1.0) > h
    np.testing.assert_array_equal(e.backward(w, np.ones(6))[inside], slopes[inside])
    assert e.backward(w, np.ones(6)).tolist() == [0, 1, 1, 1, 1, 0]
