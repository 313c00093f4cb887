"""K-sort: the order, inner products that stay equal (with a rotary embedding too), and the error that shrinks."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import formats
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators.blocks import k_sort, reference

SMALL = st.integers(-9, 9).map(float)


def pairs_of(channels, rotary):
    half = channels // 2
    return {
        None: [[c] for c in range(channels)],
        "halves": [[p, p + half] for p in range(half)],
        "interleaved": [[2 * p, 2 * p + 1] for p in range(half)],
    }[rotary]


def rotate(x, position, frequencies, rotary):
    """Rotary embedding of vectors (..., d_head), from its definition: every pair turned by position * frequency."""
    out = np.empty_like(x)
    for pair, frequency in zip(pairs_of(x.shape[-1], rotary), frequencies, strict=True):
        c, s = np.cos(position * frequency), np.sin(position * frequency)
        a, b = x[..., pair[0]], x[..., pair[1]]
        out[..., pair[0]], out[..., pair[1]] = c * a - s * b, s * a + c * b
    return out


@pytest.mark.parametrize("rotary", [None, "halves", "interleaved"])
@given(data=st.data())
def test_order_is_that_of_the_exact_norms(data, rotary):
    shape = (data.draw(st.integers(1, 3)), 2 * data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4)))
    w = data.draw(hnp.arrays(np.float32, shape, elements=SMALL))
    # the power of two keeps the division by the largest weight exact
    w[0, 0, 0] = 16.0
    members = pairs_of(shape[1], rotary)
    done = k_sort(w, w, rotary=rotary)
    groups = reference.k_sort_order(w, members=members)
    for head, order in enumerate(groups):
        new = pairs_of(shape[1], rotary)
        for p, old in enumerate(order):
            assert done.order[head, new[p]].tolist() == members[old]
        if rotary:
            assert done.frequencies[head].tolist() == order
    assert rotary or done.frequencies is None


@pytest.mark.parametrize("group", [1, 3])
@given(data=st.data())
def test_inner_products_are_sums_of_the_same_terms(data, group):
    """With integers, float64 is exact: q . k is equal to the last bit, whatever the order."""
    heads, channels, n = (data.draw(st.integers(1, 3)) for _ in range(3))
    w_k = data.draw(hnp.arrays(np.float64, (heads, channels, n), elements=SMALL))
    w_q = data.draw(hnp.arrays(np.float64, (heads * group, channels, n), elements=SMALL))
    x, y = data.draw(hnp.arrays(np.float64, (2, n), elements=SMALL))
    done = k_sort(w_k, w_q)
    for h in range(heads * group):
        before, after = (w_q[h] @ x) * (w_k[h // group] @ y), (done.w_q[h] @ x) * (done.w_k[h // group] @ y)
        assert sorted(before.tolist()) == sorted(after.tolist())
        assert before.sum() == after.sum()
    for head, order in enumerate(done.order):
        assert sorted(order.tolist()) == list(range(channels))
        np.testing.assert_array_equal(done.w_k[head], w_k[head, order])


def test_a_wrong_permutation_of_the_queries_would_be_seen():
    rng = np.random.default_rng(0)
    w_k, w_q = rng.integers(-9, 10, (2, 2, 8, 5)).astype(float)
    done, x, y = k_sort(w_k, w_q), *rng.integers(-9, 10, (2, 5)).astype(float)
    assert ((w_q[0] @ x) @ (w_k[0] @ y)) != ((w_q[0] @ x) @ (done.w_k[0] @ y))


@pytest.mark.parametrize("rotary", ["halves", "interleaved"])
@pytest.mark.parametrize("group", [1, 2])
def test_it_commutes_with_a_rotary_embedding(rotary, group):
    rng = np.random.default_rng(1)
    heads, channels, n = 2, 16, 24
    w_k, w_q = rng.normal(size=(heads, channels, n)), rng.normal(size=(heads * group, channels, n))
    frequencies = 10000.0 ** (-np.arange(channels // 2) * 2 / channels)
    done = k_sort(w_k, w_q, rotary=rotary)
    x, y = rng.normal(size=(2, n))
    for h in range(heads * group):
        head = h // group
        moved = frequencies[done.frequencies[head]]
        for i, j in ((0, 0), (5, 3), (1000, 17)):
            q, k = rotate(w_q[h] @ x, i, frequencies, rotary), rotate(w_k[head] @ y, j, frequencies, rotary)
            q2, k2 = rotate(done.w_q[h] @ x, i, moved, rotary), rotate(done.w_k[head] @ y, j, moved, rotary)
            np.testing.assert_array_equal(k2, k[done.order[head]])  # the same turns of the same numbers
            np.testing.assert_array_equal(q2, q[done.order[head]])
            wrong = rotate(done.w_k[head] @ y, j, frequencies, rotary)
            assert j == 0 or np.abs(wrong - k[done.order[head]]).max() > 1e-3


@pytest.mark.parametrize("rotary", [None, "halves", "interleaved"])
@pytest.mark.parametrize("block", [16, 32])
def test_outliers_cost_less_when_sorted(rotary, block):
    """A few channels are 30 times as large, scattered over the head: sorted, they share a block."""
    rng = np.random.default_rng(2)
    channels, n = 128, 64
    w_k = rng.normal(size=(1, channels, n))
    w_k[0, np.arange(5, channels, 32)] *= 30
    fmt, tokens = formats.block_format("bfp12", block=block), rng.normal(size=(n, 500))
    error = {}
    for name, w in (("plain", w_k), ("sorted", k_sort(w_k, w_k, rotary=rotary).w_k)):
        keys = (w[0] @ tokens).T
        small = np.abs(w[0]).max(axis=1) < 10
        error[name] = np.square((fmt.quantize(keys) - keys)[:, small]).mean()
    assert error["sorted"] < (0.8 if rotary == "halves" else 0.5) * error["plain"]


def test_one_block_for_the_head_gains_nothing():
    """A block as long as the head has the same elements in any order."""
    rng = np.random.default_rng(3)
    w_k = rng.normal(size=(1, 32, 8))
    fmt, token = formats.block_format("bfp12", block=32), rng.normal(size=8)
    done = k_sort(w_k, w_k)
    np.testing.assert_array_equal(fmt.quantize(done.w_k[0] @ token), fmt.quantize(w_k[0] @ token)[done.order[0]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtype_stays_and_inputs_too(dtype):
    w_k, w_q = np.random.default_rng(4).normal(size=(2, 2, 6, 3)).astype(dtype)
    before = w_k.tobytes(), w_q.tobytes()
    done = k_sort(w_k, w_q)
    assert done.w_k.dtype == done.w_q.dtype == dtype
    assert (w_k.tobytes(), w_q.tobytes()) == before
    assert done.order.dtype == np.int64
    same = k_sort(np.asfortranarray(w_k), w_q[::-1][::-1])
    np.testing.assert_array_equal(same.order, done.order)
    np.testing.assert_array_equal(same.w_q, done.w_q)


def test_equal_norms_keep_their_order():
    done = k_sort(np.ones((1, 5, 2)), np.ones((1, 5, 2)))
    assert done.order.tolist() == [[0, 1, 2, 3, 4]]
    assert k_sort(np.zeros((1, 4, 2)), np.zeros((1, 4, 2)), rotary="halves").order.tolist() == [[0, 1, 2, 3]]
    assert k_sort(np.zeros((1, 0, 2)), np.zeros((1, 0, 2))).order.shape == (1, 0)


SHAPES = "`w_k` and `w_q` must have shapes (key heads, d_head, d_model) and (a multiple of them, d_head, d_model), got "


@pytest.mark.parametrize(
    ("k", "q", "rotary", "error", "text"),
    [
        (np.ones((2, 4, 3)), np.ones((3, 4, 3)), None, InvalidValueError, SHAPES + "(2, 4, 3) and (3, 4, 3)"),
        (np.ones((4, 3)), np.ones((4, 3)), None, InvalidValueError, SHAPES + "(4, 3) and (4, 3)"),
        (np.ones((0, 4, 3)), np.ones((0, 4, 3)), None, InvalidValueError, SHAPES + "(0, 4, 3) and (0, 4, 3)"),
        (
            np.ones((1, 3, 3)),
            np.ones((1, 3, 3)),
            "halves",
            InvalidValueError,
            "`w_k` must have an even d_head where channels rotate in pairs, got 3",
        ),
        (
            np.ones((1, 4, 3)),
            np.ones((1, 4, 3)),
            "half",
            UnknownNameError,
            "unknown rotary 'half'; did you mean 'halves'?",
        ),
        (
            np.ones((1, 1, 2)),
            np.array([[[1.0, np.nan]]]),
            None,
            InvalidValueError,
            "`w_q` must be finite, got nan at index (0, 0, 1)",
        ),
    ],
)
def test_errors(k, q, rotary, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        k_sort(k, q, rotary=rotary)
