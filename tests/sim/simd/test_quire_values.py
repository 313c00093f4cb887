"""Values of the SIMD engine against rational arithmetic: every pair of formats, every single product of narrow ones."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import formats
from tetrit.hardware.simd_engine import SIMD_FORMATS
from tetrit.sim.simd import quire_matmul, reference

PAIRS = list(product(SIMD_FORMATS, SIMD_FORMATS))
OUTPUTS = [*SIMD_FORMATS, "int8", "uint4", "int16", "fp8_e4m3", "fp8_e5m2", "bf16"]
BITS = {name: formats.get(name).bits for name in SIMD_FORMATS}


def real_codes(rng, name, shape):
    """Codes of numbers."""
    codes = rng.integers(0, 2 ** BITS[name], shape)
    return np.where(np.isnan(formats.get(name).values[codes]), 1, codes)


@pytest.mark.parametrize("name", SIMD_FORMATS)
def test_the_reference_agrees_with_the_formats_on_every_value(name):
    theirs = [reference.value_of(code, name) for code in range(2 ** BITS[name])]
    floats = [np.nan if value is None else float(value) for value in theirs]
    np.testing.assert_array_equal(formats.get(name).values, floats)


@pytest.mark.parametrize(("a_format", "b_format"), PAIRS)
def test_every_pair_into_every_output(a_format, b_format):
    rng = np.random.default_rng(5)
    for out_format in OUTPUTS:
        a, b = real_codes(rng, a_format, (3, 9)), real_codes(rng, b_format, (9, 4))
        bias = [int(entry) for entry in rng.integers(-(2**40), 2**40, 4)] if rng.integers(2) else None
        how = {"bias": bias, "relu": bool(rng.integers(2)), "shift": int(rng.integers(-9, 5))}
        ours = quire_matmul(a, b, a_format, b_format, out_format, **how)
        assert ours.dtype == formats.get(out_format).code_dtype
        assert ours.tolist() == reference.quire_matmul(a, b, a_format, b_format, out_format, **how)


@pytest.mark.parametrize(("a_format", "b_format"), [pair for pair in PAIRS if "posit16_1" not in pair])
def test_every_single_product(a_format, b_format):
    """All products are one rounding of the exact product; with NaR in a row, one result; without, by distinct value."""
    a, b = np.arange(2 ** BITS[a_format])[:, None], np.arange(2 ** BITS[b_format])[None, :]
    ours = {out: quire_matmul(a, b, a_format, b_format, out).tolist() for out in ("posit8_0", "posit16_1", "bf16")}
    left, right = ([reference.value_of(int(c), f) for c in x.ravel()] for x, f in ((a, a_format), (b, b_format)))
    rounded = {}
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            value = None if one is None or other is None else one * other
            if value not in rounded:
                rounded[value] = [reference.code_of(value, out) for out in ours]
            assert [ours[out][i][j] for out in ours] == rounded[value], (i, j)


@pytest.mark.parametrize("b_format", ["fp4_e2m1", "posit4_1"])
def test_every_product_of_16_and_4_bits(b_format):
    values = formats.get("posit16_1").values
    for code in range(16):
        factor = formats.get(b_format).values[code]
        ours = quire_matmul(np.arange(2**16)[:, None], [[code]], "posit16_1", b_format, "posit16_1")
        expected = formats.get("posit16_1").encode(values * factor)  # exact: 13 bits times 3
        np.testing.assert_array_equal(ours.ravel(), expected)


@st.composite
def cases(draw):
    a_format, b_format = draw(st.sampled_from(PAIRS))
    m, k, n = draw(st.integers(1, 3)), draw(st.integers(1, 8)), draw(st.integers(1, 3))

    def matrix(name, rows, columns):
        half = 2 ** (BITS[name] - 1)
        edges = st.sampled_from([0, 1, half - 1, half, half + 1, 2 * half - 1])
        code = edges | st.integers(0, 2 * half - 1)
        return draw(st.lists(st.lists(code, min_size=columns, max_size=columns), min_size=rows, max_size=rows))

    a, b = matrix(a_format, m, k), matrix(b_format, k, n)
    integer = st.integers(-5, 5) | st.integers(-(2**127), 2**127 - 1)
    bias = draw(st.none() | st.lists(integer, min_size=n, max_size=n))
    out_format = draw(st.sampled_from(["posit4_1", "posit8_0", "posit16_1", "fp8_e5m2", "bf16"]))
    how = {"bias": bias, "relu": draw(st.booleans()), "shift": draw(st.integers(-64, 63))}
    return (a, b, a_format, b_format, out_format), how


@given(cases())
def test_any_product(case):
    given_, how = case
    assert quire_matmul(*given_, **how).tolist() == reference.quire_matmul(*given_, **how)


@given(cases(), st.randoms(use_true_random=False))
def test_order_of_summation_does_not_matter(case, random):
    (a, b, *names), how = case
    order = list(range(len(b)))
    random.shuffle(order)
    shuffled = [[row[i] for i in order] for row in a], [b[i] for i in order]
    assert quire_matmul(a, b, *names, **how).tolist() == quire_matmul(*shuffled, *names, **how).tolist()


@pytest.mark.parametrize("name", ["posit4_1", "posit8_0", "posit16_1"])
@pytest.mark.parametrize("relu", [False, True])
def test_one_nar_makes_its_row_or_column_nar_even_times_zero(name, relu):
    nar = 2 ** (BITS[name] - 1)
    a, b = np.zeros((3, 4), dtype=int), np.zeros((4, 5), dtype=int)
    a[1, 2], b[0, 3] = nar, nar
    for out, code in (("posit4_1", 8), ("posit8_0", 0x80), ("posit16_1", 0x8000), ("fp8_e4m3", 0x7F), ("bf16", 0x7FC0)):
        expected = np.zeros((3, 5), dtype=int)
        expected[1], expected[:, 3] = code, code
        assert quire_matmul(a, b, name, name, out, relu=relu, bias=[0] * 5).tolist() == expected.tolist()


def test_ties_at_every_border_go_to_the_even_code_and_a_quire_unit_decides():
    """Each border between positive posits is reached exactly, and missed by one unit of the quire on either side."""
    for out in ("posit4_1", "posit8_0", "posit16_1"):
        es, bits = (0 if out == "posit8_0" else 1), formats.get(out).bits
        wider = f"posit{bits + 1}_{es}"
        for code in range(1, 2 ** (bits - 1) - 1) if bits < 16 else range(1, 2**15 - 1, 257):
            border = reference.value_of(2 * code + 1, wider)
            units = border * 2**56
            assert units.denominator == 1
            bias = [int(units) - 1, int(units), int(units) + 1]
            bias += [-entry for entry in bias]
            zero = np.zeros((1, 6), dtype=int)
            positive = [code, code + code % 2, code + 1]
            expected = positive + [2**bits - entry for entry in positive]
            assert quire_matmul([[0]], zero, "posit16_1", "posit16_1", out, bias=bias).tolist() == [expected]


def test_signs_of_zero():
    """A sum that is zero is +0; a negative one that rounds to zero has its sign, as the format says."""
    minus, one, zero, minus_zero = 0b1010, 0b0010, 0b0000, 0b1000
    for a, b in ((zero, minus), (minus_zero, one), (minus, zero), (minus_zero, minus_zero)):
        for out in ("fp4_e2m1", "bf16", "szt"):
            assert quire_matmul([[a]], [[b]], "fp4_e2m1", "fp4_e2m1", out).tolist() == [[0]]
            assert quire_matmul([[a]], [[b]], "fp4_e2m1", "fp4_e2m1", out, bias=[0]).tolist() == [[0]]
    assert quire_matmul([[one, minus]], [[one], [one]], "fp4_e2m1", "fp4_e2m1", "bf16").tolist() == [[0]]
    assert quire_matmul([[minus]], [[one]], "fp4_e2m1", "fp4_e2m1", "fp4_e2m1", shift=-3).tolist() == [[minus_zero]]
    assert quire_matmul([[minus]], [[one]], "fp4_e2m1", "fp4_e2m1", "fp4_e2m1", shift=-3, relu=True).tolist() == [[0]]
    assert quire_matmul([[1]], [[2**15 + 1]], "posit16_1", "posit16_1", "bf16", relu=True, shift=-64).tolist() == [[0]]


def test_a_nonzero_sum_never_becomes_zero_or_nar_in_a_posit():
    for out in ("posit4_1", "posit8_0", "posit16_1"):
        half = 2 ** (formats.get(out).bits - 1)
        least, most = [[1]], [[2**15 - 1]]
        minus = [[2**16 - 1]]
        assert quire_matmul(least, least, "posit16_1", "posit16_1", out, shift=-64).tolist() == [[1]]
        assert quire_matmul(least, minus, "posit16_1", "posit16_1", out, shift=-64).tolist() == [[2 * half - 1]]
        assert quire_matmul(most, most, "posit16_1", "posit16_1", out, shift=63).tolist() == [[half - 1]]


def test_the_quire_keeps_the_least_bit_beside_the_largest_sum():
    """32767 squares of maxpos, all but one unit of them taken away again: the most terms that are allowed."""
    k = 32767
    a, b = np.full((1, k), 0x7FFF), np.full((k, 1), 0x7FFF)
    bias = np.array([-k * 2**112 + 1], dtype=object)
    assert quire_matmul(a, b, "posit16_1", "posit16_1", "posit16_1").tolist() == [[0x7FFF]]
    got = quire_matmul(a, b, "posit16_1", "posit16_1", "posit16_1", bias=bias, shift=56)
    assert got.tolist() == [[reference.code_of(Fraction(1), "posit16_1")]]
