"""Dead-zone exit times of signed-zero ternary: theory against theory, and the real quantiser against both."""

import doctest
import math
import re
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from tetrit import estimators
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators import Surrogate, exit_times
from tetrit.estimators.exit_times import (
    OVERSHOOT,
    diffusion_exit_time,
    lattice_exit_time,
    outward_drift,
    ruin_exit_time,
    simulated_exit_times,
)

STEP = 2.0**-6  # rate * sigma of the lattice runs: all weights are dyadic, so the threshold stays put exactly


def simulate(surrogate, *, half_width, sites_per_step=1, seed=0, threshold="absmean", **kwargs):
    e = estimators.get("szt", threshold=threshold, surrogate=surrogate)
    defaults = {"rate": 0.125, "sigma": STEP / 0.125, "n": 3000, "max_steps": 20000}
    rng = np.random.default_rng(seed)
    return simulated_exit_times(e, half_width=half_width, rng=rng, **(defaults | kwargs))


def assert_mean(steps, wanted, sigmas=4.0):
    """A fixed seed makes this certain; 4 standard errors say how near it has to be."""
    assert steps.min() >= 0
    error = steps.std(ddof=1) / math.sqrt(steps.size)
    assert abs(steps.mean() - wanted) < sigmas * error, (steps.mean(), wanted, error)


# --- theory against theory -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half_width", [0, 1, 2, 7, 40])
def test_equal_jumps_are_the_gamblers_ruin(half_width):
    for start in range(-half_width, half_width + 1):
        got = lattice_exit_time(start, half_width, outward=1, inward=1)
        assert got == pytest.approx(ruin_exit_time(start, half_width + 1), rel=1e-11)


@pytest.mark.parametrize(("half_width", "outward", "inward"), [(3, 1, 1), (4, 3, 1), (5, 2, -1), (4, 1, 3), (6, 3, 2)])
def test_the_linear_system_is_the_walk(half_width, outward, inward):
    """Exact probabilities, step by step in rational numbers: the sum of P(still inside) is the expected time."""
    for start in (0, -2, 3):
        inside = {start: Fraction(1)}
        expected = Fraction(0)
        for _ in range(400):
            expected += sum(inside.values())
            after: dict[int, Fraction] = {}
            for site, weight in inside.items():
                side = 1 if site >= 0 else -1
                for target in (site + side * outward, site - side * inward):
                    if abs(target) <= half_width:
                        after[target] = after.get(target, Fraction(0)) + weight / 2
            inside = {k: Fraction(int(v * 2**80), 2**80) for k, v in after.items()}
            if sum(inside.values()) < 1e-15:
                break
        got = lattice_exit_time(start, half_width, outward=outward, inward=inward)
        assert got == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("drift", [0, 1])
@pytest.mark.parametrize("share", [0.0, 0.5, -0.75])
def test_the_lattice_tends_to_the_diffusion(share, drift):
    """Jumps of n sites, with a drift of one, over 2 n^2 sites: the same diffusion for every n, twice as fine each."""
    errors = []
    for n in (4, 8, 16, 24):
        width = 2 * n * n
        start = round(share * width)
        got = lattice_exit_time(start, width, outward=n + drift, inward=n - drift)
        wanted = diffusion_exit_time(start, width, rate=1.0, sigma=float(n), drift=float(drift))
        errors.append(abs(got - wanted) / got)
    assert errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[3] < 0.1
    assert errors[2] < 0.6 * errors[1]


@pytest.mark.parametrize("start", [0.0, 0.3, -0.9])
def test_the_closed_form_solves_the_equation(start):
    rate, sigma, drift, edge, h = 0.25, 1.0, 0.375, 1.0, 1e-4

    def time(w):
        return diffusion_exit_time(w, edge, rate=rate, sigma=sigma, drift=drift)

    assert time(edge) == time(-edge) == 0.0
    if start:
        slope = (time(start + h) - time(start - h)) / (2 * h)
        bend = (time(start + h) - 2 * time(start) + time(start - h)) / h**2
        residue = (rate * sigma) ** 2 / 2 * bend + rate * drift * math.copysign(1.0, start) * slope
        assert residue == pytest.approx(-1.0, abs=1e-5)
    else:
        assert time(h) == time(-h)
        assert abs(time(h) - time(0.0)) / h < 2 * h * 16  # no kink at 0: T'(0) = 0


def test_the_limits_of_the_closed_form():
    assert diffusion_exit_time(0.25, 1.0, rate=0.5, sigma=0.5) == (1.0 - 0.0625) / 0.0625
    assert diffusion_exit_time(0.25, 1.0, rate=0.5, sigma=0.0, drift=0.125) == 12.0
    assert diffusion_exit_time(0.25, 1.0, rate=0.5, sigma=0.0) == math.inf
    assert diffusion_exit_time(0.25, 1.0, rate=0.0, sigma=1.0, drift=1.0) == math.inf
    near = diffusion_exit_time(0.25, 1.0, rate=0.5, sigma=0.5, drift=1e-9)
    assert near == pytest.approx(15.0, rel=1e-7)
    assert near < 15.0
    # the series and the closed form meet
    border = 1e-3 * 0.5 * 0.25 / 2
    below, above = (diffusion_exit_time(0.2, 1.0, rate=0.5, sigma=0.5, drift=border * f) for f in (0.999999, 1.000001))
    assert below > above
    assert below == pytest.approx(above, rel=1e-8)
    # far above the noise it is the noiseless walk
    far = diffusion_exit_time(0.0, 1.0, rate=0.01, sigma=0.01, drift=1.0)
    assert far == pytest.approx(100.0, rel=1e-3)


def test_more_drift_is_always_faster():
    times = [diffusion_exit_time(0.1, 1.0, rate=0.1, sigma=1.0, drift=d) for d in np.geomspace(1e-12, 1e3, 200)]
    assert all(a > b for a, b in pairwise(times[30:]))
    assert all(a >= b for a, b in pairwise(times))


def test_the_overshoot_constant_is_that_of_the_zeta_function():
    # zeta(1/2) by the alternating series, accelerated by repeated means of its partial sums
    sums = list(np.cumsum([(-1) ** k / math.sqrt(k + 1) for k in range(40)]))
    while len(sums) > 1:
        sums = [(a + b) / 2 for a, b in pairwise(sums)]
    zeta = sums[0] / (1 - math.sqrt(2))
    assert -zeta / math.sqrt(2 * math.pi) == pytest.approx(OVERSHOOT, rel=1e-10)


@pytest.mark.parametrize("noise", ["signs", "normal"])
def test_outward_drift_is_the_moments_of_the_gradient(noise):
    rule = Surrogate(gain=0.75, tilt=0.5, drift=0.25)
    rng = np.random.default_rng(0)
    g = 2.0 * (rng.standard_normal(10**6) if noise == "normal" else rng.choice([-1.0, 1.0], 10**6))
    w = np.full(g.size + 1, 0.125)
    w[-1] = g.size  # far outside: it makes the threshold large
    pull = -estimators.get("szt", surrogate=rule).backward(w, np.append(g, 0.0))[:-1]
    mean, deviation = outward_drift(rule, sigma=2.0, noise=noise)
    assert pull.mean() == pytest.approx(mean, abs=5 * deviation / 1e3)
    assert pull.std() == pytest.approx(deviation, rel=5e-3)


# --- the real quantiser against the theory ---------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", ["absmean", "twn"])
@pytest.mark.parametrize("start", [0, 6, -9])
def test_plain_straight_through_is_the_gamblers_ruin(start, threshold):
    """9.5 steps wide: sites -9 to 9 are zeros, +-10 is out. No free parameter, no approximation."""
    steps = simulate("identity", half_width=9.5 * STEP, start=start * STEP, threshold=threshold, seed=start + 20)
    assert_mean(steps, ruin_exit_time(start, 10))


@pytest.mark.parametrize(("tilt", "outward", "inward"), [(0.5, 3, 1), (0.25, 5, 3), (0.75, 7, 1)])
@pytest.mark.parametrize("start", [0, -5])
def test_signed_zero_slope_is_the_biased_lattice_walk(tilt, outward, inward, start):
    """Steps of (1 + tilt) outward and (1 - tilt) inward, on a lattice of their common part."""
    unit = STEP * tilt if tilt == 0.5 else STEP / 4
    width = 20 if tilt == 0.5 else 40
    steps = simulate(Surrogate(tilt=tilt), half_width=(width + 0.5) * unit, start=start * unit, seed=7)
    assert_mean(steps, lattice_exit_time(start, width, outward=outward, inward=inward))


@pytest.mark.parametrize("start", [0, 8])
def test_signed_zero_bias_is_the_biased_lattice_walk(start):
    """A drift of a quarter of sigma; the same lattice as a tilt of a quarter, another rule of the estimator."""
    sigma = STEP / 0.125
    steps = simulate(Surrogate(drift=sigma / 4), half_width=40.5 * STEP / 4, start=start * STEP / 4, seed=3)
    assert_mean(steps, lattice_exit_time(start, 40, outward=5, inward=3))


def test_without_noise_the_bias_leaves_in_half_width_over_its_drift():
    steps = simulate(Surrogate(drift=0.125), half_width=20.5 * STEP, sigma=0.0, n=8)  # moves by rate * drift = STEP
    assert steps.tolist() == [21] * 8
    wanted = diffusion_exit_time(0.0, 20.5 * STEP, rate=0.125, sigma=0.0, drift=0.125)
    assert 20 < wanted < 21
    negative = simulate(Surrogate(drift=0.125), half_width=20.5 * STEP, start=-0.0, sigma=0.0, n=8)
    assert negative.tolist() == [21] * 8  # the zero remembers its sign: -0.0 leaves on the other side, as fast


def test_a_vanishing_gradient_never_leaves():
    steps = simulate("vanishing", half_width=1.5 * STEP, start=STEP, max_steps=500, n=50)
    assert (steps == -1).all()
    assert diffusion_exit_time(STEP, 1.5 * STEP, rate=0.125, sigma=0.0) == math.inf


def test_normal_noise_follows_the_diffusion_with_siegmunds_correction():
    sigma = STEP / 0.125
    steps = simulate("identity", half_width=12 * STEP, noise="normal", n=6000, seed=5)
    edge = (12 + OVERSHOOT) * STEP
    assert_mean(steps, diffusion_exit_time(0.0, edge, rate=0.125, sigma=sigma))
    error = steps.std(ddof=1) / math.sqrt(steps.size)
    plain = diffusion_exit_time(0.0, 12 * STEP, rate=0.125, sigma=sigma)
    assert steps.mean() - plain > 4 * error  # the correction is needed


def test_normal_noise_with_a_drift_follows_the_diffusion():
    sigma = STEP / 0.125
    rule = Surrogate(tilt=0.25)
    steps = simulate(rule, half_width=20 * STEP, noise="normal", n=6000, seed=6)
    drift, deviation = outward_drift(rule, sigma=sigma, noise="normal")
    wanted = diffusion_exit_time(0.0, (20 + OVERSHOOT) * STEP, rate=0.125, sigma=deviation, drift=drift)
    assert steps.mean() == pytest.approx(wanted, rel=0.03)


def test_the_ordering_that_signed_zero_argues_for():
    """Vanishing never, straight-through by diffusion, each signed-zero form sooner, more of it sooner still."""
    sigma = STEP / 0.125
    rules = ["identity", Surrogate(tilt=0.25), Surrogate(tilt=0.5), Surrogate(drift=sigma)]
    times = [simulate(rule, half_width=19.5 * STEP, n=1000, seed=1) for rule in rules]
    errors = [t.std(ddof=1) / math.sqrt(t.size) for t in times]
    for slow, fast, error in zip(times, times[1:], errors, strict=False):
        assert fast.min() >= 0
        assert slow.mean() - fast.mean() > 4 * error
    stuck = simulate("vanishing", half_width=19.5 * STEP, n=10, max_steps=int(10 * times[0].mean()))
    assert (stuck == -1).all()


def test_the_lattice_theory_would_notice_a_wrong_rule():
    """Held to the theory of another rule, the same comparison must fail by far."""
    steps = simulate(Surrogate(tilt=0.25), half_width=9.5 * STEP, seed=2)
    error = steps.std(ddof=1) / math.sqrt(steps.size)
    assert abs(steps.mean() - ruin_exit_time(0, 10)) > 10 * error


def test_the_threshold_stays_put():
    """What the simulator relies on: with dyadic weights the mean magnitude is exact in every step."""
    seen = []

    class Watched(estimators.SZT):
        def _thresholds(self, x, rows):
            means, thresholds = super()._thresholds(x, rows)
            seen.append(float(thresholds[0]))
            return means, thresholds

    e = Watched(threshold="absmean", surrogate="identity")
    rng = np.random.default_rng(0)
    simulated_exit_times(e, half_width=9.5 * STEP, rate=0.125, sigma=STEP / 0.125, n=200, max_steps=400, rng=rng)
    assert set(seen) == {9.5 * STEP}


# --- interface -------------------------------------------------------------------------------------------------------


def test_documented_examples():
    result = doctest.testmod(exit_times)
    assert result.failed == 0
    assert result.attempted > 10


def test_a_run_is_repeatable_and_may_stop_at_once():
    a, b = (simulate("identity", half_width=5.5 * STEP, n=20, seed=9) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert (simulate("identity", half_width=5.5 * STEP, n=3, max_steps=0) == -1).all()


@pytest.mark.parametrize(
    ("function", "kwargs", "error", "text"),
    [
        (ruin_exit_time, {"start": 4, "edge": 3}, InvalidValueError, "`start` must be an integer from -3 to 3, got 4"),
        (
            lattice_exit_time,
            {"start": 0, "half_width": 3, "outward": 0, "inward": 1},
            InvalidValueError,
            "`outward` must be a positive integer, got 0",
        ),
        (
            diffusion_exit_time,
            {"start": 2.0, "edge": 1.0, "rate": 1.0, "sigma": 1.0},
            InvalidValueError,
            "`start` must be from -1 to 1, got a magnitude of 2",
        ),
        (
            diffusion_exit_time,
            {"start": 0.0, "edge": 1.0, "rate": 1.0, "sigma": -1.0},
            InvalidValueError,
            "`sigma` must be at least 0, got -1",
        ),
        (
            outward_drift,
            {"surrogate": Surrogate(), "sigma": 1.0, "noise": "sign"},
            UnknownNameError,
            "unknown noise 'sign'; did you mean 'signs'?",
        ),
    ],
)
def test_bad_arguments(function, kwargs, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        function(**kwargs)


def test_bad_runs():
    rng = np.random.default_rng(0)
    common = {"rate": 1.0, "sigma": 1.0, "n": 3, "max_steps": 3, "rng": rng}
    with pytest.raises(TypeError, match=r"^`estimator` must be an SZT with axis=None, got STE\(.*\)$"):
        simulated_exit_times(estimators.get("ste"), half_width=1.0, **common)
    with pytest.raises(TypeError, match=r"^`estimator` must be an SZT with axis=None, got SZT\(.*axis=0\)$"):
        simulated_exit_times(estimators.get("szt", axis=0), half_width=1.0, **common)
    with pytest.raises(InvalidValueError, match=r"^`start` must be within \+-1, got 1\.5$"):
        simulated_exit_times(estimators.get("szt"), half_width=1.0, start=1.5, **common)
