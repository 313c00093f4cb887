"""Error-free splitting: bounds that hold and are reached, and products that go wrong one bit beyond them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import formats
from tetrit.sim.simd import _kernels, product, quire_matmul, splitting
from tetrit.sim.simd.operands import Operand
from tetrit.sim.simd.splitting import Extent

F32, F64 = splitting.FLOATS
NO_BIAS = Extent(top=0)


def planned(a, b, name, **how):
    """The plan of a product, by what the codes say."""
    job = product.Product(
        a=Operand.of("a", a, name),
        b=Operand.of("b", b, name),
        bias=how.get("bias", []),
        relu=False,
        exponent=2 * formats.get(name).lsb_exponent,
        out=formats.get("posit16_1"),
    )
    return job.plan()


@given(st.integers(1, 2**62), st.integers(0, 20), st.integers(1, 4), st.data())
def test_digits_are_within_their_bounds_and_add_up(top, zeros, count, data):
    cut = splitting.limbs(Extent(top=top, zeros=zeros), count)
    reduced = top >> zeros
    edge = st.sampled_from([-reduced, reduced, reduced - 1, 0, 1, -1])
    numbers = data.draw(st.lists(edge | st.integers(-reduced, reduced), min_size=1))
    numbers = [min(max(number, -reduced), reduced) for number in numbers]
    digits = splitting.split(np.array([number << zeros for number in numbers], dtype=np.int64), cut)
    assert len(digits) == len(cut.tops) == len(cut.shifts) == count
    for digit, bound in zip(digits, cut.tops, strict=True):
        assert np.abs(digit).max() <= bound
    for index, number in enumerate(numbers):
        assert sum(int(d[index]) << s for d, s in zip(digits, cut.shifts, strict=True)) == number << zeros


@pytest.mark.parametrize(("count", "tops"), [(2, (2**28, 2**27)), (3, (2**18,) * 3)])
def test_the_bounds_of_posit16_are_those_of_the_docstring_and_are_reached(count, tops):
    cut = splitting.limbs(Extent(top=2**56), count)
    digits = splitting.split(formats.get("posit16_1").integers, cut)
    assert tuple(int(np.abs(digit).max()) for digit in digits) == cut.tops == tops


@given(
    st.integers(1, 2**20),
    st.tuples(st.integers(1, 2**57), st.integers(0, 10)),
    st.tuples(st.integers(1, 2**57), st.integers(0, 10)),
    st.integers(0, 2**127),
    st.integers(-200, 100),
)
def test_no_plan_can_round(n_terms, a, b, bias, exponent):
    """Every block of every plan is within what its type holds; a direct one within it as a whole, bias included."""
    ends = [Extent(top=top << zeros, zeros=zeros) for top, zeros in (a, b)]
    plan = splitting.plan(n_terms, *ends, bias=Extent(top=bias), exponent=exponent)
    holds = 2**24 if plan.dtype == np.float32 else 2**53
    if plan.direct:
        unit = 2 ** (a[1] + b[1]) if bias == 0 else 1
        assert n_terms * ends[0].top * ends[1].top + bias <= holds * unit
        assert plan.dtype == np.float64 or exponent + a[1] + b[1] <= 127
    else:
        assert plan.block * max(plan.a.tops) * max(plan.b.tops) <= holds
    assert 1 <= plan.block <= n_terms


def test_the_sum_of_a_row_of_magnitudes_may_promise_more_than_the_largest_one():
    far = Extent(top=4096, l1=4096 + 511)
    assert splitting.plan(512, Extent(top=4096), Extent(top=3000), bias=NO_BIAS, exponent=-12).dtype == np.float64
    plan = splitting.plan(512, far, Extent(top=3000), bias=NO_BIAS, exponent=-12)
    assert plan.direct
    assert plan.dtype == np.float32


@pytest.mark.parametrize(("more", "dtype"), [(0, np.float32), (1, np.float64)])
def test_posit4_reaches_the_float32_bound_exactly_at_256_terms(more, dtype):
    """256 products of 2**16 are 2**24; were one unit added to that, float32 would lose it."""
    a, b = np.full((2, 256 + more), 7), np.full((256 + more, 2), 7)
    a[:, 256:], b[256:] = 1, 1
    assert planned(a, b, "posit4_1").dtype == dtype
    a[1] = 16 - a[1]
    bias = [1 - more - 2**24, 2**24 - 1 + more]
    ours = quire_matmul(a, b, "posit4_1", "posit4_1", "posit16_1", bias=bias, shift=8)
    one, big = 0x4000, int(formats.get("posit16_1").encode(2.0**25))
    assert ours.tolist() == [[one, big], [2**16 - big, 2**16 - one]]


@pytest.mark.parametrize(("bits", "right"), [(24, True), (26, False)])
def test_more_bits_in_float32_lose_the_last_unit(monkeypatch, bits, right):
    """The broken variant: were float32 trusted with 26 bits, 2**24 + 1 would come out as 2**24."""
    monkeypatch.setattr(splitting, "FLOATS", ((F32[0], bits, 1), F64))
    a, b = np.full((1, 257), 7), np.full((257, 1), 7)
    a[0, 256] = b[256, 0] = 1
    got = quire_matmul(a, b, "posit4_1", "posit4_1", "posit16_1", bias=[-(2**24)], shift=8)
    assert got.tolist() == [[0x4000 if right else 0]]


def hostile():
    """Operands of Posit(16,1) that need limbs, 128 of whose products of limbs are -2**46, and the next one -1.

    1.0 is the integer 2**28, whose low limb of 29 bits is -2**28; maxpos is 2**56, whose high limb of 19 bits is 2**18.
    The others are zero; two of them make both operands span all bits.
    """
    least, most = 1, 0x7FFF
    a, b = np.zeros((1, 256), dtype=np.uint16), np.zeros((256, 1), dtype=np.uint16)
    a[0, :130] = [0x4000] * 128 + [2**16 - least, most]
    b[:129, 0] = [most] * 128 + [formats.get("posit16_1").encode(2.0**10)]
    b[130, 0] = least
    return a, b


@pytest.mark.parametrize(("bits", "right"), [(53, True), (54, False)])
def test_one_more_bit_in_float64_loses_the_last_unit(monkeypatch, bits, right):
    """The broken variant in the splitting of Posit(16,1), whose blocks of 128 terms reach 2**53 exactly."""
    monkeypatch.setattr(splitting, "FLOATS", (F32, (F64[0], bits, 2)))
    a, b = hostile()
    plan = planned(a, b, "posit16_1")
    assert (plan.direct, len(plan.a.tops), len(plan.b.tops)) == (False, 2, 3)
    assert plan.block == (128 if right else 256)
    assert right == (plan.block * max(plan.a.tops) * max(plan.b.tops) <= 2**53)
    # 128 * 2**84 - 2**38, and all but the last taken away again
    got = quire_matmul(a, b, "posit16_1", "posit16_1", "posit16_1", bias=[-(2**91)], shift=18)
    assert got.tolist() == [[0xC000 if right else 0]]


@pytest.mark.parametrize("bits", [20, 24])
@pytest.mark.parametrize("bits64", [30, 40, 53])
@pytest.mark.parametrize("name", ["posit4_1", "posit8_0", "posit16_1"])
def test_other_splittings_give_the_same(monkeypatch, bits, bits64, name):
    """With fewer bits trusted, more limbs and shorter blocks do the same work."""
    rng = np.random.default_rng(bits)
    a, b = (rng.integers(1, 2 ** (formats.get(name).bits - 1), shape) for shape in ((5, 70), (70, 3)))
    bias = [int(entry) for entry in rng.integers(-(2**50), 2**50, 3)]
    expected = quire_matmul(a, b, name, name, "posit16_1", bias=bias)
    monkeypatch.setattr(splitting, "FLOATS", ((F32[0], bits, 1), (F64[0], bits64, 2)))
    np.testing.assert_array_equal(quire_matmul(a, b, name, name, "posit16_1", bias=bias), expected)


@pytest.mark.parametrize("name", ["fp4_e2m1", "posit8_0", "posit16_1"])
def test_panels_give_the_same(monkeypatch, name):
    rng = np.random.default_rng(8)
    a, b = (rng.integers(1, 2 ** (formats.get(name).bits - 1), shape) for shape in ((23, 40), (40, 7)))
    expected = quire_matmul(a, b, name, name, "posit16_1", bias=list(range(7)))
    monkeypatch.setattr(product, "_PANEL", 21)
    np.testing.assert_array_equal(quire_matmul(a, b, name, name, "posit16_1", bias=list(range(7))), expected)


def to_odd(number, exponent):
    """number * 2**exponent as a double: truncated to 53 bits, the last one set if anything was lost."""
    size = abs(number)
    lost = max(0, size.bit_length() - 53)
    kept = size >> lost
    kept |= kept << lost != size
    exponent = min(lost + exponent + kept.bit_length(), 1001) - kept.bit_length()
    return float(np.copysign(np.ldexp(float(kept), exponent), number if number else 1))


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(-(2**53), 2**53) | st.sampled_from([0, 1, -1]), st.integers(0, 100)), max_size=5),
    st.integers(-(2**61), 2**61) | st.integers(-(2**250), 2**250),
    st.booleans(),
    st.integers(-250, 63),
)
def test_wide_sums_are_rounded_to_odd(n_words, terms, bias, relu, exponent):
    total = bias + sum(value << shift for value, shift in terms)
    n_words = max(n_words, total.bit_length() // 64 + 1, bias.bit_length() // 64 + 1, 3)
    words = np.array([[[bias >> 64 * index & (2**64 - 1)] for index in range(n_words)]], dtype=np.uint64)
    for value, shift in terms:
        _kernels.accumulate(np.full((1, 1, 1, 1), float(value)), np.array([[shift]]), words, 0, 1)
    assert sum(int(word) << 64 * index for index, word in enumerate(words[0, :, 0])) == total % 2 ** (64 * n_words)
    out = np.empty((1, 1), dtype=np.uint64)
    _kernels.rounded(words, relu, exponent, out, 0, 1)
    assert out.view(np.float64)[0, 0] == to_odd(max(total, 0) if relu else total, exponent)
