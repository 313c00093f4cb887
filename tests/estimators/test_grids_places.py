"""Grids of few values: borders against the formats and against exact arithmetic; thresholds against the quotient."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import formats
from tetrit.estimators.grids import NUPES, POST, reference
from tetrit.estimators.grids import _places as places
from tetrit.estimators.grids._places import nearest_grid, thresholds
from tetrit.estimators.grids._quantile import magnitude_quantiles, rank

FINITE = st.floats(allow_nan=False, allow_infinity=False)
TAME = st.integers(-8, 8).map(lambda n: n / 4)


def place(grid, v):
    return int(np.searchsorted(grid.borders, v, side="left"))


@given(st.lists(FINITE | TAME, min_size=2, max_size=9), st.lists(FINITE | TAME, min_size=1, max_size=5))
def test_a_grid_rounds_as_the_codebook_and_as_exact_arithmetic(levels, numbers):
    levels = [level + 0.0 for level in levels]
    grid = nearest_grid(tuple(levels))
    middles = [a / 2 + b / 2 for a, b in zip(sorted(levels), sorted(levels)[1:], strict=False)]
    near = [f for m in middles for f in (np.nextafter(m, -np.inf), m, np.nextafter(m, np.inf))]
    book = formats.codebook(levels)
    for v in (*levels, *near, *numbers):
        code = grid.codes[place(grid, v)]
        assert code == reference.nearest_code(float(v), levels)
        assert code == book.encode(v)


@pytest.mark.parametrize("name", ["post4", "pot3z", "pot4z"])
def test_grids_of_formats_round_as_the_formats(name):
    fmt = formats.get(name)
    levels = fmt.values.copy()
    levels[levels.size // 2] = np.nan
    grid = nearest_grid(tuple(levels.tolist()))
    for border in grid.borders:
        v = np.array([border, np.nextafter(border, np.inf), np.nextafter(border, -np.inf)])
        np.testing.assert_array_equal([grid.codes[place(grid, x)] for x in v], fmt.encode(v))
    assert grid.values.size == 2**fmt.bits - 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(
    border=st.floats(-1e3, 1e3) | st.sampled_from([0.0, -5e-324, 5e-324, 1e-310, 1e300]),
    scale=st.floats(5e-324, 1e308) | st.sampled_from([5e-324, 1e-310, 1e-45, 1e-40, 1.0, 3e38, 1e308]),
)
def test_a_threshold_decides_as_the_quotient_does(border, scale, dtype):
    found = thresholds(np.array([border]), np.array([scale]), np.dtype(dtype))
    assert found.shape == (1, 4)
    assert found.dtype == dtype
    assert np.isinf(found[0, 1:]).all()
    t = found[0, 0]
    near = [t]
    with np.errstate(over="ignore", under="ignore"):
        for _ in range(3):
            near.append(np.nextafter(near[-1], dtype(np.inf)))
        for _ in range(3):
            near.insert(0, np.nextafter(near[0], dtype(-np.inf)))
    near += [dtype(0.0), dtype(-0.0), np.finfo(dtype).max, np.finfo(dtype).min, dtype(1.5), dtype(-1e-30)]
    for x in near:
        if np.isfinite(x):
            with np.errstate(over="ignore", under="ignore"):
                assert (x > t) == (np.float64(x) / scale > border)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.sampled_from([0.01, 0.25, 0.5, 0.7, 0.99, 1.0]))
def test_quantiles_equal_the_reference(numbers, quantile):
    row = np.array([numbers], np.float64)
    wanted = reference.quantile_magnitude([abs(float(n)) for n in numbers], quantile)
    assert magnitude_quantiles(row, quantile).tolist() == [wanted]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1000, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 300_001])
def test_rows_by_histogram_are_rows_sorted(n, dtype):
    rng = np.random.default_rng(n)
    rows = rng.normal(size=(2, n)).astype(dtype)
    rows[0] *= 10.0 ** rng.integers(-30, 30, n)
    rows[1, : n // 2] = rng.choice([0.0, -0.0, 1.5, -1.5], n // 2)
    ordered = np.sort(np.abs(rows), axis=1)
    for quantile in (1e-9, 0.1, 0.5, 0.99, 0.999999, 1.0):
        wanted = ordered[:, rank(quantile, n) - 1]
        np.testing.assert_array_equal(magnitude_quantiles(rows, quantile), wanted)


def test_many_rows_are_shared_out():
    rows = np.random.default_rng(0).normal(size=(700, 1500)).astype(np.float32)
    np.testing.assert_array_equal(magnitude_quantiles(rows, 0.3), np.sort(np.abs(rows), axis=1)[:, 449])


@pytest.mark.parametrize(
    ("quantile", "n", "wanted"), [(0.99, 100, 99), (0.99, 101, 100), (0.5, 3, 2), (1e-300, 5, 1), (1.0, 7, 7)]
)
def test_ranks(quantile, n, wanted):
    assert rank(quantile, n) == wanted


@pytest.mark.parametrize("e", [POST(axis=0), NUPES(bits=8, axis=0)], ids=lambda e: e.name)
def test_slabs_of_rows_give_the_bits_of_the_whole(e, monkeypatch):
    w = np.random.default_rng(1).standard_t(2, size=(101, 5)).astype(np.float32)
    values, codes = e.forward(w), e(w).codes
    for slab in (1, 300, 5000):
        monkeypatch.setattr(places, "_SLAB", slab)
        np.testing.assert_array_equal(e.forward(w), values)
        np.testing.assert_array_equal(e.forward(w, out=np.empty_like(w)), values.astype(np.float32))
        np.testing.assert_array_equal(e(w).codes, codes)
    np.testing.assert_array_equal(np.concatenate([e.forward(row[None]) for row in w]), values)


def test_many_short_rows_need_little_memory_beside_their_values():
    w = np.random.default_rng(2).normal(size=(30_000, 1)).astype(np.float32)
    e = POST(axis=0)
    e.forward(w[:10])
    for call in (e.forward, lambda w: e.forward(w, out=np.empty_like(w)), lambda w: e(w).codes):
        tracemalloc.start()
        call(w)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20e6  # a table of 256 entries a row would have 30 or 60 MB


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["post4", "pot3z", "pot4z"])
def test_many_values_on_a_grid_of_opposite_levels_are_those_of_the_codes(name, dtype, axis):
    e = POST(format=name, axis=axis)
    w = np.random.default_rng(5).normal(size=(2, places._LARGE // 2)).astype(dtype)
    w[1] *= 3
    for row, scale in zip(w, np.broadcast_to(e(w).scale.reshape(-1), 2), strict=True):  # few, so that no quantile moves
        borders = e._grid(np.ones(1))[0].borders
        at = thresholds(borders, np.array([scale]), w.dtype)[0, : borders.size]
        row[: 3 * at.size] = np.concatenate([np.nextafter(at, dtype(-9)), at, np.nextafter(at, dtype(9))])
        row[3 * at.size : 3 * at.size + 2] = [-0.0, 0.0]
    out = np.empty_like(w)
    assert e.forward(w, out=out).tobytes() == e(w).dequantize(np.empty_like(w)).tobytes()


def test_the_upper_half_of_a_grid_says_it_all_only_where_both_sides_agree():
    inf = np.inf
    below = np.nextafter(np.array([-3.0, -1.0]), -inf)
    limits = np.array([[*below, 1.0, 3.0]])
    levels = np.array([[-4.0, -2.0, 0.0, 2.0, 4.0]])
    found = places._upper_half(limits, levels, 4)
    assert found is not None
    np.testing.assert_array_equal(found[0], [[1.0, 3.0] + 6 * [inf]])
    np.testing.assert_array_equal(found[1], [[2.0, 4.0] + 6 * [0.0]])
    for changed in ([[-3.0, below[1], 1.0, 3.0]], [[*below, 1.0, 4.0]]):  # at -3 the inner level; another border
        assert places._upper_half(np.array(changed), levels, 4) is None
    for changed in ([[-4.0, -2.0, -0.0, 2.0, 4.0]], [[-4.0, -2.0, 1.0, 2.0, 4.0]], [[-4.0, -1.0, 0.0, 2.0, 4.0]],
                    [[-4.0, -0.0, 0.0, 0.0, 4.0]]):  # fmt: skip
        assert places._upper_half(limits, np.array(changed), 4) is None
    assert places._upper_half(limits[:, :3], levels, 3) is None
    assert places._upper_half(np.zeros((1, 20)), np.zeros((1, 21)), 18) is None
