import copy
import dataclasses
import pickle
import re
from fractions import Fraction

import numpy as np
import pytest

from tetrit import formats
from tetrit.errors import InvalidValueError, UnknownNameError

REAL = [name for name in formats.names() if name != "fairy2"]
EXACT = [name for name in REAL if name != "post4"]


def test_every_promised_format_exists():
    names = set(formats.names())
    promised = {"szt", "fp4_e2m1", "fp4_e3m0", "fp8_e4m3", "fp8_e5m2", "bf16", "posit4_1", "posit8_0", "posit16_1"}
    promised |= {"pot2", "pot3", "pot4", "pot3z", "pot4z", "post4", "fairy2"}
    promised |= {f"{u}int{n}" for u in ("", "u") for n in range(2, 17)}
    promised |= {f"int{n}_symmetric" for n in range(2, 17)}
    assert names == promised
    assert len(formats.names()) == len(names)


@pytest.mark.parametrize("name", REAL)
def test_values_are_those_of_the_definition(name, value_of):
    fmt = formats.get(name)
    assert fmt.values.dtype == np.float64
    assert fmt.values.shape == (2**fmt.bits,)
    expected = np.array([value_of(name, code) for code in range(2**fmt.bits)])
    np.testing.assert_array_equal(fmt.values, expected)
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(fmt.values[zero]), np.signbit(expected[zero]))


def test_tables_published_for_the_formats():
    def values(name):
        return formats.get(name).values.tolist()

    assert values("fp4_e2m1")[:8] == [0, 0.5, 1, 1.5, 2, 3, 4, 6]  # OCP MX v1.0, table 5
    assert values("posit4_1")[:8] == [0, 1 / 16, 1 / 4, 1 / 2, 1, 2, 4, 16]
    assert values("szt") == [0, 1, 0, -1]
    assert np.signbit(formats.get("szt").values).tolist() == [False, False, True, True]
    assert values("pot3") == [1, 2, 4, 8, -1, -2, -4, -8]
    assert values("pot4z") == [0, 1, 2, 4, 8, 16, 32, 64, 0, -1, -2, -4, -8, -16, -32, -64]
    assert values("fairy2") == [1, 1j, -1, -1j]
    assert formats.get("fp8_e4m3").max_value == 448  # OCP FP8 v1.0, table 1
    assert formats.get("fp8_e5m2").max_value == 57344
    assert formats.get("fp8_e4m3").min_positive == 2**-9
    assert formats.get("fp8_e5m2").min_positive == 2**-16
    assert (formats.get("posit16_1").min_positive, formats.get("posit16_1").max_value) == (2.0**-28, 2.0**28)
    assert (formats.get("posit8_0").min_positive, formats.get("posit8_0").max_value) == (2.0**-6, 2.0**6)


@pytest.mark.parametrize("name", EXACT)
def test_integers_and_significands_are_exact(name):
    fmt = formats.get(name)
    finite = np.isfinite(fmt.values)
    unit = Fraction(2) ** fmt.lsb_exponent
    assert fmt.significand.dtype == fmt.exponent.dtype == np.int64
    assert all(s % 2 == 1 for s in fmt.significand[finite & (fmt.values != 0)])
    for value, s, e in zip(fmt.values[finite], fmt.significand[finite], fmt.exponent[finite], strict=True):
        assert Fraction(value) == int(s) * Fraction(2) ** int(e)
    assert not fmt.significand[~finite].any()
    multiples = [Fraction(v) / unit for v in fmt.values[finite]]
    assert all(m.denominator == 1 for m in multiples)
    assert any(m.numerator % 2 for m in multiples)
    assert fmt.integer_range == (min(multiples), max(multiples))
    if name != "bf16":
        assert fmt.integers.dtype == np.int64
        assert fmt.integers[finite].tolist() == multiples
        assert not fmt.integers[~finite].any()


def test_formats_without_exact_integers_say_so():
    text = "the integers of format 'bf16' need 261 bits, more than int64 has"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        formats.get("bf16").integers  # noqa: B018
    for attribute in ("integers", "lsb_exponent", "significand", "exponent", "integer_range"):
        text = "format 'post4' holds powers of sqrt(2): there are no exact integers behind them"
        with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
            getattr(formats.get("post4"), attribute)


@pytest.mark.parametrize("attribute", ["integers", "significand", "exponent"])
def test_complex_formats_have_no_integers(attribute):
    text = "format 'fairy2' has complex values: there are no single integers behind them"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        getattr(formats.get("fairy2"), attribute)
    assert not formats.get("fairy2").has_nan


@pytest.mark.parametrize("name", formats.names())
def test_formats_are_values(name):
    fmt = formats.get(name)
    assert fmt.name == name
    assert formats.get(name) is fmt
    fmt.encode([0.5])
    twin = pickle.loads(pickle.dumps(fmt))
    assert twin == fmt and hash(twin) == hash(fmt) and copy.deepcopy(fmt) == fmt
    assert not twin.values.flags.writeable
    with pytest.raises(dataclasses.FrozenInstanceError):
        fmt.bits = 3
    with pytest.raises(ValueError, match="read-only"):
        fmt.values[0] = 1
    for attribute in ("integers", "significand", "exponent"):
        if name not in ("bf16", "post4", "fairy2"):
            with pytest.raises(ValueError, match="read-only"):
                getattr(fmt, attribute)[0] = 1
    assert len({formats.get(other) for other in formats.names()}) == len(formats.names())


def test_symmetric_integers():
    symmetric = formats.get("int8", symmetric=True)
    assert symmetric.name == "int8_symmetric"
    assert symmetric is formats.get("int8_symmetric") is formats.get("int8_symmetric", symmetric=True)
    assert symmetric.integer_range == (-127, 127)
    assert np.isnan(symmetric.values[128])
    assert symmetric.encode([-128.0, -1e9, -127.4]).tolist() == [129, 129, 129]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: formats.get("posit8"), UnknownNameError, "unknown format 'posit8'; did you mean 'posit8_0'?"),
        (
            lambda: formats.get("quire"),
            UnknownNameError,
            "unknown format 'quire'; known: " + ", ".join(sorted(formats.names() + formats.block_names())),
        ),
        (lambda: formats.get(8), TypeError, "a format's name must be a string, got 8"),
        (
            lambda: formats.get("uint8", symmetric=True),
            InvalidValueError,
            "format 'uint8' has no symmetric variant; only int2 to int16 have one",
        ),
        (
            lambda: formats.Integer(name="x", bits=17),
            InvalidValueError,
            "`bits` must be an integer from 1 to 16, got 17",
        ),
        (lambda: formats.Integer(name="x", bits=2.0), TypeError, "`bits` must be an integer, got 2.0"),
        (lambda: formats.Integer(name=3, bits=2), TypeError, "`name` must be a string, got 3"),
        (
            lambda: formats.Integer(name="x", bits=4, signed=False, symmetric=True),
            InvalidValueError,
            "format 'x' is unsigned: it has no symmetric variant",
        ),
        (
            lambda: formats.Posit(name="x", bits=2, es=0),
            InvalidValueError,
            "`bits` must be an integer from 3 to 16, got 2",
        ),
        (
            lambda: formats.Posit(name="x", bits=8, es=4),
            InvalidValueError,
            "`es` must be an integer from 0 to 3, got 4",
        ),
        (
            lambda: formats.Minifloat(name="x", bits=4, exponent_bits=4),
            InvalidValueError,
            "`exponent_bits` must be an integer from 1 to 3, got 4",
        ),
        (
            lambda: formats.Minifloat(name="x", bits=4, exponent_bits=2, specials="iee"),
            UnknownNameError,
            "unknown specials 'iee'; did you mean 'ieee'?",
        ),
        (
            lambda: formats.Minifloat(name="x", bits=4, exponent_bits=3, specials="ieee"),
            InvalidValueError,
            "`specials` 'ieee' needs a fraction bit to tell NaN from infinity",
        ),
        (
            lambda: formats.SignedZeroTernary(bits=3),
            InvalidValueError,
            "`bits` of signed-zero ternary is 2, got 3",
        ),
        (lambda: formats.Fairy(bits=3), InvalidValueError, "`bits` of the fourth roots of unity is 2, got 3"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        call()


@pytest.mark.parametrize(("bits", "es"), [(3, 0), (3, 3), (5, 2), (7, 3), (9, 1), (12, 2), (16, 3)])
def test_other_posits(bits, es, value_of):
    fmt = formats.Posit(name=f"posit{bits}_{es}", bits=bits, es=es)
    expected = [value_of(fmt.name, code) for code in range(2**bits)]
    np.testing.assert_array_equal(fmt.values, expected)
