"""The integer product of dynamic fixed point, against Python integers; overflow; down-conversion."""

import re

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators import Quantized
from tetrit.estimators.blocks import DFP, dfp_accumulate, dfp_down_convert, dfp_matmul, reference

FULL = st.integers(-32768, 32767)
TAME = st.integers(-200, 200)


@st.composite
def matrices(draw, elements=FULL):
    m, k, n = (draw(st.integers(0, 5)), draw(st.integers(0, 9)), draw(st.integers(0, 5)))
    elements = st.one_of(elements, st.sampled_from([32767, -32767]))
    return draw(hnp.arrays(np.int16, (m, k), elements=elements)), draw(hnp.arrays(np.int16, (k, n), elements=elements))


@given(ab=matrices(), chain=st.integers(1, 4), overflow=st.sampled_from(["wrap", "saturate", "error"]))
def test_registers_equal_python_integers(ab, chain, overflow):
    sums, overflows = reference.pair_products(*ab, chain=chain, saturate=overflow == "saturate")
    if overflow == "error" and overflows:
        text = f"`chain` must be shorter than {chain}: a 32-bit sum overflows at output {min(overflows)}"
        with pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$"):
            dfp_accumulate(*ab, chain=chain)
        return
    got = dfp_accumulate(*ab, chain=chain, overflow=overflow)
    assert got.dtype == np.int64
    assert got.shape == (len(ab[0]), ab[1].shape[1])
    assert got.tolist() == sums


@given(ab=matrices(st.integers(-32767, 32767)))
def test_single_pairs_of_symmetric_integers_never_overflow(ab):
    wanted = ab[0].astype(object) @ ab[1].astype(object) if ab[0].size and ab[1].size else None
    got = dfp_accumulate(*ab)
    assert wanted is None or got.tolist() == wanted.tolist()


@pytest.mark.parametrize(("chain", "fits"), [(1, True), (2, True), (3, False)])
def test_the_stated_bound_of_a_chain_is_sharp(chain, fits):
    a = np.full((1, 12), 23170, np.int16)  # 4 * 23170^2 < 2^31 < 6 * 23170^2
    b = a.T.copy()
    if fits:
        assert dfp_accumulate(a, b, chain=chain).item() == 12 * 23170**2
    else:
        with pytest.raises(InvalidValueError, match=r"^`chain` must be shorter than 3: .* at output \(0, 0\)$"):
            dfp_accumulate(a, b, chain=chain)


@given(
    sums=st.lists(st.one_of(TAME, st.integers(-(2**62), 2**62)), max_size=6),
    bits=st.integers(2, 16),
)
def test_down_convert_equals_python_fractions(sums, bits):
    wanted, shift = reference.down_convert(sums, bits=bits)
    integers, got = dfp_down_convert(np.array(sums, np.int64), bits=bits)
    assert (integers.tolist(), got) == (wanted, shift)
    assert integers.dtype == np.int16


def test_down_convert_at_the_ends():
    assert dfp_down_convert(np.array([-(2**63)]))[1] == 49
    assert dfp_down_convert(np.array([-(2**63)]))[0].tolist() == [-(2**14)]
    integers, shift = dfp_down_convert(np.array([2**63 - 1, -5]))
    assert (integers.tolist(), shift) == ([32767, 0], 48)
    assert dfp_down_convert(np.array([255]), bits=8)[0].tolist() == [127]  # 127.5 rounds to 128: saturates
    assert dfp_down_convert(np.zeros((0, 2), np.int64))[1] == 0


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_matmul_is_the_exact_product_of_the_values_rounded_once(bits):
    rng = np.random.default_rng(bits)
    a, b = DFP()(rng.normal(size=(7, 40)) * 1e-3), DFP()(rng.normal(size=(40, 5)) * 50)
    c = dfp_matmul(a, b, bits=bits)
    exact = a.codes.view(np.int16).astype(object) @ b.codes.view(np.int16).astype(object)
    integers, shift = reference.down_convert([int(v) for v in exact.reshape(-1)], bits=bits)
    assert c.format == f"int{bits}_symmetric"
    assert float(c.scale) == float(a.scale) * float(b.scale) * 2.0**shift
    np.testing.assert_array_equal(c.values.reshape(-1), np.array(integers) * float(c.scale))
    assert np.abs(c.values - a.values @ b.values).max() <= 0.5000001 * float(c.scale)
    again = dfp_matmul(c, DFP()(np.eye(5)), bits=bits)  # results are arguments
    np.testing.assert_array_equal(again.values, c.values)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: dfp_accumulate([[1]], [[1]]), TypeError, "`a` must be an int16 array, got [[1]]"),
        (
            lambda: dfp_accumulate(np.ones((1, 1), np.int16), np.ones((1, 1), np.int8)),
            TypeError,
            "`b` must be an int16 array, got dtype('int8')",
        ),
        (
            lambda: dfp_accumulate(np.ones((1, 2), np.int16), np.ones((1, 1), np.int16)),
            InvalidValueError,
            "`a` and `b` must have shapes (m, k) and (k, n), got (1, 2) and (1, 1)",
        ),
        (
            lambda: dfp_accumulate(np.ones((1, 1), np.int16), np.ones((1, 1), np.int16), chain=0),
            InvalidValueError,
            "`chain` must be a positive integer, got 0",
        ),
        (
            lambda: dfp_accumulate(np.ones((1, 1), np.int16), np.ones((1, 1), np.int16), overflow="warp"),
            UnknownNameError,
            "unknown overflow 'warp'; did you mean 'wrap'?",
        ),
        (lambda: dfp_down_convert(np.ones(2)), TypeError, "`sums` must be an int64 array, got dtype('float64')"),
        (
            lambda: dfp_down_convert(np.ones(2, np.int64), bits=1),
            InvalidValueError,
            "`bits` must be an integer from 2 to 16, got 1",
        ),
        (
            lambda: dfp_matmul(
                DFP()(np.ones((1, 1))),
                Quantized(codes=np.ones((1, 1), np.uint8), scale=np.array(0.3), format="int8_symmetric"),
            ),
            InvalidValueError,
            "`b` must be symmetric integers with one power of two as scale, got int8_symmetric",
        ),
        (
            lambda: dfp_matmul(
                Quantized(codes=np.ones((1, 1), np.uint8), scale=np.array(0.5), format="szt"), DFP()(np.ones((1, 1)))
            ),
            InvalidValueError,
            "`a` must be symmetric integers with one power of two as scale, got szt",
        ),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        call()


def test_the_number_of_threads_and_the_layout_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-32768, 32768, shape).astype(np.int16) for shape in ((90, 101), (101, 80)))
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        results.append(dfp_accumulate(a, b, chain=3, overflow="wrap").tobytes())
        results.append(dfp_accumulate(np.asfortranarray(a), b[:, ::-1][:, ::-1], chain=3, overflow="wrap").tobytes())
    assert len(set(results)) == 1
