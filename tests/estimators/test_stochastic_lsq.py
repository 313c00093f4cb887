"""Learned steps: codes and both gradients against the slow reference, difference quotients, formulas at the borders."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._kernels import CHUNK
from tetrit.estimators.stochastic import LSQ, reference

FLOATS = [np.float16, np.float32, np.float64]
NAMES = ["int2", "int4", "int8", "int12", "int4_symmetric", "uint2", "uint8", "uint16"]


def ends(name):
    values = formats.get(name).values
    return int(np.nanmin(values)), int(np.nanmax(values))


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data(), name=st.sampled_from(NAMES), given_step=st.none() | st.sampled_from([0.01, 1.0, 3.0]))
def test_codes_and_gradients_equal_the_reference(data, name, given_step, dtype, same):
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
    elements = st.floats(-1000, 1000, width=16) | st.sampled_from([0.0, -0.0, 0.5, -1.5, 3.0, -8.0, 7.0])
    w = data.draw(hnp.arrays(dtype, shapes, elements=elements))
    g = data.draw(hnp.arrays(dtype, w.shape, elements=st.floats(-100, 100, width=16)))
    axis = data.draw(st.none() | st.integers(0, w.ndim - 1)) if w.ndim else None
    low, high = ends(name)
    scales = reference.lsq_steps(w, high=high, axis=axis)
    if given_step is not None:
        scales = dict.fromkeys(scales, given_step)
    e = LSQ(format=name, axis=axis, step=given_step)
    fmt = formats.get(name)
    same(e(w), reference.clipped_forward(w, low=low, high=high, bits=fmt.bits, scales=scales, axis=axis), scales, axis)
    assert e(w).codes.dtype == fmt.code_dtype
    got = e.backward(w, g)
    np.testing.assert_array_equal(got, reference.clipped_backward(w, g, low=low, high=high, scales=scales, axis=axis))
    assert got.dtype == dtype
    wanted = reference.lsq_step_gradient(w, g, low=low, high=high, scales=scales, axis=axis)
    grad_s = e.step_gradient(w, g)
    assert grad_s.shape == e(w).scale.shape
    assert grad_s.dtype == np.float64
    np.testing.assert_array_equal(grad_s.reshape(-1), list(wanted.values()))


@pytest.mark.parametrize("n", [CHUNK - 1, CHUNK + 65])
def test_long_rows_equal_the_reference(n):
    rng = np.random.default_rng(n)
    w, g = rng.normal(size=(2, n)).astype(np.float32), rng.normal(size=(2, n)).astype(np.float32)
    for axis in (None, 0):
        scales = reference.lsq_steps(w, high=7, axis=axis)
        wanted = reference.lsq_step_gradient(w, g, low=-8, high=7, scales=scales, axis=axis)
        np.testing.assert_array_equal(LSQ(axis=axis).step_gradient(w, g).reshape(-1), list(wanted.values()))


def away_from_borders(rng, n, step, low, high):
    """Weights on both sides of the range and inside, none within 1/10 of a rounding border or 1/2 of an end."""
    z = rng.integers(low - 4, high + 5, n) + rng.uniform(-0.4, 0.4, n)
    z[np.abs(z - low) < 0.5] = low - 3.0
    z[np.abs(z - high) < 0.5] = high + 3.0
    return z * step


@pytest.mark.parametrize("name", ["int2", "int4", "uint4", "int8"])
def test_step_gradient_by_differences(name):
    low, high = ends(name)
    step, n, h = 0.3, 400, 1e-6
    rng = np.random.default_rng(79)
    w, g = away_from_borders(rng, n, step, low, high), rng.normal(size=n)
    e = LSQ(format=name, step=step)
    inside = (w / step > low) & (w / step < high)
    assert 0 < inside.sum() < n
    # the straight-through function: rounding is the constant c away from its argument
    c = np.where(inside, np.rint(w / step) - w / step, 0.0)

    def straight_through(s):
        return (g * s * (np.clip(w / s, low, high) + c)).sum()

    slope = (straight_through(step + h) - straight_through(step - h)) / (2 * h)
    assert float(e.step_gradient(w, g)) == pytest.approx(slope * e.gradient_factor((n,)), rel=1e-6)

    # the true staircase has the slope q; the difference is the -z that goes straight through the rounding
    def staircase(s):
        return (g * replace(e, step=s).forward(w)).sum()

    slope = (staircase(step + h) - staircase(step - h)) / (2 * h)
    true = float(e.step_gradient(w, g)) / e.gradient_factor((n,)) + (g * w / step)[inside].sum()
    assert true == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("name", ["int2", "int4", "uint4"])
def test_saturated_weights_have_the_true_gradient(name):
    low, high = ends(name)
    w = np.array([low - 5.0, low - 1.25, high + 1.25, high + 5.0])
    e = LSQ(format=name, step=1.0)
    for i in range(4):
        one = (np.arange(4) == i).astype(float)
        h = 2.0**-10
        slope = (one @ replace(e, step=1 + h).forward(w) - one @ replace(e, step=1 - h).forward(w)) / (2 * h)
        assert float(e.step_gradient(w, one)) == slope * e.gradient_factor((4,))
    assert e.backward(w, np.ones(4)).tolist() == [0, 0, 0, 0]


def test_at_the_borders():
    e = LSQ(format="int3", step=0.5)
    z = np.array([-4.0, -3.5, -2.5, -0.5, 0.0, 0.5, 1.5, 2.5, 3.0])
    slopes = [-4.0, -0.5, 0.5, 0.5, 0.0, -0.5, 0.5, -0.5, 3.0]  # -Q_N, round half to even less z, Q_P
    assert integers(e, z * 0.5) == [-4, -4, -2, 0, 0, 0, 2, 2, 3]
    for i, slope in enumerate(slopes):
        one = (np.arange(9) == i).astype(float)
        assert float(e.step_gradient(z * 0.5, one)) == slope * e.gradient_factor((9,))
    assert e.backward(z * 0.5, np.ones(9)).tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 0]
    above = np.nextafter(z * 0.5, np.inf)
    assert integers(e, above) == [-4, -3, -2, 0, 0, 1, 2, 3, 3]


def integers(e, w):
    return (e(w).values / e.step).astype(int).tolist()


def test_gradient_factor():
    assert LSQ().gradient_factor((100,)) == LSQ().gradient_factor((4, 25)) == 1 / math.sqrt(700)
    assert LSQ(format="uint8").gradient_factor(()) == 1 / math.sqrt(255)
    assert LSQ(format="int2").gradient_factor((0, 3)) == 1.0
    for axis, batched, n in ((0, False, 6), (-1, False, 8), (0, True, 6), (-1, True, 2), (None, True, 6), (1, True, 3)):
        assert LSQ(axis=axis, batched=batched).gradient_factor((4, 2, 3)) == 1 / math.sqrt(7 * n), axis
    with pytest.raises(TypeError, match=r"^`batched` must be true or false, got 1$"):
        LSQ(batched=1)


def test_shares_of_a_batch_add_up_to_its_step_gradient():
    x, g = np.random.default_rng(2).normal(size=(2, 8, 5))
    e = LSQ(step=0.3, batched=True)
    parts = [float(e.step_gradient(x[half], g[half])) for half in (slice(4), slice(4, None))]
    assert float(e.step_gradient(x, g)) == pytest.approx(sum(parts), rel=1e-12)
    assert float(replace(e, batched=False).step_gradient(x, g)) != pytest.approx(sum(parts), rel=1e-3)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_start_fixes_the_step(axis):
    w = np.random.default_rng(83).normal(size=(4, 6))
    e, latent = LSQ(axis=axis).start(w)
    np.testing.assert_array_equal(latent, w)
    assert latent is not w
    other = tuple(i for i in range(2) if i != axis)
    wanted = 2 * np.abs(w).mean(axis=None if axis is None else other) / math.sqrt(7)
    np.testing.assert_allclose(np.array(e.step), wanted, rtol=1e-14)
    np.testing.assert_array_equal(e(10 * w).scale, e(w).scale)
    np.testing.assert_array_equal(e(w).scale, LSQ(axis=axis)(w).scale)


def test_descent_on_the_step_lowers_the_error():
    w = np.random.default_rng(89).normal(size=2000)
    e = LSQ(format="int4", step=1.5)

    def error(e):
        return float(((e.forward(w) - w) ** 2).mean())

    before = error(e)
    for _ in range(200):
        grad_s = e.step_gradient(w, 2 * (e.forward(w) - w) / w.size) / e.gradient_factor(w.shape)
        e = replace(e, step=float(e.step - 0.5 * grad_s))
    assert error(e) < before / 4


def test_bad_steps_and_sums():
    text = "`step` must be a number or a tuple of 2, one per channel, got 3"
    with pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$"):
        LSQ(axis=1, step=(1.0, 2.0, 3.0))(np.ones((3, 2)))
    text = "`w` must have a sum of magnitudes that float64 can hold, got an overflow"
    with pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$"):
        LSQ()(np.array([1e308, 1e308]))
    assert LSQ(step=1.0)(np.array([1e308, -1e308])).values.tolist() == [7, -8]


def test_weights_near_the_end_of_float64_have_a_step():
    e = LSQ(format="int2")
    begun, _ = e.start(np.array([1.7e308]))
    assert begun.step == np.finfo(np.float64).max
    assert e.forward(np.array([1.7e308])).tolist() == [begun.step]


@pytest.mark.parametrize("n", [64, 255, 256, 257, 64 * 7 + 3, CHUNK + 65])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_gradients_at_once_are_those_apart(n, dtype):
    """Blocks of four times 64 elements, what is left of them, and more than a chunk; the ends are among the weights."""
    rng = np.random.default_rng(n)
    w, g = rng.normal(size=(2, 3, n)).astype(dtype)
    w[:, :5] = [-8 * 0.25, 7 * 0.25, np.nextafter(dtype(-2), dtype(0)), -0.0, 0.125]
    e = LSQ(axis=0, step=(0.25, 0.3, 0.5))
    _, pull = e.vjp(w)
    plain = e.plain_vjp(w, np.empty_like(w))
    z = w.astype(np.float64) / np.array(e.step)[:, None]
    inside = np.where((z > -8) & (z < 7), g, dtype(0))
    for rule in (pull, plain):
        for gradient in (g, np.asfortranarray(g), g.astype(np.float16)):
            wanted = e.step_gradient(w, gradient).reshape(-1)
            found, fields = rule(gradient, None, True)
            assert found.dtype == gradient.dtype
            assert found.tobytes() == e.backward(w, gradient).tobytes()
            assert fields["step"].tobytes() == rule(gradient, None, False)[1]["step"].tobytes() == wanted.tobytes()
        assert rule(g, None, True)[0].tobytes() == inside.tobytes()
        out = g.copy()
        assert rule(out, out, True)[0] is out
        assert out.tobytes() == inside.tobytes()
