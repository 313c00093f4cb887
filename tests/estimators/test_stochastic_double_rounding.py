"""Double rounding: all 256 stored codes at all widths and by all chains of widths, gradients, rates, the reference."""

import itertools
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._kernels import CHUNK
from tetrit.estimators.stochastic import DoubleRounding, narrow, reference

FLOATS = [np.float16, np.float32, np.float64]
WIDTHS = range(2, 9)
CODES = np.arange(256)
STORED = formats.get("int8").values.astype(int)  # integer of every stored code


def chains(widths):
    """All falling chains of at least three widths from 8."""
    below = [w for w in sorted(widths, reverse=True) if w < 8]
    for n in range(2, len(below) + 1):
        yield from ((8, *rest) for rest in itertools.combinations(below, n))


def step(integer, wide, width):
    """One rounding from `wide` to `width` bits, by fractions."""
    rounded = round(Fraction(integer, 2 ** (wide - width)))  # half to even
    return min(max(rounded, -(2 ** (width - 1))), 2 ** (width - 1) - 1)


def integers(codes, bits):
    return formats.get(f"int{bits}").decode(codes).astype(int)


@pytest.mark.parametrize("bits", WIDTHS)
def test_every_stored_code_at_every_width(bits):
    got = integers(narrow(CODES, bits), bits)
    assert got.tolist() == [step(int(q), 8, bits) for q in STORED]
    assert got.tolist() == [reference.narrowed(int(q), bits) for q in STORED]
    unit = 2 ** (8 - bits)
    error = np.abs(got * unit - STORED)
    top = 2 ** (bits - 1) - 1
    assert (error[got < top] <= unit / 2).all()
    assert (error[got == top] < unit).all()  # the clip costs at most one step less one
    ascending = np.argsort(STORED)
    assert (np.diff(got[ascending]) >= 0).all()


@pytest.mark.parametrize("chain", list(chains(WIDTHS)), ids=lambda c: "-".join(map(str, c)))
def test_nested_grids_by_every_chain(chain):
    # a stored integer on the narrowest grid lies on every grid of the chain, and all ways lead to the same code
    last = chain[-1]
    unit = 2 ** (8 - last)
    for target in range(-(2 ** (last - 1)), 2 ** (last - 1)):
        integer = target * unit
        for wide, width in itertools.pairwise(chain):
            assert integers(narrow([target * unit & 255], width), width) == target * unit // 2 ** (8 - width)
            integer = step(integer, wide, width)
        assert integer == target
    # any other stored code may be rounded differently on the way, but never by more than one step
    differences = []
    for q in STORED.tolist():
        integer = q
        for wide, width in itertools.pairwise(chain):
            integer = step(integer, wide, width)
        differences.append(abs(integer - step(q, 8, last)))
    assert max(differences) <= 1


@pytest.mark.parametrize(("chain", "count"), [((8, 6, 4), 30), ((8, 6, 2), 6), ((8, 4, 2), 24), ((8, 6, 4, 2), 30)])
def test_what_a_chain_changes_lies_near_a_rounding_border(chain, count):
    last, unit = chain[-1], 2 ** (8 - chain[-1])
    changed = []
    for q in STORED.tolist():
        integer = q
        for wide, width in itertools.pairwise(chain):
            integer = step(integer, wide, width)
        if integer != step(q, 8, last):
            changed.append(q)
    assert len(changed) == count  # as documented
    # the roundings on the way move a code by half their units at most
    reach = sum(2 ** (8 - width) for width in chain[1:-1]) / 2
    assert max(abs(q % unit - unit / 2) for q in changed) <= reach


def test_a_chain_is_not_the_direct_rounding():
    # 9 / 16 is nearer to 1, but 9 / 4 rounds to 2, and 2 / 4 to the even 0: the class must take 8 to 4 bits directly
    assert integers(narrow([9], 4), 4) == [1]
    assert step(step(9, 8, 6), 6, 4) == 0
    w = np.array([9.0, 127.0])
    assert integers(DoubleRounding(bits=4, step=1.0)(w).codes, 4).tolist() == [1, 7]


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_all_widths_come_from_the_one_stored_tensor(axis):
    w = np.random.default_rng(71).normal(size=(5, 60))
    e = DoubleRounding(axis=axis)
    stored = e.stored(w)
    nested = e.nested(w, tuple(WIDTHS))
    assert tuple(e.nested(w)) == (8, 6, 4, 2)
    np.testing.assert_array_equal(nested[8].codes, stored.codes)
    for bits, q in nested.items():
        np.testing.assert_array_equal(q.codes, narrow(stored.codes, bits))
        np.testing.assert_array_equal(q.scale, stored.scale * 2.0 ** (8 - bits))
        assert q.format == f"int{bits}"
        alone = replace(e, bits=bits)(w)
        np.testing.assert_array_equal(alone.codes, q.codes)
        np.testing.assert_array_equal(alone.scale, q.scale)


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data(), bits=st.integers(2, 8), given_step=st.none() | st.sampled_from([0.01, 1.0, 3.0]))
def test_codes_and_gradients_equal_the_reference(data, bits, given_step, dtype, same):
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
    elements = st.floats(-1000, 1000, width=16) | st.sampled_from([0.0, -0.0, 0.5, -128.5, 127.5, 9.0])
    w = data.draw(hnp.arrays(dtype, shapes, elements=elements))
    g = data.draw(hnp.arrays(dtype, w.shape, elements=st.floats(-100, 100, width=16)))
    axis = data.draw(st.none() | st.integers(0, w.ndim - 1)) if w.ndim else None
    scales = reference.absmax_scales(w, max_value=127.0, axis=axis)
    if given_step is not None:
        scales = dict.fromkeys(scales, given_step)
    e = DoubleRounding(bits=bits, axis=axis, step=given_step)
    stored = reference.clipped_forward(w, low=-128, high=127, bits=8, scales=scales, axis=axis)
    same(e.stored(w), stored, scales, axis)
    codes = np.zeros(w.shape, np.int64)
    for index in np.ndindex(*w.shape):
        codes[index] = reference.narrowed(int(STORED[stored[index]]), bits) % 2**bits
    same(e(w), codes, {channel: s * 2 ** (8 - bits) for channel, s in scales.items()}, axis)
    got = e.backward(w, g)
    wanted = reference.double_rounding_backward(w, g, bits=bits, scales=scales, axis=axis)
    np.testing.assert_array_equal(got, wanted)
    assert got.dtype == dtype


@pytest.mark.parametrize(("bits", "first_dead"), [(8, 128), (6, 127), (4, 121), (2, 97)])
def test_the_gradient_ends_where_a_clip_begins(bits, first_dead):
    # 4 bits: 120 / 16 = 7.5 would round to the even 8, which is clipped; the last one inside is 119
    w = np.arange(-140.0, 141.0)
    live = DoubleRounding(bits=bits, step=1.0).backward(w, np.ones(w.size)) == 1.0
    q = np.rint(w)
    inside = (q >= -128) & (q <= 127) & (np.rint(q / 2 ** (8 - bits)) <= 2 ** (bits - 1) - 1)
    np.testing.assert_array_equal(live, inside)
    last = int(w[live].max())
    assert last < first_dead
    assert last >= first_dead - 2


def test_long_rows(same):
    w = np.random.default_rng(73).normal(size=(2, CHUNK + 3)).astype(np.float32)
    for axis in (None, 0):
        scales = reference.absmax_scales(w, max_value=127.0, axis=axis)
        codes = reference.clipped_forward(w, low=-128, high=127, bits=8, scales=scales, axis=axis)
        same(DoubleRounding(axis=axis).stored(w), codes, scales, axis)


def test_rate_factors():
    got = {bits: DoubleRounding(bits=bits).rate_factor for bits in WIDTHS}
    assert got == {8: 1.0, 7: 0.5, 6: 0.1, 5: 0.05, 4: 0.01, 3: 0.005, 2: 0.001}


def test_steps_per_channel():
    w = np.array([[10.0, 20.0], [10.0, 20.0]])
    e = DoubleRounding(bits=8, axis=0, step=(1.0, 2.0))
    assert e(w).values.tolist() == w.tolist()
    assert e(w).scale.tolist() == [[1.0], [2.0]]
    text = "`step` must be a number or a tuple of 2, one per channel, got 3"
    with pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$"):
        replace(e, step=(1.0, 2.0, 3.0))(w)


def test_codes_of_a_number_are_an_array():
    for codes in (DoubleRounding(bits=4, step=0.01)(np.float64(0.4)).codes, narrow(np.uint8(40), 4)):
        assert isinstance(codes, np.ndarray)
        assert (codes.shape, codes.dtype, codes.tolist()) == ((), np.uint8, 2)


def test_bad_codes():
    with pytest.raises(
        InvalidValueError, match=r"^codes of format 'int8' must be from 0 to 255, got 256 at index \(1,\)$"
    ):
        narrow([0, 256], 4)
    with pytest.raises(TypeError, match=r"^`codes` must be integers, got float64$"):
        narrow([0.5], 4)
    with pytest.raises(InvalidValueError, match=r"^`bits` must be an integer from 2 to 8, got 1$"):
        narrow([0], 1)
