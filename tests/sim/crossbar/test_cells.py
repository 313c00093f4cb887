"""The life of cells: against loops over single cells, and against exact distributions.

Statistical bounds are five standard errors of the figure; seeds are fixed, so a pass stays a pass.
"""

import math
import pickle

import numpy as np
import pytest
from scipy import stats

from tetrit import noise
from tetrit.hardware import Crossbar, Device
from tetrit.hardware.device import BOLTZMANN, CHARGE
from tetrit.sim.crossbar import cells, faults
from tetrit.sim.crossbar.cells import Cells

WINDOW = (0.0, 25e-6)
SHAPE = (200, 500)
N = SHAPE[0] * SHAPE[1]
KEY = noise.key(2026, 1)
PCM = Device.load("pcm")
EVERYTHING = PCM.replace(
    write_cycles=4,
    write_tolerance_siemens=0.5e-6,
    device_spread=0.05,
    device_distribution="lognormal",
    cycle_spread=0.03,
)


def full(g, shape=SHAPE):
    return np.full(shape, float(g))


def same_mean(sample, mean, sigma):
    assert abs(sample.mean() - mean) < 5 * sigma / math.sqrt(sample.size)


def same_sigma(sample, sigma):
    assert abs(sample.std() / sigma - 1) < 5 / math.sqrt(2 * sample.size)


def drawn(quantity, place, *numbers):
    """Return the normal of one cell, the slow way."""
    return float(noise.normals(noise.key(KEY, quantity, *numbers), 1, first=place)[0])


# --- against single cells ---


def one_cell(target, device, place, generation):
    made = math.exp(device.device_spread * drawn(1, place))
    for attempt in range(device.write_cycles):
        sigma = float(device.program_sigma(np.array(target)))
        tried = target + sigma * drawn(2, place, generation, attempt)
        tried *= 1 + device.cycle_spread * drawn(3, place, generation, attempt)
        tried = max(tried * made, 0.0)
        if abs(tried - target) <= device.write_tolerance_siemens:
            break
    return tried, attempt + 1


def test_programming_is_the_loop_over_cells_and_attempts():
    rows, cols = 7, 5
    targets = np.linspace(*WINDOW, rows * cols).reshape(rows, cols)
    for generation in (0, 3):
        done = cells.program(targets, EVERYTHING, WINDOW, key=KEY, generation=generation)
        for place, target in enumerate(targets.flat):
            g, attempts = one_cell(target, EVERYTHING, place, generation)
            assert done.g_siemens.flat[place] == pytest.approx(g, rel=1e-12, abs=1e-20)
            assert done.attempts.flat[place] == attempts
    assert set(done.attempts.flat) == {1, 2, 3, 4}


def test_drift_is_the_loop_over_cells():
    targets = np.linspace(*WINDOW, 12).reshape(3, 4)
    now = cells.drifted(targets, targets, PCM, 1e5, key=KEY)
    for place, target in enumerate(targets.flat):
        mean, sigma = PCM.drift_statistics(np.array(target))
        nu = abs(float(mean) + float(sigma) * drawn(4, place))
        assert now.flat[place] == pytest.approx(target * ((1e5 + 20) / 20) ** -nu, rel=1e-12)


# --- programming ---


@pytest.mark.parametrize("g", [5e-6, 12.5e-6, 25e-6])
def test_programming_error_is_normal_with_the_sigma_of_the_target(g):
    error = cells.program(full(g), PCM, WINDOW, key=KEY).g_siemens - g
    sigma = float(PCM.program_sigma(np.array(g)))
    same_mean(error, 0.0, sigma)
    same_sigma(error, sigma)
    assert stats.kstest(error.ravel() / sigma, "norm").pvalue > 1e-3


def test_conductances_are_never_negative():
    """At target 0 the error is rectified: mean s / sqrt(2 pi), variance s^2 (1/2 - 1/(2 pi))."""
    g = cells.program(full(0.0), PCM, WINDOW, key=KEY).g_siemens
    sigma = 0.26348e-6
    spread = sigma * math.sqrt(0.5 - 0.5 / math.pi)
    assert g.min() == 0
    same_mean(g, sigma / math.sqrt(2 * math.pi), spread)
    assert abs(g.std() / spread - 1) < 0.02
    assert abs((g == 0).mean() - 0.5) < 5 * 0.5 / math.sqrt(N)


def test_spreads_multiply_and_lognormal_ones_have_their_mean():
    for name in ("device", "cycle"):
        plain = Device(**{f"{name}_spread": 0.1})
        factor = cells.program(full(1e-5), plain, WINDOW, key=KEY).g_siemens / 1e-5
        same_mean(factor, 1.0, 0.1)
        same_sigma(factor, 0.1)
        skewed = plain.replace(**{f"{name}_distribution": "lognormal", f"{name}_spread": 0.3})
        factor = cells.program(full(1e-5), skewed, WINDOW, key=KEY).g_siemens / 1e-5
        mean = math.exp(0.3**2 / 2)
        same_mean(factor, mean, mean * math.sqrt(math.exp(0.3**2) - 1))
        same_mean(np.log(factor), 0.0, 0.3)
        same_sigma(np.log(factor), 0.3)


def verified_cdf(x, sigma, tolerance, cycles):
    """Distribution of the error: inside the tolerance after any attempt, outside after the last."""
    inside = 1 - 2 * stats.norm.sf(tolerance / sigma)
    weight = (1 - (1 - inside) ** cycles) / inside  # of the density within the tolerance
    rest = (1 - inside) ** (cycles - 1)  # and outside
    cdf = stats.norm.cdf(np.clip(x, None, -tolerance) / sigma) * rest
    cdf += (stats.norm.cdf(np.clip(x, -tolerance, tolerance) / sigma) - stats.norm.cdf(-tolerance / sigma)) * weight
    return cdf + (stats.norm.cdf(np.clip(x, tolerance, None) / sigma) - stats.norm.cdf(tolerance / sigma)) * rest


@pytest.mark.parametrize(("tolerance", "cycles"), [(0.5e-6, 2), (0.5e-6, 5), (0.1e-6, 3), (2e-6, 20)])
def test_write_verify_has_its_exact_distribution(tolerance, cycles):
    device = Device(program_sigma_siemens=(1e-6,), write_cycles=cycles, write_tolerance_siemens=tolerance)
    done = cells.program(full(12e-6), device, WINDOW, key=KEY)
    error = (done.g_siemens - 12e-6).ravel()
    inside = 1 - 2 * stats.norm.sf(tolerance / 1e-6)
    result = stats.kstest(error, lambda x: verified_cdf(x, 1e-6, tolerance, cycles))
    assert result.pvalue > 1e-3
    assert stats.kstest(error, lambda x: verified_cdf(x, 1e-6, tolerance, cycles + 1)).pvalue < 1e-6 or cycles == 20
    tries = np.arange(1, cycles + 1)
    share = inside * (1 - inside) ** (tries - 1)
    share[-1] = (1 - inside) ** (cycles - 1)
    seen = np.bincount(done.attempts.ravel(), minlength=cycles + 1)[1:]
    assert seen.sum() == N
    assert stats.binom.cdf(seen, N, share).min() > 1e-6
    assert stats.binom.sf(seen - 1, N, share).min() > 1e-6


def test_verifying_against_the_spread_of_devices_ends_at_the_last_attempt():
    device = Device(device_spread=0.5, write_cycles=3, write_tolerance_siemens=1e-9)
    done = cells.program(full(1e-5), device, WINDOW, key=KEY)
    within = np.abs(done.g_siemens - 1e-5) <= 1e-9
    assert (done.attempts == np.where(within, 1, 3)).all()


def test_a_perfect_device_is_exact_and_takes_one_attempt():
    targets = np.linspace(*WINDOW, N).reshape(SHAPE)
    done = cells.program(targets, Device(), WINDOW, key=KEY)
    assert (done.g_siemens == targets).all()
    assert (done.attempts == 1).all()
    now = cells.drifted(done.g_siemens, targets, Device(), 1e9, key=KEY)
    assert (now == targets).all()
    assert not np.shares_memory(now, done.g_siemens)
    variance = cells.read_variance(targets, Device(), 1e9, 1e-7, 300.0)
    assert not variance.flicker.any()
    assert not variance.thermal.any()
    assert variance.shot == 0


# --- what belongs to the chip, and what to a write ---


def test_a_chip_is_the_same_every_time_and_another_key_another_chip():
    targets = np.linspace(*WINDOW, N).reshape(SHAPE)
    before = targets.copy()
    first, again = (Cells.written(targets, EVERYTHING, WINDOW, key=KEY) for _ in range(2))
    assert (targets == before).all()
    assert (first.programmed == again.programmed).all()
    assert (first.attempts == again.attempts).all()
    assert (first.conductance(1e4, 350.0) == again.conductance(1e4, 350.0)).all()
    copy = pickle.loads(pickle.dumps(first))
    assert (copy.conductance(1e4) == first.conductance(1e4)).all()
    other = Cells.written(targets, EVERYTHING, WINDOW, key=noise.key(2026, 2))
    assert abs(np.corrcoef((first.programmed - targets).flat, (other.programmed - targets).flat)[0, 1]) < 5 / N**0.5


def test_what_is_drawn_is_independent():
    """Programming errors of generations and attempts, factors, drift exponents and faults of the same cells."""
    target, time = full(1e-5), 1e6
    errors = Device(program_sigma_siemens=(1e-7,))
    of_device, of_cycle = Device(device_spread=0.01), Device(cycle_spread=0.01)
    drifting = Device(drift_mean=(0, 0.05, 0, 1), drift_sigma=(0, 0.01, 0, 1))
    never = errors.replace(write_cycles=2, write_tolerance_siemens=1e-30)
    drawn = [
        cells.program(target, errors, WINDOW, key=KEY).g_siemens,
        cells.program(target, errors, WINDOW, key=KEY, generation=1).g_siemens,
        cells.program(target, never, WINDOW, key=KEY).g_siemens,
        cells.program(target, of_device, WINDOW, key=KEY).g_siemens,
        cells.program(target, of_cycle, WINDOW, key=KEY).g_siemens,
        cells.program(target, of_cycle, WINDOW, key=KEY, generation=1).g_siemens,
        np.log(cells.drifted(target, target, drifting, time, key=KEY)),
        faults.fault_map(SHAPE, stuck_on=0.5, stuck_off=0.0, key=KEY),
    ]
    correlation = np.corrcoef([values.ravel() for values in drawn])
    assert np.abs(correlation - np.eye(len(drawn))).max() < 5 / math.sqrt(N)


def test_devices_deviate_the_same_way_at_every_write():
    device = Device(device_spread=0.1)
    first, second = (cells.program(full(1e-5), device, WINDOW, key=KEY, generation=g).g_siemens for g in (0, 7))
    assert (first == second).all()
    half = cells.program(full(0.5e-5), device, WINDOW, key=KEY).g_siemens
    np.testing.assert_allclose(half, first / 2, rtol=1e-15)


# --- drift and temperature ---


@pytest.mark.parametrize("g", [0.2e-6, 2.5e-6, 25e-6])
def test_drift_exponents_have_the_mean_and_sigma_of_the_target(g):
    now = cells.drifted(full(1.0), full(g), PCM, 86400.0, key=KEY)
    nu = -np.log(now) / math.log((86400.0 + 20.0) / 20.0)
    mean, sigma = (float(x) for x in PCM.drift_statistics(np.array(g)))
    if mean > 5 * sigma:
        same_mean(nu, mean, sigma)
        same_sigma(nu, sigma)
    assert stats.kstest(nu.ravel(), stats.foldnorm(mean / sigma, scale=sigma).cdf).pvalue > 1e-3
    assert nu.min() >= 0


def test_drift_begins_at_the_programmed_value_and_keeps_each_cell_s_exponent():
    g = full(1e-5)
    assert (cells.drifted(g, g, PCM, 0.0, key=KEY) == g).all()
    early, late = (np.log(cells.drifted(g, g, PCM, t, key=KEY) / 1e-5) / math.log1p(t / 20) for t in (100.0, 1e7))
    np.testing.assert_allclose(early, late, rtol=1e-9)
    with pytest.raises(ValueError, match=r"^`time_s` must be at least 0, got -1$"):
        cells.drifted(g, g, PCM, -1.0, key=KEY)


def test_temperature_scales_what_has_drifted():
    written = Cells.written(full(1e-5), PCM, WINDOW, key=KEY)
    np.testing.assert_allclose(written.conductance(100.0, 350.0), 1.1 * written.conductance(100.0), rtol=1e-12)
    np.testing.assert_allclose(written.conductance(100.0, 250.0), 0.9 * written.conductance(100.0), rtol=1e-12)
    assert (written.conductance() == written.programmed).all()


def test_compensation_restores_the_sum():
    before = np.array([[1.0, 3.0], [0.0, 4.0]])
    assert cells.drift_factor(before, before / 2) == 2.0
    assert cells.drift_factor(before, before) == 1.0
    assert cells.drift_factor(np.zeros((2, 2)), np.zeros((2, 2))) == 1.0
    with pytest.raises(ValueError, match=r"^drift cannot be compensated: no cell of the array conducts any more$"):
        cells.drift_factor(before, np.zeros((2, 2)))
    written = Cells.written(full(2e-5), PCM, WINDOW, key=KEY)
    now = written.conductance(86400.0)
    assert (cells.drift_factor(written.programmed, now) * now).sum() == pytest.approx(written.programmed.sum())
    assert cells.drift_factor(written.programmed, now) == pytest.approx((86420 / 20) ** 0.049, rel=0.01)


# --- noise of a read ---


def test_read_noise_by_hand():
    g = np.array([[0.0, 1e-5, 2e-5]])
    device = Device(flicker=(0.01, 0.5, 0.2), thermal=True, shot=True)
    found = cells.read_variance(g, device, 100.0, 1e-6, 350.0, programmed=2 * g)
    octaves = math.log((100 + 20 + 1e-6) / 2e-6)
    q = np.array([0.2, 0.01 / 0.8**0.5, 0.01 / 1.6**0.5])
    np.testing.assert_allclose(found.flicker[0], g[0] ** 2 * q**2 * octaves, rtol=1e-12)
    np.testing.assert_allclose(found.thermal[0], 4 * BOLTZMANN * 350 * g[0] * 0.5e6, rtol=1e-12)
    assert found.shot == pytest.approx(2 * CHARGE * 0.5e6, rel=1e-12)
    itself = cells.read_variance(g, device, 100.0, 1e-6, 350.0)
    np.testing.assert_allclose(
        itself.flicker[0, 1:], g[0, 1:] ** 2 * (0.01**2 / (g[0, 1:] / 25e-6)) * octaves, rtol=1e-12
    )


def test_johnson_noise_of_a_known_resistor():
    """A kilohm in a bandwidth of 10 kHz at 300 K: 0.407 nA (the textbook's 0.407 uV across it)."""
    found = cells.read_variance(np.array([[1e-3]]), Device(thermal=True), 0.0, 1 / 20e3, 300.0)
    assert math.sqrt(found.thermal[0, 0]) == pytest.approx(0.407e-9, rel=1e-3)


def test_flicker_depends_on_what_was_programmed_and_scales_with_what_is_left():
    written = Cells.written(full(1e-5), PCM, WINDOW, key=KEY)
    now = written.conductance(1e6)
    found = written.read_noise(now, 1e6, 250e-9, 300.0)
    wanted = PCM.flicker_sigma(now, written.programmed, 1e6, 250e-9) ** 2
    np.testing.assert_allclose(found.flicker, wanted, rtol=1e-15)
    assert (found.flicker < PCM.flicker_sigma(now, now, 1e6, 250e-9) ** 2).all()


def test_charge_domain():
    """Mismatch is the spread of devices; a cell that is off holds nothing, and all have kTC noise."""
    machine = Crossbar(rows=4, cols=16, device="sram", bits_per_cell=1, read_time_s=1e-8)
    device, window = machine.cell, machine.window
    targets = np.where(np.arange(N).reshape(SHAPE) % 2, window[1], 0.0)
    written = Cells.written(targets, device, window, key=KEY)
    on = written.programmed[targets > 0] * 1e-8 / 1.2e-15
    same_mean(on, 1.0, 0.01)
    same_sigma(on, 0.01)
    assert not written.programmed[targets == 0].any()
    assert (written.conductance(1e9) == written.programmed).all()
    found = written.read_noise(written.programmed, 0.0, 1e-8, 300.0)
    np.testing.assert_allclose(found.thermal * 1e-8**2, BOLTZMANN * 300 * 1.2e-15, rtol=1e-12)
    assert found.shot == 0
    assert not found.flicker.any()


# --- devices of the user's own ---


def test_a_subclass_s_methods_are_used():
    class Stepped(Device):
        def program_sigma(self, g_siemens):
            return np.where(g_siemens > 1e-5, 2e-7, 0.0)

        def drift_statistics(self, g_siemens):
            return np.full_like(g_siemens, 0.1), np.zeros_like(g_siemens)

        def flicker_sigma(self, g_siemens, programmed_siemens, time_s, read_time_s):
            return np.full_like(g_siemens, 3e-9)

        def at_temperature(self, g_siemens, temperature_k):
            return g_siemens * (temperature_k / 300.0) ** 2

    targets = np.where(np.arange(N).reshape(SHAPE) % 2, 2e-5, 1e-5)
    written = Cells.written(targets, Stepped(), WINDOW, key=KEY)
    error = written.programmed - targets
    assert not error[targets == 1e-5].any()
    same_sigma(error[targets == 2e-5], 2e-7)
    np.testing.assert_allclose(written.conductance(180.0, 600.0), written.programmed * 10**-0.1 * 4, rtol=1e-12)
    np.testing.assert_allclose(written.read_noise(targets, 0, 1e-6, 300.0).flicker, 9e-18)


def test_a_device_from_a_file_is_programmed_with_its_figures(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("g_max_siemens = 1e-4\nprogram_sigma_siemens = [0, 4e-6]\ncycle_spread = 0.01\n")
    machine = Crossbar(rows=4, cols=8, device=str(path))
    done = cells.program(full(5e-5), machine.cell, machine.window, key=KEY)
    same_sigma(done.g_siemens, math.sqrt((2e-6**2) * (1 + 0.01**2) + (5e-5 * 0.01) ** 2))
