"""ReSTE: codes by the sign bit, the backward pass as the derivative of the power function, the indicators."""

import decimal
import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit.errors import InvalidValueError
from tetrit.estimators.deterministic import ReSTE, estimating_error, gradient_variance, rectified, reference

FLOATS = [np.float16, np.float32, np.float64]


def latents(dtype):
    bound = float(np.finfo(dtype).max) if dtype != np.float64 else 1e300
    wild = st.floats(-bound, bound, width=np.finfo(dtype).bits)
    tame = st.sampled_from([0.0, -0.0, 0.0625, 0.1, -0.1, 0.125, 1.0, -1.5, 1.5, 1.625, 2.0])
    return hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5), elements=tame | wild)


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data(), power=st.sampled_from([1.0, 1.5, 3.0, 10.0]))
def test_against_the_reference(data, power, dtype, same):
    w = data.draw(latents(dtype))
    g = data.draw(hnp.arrays(dtype, w.shape, elements=st.floats(-8, 8, width=16)))
    axis = data.draw(st.none() | st.integers(0, w.ndim - 1)) if w.ndim else None
    e = ReSTE(power=power, axis=axis)
    same(e(w), *reference.sign_forward(w, axis=axis), axis)
    with np.errstate(over="ignore"):
        wanted = reference.reste_backward(w, g, power=power, clip=1.5, secant=0.1, axis=axis)
    tolerance = max(1e-14, 2 * float(np.finfo(dtype).eps))
    np.testing.assert_allclose(e.backward(w, g), wanted, rtol=tolerance, atol=float(np.finfo(dtype).tiny))


def test_a_wrong_rule_would_be_caught():
    w, g = np.random.default_rng(0).normal(size=(2, 500))
    got = ReSTE().backward(w, g)
    for wrong in ({"power": 2.9}, {"clip": 1.4}, {"secant": 0.12}):
        wanted = reference.reste_backward(w, g, **({"power": 3.0, "clip": 1.5, "secant": 0.1} | wrong))
        assert not np.allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize("power", [1.0, 1.7, 3.0, 8.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_between_the_zones_it_is_the_derivative(power, sign):
    w = sign * np.linspace(0.1001, 1.4999, 400)
    e = ReSTE(power=power)
    step = 1e-6
    slope = (rectified(w + step, power=power) - rectified(w - step, power=power)) / (2 * step)
    np.testing.assert_allclose(e.backward(w, np.ones(400)) / e(w).scale, slope, rtol=1e-7)


@pytest.mark.parametrize("power", [1.0, 1.7, 3.0, 8.0])
def test_the_zones_at_their_ends(power):
    inside, outside = np.nextafter(1.5, 0), np.nextafter(1.5, 2)
    w = np.array([0.0, -0.0, 1e-300, 0.1, -0.1, 1.5, inside, outside, -outside, 1e300])
    e = ReSTE(power=power, axis=0)  # one scale per weight: its own magnitude
    slopes = e.backward(w, np.ones(10)) / e(w).scale
    secant = float(rectified(0.1, power=power)) / 0.1
    np.testing.assert_allclose(slopes[:5], secant, rtol=1e-15)
    np.testing.assert_allclose(slopes[5:7], 1.5 ** (1 / power - 1) / power, rtol=1e-14)
    assert slopes[7:].tolist() == [0.0, 0.0, 0.0]


def test_the_stated_accuracy():
    rng = np.random.default_rng(1)
    w = np.concatenate([rng.uniform(0.1, 1.5, 300), [0.05]])
    e = ReSTE(power=2.7)
    got = e.backward(w, np.ones(301))
    scale, worst = decimal.Decimal(float(e(w).scale)), 0.0
    with decimal.localcontext(prec=50):
        inverse = 1 / decimal.Decimal.from_float(2.7)
        for value, slope in zip(w.tolist(), got.tolist(), strict=True):
            size = decimal.Decimal(value) if value > 0.1 else decimal.Decimal.from_float(0.1)
            exact = scale * size ** (inverse - 1) * (inverse if value > 0.1 else 1)
            worst = max(worst, abs(float((decimal.Decimal(slope) - exact) / exact)))
    assert 0 < worst < 1e-15


@pytest.mark.parametrize(("secant", "clip"), [(2.0**-1022, 1.7e308), (1.0, 1.0), (0.75, 1.0), (3e-5, 7e4)])
@pytest.mark.parametrize("power", [1.0, 1.5, 3.0, 1e6])
def test_slopes_of_any_zone(secant, clip, power):
    rng = np.random.default_rng(3)
    w = np.concatenate([np.exp2(rng.uniform(np.log2(secant), np.log2(clip), 500)), 2.0 ** np.arange(-20, 20)])
    w = np.concatenate([w, np.nextafter(w, 0), [secant, clip, np.nextafter(secant, 1), np.nextafter(clip, 0)]])
    w = w[w <= clip]
    e = ReSTE(power=power, secant=secant, clip=clip, axis=0)
    slopes = e.backward(w, np.ones(w.size)) / e(w).scale
    wanted = np.where(w > secant, w ** (1 / power - 1) / power, secant ** (1 / power - 1))
    np.testing.assert_allclose(slopes, wanted, rtol=1e-12 if clip > 1e300 else 1e-14, atol=1e-322)


def test_power_one_is_the_clipped_straight_through_estimator():
    w = np.array([-1.6, -1.5, -0.05, 0.0, 0.7, 1.6])
    e = ReSTE(power=1.0)
    assert (e.backward(w, np.ones(6)) / e(w).scale).tolist() == [0, 1, 1, 1, 1, 0]


def test_schedule():
    e = ReSTE(power=3.0)
    assert e.at(0.0).power == 1.0
    assert e.at(-1.0) == e.at(0.0)
    assert e.at(1.0).power == pytest.approx(3.0, rel=1e-15)
    assert e.at(2.0) == e.at(1.0)
    for progress in (0.1, 0.5, 0.9):
        assert e.at(progress).power == 1.0 + (1 - math.cos(math.pi / 2 * progress)) * 2.0
    powers = [e.at(i / 100).power for i in range(101)]
    assert powers == sorted(powers)


def test_zero_goes_to_the_side_of_its_sign_bit():
    q = ReSTE()(np.array([0.0, -0.0, 2.0]))
    assert q.codes.tolist() == [1, 3, 1]
    assert q.format == "int2_symmetric"


@given(w=hnp.arrays(np.float64, st.integers(0, 20), elements=st.floats(-100, 100)))
def test_the_error_falls_and_is_the_norm(w):
    errors = [estimating_error(w, power=power) for power in (1.0, 1.5, 3.0, 9.0)]
    assert all(a >= b * (1 - 1e-12) for a, b in itertools.pairwise(errors))
    signs = np.where(np.signbit(w), -1.0, 1.0)
    assert errors[2] == pytest.approx(np.linalg.norm(signs - np.cbrt(w)), rel=1e-12, abs=1e-12)


@given(g=hnp.arrays(np.float32, st.integers(0, 20), elements=st.floats(-100, 100, width=32)))
def test_the_variance(g):
    wanted = np.var(np.abs(g.astype(np.float64))) if g.size else 0.0
    assert gradient_variance(g) == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_a_steeper_power_is_less_steady():
    w, g = np.random.default_rng(2).normal(size=(2, 4000))
    variances = [gradient_variance(ReSTE(power=power).backward(w, g)) for power in (1.0, 3.0, 10.0)]
    assert variances[1] < variances[2]


def test_rectified_keeps_zeros_and_signs():
    w = np.array([[-0.0, 0.0], [-8.0, 27.0]])
    np.testing.assert_allclose(rectified(w, power=3.0), [[0.0, 0.0], [-2.0, 3.0]], rtol=1e-15)
    assert np.signbit(rectified(w, power=3.0)).tolist() == [[True, False], [True, False]]
    assert math.isinf(estimating_error(np.array([1e300]), power=1.0))
    assert math.isinf(gradient_variance(np.array([1e300, 0.0])))


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"power": 0.5}, InvalidValueError, "`power` must be at least 1, got 0.5"),
        ({"clip": 0.0}, InvalidValueError, "`clip` must be above 0, got 0"),
        ({"secant": 0.0}, InvalidValueError, "`secant` must be above 0, got 0"),
        ({"secant": 2.0}, InvalidValueError, "`secant` must be at most `clip` (1.5), got 2"),
        ({"secant": 1e-310}, InvalidValueError, "`secant` must be at least 2^-1022, got 1e-310"),
        ({"axis": 0.0}, TypeError, "`axis` must be an integer or None, got 0.0"),
    ],
)
def test_bad_parameters(params, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        ReSTE(**params)


def test_bad_arrays_of_the_functions():
    with pytest.raises(InvalidValueError, match=r"^`w` must be finite, got nan at index \(1,\)$"):
        rectified([0.0, math.nan], power=2.0)
    with pytest.raises(InvalidValueError, match=r"^`power` must be at least 1, got 0$"):
        estimating_error([0.0], power=0)
    with pytest.raises(InvalidValueError, match=r"^`grad_out` must be finite, got inf at index \(0,\)$"):
        gradient_variance([math.inf])
