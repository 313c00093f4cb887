"""Learned tables: codes and gradients against the slow reference, proximal updates against a search, k-means."""

import re
from dataclasses import replace
from itertools import pairwise

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._kernels import CHUNK
from tetrit.estimators.grids import LearnedTable, reference

FLOATS = [np.float16, np.float32, np.float64]
ENTRIES = st.floats(-1000, 1000, width=16) | st.sampled_from([0.0, -0.0, 0.5, -1.5, 3.0])


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_everything_equals_the_reference(data, dtype):
    table = data.draw(st.lists(ENTRIES, min_size=2, max_size=9))
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
    middles = [(a + b) / 2 for a, b in pairwise(table)]
    exact = [float(dtype(m)) for m in middles]
    w = data.draw(hnp.arrays(dtype, shapes, elements=ENTRIES | st.sampled_from(exact)))
    g = data.draw(hnp.arrays(dtype, w.shape, elements=st.floats(-100, 100, width=16)))
    e = LearnedTable(table=tuple(table))
    q = e(w)
    codes = reference.table_codes(w, table=table)
    np.testing.assert_array_equal(q.codes, codes)
    assert (q.scale.shape, float(q.scale)) == ((), 1.0)
    np.testing.assert_array_equal(q.codes, formats.codebook(table).encode(w))
    np.testing.assert_array_equal(e.forward(w), np.array(table)[codes])
    np.testing.assert_array_equal(e.backward(w, g), g)
    gradient = e.parameter_gradients(w, g)["table"]
    assert gradient.tolist() == reference.table_gradient(w, g, table=table)
    strength = data.draw(st.sampled_from([0.0, 0.1, 0.5, 100.0]))
    for pull in ("l1", "l2"):
        moved = replace(e, pull=pull).proximal(w, strength)
        assert moved.dtype == dtype
        wanted = reference.proximal(w, table=table, strength=strength, quadratic=pull == "l2")
        np.testing.assert_array_equal(moved, wanted)
    assert list(e.refit(w).table) == reference.kmeans_step(w, table=table)


@pytest.mark.parametrize("entries", [2, 5, 256])
def test_long_rows_equal_the_reference(entries):
    rng = np.random.default_rng(entries)
    table = tuple(rng.normal(size=entries))  # in no order
    n = CHUNK + 77 if entries < 256 else 3001
    w, g = rng.normal(size=n).astype(np.float32), rng.normal(size=n).astype(np.float32)
    e = LearnedTable(table=table)
    np.testing.assert_array_equal(e(w).codes, formats.codebook(table).encode(w))
    if entries < 256:
        assert e.parameter_gradients(w, g)["table"].tolist() == reference.table_gradient(w, g, table=table)
    else:
        codes = e(w).codes
        wanted = [g[codes == k].sum(dtype=np.float64) for k in range(256)]
        np.testing.assert_allclose(e.parameter_gradients(w, g)["table"], wanted, rtol=1e-12, atol=1e-13)
        assert len(np.unique(codes)) > 200


def test_the_gradient_of_the_table_is_its_true_gradient():
    rng = np.random.default_rng(1)
    table = np.sort(rng.normal(size=7))
    middles = (table[1:] + table[:-1]) / 2
    w = rng.normal(size=400) * 2
    w = w[np.abs(w[:, None] - middles).min(axis=1) > 1e-4]
    g = rng.normal(size=w.size)
    gradient = LearnedTable(table=tuple(table)).parameter_gradients(w, g)["table"]
    h = 2.0**-20
    for k in range(7):
        up, down = table.copy(), table.copy()
        up[k] += h
        down[k] -= h
        slope = g @ (LearnedTable(table=tuple(up)).forward(w) - LearnedTable(table=tuple(down)).forward(w)) / (2 * h)
        assert gradient[k] == pytest.approx(slope, rel=1e-8, abs=1e-9)


def test_ties_and_equal_entries():
    e = LearnedTable(table=(0.0, 1.0, 2.0, 1.0, 4.0, 8.0))
    assert e(np.array([0.5, 1.5, 1.0, 3.0, 6.0])).codes.tolist() == [0, 2, 1, 2, 4]
    assert LearnedTable(table=(3.0, 1.0, 7.0, 2.0))(np.array([1.5])).codes.tolist() == [1]  # both odd: the lower
    assert LearnedTable(table=(2.0, 5.0, 1.0))(np.array([1.5])).codes.tolist() == [0]
    assert LearnedTable(table=(1.0, -1.0))(np.array([0.0, -0.0])).codes.tolist() == [0, 0]
    assert LearnedTable(table=(5.0, 1.0, 9.0, -1.0))(np.array([0.0, -0.0])).codes.tolist() == [1, 1]


@given(
    w=st.floats(-4, 4),
    table=st.lists(st.floats(-3, 3), min_size=2, max_size=5, unique=True),
    strength=st.floats(0, 3),
    pull=st.sampled_from(["l1", "l2"]),
)
def test_a_proximal_update_minimises(w, table, strength, pull):
    """The definition: argmin_u 1/2 (u - w)^2 + strength R(u), R the distance from the nearest entry of all."""

    def objective(u):
        distance = np.abs(u[:, None] - np.array(table)).min(axis=1)
        return 0.5 * (u - w) ** 2 + strength * (distance if pull == "l1" else 0.5 * distance**2)

    (moved,) = LearnedTable(table=tuple(table), pull=pull).proximal(np.array([w]), strength)
    tried = np.concatenate((np.linspace(-5, 5, 2001), table, [w, w - strength, w + strength]))
    assert objective(np.array([moved]))[0] <= objective(tried).min() + 1e-12


@pytest.mark.parametrize("pull", ["l1", "l2"])
def test_proximal_updates_end_on_the_table(pull):
    w = np.random.default_rng(2).normal(size=200)
    e = LearnedTable(table=(-1.0, -0.2, 0.3, 1.1), pull=pull, strength=0.125)
    codes = e(w).codes
    near = w
    for _ in range(400):
        before, near = near, e.after_step(near)
        assert (np.abs(near - e.forward(w)) <= np.abs(before - e.forward(w))).all()
    np.testing.assert_array_equal(e(near).codes, codes)
    np.testing.assert_allclose(near, e.forward(w), atol=0.0 if pull == "l1" else 1e-12)


def test_strength_follows_the_progress():
    e = LearnedTable(table=(-1.0, 1.0), strength=0.5)
    assert [e.at(p).strength for p in (-3, 0.0, 0.25, 1.0, 7)] == [0.0, 0.0, 0.125, 0.5, 0.5]
    w = np.array([0.5, -0.25])
    assert e.at(0.0).after_step(w).tolist() == [0.5, -0.25]
    assert not np.shares_memory(e.at(0.0).after_step(w), w)
    assert e.at(0.5).after_step(w).tolist() == [0.75, -0.5]
    assert e.after_step(w).tolist() == [1.0, -0.75]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_narrow_types_are_rounded_once(dtype):
    w = np.random.default_rng(3).normal(size=2000).astype(dtype)
    e = LearnedTable(table=(-1.0 / 3, 0.1, 2.0 / 3), pull="l2")
    exact = e.proximal(w.astype(np.float64), 0.3)
    moved = e.proximal(w, 0.3)
    assert moved.dtype == dtype
    np.testing.assert_array_equal(moved, exact.astype(dtype))


def test_fitting_lowers_the_error_round_by_round():
    w = np.random.default_rng(4).normal(size=3000)
    e = LearnedTable(table=tuple(np.linspace(-3, 3, 16)))

    def error(e):
        return float(((e.forward(w) - w) ** 2).sum())

    errors = [error(e)]
    for _ in range(8):
        e = e.refit(w)
        errors.append(error(e))
    assert all(b <= a for a, b in pairwise(errors))
    assert e.refit(w, rounds=3).table == e.refit(w).refit(w).refit(w).table


def test_start_is_near_the_best_quantiser_of_a_normal():
    """Max (1960): with 4 and 16 levels, the least mean squared error of a unit normal is 0.1175 and 0.009497."""
    w = np.random.default_rng(5).normal(size=200_000)
    for entries, best in ((4, 0.1175), (16, 0.009497)):
        e, latent = LearnedTable(entries=entries).start(w)
        np.testing.assert_array_equal(latent, w)
        assert len(e.table) == e.entries == entries
        assert best * 0.97 < float(((e.forward(w) - w) ** 2).mean()) < best * 1.1
        assert list(e.table) == sorted(e.table)


def test_few_values_are_kept_exactly():
    w = np.random.default_rng(6).choice([-0.75, 0.0, 0.1, 2.0], 500)
    e, _ = LearnedTable(entries=16).start(w)
    np.testing.assert_allclose(e.forward(w), w, rtol=1e-15)
    np.testing.assert_array_equal(LearnedTable(entries=16)(w).values, e(w).values)


def test_an_entry_without_members_stays():
    e = LearnedTable(table=(0.0, 1.0, 50.0))
    assert e.refit(np.array([0.25, 0.75, 1.25])).table == (0.25, 1.0, 50.0)
    assert e.parameter_gradients(np.array([0.25]), np.ones(1))["table"].tolist() == [1.0, 0.0, 0.0]


def test_learning_moves_weights_and_table_onto_a_target():
    rng = np.random.default_rng(7)
    target = rng.choice([-1.0, 0.25, 1.5], 300)
    e, w = LearnedTable(entries=3, pull="l2", strength=0.05).start(target + rng.normal(size=300) * 0.1)
    for step in range(200):
        grad = 2 * (e.forward(w) - target)
        table = np.array(e.table) - 0.1 * e.parameter_gradients(w, grad)["table"] / 100
        w = e.at(step / 200).after_step(w - 0.01 * e.backward(w, grad))
        e = replace(e, table=tuple(table))
    np.testing.assert_allclose(e.forward(w), target, atol=0.02)


def test_a_quantised_tensor_needs_nothing_but_itself():
    e = LearnedTable(table=(0.1, -0.3, 7.0))
    q = e(np.array([[0.0, -1.0], [5.0, 0.2]]))
    assert q.format == "codebook(0.1,-0.3,7.0)"
    assert formats.get(q.format).bits == 2
    np.testing.assert_array_equal(q.values, [[0.1, -0.3], [7.0, 0.1]])
    assert q.dequantize(np.empty((2, 2), np.float32)).tolist() == [
        [np.float32(0.1), np.float32(-0.3)],
        [7, np.float32(0.1)],
    ]


def test_overflow():
    w = np.array([1e308, 1e308, -1e308])
    text = "`w` must have a sum of magnitudes that float64 can hold, got an overflow"
    with pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$"):
        LearnedTable(entries=2).start(w)
    assert LearnedTable(table=(1e308, -1e308))(w).codes.tolist() == [0, 0, 1]
    with pytest.raises(InvalidValueError, match=r"^`rounds` must be a positive integer, got 0$"):
        LearnedTable(table=(0.0, 1.0)).refit(np.ones(2), rounds=0)
