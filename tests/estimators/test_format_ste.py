"""Rounding to any real format: values, scales and gradients against a loop of exact fractions and the format itself."""

import re
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import estimators, formats
from tetrit.errors import InvalidValueError

FORMATS = ("fp4_e2m1", "posit4_1", "posit8_0", "posit16_1")


def squared_error(row, scale, fmt):
    """The sum of squared errors of a row at a scale, in exact arithmetic."""
    values = fmt.decode(fmt.encode(np.array([float(Fraction(x) / Fraction(scale)) for x in row])))
    pairs = zip(values.tolist(), row, strict=True)
    return sum((Fraction(v) * Fraction(scale) - Fraction(x)) ** 2 for v, x in pairs)


def best_power(row, fmt, octaves):
    """The power of two with the least squared error, the larger of equals."""
    largest = max(abs(x) for x in row)
    if largest == 0:
        return 1.0
    top = np.frexp(largest)[1]
    candidates = [2.0 ** (int(top) - i) for i in range(octaves + 1)]
    return min(candidates, key=lambda scale: (squared_error(row, scale, fmt), -scale))


@pytest.mark.parametrize(("name", "octaves"), list(zip(FORMATS, (3, 4, 6, 6), strict=True)))
@given(data=st.data())
def test_the_power_of_two_with_the_least_error(name, octaves, data):
    """Integers of few bits, so that float64 sums are exact too."""
    w = data.draw(hnp.arrays(np.int64, st.tuples(st.integers(1, 3), st.integers(1, 6)), elements=st.integers(-99, 99)))
    w = w.astype(np.float64) / 8
    e, fmt = estimators.get("ste_format", format=name, axis=0), formats.get(name)
    q = e(w)
    for row, scale in zip(w.tolist(), q.scale.ravel().tolist(), strict=True):
        assert scale == best_power(row, fmt, octaves)
    assert q.values.tolist() == (fmt.quantize(w / q.scale) * q.scale).tolist()


@pytest.mark.parametrize("power_of_two", [True, False])
@pytest.mark.parametrize("name", ["int4", "int8", "int16"])
def test_integers_use_the_whole_range(name, power_of_two):
    """Evenly spread values have the least error where the largest one takes (nearly) the largest code."""
    w, top = np.linspace(-1.0, 1.0, 4001), formats.get(name).max_value
    q = estimators.get("ste_format", format=name, power_of_two=power_of_two)(w)
    reached = np.abs(formats.get(name).values[q.codes]).max()
    assert reached > (top / 2 if power_of_two else top / 1.1)
    assert np.abs(q.values - w).max() < 1.5 * q.scale


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("name", FORMATS)
def test_codes_are_the_formats_own_whatever_the_dtype_and_the_layout(name, dtype):
    w = np.random.default_rng(0).normal(size=(6, 10)).astype(dtype)
    wide = w.astype(np.float64)
    e = estimators.get("ste_format", format=name, axis=1)
    wanted = e(wide)
    for given_w in (w, np.asfortranarray(w), np.repeat(w, 2, axis=0)[::2]):
        q = e(given_w)
        assert (q.codes == wanted.codes).all()
        assert (q.scale == wanted.scale).all()
        assert q.codes.dtype == formats.get(name).code_dtype
    assert (wanted.codes == formats.get(name).encode(wide / wanted.scale)).all()
    assert q.scale.shape == (1, 10)


@pytest.mark.parametrize("name", FORMATS)
def test_finer_scales_are_no_worse_than_those_of_a_grid_they_hold(name):
    rng = np.random.default_rng(1)
    w = rng.normal(size=(20, 64))
    fine, coarse = (estimators.get("ste_format", format=name, axis=0, power_of_two=p) for p in (False, True))
    errors = [((e.forward(w) - w) ** 2).sum() for e in (fine, coarse)]
    assert errors[0] < errors[1]
    mantissas, _ = np.frexp(coarse(w).scale)
    assert (mantissas == 0.5).all()


def test_the_gradient_passes_up_to_the_largest_value():
    e = estimators.get("ste_format", format="fp4_e2m1", axis=0, scale=(1.0, 0.5))
    w = np.array([[6.0, np.nextafter(6.0, 7.0), -6.0, -7.0, -0.0], [3.0, 3.5, -3.0, 0.0, 1.0]], dtype=np.float64)
    grad = np.arange(10.0).reshape(2, 5)
    assert e.backward(w, grad).tolist() == [[0.0, 0.0, 2.0, 0.0, 4.0], [5.0, 0.0, 7.0, 8.0, 9.0]]


def test_zeros_keep_their_sign_and_all_zeros_have_scale_one():
    q = estimators.get("ste_format")(np.array([0.0, -0.0]))
    assert q.scale == 1.0
    assert q.codes.tolist() == [0, 8]
    assert estimators.get("ste_format", axis=0)(np.zeros((0, 3))).codes.shape == (0, 3)


@pytest.mark.parametrize("largest", [5e-324, 1e-310, np.finfo(np.float64).tiny, 1e300, 1e307])
def test_extremes_stay_finite(largest):
    w = np.array([largest, -largest / 3, 0.0])
    for name in FORMATS:
        for power_of_two in (True, False):
            values = estimators.get("ste_format", format=name, power_of_two=power_of_two).forward(w)
            assert np.isfinite(values).all()
            assert values[2] == 0.0


def test_what_lies_far_beyond_a_given_scale_saturates_also_where_the_format_has_an_infinity():
    for name, end in (("fp8_e5m2", 57344.0), ("posit8_0", 64.0), ("fp4_e2m1", 6.0)):
        values = estimators.get("ste_format", format=name, scale=1e-300).forward(np.array([1e300, -1e300]))
        assert values.tolist() == [end * 1e-300, -end * 1e-300]


def test_start_fixes_the_scales():
    w = np.random.default_rng(2).normal(size=(3, 8))
    e = estimators.get("ste_format", axis=0)
    begun, latent = e.start(w)
    assert begun.scale == tuple(e(w).scale.ravel())
    assert (latent == w).all()
    assert (begun(4 * w).scale == e(w).scale).all()
    assert begun.start(4 * w)[0] == begun


def test_errors():
    e = estimators.get("ste_format", axis=0, scale=(1.0, 2.0))
    with pytest.raises(InvalidValueError, match=r"^`scale` must be a number or a tuple of 3, one per channel, got 2$"):
        e(np.ones((3, 2)))
    with pytest.raises(InvalidValueError, match=re.escape("index (0, 1)")):
        estimators.get("ste_format")(np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match=r"^unknown format 'fp4'; did you mean"):
        estimators.get("ste_format", format="fp4")
    with pytest.raises(ValueError, match=r"^`scale` must be above 0, got 0$"):
        estimators.get("ste_format", scale=0)
    with pytest.raises(ValueError, match=r"^`scale\[1\]` must be above 0, got -1$"):
        estimators.get("ste_format", scale=(1.0, -1.0))
    with pytest.raises(TypeError, match=r"^`power_of_two` must be true or false, got 1$"):
        estimators.get("ste_format", power_of_two=1)
