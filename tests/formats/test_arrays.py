"""Shapes, types, memory layout, threads, and the errors of `encode` and `decode`."""

import os
import re
import subprocess
import sys
import threading
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.parallel import _BLOCK, SMALL, run_blocks

REAL = [name for name in formats.names() if name != "fairy2"]
SIZES = [1, 7, SMALL, SMALL + 1, 2 * _BLOCK + 3]


@pytest.mark.parametrize("name", ["szt", "fp8_e4m3", "posit16_1", "post4", "fairy2"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (4, 5), (17, 3, 101), (2, SMALL, 3)])
def test_shapes_are_kept(name, shape):
    fmt = formats.get(name)
    x = np.random.default_rng(1).standard_normal(shape)
    codes = fmt.encode(x)
    assert isinstance(codes, np.ndarray) and codes.shape == shape and codes.dtype == fmt.code_dtype
    values = fmt.decode(codes)
    assert isinstance(values, np.ndarray) and values.shape == shape and values.dtype == fmt.values.dtype
    np.testing.assert_array_equal(fmt.quantize(x), values)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", ["fp4_e2m1", "int12", "post4", "fairy2"])
def test_all_sizes_give_the_same_as_one_by_one(name, n):
    fmt = formats.get(name)
    few = np.random.default_rng(2).standard_normal(1000) * 3
    expected = np.array([fmt.encode(v) for v in few])
    x = np.resize(few, n)
    codes = fmt.encode(x)
    np.testing.assert_array_equal(codes, np.resize(expected, n))
    np.testing.assert_array_equal(fmt.decode(codes), fmt.values[codes])


@pytest.mark.parametrize("name", ["szt", "posit8_0", "int16", "post4", "fairy2"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_layout_and_unchanged_input(name, dtype):
    fmt = formats.get(name)
    x = np.random.default_rng(3).standard_normal((60, 200)).astype(dtype)
    before = x.copy()
    expected = fmt.encode(x)
    assert expected.size > SMALL
    swapped = x.astype(x.dtype.newbyteorder())
    for view, want in ((x.T, expected.T), (x[::2, ::-3], expected[::2, ::-3]), (np.asfortranarray(x), expected)):
        np.testing.assert_array_equal(fmt.encode(view), want)
    np.testing.assert_array_equal(fmt.encode(swapped), expected)
    np.testing.assert_array_equal(fmt.encode(x.tolist()), fmt.encode(x.astype(np.float64)))
    np.testing.assert_array_equal(x, before)
    x.flags.writeable = False
    np.testing.assert_array_equal(fmt.encode(x), expected)
    codes = expected.copy()
    for view in (codes.T, codes[::2, ::-3], np.asfortranarray(codes)):
        np.testing.assert_array_equal(fmt.decode(view), fmt.values[view])
    np.testing.assert_array_equal(codes, expected)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, np.float32, np.longdouble])
@pytest.mark.parametrize("name", REAL)
def test_float_types_that_doubles_hold_encode_like_doubles(name, dtype):
    fmt = formats.get(name)
    for n in (100, SMALL + 1):
        x = (np.random.default_rng(4).standard_normal(n) * 20).astype(dtype)
        np.testing.assert_array_equal(fmt.encode(x), fmt.encode(x.astype(np.float64)))


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32])
@pytest.mark.parametrize("name", ["szt", "posit16_1", "bf16", "uint8", "int16", "post4"])
def test_small_integer_types_encode_like_doubles(name, dtype):
    fmt = formats.get(name)
    x = np.random.default_rng(5).integers(0, 2**32, SMALL + 1, dtype=np.uint32).astype(dtype)
    np.testing.assert_array_equal(fmt.encode(x), fmt.encode(x.astype(np.float64)))


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.longdouble])
@pytest.mark.parametrize("name", ["bf16", "posit16_1", "posit8_0", "fp8_e5m2", "int16", "pot4"])
def test_wider_types_than_doubles_are_rounded_once(name, dtype, reference):
    fmt = formats.get(name)
    rng = np.random.default_rng(6)
    exponents = rng.integers(20, 63, 300)
    numbers = (1 << exponents) + (rng.integers(0, 512, 300) << (exponents - 9)) + rng.integers(-2, 3, 300)
    if dtype is not np.uint64:
        numbers = np.concatenate((numbers, -numbers))
    x = np.concatenate((numbers.astype(dtype), np.array([0, 1, 2**63 - 1], dtype=dtype)))
    if dtype is np.uint64:
        x = np.concatenate((x, np.array([2**63, 2**64 - 1], dtype=dtype)))
    if dtype is np.longdouble:
        if np.finfo(dtype).nmant < 60:
            pytest.fail("this platform's long double is no wider than a double: run the test elsewhere")
        x = np.concatenate((x, x * np.longdouble(2) ** -40, np.array(["1e4000", "-1e4000", "1e-4000", "inf"], dtype)))

    def exact(number):
        if dtype is not np.longdouble:
            return Fraction(int(number))
        if np.isinf(number):
            return float(number)
        return Fraction(*number.as_integer_ratio())

    got = fmt.encode(x).tolist()
    beside = 0
    for number, code in zip(x, got, strict=True):
        true = exact(number)
        if isinstance(true, float):
            assert code == reference(name, true)
            continue
        if abs(true) > Fraction(2) ** 1023:
            assert code == reference(name, float(np.copysign(2.0**1023, number)))
            continue
        near = float(true) if true else 0.0
        # doubles on both sides that are not midpoints: rounding is monotone, so equal codes there decide
        below, above = np.nextafter(near, -np.inf), np.nextafter(near, np.inf)
        sides = {reference(name, float(below)), reference(name, float(above))}
        if len(sides) == 1:
            assert {code} == sides
        elif Fraction(near) == true:
            assert code == reference(name, near)
        else:
            assert code == reference(name, float(above if true > Fraction(near) else below))
            beside += 1
    if name == "bf16":
        assert beside > 0


def test_an_integer_just_above_a_midpoint_is_not_a_tie():
    fmt = formats.get("bf16")
    middle = 2**62 + 2**54
    assert fmt.quantize(middle) == 2.0**62
    assert fmt.quantize(middle + 1) == 2.0**62 + 2.0**55
    assert fmt.quantize(np.float64(middle + 1)) == 2.0**62  # a double cannot tell


@pytest.mark.parametrize("name", ["szt", "fp4_e2m1", "posit16_1", "post4"])
@pytest.mark.parametrize("n", [5, SMALL + 1])
def test_decode_types(name, n):
    fmt = formats.get(name)
    codes = np.random.default_rng(8).integers(0, 2**fmt.bits, n)
    expected = fmt.values[codes]
    for code_type in (np.uint8, np.int8, np.uint16, np.int32, np.int64, np.uint64, ">u2"):
        if 2**fmt.bits - 1 <= np.iinfo(code_type).max:
            np.testing.assert_array_equal(fmt.decode(codes.astype(code_type)), expected)
    for dtype in (np.float16, np.float32, np.float64, np.longdouble, ml_dtypes.bfloat16):
        with np.errstate(over="ignore", under="ignore"):
            values, rounded = fmt.decode(codes, dtype=dtype), expected.astype(dtype)
        assert values.dtype == dtype
        np.testing.assert_array_equal(values, rounded)


@pytest.mark.parametrize("n", [5, SMALL + 1])
def test_out_is_written_and_returned(n):
    fmt = formats.get("posit8_0")
    x = np.random.default_rng(9).standard_normal((n, 2)).astype(np.float32)
    codes = np.empty((n, 2), dtype=np.uint8)
    assert fmt.encode(x, out=codes) is codes
    np.testing.assert_array_equal(codes, fmt.encode(x))
    values = np.empty((n, 2), dtype=np.float32)
    assert fmt.decode(codes, out=values) is values
    np.testing.assert_array_equal(values, fmt.values[codes])
    roots = np.empty((n, 2), dtype=np.uint8)
    assert formats.get("fairy2").encode(x, out=roots) is roots


NAN = np.full((2, SMALL), 1.0)
NAN[1, 7] = np.nan
NAN_SINGLE = NAN.astype(np.float32)
NAN_LATE = np.ones(_BLOCK * 3, dtype=np.float32)
NAN_LATE[-2] = -np.nan
HIGH = np.zeros((3, SMALL), dtype=np.uint8)
HIGH[2, 5] = 16
OUT = "`out` must have shape (2,) and dtype uint8, got (2,) and"
READ_ONLY = np.empty(2, np.uint8)
READ_ONLY.flags.writeable = False
BOTH = np.arange(600_000, dtype=np.float32)
SHARED = np.zeros(8, np.uint8)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: formats.get("int8").encode(np.nan),
            InvalidValueError,
            "format 'int8' has no code for NaN, found at index ()",
        ),
        (
            lambda: formats.get("szt").encode(NAN),
            InvalidValueError,
            "format 'szt' has no code for NaN, found at index (1, 7)",
        ),
        (
            lambda: formats.get("szt").encode(NAN_SINGLE),
            InvalidValueError,
            "format 'szt' has no code for NaN, found at index (1, 7)",
        ),
        (
            lambda: formats.get("int16").encode(NAN_LATE),
            InvalidValueError,
            "format 'int16' has no code for NaN, found at index (786430,)",
        ),
        (
            lambda: formats.get("post4").encode(NAN_LATE),
            InvalidValueError,
            "format 'post4' has no code for NaN, found at index (786430,)",
        ),
        (
            lambda: formats.get("fairy2").encode([1, complex(0, np.nan)]),
            InvalidValueError,
            "format 'fairy2' has no code for NaN, found at index (1,)",
        ),
        (lambda: formats.get("szt").encode([1j]), TypeError, "`x` must hold real numbers, got complex128"),
        (lambda: formats.get("szt").encode("1.0"), TypeError, "`x` must hold real numbers, got <U3"),
        (lambda: formats.get("szt").encode([None]), TypeError, "`x` must hold real numbers, got object"),
        (lambda: formats.get("fairy2").encode(["i"]), TypeError, "`x` must hold complex or real numbers, got <U1"),
        (
            lambda: formats.get("fp4_e2m1").decode([0, 16]),
            InvalidValueError,
            "codes of format 'fp4_e2m1' must be from 0 to 15, got 16 at index (1,)",
        ),
        (
            lambda: formats.get("fp4_e2m1").decode(HIGH),
            InvalidValueError,
            "codes of format 'fp4_e2m1' must be from 0 to 15, got 16 at index (2, 5)",
        ),
        (
            lambda: formats.get("fp4_e2m1").decode(HIGH.astype(np.int32)),
            InvalidValueError,
            "codes of format 'fp4_e2m1' must be from 0 to 15, got 16 at index (2, 5)",
        ),
        (
            lambda: formats.get("fp8_e4m3").decode(np.uint16(256)),
            InvalidValueError,
            "codes of format 'fp8_e4m3' must be from 0 to 255, got 256 at index ()",
        ),
        (
            lambda: formats.get("int8").decode([[-1]]),
            InvalidValueError,
            "codes of format 'int8' must be from 0 to 255, got -1 at index (0, 0)",
        ),
        (lambda: formats.get("int8").decode([1.0]), TypeError, "`codes` must be integers, got float64"),
        (lambda: formats.get("int8").decode([True]), TypeError, "`codes` must be integers, got bool"),
        (
            lambda: formats.get("int8").decode([1], dtype=np.int8),
            TypeError,
            "`dtype` must be a float64 or a float type like it, got int8",
        ),
        (
            lambda: formats.get("fairy2").decode([1], dtype=float),
            TypeError,
            "`dtype` must be a complex128 or a float type like it, got float64",
        ),
        (
            lambda: formats.get("int8").encode([1, 2], out=np.empty(2)),
            InvalidValueError,
            f"{OUT} float64",
        ),
        (
            lambda: formats.get("int8").encode([1, 2], out=np.empty(3, np.uint8)),
            InvalidValueError,
            "`out` must have shape (2,) and dtype uint8, got (3,) and uint8",
        ),
        (
            lambda: formats.get("int8").encode([1, 2], out=np.empty(4, np.uint8)[::2]),
            InvalidValueError,
            "`out` must be C-contiguous, got strides of (2,) bytes",
        ),
        (
            lambda: formats.get("int8").encode([1, 2], out=READ_ONLY),
            InvalidValueError,
            "`out` must be writeable, got a read-only array",
        ),
        (
            lambda: formats.get("szt").encode(BOTH, out=BOTH.view(np.uint8)[: BOTH.size]),
            InvalidValueError,
            "`out` must not overlap `x` in memory",
        ),
        (
            lambda: formats.get("fairy2").encode(BOTH, out=BOTH.view(np.uint8)[-BOTH.size :]),
            InvalidValueError,
            "`out` must not overlap `x` in memory",
        ),
        (
            lambda: formats.get("int8").encode(SHARED, out=SHARED),
            InvalidValueError,
            "`out` must not overlap `x` in memory",
        ),
        (
            lambda: formats.get("int8").decode(SHARED[:1], out=SHARED.view(np.float64)),
            InvalidValueError,
            "`out` must not overlap `codes` in memory",
        ),
        *(
            (
                lambda dtype=dtype: formats.get("int8").decode([1, 2], out=np.empty(2, dtype)),
                TypeError,
                f"`out.dtype` must be a float64 or a float type like it, got {np.dtype(dtype)}",
            )
            for dtype in (np.uint8, bool, np.int64, "U3", object, np.complex64)
        ),
        (
            lambda: formats.get("fairy2").decode([1], out=np.empty(1)),
            TypeError,
            "`out.dtype` must be a complex128 or a float type like it, got float64",
        ),
        (
            lambda: formats.get("int8").decode([1], dtype=complex),
            TypeError,
            "`dtype` must be a float64 or a float type like it, got complex128",
        ),
        (
            lambda: formats.get("int8").decode([1], dtype="U3"),
            TypeError,
            "`dtype` must be a float64 or a float type like it, got <U3",
        ),
        (lambda: formats.get("int8").decode([0, 0], out=[0, 0]), TypeError, "`out` must be a numpy array, got list"),
        (lambda: formats.get("int8").encode([1, 2], out=[0, 0]), TypeError, "`out` must be a numpy array, got list"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        call()


def test_out_may_lie_beside_the_input_in_one_buffer():
    buffer = np.zeros(5 * 10, np.uint8)
    x = buffer[:40].view(np.float32)
    x[:] = np.arange(10)
    fmt = formats.get("int8")
    assert fmt.encode(x, out=buffer[40:]).tolist() == x.tolist() == list(range(10))


def test_codes_that_fit_a_narrow_type_decode_in_silence():
    fmt = formats.get("bf16")
    codes = fmt.encode([1.0, -2.5, 1e30, 1e-30])
    assert fmt.decode(codes, dtype=np.float16).tolist() == [1.0, -2.5, np.inf, 0.0]
    assert formats.get("fairy2").decode([1], dtype=np.complex64).tolist() == [1j]


def test_empty_lists_are_welcome():
    assert formats.get("int8").encode([]).shape == (0,)
    assert formats.get("int8").decode([]).shape == (0,)


def test_fairy_takes_the_nearest_root():
    fmt = formats.get("fairy2")
    rng = np.random.default_rng(10)
    z = np.concatenate((rng.standard_normal(5000) + 1j * rng.standard_normal(5000), fmt.values, fmt.values * 1e300))
    distance = np.abs(z[:, None] / np.abs(z)[:, None] - fmt.values)
    np.testing.assert_array_equal(fmt.encode(z), distance.argmin(axis=1))
    single = z[np.abs(z) < 1e30].astype(np.complex64)
    np.testing.assert_array_equal(fmt.encode(single), distance[np.abs(z) < 1e30].argmin(axis=1))
    assert fmt.encode([1 + 1j, 1 - 1j, -1 + 1j, -1 - 1j, 0, complex(-0.0, -0.0)]).tolist() == [0, 0, 2, 2, 0, 0]
    assert fmt.encode([complex(np.inf, 0), complex(0, -np.inf), 3, -2]).tolist() == [0, 3, 0, 2]
    products = fmt.values[:, None] * fmt.values
    codes = np.arange(4)
    np.testing.assert_array_equal(fmt.encode(products), (codes[:, None] + codes) % 4)
    assert (fmt.max_value, fmt.min_positive, fmt.lsb_exponent, fmt.integer_range) == (1.0, 1.0, 0, (-1, 1))


def test_codebook_properties():
    book = formats.codebook([3.0, -1.0, -0.0, 0.75, 3.0], name="mine")
    assert (book.name, book.bits, book.max_value, book.min_positive, book.lsb_exponent) == ("mine", 3, 3.0, 0.75, -2)
    assert np.isnan(book.values[5:]).all()
    assert not np.signbit(book.values[2])
    assert book.encode([2.9, 0.0, -9.0]).tolist() == [0, 2, 1]
    assert book == formats.codebook(np.array([3, -1, 0, 0.75, 3]), name="mine")
    dead = formats.codebook([0.0, 0.0])
    assert dead.encode(np.full(SMALL + 1, -1.5)).tolist() == [0] * (SMALL + 1)
    assert dead.lsb_exponent == 0
    with pytest.raises(InvalidValueError, match=r"^format 'codebook' has no value above zero$"):
        dead.min_positive  # noqa: B018


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1.0], "`values` must be 2 to 256 numbers in one dimension, got shape (1,)"),
        (np.zeros(257), "`values` must be 2 to 256 numbers in one dimension, got shape (257,)"),
        (np.zeros((2, 2)), "`values` must be 2 to 256 numbers in one dimension, got shape (2, 2)"),
        ([0.0, np.inf], "`values` must be finite, got inf at index (1,)"),
    ],
)
def test_codebook_errors(values, text):
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        formats.codebook(values)
    if np.ndim(values) == 1:
        with pytest.raises(InvalidValueError, match=f"^{re.escape(text.replace('values', 'levels'))}$"):
            formats.Codebook(name="mine", bits=8, levels=tuple(values))


@pytest.mark.parametrize(
    ("values", "got"),
    [
        ([1, 1j], "complex128"),
        (["a"], "<U1"),
        (["1.0", "2.0"], "<U3"),
        ([None, 1.0], "object"),
        ([[1.0], [1.0, 2.0]], "nested lists of different lengths"),
    ],
)
def test_a_codebook_of_no_numbers(values, got):
    with pytest.raises(TypeError, match=f"^{re.escape(f'`values` must hold real numbers, got {got}')}$"):
        formats.codebook(values)
    with pytest.raises(TypeError, match=f"^{re.escape(f'`levels` must hold real numbers, got {got}')}$"):
        formats.Codebook(name="mine", bits=2, levels=values)


def test_a_codebook_made_directly_is_one_made_by_the_function():
    direct = formats.Codebook(name="mine", bits=2, levels=[-0.0, np.float32(1.5), 3])
    assert direct == formats.codebook([0.0, 1.5, 3.0], name="mine")
    assert hash(direct) == hash(formats.codebook([0.0, 1.5, 3.0], name="mine"))
    assert not np.signbit(direct.values[0])
    with pytest.raises(InvalidValueError, match=r"^`levels` of 1 bits must be at most 2, got 3$"):
        formats.Codebook(name="mine", bits=1, levels=(0.0, 1.0, 2.0))


def test_blocks_cover_the_range_once_and_pass_errors_on():
    n = 5 * _BLOCK + 17
    seen = np.zeros(n, dtype=np.int32)

    def mark(start, stop):
        seen[start:stop] += 1

    run_blocks(mark, n)
    assert (seen == 1).all()

    def fail(start, stop):
        raise InvalidValueError(f"block at {start}")

    before = threading.active_count()
    with pytest.raises(InvalidValueError, match=r"^block at \d+$"):
        run_blocks(fail, n)
    assert threading.active_count() == before


def test_formats_work_from_several_threads_at_once():
    x = np.random.default_rng(11).standard_normal(3 * _BLOCK).astype(np.float32)
    fmt = formats.Posit(name="fresh", bits=10, es=1)
    results = [None] * 4

    def work(i):
        results[i] = fmt.encode(x)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_array_equal(result, fmt._steps(x.astype(np.float64)))


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_kernels_without_the_compiler():
    """The kernels mean in Python what they mean compiled."""
    code = """
import numpy as np
from tetrit import formats
from tetrit.formats import _kernels
assert not hasattr(_kernels.encode_sticky, "signatures")
rng = np.random.default_rng(12)
for name in ("szt", "fp8_e5m2", "int8", "posit16_1", "uint16", "post4"):
    fmt = formats.get(name)
    for dtype, word in ((np.float32, np.uint32), (np.float64, np.uint64)):
        x = rng.integers(0, 2 ** (8 * np.dtype(dtype).itemsize), 6000, dtype=word).view(dtype)
        x[::2] = rng.standard_normal(3000) * 30
        x[np.isnan(x)] = 0
        codes = fmt.encode(x)
        assert np.array_equal(codes, fmt._steps(x.astype(np.float64))), name
        assert np.array_equal(fmt.decode(codes, dtype=dtype), fmt.values[codes].astype(dtype), equal_nan=True)
"""
    done = run_python(code, NUMBA_DISABLE_JIT="1")
    assert done.returncode == 0, done.stderr


def test_thread_count_changes_nothing():
    code = """
import hashlib, numpy as np
from tetrit import formats
x = np.random.default_rng(13).standard_normal(1_000_000).astype(np.float32)
print(hashlib.sha256(b"".join(formats.get(n).encode(x).tobytes() for n in ("szt", "posit16_1", "post4"))).hexdigest())
"""
    done = [run_python(code, NUMBA_NUM_THREADS=count) for count in ("1", "2")]
    assert done[0].returncode == 0, done[0].stderr
    assert done[0].stdout == done[1].stdout and len(done[0].stdout) == 65


def test_importing_formats_loads_no_compiler():
    done = run_python(
        "import sys; from tetrit import formats; f = formats.get('posit8_0'); f.decode(f.encode([1.5]));"
        "assert not {'numba', 'torch', 'ml_dtypes'} & set(sys.modules)"
    )
    assert done.returncode == 0, done.stderr
