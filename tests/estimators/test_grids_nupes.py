"""NUPES: codes against the slow reference, the exponent's gradient against the surrogate's difference quotient."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import formats
from tetrit.estimators import STE
from tetrit.estimators._kernels import CHUNK
from tetrit.estimators.grids import NUPES, reference

FLOATS = [np.float16, np.float32, np.float64]
POWERS = [2.0**-6, 0.3, 0.5, 0.77, 1.0, 1.4, 6.0]


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data(), bits=st.integers(2, 8), power=st.sampled_from(POWERS))
def test_codes_and_gradient_equal_the_reference(data, bits, power, dtype, same):
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
    elements = st.floats(-1000, 1000, width=16) | st.sampled_from([0.0, -0.0, 0.5, -1.5, 3.0, -8.0, 7.0])
    w = data.draw(hnp.arrays(dtype, shapes, elements=elements))
    g = data.draw(hnp.arrays(dtype, w.shape, elements=st.floats(-100, 100, width=16)))
    axis = data.draw(st.none() | st.integers(0, w.ndim - 1)) if w.ndim else None
    e = NUPES(bits=bits, power=power, axis=axis)
    q = e(w)
    same(q, *reference.nupes_codes(w, bits=bits, power=power, axis=axis), axis)
    np.testing.assert_array_equal(q.values, np.array(reference.nupes_levels(bits, power))[q.codes] * q.scale)
    np.testing.assert_array_equal(e.backward(w, g), g)
    got = e.parameter_gradients(w, g)["power"]
    assert got.shape == ()
    size = float(np.abs(w.astype(float) * g).sum())
    wanted = reference.nupes_power_gradient(w, g, bits=bits, power=power, axis=axis)
    assert float(got) == pytest.approx(wanted, rel=1e-11, abs=1e-12 * size / power**2)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("power", [0.3, 0.5, 1.0, 1.3])
def test_the_gradient_of_the_exponent_by_differences(bits, power):
    rng = np.random.default_rng(bits)
    w, g = rng.normal(size=(2, 3, 300))
    e = NUPES(bits=bits, power=power, axis=0)
    top = 2 ** (bits - 1) - 1
    scales = np.abs(w).max(axis=1, keepdims=True)
    u = np.abs(w) / scales
    q = np.rint(top * u**power)
    c = q - top * u**power  # rounding, passed straight through, adds a constant
    live = q != 0

    def surrogate(a):
        return np.sign(w) * scales * ((top * u**a + c) / top) ** (1 / a)

    np.testing.assert_allclose(surrogate(power)[live], e.forward(w)[live], rtol=1e-12)
    np.testing.assert_array_equal(e.forward(w)[~live], 0.0)
    h = 1e-6
    with np.errstate(invalid="ignore"):  # below the lowest border the sum of the surrogate may be negative
        slopes = (surrogate(power + h) - surrogate(power - h)) / (2 * h)
    wanted = (g * slopes)[live].sum()
    assert float(e.parameter_gradients(w, g)["power"]) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_without_rounding_the_exponent_would_have_no_gradient(bits):
    """The gradient comes from the rounding alone: at weights on the levels it vanishes."""
    e = NUPES(bits=bits, power=0.6)
    w = formats.get(e(np.ones(1)).format).values * 3.0
    assert float(e.parameter_gradients(w, np.ones(w.size))["power"]) == pytest.approx(0.0, abs=1e-12)


def test_long_rows_and_chunks():
    rng = np.random.default_rng(1)
    w, g = rng.normal(size=(2, 2, CHUNK + 100)).astype(np.float32)
    e = NUPES(bits=3, power=0.4)
    wanted = reference.nupes_power_gradient(w, g, bits=3, power=0.4)
    assert float(e.parameter_gradients(w, g)["power"]) == pytest.approx(wanted, rel=1e-11)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_with_exponent_one_it_is_the_uniform_quantiser(bits):
    w = np.random.default_rng(2).normal(size=(3, 400))
    q, uniform = NUPES(bits=bits, power=1.0, axis=0)(w), STE(format=f"int{bits}", axis=0)(w)
    np.testing.assert_array_equal(q.codes, uniform.codes)
    np.testing.assert_allclose(q.values, uniform.values, rtol=1e-15)


@given(st.integers(2, 8), st.sampled_from(POWERS))
def test_levels_keep_their_codes(bits, power):
    e = NUPES(bits=bits, power=power)
    levels = reference.nupes_levels(bits, power)
    top = 2 ** (bits - 1) - 1
    distinct = [q for q in range(top + 1) if levels[q] > 0 or q == 0]
    w = np.array([levels[q] for q in distinct] + [levels[-q] for q in distinct if q])
    wanted = [*distinct, *(2**bits - q for q in distinct if q)]
    assert e(w).codes.tolist() == wanted
    assert (np.diff(formats.get(e(w).format).values[: top + 1]) >= 0).all()


def test_ties_go_to_the_even_integer():
    # with exponent 1/2 and 3 bits the borders are ((q - 1/2) / 3)^2: exact for u of a scale that makes them so
    e = NUPES(bits=3, power=0.5)
    borders = [((q - 0.5) / 3) ** 2.0 for q in (1, 2, 3)]
    w = np.array([1.0, *borders, *(-b for b in borders)])
    assert e(w).codes.tolist() == [3, 0, 2, 2, 0, 6, 6]
    above = np.nextafter(w, np.copysign(np.inf, w))
    above[0] = 1.0
    assert e(above).codes.tolist() == [3, 1, 2, 3, 7, 6, 5]


def test_codes_are_integers_of_the_symmetric_format():
    w = np.random.default_rng(3).normal(size=500)
    codes = NUPES(bits=4)(w).codes
    integers = formats.get("int4_symmetric").decode(codes)
    assert np.isfinite(integers).all()
    np.testing.assert_array_equal(np.sign(integers), np.sign(NUPES(bits=4).forward(w)))
    assert (np.diff(integers[np.argsort(w)]) >= 0).all()


def test_start_finds_the_exponent_of_least_error():
    rng = np.random.default_rng(4)
    w = np.concatenate((rng.laplace(size=3000), [12.0]))
    e, latent = NUPES(bits=4).start(w)

    def error(power):
        return float(((NUPES(bits=4, power=power).forward(w) - w) ** 2).sum())

    tried = [p / 20 for p in range(5, 31)]
    assert e.power == min(tried, key=error)
    assert e.power < 1.0
    np.testing.assert_array_equal(latent, w)
    flat = NUPES(bits=4).start(np.linspace(-1, 1, 1001))[0]
    assert flat.power > e.power


def test_descent_on_the_exponent_lowers_the_error():
    w = np.random.default_rng(5).laplace(size=4000)
    e = NUPES(bits=4, power=1.2)

    def error(e):
        return float(((e.forward(w) - w) ** 2).mean())

    before = error(e)
    for _ in range(100):
        gradient = e.parameter_gradients(w, 2 * (e.forward(w) - w) / w.size)["power"]
        e = replace(e, power=float(e.power - 0.5 * gradient))
    assert error(e) < before / 2
    assert math.isfinite(e.power)


@pytest.mark.parametrize("power", [2.0**-6, 2.0**10])
@pytest.mark.parametrize("bits", [2, 8])
def test_extreme_exponents_stay_finite(bits, power):
    w = np.array([1e300, -1e-300, 5e-324, 3e299, -9.99e299, 0.0])
    e = NUPES(bits=bits, power=power)
    assert np.isfinite(e.forward(w)).all()
    assert np.isfinite(e.parameter_gradients(w / 1e150, np.ones(6))["power"])
