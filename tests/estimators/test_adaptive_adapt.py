"""AdaPT: fixed-point codes against rational arithmetic, and the rules by which its precision switches."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators.adaptive import (
    AdaPT,
    SwitchRule,
    gradient_diversity,
    histogram_divergence,
    next_lookback,
    push_down,
    push_up,
    reference,
    switch,
)
from tetrit.estimators.adaptive.adapt import MAX_FRACTION, integer_bits
from tetrit.estimators.stochastic import reference as stochastic


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("word", "fraction"), [(2, 0), (4, 2), (8, 6), (8, -3), (12, 14), (16, 10)])
def test_nearest_is_rational_arithmetic(dtype, word, fraction, same):
    w = (np.random.default_rng(0).normal(size=(7, 30)) * 2.0 ** (word - fraction - 2)).astype(dtype)
    w[0, :4] = [0.0, -0.0, 0.5 * 2.0**-fraction, -1.5 * 2.0**-fraction]  # ties
    e = AdaPT(word_length=word, fraction_length=fraction)
    q = e(w)
    codes = reference.adapt_forward(w, word=word, fraction=fraction)
    same(q, codes, {None: 2.0**-fraction}, None)
    assert q.format == f"int{word}"
    signed = np.where(codes >= 2 ** (word - 1), codes - 2**word, codes)
    np.testing.assert_array_equal(e.forward(w), signed * 2.0**-fraction)


@pytest.mark.parametrize(("word", "fraction"), [(3, 1), (8, 6), (16, 12)])
def test_stochastic_is_rational_arithmetic(word, fraction, same):
    w = np.random.default_rng(1).normal(size=(5, 400)).astype(np.float32)
    e = AdaPT(word_length=word, fraction_length=fraction, rounding="stochastic")
    draws = stochastic.uniform_draws(np.random.default_rng(9), w.shape)
    wanted = reference.adapt_forward(w, word=word, fraction=fraction, draws=draws)
    same(e(w, rng=np.random.default_rng(9)), wanted, {None: 2.0**-fraction}, None)
    same(e(np.asfortranarray(w), rng=np.random.default_rng(9)), wanted, {None: 2.0**-fraction}, None)


def test_stochastic_rounding_is_unbiased_and_nearest_is_not():
    w = np.full(20000, 0.3)
    rough = {"word_length": 4, "fraction_length": 0}
    mean = AdaPT(rounding="stochastic", **rough).forward(w).mean()
    assert abs(mean - 0.3) < 4 * math.sqrt(0.21 / w.size)
    assert AdaPT(**rough).forward(w).mean() == 0.0


def test_the_gradient_is_the_identity_even_where_weights_saturate():
    e = AdaPT(word_length=3, fraction_length=1)
    w, g = np.array([-50.0, 0.2, 50.0]), np.array([1.0, -2.0, 3.0])
    assert e(w).values.tolist() == [-2.0, 0.0, 1.5]
    got = e.backward(w, g)
    assert got.tolist() == g.tolist()
    assert not np.shares_memory(got, g)


@settings(max_examples=150)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=6), st.integers(2, 16))
def test_the_automatic_fraction_covers_every_weight(values, word):
    """No weight is off by more than one step (half, but for the one code that +2^(WL-1) would need)."""
    w = np.array(values)
    e = AdaPT(word_length=word)
    q = e(w)
    assert np.isfinite(q.values).all()
    largest = np.abs(w).max(initial=0.0)
    if 2.0**-1000 < largest < 2.0**1023:
        assert 2.0 ** (integer_bits(w) - 1) <= largest < 2.0 ** integer_bits(w)
        assert (np.abs(q.values - w) <= q.scale).all()
        assert largest >= float(q.scale) * 2.0 ** (word - 2)  # no bit is wasted
    begun, latent = e.start(w)
    assert begun.fraction_length == word - 1 - integer_bits(w)
    np.testing.assert_array_equal(begun(latent).codes, q.codes)


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"word_length": 1}, InvalidValueError, "`word_length` must be an integer from 2 to 16, got 1"),
        ({"word_length": 17}, InvalidValueError, "`word_length` must be an integer from 2 to 16, got 17"),
        ({"word_length": 8.0}, TypeError, "`word_length` must be an integer, got 8.0"),
        (
            {"fraction_length": 1023},
            InvalidValueError,
            "`fraction_length` must be an integer from -1016 to 1022, got 1023",
        ),
        ({"rounding": "floor"}, UnknownNameError, "unknown rounding 'floor'; known: nearest, stochastic"),
        ({"seed": -1}, InvalidValueError, "`seed` must be a non-negative integer, got -1"),
    ],
)
def test_bad_parameters(params, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        AdaPT(**params)


# --- divergence and diversity ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("bins", [1, 2, 7, 50])
def test_divergence_reference(dtype, bins):
    rng = np.random.default_rng(2)
    w = rng.normal(size=(3, 200)).astype(dtype)
    for values in (w, AdaPT(word_length=4).forward(w), AdaPT(word_length=9).forward(w), 3 * w, np.zeros_like(w)):
        got = histogram_divergence(w, values, bins=bins)
        assert got == reference.histogram_divergence(w, values, bins=bins)


def test_divergence_over_more_than_one_chunk():
    w = np.random.default_rng(3).normal(size=70000)
    values = AdaPT(word_length=6).forward(w)
    assert histogram_divergence(w, values) == reference.histogram_divergence(w, values, bins=50)


@settings(max_examples=100)
@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20), st.integers(1, 30), st.integers(0, 2**32))
def test_divergence_is_that_of_distributions(values, bins, seed):
    w = np.array(values)
    mixed = np.random.default_rng(seed).permutation(w)
    assert histogram_divergence(w, mixed, bins=bins) == 0.0
    assert histogram_divergence(w, mixed / 3, bins=bins) >= 0.0


def test_divergence_knows_what_the_bins_lost():
    assert histogram_divergence(np.array([1.0, -1.0]), np.array([1.0, 0.0]), bins=4) == math.inf
    assert histogram_divergence(np.array([1.0, -1.0]), np.array([1.0, 1.0]), bins=4) == pytest.approx(math.log(2))
    assert histogram_divergence(np.zeros(0), np.zeros(0)) == 0.0
    assert histogram_divergence(np.zeros(3), np.full(3, -0.0)) == 0.0
    with pytest.raises(InvalidValueError, match=r"^`values` must have as many elements as `w`, 3, got 2$"):
        histogram_divergence(np.zeros(3), np.zeros(2))
    with pytest.raises(InvalidValueError, match=r"^`w` must be finite, got nan at index \(1,\)$"):
        histogram_divergence(np.array([1.0, np.nan]), np.zeros(2))
    with pytest.raises(InvalidValueError, match=r"^`values` must be finite, got inf at index \(0,\)$"):
        histogram_divergence(np.zeros(1), np.array([np.inf]))


def test_diversity_reference_and_its_ends():
    rng = np.random.default_rng(4)
    stack = rng.normal(size=(7, 4, 9)).astype(np.float32)
    assert gradient_diversity(stack) == pytest.approx(reference.gradient_diversity(list(stack)), rel=1e-12)
    g = rng.normal(size=30)
    assert gradient_diversity([g, 2 * g, 3 * g]) == pytest.approx(1.0, rel=1e-14)
    assert gradient_diversity([g, -g]) == math.inf
    assert gradient_diversity([np.zeros(3)]) == math.inf
    assert gradient_diversity([np.eye(4)[k] for k in range(4)]) == pytest.approx(2.0)  # orthogonal: sqrt(n)


@settings(max_examples=60)
@given(st.integers(1, 6), st.integers(1, 20), st.integers(0, 2**32), st.sampled_from([1e-300, 1.0, 1e300]))
def test_diversity_is_at_least_one_at_any_scale(n, size, seed, scale):
    stack = np.random.default_rng(seed).normal(size=(n, size))
    plain = gradient_diversity(stack)
    assert plain >= 1.0 - 1e-14
    assert gradient_diversity(stack * scale) == pytest.approx(plain, rel=1e-10)


def test_bad_gradients():
    with pytest.raises(InvalidValueError, match=r"^`gradients` must have at least one array, got none$"):
        gradient_diversity([])
    with pytest.raises(InvalidValueError, match=r"^`gradients\[1\]` must have shape \(2,\), got \(3,\)$"):
        gradient_diversity([np.ones(2), np.ones(3)])
    with pytest.raises(InvalidValueError, match=r"^`gradients\[0\]` must be finite, got nan at index \(0,\)$"):
        gradient_diversity([np.array([np.nan])])


# --- switching -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [1e-4, 0.3, 1.0, 500.0])
@pytest.mark.parametrize(("bins", "threshold"), [(10, 0.0), (20, 0.05), (50, 0.01)])
def test_push_down_reference(spread, bins, threshold):
    w = np.random.default_rng(5).normal(0.0, spread, size=300).astype(np.float32)
    got = push_down(w, rule=SwitchRule(bins=bins, threshold=threshold, max_word=12))
    assert got == reference.push_down(w, bins=bins, threshold=threshold, low=2, high=12)


def test_push_down_takes_the_least_word_that_is_good_enough():
    w = np.random.default_rng(6).normal(size=5000)
    rule = SwitchRule(threshold=0.01)
    word, fraction = push_down(w, rule=rule)
    assert 2 < word < 16
    kept = AdaPT(word_length=word, fraction_length=fraction)
    fewer = AdaPT(word_length=word - 1, fraction_length=fraction - 1)
    assert histogram_divergence(w, kept.forward(w)) <= 0.01 < histogram_divergence(w, fewer.forward(w))
    assert push_down(w, rule=SwitchRule(threshold=1e-12, max_word=6)) == (6, fraction - word + 6)
    assert push_down(4 * w, rule=rule) == (word, fraction - 2)  # a power of two moves the point only


def test_push_down_of_nothing_and_of_what_is_already_low():
    assert push_down(np.zeros(5)) == (2, 1)
    assert push_down(np.zeros((0, 3))) == (2, 1)
    assert push_down(np.array([-1.0, 0.0, 1.0, 1.0])) == (2, 0)
    assert push_down(np.array([-2.0, -1.0, 0.0, 1.0]), rule=SwitchRule(bins=9)) == (3, 0)
    assert push_down(np.full(4, 1.5)) == (3, 1)  # 1 would fill a bin that 1.5 leaves empty


@pytest.mark.parametrize("strategy", ["min", "mean", "max"])
def test_push_up_reference(strategy):
    rule = SwitchRule(strategy=strategy)
    for word in range(2, 17):
        for fraction in (-40, -4, 0, 3, word - 2, word - 1, word, word + 5, word + 300, 1020, 1022):
            for diversity in (0.5, 1.0, math.e, 2.75, 3.5, 4.5, 7.0, 30.0, 1e9, math.inf):
                got = push_up(word, fraction, diversity, rule=rule)
                assert got == reference.push_up(word, fraction, diversity, strategy=strategy, high=16, buffer=4)


def test_push_up_by_hand():
    assert push_up(6, 4, 1.5) == (9, 5)  # l < 0: one bit; buffer of 4 in front
    assert push_up(6, 4, math.inf) == (9, 5)
    # d = e^1.5: l = 1/2, s1 = 4, s2 = 4 - 4 = 0
    assert push_up(6, 4, math.exp(1.5)) == (8, 4)
    assert push_up(6, 4, math.exp(1.5), rule=SwitchRule(strategy="max")) == (12, 8)
    assert push_up(6, 4, math.exp(1.5), rule=SwitchRule(strategy="mean")) == (10, 6)
    assert push_up(16, 12, 1.0) == (16, 12)  # nowhere to go
    assert push_up(16, 15, 1.0) == (16, 15)  # the buffer gives way, not the fraction
    # 2^-11 of the weights of (10, 9): the same word, 11 places further down
    assert (push_up(10, 9, 1.5), push_up(10, 20, 1.5)) == ((14, 10), (14, 21))


@settings(max_examples=300)
@given(
    st.integers(2, 16),
    st.integers(-40, MAX_FRACTION),
    st.floats(0.5, 1e3) | st.just(math.inf),
    st.sampled_from(["min", "mean", "max"]),
    st.integers(0, 15),
    st.data(),
)
def test_push_up_gives_up_no_bit(word, fraction, diversity, strategy, buffer, data):
    rule = SwitchRule(strategy=strategy, buffer_bits=buffer, max_word=data.draw(st.integers(max(word, buffer + 1), 16)))
    got_word, got_fraction = push_up(word, fraction, diversity, rule=rule)
    assert fraction <= got_fraction <= MAX_FRACTION
    assert got_word - got_fraction >= word - fraction  # no weight that fitted saturates now
    assert word <= got_word <= rule.max_word
    down = data.draw(st.integers(0, 900))
    if fraction >= word - 1 and fraction + down <= 1000:
        assert push_up(word, fraction + down, diversity, rule=rule) == (got_word, got_fraction + down)


def test_lookback_stays_in_its_range_and_falls_with_disagreement():
    rule = SwitchRule()
    for old in (10, 37, 100):
        values = [next_lookback(old, d, rule=rule) for d in (1.0, 1.5, 3.0, 9.0, 1e6, math.inf)]
        assert values == sorted(values, reverse=True)
        assert all(10 <= v <= 100 for v in values)
    assert next_lookback(50, 2.0, rule=SwitchRule(momentum=1.0)) == 50
    assert next_lookback(80, 2.0, rule=SwitchRule(momentum=0.0)) == 80


def test_switch_is_down_then_up_and_keeps_the_rest():
    rng = np.random.default_rng(7)
    w, gradients = rng.normal(size=(30, 40)), rng.normal(size=(12, 30, 40))
    old = AdaPT(word_length=16, rounding="stochastic", seed=5)
    new = switch(old, w, gradients)
    word, fraction = push_up(*push_down(w), gradient_diversity(gradients))
    assert new == AdaPT(word_length=word, fraction_length=fraction, rounding="stochastic", seed=5)
    assert switch(old, w, gradients) == new
    assert old.word_length == 16
    # gradients that agree ask for one bit at a time, those that cancel for more
    same = switch(old, w, [gradients[0]] * 5)
    assert (same.word_length, same.fraction_length) == push_up(*push_down(w), 1.0)
    with pytest.raises(TypeError, match=r"^`estimator` must be an AdaPT, got 3$"):
        switch(3, w, gradients)


def test_a_switch_of_small_weights_keeps_their_precision():
    rng = np.random.default_rng(0)
    w = rng.normal(size=20000) * 1e-4
    word, fraction = push_down(w)
    assert fraction > word  # the word begins behind the binary point
    new = switch(AdaPT(word_length=16), w, rng.normal(size=(20, 20000)))
    assert new.fraction_length >= fraction
    dead = np.count_nonzero(new(w).values == 0)
    assert dead <= np.count_nonzero(AdaPT(word_length=word, fraction_length=fraction)(w).values == 0) < 0.05 * w.size


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from(["min", "mean", "max"]),
    st.sampled_from([1e-6, 1e-4, 1e-3, 0.05]),
    st.integers(1, 900),
    st.sampled_from([0.0, 0.6, 3.0]),
)
def test_a_power_of_two_moves_the_point_only(seed, strategy, threshold, k, common):
    rng = np.random.default_rng(seed)
    w = np.clip(rng.normal(size=400) * 0.25, -0.99, 0.99)
    gradients = rng.normal(size=(15, 400)) + common
    rule = SwitchRule(strategy=strategy, threshold=threshold)
    e = switch(AdaPT(), w, gradients, rule=rule)
    small = switch(AdaPT(), w * 2.0**-k, gradients * 2.0**-k, rule=rule)
    assert (small.word_length, small.fraction_length) == (e.word_length, e.fraction_length + k)
    np.testing.assert_array_equal(small.forward(w * 2.0**-k), e.forward(w) * 2.0**-k)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1e-4, 1e-2, 0.3]), st.integers(-30, 30), st.integers(0, 12))
def test_no_weight_is_off_by_more_after_push_up(seed, threshold, k, buffer):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=300) * 2.0**k
    rule = SwitchRule(threshold=threshold, buffer_bits=buffer)
    word, fraction = push_down(w, rule=rule)
    before = AdaPT(word_length=word, fraction_length=fraction).forward(w)
    after = switch(AdaPT(), w, rng.normal(size=(9, 300)), rule=rule).forward(w)
    assert (np.abs(after - w) <= np.abs(before - w)).all()


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"bins": 0}, InvalidValueError, "`bins` must be a positive integer, got 0"),
        ({"threshold": -1.0}, InvalidValueError, "`threshold` must be at least 0, got -1"),
        ({"strategy": "mode"}, UnknownNameError, None),
        ({"min_word": 9, "max_word": 8}, InvalidValueError, "`max_word` must be an integer from 9 to 16, got 8"),
        ({"max_word": 4, "buffer_bits": 4}, InvalidValueError, "`buffer_bits` must be an integer from 0 to 3, got 4"),
        ({"min_lookback": 200}, InvalidValueError, "`max_lookback` must be an integer of at least 200, got 100"),
        ({"momentum": 1.5}, InvalidValueError, "`momentum` must be from 0 to 1, got 1.5"),
    ],
)
def test_bad_rules(params, error, text):
    pattern = r"^unknown strategy 'mode'; .*$" if text is None else "^" + re.escape(text) + "$"
    with pytest.raises(error, match=pattern):
        SwitchRule(**params)
