"""Formats against independent software: softposit for posits, ml_dtypes for small floats."""

import warnings

import ml_dtypes
import numpy as np
import pytest

from tetrit import formats

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # from its generated wrapper
    import softposit

POSITS = {
    "posit8_0": (softposit.posit8, softposit.convertP8ToDouble, softposit.convertDoubleToP8),
    "posit16_1": (softposit.posit16, softposit.convertP16ToDouble, softposit.convertDoubleToP16),
}
FLOATS = {
    "fp4_e2m1": ml_dtypes.float4_e2m1fn,
    "fp8_e4m3": ml_dtypes.float8_e4m3fn,
    "fp8_e5m2": ml_dtypes.float8_e5m2,
    "bf16": ml_dtypes.bfloat16,
}


@pytest.mark.parametrize("name", POSITS)
def test_all_posit_codes_mean_what_softposit_says(name):
    make, to_double, _ = POSITS[name]
    fmt = formats.get(name)
    theirs = np.array([to_double(make(bits=code).v) for code in range(2**fmt.bits)])
    theirs[2 ** (fmt.bits - 1)] = np.nan  # softposit gives infinity for NaR
    np.testing.assert_array_equal(fmt.values, theirs)


@pytest.mark.parametrize("name", POSITS)
def test_a_million_doubles_round_as_in_softposit(name, delicate):
    fmt = formats.get(name)
    rng = np.random.default_rng(16)
    edges = delicate(fmt)  # all midpoints of both kinds and their neighbours, subnormals, infinities
    count = max(1_000_000 - len(edges), 300_000)
    any_bits = rng.integers(0, 2**64, count // 3, dtype=np.uint64).view(np.float64)
    spread = rng.standard_normal(count // 3) * np.exp2(rng.uniform(-33, 33, count // 3))
    normal = rng.standard_normal(count - 2 * (count // 3))
    x = np.concatenate((edges, any_bits, spread, normal, [np.nan, -np.nan]))
    assert len(x) >= 1_000_000
    ours = fmt.encode(x)
    theirs = np.fromiter((code.v for code in map(POSITS[name][2], x.tolist())), dtype=np.int64, count=len(x))
    wrong = np.flatnonzero(ours != theirs)
    assert not len(wrong), [(float(x[i]).hex(), int(ours[i]), int(theirs[i])) for i in wrong[:5]]
    single = cast(x, np.float32)
    exact = single.astype(np.float64) == x
    np.testing.assert_array_equal(fmt.encode(single[exact]), theirs[exact])


@pytest.mark.parametrize("name", FLOATS)
def test_all_float_codes_mean_what_ml_dtypes_says(name):
    fmt = formats.get(name)
    theirs = cast(np.arange(2**fmt.bits, dtype=fmt.code_dtype).view(FLOATS[name]), np.float64)
    np.testing.assert_array_equal(fmt.values, theirs)
    np.testing.assert_array_equal(np.signbit(fmt.values), np.signbit(theirs))


def cast(x, dtype):
    """Cast without numpy's warnings about numbers that the type cannot hold."""
    with np.errstate(all="ignore"):
        return x.astype(dtype)


def encodable(fmt, x):
    return x if fmt.has_nan else x[~np.isnan(cast(x, np.float64))]


@pytest.mark.parametrize("name", FLOATS)
def test_all_bfloat16_and_float16_inputs(name):
    fmt, theirs = formats.get(name), FLOATS[name]
    patterns = np.arange(2**16, dtype=np.uint16)
    for x in (patterns.view(ml_dtypes.bfloat16), patterns.view(np.float16)):
        x = encodable(fmt, x)
        wide = cast(x, np.float32)  # a cast to the same type would keep the payload of a NaN
        np.testing.assert_array_equal(fmt.encode(x), cast(wide, theirs).view(fmt.code_dtype))
        np.testing.assert_array_equal(fmt.encode(wide), cast(wide, theirs).view(fmt.code_dtype))
        np.testing.assert_array_equal(fmt.encode(cast(wide, np.float64)), cast(wide, theirs).view(fmt.code_dtype))


@pytest.mark.parametrize("name", FLOATS)
def test_single_precision_inputs(name, delicate):
    fmt, theirs = formats.get(name), FLOATS[name]
    rng = np.random.default_rng(32)
    edges = cast(delicate(fmt), np.float32)
    any_bits = rng.integers(0, 2**32, 500_000, dtype=np.uint32).view(np.float32)
    x = encodable(fmt, np.concatenate((edges, any_bits, rng.standard_normal(500_000, dtype=np.float32))))
    np.testing.assert_array_equal(fmt.encode(x), cast(x, theirs).view(fmt.code_dtype))


@pytest.mark.parametrize("name", FLOATS)
def test_doubles_differ_only_where_ml_dtypes_rounds_twice(name, delicate, reference):
    """ml_dtypes rounds doubles to single precision first; where that matters, the exact reference must bear us out."""
    fmt, theirs = formats.get(name), FLOATS[name]
    rng = np.random.default_rng(64)
    any_bits = rng.integers(0, 2**64, 300_000, dtype=np.uint64).view(np.float64)
    spread = rng.standard_normal(300_000) * np.exp2(rng.uniform(-20, 20, 300_000))
    x = encodable(fmt, np.concatenate((delicate(fmt, limit=3000), any_bits, spread)))
    ours, other = fmt.encode(x), cast(x, theirs).view(fmt.code_dtype)
    differ = np.flatnonzero(ours != other)
    assert 0 < len(differ) < 20_000
    np.testing.assert_array_equal(fmt.encode(cast(x[differ], np.float32)), other[differ])
    np.testing.assert_array_equal(ours[differ][:3000], [reference(name, v) for v in x[differ][:3000].tolist()])
