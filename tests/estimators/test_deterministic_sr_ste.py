"""SR-STE: the N:M structure for every order of small groups, packing for the inner estimator, the decay of the rest."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import estimators, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators import STE, SZT, DenseShift, PowerOfTwo
from tetrit.estimators.deterministic import SRSTE, ReSTE, n_of_m_mask, reference

FLOATS = [np.float16, np.float32, np.float64]
SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=7)


@pytest.mark.parametrize("m", range(1, 7))
def test_every_order_of_a_group_with_every_tie(m):
    ranks = np.array(list(itertools.product(range(m), repeat=m)), np.float64).T  # every weak order is among these
    w = ranks * np.random.default_rng(m).choice([-1.0, 1.0], ranks.shape)  # zeros of both signs, too
    for n in range(1, m + 1):
        mask = n_of_m_mask(w, n=n, m=m)
        assert (mask.sum(axis=0) == n).all()
        for i, j in itertools.permutations(range(m), 2):
            assert not (mask[j] & ~mask[i] & (ranks[i] > ranks[j])).any()
            if i < j:
                assert not (mask[j] & ~mask[i] & (ranks[i] == ranks[j])).any()


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data(), m=st.integers(1, 5))
def test_mask_equals_the_reference(data, m, dtype):
    n = data.draw(st.integers(1, m))
    elements = st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.0]) | st.floats(-100, 100, width=16)
    w = data.draw(hnp.arrays(dtype, SHAPES, elements=elements))
    along = data.draw(st.integers(-w.ndim, w.ndim - 1))
    mask = n_of_m_mask(w, n=n, m=m, along=along)
    np.testing.assert_array_equal(mask, reference.n_of_m_mask(w, n=n, m=m, along=along))
    groups, rest = divmod(w.shape[along], m)
    assert (mask.sum(axis=along) == groups * n + min(rest, n)).all()


def test_a_later_tie_would_be_caught():
    w = np.ones((4, 1))
    flipped = reference.n_of_m_mask(w[::-1], n=2, m=4)[::-1]
    assert (n_of_m_mask(w) != flipped).any()


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data(), decay=st.sampled_from([0.0, 2e-4, 0.5]))
def test_with_ste_it_is_the_formula_of_the_source(data, decay, dtype):
    shape = data.draw(st.tuples(st.integers(0, 9), st.integers(0, 3)))
    w = data.draw(hnp.arrays(dtype, shape, elements=st.floats(-8, 8, width=16)))
    g = data.draw(hnp.arrays(dtype, shape, elements=st.floats(-8, 8, width=16)))
    e = SRSTE(decay=decay)
    mask = reference.n_of_m_mask(w, n=2, m=4)
    dense = g.astype(np.float64) + decay * (1.0 - mask) * w.astype(np.float64)
    np.testing.assert_array_equal(e.backward(w, g), dense.astype(dtype))
    np.testing.assert_array_equal(e.mask(w), mask)
    np.testing.assert_array_equal(e(w).values, STE()(w * mask).values)  # the largest |w| is always kept


@pytest.mark.parametrize("inner", [STE(format="int4", axis=1), SZT(axis=-1), PowerOfTwo(lam=0.7), ReSTE()])
@pytest.mark.parametrize("along", [0, -2])
def test_the_inner_estimator_sees_the_packed_weights(inner, along):
    w, g = np.random.default_rng(0).normal(size=(2, 14, 5)).astype(np.float32)
    e = SRSTE(inner=inner, along=along)
    mask = reference.n_of_m_mask(w, n=2, m=4)
    packed = np.stack([w[mask[:, k], k] for k in range(5)], axis=1)
    packed_g = np.stack([g[mask[:, k], k] for k in range(5)], axis=1)
    assert packed.shape == (8, 5)
    q, wanted = e(w), inner(packed)
    np.testing.assert_array_equal(q.scale, wanted.scale)
    assert (q.values[~mask] == 0).all()
    forward, gradient = e.forward(w), e.backward(w, g)
    for k in range(5):
        kept = mask[:, k]
        np.testing.assert_array_equal(q.codes[kept, k], wanted.codes[:, k])
        np.testing.assert_array_equal(forward[kept, k], inner.forward(packed)[:, k])
        np.testing.assert_array_equal(gradient[kept, k], inner.backward(packed, packed_g)[:, k])
    assert (forward[~mask] == 0).all()
    pruned = (g.astype(np.float64) + 2e-4 * w.astype(np.float64)).astype(np.float32)[~mask]
    np.testing.assert_array_equal(gradient[~mask], pruned)


def test_groups_along_another_axis():
    w, g = np.random.default_rng(1).normal(size=(2, 6, 8))
    e, turned = SRSTE(inner=SZT(axis=1)), SRSTE(inner=SZT(axis=0), along=1)
    np.testing.assert_array_equal(turned(w.T).codes, e(w).codes.T)
    np.testing.assert_array_equal(turned(w.T).scale, e(w).scale.T)
    np.testing.assert_array_equal(turned.backward(w.T, g.T), e.backward(w, g).T)


def test_decay_shrinks_pruned_weights_and_leaves_kept_ones():
    w = np.random.default_rng(2).normal(size=(8, 3))
    e = SRSTE(decay=0.1)
    mask = e.mask(w)
    latent = w.copy()
    for _ in range(50):
        latent -= e.backward(latent, np.zeros_like(latent))
    np.testing.assert_array_equal(latent[mask], w[mask])
    np.testing.assert_allclose(latent[~mask], w[~mask] * 0.9**50, rtol=1e-12)


def test_start_and_schedule_reach_the_inner_estimator():
    w = np.random.default_rng(3).normal(size=(8, 3))
    e, latent = SRSTE(inner=PowerOfTwo(lam=0.5)).start(w)
    np.testing.assert_array_equal(latent, w)
    assert e.at(0.5).inner == PowerOfTwo(lam=0.25)
    assert SRSTE().at(0.5) == SRSTE()


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"m": 0}, InvalidValueError, "`m` must be a positive integer, got 0"),
        ({"n": 5}, InvalidValueError, "`n` must be an integer from 1 to 4, got 5"),
        ({"n": 0}, InvalidValueError, "`n` must be an integer from 1 to 4, got 0"),
        ({"decay": -1.0}, InvalidValueError, "`decay` must be at least 0, got -1"),
        ({"along": None}, TypeError, "`along` must be an integer, got None"),
        ({"inner": "ste"}, TypeError, "`inner` must be an estimator, got 'ste'"),
    ],
)
def test_bad_parameters(params, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        SRSTE(**params)


@pytest.mark.parametrize(
    ("shape", "along", "text"),
    [
        ((4,), 1, "`along` must be from -1 to 0 for an array of 1 dimensions, got 1"),
        ((4, 2), -3, "`along` must be from -2 to 1 for an array of 2 dimensions, got -3"),
        ((), 0, "`w` must have at least one dimension, to hold groups"),
    ],
)
def test_no_such_axis(shape, along, text):
    with pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$"):
        SRSTE(along=along)(np.ones(shape))


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        (PowerOfTwo(format="pot3"), "`inner` must have a format with a zero, got 'pot3'"),
        (STE(axis=0), "`inner` must not have a scale that varies along axis 0"),
        (
            DenseShift(format="pot3"),
            "`inner` must train on a latent of the shape of the weights, got "
            "DenseShift(format='pot3', scale=1.0, clip=inf)",
        ),
    ],
)
def test_inner_estimators_that_do_not_fit(inner, text):
    with pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$"):
        SRSTE(inner=inner)(np.ones((8, 3)))


def test_an_inner_estimator_with_another_latent_cannot_start():
    with pytest.raises(InvalidValueError, match=r"^`inner` must train on a latent of the shape of the weights, got "):
        SRSTE(inner=DenseShift()).start(np.ones((8, 3)))


def test_the_pruned_code_is_the_first_zero_of_the_format():
    q = SRSTE(inner=SZT())(np.array([[1.0], [1.0], [-0.1], [-0.1]]))
    assert formats.get(q.format).values[q.codes[2:, 0]].tolist() == [0.0, 0.0]
    assert q.codes[2:, 0].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        ("block", "`inner` must not share scales among blocks, got BlockQuantizer("),
        ("stochastic_rounding", "`inner` must not draw at random, got StochasticRounding("),
        ("lsq", "`inner` must not learn step, got LSQ("),
        ("denseshift", "`inner` must train on a latent of the shape of the weights, got DenseShift("),
        ("qkr", "`inner` must train on a latent of the shape of the weights, got QKR("),
    ],
)
def test_inner_estimators_of_other_families_that_do_not_fit(inner, text):
    with pytest.raises(InvalidValueError, match="^" + re.escape(text)):
        SRSTE(inner=estimators.get(inner))


def test_a_scale_along_the_groups_is_refused_everywhere():
    e = SRSTE(inner=STE(axis=0), along=0)
    w = np.ones((8, 4))
    for call in (e, e.forward, e.start, lambda w: e.backward(w, w)):
        with pytest.raises(InvalidValueError, match=r"^`inner` must not have a scale that varies along axis 0$"):
            call(w)


def test_kept_weights_move_after_the_step():
    w = np.array([6.0, 1.0, 2.0, 3.0], np.float32)
    bent = estimators.get("tanh_clip").after_step(w[[0, 3]])
    moved = SRSTE(inner=estimators.get("tanh_clip")).after_step(w)
    np.testing.assert_array_equal(moved, [bent[0], 1.0, 2.0, bent[1]])
    assert moved.dtype == np.float32
    np.testing.assert_array_equal(SRSTE().after_step(w), w)


def test_float16_gradients_are_rounded_once():
    rng = np.random.default_rng(0)
    w, g = rng.normal(size=4000), rng.normal(size=4000).astype(np.float16)
    e = SRSTE(n=4, m=4, inner=ReSTE())
    np.testing.assert_array_equal(e.backward(w, g), e.inner.backward(w, g))
