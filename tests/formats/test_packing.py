import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import formats
from tetrit.errors import InvalidValueError


def slow_pack(codes, bits):
    stream = sum(int(code) << (i * bits) for i, code in enumerate(codes))
    return stream.to_bytes(-(-len(codes) * bits // 8), "little")


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 7, 8, 9, 16, 1000, 1001])
def test_packing_is_one_long_number(bits, n):
    codes = np.random.default_rng(bits * 1009 + n).integers(0, 2**bits, n)
    data = formats.pack(codes, bits)
    assert data == slow_pack(codes, bits)
    back = formats.unpack(data, bits, n)
    assert back.dtype == (np.uint8 if bits <= 8 else np.uint16)
    np.testing.assert_array_equal(back, codes)


@given(st.integers(1, 16).flatmap(lambda b: st.tuples(st.just(b), st.lists(st.integers(0, 2**b - 1), max_size=70))))
def test_any_codes_come_back(case):
    bits, codes = case
    data = formats.pack(codes, bits)
    assert data == slow_pack(codes, bits)
    assert formats.unpack(data, bits, len(codes)).tolist() == codes


def test_order_layout_and_input():
    codes = np.arange(12, dtype=np.int64).reshape(3, 4)
    before = codes.copy()
    assert formats.pack(codes.T, 4) == slow_pack(codes.T.ravel(), 4)
    assert formats.pack(codes[:, ::-2], 4) == slow_pack(codes[:, ::-2].ravel(), 4)
    np.testing.assert_array_equal(codes, before)
    assert formats.pack(7, 3) == b"\x07"
    # SZT: code 0 in the low bits of byte 0
    assert formats.pack(formats.get("szt").encode([1.0, -1.0, -0.0, 0.0]), 2) == bytes([0b00_10_11_01])
    result = formats.unpack(bytearray(b"\xe4"), 2, 4)
    result[0] = 3  # a fresh array, the caller's own


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: formats.pack([1, 4], 2),
            InvalidValueError,
            "`codes` of 2 bits must be from 0 to 3, got 4 at index (1,)",
        ),
        (
            lambda: formats.pack([[-1]], 8),
            InvalidValueError,
            "`codes` of 8 bits must be from 0 to 255, got -1 at index (0, 0)",
        ),
        (lambda: formats.pack([1.0], 2), TypeError, "`codes` must be integers, got float64"),
        (lambda: formats.pack([1], 0), InvalidValueError, "`bits` must be an integer from 1 to 16, got 0"),
        (lambda: formats.pack([1], 17), InvalidValueError, "`bits` must be an integer from 1 to 16, got 17"),
        (lambda: formats.pack([1], 2.0), TypeError, "`bits` must be an integer, got 2.0"),
        (lambda: formats.unpack(b"\0\0", 4, 2), InvalidValueError, "2 codes of 4 bits take 1 bytes, got 2"),
        (lambda: formats.unpack(b"", 4, 2), InvalidValueError, "2 codes of 4 bits take 1 bytes, got 0"),
        (
            lambda: formats.unpack(b"\x40", 2, 3),
            InvalidValueError,
            "unused bits of the last byte must be zero, got 0x40",
        ),
        (lambda: formats.unpack(b"", 4, -1), InvalidValueError, "`n` must be a non-negative integer, got -1"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        call()
