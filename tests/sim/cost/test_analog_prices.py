"""Prices of the survey: bounds of every component, one machine only; against ISAAC's power; missing and absurd ones."""

import re

import numpy as np
import pytest

from tetrit import sim
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar, RampAdc, load_crossbar
from tetrit.sim.cost import AnalogPrices
from tetrit.sim.cost.adc import AdcSurvey
from tetrit.sim.cost.peripherals import Peripherals
from tetrit.sim.crossbar import cycles
from tetrit.sim.crossbar.mapping import Layout

MACHINE = Crossbar(
    rows=8, cols=16, device="pcm", weight_format="int4", bits_per_cell=2, dac_bits=3, adc_bits=6, read_voltage_v=0.5
)


@pytest.fixture(scope="module")
def run():
    rng = np.random.default_rng(1)
    prices = AnalogPrices.survey(MACHINE, node_nm=65)
    engine = sim.build(MACHINE, prices=prices).load(rng.integers(0, 16, (20, 10)))
    return engine.matmul(rng.integers(-128, 128, (6, 20)))


def test_every_component_is_its_events_times_its_figure(run):
    around, events = Peripherals.committed().at(65), run.events
    adc = AdcSurvey.survey().energy_pj(bits=6, rate_hz=MACHINE.clock_mhz * 1e6 / 6, node_nm=65)
    wire_pj = 16 * 19**0.5 * 0.065 * 0.2 * 0.5**2 * 1e-3  # 16 cells of 19 F^2, 0.2 fF/um, at 0.5 V
    bits = (3 + 3 + 2) / 3
    wanted = {
        "DAC": events["dac_conversion"] * bits * around.dac.energy.value,
        "drivers": events["driver"] * wire_pj,
        "registers": events["dac_conversion"] * bits * around.register.energy.value,
        "cells": run.breakdown["cells"],
        "integrators": events["adc_conversion"] * around.integrator.energy.value,
        "ADC": events["adc_conversion"] * adc.value,
        "shift and add": events["shift_add"] * around.shift_add.energy.value,
    }
    assert run.breakdown == pytest.approx(wanted)
    assert set(run.breakdown) == set(wanted)


def test_components_have_origins_and_bounds(run):
    prices = AnalogPrices.survey(MACHINE, node_nm=65)
    found = prices.figures_of(run.events, MACHINE, cells_pj=run.breakdown["cells"])
    assert {name: figure.value for name, figure in found.items()} == run.breakdown
    adc = dict(prices.figures)["adc_conversion"]
    assert found["ADC"].low == pytest.approx(run.events["adc_conversion"] * adc.low)
    assert found["ADC"].high == pytest.approx(run.events["adc_conversion"] * adc.high)
    assert found["cells"].low is None
    assert (found["cells"].origin, found["ADC"].origin, found["shift and add"].origin) == ("modelled",) * 3
    at_home = AnalogPrices.survey(MACHINE, node_nm=32).figures_of(run.events, MACHINE, cells_pj=1.0)
    assert at_home["shift and add"].origin == "published"  # nothing scaled
    assert "all at 65 nm" in prices.source


def test_the_committed_table_has_no_bounds_but_origins():
    prices = AnalogPrices.modelled()
    events = {"dac_conversion": 1, "driver": 1, "adc_conversion": 1, "shift_add": 1}
    found = prices.figures_of(events, Crossbar(rows=8, cols=8, dac_bits=1), cells_pj=2.0)
    assert {name: (f.value, f.origin, f.low) for name, f in found.items()} == {
        "DAC": (0.4167, "published", None),
        "drivers": (0.0, "published", None),
        "cells": (2.0, "modelled", None),
        "ADC": (1.67, "published", None),
        "shift and add": (0.021, "published", None),
    }
    assert dict(prices.figures)["ramp_comparison"].origin == "assumed"


def test_prices_of_converters_of_other_bits_are_refused():
    prices = AnalogPrices.survey(MACHINE)
    sim.build(MACHINE.replace(adc_bits=None), prices=prices)  # no converters, no price needed
    text = "the prices are of converters of 6 bits and do not scale, the machine has `adc_bits` = 7"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        sim.build(MACHINE.replace(adc_bits=7), prices=prices)


def test_a_machine_without_converters_pays_none():
    machine = MACHINE.replace(adc_bits=None)
    prices = AnalogPrices.survey(machine)
    done = sim.build(machine, prices=prices).load(np.ones((4, 2), int)).matmul(np.ones((1, 4), int))
    assert (done.breakdown["ADC"], done.breakdown["integrators"]) == (0.0, 0.0)


def test_ramps_keep_their_assumed_prices():
    machine = Crossbar(
        rows=8, cols=8, weight_format="szt", bits_per_cell=1, dac_bits=None, adc_bits=None,
        ramp=RampAdc(function="sigmoid", bits=3),
    )  # fmt: skip
    prices = AnalogPrices.survey(machine)
    prices.check(machine)
    assert prices.ramp_comparison_pj == AnalogPrices.modelled().ramp_comparison_pj


def test_isaacs_own_configuration_takes_isaacs_power():
    # 16-bit weights in 8 cells of 2 bits, 16-bit inputs bit by bit on 128 x 128 arrays. As hwcomponents-library quotes
    # the paper: 16 mW of converters, 4 mW of DACs and 0.2 mW of shift-and-add for 8 arrays, which take 16 x 100 ns for
    # 8 x 128 x 16 multiply-accumulates: 1.97 pJ each.
    published_pj = (16 + 4 + 0.2) * 1e-3 * 16 * 100e-9 / (8 * 128 * 16) * 1e12
    machine = Crossbar(
        rows=128, cols=128, device="rram", weight_format="int16", act_format="int16", mapping="offset",
        bits_per_cell=2, dac_bits=1, adc_bits=8,
    )  # fmt: skip
    layout = Layout(machine=machine, n_in=128, n_out=machine.outputs_per_array)
    found = AnalogPrices.modelled().breakdown(cycles.events(layout), machine, cells_pj=0.0)
    assert sum(found.values()) / (128 * layout.n_out) == pytest.approx(published_pj, rel=0.2)


def test_the_survey_agrees_with_isaacs_converter_within_its_bounds():
    found = dict(AnalogPrices.survey(load_crossbar("crossbar_256_pcm"), node_nm=32).figures)["adc_conversion"]
    assert found.low < 1.67 < found.high
    assert found.value == pytest.approx(1.67, rel=0.05)


ROW = {"value_pj": 1.0, "source": "mine"}
TABLE = {
    "adc_conversion": ROW | {"bits": 8},
    "dac_conversion": ROW | {"bits": 1},
    "driver": ROW,
    "shift_add": ROW,
}


def test_a_users_row_may_have_bounds_and_an_origin():
    rows = TABLE | {"driver": ROW | {"low_pj": 0.5, "high_pj": 2.0, "origin": "assumed"}, "integration": ROW}
    prices = AnalogPrices.from_dict(rows)
    machine = Crossbar(rows=8, cols=8, dac_bits=1)
    events = {"dac_conversion": 1, "driver": 10, "adc_conversion": 3, "shift_add": 1}
    found = prices.figures_of(events, machine, cells_pj=0.0)
    driver = found["drivers"]
    assert (driver.low, driver.value, driver.high, driver.origin) == (5.0, 10.0, 20.0, "assumed")
    assert found["integrators"].value == 3.0
    assert "registers" not in found


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ({"driver": ROW}, "prices: `adc_conversion`, `dac_conversion`, `shift_add` are missing"),
        ({name: row for name, row in TABLE.items() if name != "driver"}, "prices: `driver` is missing"),
        (TABLE | {"driver": ROW | {"value_pj": 2e6}}, "prices: `driver_pj` must be at most 1e+06, a microjoule for one "
         "event, got 2e+06"),
        (TABLE | {"driver": ROW | {"low_pj": 3.0, "high_pj": 4.0}}, "prices: driver: `value` must lie between `low` "
         "and `high`, got 1.0 outside 3.0 to 4.0"),
        (TABLE | {"driver": ROW | {"low_pj": 0.5}}, "prices: driver: `low` and `high` must be given together"),
        (TABLE | {"input_bit": ROW | {"value_pj": -1}}, "prices: `input_bit_pj` must be at least 0, got -1"),
        (TABLE | {"adc_conversion": ROW}, "prices: adc_conversion: `bits` is missing"),
    ],
)  # fmt: skip
def test_missing_negative_and_absurd_prices_are_refused(rows, text):
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        AnalogPrices.from_dict(rows)


def test_all_missing_prices_of_a_ramp_are_listed():
    machine = Crossbar(
        rows=8, cols=8, weight_format="szt", bits_per_cell=1, dac_bits=None, adc_bits=None,
        ramp=RampAdc(function="sigmoid", bits=3),
    )  # fmt: skip
    text = "the prices have no `ramp_comparison`, `ramp_cell_read`, which a machine with a `ramp` needs"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        AnalogPrices.from_dict(TABLE).check(machine)
