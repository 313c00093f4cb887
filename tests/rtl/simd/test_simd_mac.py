"""Multiplier, element and its baselines on Amaranth's simulator: every small product, sums in every mode."""

import itertools

import numpy as np
import pytest

from tetrit import formats
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.hardware.simd_engine import MAC_LATENCY, SIMD_FORMATS, SimdEngine
from tetrit.rtl.simd import SimdMac, UnionMac, single_format
from tetrit.rtl.simd.modes import FORMAT_CODES
from tetrit.rtl.simd.multiplier import SignificandMultiplier
from tetrit.verify.suites.simd_broken import UncutMac

FIELDS = {1: ((0, 13),), 2: ((0, 6), (7, 6)), 4: ((4, 2), (0, 2), (11, 2), (7, 2))}


def flags(lanes):
    return {"one": lanes == 1, "two": lanes == 2, "four": lanes == 4}


def factors(lanes, rng):
    """Return factors of each lane, shape (n, lanes, 2): all pairs, in another order in each lane; of 13 bits some."""
    if lanes == 1:
        ends = [0, 1, 2, 4095, 4096, 4097, 8190, 8191]
        return np.array([*itertools.product(ends, ends), *rng.integers(0, 8192, (1500, 2)).tolist()])[:, np.newaxis]
    bits = FIELDS[lanes][0][1]
    pairs = np.array(list(itertools.product(range(1 << bits), repeat=2)))
    return np.stack([rng.permutation(np.resize(pairs, (max(64, len(pairs)), 2))) for _ in range(lanes)], axis=1)


def products(bench, multiplier, lanes, pairs):
    """Return the products of each lane, shape (n, lanes), and what lies outside them."""
    fields = FIELDS[lanes]
    rows = []
    for row in pairs.tolist():
        a, b = (sum(pair[side] << low for pair, (low, _) in zip(row, fields, strict=True)) for side in (0, 1))
        rows.append({"a": a, "b": b, "lanes": flags(lanes)})
    found = np.array(bench.settle(multiplier, rows, lambda c, d: c.get(d.product)))
    lanes_found = [(found >> (2 * low)) & ((1 << (2 * bits)) - 1) for low, bits in fields]
    rest = found & ~sum(((1 << (2 * bits)) - 1) << (2 * low) for low, bits in fields)
    return np.stack(lanes_found, axis=-1), rest


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_products_of_each_lane_are_those_of_integers(bench, lanes):
    pairs = factors(lanes, np.random.default_rng(1))
    found, rest = products(bench, SignificandMultiplier(), lanes, pairs)
    np.testing.assert_array_equal(found, pairs.prod(axis=-1))
    assert not rest.any()


def quires(bench, element, name, words, *, lanes):
    """Add up words in an element; return each lane's quire as a signed integer, and NaR."""
    row = {"mode": {"act_format": FORMAT_CODES[name], "weight_format": FORMAT_CODES[name]}, "enable": 1}
    rows = [
        row | {"act_in": int(a), "weight_in": int(w), "valid_in": 1, "last_in": int(index == len(words) - 1)}
        for index, (a, w) in enumerate(words)
    ]
    rows += [row | {"act_in": 0, "weight_in": 0, "valid_in": 0, "last_in": 0}] * MAC_LATENCY
    result, nar = bench.clocked(element, rows, lambda c, d: (c.get(d.result), c.get(d.nar)))[-1]
    width = element.machine.quire_bits // lanes
    parts = [(result >> (width * lane)) & ((1 << width) - 1) for lane in range(lanes)]
    return [part - (part >> (width - 1) << width) for part in parts], nar


def golden_quires(name, words, lanes):
    fmt, width = formats.get(name), 16 // lanes
    codes = [[(int(w) >> (width * lane)) & ((1 << fmt.bits) - 1) for w in np.ravel(words)] for lane in range(lanes)]
    nar = any(np.isnan(fmt.values[code]) for lane in codes for code in lane)
    integers = [[int(fmt.integers[code]) for code in lane] for lane in codes]
    return [sum(a * w for a, w in zip(lane[::2], lane[1::2], strict=True)) for lane in integers], nar


def finite_words(name, n, rng):
    fmt = formats.get(name)
    lanes = 16 // fmt.bits
    codes = rng.choice(np.flatnonzero(~np.isnan(fmt.values)), size=(n, 2, lanes))
    return (codes << (np.arange(lanes) * fmt.bits)).sum(axis=-1), lanes


@pytest.mark.parametrize("name", SIMD_FORMATS)
def test_elements_for_one_format_add_up_exactly(bench, name):
    words, lanes = finite_words(name, 30, np.random.default_rng(3))
    found, nar = quires(bench, single_format(name, 4000), name, words, lanes=lanes)
    assert found == golden_quires(name, words, lanes)[0]
    assert not nar


def test_a_quire_for_a_number_of_terms_holds_that_many_of_the_largest_products(bench):
    element = single_format("posit4_1", 7)
    assert element.machine.quire_bits == 4 * 20
    words = np.full((7, 2), 0x7777)
    assert quires(bench, element, "posit4_1", words, lanes=4) == ([7 * 256 * 256] * 4, 0)


@pytest.mark.parametrize("name", ["fp4_e2m1", "posit16_1"])
def test_the_union_of_datapaths_adds_up_exactly(bench, name):
    words, lanes = finite_words(name, 30, np.random.default_rng(4))
    found, _ = quires(bench, UnionMac(SimdEngine(rows=1, cols=1)), name, words, lanes=lanes)
    assert found == golden_quires(name, words, lanes)[0]


@pytest.mark.parametrize(("element", "right"), [(SimdMac, True), (UncutMac, False)])
def test_negative_sums_of_neighbouring_lanes_keep_apart(bench, element, right):
    minus_one = formats.get("posit8_0").encode(np.array([-1.0, 1.0])).tolist()
    words = [tuple(257 * code for code in minus_one)] * 3
    found, _ = quires(bench, element(SimdEngine(rows=1, cols=1)), "posit8_0", words, lanes=2)
    assert (found == [-3 * 64 * 64] * 2) == right


def test_nar_in_the_upper_lane_poisons_the_sum(bench):
    words, lanes = finite_words("posit8_0", 4, np.random.default_rng(5))
    words[1, 0] = 0x8000 | words[1, 0] & 0x00FF
    assert quires(bench, SimdMac(SimdEngine(rows=1, cols=1)), "posit8_0", words, lanes=lanes)[1] == 1


def test_what_is_no_format_or_no_number_of_terms_is_refused():
    with pytest.raises(UnknownNameError, match=r"^unknown name 'posit8_1'|posit8_1"):
        single_format("posit8_1")
    with pytest.raises(InvalidValueError, match=r"^`n_terms` must be a positive integer, got 0$"):
        single_format("posit8_0", 0)
