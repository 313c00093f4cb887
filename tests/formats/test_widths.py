import itertools
import re
from fractions import Fraction

import numpy as np
import pytest

from tetrit import formats
from tetrit.errors import InvalidValueError

EXACT = [name for name in formats.names() if name not in ("post4", "fairy2")]
NARROW = [name for name in EXACT if formats.get(name).bits <= 8]


def holds(bits, low, high):
    return -(2 ** (bits - 1)) <= low and high <= 2 ** (bits - 1) - 1


@pytest.mark.parametrize("a", NARROW)
def test_the_width_holds_all_products_and_no_less_would(a):
    for b, n_terms in itertools.product(NARROW[::3], (1, 3, 256)):
        bits = formats.accumulator_bits(a, b, n_terms)
        assert bits == formats.accumulator_bits(b, a, n_terms)
        assert bits == formats.accumulator_bits(formats.get(a), formats.get(b), n_terms)
        unit = Fraction(2) ** (formats.get(a).lsb_exponent + formats.get(b).lsb_exponent)
        va, vb = (formats.get(f).values for f in (a, b))
        products = np.multiply.outer(va[np.isfinite(va)], vb[np.isfinite(vb)])  # exact in double precision
        low, high = (n_terms * Fraction(v) / unit for v in (products.min(), products.max()))
        low, high = min(low, 0), max(high, 0)  # every partial sum on the way
        assert holds(bits, low, high)
        assert bits == 1 or not holds(bits - 1, low, high)


def test_known_widths():
    width = formats.accumulator_bits
    assert width("int8", "int8", 1) == 16  # (-128)**2 = 2**14 needs 15 bits and a sign
    assert width("int8", "szt", 256) == 17  # 256 * 128 = 2**15, and its negative
    assert width("uint8", "szt", 1) == 9
    assert width("posit4_1", "posit4_1", 1) == 18  # minpos**2..maxpos**2 spans 17 positions, plus the sign
    assert width("posit8_0", "posit8_0", 1) == 26
    assert width("posit16_1", "posit16_1", 1) == 114
    assert width("fairy2", "int8", 16) == width("szt", "int8", 16)
    # 255 * 2**253 squared, as the least number is 2**-133 and the greatest 255 * 2**120
    assert width("bf16", "bf16", 1) == ((255 * 2**253) ** 2).bit_length() + 1
    assert width("szt", "szt", 10**30) == 101


def test_the_most_negative_number_needs_no_bit_more():
    bit = formats.codebook([0.0, 1.0])
    assert formats.accumulator_bits("int8", bit, 1) == 8  # -128..127
    assert formats.accumulator_bits("int8", bit, 2) == 9
    assert formats.accumulator_bits(bit, bit, 1) == 2


def test_an_accumulator_without_negative_numbers_still_has_a_sign():
    assert formats.accumulator_bits("uint2", "uint2", 1) == 5


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("int8", "szt", 0), InvalidValueError, "`n_terms` must be a positive integer, got 0"),
        (("int8", "szt", 2.5), TypeError, "`n_terms` must be an integer, got 2.5"),
        ((3, "szt", 1), TypeError, "`a` must be a format or the name of one, got 3"),
        (("szt", None, 1), TypeError, "`b` must be a format or the name of one, got None"),
        (("int8", "sst", 1), InvalidValueError, "unknown format 'sst'; did you mean 'szt'?"),
        (
            ("int8", "post4", 1),
            InvalidValueError,
            "format 'post4' holds powers of sqrt(2): there are no exact integers behind them",
        ),
    ],
)
def test_errors(arguments, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        formats.accumulator_bits(*arguments)
