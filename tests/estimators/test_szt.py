"""SZT: codes, scales and gradients against the slow reference, bit by bit; corners; errors."""

import math
import re

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import estimators, formats
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators import reference
from tetrit.estimators._kernels import CHUNK

RATIOS = {"twn": 0.7, "absmean": 0.5}
FLOATS = [np.float16, np.float32, np.float64]


def latents(dtype):
    bits = np.finfo(dtype).bits
    bound = float(np.finfo(dtype).max) if bits < 64 else 1e300
    wild = st.floats(-bound, bound, width=bits)
    tame = st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 0.25, 2.0, -3.0])
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6)
    return hnp.arrays(dtype, shapes, elements=st.one_of(tame, wild))


def pick_axis(data, w):
    return data.draw(st.none() | st.integers(-w.ndim, w.ndim - 1)) if w.ndim else None


@pytest.mark.parametrize("threshold", RATIOS)
@pytest.mark.parametrize("scale", ["kept", "absmean"])
@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_forward_equals_the_reference(data, dtype, scale, threshold, same):
    w = data.draw(latents(dtype))
    axis = pick_axis(data, w)
    q = estimators.get("szt", threshold=threshold, scale=scale, axis=axis)(w)
    axis = axis if axis is None else axis % w.ndim
    same(q, *reference.szt_forward(w, ratio=RATIOS[threshold], scale=scale, axis=axis), axis)
    assert q.codes.dtype == np.uint8
    assert q.format == "szt"


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_backward_equals_the_reference(data, dtype):
    w = data.draw(latents(dtype))
    axis = pick_axis(data, w)
    g = data.draw(hnp.arrays(dtype, w.shape, elements=st.floats(-1000, 1000, width=16)))
    rule = estimators.Surrogate(
        gain=data.draw(st.sampled_from([0.0, 0.3, 1.0])),
        tilt=data.draw(st.sampled_from([0.0, 0.1])),
        drift=data.draw(st.sampled_from([0.0, 1e-3])),
        clip=data.draw(st.sampled_from([0.25, 1.0, 1.5, math.inf])),
    )
    got = estimators.get("szt", surrogate=rule, axis=axis).backward(w, g)
    wanted = reference.szt_backward(
        w, g, ratio=0.7, gain=rule.gain, tilt=rule.tilt, drift=rule.drift, clip=rule.clip,
        axis=axis if axis is None else axis % w.ndim,
    )  # fmt: skip
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("n", [CHUNK - 1, CHUNK, CHUNK + 65, 2 * CHUNK + 1])
def test_rows_longer_than_a_chunk(n, same):
    rng = np.random.default_rng(n)
    w = (rng.normal(size=n) * 10.0 ** rng.integers(-6, 6, n)).astype(np.float32)
    g = rng.normal(size=n).astype(np.float32)
    e = estimators.get("szt", surrogate=estimators.signed_zero_slope(clip=3.0))
    same(e(w), *reference.szt_forward(w, ratio=0.7, scale="kept"), None)
    wanted = reference.szt_backward(w, g, ratio=0.7, gain=1.0, tilt=0.02, drift=0.0, clip=3.0)
    np.testing.assert_array_equal(e.backward(w, g), wanted)


def test_a_wrong_formula_would_be_caught():
    w = np.random.default_rng(5).normal(size=2000)
    g = np.ones(2000)
    e = estimators.get("szt")
    codes, scales = reference.szt_forward(w, ratio=0.69, scale="kept")
    assert (e(w).codes != codes).any()
    assert float(e(w).scale) != scales[None]
    inward = reference.szt_backward(w, g, ratio=0.7, gain=1.0, tilt=-0.02, drift=0.0, clip=math.inf)
    assert (e.backward(w, g) != inward).any()


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_the_number_of_threads_changes_nothing(axis, monkeypatch):
    rng = np.random.default_rng(3)
    w = rng.normal(size=(700, 1500)).astype(np.float32)
    g = rng.normal(size=w.shape).astype(np.float32)
    e = estimators.get("szt", axis=axis)
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        q = e(w)
        results.append((q.codes.tobytes(), q.scale.tobytes(), e.backward(w, g).tobytes()))
    assert len(set(results)) == 1


@given(w=latents(np.float64))
def test_zero_keeps_the_sign_bit(w):
    q = estimators.get("szt")(w)
    np.testing.assert_array_equal(np.signbit(q.values), np.signbit(w))
    np.testing.assert_array_equal(q.codes >> 1, np.signbit(w))


def test_negative_zero_goes_to_its_own_code():
    q = estimators.get("szt")(np.array([-0.0, 0.0, 1.0]))
    assert q.codes.tolist() == [2, 0, 1]
    assert np.signbit(q.values).tolist() == [True, False, False]


def test_a_weight_on_the_threshold_is_dead():
    w = np.array([0.5, -0.5, 1.5, -1.5])
    e = estimators.get("szt", threshold="absmean", surrogate="vanishing")
    assert e(w).codes.tolist() == [0, 2, 1, 3]
    assert e.backward(w, np.ones(4)).tolist() == [0, 0, 1, 1]


@given(data=st.data())
def test_scaling_by_a_power_of_two_scales_the_scale_only(data):
    w = data.draw(hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(-4, 4, width=16)))
    e = estimators.get("szt")
    a, b = e(w), e(w * 2.0**10)
    np.testing.assert_array_equal(a.codes, b.codes)
    if w.any():
        assert float(b.scale) == float(a.scale) * 2.0**10


def test_kept_scale_is_the_least_squares_scale():
    w = np.random.default_rng(0).normal(size=500)
    q = estimators.get("szt")(w)
    signs = formats.get("szt").decode(q.codes)
    assert float(q.scale) == pytest.approx(float((w * signs).sum() / (signs**2).sum()), rel=1e-12)


@pytest.mark.parametrize("axis", [None, 0])
def test_zeros_have_scale_one(axis):
    q = estimators.get("szt", axis=axis)(np.array([0.0, -0.0]))
    assert q.codes.tolist() == [0, 2]
    np.testing.assert_array_equal(q.scale, np.ones(() if axis is None else 2))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_empty(shape, axis):
    e = estimators.get("szt", axis=axis)
    q = e(np.zeros(shape))
    assert q.codes.shape == shape
    assert q.values.shape == shape
    assert (q.scale == 1).all()
    assert e.backward(np.zeros(shape), np.zeros(shape)).shape == shape


def test_a_constant_is_kept_whole():
    q = estimators.get("szt")(np.full(7, -0.25))
    assert q.codes.tolist() == [3] * 7
    assert float(q.scale) == 0.25


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_views_of_any_layout(axis):
    rng = np.random.default_rng(9)
    w, g = rng.normal(size=(2, 12, 10))
    e = estimators.get("szt", axis=axis)
    for view in (lambda a: a[::2, ::-3], lambda a: np.asfortranarray(a), lambda a: a.astype(">f8")):
        plain = np.ascontiguousarray(view(w), np.float64)
        before = w.copy()
        np.testing.assert_array_equal(e(view(w)).codes, e(plain).codes)
        np.testing.assert_array_equal(
            e.backward(view(w), view(g)), e.backward(plain, np.ascontiguousarray(view(g), np.float64))
        )
        np.testing.assert_array_equal(w, before)


def test_read_only_input_and_lists():
    w = np.array([1.0, -0.1])
    w.flags.writeable = False
    e = estimators.get("szt")
    assert e(w).codes.tolist() == e([1.0, -0.1]).codes.tolist() == [1, 2]


@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("dtype", FLOATS)
def test_out_is_written(axis, dtype):
    w, g = np.random.default_rng(1).normal(size=(2, 6, 5)).astype(dtype)
    e = estimators.get("szt", axis=axis)
    out = np.full(w.shape, np.nan, dtype)
    assert e.backward(w, g, out=out) is out
    np.testing.assert_array_equal(out, e.backward(w, g))
    strided = np.full((12, 10), np.nan, dtype)[::2, ::2]
    np.testing.assert_array_equal(e.backward(w, g, out=strided), out)


def test_forward_is_the_values():
    w = np.array([0.3, -2.0])
    e = estimators.get("szt")
    np.testing.assert_array_equal(e.forward(w), e(w).values)


@pytest.mark.parametrize("name", estimators.SURROGATES)
def test_surrogate_by_name_is_the_object(name):
    assert estimators.get("szt", surrogate=name) == estimators.get("szt", surrogate=estimators.SURROGATES[name]())


def test_signed_zero_surrogates_push_outward():
    w = np.array([0.1, -0.1, 5.0, -5.0])
    for rule in (estimators.signed_zero_bias(epsilon=0.25), estimators.signed_zero_slope(epsilon=0.25)):
        e = estimators.get("szt", surrogate=rule)
        assert e.backward(w, np.ones(4)).tolist() == [0.75, 1.25, 1.0, 1.0]
        assert e.backward(w, -np.ones(4)).tolist() == [-1.25, -0.75, -1.0, -1.0]
    bias = estimators.get("szt", surrogate=estimators.signed_zero_bias(epsilon=0.25))
    assert bias.backward(w, np.zeros(4)).tolist() == [-0.25, 0.25, 0.0, 0.0]


@pytest.mark.parametrize(
    ("w", "text"),
    [
        ([[0.0, 1.0], [np.nan, 2.0]], "`w` must be finite, got nan at index (1, 0)"),
        ([0.0, -np.inf], "`w` must be finite, got -inf at index (1,)"),
        ([1e308, 1e308], "`w` must have a sum of magnitudes that float64 can hold, got an overflow"),
    ],
)
@pytest.mark.parametrize("axis", [None, -1])
def test_bad_weights(w, text, axis):
    if axis is not None and "overflow" in text:
        w = [w]
        axis = 0
    for call in (
        estimators.get("szt", axis=axis),
        lambda x: estimators.get("szt", axis=axis).backward(x, np.ones_like(x)),
    ):
        with pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$"):
            call(np.array(w))


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"threshold": "tnw"}, UnknownNameError, "unknown threshold 'tnw'; did you mean 'twn'?"),
        ({"scale": "max"}, UnknownNameError, "unknown scale 'max'; known: absmean, kept"),
        ({"surrogate": "identiy"}, UnknownNameError, "unknown surrogate 'identiy'; did you mean 'identity'?"),
        ({"axis": 1.5}, TypeError, "`axis` must be an integer or None, got 1.5"),
        ({"axis": True}, TypeError, "`axis` must be an integer or None, got True"),
        ({"treshold": "twn"}, UnknownNameError, "unknown parameter of 'szt' 'treshold'; did you mean 'threshold'?"),
    ],
)
def test_bad_parameters(params, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        estimators.get("szt", **params)


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"clip": 0.0}, InvalidValueError, "`clip` must be above 0, got 0"),
        ({"clip": math.nan}, InvalidValueError, "`clip` must be above 0, got nan"),
        ({"clip": "1"}, TypeError, "`clip` must be a number, got '1'"),
        ({"clip": b"1"}, TypeError, "`clip` must be a number, got b'1'"),
        ({"clip": True}, TypeError, "`clip` must be a number, got True"),
        ({"tilt": -0.1}, InvalidValueError, "`tilt` must be at least 0, got -0.1"),
        ({"drift": -1}, InvalidValueError, "`drift` must be at least 0, got -1"),
        ({"gain": math.inf}, InvalidValueError, "`gain` must be finite, got inf"),
    ],
)
def test_bad_surrogates(params, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        estimators.Surrogate(**params)


def test_numpy_scalars_are_numbers():
    rule = estimators.Surrogate(gain=np.float32(0.5), tilt=np.int8(1), clip=np.float32(3))
    assert rule == estimators.Surrogate(gain=0.5, tilt=1.0, clip=3.0)
    assert type(rule.clip) is float


def test_bad_arrays():
    e = estimators.get("szt")
    with pytest.raises(TypeError, match=r"^`w` must be a float16, float32 or float64 array, got int64$"):
        e(np.arange(3))
    with pytest.raises(TypeError, match=r"^`grad_out` must be a float16, float32 or float64 array, got complex128$"):
        e.backward(np.ones(2), np.ones(2, complex))
    with pytest.raises(InvalidValueError, match=r"^`grad_out` must have shape \(2,\), got \(3,\)$"):
        e.backward(np.ones(2), np.ones(3))
    with pytest.raises(
        InvalidValueError, match=r"^`axis` must be None or from -1 to 0 for an array of 1 dimensions, got 1$"
    ):
        estimators.get("szt", axis=1)(np.ones(2))
    with pytest.raises(InvalidValueError, match=r"^`axis` must be None for an array of 0 dimensions, got 0$"):
        estimators.get("szt", axis=0)(np.float64(1))
    text = "`out` must have the shape and dtype of `grad_out`, (2,) and float64, got (2,) and float32"
    with pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$"):
        e.backward(np.ones(2), np.ones(2), out=np.ones(2, np.float32))
