"""BiPer: both stages against the slow reference, gradients by finite differences, the schedule, the regulariser."""

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit.errors import InvalidValueError
from tetrit.estimators.deterministic import BiPer, biper_penalty, reference

FLOATS = [np.float16, np.float32, np.float64]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data(), frequency=st.sampled_from([20.0, 1.0, 0.3]), scale=st.sampled_from([1.0, 0.37]))
def test_against_the_reference(data, frequency, scale, dtype):
    bound = min(float(np.finfo(dtype).max), 2.0**15)  # phases up to 2^20
    elements = st.sampled_from([0.0, -0.0, 0.5, -3.0]) | st.floats(-bound, bound, width=np.finfo(dtype).bits)
    w = data.draw(hnp.arrays(dtype, SHAPES, elements=elements))
    g = data.draw(hnp.arrays(dtype, w.shape, elements=st.floats(-8, 8, width=16)))
    e = BiPer(frequency=frequency, scale=scale)
    codes, waves = reference.biper_forward(w, frequency=frequency)
    q = e(w)
    np.testing.assert_array_equal(q.codes, codes)
    assert q.codes.dtype == np.uint8
    assert (q.format, float(q.scale)) == ("int2_symmetric", scale)
    np.testing.assert_array_equal(e.forward(w), np.where(codes == 1, scale, -scale))
    np.testing.assert_allclose(e.at(0.0).forward(w), scale * waves, rtol=1e-15)
    np.testing.assert_array_equal(e.at(0.0)(w).codes, codes)
    wanted = reference.biper_backward(w, g, frequency=frequency, scale=scale)
    got = e.backward(w, g)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, wanted, rtol=2 * float(np.finfo(dtype).eps), atol=float(np.finfo(dtype).tiny))
    np.testing.assert_array_equal(e.at(0.0).backward(w, g), got)


def test_a_wrong_frequency_would_be_caught():
    w = np.random.default_rng(0).normal(size=300)
    assert (BiPer()(w).codes != reference.biper_forward(w, frequency=20.5)[0]).any()
    wrong = reference.biper_backward(w, np.ones(300), frequency=20.5, scale=1.0)
    assert not np.allclose(BiPer().backward(w, np.ones(300)), wrong)


@pytest.mark.parametrize("frequency", [20.0, 3.0])
def test_the_gradient_is_that_of_the_sine(frequency):
    w = np.linspace(-2, 2, 501)
    e = BiPer(frequency=frequency, scale=0.7, stage=1)
    step = 1e-5
    slope = (e.forward(w + step) - e.forward(w - step)) / (2 * step)
    np.testing.assert_allclose(e.backward(w, np.full(501, 2.0)), 2 * slope, rtol=1e-6, atol=1e-6 * frequency)


def test_codes_alternate_with_half_periods():
    frequency = 20.0
    for k in range(-50, 50):
        middle = np.array([(k + 0.5) * math.pi / frequency])
        assert BiPer(frequency=frequency)(middle).codes.tolist() == [1 if k % 2 == 0 else 3]


def test_no_code_is_in_doubt_near_a_multiple_of_pi():
    pi = Fraction(314159265358979323846264338327950288419716939937510582097494459230781640628620899, 10**80)
    for k in range(1, 2000):
        below = float(k * pi)
        if Fraction(below) > k * pi:
            below = math.nextafter(below, 0)
        near = np.array([below, math.nextafter(below, math.inf)])
        first = 3 if k % 2 == 0 else 1
        assert BiPer(frequency=1.0)(near).codes.tolist() == [first, 4 - first]


def test_schedule():
    e = BiPer()
    assert [e.at(progress).stage for progress in (-1, 0, 0.6, 2 / 3, 0.9, 1, 2)] == [1, 1, 1, 2, 2, 2, 2]
    assert e.at(1) is e
    assert BiPer(stage=1).at(1).stage == 1
    assert BiPer(switch=0.0).at(0).stage == 2


def test_start_takes_the_mean_magnitude():
    w = np.array([[0.5, -1.5], [1.0, 1.0]], np.float32)
    e, latent = BiPer().start(w)
    assert e.scale == 1.0
    e, latent = BiPer().start(w / 4)
    assert e.scale == 0.25
    np.testing.assert_array_equal(latent, w / 4)
    assert not np.shares_memory(latent, w)
    assert BiPer().start(np.zeros(3))[0].scale == 1.0
    with pytest.raises(InvalidValueError, match=r"^`w` must be finite, got nan at index \(0,\)$"):
        BiPer().start(np.array([np.nan]))


@given(
    w=hnp.arrays(np.float64, st.integers(1, 8), elements=st.floats(-2, 2)),
    frequency=st.floats(0.5, 20),
    tau=st.floats(-1, 1),
)
def test_the_penalty_and_its_gradient(w, frequency, tau):
    value, gradient = biper_penalty(w, frequency=frequency, tau=tau)
    cosines = [0.5 - 0.5 * math.cos(2 * frequency * x) for x in w.tolist()]
    assert value == pytest.approx(tau * math.fsum(cosines) / w.size, rel=1e-9, abs=1e-12)
    step = 1e-6
    for i in range(w.size):
        moved = np.array([w, w])
        moved[0, i] += step
        moved[1, i] -= step
        up, down = (biper_penalty(row, frequency=frequency, tau=tau)[0] for row in moved)
        assert gradient[i] == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-7)


def test_the_penalty_pulls_to_zero_sines_and_a_negative_one_away():
    w = np.array([0.02])
    assert biper_penalty(w)[1][0] > 0
    assert biper_penalty(w, tau=-0.037)[1][0] < 0
    value, gradient = biper_penalty(np.zeros((0, 3)))
    assert value == 0.0
    assert gradient.shape == (0, 3)


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"frequency": 0.0}, InvalidValueError, "`frequency` must be above 0, got 0"),
        ({"scale": -1.0}, InvalidValueError, "`scale` must be above 0, got -1"),
        ({"stage": 3}, InvalidValueError, "`stage` must be an integer from 1 to 2, got 3"),
        ({"stage": 1.0}, TypeError, "`stage` must be an integer, got 1.0"),
        ({"switch": 1.5}, InvalidValueError, "`switch` must be from 0 to 1, got 1.5"),
    ],
)
def test_bad_parameters(params, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        BiPer(**params)


def test_phases_out_of_range():
    text = r"^`w` times the frequency 20 must be at most 2\^20 in magnitude, got a weight of 1e\+308$"
    for call in (BiPer(), BiPer(stage=1).forward, lambda w: BiPer().backward(w, np.ones(2))):
        with pytest.raises(InvalidValueError, match=text):
            call(np.array([0.0, -1e308]))
    with pytest.raises(InvalidValueError, match=r"^`w` times the frequency 40 must be at most 2\^20 .* 30000$"):
        biper_penalty(np.array([3e4]))
    BiPer(frequency=0.5)(np.array([2.0**21]))
