"""Fairy: codes and both scales against the slow reference, the format, ties, the start, errors."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._kernels import CHUNK
from tetrit.estimators.pairs import Fairy, reference

FLOATS = [np.float16, np.float32, np.float64]


@st.composite
def latents(draw, dtype):
    bits = np.finfo(dtype).bits
    bound = float(np.finfo(dtype).max) if bits < 64 else 1e300
    tame = st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 0.25, 2.0])
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6))
    return draw(hnp.arrays(dtype, (2, *shape), elements=st.one_of(tame, st.floats(-bound, bound, width=bits))))


def assert_equals_reference(w, axis):
    q = Fairy(axis=axis)(w)
    ndim = w.ndim - 1
    along = None if axis is None else axis % ndim
    codes, scales = reference.fairy_forward(w, axis=along)
    np.testing.assert_array_equal(q.codes, codes)
    assert (q.codes.dtype, q.scale.dtype, q.format) == (np.uint8, np.float64, "fairy2")
    channels = 1 if axis is None else w.shape[1:][along]
    assert q.scale.shape == (2, *(channels if i == along else 1 for i in range(ndim)))
    flat = q.scale.reshape(2, -1)
    for channel, pair in scales.items():
        assert tuple(flat[:, channel or 0].tolist()) == pair
    re_scale, im_scale = np.broadcast_to(q.scale, w.shape)
    roots = formats.get("fairy2").decode(codes)
    wanted = np.stack([roots.real * re_scale, roots.imag * im_scale])
    np.testing.assert_array_equal(q.values, wanted)
    np.testing.assert_array_equal(Fairy(axis=axis).forward(w), wanted)


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_forward_equals_the_reference(data, dtype):
    w = data.draw(latents(dtype))
    axis = data.draw(st.none() | st.integers(1 - w.ndim, w.ndim - 2)) if w.ndim > 1 else None
    assert_equals_reference(w, axis)


@pytest.mark.parametrize("n", [CHUNK - 1, CHUNK + 65, 2 * CHUNK + 1])
def test_rows_longer_than_a_chunk(n):
    rng = np.random.default_rng(n)
    assert_equals_reference((rng.normal(size=(2, n)) * 10.0 ** rng.integers(-6, 6, n)).astype(np.float32), None)


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_codes_are_the_nearest_of_the_format(data, dtype):
    w = data.draw(latents(dtype))
    wide = w.astype(np.float64)
    np.testing.assert_array_equal(Fairy()(w).codes, formats.get("fairy2").encode(wide[0] + 1j * wide[1]))


def test_sectors_of_the_phase():
    degrees = np.array([0, 44.9, 45.1, 90, 134.9, 135.1, 180, 224.9, 225.1, 270, 314.9, 315.1])
    w = 3 * np.stack([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))])
    assert Fairy()(w).codes.tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0]


def test_ties_go_to_the_real_axis_and_zero_to_one():
    x = 0.1
    w = np.array([[x, -x, -x, x, 0.0, -0.0], [x, x, -x, -x, 0.0, -0.0]])
    assert Fairy()(w).codes.tolist() == [0, 2, 2, 0, 0, 0]
    above, below = math.nextafter(x, 1), math.nextafter(x, 0)
    w = np.array([[x, -x, x], [above, above, below]])
    assert Fairy()(w).codes.tolist() == [1, 1, 0]


def test_scales_are_the_means_over_what_lands_on_each_axis():
    w = np.array([[3.0, 1.0, -0.5, 0.25], [1.0, 0.5, -2.0, 1.0]])
    q = Fairy()(w)
    assert q.scale.reshape(-1).tolist() == [2.0, 1.5]
    np.testing.assert_array_equal(q.values, [[2, 2, 0, 0], [0, 0, -1.5, 1.5]])


@pytest.mark.parametrize(
    ("w", "wanted"),
    [(np.zeros((2, 3)), [1, 1]), (np.zeros((2, 0)), [1, 1]), (np.array([[2.0], [1.0]]), [2, 1]),
     (np.array([[1.0], [-4.0]]), [1, 4])],
)  # fmt: skip
def test_an_axis_without_weights_has_scale_one(w, wanted):
    assert Fairy()(w).scale.reshape(-1).tolist() == wanted
    assert np.isfinite(Fairy()(w).values).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_out_in_every_dtype_and_layout(dtype, axis):
    w = np.random.default_rng(0).normal(size=(2, 4, 50)).astype(np.float32)
    e = Fairy(axis=axis)
    wanted = e(w).values.astype(dtype)
    for out in (np.empty(w.shape, dtype), np.empty(w.shape[::-1], dtype).T, np.empty((*w.shape, 2), dtype)[..., 0]):
        out[...] = 7
        assert e.forward(w, out=out) is out
        np.testing.assert_array_equal(out, wanted)
    scalar = np.empty(2, dtype)
    assert Fairy().forward(np.array([1.0, -3.0]), out=scalar) is scalar
    assert scalar.tolist() == [0.0, -3.0]


@pytest.mark.parametrize("dtype", FLOATS)
def test_backward_passes_everything(dtype):
    w, g = np.random.default_rng(1).normal(size=(2, 2, 3, 5)).astype(dtype)
    got = Fairy(axis=0).backward(w, g)
    assert got.dtype == dtype
    assert got.tobytes() == g.tobytes()
    assert not np.shares_memory(got, g)
    np.testing.assert_array_equal(Fairy().backward(w * np.nan, g), g)


def test_start_pairs_the_outputs_and_keeps_the_function():
    rng = np.random.default_rng(2)
    w, x = rng.normal(size=(6, 5)), rng.normal(size=5)
    e, latent = Fairy(axis=0).start(w)
    assert e == Fairy(axis=0)
    assert latent.shape == (2, 3, 5)
    complex_out = (latent[0] + 1j * latent[1]) @ x
    np.testing.assert_allclose(np.concatenate([complex_out.real, complex_out.imag]), w @ x, rtol=1e-14)
    assert not np.shares_memory(latent, w)
    assert e.value_shape(latent.shape) == latent.shape
    assert e(latent).codes.shape == (3, 5)
    with pytest.raises(
        InvalidValueError, match=r"^`w` must have an even number of rows to make pairs, got shape \(3,\)$"
    ):
        Fairy().start(np.ones(3))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (1, 1), (0, CHUNK + 1), (1, CHUNK + 1)])
def test_bad_weights(bad, place):
    w = np.ones((2, CHUNK + 10), np.float32)
    w[place] = bad
    pattern = "^" + re.escape(f"`w` must be finite, got {bad} at index {place}") + "$"
    for call in (Fairy(), Fairy().forward):
        with pytest.raises(InvalidValueError, match=pattern):
            call(w)


def test_errors():
    text = "`w` must have real and imaginary parts on its first axis, got shape "
    for shape in ((), (3, 2), (0,)):
        with pytest.raises(InvalidValueError, match="^" + re.escape(text + str(shape)) + "$"):
            Fairy()(np.ones(shape))
    with pytest.raises(
        InvalidValueError, match=r"^`w` must have a sum of magnitudes that float64 can hold, got an over"
    ):
        Fairy()(np.full((2, 9), 1e308))
    with pytest.raises(
        InvalidValueError, match=r"^`axis` must be None or from -1 to 0 for an array of 1 dimensions, got"
    ):
        Fairy(axis=1)(np.ones((2, 3)))
    with pytest.raises(TypeError, match=r"^`axis` must be an integer or None, got 0\.5$"):
        Fairy(axis=0.5)
    with pytest.raises(InvalidValueError, match=r"^`grad_out` must have shape \(2, 3\), got \(3,\)$"):
        Fairy().backward(np.ones((2, 3)), np.ones(3))
