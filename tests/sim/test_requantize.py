"""Dyadic requantisation against rational arithmetic."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit.sim.requantize import dyadic, requantize


@given(st.floats(2.0**-20, 2.0**14), st.integers(2, 31))
def test_dyadic_is_within_its_bound(scale, bits):
    if scale >= 2.0 ** (bits - 1) * (1 - 2.0**-bits):
        return
    multiplier, shift = dyadic(scale, multiplier_bits=bits, acc_bits=32)
    assert 2 ** (bits - 1) <= multiplier < 2**bits
    assert 1 <= shift <= 32 + bits
    error = abs(Fraction(int(multiplier), 2 ** int(shift)) / Fraction(scale) - 1)
    assert error <= Fraction(1, 2**bits)


@given(
    st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**16 - 1), st.integers(1, 48), st.integers(2, 16), st.booleans()
)
def test_requantize_equals_rational_rounding(acc, multiplier, shift, bits, relu):
    exact = floor(Fraction(acc * multiplier, 2**shift) + Fraction(1, 2))
    low = 0 if relu else -(2 ** (bits - 1))
    expected = min(max(exact, low), 2 ** (bits - 1) - 1)
    got = requantize(np.array([acc]), multiplier, shift, out_format=f"int{bits}", relu=relu)
    assert got.tolist() == [expected]


def test_tiny_scales_lose_bits_instead_of_failing():
    multiplier, shift = dyadic(2.0**-45, multiplier_bits=16, acc_bits=24)
    assert (int(multiplier), int(shift)) == (0, 40)


def test_refusals():
    with pytest.raises(ValueError, match=r"^`scale` must be positive, got 0$"):
        dyadic(0.0, multiplier_bits=16, acc_bits=24)
    with pytest.raises(ValueError, match=r"^`scale` must be finite, got nan at index \(1,\)$"):
        dyadic([1.0, np.nan], multiplier_bits=16, acc_bits=24)
    with pytest.raises(
        ValueError,
        match=r"^`scale` must be below 2\*\*15, got 32768: the output scale is too fine for the accumulator$",
    ):
        dyadic(32768.0, multiplier_bits=16, acc_bits=24)
    with pytest.raises(ValueError, match=r"^`shift` must be at least 1, got 0$"):
        requantize(np.array([1]), 1, 0, out_format="int8")
    with pytest.raises(ValueError, match=r"^`multiplier` must not be negative, got -4$"):
        requantize(np.array([1]), -4, 1, out_format="int8")
    with pytest.raises(ValueError, match=r"^unknown out_format 'uint8'; did you mean 'int8'\?$"):
        requantize(np.array([1]), 1, 1, out_format="uint8")


@given(st.integers(-(2**62), 2**62), st.integers(0, 2**31 - 1), st.integers(1, 94))
def test_products_beyond_int64_are_exact(acc, multiplier, shift):
    exact = floor(Fraction(acc * multiplier, 2**shift) + Fraction(1, 2))
    got = requantize(np.array([acc]), multiplier, shift, out_format="int16")
    assert got.tolist() == [min(max(exact, -(2**15)), 2**15 - 1)]
