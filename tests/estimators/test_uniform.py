"""Uniform integers: codes and scales against the slow reference and the format, gradients with and without the clip."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import estimators, formats
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators import reference
from tetrit.estimators._kernels import CHUNK

FLOATS = [np.float16, np.float32, np.float64]


def latents(dtype):
    bits = np.finfo(dtype).bits
    bound = float(np.finfo(dtype).max)
    elements = st.floats(-bound, bound, width=bits) | st.sampled_from([0.0, -0.0, 0.5, -1.5, 2.5, 7.0, -127.0])
    return hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6), elements=elements)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["ste", "ste_clipped"])
@given(data=st.data(), bits=st.integers(2, 16), limit=st.none() | st.sampled_from([1.0, 3.7, 1e-3]))
def test_forward_equals_the_reference(data, bits, limit, name, dtype, same):
    w = data.draw(latents(dtype))
    axis = data.draw(st.none() | st.integers(0, w.ndim - 1)) if w.ndim else None
    q = estimators.get(name, format=f"int{bits}", axis=axis, limit=limit)(w)
    same(q, *reference.uniform_forward(w, bits=bits, limit=limit, axis=axis), axis)
    assert q.codes.dtype == (np.uint8 if bits <= 8 else np.uint16)


@pytest.mark.parametrize("bits", range(2, 17))
def test_every_code_but_the_lowest_is_its_own_fixed_point(bits):
    fmt = formats.get(f"int{bits}")
    codes = np.flatnonzero(fmt.values >= -fmt.max_value)
    q = estimators.get("ste", format=fmt.name, limit=fmt.max_value)(fmt.values[codes])
    np.testing.assert_array_equal(q.codes, codes)
    assert float(q.scale) == 1.0
    lowest = estimators.get("ste", format=fmt.name, limit=fmt.max_value)(np.array([fmt.values.min()]))
    assert lowest.values.tolist() == [-fmt.max_value]


@given(w=hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-100, 100)))
def test_error_is_at_most_half_a_step(w):
    q = estimators.get("ste", format="int8")(w)
    assert np.abs(q.values - w).max() <= float(q.scale) * (0.5 + 1e-12)


def test_long_rows(same):
    w = np.random.default_rng(2).normal(size=(2, CHUNK + 3)).astype(np.float32)
    for axis in (None, 0):
        same(estimators.get("ste", format="int4", axis=axis)(w), *reference.uniform_forward(w, bits=4, axis=axis), axis)


def test_ties_go_to_the_even_integer():
    w = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 7.0])
    assert estimators.get("ste", format="int4")(w).values.tolist() == [0, 2, 2, 0, -2, 7]


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data(), limit=st.none() | st.sampled_from([1.0, 2.5, 100.0]))
def test_clipped_gradient_equals_the_reference(data, limit, dtype):
    w = data.draw(latents(dtype))
    g = data.draw(hnp.arrays(dtype, w.shape, elements=st.floats(-1000, 1000, width=16)))
    got = estimators.get("ste_clipped", limit=limit).backward(w, g)
    np.testing.assert_array_equal(got, reference.ste_clipped_backward(w, g, limit=limit))
    assert got.dtype == dtype


def test_clipped_gradient_ends_at_the_limit():
    w = np.array([1.0, np.nextafter(1.0, 2), -1.0, -1.1])
    assert estimators.get("ste_clipped", limit=1.0).backward(w, np.ones(4)).tolist() == [1, 0, 1, 0]
    assert estimators.get("ste", limit=1.0).backward(w, np.ones(4)).tolist() == [1, 1, 1, 1]


def test_plain_gradient_is_a_copy():
    g = np.array([1.0, -2.0])
    e = estimators.get("ste")
    got = e.backward(np.ones(2), g)
    assert got is not g
    assert not np.shares_memory(got, g)
    out = np.empty(2)
    assert e.backward(np.ones(2), g, out=out) is out
    assert out.tolist() == g.tolist()


@pytest.mark.parametrize("w", [np.zeros(3), np.array([-0.0]), np.array([5e-324]), np.zeros((0, 2))])
def test_nothing_to_represent_has_scale_one(w):
    q = estimators.get("ste")(w)
    assert float(q.scale) == 1.0
    assert not q.codes.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 70, CHUNK + 1])
def test_bad_weights(bad, place):
    w = np.ones((1, CHUNK + 10))
    w[0, place] = bad
    text = f"`w` must be finite, got {bad} at index (0, {place})"
    for name in ("ste", "ste_clipped"):
        with pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$"):
            estimators.get(name)(w)
        with pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$"):
            estimators.get(name, limit=1.0)(w)


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"format": "int17"}, UnknownNameError, "unknown format 'int17'; did you mean 'int7'?"),
        ({"format": "szt"}, UnknownNameError, None),
        ({"limit": 0.0}, InvalidValueError, "`limit` must be above 0, got 0"),
        ({"limit": np.nan}, InvalidValueError, "`limit` must be finite, got nan"),
        ({"axis": "0"}, TypeError, "`axis` must be an integer or None, got '0'"),
    ],
)
@pytest.mark.parametrize("name", ["ste", "ste_clipped"])
def test_bad_parameters(name, params, error, text):
    pattern = r"^unknown format 'szt'; known: int10, .*$" if text is None else "^" + re.escape(text) + "$"
    with pytest.raises(error, match=pattern):
        estimators.get(name, **params)


def test_the_smallest_limit_is_kept():
    e = estimators.get("ste_clipped", limit=5e-324)
    assert np.abs(e.forward(np.array([5.3, -1000.0]))).max() < 1e-320
