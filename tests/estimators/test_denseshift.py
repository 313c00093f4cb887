"""DenseShift: codes over all sign patterns, gradients against the slow reference, the start from float weights."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import estimators, formats
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators import reference

COUNTS = {"pot2": 2, "pot3": 4, "pot4": 8}


@pytest.mark.parametrize("name", COUNTS)
def test_every_sign_pattern(name):
    patterns = np.array(list(itertools.product([-1.0, -0.0, 0.0, 1.0], repeat=COUNTS[name]))).T
    q = estimators.get("denseshift", format=name)(patterns)
    np.testing.assert_array_equal(q.codes, reference.denseshift_forward(patterns))
    assert sorted(set(q.codes.tolist())) == list(range(2 ** formats.get(name).bits))
    run = np.cumprod(patterns[:0:-1] > 0, axis=0).sum(axis=0)
    np.testing.assert_array_equal(q.values, np.where(np.signbit(patterns[0]), -1.0, 1.0) * 2.0**run)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", COUNTS)
@given(data=st.data(), clip=st.sampled_from([0.5, np.inf]))
def test_against_the_reference(data, clip, name, dtype):
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4))
    elements = st.floats(-4, 4, width=16)
    w = data.draw(hnp.arrays(dtype, (COUNTS[name], *shape), elements=elements))
    g = data.draw(hnp.arrays(dtype, shape, elements=elements))
    e = estimators.get("denseshift", format=name, scale=0.25, clip=clip)
    np.testing.assert_array_equal(e(w).codes, reference.denseshift_forward(w))
    got = e.backward(w, g)
    assert got.shape == w.shape
    assert got.dtype == dtype
    wanted = reference.denseshift_backward(w, g, scale=0.25, clip=clip)
    np.testing.assert_allclose(got, wanted, rtol=2 * float(np.finfo(dtype).eps), atol=float(np.finfo(dtype).tiny))


def test_a_wrong_nest_would_be_caught():
    w = np.random.default_rng(0).normal(size=(4, 50))
    e = estimators.get("denseshift")
    assert (e(w).codes != reference.denseshift_forward(w[[0, 3, 2, 1]])).any()


@pytest.mark.parametrize("name", COUNTS)
def test_start_quantises_to_nearest(name):
    w = np.random.default_rng(1).normal(size=(40, 30))
    e, references = estimators.get("denseshift", format=name).start(w)
    assert references.shape == (COUNTS[name], 40, 30)
    unit = w / e.scale
    fmt = formats.get(name)
    np.testing.assert_array_equal(e(references).values, fmt.decode(fmt.encode(unit)) * e.scale)
    assert e.scale * fmt.max_value == np.abs(w).max()


def test_start_of_zeros_and_nothing():
    assert estimators.get("denseshift").start(np.zeros(3))[0].scale == 1.0
    e, references = estimators.get("denseshift").start(np.zeros((0, 2)))
    assert e(references).codes.shape == (0, 2)


def test_out_is_written():
    w, g = np.random.default_rng(2).normal(size=(4, 5)), np.ones(5)
    e = estimators.get("denseshift")
    out = np.empty((4, 5))
    assert e.backward(w, g, out=out) is out
    np.testing.assert_array_equal(out, e.backward(w, g))
    with pytest.raises(
        InvalidValueError, match=r"^`out` must have shape \(4, 5\) and dtype float64, got \(5,\) and float64$"
    ):
        e.backward(w, g, out=np.empty(5))
    with pytest.raises(TypeError, match=r"^`out` must be a numpy array, got list$"):
        e.backward(w, g, out=w.tolist())
    out.flags.writeable = False
    with pytest.raises(InvalidValueError, match=r"^`out` must be writeable, got a read-only array$"):
        e.backward(w, g, out=out)
    text = "`out` must not overlap `grad_out` in memory, unless it is the same array"
    both = np.ones((4, 5))
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        e.backward(w, both[1], out=both)
    wanted = e.backward(w, g)
    np.testing.assert_array_equal(e.backward(w, g, out=w), wanted)


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"format": "pot3z"}, UnknownNameError, "unknown format 'pot3z'; did you mean 'pot3'?"),
        ({"scale": 0.0}, InvalidValueError, "`scale` must be above 0, got 0"),
        ({"clip": -1.0}, InvalidValueError, "`clip` must be above 0, got -1"),
        ({"clip": np.nan}, InvalidValueError, "`clip` must be above 0, got nan"),
        ({"clip": "a"}, TypeError, "`clip` must be a number, got 'a'"),
        ({"clip": True}, TypeError, "`clip` must be a number, got True"),
        ({"scale": np.inf}, InvalidValueError, "`scale` must be finite, got inf"),
    ],
)
def test_bad_parameters(params, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        estimators.get("denseshift", **params)


def test_bad_arrays():
    e = estimators.get("denseshift")
    with pytest.raises(
        InvalidValueError, match=r"^`w` must have 4 references on its first axis for 'pot3', got shape \(3, 2\)$"
    ):
        e(np.ones((3, 2)))
    with pytest.raises(InvalidValueError, match=r"^`w` must be finite, got nan at index \(0, 1\)$"):
        e(np.array([[0, np.nan]] * 4))
    with pytest.raises(InvalidValueError, match=r"^`grad_out` must have shape \(2,\), got \(4, 2\)$"):
        e.backward(np.ones((4, 2)), np.ones((4, 2)))
