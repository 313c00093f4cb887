"""Peripherals, cells, area, programming and throughput of crossbars: counted by hand; and what is refused."""

import re
from dataclasses import replace

import pytest

from tetrit.errors import InvalidValueError
from tetrit.hardware import Adc, Crossbar, Device, RampAdc, load_crossbar
from tetrit.sim.cost import Figure
from tetrit.sim.cost.adc import AdcSurvey
from tetrit.sim.cost.crossbar_area import converted_currents, crossbar_area, total
from tetrit.sim.cost.efficiency import efficiency
from tetrit.sim.cost.peripherals import Peripherals, cell_costs
from tetrit.sim.cost.programming import program_energy
from tetrit.sim.cost.scaling import scale
from tetrit.sim.crossbar import cycles
from tetrit.sim.crossbar.mapping import Layout

AROUND = Peripherals.committed()


def figure(value, unit="pJ", **more):
    return Figure(value=value, unit=unit, origin="modelled", source="a test", **more)


# peripherals


def test_every_committed_figure_says_where_it_is_from():
    for name in ("dac", "integrator", "shift_add", "register"):
        row = getattr(AROUND, name)
        assert row.energy.source == row.area.source
        assert "as " in row.energy.source
        assert row.energy.origin == "published"
    assert AROUND.wire_ff_per_um.origin == "assumed"


@pytest.mark.parametrize("node_nm", [28, 65, 130])
def test_values_are_scaled_explicitly_and_bounds_from_their_own_nodes(node_nm):
    found, given = AROUND.at(node_nm).integrator, AROUND.integrator
    assert given.bounds_nm == (65.0, 130.0)
    for name in ("energy", "area"):
        mine, own = getattr(found, name), getattr(given, name)
        alone = replace(own, low=None, high=None)
        assert mine.value == scale(alone, 65, node_nm).value
        assert mine.low == pytest.approx(scale(replace(alone, value=own.low), 65, node_nm).low or own.low)
        wide = scale(replace(alone, value=own.high), 130, node_nm)
        assert mine.high == pytest.approx(max(wide.high or wide.value, scale(alone, 65, node_nm).high or 0))
        assert mine.low <= mine.value <= mine.high
    assert found.node_nm == node_nm
    if node_nm != 65:
        assert f"scaled from 65 to {node_nm} nm by" in found.energy.source


def test_at_its_own_node_a_circuit_is_as_published():
    assert AROUND.at(40).register == AROUND.register
    dac = AROUND.at(32).dac.energy
    assert (dac.value, dac.high) == (0.41667, 0.41667)
    assert dac.low < 0.0046875  # of 65 nm


PERIPHERALS = """
[dac]
bits = 2
node_nm = 32
energy_pj = 1.0
area_um2 = 2.0
origin = "assumed"
source = "mine"
[integrator]
node_nm = 32
energy_pj = 1.0
area_um2 = 3.0
origin = "assumed"
source = "mine"
[shift_add]
node_nm = 32
energy_pj = 1.0
area_um2 = 5.0
origin = "assumed"
source = "mine"
[register]
node_nm = 32
energy_pj = 1.0
area_um2 = 7.0
origin = "assumed"
source = "mine"
[wire]
ff_per_um = 0.5
origin = "assumed"
source = "mine"
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(PERIPHERALS)
    return Peripherals.load(path)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("[dac]", "[adc]", "{path}: unknown key 'adc'; did you mean 'dac'?"),
        ("[wire]\nff_per_um = 0.5\norigin = \"assumed\"\nsource = \"mine\"\n", "", "{path}: missing: wire"),
        ("energy_pj = 1.0\narea_um2 = 3.0\n", "", "{path}: integrator: missing: energy_pj, area_um2"),
        ("area_um2 = 5.0", "area_um2 = -5.0", "{path}: shift_add: `area_um2` must be at least 0, got -5"),
        ("area_um2 = 5.0", "area_um2 = 5.0\narea_low_um2 = 1.0", "{path}: shift_add: `low` and `high` must be given "
         "together"),
        ("bits = 2", "bits = 2.5", "{path}: dac: `bits` must be an integer, got 2.5"),
        ("bits = 2", "bounds_nm = 32", "{path}: dac: `bounds_nm` must be two nodes, got 32"),
        ("ff_per_um = 0.5\n", "", "{path}: wire: missing: ff_per_um"),
        ('origin = "assumed"\nsource = "mine"\n[wire]', 'origin = "guess"\nsource = "mine"\n[wire]',
         "{path}: register: unknown origin 'guess'; known: assumed, modelled, published, synthesised"),
    ],
)  # fmt: skip
def test_wrong_peripherals_are_refused(tmp_path, old, new, text):
    path = tmp_path / "mine.toml"
    path.write_text(PERIPHERALS.replace(old, new))
    with pytest.raises(InvalidValueError) as caught:
        Peripherals.load(path)
    assert str(caught.value).startswith(text.format(path=path))


# cells


def test_cells_are_squares_of_the_feature_size():
    found = cell_costs("pcm").area_um2(100)
    assert (found.value, found.low, found.high) == pytest.approx((0.19, 0.09, 0.53))
    assert found.source.endswith("; F = 100 nm")


CELL = """
[mine]
area_f2 = 10
area_origin = "assumed"
area_source = "a"
pulse_pj = 2.0
pulse_origin = "assumed"
pulse_source = "b"
pulses = 3
pulses_origin = "assumed"
pulses_source = "c"
"""


def test_a_users_cell(tmp_path):
    path = tmp_path / "cells.toml"
    path.write_text(CELL)
    machine = Crossbar(rows=8, cols=8, device=Device(name="mine", source="-"), weight_format="szt", bits_per_cell=1)
    area = crossbar_area(machine, node_nm=100, cells=path)["cells"]
    assert (area.value, area.low, area.origin) == (pytest.approx(64 * 0.1e-6), None, "assumed")
    energy = program_energy(machine, 5, cells=path)
    assert (energy.value, energy.low, energy.unit) == (pytest.approx(5 * 3 * 2e-6), None, "uJ")
    for price in (lambda: crossbar_area(machine), lambda: program_energy(machine, 5)):
        with pytest.raises(
            InvalidValueError, match=r"^cells.toml: unknown device 'mine'; known: flash, pcm, rram, sram$"
        ):
            price()
    path.write_text(CELL.replace("pulse_pj = 2.0\n", "").replace("pulses = 3\n", ""))
    with pytest.raises(InvalidValueError, match=f"^{re.escape(str(path))}: mine: missing: pulse_pj, pulses$"):
        cell_costs("mine", path)
    with pytest.raises(TypeError, match=r"^`device` must be a string, got 3$"):
        cell_costs(3)


# area


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"readout": "digital"},
        {"mapping": "offset"},
        {"mapping": "offset", "readout": "digital"},
        {"weight_format": "szt", "bits_per_cell": 1},
        {"spare_cols": 4},
        {"rows": 4, "cols": 23, "readout": "digital"},
    ],
)
def test_what_is_converted_is_what_the_cycle_model_counts(changes):
    machine = Crossbar(**{"rows": 8, "cols": 16, "weight_format": "int4", "bits_per_cell": 2} | changes)
    full = Layout(machine=machine, n_in=machine.rows, n_out=machine.outputs_per_array)
    assert (full.row_arrays, full.col_arrays) == (1, 1)
    assert converted_currents(machine) == cycles.conversions(full, 0)


def test_area_by_hand(mine):
    machine = Crossbar(
        rows=8, cols=24, device="rram", weight_format="int4", bits_per_cell=2, dac_bits=3, adc_bits=6,
        adc=Adc(columns_per_adc=5),
    )  # fmt: skip
    found = crossbar_area(machine, arrays=3, node_nm=32, peripherals=mine)
    adc = AdcSurvey.survey().area_um2(bits=6, rate_hz=machine.clock_mhz * 1e6 / 6, node_nm=32)
    # 2 digits a weight in pairs: 6 outputs, 12 currents, 3 converters
    um2 = {
        "cells": 8 * 24 * 53 * 0.032**2,
        "DAC": 8 * 3 / 2 * 2.0,
        "registers": 8 * 8 * 7.0,
        "integrators": 12 * 3.0,
        "ADC": 3 * adc.value,
        "shift and add": 3 * 5.0,
    }
    assert {name: figure.value for name, figure in found.items()} == pytest.approx(
        {name: 3e-6 * value for name, value in um2.items()}
    )
    assert found["ADC"].high == pytest.approx(9e-6 * adc.high)
    assert total(found).value == pytest.approx(3e-6 * sum(um2.values()))
    assert {figure.unit for figure in found.values()} == {"mm2"}


def test_conversions_may_take_fewer_cycles_and_faster_converters_are_larger():
    slow, fast = (
        crossbar_area(Crossbar(rows=8, cols=8, device="pcm", adc=Adc(conversion_cycles=n)))["ADC"].value for n in (8, 1)
    )
    assert slow < fast


def test_arrays_without_converters_and_with_ramps(mine):
    machine = Crossbar(rows=8, cols=8, device="pcm", weight_format="szt", bits_per_cell=1, dac_bits=None, adc_bits=None)
    assert list(crossbar_area(machine, peripherals=mine)) == ["cells", "DAC", "registers"]
    ramp = RampAdc(function="sigmoid", bits=3, device="pcm", columns_per_ramp=3)
    found = crossbar_area(machine.replace(ramp=ramp), peripherals=mine, node_nm=32)
    assert list(found) == ["cells", "DAC", "registers", "comparators", "ramp cells"]
    assert found["comparators"].value == pytest.approx(4 * 3.0e-6)
    assert found["ramp cells"].value == pytest.approx(
        2 * (ramp.n_ramp_cells + ramp.n_calibration_cells) * 19 * 0.032**2 * 1e-6
    )


@pytest.mark.parametrize(
    ("changes", "wanted", "text"),
    [
        ({"adc_bits": 20}, {}, "the machine's converters: `bits` must be an integer from 1 to 17, got 20"),
        ({}, {"node_nm": 200}, "`node_nm` must be from 7 to 180, where the table of nodes ends, got 200"),
        ({}, {"arrays": 0}, "`arrays` must be a positive integer, got 0"),
        ({}, {"node_nm": "32"}, "`node_nm` must be a number, got '32'"),
        ({"clock_mhz": 1e6}, {}, "the machine's converters: `rate_hz` must be within 1000 and 1e+10, the ADC survey's, "
         "got 1.25e+11"),
    ],
)  # fmt: skip
def test_areas_that_no_figure_reaches_are_refused(changes, wanted, text):
    with pytest.raises((InvalidValueError, TypeError)) as caught:
        crossbar_area(load_crossbar("crossbar_256_pcm").replace(**changes), **wanted)
    assert str(caught.value) == text


# programming


def test_programming_counts_attempts_or_what_they_stand_for():
    pcm = load_crossbar("crossbar_256_pcm")
    found = program_energy(pcm, 1000)
    assert (found.value, found.low, found.high) == pytest.approx((0.192, 0.0135, 0.96))
    assert found.origin == "assumed"  # ten iterations are
    verified = pcm.replace(device=pcm.cell.replace(write_cycles=5, write_tolerance_siemens=1e-7))
    found = program_energy(verified, 1000)
    assert (found.value, found.low, found.high) == pytest.approx((0.0192, 0.0135, 0.0192))
    assert found.source.startswith("1,000 attempts; each attempt a pulse; a pulse: ")
    assert program_energy(load_crossbar("crossbar_128_rram"), 1000).origin == "modelled"
    assert program_energy(pcm, 0).value == 0
    with pytest.raises(InvalidValueError, match=r"^`attempts` must be a non-negative integer, got -1$"):
        program_energy(pcm, -1)


# throughput

WORK = {
    "macs": 500_000, "time_us": 4.0, "energy_pj": figure(2e6, low=1e6, high=4e6), "act_bits": 8, "weight_bits": 2,
    "result": "sums", "in_energy": ["ADC", "cells"], "utilization": 0.5,
}  # fmt: skip


def test_operations_over_time_energy_and_area():
    found = efficiency(**WORK, area_mm2=figure(0.5, "mm2", low=0.25, high=1.0), in_area=["ADC"])
    assert {name: f.value for name, f in found.figures().items()} == pytest.approx(
        {
            "TOPS": 0.25, "TOPS/W": 0.5, "TOPS/mm2": 0.5,
            "TOPS, 1-bit": 4.0, "TOPS/W, 1-bit": 8.0, "TOPS/mm2, 1-bit": 8.0,
        }
    )  # fmt: skip
    assert (found.tops_per_watt.low, found.tops_per_watt.high) == pytest.approx((0.25, 1.0))
    assert (found.tops_per_mm2.low, found.tops_per_mm2.high) == pytest.approx((0.25, 1.0))
    assert (found.tops_per_watt_1bit.low, found.tops_per_watt_1bit.unit) == (pytest.approx(4.0), "1-bit TOPS/W")
    assert found.definition == (
        "1 MAC = 2 operations; 8-bit activations x 2-bit weights, sums; energy of: ADC, cells; area of: ADC; "
        "utilisation 50 %"
    )


def test_without_an_area_there_is_no_density():
    found = efficiency(**WORK | {"energy_pj": figure(2e6)})
    assert list(found.figures()) == ["TOPS", "TOPS/W", "TOPS, 1-bit", "TOPS/W, 1-bit"]
    assert (found.tops_per_watt.low, found.tops_per_watt.high) == (None, None)
    assert "area" not in found.definition


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"time_us": 0}, InvalidValueError, "`time_us` must be above 0, got 0"),
        ({"macs": 0}, InvalidValueError, "`macs` must be a positive integer, got 0"),
        ({"energy_pj": figure(0.0)}, InvalidValueError, "`energy_pj` must be above 0 pJ, got 0 pJ"),
        ({"energy_pj": figure(1.0, "uJ")}, InvalidValueError, "`energy_pj` must be above 0 pJ, got 1 uJ"),
        ({"energy_pj": 3.0}, TypeError, "`energy_pj` must be a Figure, got 3.0"),
        ({"area_mm2": figure(1.0, "um2")}, InvalidValueError, "`area_mm2` must be above 0 mm2, got 1 um2"),
        ({"utilization": 1.5}, InvalidValueError, "`utilization` must be at most 1, got 1.5"),
    ],
)
def test_throughput_of_nothing_is_refused(changed, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        efficiency(**WORK | changed)


def test_totals_add_bounds_and_take_the_least_certain_origin():
    sure = Figure(value=1.0, unit="pJ", origin="synthesised", source="a")
    parts = [sure, figure(2.0, low=1.0, high=5.0), replace(sure, origin="assumed")]
    found = total(parts)
    assert (found.value, found.low, found.high, found.origin) == (4.0, 3.0, 7.0, "assumed")
    assert (total([sure, sure]).low, total([sure]).origin) == (None, "synthesised")
