"""Gaussian weight sampling: frequencies against exact probabilities, blocks against the slow reference, schedule."""

import math
import re
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import estimators
from tetrit.errors import InvalidValueError
from tetrit.estimators.stochastic import GaussWS, noise_probability, reference

CHI_SQUARE_LIMIT = 23.5127  # four degrees of freedom, exceeded with probability 1e-4


def chi_square(noise):
    """Of the classes <= -2, -1, 0, 1, >= 2, against the probabilities of the normal distribution."""
    classes = np.clip(noise, -2, 2)
    normal = NormalDist()
    borders = [-math.inf, -3.0, -1.0, 1.0, 3.0, math.inf]
    cdf = [0.0 if b == -math.inf else 1.0 if b == math.inf else normal.cdf(b) for b in borders]
    total = 0.0
    for k in range(-2, 3):
        expected = noise.size * (cdf[k + 3] - cdf[k + 2])
        total += ((classes == k).sum() - expected) ** 2 / expected
    return total


def noise_of(e, shape, rng):
    """R itself: every block of ones has the step 2^(1 - bits), exactly."""
    noise = (e.forward(np.ones(shape), rng=rng) - 1.0) * 2.0 ** (e.bits - 1)
    assert (noise == np.rint(noise)).all()
    return noise


def test_the_limit_is_the_quantile():
    # the survival function for four degrees of freedom is exp(-x / 2) (1 + x / 2)
    half = CHI_SQUARE_LIMIT / 2
    assert math.exp(-half) * (1 + half) == pytest.approx(1e-4, rel=1e-4)


@pytest.mark.parametrize("bits", [2.0, 4.0, 6.0])
def test_frequencies_are_the_probabilities(bits):
    noise = noise_of(GaussWS(bits=bits), (500, 600), np.random.default_rng(int(bits)))
    assert chi_square(noise) < CHI_SQUARE_LIMIT
    assert np.abs(noise).max() >= 2
    variance = sum(k * k * noise_probability(k) for k in range(-6, 7))
    fourth = sum(k**4 * noise_probability(k) for k in range(-6, 7))
    assert abs((noise**2).mean() - variance) <= 6 * math.sqrt((fourth - variance**2) / noise.size)
    assert abs(noise.mean()) <= 6 * math.sqrt(variance / noise.size)


def test_other_noise_would_be_caught():
    rng = np.random.default_rng(61)
    assert chi_square(np.rint(rng.standard_normal(300_000) / 2)) < CHI_SQUARE_LIMIT
    assert chi_square(np.rint(rng.standard_normal(300_000) / 1.95)) > CHI_SQUARE_LIMIT
    assert chi_square(np.rint(rng.standard_normal(300_000))) > CHI_SQUARE_LIMIT


def test_probabilities():
    normal = NormalDist()
    for k in range(-3, 4):
        wanted = normal.cdf(2 * k + 1) - normal.cdf(2 * k - 1)
        assert noise_probability(k) == pytest.approx(wanted, rel=1e-9, abs=1e-15)
        assert noise_probability(k) == noise_probability(-k)
    assert math.fsum(noise_probability(k) for k in range(-20, 21)) == pytest.approx(1.0, abs=1e-15)
    # the figures of the literature
    assert round(noise_probability(0), 4) == 0.6827
    assert round(2 * noise_probability(1), 4) == 0.3146
    assert round(2 * noise_probability(2), 4) == 0.0027
    assert round(sum(k * k * noise_probability(k) for k in range(-9, 10)), 4) == 0.3254
    with pytest.raises(TypeError, match=r"^`value` must be an integer, got 0\.5$"):
        noise_probability(0.5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@given(data=st.data(), block=st.integers(1, 4), bits=st.sampled_from([2.0, 3.7, 6.0, 16.0]))
def test_forward_equals_the_reference(data, block, bits, dtype):
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    elements = st.floats(-1000, 1000, width=16) | st.sampled_from([0.0, -0.0])
    w = data.draw(hnp.arrays(dtype, shapes, elements=elements))
    seed = data.draw(st.integers(0, 2**32))
    got = GaussWS(bits=bits, block=block).forward(w, rng=np.random.default_rng(seed))
    noise = reference.noise_draws(np.random.default_rng(seed), w.shape)
    wanted = reference.noisy(w, noise, bits=bits, block=block)
    assert got.tobytes() == wanted.tobytes()  # signs of zero too


@pytest.mark.parametrize(
    ("shape", "blocks"),
    [((), ()), ((7,), (3,)), ((7, 6), (3, 2)), ((2, 5, 3, 4), (2, 5, 1, 2)), ((0, 3), (0, 1)), ((0,), (0,))],
)
def test_shape_of_the_steps(shape, blocks):
    assert GaussWS(block=3).steps(np.ones(shape)).shape == blocks


def test_steps_are_those_of_the_blocks():
    w = np.random.default_rng(67).normal(size=(7, 10))
    steps = GaussWS(bits=5, block=4).steps(w)
    for i in range(2):
        for j in range(3):
            assert steps[i, j] == np.abs(w[4 * i : 4 * i + 4, 4 * j : 4 * j + 4]).max() * 2.0**-4


@given(w=hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(-10, 10, width=32)), bits=st.floats(2, 16))
def test_deployed_codes_are_those_of_uniform_integers(w, bits):
    q, wanted = GaussWS(bits=bits)(w), estimators.get("ste", format=f"int{math.ceil(bits)}")(w)
    np.testing.assert_array_equal(q.codes, wanted.codes)
    assert (q.scale, q.format) == (wanted.scale, wanted.format)


def test_schedule():
    e = GaussWS(bits=6, end_bits=4)
    assert [e.at(p).bits for p in (-1, 0.0, 0.25, 0.5, 1.0, 2)] == [6, 6, 5.5, 5, 4, 4]
    assert e.at(0.0) == e


def test_gradient_passes_everywhere():
    g = np.array([1.0, -2.0])
    assert GaussWS().backward(np.array([0.0, 9.0]), g).tolist() == g.tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_weights_have_no_steps(bad):
    w = np.ones((2, 3))
    w[1, 2] = bad
    with pytest.raises(
        InvalidValueError, match="^" + re.escape(f"`w` must be finite, got {bad} at index (1, 2)") + "$"
    ):
        GaussWS().steps(w)
