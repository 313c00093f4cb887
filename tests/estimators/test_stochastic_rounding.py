"""Unbiased rounding: exact expectations over both neighbours of every format, statistics, the slow reference."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import formats
from tetrit.estimators.stochastic import StochasticRounding, reference
from tetrit.estimators.stochastic._shared import REAL_FORMATS, neighbours

FLOATS = [np.float16, np.float32, np.float64]
SMALL = [name for name in REAL_FORMATS if formats.get(name).bits <= 8]


def unshifted(x, by):
    """The y with x = y ^ (y >> by), 64 bits."""
    y = x
    for _ in range(64 // by):
        y = x ^ (y >> by)
    return y


class Fixed(np.random.Generator):
    """A generator whose key gives the first element the draw k 2^-53: SplitMix64 is a permutation, here undone."""

    def __init__(self, k):
        super().__init__(np.random.PCG64(0))
        x = unshifted(k << 11, 31) * pow(0x94D049BB133111EB, -1, 2**64) % 2**64
        x = unshifted(x, 27) * pow(0xBF58476D1CE4E5B9, -1, 2**64) % 2**64
        self.key = (unshifted(x, 30) - 0x9E3779B97F4A7C15) % 2**64

    def integers(self, high, dtype):
        assert (high, dtype) == (2**64, np.uint64)
        return np.uint64(self.key)


def rounded(e, w, k):
    """The values of all weights for the same draw k 2^-53; the scale must not depend on the weights."""
    return np.array([e.forward(w[i : i + 1], rng=Fixed(k))[0] for i in range(len(w))])


def test_fixed_draws():
    for k in (0, 1, 2**52 + 12345, 2**53 - 1):
        assert reference.uniform_draws(Fixed(k), (1,)).tolist() == [k / 2**53]


def latents(dtype):
    bits = np.finfo(dtype).bits
    bound = float(np.finfo(dtype).max)
    elements = st.floats(-bound, bound, width=bits) | st.sampled_from([0.0, -0.0, 0.5, -1.5, 2.5, 7.0, -127.0])
    return hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5), elements=elements)


def fractions(array):
    return [Fraction(float(x)) for x in array]


def probability_of_up(e, v, low, high):
    """The probability that the estimator really gives to the upper neighbour, as an exact fraction.

    Draws are k / 2**53 with k uniform below 2**53, and the code is monotone in the draw, so that the number of k that
    round up is found by bisection over the estimator itself.
    """
    up, down = 0, 2**53  # draws below `up` go up, draws from `down` on do not
    w = np.array([v])

    def goes_up(k):
        value = e.forward(w, rng=Fixed(k))[0]
        assert value in (low, high)
        return value == high

    if not goes_up(0):
        return Fraction(0)
    if goes_up(2**53 - 1):
        return Fraction(1)
    while down - up > 1:
        middle = (up + down) // 2
        if goes_up(middle):
            up = middle
        else:
            down = middle
    return Fraction(down, 2**53)


@pytest.mark.parametrize("name", [name for name in SMALL if name != "post4"])
@pytest.mark.parametrize("share", [0.5, 0.25, 0.8125, 2.0**-20])
def test_expectation_is_exact_between_all_neighbours(name, share):
    fmt = formats.get(name)
    values, _ = neighbours(name)
    low, high = values[:-1], values[1:]
    low, high = low[low < high], high[low < high]
    v = low + share * (high - low)
    e = StochasticRounding(format=name, limit=fmt.max_value)
    # it goes up for the first n of the 2**53 draws, and for no others, since the code is monotone in the draw
    n = int(share * 2**53)
    np.testing.assert_array_equal(rounded(e, v, n - 1), high)
    np.testing.assert_array_equal(rounded(e, v, n), low)
    up = Fraction(n, 2**53)
    expectation = [a * (1 - up) + b * up for a, b in zip(fractions(low), fractions(high), strict=True)]
    assert expectation == fractions(v)


@pytest.mark.parametrize("name", ["int4", "szt", "fp8_e4m3", "fp8_e5m2", "posit8_0", "pot4", "post4", "bf16", "int16"])
def test_bias_by_bisection_is_below_the_bound(name):
    fmt = formats.get(name)
    values, _ = neighbours(name)
    e = StochasticRounding(format=name, limit=fmt.max_value)
    rng = np.random.default_rng(17)
    for place in rng.integers(0, values.size - 1, 12):
        low, high = values[place], values[place + 1]
        v = float(low + (high - low) * rng.random())
        if not low < v < high:
            continue
        p = probability_of_up(e, v, low, high)
        gap = Fraction(float(high)) - Fraction(float(low))
        bias = Fraction(float(low)) + p * gap - Fraction(v)
        assert abs(bias) <= gap * Fraction(1, 2**51)


def test_a_biased_rounding_would_be_caught():
    e = StochasticRounding(format="int4", limit=7.0)
    p = probability_of_up(e, 2.3, 2.0, 3.0)
    assert abs(2 + p - Fraction(2.3)) <= Fraction(1, 2**51)
    assert abs(2 + p - Fraction(float(np.float32(2.3)))) > Fraction(1, 2**51)


@pytest.mark.parametrize("name", ["int3", "fp4_e2m1", "pot3", "szt"])
def test_mean_of_many_is_within_six_deviations(name):
    fmt = formats.get(name)
    n = 40_000
    e = StochasticRounding(format=name, limit=fmt.max_value)
    rng = np.random.default_rng(23)
    for v in rng.uniform(-fmt.max_value, fmt.max_value, 6):
        low, high = reference._neighbours(v, fmt.values.tolist())
        mean = e.forward(np.full(n, v), rng=rng).mean()
        deviation = math.sqrt((v - low) * (high - v) / n)
        assert abs(mean - v) <= 6 * deviation
        assert abs(mean - (low if v - low < high - v else high)) > 6 * deviation  # nearest rounding would be caught


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data(), name=st.sampled_from(SMALL), limit=st.none() | st.sampled_from([1.0, 3.7, 1e-3]))
def test_codes_equal_the_reference(data, name, limit, dtype, same):
    w = data.draw(latents(dtype))
    axis = data.draw(st.none() | st.integers(0, w.ndim - 1)) if w.ndim else None
    seed = data.draw(st.integers(0, 2**32))
    fmt = formats.get(name)
    q = StochasticRounding(format=name, axis=axis, limit=limit)(w, rng=np.random.default_rng(seed))
    scales = reference.absmax_scales(w, max_value=fmt.max_value, limit=limit, axis=axis)
    draws = reference.uniform_draws(np.random.default_rng(seed), w.shape)
    codes = reference.random_rounding(w, draws, values=fmt.values.tolist(), scales=scales, axis=axis)
    same(q, codes, scales, axis)
    assert q.codes.dtype == np.uint8


@pytest.mark.parametrize("name", ["bf16", "posit16_1", "int16", "uint12"])
def test_wide_formats_equal_the_reference(name, same):
    fmt = formats.get(name)
    w = np.random.default_rng(29).normal(size=(2, 3)) * 0.1
    q = StochasticRounding(format=name, seed=5)(w)
    scales = reference.absmax_scales(w, max_value=fmt.max_value)
    draws = reference.uniform_draws(np.random.default_rng(5), w.shape)
    same(q, reference.random_rounding(w, draws, values=fmt.values.tolist(), scales=scales), scales, None)
    assert q.codes.dtype == np.uint16


@pytest.mark.parametrize("name", REAL_FORMATS)
def test_every_value_of_the_format_stays(name):
    fmt = formats.get(name)
    values, codes = neighbours(name)
    for seed in range(3):  # whatever is drawn
        q = StochasticRounding(format=name, limit=fmt.max_value)(values, rng=np.random.default_rng(seed))
        np.testing.assert_array_equal(q.codes, codes)
        np.testing.assert_array_equal(np.signbit(q.values), np.signbit(values))


@pytest.mark.parametrize("name", REAL_FORMATS)
def test_beyond_the_ends_saturates(name):
    fmt = formats.get(name)
    values, _ = neighbours(name)
    w = np.array([np.nextafter(values[-1], np.inf), 1e300, -1e300, np.nextafter(values[0], -np.inf)])
    for k in (0, 2**53 - 1):
        got = rounded(StochasticRounding(format=name, limit=fmt.max_value), w, k)
        assert got.tolist() == [values[-1], values[-1], values[0], values[0]]


@pytest.mark.parametrize("name", ["szt", "fp4_e2m1", "fp8_e4m3", "bf16"])
def test_the_zero_has_the_sign_of_the_weight(name):
    fmt = formats.get(name)
    w = np.array([0.25, -0.25, 0.0, -0.0]) * fmt.min_positive
    got = rounded(StochasticRounding(format=name, limit=fmt.max_value), w, 2**52)
    assert got.tolist() == [0, 0, 0, 0]  # 0.25 goes down to 0, -0.25 up to -0
    assert np.signbit(got).tolist() == [False, True, False, True]


def test_gradient_passes_everywhere():
    g = np.array([1.0, -2.0, np.inf, 4.0])
    assert StochasticRounding(limit=0.5).backward(np.array([-9.0, 0.1, 0.2, 9.0]), g).tolist() == g.tolist()
