"""What `quire_matmul` takes and refuses, and that neither threads nor the compiler change a code."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.sim.simd import quire_matmul

PROBE = """
import hashlib
import numpy as np
from tetrit import formats
from tetrit.sim.simd import quire_matmul

rng = np.random.default_rng(11)
digest = hashlib.sha256()
pairs = [("fp4_e2m1", "posit4_1"), ("posit8_0", "posit8_0"), ("posit16_1", "posit8_0"), ("posit16_1", "posit16_1")]
for a_format, b_format in pairs:
    a = rng.integers(0, 2 ** formats.get(a_format).bits, (SIZE, 40))
    b = rng.integers(0, 2 ** formats.get(b_format).bits, (40, SIZE))
    bias = rng.integers(-(2**45), 2**45, SIZE)
    for relu in (False, True):
        digest.update(quire_matmul(a, b, a_format, b_format, "posit16_1", bias=bias, relu=relu).tobytes())
print(digest.hexdigest())
"""


def test_same_without_the_compiler(same_without_the_compiler):
    same_without_the_compiler(PROBE.replace("SIZE", "9"))


def test_same_for_any_number_of_threads():
    answers = set()
    for threads, blas in (("1", "1"), ("3", "2")):
        env = os.environ | {"NUMBA_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": blas}
        probe = PROBE.replace("SIZE", "600")
        done = subprocess.run([sys.executable, "-c", probe], env=env, capture_output=True, text=True, check=True)
        answers.add(done.stdout)
    assert len(answers) == 1


def test_any_layout_and_integer_type_and_inputs_stay_as_they_are():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 128, (6, 10), dtype=np.uint8), rng.integers(0, 2**15, (10, 4), dtype=np.uint16)
    expected = quire_matmul(a, b, "posit8_0", "posit16_1", "posit16_1")
    before = a.copy(), b.copy()
    for one in (a.tolist(), a.astype(np.int64), np.asfortranarray(a), np.repeat(a, 2, axis=1)[:, ::2]):
        for other in (b.astype(np.int32), np.asfortranarray(b), b[::-1][::-1], b.astype(">u2")):
            np.testing.assert_array_equal(quire_matmul(one, other, "posit8_0", "posit16_1", "posit16_1"), expected)
    read_only = a.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(quire_matmul(read_only, b, "posit8_0", "posit16_1", "posit16_1"), expected)
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(b, before[1])


def test_results_have_the_type_of_the_output_format():
    for out in formats.names():
        if out in ("post4", "fairy2"):
            continue
        codes = quire_matmul([[2]], [[2]], "fp4_e2m1", "fp4_e2m1", out)
        assert codes.dtype == formats.get(out).code_dtype
        assert codes.tolist() == [[int(formats.get(out).encode(1.0))]]


def test_bias_of_any_integers():
    least = 2.0**-24  # of Posit(16,1) times Posit(8,0), in real units 2**-34
    for bias in ([1024], [np.int8(4)], np.array([2**40], dtype=np.uint64), np.array([2**70], dtype=object)):
        value = int(bias[0]) * 2.0**-34
        got = quire_matmul([[0]], [[0]], "posit16_1", "posit8_0", "posit16_1", bias=bias)
        assert got.tolist() == [[int(formats.get("posit16_1").encode(value))]]
    assert formats.get("posit16_1").encode(least) == quire_matmul(
        [[0]], [[0]], "posit16_1", "posit8_0", "posit16_1", bias=[2**10]
    )


FP4 = ("fp4_e2m1", "fp4_e2m1", "fp4_e2m1")
P16 = ("posit16_1", "posit16_1", "posit16_1")
P8_FP4 = ("posit8_0", "posit8_0", "fp4_e2m1")


@pytest.mark.parametrize(
    ("args", "how", "message"),
    [
        (([[1]], [[1]], "posit8", *FP4[:2]), {}, "unknown a_format 'posit8'; did you mean 'posit8_0'?"),
        (([[1]], [[1]], "fp4_e2m1", "int8", "int8"), {}, "unknown b_format 'int8'; did you mean 'posit8_0'?"),
        (([[1]], [[1]], *FP4[:2], "post4"), {}, "`out_format` must be a format of dyadic real numbers, got 'post4'"),
        (([[1]], [[1]], *FP4[:2], "mxfp4"), {}, "`out_format` must be a format of dyadic real numbers, got 'mxfp4'"),
        (([[1]], [[1]], *FP4[:2], "int99"), {}, "unknown format 'int99'; did you mean 'int9'?"),
        (([1], [[1]], *FP4), {}, "`a_codes` must be a non-empty matrix, got shape (1,)"),
        (([[1]], [], *FP4), {}, "`b_codes` must be a non-empty matrix, got shape (0,)"),
        ((np.zeros((0, 3), int), [[1]], *FP4), {}, "`a_codes` must be a non-empty matrix, got shape (0, 3)"),
        ((np.zeros((3, 0), int), [[1]], *FP4), {}, "`a_codes` must be a non-empty matrix, got shape (3, 0)"),
        (([[1], [1, 2]], [[1]], *FP4), {}, "`a_codes` must be a matrix, got rows of different lengths"),
        (
            ([[1, 2, 3]], [[1], [2]], *FP4),
            {},
            "`b_codes` must have as many rows as `a_codes` has columns, 3, got shape (2, 1)",
        ),
        (([[1, 16]], [[1], [2]], *FP4), {}, "`a_codes` must be codes of fp4_e2m1, 0 to 15, got 16 at (0, 1)"),
        (([[1]], [[0, 3, -1]], *P16), {}, "`b_codes` must be codes of posit16_1, 0 to 65535, got -1 at (0, 2)"),
        (([[1]], [[2**16]], *P16), {}, "`b_codes` must be codes of posit16_1, 0 to 65535, got 65536 at (0, 0)"),
        (([[1]], [[1]], *FP4), {"shift": 64}, "`shift` must be an integer from -64 to 63, got 64"),
        (([[1]], [[1]], *FP4), {"bias": [1, 2]}, "`bias` must have shape (1,), got (2,)"),
        (([[1]], [[1]], *FP4), {"bias": [[1]]}, "`bias` must have shape (1,), got (1, 1)"),
        (
            ([[1]], [[1, 1]], *FP4),
            {"bias": [0, 2**127]},
            f"`bias` must be within -2**127 to 2**127 - 1, the quire's range, got {2**127} at index 1",
        ),
        (
            (np.zeros((1, 32768), np.uint16), np.zeros((32768, 1), np.uint16), *P16),
            {},
            "sums of 32768 products put 32768 into a quire of 128 bits (1 a word), "
            "which holds any 32767 of posit16_1 x posit16_1",
        ),
        (
            ([[1, 1], [1, 128]], [[1, 1], [1, 1]], *P8_FP4),
            {},
            "result (1, 0) is NaR, and `out_format` fp4_e2m1 has no code for that",
        ),
        (
            ([[1, 1], [1, 128]], [[1, 1], [1, 128]], *P8_FP4),
            {},
            "result (0, 1) is NaR, and `out_format` fp4_e2m1 has no code for that",
        ),
        (
            ([[1, 128], [1, 1]], [[1, 1], [1, 128]], *P8_FP4),
            {},
            "result (0, 0) is NaR, and `out_format` fp4_e2m1 has no code for that",
        ),
    ],
)
def test_wrong_values(args, how, message):
    with pytest.raises(InvalidValueError) as error:
        quire_matmul(*args, **how)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("args", "how", "message"),
    [
        (([[1.0]], [[1]], *FP4), {}, "`a_codes` must be integers, got float64"),
        (([[1]], [[True]], *FP4), {}, "`b_codes` must be integers, got bool"),
        (([[1]], [[1]], 4, *FP4[:2]), {}, "`a_format` must be one of fp4_e2m1, posit4_1, posit8_0, posit16_1, got 4"),
        (([[1]], [[1]], *FP4), {"relu": 1}, "`relu` must be true or false, got 1"),
        (([[1]], [[1]], *FP4), {"shift": 1.0}, "`shift` must be an integer, got 1.0"),
        (([[1]], [[1]], *FP4), {"bias": [0.5]}, "`bias` must be integers, got 0.5 at index 0"),
        (([[1]], [[1]], *FP4), {"bias": [True]}, "`bias` must be integers, got True at index 0"),
    ],
)
def test_wrong_kinds(args, how, message):
    with pytest.raises(TypeError) as error:
        quire_matmul(*args, **how)
    assert str(error.value) == message
