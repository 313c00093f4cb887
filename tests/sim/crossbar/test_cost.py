"""Cycles, events and energy of a product, counted by hand and by a loop."""

import numpy as np
import pytest

from tetrit import sim
from tetrit.errors import InvalidValueError
from tetrit.hardware import Adc, Crossbar, Device
from tetrit.sim.cost import AnalogPrices
from tetrit.sim.crossbar.wires import reference


def run(x=None, n_out=10, **changes):
    fields = {"rows": 8, "cols": 16, "weight_format": "int4", "act_format": "int8", "bits_per_cell": 2} | changes
    machine = Crossbar(**fields)
    engine = sim.build(machine).load(np.random.default_rng(1).integers(0, 16, size=(20, n_out)))
    x = np.random.default_rng(2).integers(-128, 128, size=(6, 20)) if x is None else x
    return machine, engine, engine.matmul(x)


def test_events_by_hand():
    # 2 digits a weight, in pairs: 4 columns an output, 4 outputs an array: 3 x 3 arrays; 8-bit inputs in 3, 3, 2 bits
    _, _, done = run(dac_bits=3)
    assert done.events == {
        "cycles": done.cycles,
        "dac_conversion": 6 * 3 * 20,
        "driver": 6 * 3 * 20 * 3,
        "cell_read": 6 * 3 * 20 * 40,
        "adc_conversion": 6 * 3 * 20 * 3,
        "shift_add": 6 * 3 * 20 * 3,
        "adc_clipped": 0,
    }
    assert done.utilization == 20 * 40 / (9 * 8 * 16)


@pytest.mark.parametrize(
    ("changes", "each"),
    [
        ({}, 1 + 8),  # one conversion of a bit a cycle
        ({"adc": Adc(columns_per_adc=4)}, 1 + 4 * 8),
        ({"adc": Adc(columns_per_adc=100)}, 1 + 8 * 8),  # 4 outputs of 2 digits is all that an array has
        ({"adc": Adc(columns_per_adc=100), "readout": "digital"}, 1 + 16 * 8),
        ({"adc": Adc(columns_per_adc=2, conversion_cycles=3), "settle_cycles": 5}, 5 + 2 * 3),
        ({"adc_bits": None}, 1),
        ({"adc_bits": None, "settle_cycles": 0}, 1),
    ],
)
def test_cycles_by_hand(changes, each):
    assert run(**changes)[2].cycles == 6 * 1 * each + 1
    assert run(**changes, dac_bits=1)[2].cycles == 6 * 8 * each + 1


def test_the_bound_says_what_takes_longer():
    assert run()[2].bound == "converters"
    assert run(settle_cycles=9)[2].bound == "settling"


@pytest.mark.parametrize("mapping", ["differential", "offset"])
@pytest.mark.parametrize("readout", ["analog", "digital"])
def test_conversions_are_those_of_the_columns(mapping, readout):
    machine, engine, done = run(mapping=mapping, readout=readout)
    columns = sum(
        len(engine.arrays.places[at])
        * machine.n_slices
        * (2 if mapping == "differential" and readout == "digital" else 1)
        + (machine.n_slices if mapping == "offset" and readout == "digital" else 0)
        for at in engine.arrays.cells
    )
    assert done.events["adc_conversion"] == 6 * columns


def test_energy_is_the_sum_of_its_parts():
    machine, _, done = run(dac_bits=3, adc_bits=10)
    prices = AnalogPrices.modelled()
    assert done.energy_pj == sum(done.breakdown.values())
    assert done.breakdown["ADC"] == done.events["adc_conversion"] * prices.adc_conversion_pj * 4
    assert done.breakdown["DAC"] == pytest.approx(6 * 20 * 8 * prices.dac_conversion_pj)  # by the bits: 3 + 3 + 2
    assert done.breakdown["shift and add"] == done.events["shift_add"] * prices.shift_add_pj
    assert list(done.breakdown) == ["DAC", "drivers", "cells", "ADC", "shift and add"]
    assert machine.adc_bits == 10


def test_cells_take_volts_squared_times_conductance_times_time():
    x = np.random.default_rng(2).integers(-128, 128, size=(6, 20))
    machine, engine, done = run(x, dac_bits=None)
    joule = 0.0
    for (i, _), cells in engine.arrays.cells.items():
        for b in range(6):
            for r, value in enumerate(x[b, engine.layout.rows(i)]):
                joule += (value * machine.read_voltage_v / 128) ** 2 * cells.programmed[r].sum() * machine.read_time_s
    assert done.breakdown["cells"] == pytest.approx(joule * 1e12, rel=1e-6)


TABLE = """
[adc_conversion]
value_pj = 2.0
bits = 8
source = "mine"
[dac_conversion]
value_pj = 0.5
bits = 1
source = "mine"
[driver]
value_pj = 0.25
source = "mine"
[shift_add]
value_pj = 0.125
source = "mine"
"""


def test_a_users_table_replaces_the_committed_one(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(TABLE)
    prices = AnalogPrices.load(path)
    machine = Crossbar(rows=8, cols=16)
    done = sim.build(machine, prices=prices).load(np.zeros((4, 2), int)).matmul(np.ones((1, 4), int))
    assert done.breakdown == {
        "DAC": 4 * 0.5 * 8,
        "drivers": 1.0,
        "cells": 0.0,
        "ADC": 2 * 2 * 2.0,
        "shift and add": 0.5,
    }


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("[driver]", "[drivers]", "{path}: unknown key 'drivers'"),
        ("[shift_add]\nvalue_pj = 0.125\nsource", "#", "{path}: `shift_add` is missing"),
        ("bits = 8\n", "", "{path}: adc_conversion: `bits` is missing"),
        ("value_pj = 2.0", "value_pj = -2.0", "{path}: `adc_conversion_pj` must be at least 0, got -2"),
        ("value_pj = 2.0", "value_pj = nan", "{path}: `adc_conversion_pj` must be finite, got nan"),
        ("value_pj = 2.0", 'value_pj = "2"', "{path}: `adc_conversion_pj` must be a number, got '2'"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, old, new, text):
    path = tmp_path / "prices.toml"
    path.write_text(TABLE.replace(old, new))
    with pytest.raises(InvalidValueError) as caught:
        AnalogPrices.load(path)
    assert str(caught.value).startswith(text.format(path=path))


def test_every_committed_price_has_a_source():
    prices = AnalogPrices.modelled()
    assert prices.source.count("ISAAC") == 4


def test_cells_take_voltage_times_current():
    rng = np.random.default_rng(5)
    codes, x = rng.integers(0, 16, size=(20, 10)), rng.integers(-128, 128, size=(6, 20))
    fields = {"rows": 20, "cols": 20, "weight_format": "int4", "bits_per_cell": 4, "adc_bits": None}
    volts = x / 128 * 0.2
    for bend in (None, 0.1):
        machine = Crossbar(**fields, device=Device(sinh_volt=bend), read_voltage_v=0.2)
        engine = sim.build(machine).load(codes)
        g = engine.arrays.cells[0, 0].conductance(0.0)
        unit = volts if bend is None else bend * np.sinh(volts / bend)
        wanted = (volts * unit @ g).sum() * machine.read_time_s * 1e12
        assert engine.matmul(x).breakdown["cells"] == pytest.approx(wanted, rel=1e-6)


def test_wires_take_their_share_of_a_row_that_all_inputs_drive_alike():
    fields = {"rows": 5, "cols": 6, "weight_format": "int4", "bits_per_cell": 4, "adc_bits": None}
    machine = Crossbar(**fields, r_row_ohm=20.0, r_col_ohm=20.0, r_driver_ohm=200.0, read_voltage_v=0.2)
    engine = sim.build(machine).load(np.random.default_rng(5).integers(0, 16, size=(5, 3)))
    found = engine.matmul(np.full((1, 5), -128)).breakdown["cells"]
    wanted = 0.2**2 * reference.rational(engine.arrays.cells[0, 0].conductance(0.0), 20.0, 20.0, 200.0, 0.0).sum()
    assert found == pytest.approx(wanted * machine.read_time_s * 1e12, rel=1e-6)
