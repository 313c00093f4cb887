"""StatsQ: the zero-free grid, codes against the slow reference and the source's own formula, the freezing mask."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._kernels import CHUNK
from tetrit.estimators.deterministic import StatsQ, reference

FLOATS = [np.float16, np.float32, np.float64]


def latents(dtype):
    bound = float(np.finfo(dtype).max) if dtype != np.float64 else 1e300
    wild = st.floats(-bound, bound, width=np.finfo(dtype).bits)
    tame = st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 0.25, 2.0, -3.0])
    return hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5), elements=tame | wild)


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data(), bits=st.integers(1, 15))
def test_forward_equals_the_reference(data, bits, dtype, same):
    w = data.draw(latents(dtype))
    axis = data.draw(st.none() | st.integers(0, w.ndim - 1)) if w.ndim else None
    q = StatsQ(bits=bits, axis=axis)(w)
    same(q, *reference.statsq_forward(w, bits=bits, axis=axis), axis)
    assert q.codes.dtype == (np.uint8 if bits <= 7 else np.uint16)


@pytest.mark.parametrize("axis", [None, 0])
def test_long_rows(axis, same):
    w = np.random.default_rng(0).normal(size=(2, CHUNK + 3)).astype(np.float32)
    same(StatsQ(bits=3, axis=axis)(w), *reference.statsq_forward(w, bits=3, axis=axis), axis)


@pytest.mark.parametrize("bits", range(1, 16))
def test_the_grid_is_symmetric_and_has_no_zero(bits):
    half = 2 ** (bits - 1)
    middles = np.arange(-half, half) + 0.5  # one weight in the middle of every step
    q = StatsQ(bits=bits)(middles)
    reached = np.unique(q.values / q.scale)
    np.testing.assert_array_equal(reached, np.arange(1 - 2 * half, 2 * half, 2.0))
    np.testing.assert_array_equal(reached, -reached[::-1])
    assert float(q.scale) == 0.5
    assert reached.size == 2**bits
    assert 0.0 not in reached
    assert (q.codes & 1 == 1).all()
    assert q.format == f"int{bits + 1}_symmetric"
    assert np.unique(q.codes >> 1).size == 2**bits  # `bits` bits are enough


@given(
    w=hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(-4, 4, width=32).filter(lambda x: abs(x) > 1e-6)),
    bits=st.integers(2, 12),
)
def test_it_is_the_formula_of_the_source(w, bits):
    x, half = w.astype(np.float64), 2.0 ** (bits - 1)
    s = 2.0 * float(StatsQ(bits=bits)(w).scale) * half
    assert s == pytest.approx(2.0 * np.abs(x).mean(), rel=1e-14)
    source = s * (np.rint(np.clip(x / s, -1.0, 1.0 - 1e-6) * half - 0.5) + 0.5) / half
    np.testing.assert_allclose(StatsQ(bits=bits)(w).values, source, rtol=1e-14)


def test_another_scale_would_be_caught():
    w = np.random.default_rng(1).normal(size=400)
    q = StatsQ(bits=4)(w)
    assert (q.codes != reference.statsq_forward(np.append(w, 40.0), bits=4)[0][:400]).any()
    assert (q.codes != reference.statsq_forward(w, bits=3)[0]).any()


def test_the_gradient_passes_everywhere():
    w = np.array([-9.0, -0.1, 0.0, 0.1, 9.0])
    g = np.array([1.0, -2.0, 3.0, np.inf, 5.0])
    got = StatsQ().backward(w, g)
    assert got.tolist() == g.tolist()
    assert not np.shares_memory(got, g)
    assert not StatsQ().frozen(w).any()


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data(), bits=st.integers(1, 5), cga=st.sampled_from([0.0, 0.005, 0.1, 0.25, 0.5]))
def test_the_mask_equals_the_reference(data, bits, cga, dtype):
    w = data.draw(latents(dtype))
    axis = data.draw(st.none() | st.integers(0, w.ndim - 1)) if w.ndim else None
    e = StatsQ(bits=bits, cga=cga, axis=axis)
    frozen = e.frozen(w)
    np.testing.assert_array_equal(frozen, reference.statsq_frozen(w, bits=bits, cga=cga, axis=axis))
    g = np.full(w.shape, 2.0, dtype)
    np.testing.assert_array_equal(e.backward(w, g), np.where(frozen, 0.0, 2.0))


@given(w=hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-4, 4)), bits=st.integers(1, 4))
def test_a_frozen_weight_keeps_its_code_within_the_band(w, bits):
    e = StatsQ(bits=bits, cga=0.1)
    frozen, q = e.frozen(w), e(w)
    kernel_scale = float(q.scale)
    for shift in (-0.099, 0.099):
        moved = w + shift * 2.0 * kernel_scale
        odd = 2 * np.clip(np.rint(moved / kernel_scale * 0.5 - 0.5), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) + 1
        np.testing.assert_array_equal(odd[frozen] * kernel_scale, q.values[frozen])


def test_the_ends_of_the_band_are_free():
    e = StatsQ(bits=2, cga=0.25)
    w = np.array([-1.25, -1.0, -0.75, -0.7, -0.25, 0.0, 0.25, 0.3, 0.75, 1.25, 1.3, 1.75, 2.0, -2.0, -2.1])
    exact = np.append(w, 16.0 - np.abs(w).sum())  # of mean magnitude 1, so that n w / s are the numbers above
    assert float(StatsQ(bits=2)(exact).scale) * 2 == 1.0
    wanted = [False, False, False, True, False, False, False, True, False, False, True, True, True, True, True]
    assert e.frozen(exact)[:15].tolist() == wanted


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"bits": 0}, InvalidValueError, "`bits` must be an integer from 1 to 15, got 0"),
        ({"bits": 16}, InvalidValueError, "`bits` must be an integer from 1 to 15, got 16"),
        ({"bits": 4.0}, TypeError, "`bits` must be an integer, got 4.0"),
        ({"cga": -0.1}, InvalidValueError, "`cga` must be at least 0, got -0.1"),
        ({"cga": 0.6}, InvalidValueError, "`cga` must be from 0 to 0.5, got 0.6"),
        ({"axis": "0"}, TypeError, "`axis` must be an integer or None, got '0'"),
    ],
)
def test_bad_parameters(params, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        StatsQ(**params)


def test_every_value_is_a_value_of_the_format():
    for bits in range(1, 16):
        assert formats.get(f"int{bits + 1}_symmetric").max_value == 2**bits - 1
