"""LOTION: penalty and gradient against the exactly enumerated expected loss of a quadratic, and the slow reference."""

import itertools
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import estimators, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators import reference as room_reference
from tetrit.estimators._kernels import CHUNK
from tetrit.estimators._loops import ordered_sum
from tetrit.estimators.stochastic import LOTION, StochasticRounding, reference

FLOATS = [np.float16, np.float32, np.float64]
NAMES = ["int2", "int4", "uint4", "szt", "fp4_e2m1", "pot3", "pot3z", "posit8_0", "fp8_e4m3"]


def fractions(array):
    return [Fraction(float(x)) for x in array]


def neighbours(v, values):
    """Lower and upper neighbour of the fraction v, lower <= v < upper."""
    below = max(Fraction(x) for x in values if np.isfinite(x) and Fraction(x) <= v)
    above = min(Fraction(x) for x in values if np.isfinite(x) and Fraction(x) > v)
    return below, above


class Quadratic:
    """L(q) = 1/2 (q - c)' H (q - c) in fractions, H symmetric with small integers."""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        a = rng.integers(-3, 4, (n, n))
        self.hessian = a + a.T + 12 * np.eye(n, dtype=np.int64)
        self.centre = [Fraction(int(k), 4) for k in rng.integers(-8, 9, n)]

    def loss(self, q):
        d = [x - c for x, c in zip(q, self.centre, strict=True)]
        return sum(int(self.hessian[i, j]) * d[i] * d[j] for i in range(len(d)) for j in range(len(d))) / 2

    def gradient(self, q):
        d = [x - c for x, c in zip(q, self.centre, strict=True)]
        return [sum(int(self.hessian[i, j]) * d[j] for j in range(len(d))) for i in range(len(d))]


def corners(w, values, scale):
    """All 2^n outcomes of the randomised rounding with their exact probabilities."""
    sides = []
    for x in w:
        a, b = neighbours(x / scale, values)
        up = (x / scale - a) / (b - a)
        sides.append([(a * scale, 1 - up), (b * scale, up)])
    for choice in itertools.product(*sides):
        probability = Fraction(1)
        for _, p in choice:
            probability *= p
        yield [q for q, _ in choice], probability


def expected_loss(quadratic, w, values, scale):
    return sum(p * quadratic.loss(q) for q, p in corners(w, values, scale))


# dyadic weights strictly between grid values of every format below, in units of the scale
UNITS = np.array([0.3125, -0.6875, 0.75, -0.125, 0.5625])


@pytest.mark.parametrize(
    ("name", "gap"), [("int4", 3.5), ("int2", 1.0), ("fp4_e2m1", 5.0), ("pot3", 6.0), ("szt", 1.0)]
)
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_gradient_is_the_difference_quotient_of_the_enumerated_loss(name, gap, scale):
    fmt = formats.get(name)
    values = fmt.values.tolist()
    w = UNITS * gap * scale
    e = LOTION(format=name, limit=fmt.max_value * scale)
    quadratic = Quadratic(w.size, seed=31)
    exact, s, h = fractions(w), Fraction(scale), np.diag(quadratic.hessian).astype(float)
    smoothed = expected_loss(quadratic, exact, values, s)
    assert Fraction(e.penalty(w, h)) == smoothed - quadratic.loss(exact)

    g = np.array([float(x) for x in quadratic.gradient(exact)])
    got = e.backward(w, g, curvature=h)
    half = Fraction(scale) / 2**10
    for i in range(w.size):
        ahead = [x + half * (j == i) for j, x in enumerate(exact)]
        behind = [x - half * (j == i) for j, x in enumerate(exact)]
        quotient = expected_loss(quadratic, ahead, values, s) - expected_loss(quadratic, behind, values, s)
        assert Fraction(float(got[i])) == quotient / (2 * half)
    # without the penalty, or with half of it, it is not the gradient
    assert (got != g).all()
    assert (got != replace(e, weight=0.5).backward(w, g, curvature=h)).all()


def test_expected_gradient_of_the_sampled_form_is_the_same():
    values = formats.get("int4").values.tolist()
    e = LOTION(format="int4", limit=7.0, form="sampled")
    w = UNITS * 3.5
    quadratic = Quadratic(w.size, seed=37)
    h = np.diag(quadratic.hessian).astype(float)
    mean = [Fraction(0)] * w.size
    for q, p in corners(fractions(w), values, Fraction(1)):
        g = np.array([float(x) for x in quadratic.gradient(q)])
        mean = [m + p * Fraction(float(x)) for m, x in zip(mean, e.backward(w, g, curvature=h), strict=True)]
    g = np.array([float(x) for x in quadratic.gradient(fractions(w))])
    assert mean == fractions(replace(e, form="penalty").backward(w, g, curvature=h))


def test_gradient_by_differences_with_a_scale_that_is_no_power_of_two():
    e = LOTION(format="int4", limit=0.9)
    rng = np.random.default_rng(41)
    w, h = rng.uniform(-0.85, 0.85, 50), rng.uniform(0.1, 5.0, 50)
    step = 1e-7
    got = e.backward(w, np.zeros(50), curvature=h)
    for i in range(50):
        one = np.arange(50) == i
        quotient = (e.penalty(w + step * one, h) - e.penalty(w - step * one, h)) / (2 * step)
        assert quotient == pytest.approx(got[i], abs=1e-6)


def scales_of(w, name, limit, axis):
    return reference.absmax_scales(w, max_value=formats.get(name).max_value, limit=limit, axis=axis)


@pytest.mark.parametrize("dtype", FLOATS)
@given(
    data=st.data(),
    name=st.sampled_from(NAMES),
    limit=st.none() | st.sampled_from([1.0, 3.7]),
    weight=st.sampled_from([1.0, 0.3]),
)
def test_gradient_and_variance_equal_the_reference(data, name, limit, weight, dtype):
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
    elements = st.floats(-100, 100, width=16) | st.sampled_from([0.0, -0.0, 7.0, -7.0])
    w = data.draw(hnp.arrays(dtype, shapes, elements=elements))
    g = data.draw(hnp.arrays(dtype, w.shape, elements=st.floats(-100, 100, width=16)))
    h = data.draw(st.none() | hnp.arrays(np.float64, w.shape, elements=st.floats(0, 100)))
    axis = data.draw(st.none() | st.integers(0, w.ndim - 1)) if w.ndim else None
    e = LOTION(format=name, limit=limit, weight=weight, axis=axis)
    values, scales = formats.get(name).values.tolist(), scales_of(w, name, limit, axis)
    variance = reference.lotion_variance(w, values=values, scales=scales, axis=axis)
    np.testing.assert_array_equal(e.variance(w), variance)
    got = e.backward(w, g, curvature=h)
    with np.errstate(over="ignore"):
        wanted = reference.lotion_backward(w, g, curvature=h, weight=weight, values=values, scales=scales, axis=axis)
    np.testing.assert_array_equal(got, wanted)
    assert got.dtype == dtype
    if h is not None:
        assert e.penalty(w, h) == 0.5 * weight * ordered_sum((h * variance).reshape(-1).tolist())


def test_long_rows_equal_the_reference():
    rng = np.random.default_rng(43)
    w, h = rng.normal(size=(1, CHUNK + 70)).astype(np.float32), rng.random((1, CHUNK + 70))
    e = LOTION(format="int3")
    values, scales = formats.get("int3").values.tolist(), scales_of(w, "int3", None, None)
    variance = reference.lotion_variance(w, values=values, scales=scales)
    assert e.penalty(w, h) == 0.5 * ordered_sum((h * variance).reshape(-1).tolist())
    wanted = reference.lotion_backward(w, w, curvature=h, weight=1.0, values=values, scales=scales)
    np.testing.assert_array_equal(e.backward(w, w, curvature=h), wanted)


def test_variance_is_that_of_the_rounding():
    e = LOTION(format="fp4_e2m1", limit=3.0)
    w = np.random.default_rng(47).uniform(-3, 3, 40)
    rounding = StochasticRounding(format="fp4_e2m1", limit=3.0)
    rng = np.random.default_rng(53)
    n = 20_000
    samples = rounding.forward(np.broadcast_to(w, (n, 40)).copy(), rng=rng)
    # a variable on two points has |x - mean|^2 within gap^2, so the sample variance deviates by gap^2 / (2 sqrt n)
    assert (np.abs(samples.var(axis=0) - e.variance(w)) <= 6 * 0.5 * 1.0**2 / np.sqrt(n)).all()
    assert e.variance(w).max() > 0.1


def test_on_the_grid_the_gradient_is_that_to_the_right():
    e = LOTION(format="int4", limit=7.0)
    w = np.array([-9.0, -8.0, -1.0, 0.0, 6.0, 7.0, 9.0])
    assert e.variance(w).tolist() == [0] * 7
    assert e.backward(w, np.zeros(7), curvature=np.ones(7)).tolist() == [0, 0.5, 0.5, 0.5, 0.5, 0, 0]
    right = e.variance(w + 2.0**-20) / 2 / 2.0**-20
    np.testing.assert_allclose(right, [0, 0.5, 0.5, 0.5, 0.5, 0, 0], atol=1e-5)


def test_without_curvature_it_is_the_squared_gradient():
    w, g = np.array([0.3, -1.7, 2.2]), np.array([0.5, -3.0, 2.0])
    e = LOTION(format="int4", limit=7.0, weight=0.7)
    np.testing.assert_array_equal(e.backward(w, g), e.backward(w, g, curvature=g**2))
    assert (e.backward(w, g) != g).all()


@given(w=hnp.arrays(np.float64, st.integers(0, 12), elements=st.floats(-100, 100)))
def test_forms(w):
    penalty, sampled = LOTION(format="int5", seed=3), LOTION(format="int5", seed=3, form="sampled")
    np.testing.assert_array_equal(penalty.forward(w), w)
    rounded = StochasticRounding(format="int5", seed=3)(w)
    np.testing.assert_array_equal(sampled(w).codes, rounded.codes)
    np.testing.assert_array_equal(sampled.forward(w), rounded.values)
    np.testing.assert_array_equal(penalty(w).codes, estimators.get("ste", format="int5")(w).codes)


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("name", ["pot3z", "int3_symmetric"])
def test_deployed_codes_are_the_nearest(name, axis, same):
    w = np.random.default_rng(59).normal(size=(3, 40))
    values = formats.get(name).values.tolist()
    same(LOTION(format=name, axis=axis)(w), *room_reference.nearest_forward(w, values=values, axis=axis), axis)


def test_bad_curvature():
    e, w = LOTION(), np.ones((2, 2))
    for call in (lambda h: e.penalty(w, h), lambda h: e.backward(w, w, curvature=h)):
        with pytest.raises(
            InvalidValueError, match="^" + re.escape("`curvature` must have shape (2, 2), got (2,)") + "$"
        ):
            call(np.ones(2))
        h = np.ones((2, 2))
        h[1, 0] = np.nan
        text = "`curvature` must be finite, got nan at index (1, 0)"
        with pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$"):
            call(h)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_out_may_be_the_curvature_but_not_lie_across_it(axis):
    rng = np.random.default_rng(3)
    w, g, h = rng.normal(size=(3, 40, 50))
    e = LOTION(axis=axis)
    wanted = e.backward(w, g, curvature=h)
    same = h.copy()
    assert e.backward(w, g, curvature=same, out=same) is same
    np.testing.assert_array_equal(same, wanted)
    memory = np.zeros(w.size + 50)
    across = memory[50:].reshape(w.shape)
    across[...] = h
    text = "`out` must not overlap `curvature` in memory, unless it is the same array"
    with pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$"):
        e.backward(w, g, curvature=across, out=memory[:-50].reshape(w.shape))
    np.testing.assert_array_equal(across, h)
