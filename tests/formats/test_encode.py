"""Rounding: every format against its definition, on all three compiled ways and the numpy one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit import formats
from tetrit.formats import _kernels, _tables
from tetrit.parallel import SMALL

REAL = [name for name in formats.names() if name != "fairy2"]
WIDE = [name for name in REAL if formats.get(name).bits > 8]
BOOK = np.random.default_rng(7).standard_normal(200)


def repeat_past_small(x):
    """Repeat `x` until it is large enough for the compiled loops."""
    return np.tile(x, SMALL // len(x) + 1)


@pytest.mark.parametrize("name", REAL)
def test_delicate_numbers_round_as_defined(name, reference, delicate):
    fmt = formats.get(name)
    x = delicate(fmt, limit=1500)
    expected = np.array([reference(name, v) for v in x.tolist()])
    for start in range(0, len(x), SMALL):
        np.testing.assert_array_equal(fmt.encode(x[start : start + SMALL]), expected[start : start + SMALL])
    many = repeat_past_small(x)
    np.testing.assert_array_equal(fmt.encode(many)[: len(x)], expected)
    with np.errstate(over="ignore"):
        single = x.astype(np.float32)
    exact = single.astype(np.float64) == x
    assert exact.sum() > 100
    many = repeat_past_small(single[exact])
    np.testing.assert_array_equal(fmt.encode(many)[: exact.sum()], expected[exact])


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("fmt", [*map(formats.get, REAL), formats.codebook(BOOK)], ids=lambda f: f.name)
def test_three_compiled_ways_agree_with_the_definition(fmt, width, delicate):
    float_type, word = {32: (np.float32, np.uint32), 64: (np.float64, np.uint64)}[width]
    with np.errstate(over="ignore", under="ignore"):
        x = delicate(fmt).astype(float_type)
    random_bits = np.random.default_rng(width).integers(0, 2**width, 20_000, dtype=word).view(float_type)
    x = np.concatenate((x, random_bits[~np.isnan(random_bits)]))
    expected = fmt._steps(x.astype(np.float64))
    steps, bits = fmt._steps, x.view(word)
    keys = steps.keys if width == 64 else steps.keys32()
    codes = steps.codes.astype(fmt.code_dtype)
    borders = np.where(keys < 0, -keys, keys)
    droppable = np.maximum(_tables._trailing_zeros(borders), _tables._trailing_zeros(borders - 1))
    out = np.empty(len(x), dtype=fmt.code_dtype)
    ways = 0
    if sticky := _tables._sticky(keys, codes, width, droppable):
        _kernels.encode_sticky(bits, word(sticky.dropped), sticky.table, out)
        np.testing.assert_array_equal(out, expected)
        ways += 1
    if binades := _tables._binades(keys, codes, width, borders, droppable):
        out[:] = 0
        _kernels.encode_binades(bits, word(_tables.MANTISSA_BITS[width]), binades.rows, binades.table, out)
        np.testing.assert_array_equal(out, expected)
        ways += 1
    search = _tables._search(keys, codes, width)
    out[:] = 0
    _kernels.encode_search(bits, search.keys, search.codes, search.starts, out)
    np.testing.assert_array_equal(out, expected)
    assert ways >= (0 if fmt.name in ("post4", "codebook") else 1)


def test_a_wrong_table_is_noticed(delicate):
    """The comparison above can fail: one border moved by one bit pattern is seen."""
    fmt = formats.get("fp8_e4m3")
    steps = fmt._steps
    keys = steps.keys.copy()
    keys[100] += 1
    x = delicate(fmt)
    wrong = _tables.Steps(keys=keys, codes=steps.codes)
    assert (wrong(x) != steps(x)).any()


@pytest.mark.parametrize("name", REAL)
def test_values_survive_the_round_trip(name):
    fmt = formats.get(name)
    codes = np.arange(2**fmt.bits)
    encodable = np.isfinite(fmt.values)
    if name in ("pot3z", "pot4z", "post4"):
        encodable[len(codes) // 2] = False  # the second code of zero
    codes = codes[encodable].astype(fmt.code_dtype)
    np.testing.assert_array_equal(fmt.encode(fmt.values[codes]), codes)
    many = repeat_past_small(codes)
    np.testing.assert_array_equal(fmt.encode(fmt.decode(many)), many)
    if name != "post4":
        np.testing.assert_array_equal(fmt.encode(fmt.decode(many, dtype=np.float32)), many)


@pytest.mark.parametrize("name", REAL)
def test_rounding_is_monotone_and_odd(name):
    fmt = formats.get(name)
    rng = np.random.default_rng(3)
    x = np.sort(rng.standard_normal(20_000) * np.exp2(rng.uniform(-12, 12, 20_000)))
    y = fmt.quantize(x)
    finite = np.isfinite(y)
    assert (np.diff(y[finite]) >= 0).all()
    if not name.startswith(("uint", "int")) or name.endswith("symmetric"):
        mirrored = fmt.quantize(-x)
        np.testing.assert_array_equal(mirrored, -y)


@pytest.mark.parametrize("name", ["szt", "fp4_e2m1", "fp4_e3m0", "fp8_e4m3", "fp8_e5m2", "bf16"])
@pytest.mark.parametrize("n", [1, SMALL + 1])
def test_the_sign_of_zero_survives(name, n):
    fmt = formats.get(name)
    for dtype in (np.float32, np.float64):
        zeros = np.zeros(n, dtype=dtype)
        assert not np.signbit(fmt.quantize(zeros)).any()
        assert np.signbit(fmt.quantize(-zeros)).all()
        assert (fmt.quantize(-zeros) == 0).all()
        assert np.signbit(fmt.decode(fmt.encode(-zeros), dtype=np.float32)).all()


@pytest.mark.parametrize("name", [n for n in REAL if n.startswith(("posit", "int", "uint")) or n in ("pot3z", "post4")])
def test_one_zero_elsewhere(name):
    assert formats.get(name).encode([-0.0, 0.0]).tolist() == [0, 0]


def test_powers_without_zero_give_zero_the_sign_of_zero():
    assert formats.get("pot3").quantize([0.0, -0.0, 1e-30, -1e-30]).tolist() == [1, -1, 1, -1]


@pytest.mark.parametrize("name", REAL)
def test_infinities(name):
    fmt = formats.get(name)
    finite = fmt.values[np.isfinite(fmt.values)]
    for x in (np.array([np.inf, -np.inf]), repeat_past_small(np.array([np.inf, -np.inf], dtype=np.float32))):
        y = fmt.quantize(x)[:2].tolist()
        if name.startswith("posit") or name == "fp8_e4m3":
            assert np.isnan(y).all()
        elif name in ("fp8_e5m2", "bf16"):
            assert y == [np.inf, -np.inf]
        else:
            assert y == [finite.max(), finite.min()]


@pytest.mark.parametrize("name", ["posit4_1", "posit8_0", "posit16_1", "fp8_e4m3", "fp8_e5m2", "bf16"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_nan_is_encoded_where_there_is_a_code(name, dtype):
    fmt = formats.get(name)
    assert fmt.has_nan
    for n in (1, SMALL + 1):
        assert np.isnan(fmt.quantize(np.full(n, np.nan, dtype=dtype))).all()


@pytest.mark.parametrize("name", ["posit5_2", "posit3_0", "posit3_3", "posit9_1"])
def test_other_posits_round_as_defined(name, reference, delicate):
    bits, es = map(int, name[5:].split("_"))
    fmt = formats.Posit(name=name, bits=bits, es=es)
    x = delicate(fmt, limit=500)
    np.testing.assert_array_equal(fmt._steps(x), [reference(name, v) for v in x.tolist()])


any_float = st.floats(allow_nan=False)
near_one = st.floats(min_value=-20.0, max_value=20.0)


@pytest.mark.parametrize("name", REAL)
@settings(max_examples=60, deadline=None)
@given(x=any_float | near_one)
def test_any_double_rounds_as_defined(name, reference, x):
    assert formats.get(name).encode(x) == reference(name, x)


@settings(max_examples=300, deadline=None)
@given(
    values=st.lists(st.floats(-1e300, 1e300) | st.integers(-4, 4).map(float), min_size=2, max_size=40),
    x=st.lists(any_float | st.integers(-9, 9).map(lambda k: k / 2), min_size=1, max_size=8),
    pick=st.integers(0, 10**6),
)
def test_codebooks_round_to_the_nearest(values, x, pick, nearest):
    book = formats.codebook(values)
    a, b = values[pick % len(values)], values[pick // 7 % len(values)]
    x = [*x, 0.0, -0.0, a, a / 2 + b / 2, float(np.nextafter(a / 2 + b / 2, np.inf))]
    # equal values (and the two zeros) count once, under their lowest code
    once = [v if v not in values[:code] else np.nan for code, v in enumerate(values)]
    expected = [nearest(once, v, zero_has_sign=False) for v in x]
    assert book.encode(x).tolist() == expected
    many = np.tile(x, SMALL)
    np.testing.assert_array_equal(book.encode(many)[: len(x)], expected)
