"""The ramp converter against a loop, its programmed cells against a slow model, calibration, voltage, and errors."""

import itertools
import math
import pickle
from bisect import bisect_right

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import noise
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar, Device
from tetrit.hardware.curves import CURVES
from tetrit.hardware.ramp import RampAdc
from tetrit.sim.crossbar.ramp import RampConverter, check_fits

ROUGH = Device(name="rough", program_sigma_siemens=(0.3e-6, 1e-6))
RAMP = int.from_bytes(b"ramp")


def slow_codes(converter, x, scale=1.0):
    """One search for each number."""
    group = converter.adc.columns_per_ramp or math.inf
    out = np.empty(x.shape, np.uint8)
    for place in np.ndindex(x.shape):
        ramp = int(place[-1] // group) if place else 0
        passed = bisect_right(converter.thresholds[ramp].tolist(), float(x[place]) * converter.unit * scale)
        out[place] = converter.adc.codes[passed]
    return out


def slow_thresholds(adc, seed, tile=(0, 0), ramp=0):
    """Cells of one ramp after the other, without write-verify or spread."""
    device, found, latest = adc.cell, [], -math.inf
    for number, piece in enumerate(adc.pieces):
        key = noise.key(noise.key(seed, RAMP, *tile, ramp), number)
        targets = [
            step * adc.siemens_per_input / n
            for step, n in zip(piece.steps, adc.cells_of(piece), strict=True)
            for _ in range(n)
        ]
        n_ramp = len(targets)
        for j in range(adc.calibration_cells):
            targets.append(max(device.g_max_siemens / 2**j, device.g_min_siemens))
        z = noise.normals(noise.key(key, 2, 0, 0), len(targets))
        u = noise.uniforms(noise.key(key, 5), len(targets))
        cells = [
            device.g_min_siemens if u[i] < adc.stuck_off else max(t + float(device.program_sigma(t)) * z[i], 0.0)
            for i, t in enumerate(targets)
        ]
        places, cell, at = [], 0, piece.start
        for n in adc.cells_of(piece)[:-1]:
            at += sum(cells[cell : cell + n]) / adc.siemens_per_input
            cell += n
            places.append(at)
        shift = 0.0
        if adc.calibrated:
            middle = len(places) // 2
            off = places[middle] - piece.thresholds[middle]
            sums = (
                sum(chosen)
                for n in range(adc.calibration_cells + 1)
                for chosen in itertools.combinations(cells[n_ramp:], n)
            )
            shifts = [(s - device.g_max_siemens) / adc.siemens_per_input for s in sums]
            shift = min(shifts, key=lambda s: abs(off + s))
        for place in places:
            latest = max(latest, place + shift)
            found.append(latest)
    return found


@pytest.mark.parametrize("name", sorted(CURVES))
@pytest.mark.parametrize("bits", [3, 5, 8])
def test_a_perfect_ramp_is_perfect(name, bits):
    adc = RampAdc(function=name, bits=bits)
    ideal = np.concatenate([piece.thresholds for piece in adc.pieces])
    for calibrated in (False, True):
        converter = RampConverter(adc.replace(calibrated=calibrated), seed=3)
        assert (converter.thresholds == ideal).all()
    low, high = adc.inputs
    x = np.linspace(low, high, 997)
    error = np.abs(converter.values(converter.codes(x)) - adc.curve(x))
    assert error.max() <= adc.lsb / 2 * (1 + 1e-12)
    assert np.abs(converter.inl_lsb()).max() < 1e-6 * 2**bits
    assert (converter.codes([-np.inf, np.inf]) == adc.codes[[0, -1]]).all()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"bits": 8},
        {"calibrated": False},
        {"stuck_off": 0.1},
        {"function": "silu", "bits": 6},
        {"function": "gelu", "stuck_off": 0.3},
        {"calibration_cells": 1},
        {"bits": 7, "cells_per_step": 3},
        {"device": ROUGH.replace(g_min_siemens=2e-6)},
    ],
)
@pytest.mark.parametrize("seed", [0, 11])
def test_programmed_ramps_agree_with_the_slow_model(fields, seed):
    adc = RampAdc(**({"device": ROUGH} | fields))
    found = RampConverter(adc, seed=seed, tile=(2, 1)).thresholds
    assert found.shape == (1, len(adc.codes) - 1)
    np.testing.assert_allclose(found[0], slow_thresholds(adc, seed, (2, 1)), rtol=0, atol=1e-11)


@given(st.data())
def test_codes_agree_with_a_loop(data):
    bits = data.draw(st.integers(3, 8))
    function = data.draw(st.sampled_from(sorted(CURVES)))
    share = data.draw(st.sampled_from([0.0, 0.5]))
    group = data.draw(st.sampled_from([None, 1, 2, 8]))
    adc = RampAdc(function=function, bits=bits, device=ROUGH, columns_per_ramp=group, stuck_off=share)
    converter = RampConverter(
        adc, seed=data.draw(st.integers(0, 9)), columns=5, unit=data.draw(st.sampled_from([1, 0.3]))
    )
    near = st.sampled_from(converter.thresholds.ravel().tolist()).flatmap(
        lambda t: st.sampled_from([np.nextafter(t, -np.inf), t, np.nextafter(t, np.inf)])
    )
    numbers = near | st.floats(-10, 10) | st.sampled_from([-np.inf, np.inf, -0.0, 1e308, -1e308])
    x = np.array(data.draw(st.lists(numbers, min_size=10, max_size=10))).reshape(2, 5)
    assert (converter.codes(x) == slow_codes(converter, x)).all()


def test_a_tie_belongs_to_the_code_above():
    converter = RampConverter(RampAdc(function="identity", bits=3, device=ROUGH), seed=1)
    thresholds = converter.thresholds[0]
    assert (np.diff(thresholds) > 0).all()
    assert (converter.codes(thresholds) == np.arange(1, 8)).all()
    assert (converter.codes(np.nextafter(thresholds, -np.inf)) == np.arange(7)).all()


def test_all_of_the_ramp_stuck():
    adc = RampAdc(bits=3, device=ROUGH, stuck_off=1.0)
    converter = RampConverter(adc, seed=0)
    (piece,) = adc.pieces
    start = piece.start - adc.cell.g_max_siemens / adc.siemens_per_input
    np.testing.assert_allclose(converter.thresholds, start)
    assert converter.codes([-9.0, 0.0]).tolist() == [0, 7]


def test_shapes_dtypes_and_strides():
    converter = RampConverter(RampAdc(device=ROUGH), seed=5)
    x = np.linspace(-7, 7, 24).reshape(2, 3, 4)
    codes = converter.codes(x)
    assert codes.dtype == np.uint8 and codes.shape == x.shape
    assert (converter.codes(x.T) == codes.T).all()
    assert (converter.codes(x[:, ::-2]) == codes[:, ::-2]).all()
    assert converter.codes(0.0).shape == () and converter.codes(np.empty((0, 4))).shape == (0, 4)
    for dtype in (np.float16, np.float32, ml_dtypes.bfloat16, np.int8):
        rounded = x.astype(dtype)
        assert (converter.codes(rounded) == converter.codes(rounded.astype(np.float64))).all()
    assert (converter.codes(x.tolist()) == codes).all()


def test_batches_can_be_split_and_repeated():
    adc = RampAdc(device=ROUGH, columns_per_ramp=2)
    x = np.random.default_rng(0).normal(0, 2, (64, 7))
    whole = RampConverter(adc, seed=4, columns=7).codes(x)
    parts = RampConverter(adc, seed=4, columns=7)
    assert (np.concatenate([parts.codes(x[:1]), parts.codes(x[1:40]), parts.codes(x[40:])]) == whole).all()
    again = pickle.loads(pickle.dumps(parts))
    assert (again.codes(x) == whole).all()


def test_the_compiler_changes_nothing(same_without_the_compiler):
    same_without_the_compiler(
        "import hashlib, numpy as np\n"
        "from tetrit.hardware.ramp import RampAdc\n"
        "from tetrit.sim.crossbar.ramp import RampConverter\n"
        "x = np.random.default_rng(0).normal(0, 3, (50, 6))\n"
        "digest = hashlib.sha256()\n"
        "for function in ('sigmoid', 'silu'):\n"
        "    for group in (None, 4):\n"
        "        adc = RampAdc(function=function, bits=6, device='pcm', stuck_off=0.05, columns_per_ramp=group)\n"
        "        converter = RampConverter(adc, seed=1, columns=6)\n"
        "        for y in (x, x.astype(np.float32)):\n"
        "            digest.update(converter.codes(y).tobytes())\n"
        "        digest.update(converter.thresholds.tobytes())\n"
        "print(digest.hexdigest())\n",
        silent=True,
    )


def test_chips_tiles_and_ramps_differ_and_wider_arrays_keep_their_ramps():
    adc = RampAdc(device=ROUGH, columns_per_ramp=2)
    few, many = (RampConverter(adc, seed=4, columns=n) for n in (4, 7))
    assert (few.n_ramps, many.n_ramps) == (2, 4)
    assert (many.thresholds[:2] == few.thresholds).all()
    others = [RampConverter(adc, seed=5, columns=2), RampConverter(adc, seed=4, tile=(0, 1), columns=2)]
    seen = [few.thresholds[0], few.thresholds[1], *(other.thresholds[0] for other in others)]
    for a, b in itertools.combinations(seen, 2):
        assert (a != b).any()


def test_the_running_error_has_the_spread_of_its_cells():
    """Without calibration the k-th threshold is off by a normal of variance sum sigma**2 of the cells up to it."""
    device = Device(program_sigma_siemens=(0.1e-6, 0.5e-6))  # small enough that no cell is cut off at 0
    adc = RampAdc(device=device, calibrated=False, bits=4)
    (piece,) = adc.pieces
    targets = piece.steps * adc.siemens_per_input
    sigma = np.sqrt(np.cumsum(device.program_sigma(targets) ** 2))[:-1] / adc.siemens_per_input
    off = np.array([RampConverter(adc, seed=s).thresholds[0] - piece.thresholds for s in range(1500)])
    np.testing.assert_allclose(off.std(0), sigma, rtol=0.08)
    assert (np.abs(off.mean(0)) < 4 * sigma / math.sqrt(1500)).all()


def test_calibration_leaves_half_of_the_finest_cell_at_most_where_cells_are_exact():
    """With exact calibration cells and an error within their reach, what is left is half of the smallest one."""

    class OnlySmallStepsErr(Device):
        def program_sigma(self, g_siemens):
            binary = np.isclose(np.log2(self.g_max_siemens / g_siemens) % 1, 0) & (g_siemens >= self.g_max_siemens / 16)
            return np.where(binary, 0.0, 1e-6)

    adc = RampAdc(device=OnlySmallStepsErr())
    middle = len(adc.pieces[0].thresholds) // 2
    before = adc.replace(calibrated=False)
    left, raw = (
        np.array([RampConverter(a, seed=s).thresholds[0, middle] for s in range(200)]) - a.pieces[0].thresholds[middle]
        for a in (adc, before)
    )
    finest = adc.cell.g_max_siemens / 16 / adc.siemens_per_input
    assert np.abs(raw).max() > 2 * finest
    assert np.abs(left).max() <= finest / 2 * (1 + 1e-9)


@pytest.mark.parametrize("stuck_off", [0.0, 0.03])
def test_calibration_reduces_the_nonlinearity(stuck_off):
    adc = RampAdc(device="pcm", stuck_off=stuck_off, output_range=(0, 1))
    with_it, without = (
        np.mean([np.abs(RampConverter(a, seed=s).inl_lsb()).mean() for s in range(60)])
        for a in (adc, adc.replace(calibrated=False))
    )
    assert with_it < 0.75 * without


def test_write_verify_stops_within_its_tolerance():
    device = ROUGH.replace(write_cycles=100, write_tolerance_siemens=0.1e-6)
    adc = RampAdc(device=device, calibrated=False)
    (piece,) = adc.pieces
    for seed in range(20):
        steps = np.diff(RampConverter(adc, seed=seed).thresholds[0], prepend=piece.start) * adc.siemens_per_input
        assert np.abs(steps - piece.steps[:-1] * adc.siemens_per_input).max() <= 0.1e-6 * (1 + 1e-6)


@pytest.mark.parametrize("kind", ["device", "cycle"])
@pytest.mark.parametrize(("distribution", "mean"), [("normal", 1.0), ("lognormal", math.exp(0.02))])
def test_spreads_multiply_conductances(kind, distribution, mean):
    device = Device(**{f"{kind}_spread": 0.2, f"{kind}_distribution": distribution})
    adc = RampAdc(function="identity", device=device, calibrated=False)
    (piece,) = adc.pieces
    found = [
        np.diff(RampConverter(adc, seed=s).thresholds[0], prepend=piece.start) / piece.steps[:-1] for s in range(200)
    ]
    assert np.mean(found) == pytest.approx(mean, abs=0.01)
    logs = np.log(found) if distribution == "lognormal" else np.array(found)
    assert logs.std() == pytest.approx(0.2, rel=0.05)


def test_a_ramp_that_tracks_does_not_see_the_read_voltage():
    adc = RampAdc(device=ROUGH)
    tracks, fixed = (RampConverter(adc.replace(tracks=t), seed=2) for t in (True, False))
    x = np.random.default_rng(1).normal(0, 2, 2000)
    nominal = tracks.codes(x)
    assert (fixed.codes(x) == nominal).all() and (fixed.codes(x, read_voltage_v=0.2) == nominal).all()
    for voltage in (0.15, 0.25):
        assert (tracks.codes(x, read_voltage_v=voltage) == nominal).all()
        moved = fixed.codes(x, read_voltage_v=voltage)
        assert (moved == slow_codes(fixed, x, voltage / 0.2)).all()
        assert (moved != nominal).mean() > 0.3


def test_inl_and_dnl_by_hand():
    adc = RampAdc(function="silu", bits=8, device=ROUGH)
    converter = RampConverter(adc, seed=7)
    assert len(adc.pieces[0].thresholds) > 2
    inl = converter.inl_lsb()[0]
    wanted, at = [], 0
    code = int(adc.codes[0])
    for piece in adc.pieces:
        for _ in piece.thresholds:
            other = code + piece.direction
            x = converter.thresholds[0, at]
            middle = (adc.levels[code] + adc.levels[other]) / 2
            wanted.append((x / (1 + math.exp(-x)) - middle) / (adc.levels[1] - adc.levels[0]))
            code, at = other, at + 1
    np.testing.assert_allclose(inl, wanted, atol=1e-9)
    n = len(adc.pieces[0].thresholds)
    expected = [-(inl[k + 1] - inl[k]) for k in range(n - 1)]
    expected += [inl[k + 1] - inl[k] for k in range(n, len(inl) - 1)]
    assert converter.dnl_lsb().tolist() == [expected]


def test_values_are_the_levels():
    converter = RampConverter(RampAdc(bits=3), seed=0)
    assert (converter.values(np.arange(8, dtype=np.uint8)) == converter.adc.levels).all()
    assert converter.values(np.empty((0, 2), np.uint8)).shape == (0, 2)
    with pytest.raises(InvalidValueError, match=r"^`codes` must be from 0 to 7, got 0 to 8$"):
        converter.values([0, 8])
    with pytest.raises(InvalidValueError, match=r"^`codes` must be from 0 to 7, got -1 to 0$"):
        converter.values([0, -1])
    with pytest.raises(TypeError, match=r"^`codes` must be integers, got float64$"):
        converter.values([0.5])


def test_events():
    plain = RampConverter(RampAdc(), seed=0)
    assert plain.events(10, 64) == {
        "ramp_cycles": 320,
        "ramp_cells": 370,
        "comparisons": 20480,
        "conversions": 640,
    }
    shared = RampConverter(RampAdc(function="silu", columns_per_ramp=8, calibrated=False), seed=0, columns=20)
    assert shared.events(1, 20) == {"ramp_cycles": 34, "ramp_cells": 102, "comparisons": 680, "conversions": 20}
    with pytest.raises(InvalidValueError, match=r"^`vectors` must be a non-negative integer, got -1$"):
        plain.events(-1, 1)


def test_wrong_arguments():
    adc = RampAdc()
    with pytest.raises(TypeError, match=r"^`adc` must be a RampAdc, got 5$"):
        RampConverter(5, seed=0)
    with pytest.raises(InvalidValueError, match=r"^`seed` must be an integer from 0 to 18446744073709551615, got -1$"):
        RampConverter(adc, seed=-1)
    with pytest.raises(TypeError, match=r"^`tile` must be two integers, got 3$"):
        RampConverter(adc, seed=0, tile=3)
    with pytest.raises(InvalidValueError, match=r"^`unit` must be above 0, got 0$"):
        RampConverter(adc, seed=0, unit=0)
    with pytest.raises(InvalidValueError, match=r"^`columns` must be given where `columns_per_ramp` is set$"):
        RampConverter(adc.replace(columns_per_ramp=8), seed=0)
    converter = RampConverter(adc, seed=0, columns=4)
    for shape in ((3, 5), ()):
        with pytest.raises(InvalidValueError, match=r"^`x` must have 4 columns, got shape \("):
            converter.codes(np.zeros(shape))
    with pytest.raises(InvalidValueError, match=r"^`x` must not have NaN, got one at index \(1, 2\)$"):
        converter.codes([[0, 0, 0, 0], [0, 0, np.nan, 0]])
    with pytest.raises(TypeError, match=r"^`x` must be numbers, got complex128$"):
        converter.codes([1j, 0, 0, 0])
    with pytest.raises(InvalidValueError, match=r"^`x` must be an array, got rows of different lengths$"):
        converter.codes([[0, 0, 0, 0], [0]])
    with pytest.raises(InvalidValueError, match=r"^`read_voltage_v` must be above 0, got 0$"):
        converter.codes(np.zeros(4), read_voltage_v=0)


@pytest.mark.parametrize(
    ("changes", "n_in", "why"),
    [
        ({}, 65, "65 inputs need 2 arrays of 64 rows"),
        (
            {"readout": "digital"},
            64,
            "differential mapping with digital readout subtracts columns after the conversion",
        ),
        (
            {"mapping": "offset", "readout": "digital"},
            64,
            "offset mapping with digital readout subtracts columns after the conversion",
        ),
        ({"bits_per_cell": 4}, 64, "a weight has 2 slices"),
        ({"dac_bits": 4}, 64, "an input has 2 digits"),
    ],
)
def test_a_ramp_needs_a_whole_product_in_one_current(changes, n_in, why):
    crossbar = Crossbar(rows=64, cols=64, bits_per_cell=8, dac_bits=8)
    check_fits(crossbar, 64)
    check_fits(crossbar.replace(mapping="offset"), 64)  # the reference is subtracted before the converter
    with pytest.raises(
        InvalidValueError, match=f"^a ramp converter would apply its function to parts of a sum: {why}$"
    ):
        check_fits(crossbar.replace(**changes), n_in)
