"""Converters: ranges, errors of every kind, and that none of them changes anything where it is zero."""

import numpy as np
import pytest

from tetrit import noise, sim
from tetrit.errors import InvalidValueError
from tetrit.hardware import Adc, Crossbar, Dac
from tetrit.sim.crossbar import _kernels
from tetrit.sim.crossbar.converters import adc_errors, adc_range, dac_table, step_for

ROWS, OUTPUTS = 12, 10


def engine_with(seed=0, **changes):
    fields = {"rows": ROWS, "cols": 40, "weight_format": "int4", "act_format": "int4", "adc_bits": 8} | changes
    machine = Crossbar(**fields)
    codes = np.random.default_rng(1).integers(0, 16, size=(ROWS, OUTPUTS))
    return sim.CrossbarEngine(machine, seed).load(codes)


def batch(n=40):
    return np.random.default_rng(2).integers(-8, 8, size=(n, ROWS))


def exact(engine, x):
    return x @ engine.weight


def test_range_full_never_clips_and_rounds_to_a_power_of_two():
    engine = engine_with(adc_bits=6, mapping="differential", bits_per_cell=4)
    x = batch()
    run = engine.matmul(x)
    # 12 rows, digits to 8, levels to 15: 1440 units in 31 codes need steps of 46.5, so 64
    assert run.output.tolist() == (64 * np.floor(exact(engine, x) / 64 + 0.5)).tolist()
    assert run.events["adc_clipped"] == 0


def test_range_fixed_clips_and_counts():
    engine = engine_with(adc_bits=6, bits_per_cell=4, adc=Adc(range="fixed", full_scale=62.0))
    x = batch()
    run = engine.matmul(x)
    codes = np.floor(exact(engine, x) / 2 + 0.5)
    assert run.output.tolist() == (2 * np.clip(codes, -32, 31)).tolist()
    assert run.events["adc_clipped"] == ((codes < -32) | (codes > 31)).sum() > 0


def test_no_step_is_finer_than_a_unit():
    engine = engine_with(adc_bits=12, bits_per_cell=4, adc=Adc(range="fixed", full_scale=0.5))
    x = batch()
    assert engine.matmul(x).output.tolist() == exact(engine, x).tolist()
    assert step_for(0.0, 31) == 1.0


def differ(codes):
    """A current on the edge between two codes may fall to either side, as gains are rounded to float32."""
    assert np.abs(codes).max() < 1.001
    assert (np.abs(codes) < 1e-5).mean() > 0.98


def test_calibrated_range_takes_the_quantile_of_the_layer():
    x = batch(200)
    for quantile in (1.0, 0.9):
        engine = engine_with(
            adc_bits=5, bits_per_cell=4, adc=Adc(range="calibrated", calibration_quantile=quantile)
        ).calibrate(x)
        step = np.quantile(np.abs(exact(engine, x)), quantile) / 15
        codes = np.clip(np.floor(exact(engine, x) / step + 0.5), -16, 15)
        differ(engine.matmul(x).output / step - codes)


def test_calibrated_per_column_takes_each_columns_largest():
    x = batch(200)
    engine = engine_with(adc_bits=5, bits_per_cell=4, adc=Adc(range="calibrated_per_column")).calibrate(x)
    steps = np.abs(exact(engine, x)).max(axis=0) / 15
    codes = np.clip(np.floor(exact(engine, x) / steps + 0.5), -16, 15)
    differ(engine.matmul(x).output / steps - codes)


def test_calibration_holds_over_time_and_ends_with_new_weights():
    x = batch()
    engine = engine_with(adc_bits=5, adc=Adc(range="calibrated")).calibrate(x)
    before = engine.matmul(x).output
    assert engine.at(1e6).matmul(x).output.tolist() == before.tolist()
    engine.load(np.zeros((ROWS, OUTPUTS), int))
    text = r"^the converters are not calibrated; call `calibrate` with a batch of activations first$"
    with pytest.raises(InvalidValueError, match=text):
        engine.matmul(x)
    assert engine.calibrate(x).matmul(x).output.tolist() == np.zeros((40, OUTPUTS)).tolist()


def test_a_second_calibration_replaces_the_first():
    x = batch()
    engine = engine_with(adc_bits=5, act_format="int4", dac_bits=2, adc=Adc(range="calibrated"))
    want = engine.calibrate(x).matmul(x).output
    engine.calibrate(x // 4)
    assert engine.matmul(x).output.tolist() != want.tolist()
    assert engine.calibrate(x).matmul(x).output.tolist() == want.tolist()


def test_calibrating_what_is_not_calibrated_is_refused():
    text = "^`calibrate` needs converters with `range` = 'calibrated' or 'calibrated_per_column', got 'full' and"
    with pytest.raises(InvalidValueError, match=text):
        engine_with().calibrate(batch())


def test_digital_readout_of_unsigned_inputs_uses_all_codes():
    engine = engine_with(readout="digital", act_format="uint4", bits_per_cell=4, adc_bits=5)
    x = np.abs(batch())
    positive, negative = np.maximum(engine.weight, 0), np.maximum(-engine.weight, 0)
    step = 128  # 12 rows, digits to 15, levels to 15: 2700 units in 31 codes
    want = step * (np.floor(x @ positive / step + 0.5) - np.floor(x @ negative / step + 0.5))
    assert engine.matmul(x).output.tolist() == want.tolist()


def test_one_bit_is_refused_for_either_sign():
    text = "^`adc_bits` must be at least 2 where column currents may have either sign, got 1$"
    with pytest.raises(InvalidValueError, match=text):
        engine_with(adc_bits=1)
    assert adc_range(1, signed=False) == (0, 1)


def test_offset_and_gain_are_each_converters_own():
    adc = Adc(offset_sigma_lsb=0.7, gain_sigma=0.05, columns_per_adc=3)
    engine = engine_with(seed=9, bits_per_cell=4, adc_bits=12, adc=adc)
    x = batch()
    n = -(-20 // 3)  # the array has places for 20 outputs
    errors = adc_errors(adc, 12, n, key=noise.key(9, 3, 0, 0))
    which = np.arange(OUTPUTS) // 3
    want = np.floor(exact(engine, x) * errors.gain[which] + errors.offset[which] + 0.5)
    assert engine.matmul(x).output.tolist() == want.tolist()
    assert engine_with(seed=10, bits_per_cell=4, adc_bits=12, adc=adc).matmul(x).output.tolist() != want.tolist()


def test_noise_of_conversions_has_its_spread():
    engine = engine_with(bits_per_cell=4, adc_bits=16, adc=Adc(noise_sigma_lsb=20.0))
    x = np.repeat(batch(1), 4000, axis=0)
    error = engine.matmul(x).output - exact(engine, x)
    sigma = np.sqrt(20.0**2 + 1 / 12)
    assert abs(error.std() / sigma - 1) < 4 / np.sqrt(2 * error.size)
    assert abs(error.mean()) < 4 * sigma / np.sqrt(error.size)


@pytest.mark.parametrize("signed", [True, False])
def test_the_search_finds_what_arithmetic_finds(signed):
    bits, n = 6, 64
    low, high = adc_range(bits, signed=signed)
    rng = np.random.default_rng(3)
    currents = rng.uniform(-90, 90, size=(50, n)).astype(np.float32)
    currents[0, :4] = (0.5, -0.5, 1e-8, -1e-8)
    gain, offset = rng.uniform(0.5, 1.5, n).astype(np.float32), np.full(n, 0.5, np.float32)
    thresholds = np.tile(np.arange(2.0**bits), (3, 1))
    fast, slow = currents.copy(), currents.copy()
    clipped = np.zeros((2, 50), np.int64)
    _kernels.quantize(fast, gain, offset, float(low), float(high), clipped[0])
    _kernels.search(slow, gain, offset, low, bits, thresholds, np.arange(n) % 3, clipped[1])
    assert (fast == slow).all() and (clipped[0] == clipped[1]).all() and clipped.any()


def test_integral_nonlinearity_moves_the_thresholds():
    """A curve of one step up in the middle: codes there need one unit more."""
    engine = engine_with(bits_per_cell=4, adc_bits=10, adc=Adc(range="fixed", full_scale=1.0, inl_lsb=(0.0, 1.0, 0.0)))
    x = batch()
    codes = np.arange(1024) - 512
    curve = 1 - np.abs(np.linspace(-1, 1, 1024))
    begins = codes + curve
    want = codes[np.searchsorted(begins, exact(engine, x) + 0.5, side="right") - 1]
    assert engine.matmul(x).output.tolist() == want.tolist()
    assert (want != exact(engine, x)).any()


def test_random_steps_are_right_at_both_ends():
    errors = adc_errors(Adc(dnl_sigma_lsb=0.1), 8, 500, key=5)
    error = errors.thresholds - np.arange(256)
    assert np.abs(error[:, [0, -1]]).max() < 1e-9
    # a bridge of 255 steps: in the middle sqrt(n / 4) steps
    assert error[:, 128].std() == pytest.approx(0.1 * np.sqrt(255 / 4), rel=0.15)
    assert np.diff(error, axis=1).std() == pytest.approx(0.1, rel=0.05)


def test_capacitor_mismatch_is_worst_where_all_bits_change():
    errors = adc_errors(Adc(capacitor_sigma=0.01), 8, 4000, key=6)
    level = errors.thresholds
    assert level[:, 0].tolist() == [0.0] * 4000
    step = np.diff(level, axis=1)
    # 127 -> 128: the top capacitor's own error against the sum of all others
    assert step[:, 127].std() == pytest.approx(0.01 * np.sqrt(255), rel=0.06)
    assert step[:, 0].std() == pytest.approx(0.01, rel=0.1)
    quarter = 0.01 * np.sqrt(127)
    assert step[:, 63].std() == pytest.approx(quarter, rel=0.2)


def test_zero_errors_of_a_table_change_nothing():
    x = batch()
    plain = engine_with(adc_bits=6)
    table = engine_with(adc_bits=6, adc=Adc(inl_lsb=(0.0, 0.0)))
    assert table.matmul(x).output.tolist() == plain.matmul(x).output.tolist()
    driven = engine_with(adc_bits=6, dac=Dac(inl_lsb=(0.0, 0.0)))
    assert driven.matmul(x).output.tolist() == plain.matmul(x).output.tolist()


def test_input_converters_are_each_rows_own():
    dac = Dac(offset_sigma_lsb=0.3, gain_sigma=0.05, dnl_sigma_lsb=0.1, inl_lsb=(0.0, 0.4, 0.0))
    engine = engine_with(seed=4, bits_per_cell=4, adc_bits=None, dac=dac)
    table = dac_table(dac, -8, 7, ROWS, key=noise.key(4, 2, 0))
    x = batch()
    volts = table[np.arange(ROWS), x + 8]
    np.testing.assert_allclose(engine.matmul(x).output, volts @ engine.weight, rtol=1e-5, atol=1e-4)
    assert np.abs(volts - x).max() > 0.3


def test_input_curve_is_a_bridge_on_top_of_gain_and_offset():
    table = dac_table(Dac(dnl_sigma_lsb=0.2), 0, 255, 300, key=3)
    assert np.abs(table[:, [0, -1]] - [0, 255]).max() < 1e-9
    assert np.diff(table, axis=1).std() == pytest.approx(0.2, rel=0.05)
    assert dac_table(Dac(), 0, 255, 3, key=3) is None


def test_the_chip_keeps_its_converters_for_all_input_digits():
    """Bit-serial inputs through a DAC of gain error alone scale every digit alike."""
    dac = Dac(gain_sigma=0.1)
    x = batch()
    whole = engine_with(seed=4, bits_per_cell=4, adc_bits=None, dac=dac).matmul(x).output
    serial = engine_with(seed=4, bits_per_cell=4, adc_bits=None, dac=dac, dac_bits=1).matmul(x).output
    np.testing.assert_allclose(serial, whole, rtol=1e-5, atol=1e-4)
