# amaranth: UnusedElaboratable=no
"""What baseline elements should give, from rational numbers; and a run on Amaranth's simulator."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from tests.rtl import stepping


def rounded(value, fmt):
    """Return the code of a nonzero rational number: nearest in the format, ties to even, infinity beyond the last."""
    least = Fraction(2) ** (1 - fmt.bias - fmt.fraction_bits)
    size = abs(value)
    exponent = max(0, (size // least).bit_length() - 1 - fmt.fraction_bits)
    unit = least * 2**exponent
    whole, rest = divmod(size, unit)
    whole += rest > unit / 2 or (rest == unit / 2 and whole % 2 == 1)
    code = (exponent << fmt.fraction_bits) + int(whole)
    return (int(value < 0) << (fmt.bits - 1)) | min(code, fmt.infinity)


def multiply_add(a, b, c_code, fmt):
    """Return the code of ``a * b + c``: a and b numbers, c a code of `fmt`."""
    field = c_code >> fmt.fraction_bits & ((1 << fmt.exponent_bits) - 1)
    fraction = c_code & ((1 << fmt.fraction_bits) - 1)
    negative = bool(c_code >> (fmt.bits - 1))
    c_special = field == (1 << fmt.exponent_bits) - 1
    product_negative = bool(np.signbit(a)) != bool(np.signbit(b))
    product_infinite = bool(np.isinf(a) or np.isinf(b))
    if np.isnan(a) or np.isnan(b) or (c_special and fraction) or (product_infinite and (a == 0 or b == 0)):
        return fmt.nan
    if product_infinite and c_special and product_negative != negative:
        return fmt.nan
    if product_infinite or c_special:
        return fmt.infinity | int(product_negative if product_infinite else negative) << (fmt.bits - 1)
    scale = Fraction(2) ** (max(field, 1) - fmt.bias - fmt.fraction_bits)
    c = (fraction + (int(field > 0) << fmt.fraction_bits)) * scale * (-1) ** negative
    total = Fraction(float(a)) * Fraction(float(b)) + c
    if total == 0:
        return int(product_negative and negative and c == 0) << (fmt.bits - 1)
    return rounded(total, fmt)


def clocked(component, rows, read):
    """Apply rows of numpy's integers too."""
    plain = ({name: int(value) for name, value in row.items()} for row in rows)
    return stepping.clocked(component, plain, read)


@pytest.fixture(scope="session")
def bench():
    return SimpleNamespace(multiply_add=multiply_add, clocked=clocked)
