"""The digits of the quires on Amaranth's simulator: carries, borrows and changes of sign at every border."""

import itertools

import numpy as np
import pytest

from tetrit.rtl.simd.accumulator import QuireAccumulator, digit_borders
from tetrit.rtl.simd.mac import SimdMac
from tetrit.verify.suites.simd_broken import UncutMac

SLOTS = {1: (0,), 2: (0, 2), 4: (0, 1, 2, 3)}
QUIRE_BITS = 128


def magnitudes(width, n, rng):
    """Return products of one lane: few bits anywhere, those beside a digit's border, ones below it, and zeros."""
    reach = width - 12
    sizes = rng.integers(0, 2**26, n).astype(object) << rng.integers(0, max(1, reach - 26), n).astype(object)
    border = rng.integers(0, reach, n).astype(object)
    near = [0, *(size for border in (0, 6, 10, 16) for size in (2**border - 1, 2**border))]
    some = [1 << int(place) for place in border]
    ones = [(1 << int(place)) - 1 for place in border]
    kinds = rng.integers(0, 4, n)
    picked = rng.integers(0, len(near), n)
    limit = (1 << reach) - 1
    return [int((int(sizes[i]), some[i], ones[i], near[picked[i]])[kinds[i]]) & limit for i in range(n)]


def sums(lanes, n_sums, rng):
    """Return rows of inputs, and the value of each sum by the number of its last row."""
    width = QUIRE_BITS // lanes
    flags = {"one": lanes == 1, "two": lanes == 2, "four": lanes == 4}
    rows, wanted = [], {}
    for _ in range(n_sums):
        n = int(rng.integers(1, 9))
        parts = [magnitudes(width, n, rng) for _ in range(lanes)]
        signs = rng.integers(0, 2, (n, lanes))
        if rng.random() < 0.5:  # about zero: what was added is taken away again, one more or less
            for lane in range(lanes):
                parts[lane][1::2] = [max(0, size + int(rng.integers(-1, 2))) for size in parts[lane][: n // 2 * 2 : 2]]
            signs[1::2] = 1 - signs[: n // 2 * 2 : 2]
        totals = [0] * lanes
        for index in range(n):
            while rng.random() < 0.1:
                rows.append({"lanes": flags, "step": 0, "last": 1, "magnitude": 5, "negative": 15})
            magnitude, negative = 0, 0
            for lane, slot in enumerate(SLOTS[lanes]):
                size, sign = parts[lane][index], int(signs[index, lane])
                magnitude |= size << (lane * width)
                negative |= sign << slot
                totals[lane] += -size if sign else size
            last = int(index == n - 1)
            rows.append({"lanes": flags, "step": 1, "last": last, "magnitude": magnitude, "negative": negative})
        wanted[len(rows) - 1] = sum((total % (1 << width)) << (lane * width) for lane, total in enumerate(totals))
    return rows, wanted


def wrong(bench, accumulator, rows, wanted):
    found = bench.clocked(accumulator, rows, lambda c, d: c.get(d.total))
    return [row for row, total in wanted.items() if found[row] != total]


@pytest.mark.parametrize("gating", [True, False])
@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_sums_about_zero_and_at_borders_are_those_of_integers(bench, lanes, gating):
    rows, wanted = sums(lanes, 30, np.random.default_rng(lanes))
    accumulator = QuireAccumulator(QUIRE_BITS, ("one", "two", "four"), SimdMac.joined, gating=gating)
    assert wrong(bench, accumulator, rows, wanted) == []


def test_lanes_that_are_not_cut_are_found(bench):
    rows, wanted = sums(2, 30, np.random.default_rng(2))
    accumulator = QuireAccumulator(QUIRE_BITS, ("one", "two", "four"), UncutMac.joined, gating=True)
    assert 0 < len(wrong(bench, accumulator, rows, wanted)) < len(wanted)


@pytest.mark.parametrize(("kinds", "lanes"), [(("one",), 1), (("two",), 2), (("four",), 4)])
def test_an_accumulator_for_one_number_of_lanes_adds_up(bench, kinds, lanes):
    rows, wanted = sums(lanes, 12, np.random.default_rng(7))
    accumulator = QuireAccumulator(QUIRE_BITS, kinds, SimdMac.joined, gating=True)
    assert wrong(bench, accumulator, rows, wanted) == []


def test_other_borders_add_up_too(bench):
    rows, wanted = sums(4, 12, np.random.default_rng(8))
    kinds = ("one", "two", "four")
    accumulator = QuireAccumulator(QUIRE_BITS, kinds, SimdMac.joined, gating=True, borders=(1, 5, 13))
    assert wrong(bench, accumulator, rows, wanted) == []


@pytest.mark.parametrize("segments", [1, 2, 4])
@pytest.mark.parametrize("width", [2, 8, 9, 16, 17, 20, 32, 33, 100, 256])
def test_digits_cover_a_segment_and_none_is_too_wide(width, segments):
    borders = digit_borders(width, segments)
    assert borders[0] == 0
    assert borders[-1] == width
    assert all(0 < high - low <= 16 for low, high in itertools.pairwise(borders))
    assert segments < 4 or width <= 16 or borders[1:4] == (6, 10, 16)
