"""Weights and inputs in digits, and back: every mapping equals integer arithmetic with zero errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit import hardware, sim
from tetrit.hardware import CROSSBAR_WEIGHTS, Crossbar
from tetrit.sim.crossbar.mapping import Layout, input_digits, levels, reference_levels, targets


def finite_codes(machine):
    return np.flatnonzero(~np.isnan(machine.weights.values))


@st.composite
def machines(draw):
    machine = Crossbar(
        rows=draw(st.integers(1, 20)),
        cols=draw(st.integers(64, 100)),
        weight_format=draw(st.sampled_from(CROSSBAR_WEIGHTS)),
        act_format=draw(st.sampled_from(["", "u"])) + f"int{draw(st.integers(2, 10))}",
        mapping=draw(st.sampled_from(["differential", "offset"])),
        readout=draw(st.sampled_from(["analog", "digital"])),
        bits_per_cell=draw(st.integers(1, 8)),
        dac_bits=draw(st.sampled_from([None, *range(1, 9)])),
        adc_bits=draw(st.sampled_from([None, 24])),
        adc=hardware.Adc(columns_per_adc=draw(st.integers(1, 9)), range=draw(st.sampled_from(["full", "calibrated"]))),
        g_min_siemens=draw(st.sampled_from([None, 0.7e-6])),
        drift_compensation=draw(st.sampled_from(["none", "global"])),
        time_s=100.0,
    )
    return machine.replace(spare_cols=draw(st.sampled_from([0, machine.columns_per_output])))


@given(machines(), st.integers(1, 45), st.integers(1, 75), st.integers(0, 2**32 - 1))
@settings(max_examples=80)
def test_a_perfect_device_gives_the_exact_integers(machine, n_in, n_out, seed):
    rng = np.random.default_rng(seed)
    codes = rng.choice(finite_codes(machine), size=(n_in, n_out))
    allowed = machine.activations.integers
    x = rng.integers(allowed.min(), allowed.max() + 1, size=(3, n_in))
    x[0] = rng.choice([allowed.min(), allowed.max()], size=n_in)
    engine = sim.build(machine, np.random.default_rng(seed)).load(codes)
    if machine.adc_bits and machine.adc.range == "calibrated":
        engine.calibrate(x)
    run = engine.matmul(x)
    assert run.output.tolist() == (x @ machine.weights.integers[codes]).tolist()
    assert run.events["adc_clipped"] == 0


@pytest.mark.parametrize(
    ("rows", "fields", "code", "least"),
    [
        (34, {"weight_format": "int7", "act_format": "uint15", "mapping": "offset", "bits_per_cell": 4}, 127, 20_000),
        (200, {"weight_format": "int2", "act_format": "uint16", "bits_per_cell": 1}, 1, 60_000),
    ],
    ids=str,
)
def test_codes_at_sums_whose_halves_float32_does_not_hold_are_exact(rows, fields, code, least):
    """Currents lie between 2^23 and 2^24 units, where adding one half to round would take a float32 to the even one."""
    machine = Crossbar(rows=rows, cols=28, readout="digital", dac_bits=None, adc_bits=24, **fields)
    x = np.random.default_rng(0).integers(least, machine.activations.integers.max() + 1, (64, rows))
    codes = np.full((rows, 2), code)
    found = sim.build(machine).load(codes).matmul(x).output
    assert found.tolist() == (x @ machine.weights.integers[codes]).tolist()


@pytest.mark.parametrize("extreme", [np.argmax, np.argmin])
def test_sums_beyond_float32_are_exact(extreme):
    """16-bit inputs and weights in one cell column each: currents reach 2^37 units."""
    machine = Crossbar(
        rows=256, cols=16, weight_format="int16", act_format="int16", bits_per_cell=8, dac_bits=None, adc_bits=None
    )
    codes = np.full((200, 3), int(extreme(machine.weights.integers)))
    x = np.full((2, 200), -(2**15))
    x[1, 7] += 1
    assert sim.build(machine).load(codes).matmul(x).output.tolist() == (x @ machine.weights.integers[codes]).tolist()


@given(machines(), st.integers(0, 2**32 - 1))
def test_digits_add_up(machine, seed):
    rng = np.random.default_rng(seed)
    layout = Layout(machine=machine, n_in=5, n_out=3)
    weights = rng.choice(machine.weights.integers[finite_codes(machine)], size=(5, 3))
    cells = levels(machine, weights)
    assert cells.min() >= 0 and cells.max() < 2**machine.bits_per_cell
    signs = [1, -1] * machine.n_slices if machine.mapping == "differential" else [1] * machine.n_slices
    assert (cells @ (layout.significance * signs) - machine.offset == weights).all()
    if machine.mapping == "offset":
        assert reference_levels(machine) @ layout.significance == machine.offset
    allowed = machine.activations.integers
    x = np.arange(allowed.min(), allowed.max() + 1)
    digits = input_digits(layout, x)
    assert (sum(d * w for d, w in zip(digits, layout.digit_weights, strict=True)) == x).all()
    for digit, reach in zip(digits, layout.digit_reach, strict=True):
        assert np.abs(digit).max() == reach


@given(machines(), st.integers(0, 2**32 - 1))
def test_targets_lie_in_the_window_and_where_they_should(machine, seed):
    rng = np.random.default_rng(seed)
    layout = Layout(machine=machine, n_in=machine.rows, n_out=machine.outputs_per_array)
    weights = rng.choice(
        machine.weights.integers[finite_codes(machine)], size=(machine.rows, machine.outputs_per_array)
    )
    cells = levels(machine, weights)
    places = rng.permutation(layout.places)[: machine.outputs_per_array]
    g = targets(layout, cells, places)
    low, high = machine.window
    assert g.shape == (machine.rows, machine.cols) and g.min() >= low and g.max() <= high
    for output, place in enumerate(places):
        for k in range(machine.columns_per_output):
            column = g[:, place * machine.columns_per_output + k]
            np.testing.assert_allclose(column, low + machine.level_siemens * cells[:, output, k], rtol=1e-12)
    used = np.zeros(machine.cols, bool)
    used[layout.columns(places).ravel()] = True
    used[layout.references] = True
    assert (g[:, ~used] == low).all()


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.integers(8, 30))
def test_arrays_cover_the_matrix_once(n_in, n_out, rows, cols):
    layout = Layout(machine=Crossbar(rows=rows, cols=cols), n_in=n_in, n_out=n_out)
    count = np.zeros((n_in, n_out), int)
    for i in range(layout.row_arrays):
        for j in range(layout.col_arrays):
            count[layout.rows(i), layout.outputs(j)] += 1
    assert (count == 1).all()


def test_a_moved_bit_is_noticed():
    """The exactness test fails for a mapping with one wrong level."""
    machine = Crossbar(rows=4, cols=8, weight_format="int4", adc_bits=None)
    engine = sim.build(machine).load([[1, 3], [2, 15]])
    broken = sim.build(machine).load([[1, 3], [2, 14]])
    x = [[5, 7]]
    assert engine.matmul(x).output.tolist() == [[19.0, 8.0]] != broken.matmul(x).output.tolist()
