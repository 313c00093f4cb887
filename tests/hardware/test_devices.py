"""Device descriptions: the figures of the presets, limits of the formulas, and errors that name the field."""

import dataclasses
import math
import pickle
import re
import tomllib
from importlib import resources

import numpy as np
import pytest

from tetrit import hardware
from tetrit.hardware import Device
from tetrit.hardware.device import BOLTZMANN, CHARGE, REFERENCE_K

R = np.linspace(0.0, 1.0, 201)


def test_presets_are_these_and_load_under_their_names():
    assert hardware.devices() == ("flash", "ideal", "pcm", "rram", "sram")
    for name in hardware.devices():
        device = Device.load(name)
        assert device.name == name
        assert Device.from_dict(dataclasses.asdict(device)) == device
        assert hash(device) == hash(Device.load(name))
        assert pickle.loads(pickle.dumps(device)) == device


@pytest.mark.parametrize("name", ("flash", "pcm", "rram", "sram"))
def test_every_figure_of_a_preset_follows_a_comment(name):
    """In the file, a blank line ends what a comment speaks for; a figure without one would be without a source."""
    text = (resources.files("tetrit.hardware") / "devices" / f"{name}.toml").read_text()
    for block in text.strip().split("\n\n"):
        assert block.startswith("#"), f"{name}.toml: no comment above {block!r}"
    assert set(tomllib.loads(text)) <= {field.name for field in dataclasses.fields(Device)}


def test_the_class_without_arguments_is_perfect_and_so_is_the_preset():
    g = R * 25e-6
    for device in (Device(), Device.load("ideal")):
        assert not device.program_sigma(g).any()
        assert not np.any(device.drift_statistics(g))
        assert not device.flicker_sigma(g, g, 1e9, 250e-9).any()
        assert (device.at_temperature(g, 400.0) == g).all()
        assert (device.device_spread, device.cycle_spread, device.thermal, device.shot) == (0.0, 0.0, False, False)
        assert (device.write_cycles, device.sinh_volt, device.capacitance_farad) == (1, None, None)
        assert (device.g_min_siemens, device.g_max_siemens) == (0.0, 25e-6)


def test_pcm_has_the_coefficients_that_aihwkit_ships():
    """REFERENCES section 11, and aihwkit's source for drift, written out once more here."""
    pcm = Device.load("pcm")
    g = R * 25e-6
    assert pcm.g_max_siemens == 25e-6
    expected = 0.26348 + 1.9650 * R - 1.1731 * R**2
    np.testing.assert_allclose(pcm.program_sigma(g) * 1e6, expected, rtol=1e-12)
    log = np.log(np.maximum(R, 1e-7))
    mean, sigma = pcm.drift_statistics(g)
    np.testing.assert_allclose(mean, np.clip(-0.0155 * log + 0.0244, 0.049, 0.1), rtol=1e-12)
    np.testing.assert_allclose(sigma, np.clip(-0.0125 * log - 0.0059, 0.008, 0.045), rtol=1e-12)
    decayed = 0.7 * g
    q = np.minimum(0.0088 / np.maximum(R**0.65, 1e-3), 0.2)
    for time in (0.0, 1.0, 86400.0, 3e7):
        expected = decayed * q * math.sqrt(math.log((time + 20.0 + 250e-9) / 500e-9))
        np.testing.assert_allclose(pcm.flicker_sigma(decayed, g, time, 250e-9), expected, rtol=1e-12)


def test_rram_has_the_polynomial_that_aihwkit_ships():
    expected = 0.348 + 16.030 * R - 43.853 * R**2 + 45.393 * R**3 - 16.815 * R**4
    rram = Device.load("rram")
    np.testing.assert_allclose(rram.program_sigma(R * 40e-6) * 1e6, expected, rtol=1e-12)
    assert rram.drift_mean is None
    relative = rram.flicker_sigma(R * 40e-6, R * 40e-6, 0.0, 250e-9)[1:] / (R[1:] * 40e-6)
    np.testing.assert_allclose(relative, 0.01, rtol=1e-3)


def test_flash_meets_the_fits_that_crosssim_ships_within_what_the_file_states():
    flash = Device.load("flash")
    amperes = R * 1600.0  # in nA
    wanted = 19.88665 * (1 - np.exp(-amperes / 176.3115))
    ours = flash.program_sigma(R * 16e-6) * 1e8  # 10 nA are 0.1 uS
    assert np.abs(ours - wanted).max() < 0.003 * 19.88665
    assert ours[0] == 0
    r = R[1:]
    wanted = 12.58037 * (1 - np.exp(-r * 1600.0 / 215.36557)) / (r * 1600.0)
    relative = flash.flicker_sigma(r * 16e-6, r * 16e-6, 0.0, 250e-9) / (r * 16e-6)
    assert np.abs(relative / wanted - 1).max() < 0.14
    nu, _ = flash.drift_statistics(np.array([8e-6]))
    for days, left in ((1, 1 - 24.85 / 800), (5, 1 - 37.86 / 800)):
        assert (86400 * days / flash.drift_start_s + 1) ** -nu[0] == pytest.approx(left, abs=5e-4)


def test_sram_is_a_capacitor():
    sram = Device.load("sram")
    assert sram.capacitance_farad == 1.2e-15
    assert (sram.device_spread, sram.thermal, sram.program_sigma_siemens) == (0.01, True, ())


def test_constants_are_those_of_the_si():
    assert (BOLTZMANN, CHARGE, REFERENCE_K) == (1.380649e-23, 1.602176634e-19, 300.0)


def test_formulas_at_their_limits():
    device = Device(
        g_max_siemens=1.0,
        program_sigma_siemens=(0.1, -1.0),
        drift_mean=(-0.02, 0.01, 0.0, 0.08),
        drift_sigma=(0.0, 0.005, 0.0, 1.0),
        flicker=(0.01, 1.0, 0.3),
        temperature_per_k=-0.01,
    )
    g = np.array([0.0, 0.05, 0.5, 1.0])
    np.testing.assert_allclose(device.program_sigma(g), [0.1, 0.05, 0.0, 0.0], atol=1e-15)
    mean, sigma = device.drift_statistics(g)
    np.testing.assert_allclose(mean, [0.08, 0.01 + 0.02 * math.log(20), 0.01 + 0.02 * math.log(2), 0.01])
    assert (sigma == 0.005).all()
    assert (device.flicker_sigma(g, g, 0.0, 20.0) == 0).all()  # ln(1): as old as one read
    assert (device.flicker_sigma(g, g, 0.0, 1e9) == 0).all()  # a read longer than the cell's life, not a negative log
    octaves = math.sqrt(math.log((20 + 1e-6) / 2e-6))
    np.testing.assert_allclose(
        device.flicker_sigma(g, g, 0.0, 1e-6), [0, 0.05 * 0.2 * octaves, 0.01 * octaves, 0.01 * octaves]
    )
    np.testing.assert_allclose(device.at_temperature(g, 320.0), 0.8 * g)
    np.testing.assert_allclose(device.at_temperature(g, 290.0), 1.1 * g)
    assert (device.at_temperature(g, 500.0) == 0).all()
    assert (device.at_temperature(g, 300.0) == g).all()


def test_on_off_ratio():
    assert Device().on_off_ratio == math.inf
    assert Device(g_min_siemens=5e-6).on_off_ratio == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 3}, "`name` must be a string, got 3"),
        ({"source": None}, "`source` must be a string, got None"),
        ({"thermal": 1}, "`thermal` must be true or false, got 1"),
        ({"shot": "yes"}, "`shot` must be true or false, got 'yes'"),
        ({"g_min_siemens": -1e-6}, "`g_min_siemens` must be at least 0, got -1e-06"),
        ({"g_min_siemens": "1"}, "`g_min_siemens` must be a number, got '1'"),
        ({"g_max_siemens": 0.0}, "`g_max_siemens` must be above 0, got 0"),
        ({"g_min_siemens": 3e-5}, "`g_max_siemens` must be above 3e-05, got 2.5e-05"),
        ({"g_max_siemens": math.nan}, "`g_max_siemens` must be finite, got nan"),
        ({"device_spread": -0.1}, "`device_spread` must be at least 0, got -0.1"),
        ({"cycle_spread": math.inf}, "`cycle_spread` must be finite, got inf"),
        ({"capacitance_farad": 0}, "`capacitance_farad` must be above 0, got 0"),
        ({"sinh_volt": -0.2}, "`sinh_volt` must be above 0, got -0.2"),
        ({"drift_start_s": 0.0}, "`drift_start_s` must be above 0, got 0"),
        ({"temperature_per_k": math.nan}, "`temperature_per_k` must be finite, got nan"),
        ({"write_cycles": 0}, "`write_cycles` must be an integer from 1 to 1000, got 0"),
        ({"write_cycles": 2.5}, "`write_cycles` must be an integer, got 2.5"),
        ({"write_cycles": 3}, "`write_cycles` above 1 and `write_tolerance_siemens` belong together"),
        ({"write_tolerance_siemens": 1e-6}, "`write_cycles` above 1 and `write_tolerance_siemens` belong together"),
        ({"device_distribution": "log"}, "unknown device_distribution 'log'; did you mean 'lognormal'?"),
        ({"cycle_distribution": 1}, "`cycle_distribution` must be one of normal, lognormal, got 1"),
        ({"program_sigma_siemens": 1e-6}, "`program_sigma_siemens` must be numbers, got 1e-06"),
        ({"program_sigma_siemens": (1e-6, "x")}, "`program_sigma_siemens` must be a number, got 'x'"),
        ({"drift_mean": (0.1, 0.2, 0.3)}, "`drift_mean` must be 4 numbers, got 3"),
        ({"drift_sigma": 0.1}, "`drift_sigma` must be 4 numbers, got 0.1"),
        (
            {"drift_mean": (0, 0, 0.2, 0.1), "drift_sigma": (0, 0, 0, 0)},
            "`drift_mean` must have 0 <= least <= greatest, got 0.2 and 0.1",
        ),
        (
            {"drift_mean": (0, 0, 0, 0), "drift_sigma": (0, 0, -1, 0)},
            "`drift_sigma` must have 0 <= least <= greatest, got -1 and 0",
        ),
        ({"drift_mean": (0, 0, 0, 1)}, "`drift_mean` and `drift_sigma` belong together, only one is given"),
        ({"drift_sigma": (0, 0, 0, 1)}, "`drift_mean` and `drift_sigma` belong together, only one is given"),
        ({"flicker": (0.1, 0.2)}, "`flicker` must be 3 numbers, got 2"),
        ({"flicker": (0.1, -0.2, 1)}, "`flicker` must have no negative number, got [0.1, -0.2, 1.0]"),
    ],
)
def test_errors_name_the_field(changes, message):
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}$"):
        Device(**changes)
    with pytest.raises(
        ValueError, match=f"^here: {re.escape(message)}$".replace(r"\(", r"[([]").replace(r"\)", r"[)\]]")
    ):
        Device.from_dict(changes, where="here")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"program_sigma_siemens": (1e-7,)}, "`program_sigma_siemens`, got (1e-07,)"),
        ({"cycle_spread": 0.1}, "`cycle_spread`, got 0.1"),
        ({"drift_mean": (0, 0, 0, 1), "drift_sigma": (0, 0, 0, 1)}, "`drift_mean`, got (0.0, 0.0, 0.0, 1.0)"),
        ({"flicker": (0.1, 0, 1)}, "`flicker`, got (0.1, 0.0, 1.0)"),
        ({"shot": True}, "`shot`, got True"),
        ({"sinh_volt": 0.3}, "`sinh_volt`, got 0.3"),
    ],
)
def test_a_capacitor_has_no_errors_of_conductances(changes, message):
    with pytest.raises(ValueError, match=f"^a cell with `capacitance_farad` has no {re.escape(message)}$"):
        Device(capacitance_farad=1e-15, **changes)


def test_a_capacitor_is_not_verified():
    with pytest.raises(ValueError, match=r"^a cell with `capacitance_farad` has 1 as `write_cycles`, got 2$"):
        Device(capacitance_farad=1e-15, write_cycles=2, write_tolerance_siemens=1e-6)


def test_devices_are_frozen_and_replace_validates():
    device = Device()
    with pytest.raises(dataclasses.FrozenInstanceError):
        device.name = "other"
    assert device.replace(name="other").name == "other"
    with pytest.raises(ValueError, match=r"^`g_max_siemens` must be above 0, got -1$"):
        device.replace(g_max_siemens=-1)


def test_a_device_of_the_user_s_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("g_max_siemens = 1e-4\nprogram_sigma_siemens = [1e-6, 2e-6]\nflicker = [0.01, 0.5, 1]\n")
    device = Device.load(path)
    assert device == Device.load(str(path))
    assert (device.name, device.source) == ("custom", "not stated")
    np.testing.assert_allclose(device.program_sigma(np.array([5e-5])), [2e-6])
    path.write_text("g_max_siemens = 1e-4\nprogram_sigma = [1e-6]\n")
    with pytest.raises(ValueError) as error:
        Device.load(path)
    assert str(error.value) == f"{path}: unknown key 'program_sigma'; did you mean 'program_sigma_siemens'?"
    path.write_text("g_max_siemens = \n")
    with pytest.raises(ValueError, match=r"mine\.toml: not valid TOML: .*line 1"):
        Device.load(path)
    with pytest.raises(ValueError, match=r"^cannot read device file '.*none\.toml': No such file or directory$"):
        Device.load(tmp_path / "none.toml")
    with pytest.raises(ValueError, match=r"^unknown device 'pmc'; did you mean 'pcm'\?$"):
        Device.load("pmc")
    with pytest.raises(ValueError, match=r"^device: must be a table, got 3$"):
        Device.from_dict(3)
