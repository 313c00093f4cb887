"""Block formats: scale rule and rounding against ml_dtypes, corners of the scales, arrays, errors."""

import doctest
import importlib
import pickle
import re
from dataclasses import FrozenInstanceError, replace

import ml_dtypes
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import formats
from tetrit.errors import InvalidValueError, UnknownNameError

NAMES = ("mxfp4", "nvfp4", "bfp12", "dfp16")
every = pytest.mark.parametrize("name", NAMES)
TINY = np.finfo(np.float32).tiny


def wild(seed, shape, dtype=np.float32):
    """Numbers of many magnitudes, signed zeros among them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape) * 2.0 ** rng.integers(-40, 40, (*shape[:-1], 1)) * (rng.random(shape) > 0.1)
    return x.astype(dtype)


def test_names_are_apart_from_those_of_scalar_formats():
    assert formats.block_names() == NAMES
    assert not set(NAMES) & set(formats.names())
    for name in NAMES:
        fmt = formats.get(name)
        assert isinstance(fmt, formats.BlockFormat)
        assert fmt.name == name
        assert formats.get(name) is fmt is formats.block_format(name)


def test_widths_and_ranges():
    found = {n: (f.bits, f.block, f.bits_per_element) for n in NAMES for f in [formats.get(n)]}
    assert found == {
        "mxfp4": (4, 32, 4.25),
        "nvfp4": (4, 16, 4.5),
        "bfp12": (4, 32, 4.25),
        "dfp16": (16, None, 16.0),
    }
    assert formats.get("mxfp4").max_value == 6 * 2.0**127
    assert formats.get("mxfp4").min_positive == 2.0**-128
    assert formats.get("nvfp4").max_value == 448 * 6
    assert formats.get("nvfp4").min_positive == 2.0**-10
    assert formats.get("bfp12").integer_range == (-7, 7)
    assert formats.accumulator_bits("mxfp4", "mxfp4", 32) == formats.accumulator_bits("fp4_e2m1", "fp4_e2m1", 32)


def test_scale_values_are_those_of_ml_dtypes():
    codes = np.arange(256, dtype=np.uint8)
    for name, theirs in (("mxfp4", ml_dtypes.float8_e8m0fnu), ("nvfp4", ml_dtypes.float8_e4m3fn)):
        wanted = codes.view(theirs).astype(np.float64)
        np.testing.assert_array_equal(formats.get(name).scale_values, wanted)
        assert not formats.get(name).scale_values.flags.writeable


def oracle_mxfp4(x):
    """Scale by the text of the MX specification, elements by ml_dtypes."""
    blocks = x.reshape(-1, 32).astype(np.float64)
    largest = np.abs(blocks).max(axis=1)
    with np.errstate(divide="ignore"):
        exponents = np.clip(np.floor(np.log2(largest)) - 2, -127, 127)
    scales = np.exp2(exponents).astype(ml_dtypes.float8_e8m0fnu)
    scaled = np.clip(blocks / scales.astype(np.float64)[:, None], -6, 6)
    return scaled.astype(ml_dtypes.float4_e2m1fn), scales


@pytest.mark.parametrize("seed", range(5))
def test_mxfp4_equals_ml_dtypes(seed):
    x = wild(seed, (64, 96))
    codes, scales = formats.get("mxfp4").encode(x)
    elements, shared = oracle_mxfp4(x)
    np.testing.assert_array_equal(codes.reshape(-1, 32), elements.view(np.uint8))
    np.testing.assert_array_equal(scales.reshape(-1), shared.view(np.uint8))
    values = elements.astype(np.float64) * shared.astype(np.float64)[:, None]
    assert formats.get("mxfp4").decode(codes, scales).tobytes() == values.reshape(x.shape).tobytes()


@pytest.mark.parametrize("tensor_scale", [1.0, 2.0**-20, float(np.float32(0.0123))])
@pytest.mark.parametrize("seed", range(5))
def test_nvfp4_equals_ml_dtypes(seed, tensor_scale):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(48, 64)) * 2.0 ** rng.integers(-14, 10, (48, 1)) * tensor_scale).astype(np.float32)
    codes, scales = formats.get("nvfp4").encode(x, tensor_scale=tensor_scale)
    blocks = x.reshape(-1, 16).astype(np.float64)
    quotient = np.minimum(np.abs(blocks).max(axis=1) / (6 * tensor_scale), 448)
    shared = np.maximum(quotient, 2.0**-9).astype(ml_dtypes.float8_e4m3fn)
    np.testing.assert_array_equal(scales.reshape(-1), shared.view(np.uint8))
    unit = shared.astype(np.float64)[:, None] * tensor_scale
    elements = np.clip(blocks / unit, -6, 6).astype(ml_dtypes.float4_e2m1fn)
    np.testing.assert_array_equal(codes.reshape(-1, 16), elements.view(np.uint8))
    values = elements.astype(np.float64) * unit
    got = formats.get("nvfp4").decode(codes, scales, tensor_scale=tensor_scale)
    assert got.tobytes() == values.reshape(x.shape).tobytes()


def test_a_wrong_exponent_would_be_seen():
    x = wild(0, (64, 96))
    _, shared = oracle_mxfp4(2 * x)
    assert (formats.get("mxfp4").scales(x).reshape(-1) != shared.view(np.uint8)).any()


@every
def test_every_pair_of_codes_comes_back(name):
    """Each element in a block whose largest element fixes the scale."""
    fmt = formats.get(name)
    top = int(np.nanargmax(fmt.values))
    codes = np.arange(2**fmt.bits if fmt.bits <= 8 else 4096).astype(fmt.element.code_dtype)
    if isinstance(fmt.element, formats.Integer):
        codes = codes[codes != 2 ** (fmt.bits - 1)]  # the reserved code of symmetric integers
    codes = np.stack([codes, np.full_like(codes, top)], axis=1)
    for scale in (1, 100, 120, 126) if fmt.scale == "e4m3" else (0, 1, 127, 200, 254):
        shared = np.full(formats.block.scale_shape(codes.shape, fmt.block), scale, np.uint8)
        values = fmt.decode(codes, shared)
        again, scales = fmt.encode(values)
        np.testing.assert_array_equal(again, codes)
        np.testing.assert_array_equal(scales, shared)


@every
def test_zeros_have_the_smallest_scale(name):
    fmt = formats.get(name)
    codes, scales = fmt.encode(np.zeros((2, 40), np.float32))
    assert not codes.any()
    assert np.unique(scales).tolist() == [1 if name == "nvfp4" else 0]
    assert fmt.quantize(np.zeros(3)).tobytes() == np.zeros(3).tobytes()
    codes, _ = fmt.encode([-0.0, 1.0])
    assert codes[0] == (8 if "fp4" in name else 0)
    np.testing.assert_array_equal(np.signbit(fmt.quantize([-0.0, -1e-9, 1.0])[:2]), "fp4" in name)


def test_below_the_smallest_scale_underflow_is_gradual():
    mxfp4, nvfp4, dfp16 = (formats.get(name) for name in ("mxfp4", "nvfp4", "dfp16"))
    unit = 2.0**-127
    x = np.array([0.25, 0.26, 0.75, 1.9, 3.0]) * unit  # scale would be 2^-128
    assert mxfp4.scales(x).tolist() == [0]
    np.testing.assert_array_equal(mxfp4.quantize(x) / unit, [0, 0.5, 1, 2, 3])
    assert mxfp4.quantize(np.float32(1e-45)) == 0.0
    assert dfp16.scales(np.array([5e-324, -(2.0**-1060)])).item() == 0
    x = np.array([0.25, 0.26, 1.3, 2.9]) * 2.0**-9
    assert nvfp4.scales(x).tolist() == [1]
    np.testing.assert_array_equal(nvfp4.quantize(x) * 2.0**9, [0, 0.5, 1.5, 3])


def test_beyond_the_largest_scale_elements_saturate():
    x = np.array([1.7e308, -1e300, 6 * 2.0**127, 1.0])
    np.testing.assert_array_equal(formats.get("mxfp4").quantize(x) / 2.0**127, [6, -6, 6, 0])
    np.testing.assert_array_equal(formats.get("bfp12").quantize(x) / 2.0**127, [7, -7, 6, 0])
    np.testing.assert_array_equal(formats.get("nvfp4").quantize([1e30, 2500.0, -1000.0]), [2688, 2688, -896])


def test_mantissas_that_round_up_saturate():
    assert formats.get("bfp12").quantize([7.75, 1.0]).tolist() == [7.0, 1.0]
    assert formats.get("bfp12").scales([7.75, 1.0]).tolist() == [127]
    assert formats.get("mxfp4").quantize([7.99, 1.0]).tolist() == [6.0, 1.0]
    assert formats.get("dfp16").quantize([32767.6, 1.5, 2.5]).tolist() == [32767.0, 2.0, 2.0]
    assert formats.get("dfp16").quantize([32768.0, 3.0]).tolist() == [32768.0, 4.0]


@pytest.mark.parametrize("tie", [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0])
@pytest.mark.parametrize("shared", [1.0, 1.125, 1.875, 13 / 8])
def test_ties_of_e2m1_are_decided_exactly_for_every_scale(tie, shared):
    """Doubles that differ from a border by their last bit round apart, although the quotient would not show it."""
    nvfp4 = formats.get("nvfp4")
    border = tie * shared
    x = np.array([np.nextafter(border, 0), border, np.nextafter(border, np.inf), 6 * shared])
    codes, scales = nvfp4.encode(x)
    assert nvfp4.scale_values[scales].tolist() == [shared]
    below = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0].index(tie)
    assert codes.tolist() == [below, below + below % 2, below + 1, 7]


def test_blocks_do_not_reach_over_rows_and_the_last_may_be_short():
    fmt = formats.block_format("bfp12", block=4)
    x = np.array([[8.0, 0, 0, 0, 1.0, 0], [1.0, 0, 0, 0, 64.0, 1.0]])
    codes, scales = fmt.encode(x)
    assert fmt.scale_values[scales].tolist() == [[2.0, 0.25], [0.25, 16.0]]
    assert fmt.decode(codes, scales)[:, 5].tolist() == [0.0, 0.0]
    for n in range(1, 12):
        whole, parts = fmt.quantize(np.arange(n)), [fmt.quantize(np.arange(n)[i : i + 4]) for i in range(0, n, 4)]
        np.testing.assert_array_equal(whole, np.concatenate(parts))


@every
@pytest.mark.parametrize(
    ("shape", "blocks"),
    [((), ()), ((0,), (0,)), ((0, 3), (0, 1)), ((3, 0), (3, 0)), ((2, 3, 50), (2, 3, None)), ((1,), (1,))],
)
def test_shapes(name, shape, blocks):
    fmt = formats.get(name)
    codes, scales = fmt.encode(np.full(shape, 6.0))
    assert codes.shape == shape
    wanted = tuple(-(-50 // (fmt.block or 1)) if n is None else n for n in blocks)
    assert scales.shape == (wanted if fmt.block else ())
    np.testing.assert_array_equal(fmt.decode(codes, scales), np.full(shape, 6.0))


@every
@pytest.mark.parametrize("shape", [(7, 45), (70, 1000)])
def test_quantize_is_encode_and_decode_for_every_input_type_and_order(name, shape):
    fmt = formats.get(name)
    base = (np.random.default_rng(1).normal(size=shape) * 8).astype(ml_dtypes.bfloat16)
    wanted = fmt.quantize(base.astype(np.float64))
    assert wanted.tobytes() == fmt.decode(*fmt.encode(base.astype(np.float32))).tobytes()
    single = base.astype(np.float32)
    for x in (base, single, single.astype(">f4"), np.asfortranarray(single), np.flip(np.flip(single).copy())):
        assert fmt.quantize(x).tobytes() == wanted.tobytes()
        assert fmt.decode(*fmt.encode(x)).tobytes() == wanted.tobytes()
    for dtype in (np.float16, np.float32):
        once = wanted.astype(dtype)
        assert fmt.quantize(base, dtype=dtype).tobytes() == once.tobytes()
        assert fmt.decode(*fmt.encode(base), dtype=dtype).tobytes() == once.tobytes()
        out = np.empty(shape, dtype)
        assert fmt.quantize(base, out=out) is out
        assert fmt.decode(*fmt.encode(base), out=out) is out
        assert out.tobytes() == once.tobytes()
    whole = np.rint(single).astype(np.int64)
    np.testing.assert_array_equal(fmt.quantize(whole), fmt.quantize(whole.astype(np.float64)))


@every
@given(x=hnp.arrays(np.float32, hnp.array_shapes(max_dims=2, max_side=40), elements=st.floats(-1e6, 1e6, width=32)))
def test_quantising_twice_changes_nothing_where_the_scale_stays(name, x):
    fmt = formats.get(name)
    once = fmt.quantize(x)
    same = fmt.scales(once) == fmt.scales(x)
    again = fmt.quantize(once)
    if same.all():
        assert again.tobytes() == once.tobytes()
    if fmt.scale == "e8m0":  # the largest element of a block never leaves its binade
        assert same.all() or (np.abs(x) < TINY * 8).any()


@every
@given(x=hnp.arrays(np.float32, 33, elements=st.floats(-1000, 1000, width=32)))
def test_error_is_at_most_half_a_step_or_the_saturation(name, x):
    fmt = formats.get(name)
    codes, scales = fmt.encode(x)
    real = np.repeat(np.atleast_1d(fmt.scale_values[scales]), fmt.block or 33)[:33]
    steps = np.where(np.abs(x) <= 2 * real, 0.5, np.where(np.abs(x) <= 4 * real, 1, 2)) if "fp4" in name else 1.0
    unsaturated = np.abs(x) <= fmt.element.max_value * real
    error = np.abs(fmt.decode(codes, scales) - x.astype(np.float64))
    assert (error <= 0.5 * steps * real)[unsaturated].all()
    assert (error <= (2 if "fp4" in name else 1) * real * (1 if name != "nvfp4" else 1e9))[~unsaturated].all()


def test_tensor_scale_puts_the_largest_magnitude_at_the_top():
    fmt = formats.get("nvfp4")
    x = np.random.default_rng(3).normal(size=(64, 64)).astype(np.float32) * 1e-3
    t = fmt.tensor_scale(x)
    assert t == float(np.float32(np.abs(x).max() / 2688.0))
    codes, scales = fmt.encode(x, tensor_scale=t)
    assert scales.max() == 126
    error = np.abs(fmt.decode(codes, scales, tensor_scale=t) - x).sum()
    assert error < 0.5 * np.abs(fmt.quantize(x) - x).sum()
    assert fmt.quantize(x, tensor_scale=t).tobytes() == fmt.decode(codes, scales, tensor_scale=t).tobytes()
    assert formats.get("mxfp4").tensor_scale(x) == 1.0
    assert fmt.tensor_scale(np.zeros(3)) == fmt.tensor_scale(np.zeros(0)) == 1.0
    assert fmt.tensor_scale(np.array([1e-300])) == float(TINY)
    assert fmt.tensor_scale(np.array([1e300])) == float(np.finfo(np.float32).max)
    with pytest.raises(InvalidValueError, match=r"^`x` must be finite, got nan at index \(1,\)$"):
        fmt.tensor_scale([0.0, np.nan])


def test_a_nan_scale_makes_the_block_nan():
    fmt = formats.block_format("mxfp4", block=2)
    np.testing.assert_array_equal(fmt.decode([2, 0, 2], [255, 128]), [np.nan, np.nan, 2.0])


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16])
def test_what_is_not_finite_is_refused(name, bad, dtype):
    for n, place in ((5, 3), (300_000, 299_998)):
        x = np.ones((1, n), dtype)
        x[0, place] = bad
        pattern = "^" + re.escape(f"`x` must be finite, got {bad} at index (0, {place})") + "$"
        for call in (formats.get(name).encode, formats.get(name).quantize, formats.get(name).scales):
            with pytest.raises(InvalidValueError, match=pattern):
                call(x)


MX = formats.get("mxfp4")
E2M1 = formats.get("fp4_e2m1")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: MX.encode(["a"]), TypeError, "`x` must hold real numbers, got <U1"),
        (lambda: MX.encode(1j), TypeError, "`x` must hold real numbers, got complex128"),
        (
            lambda: MX.encode([1.0], tensor_scale=2.0),
            InvalidValueError,
            "`tensor_scale` of format 'mxfp4' must be 1, got 2",
        ),
        (
            lambda: formats.get("nvfp4").encode([1.0], tensor_scale=0.1),
            InvalidValueError,
            "`tensor_scale` must be a normal float32, got 0.1",
        ),
        (
            lambda: formats.get("nvfp4").encode([1.0], tensor_scale=1e-40),
            InvalidValueError,
            "`tensor_scale` must be a normal float32, got 1e-40",
        ),
        (
            lambda: formats.get("nvfp4").encode([1.0], tensor_scale=0),
            InvalidValueError,
            "`tensor_scale` must be above 0, got 0",
        ),
        (lambda: MX.decode([1.0], [0]), TypeError, "`codes` must be integers, got float64"),
        (lambda: MX.decode([1], [0.0]), TypeError, "`scales` must be integers, got float64"),
        (
            lambda: MX.decode([1, 16], [0]),
            InvalidValueError,
            "codes of format 'fp4_e2m1' must be from 0 to 15, got 16 at index (1,)",
        ),
        (lambda: MX.decode([1], [0, 1]), InvalidValueError, "`scales` must have shape (1,), got (2,)"),
        (lambda: MX.decode([1], [256]), InvalidValueError, "`scales` must be codes from 0 to 255, got 256 to 256"),
        (
            lambda: MX.decode([1], [1], dtype=np.int8),
            TypeError,
            "values of a block format are float16, float32 or float64, not int8",
        ),
        (
            lambda: MX.quantize([1.0], out=np.empty(2)),
            InvalidValueError,
            "`out` must have shape (1,) and dtype float64, got (2,) and float64",
        ),
        (
            lambda: formats.block_format("mxfp6"),
            UnknownNameError,
            "unknown block format 'mxfp6'; did you mean 'mxfp4'?",
        ),
        (lambda: formats.get("nvfp"), UnknownNameError, "unknown format 'nvfp'; did you mean 'nvfp4'?"),
        (
            lambda: formats.block_format("bfp12", block=0),
            InvalidValueError,
            "`block` must be a positive integer, got 0",
        ),
        (
            lambda: formats.get("mxfp4", symmetric=True),
            InvalidValueError,
            "format 'mxfp4' has no symmetric variant; only int2 to int16 have one",
        ),
        (lambda: formats.BlockFormat(name=1, element=E2M1), TypeError, "`name` must be a string, got 1"),
        (
            lambda: formats.BlockFormat(name="a", element="fp4_e2m1"),
            TypeError,
            "`element` must be a format of real numbers, got 'fp4_e2m1'",
        ),
        (
            lambda: formats.BlockFormat(name="a", element=formats.get("int4")),
            InvalidValueError,
            "`element` with 'e8m0' scales must be E2M1 or a symmetric integer format, got 'int4'",
        ),
        (
            lambda: formats.BlockFormat(name="a", element=formats.get("int4_symmetric"), scale="e4m3"),
            InvalidValueError,
            "`element` with 'e4m3' scales must be E2M1, got 'int4_symmetric'",
        ),
        (
            lambda: formats.BlockFormat(name="a", element=E2M1, scale="e5m2"),
            UnknownNameError,
            "unknown scale 'e5m2'; did you mean 'e8m0'?",
        ),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        call()


@every
def test_frozen_hashable_and_pickled(name):
    fmt = formats.get(name)
    fmt.scale_values  # noqa: B018
    again = pickle.loads(pickle.dumps(fmt))
    assert again == fmt
    assert hash(again) == hash(fmt)
    assert again.encode([1.0])[0].tolist() == fmt.encode([1.0])[0].tolist()
    assert replace(fmt, block=5) != fmt
    with pytest.raises(FrozenInstanceError):
        fmt.block = 3


@pytest.mark.parametrize("block", [None, 1, 7, 32, 300_000, 10**9])
def test_the_number_of_threads_changes_nothing(block, monkeypatch):
    x = wild(4, (3, 300_001))
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        found = []
        for name in ("nvfp4", "bfp12"):
            fmt = replace(formats.get(name), block=block)
            found += [*fmt.encode(x), fmt.quantize(x), fmt.decode(*fmt.encode(x))]
        results.append([a.tobytes() for a in found])
        assert found[2].tobytes() == found[3].tobytes()
    assert results[0] == results[1]


PROBE = """
import hashlib
import numpy as np
from tetrit import formats

digest = hashlib.sha256()
rng = np.random.default_rng(7)
for name in formats.block_names():
    for dtype in (np.float16, np.float32, np.float64):
        fmt = formats.get(name)
        x = (rng.normal(size=(5, 77)) * 8).astype(dtype)
        for array in (*fmt.encode(x), fmt.quantize(x), fmt.decode(*fmt.encode(x))):
            digest.update(np.ascontiguousarray(array).tobytes())
print(digest.hexdigest())
"""


def test_without_the_compiler_the_bits_are_the_same(same_without_the_compiler):
    same_without_the_compiler(PROBE)


def test_documented_examples():
    for module in ("block", "registry"):
        result = doctest.testmod(importlib.import_module(f"tetrit.formats.{module}"))
        assert result.failed == 0
        assert result.attempted > 4
