"""A crossbar with a ramp described: what it refuses, and its TOML."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import hardware
from tetrit.errors import InvalidValueError
from tetrit.hardware import Adc, Crossbar, Device, RampAdc
from tetrit.hardware.curves import CURVES, table

WHOLE = {"rows": 8, "cols": 32, "bits_per_cell": 8, "dac_bits": None, "adc_bits": None}

ramps = st.builds(
    RampAdc,
    function=st.sampled_from(sorted(CURVES)) | st.just(table(lambda x: x**3, -1, 1, n=9)),
    bits=st.integers(3, 5),
    device=st.sampled_from(["ideal", Device(name="rough", program_sigma_siemens=(1e-7,), flicker=(0.1, 0.2, 0.3))]),
    cells_per_step=st.sampled_from([1, 4]),
    calibrated=st.booleans(),
    tracks=st.booleans(),
    stuck_off=st.floats(0, 1),
    columns_per_ramp=st.none() | st.integers(1, 9),
)


@given(st.none() | ramps, st.sampled_from(["differential", "offset"]))
def test_round_trip(ramp, mapping):
    machine = Crossbar(**WHOLE, mapping=mapping, ramp=ramp)
    assert machine.ramp is ramp
    written = hardware.to_dict(machine)
    assert ("ramp" in written) == (ramp is not None)
    found = hardware.from_dict(written)
    assert found == machine
    assert hash(found) == hash(machine)
    assert hardware.from_dict(json.loads(json.dumps(written))) == machine


def test_files(tmp_path):
    (tmp_path / "cell.toml").write_text("name = 'mine'\ng_max_siemens = 50e-6\n")
    (tmp_path / "machine.toml").write_text(
        "kind = 'crossbar'\nrows = 8\ncols = 16\nbits_per_cell = 8\nadc_bits = 'none'\n"
        "[ramp]\nfunction = 'tanh'\nbits = 4\noutput_range = [-1, 1]\ndevice = 'cell.toml'\ncolumns_per_ramp = 'none'\n"
    )
    machine = hardware.load_crossbar(tmp_path / "machine.toml")
    cell = Device(name="mine", g_max_siemens=50e-6, source="not stated")
    assert machine.ramp == RampAdc(function="tanh", bits=4, output_range=(-1, 1), device=cell)
    (tmp_path / "again.toml").write_text(hardware.to_toml(machine))
    assert hardware.load(tmp_path / "again.toml") == machine
    points = machine.replace(ramp=RampAdc(function=((-1, 0.0), (0, 0.5), (2, 1)), bits=3))
    (tmp_path / "points.toml").write_text(hardware.to_toml(points))
    assert hardware.load(tmp_path / "points.toml") == points


def test_changes_reach_into_the_ramp_and_may_remove_it():
    machine = Crossbar(**WHOLE, ramp=RampAdc(function="tanh"))
    assert hardware.changed(machine, {"ramp": {"bits": 4}}).ramp == RampAdc(function="tanh", bits=4)
    assert hardware.changed(machine, {"ramp": {"device": "pcm"}}).ramp == RampAdc(function="tanh", device="pcm")
    assert hardware.changed(machine, {"ramp": "none"}) == machine.replace(ramp=None)
    assert hardware.changed(machine.replace(ramp=None), {"ramp": {"function": "tanh"}}) == machine


@pytest.mark.parametrize(
    ("ramp", "message"),
    [
        ("{ bit = 4 }", "[ramp]: unknown key 'bit'; did you mean 'bits'?"),
        ("{ bits = 9 }", "[ramp]: `bits` must be an integer from 3 to 8, got 9"),
        ("{ function = 'tahn' }", "[ramp]: unknown function 'tahn'; did you mean 'tanh'?"),
        ("{ device = 'pmc' }", "[ramp]: unknown device 'pmc'; did you mean 'pcm'?"),
        ("{ device = { g_max = 1.0 } }", "[ramp]: [device]: unknown key 'g_max'; did you mean 'g_max_siemens'?"),
        ("{ device = 3 }", "[ramp]: `device` must be a Device, got 3"),
        ("3", "[ramp]: must be a table, got 3"),
        ("{ }\nadc_bits = 8", "`adc_bits` must be None with a `ramp`, which converts in their place, got 8"),
    ],
)
def test_errors_of_files_name_the_field(ramp, message, tmp_path):
    path = tmp_path / "machine.toml"
    bits = "" if "adc_bits" in ramp else "adc_bits = 'none'\n"
    path.write_text(f"kind = 'crossbar'\nrows = 8\ncols = 16\nbits_per_cell = 8\n{bits}ramp = {ramp}\n")
    with pytest.raises(InvalidValueError) as caught:
        hardware.load(path)
    assert str(caught.value) == f"{path}: {message}"


PARTS = "a ramp converter would apply its function to parts of a sum: "


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adc_bits": 8}, "`adc_bits` must be None with a `ramp`, which converts in their place, got 8"),
        ({"adc": Adc(columns_per_adc=4)}, "`adc` must be left out with a `ramp`, which converts in its place"),
        (
            {"device": "sram", "weight_format": "szt", "bits_per_cell": 1},
            "a `ramp` needs cells with a conductance; 'sram' is charge-domain",
        ),
        ({"bits_per_cell": 4}, PARTS + "a weight has 2 slices"),
        ({"slices": 2}, PARTS + "a weight has 2 slices"),
        ({"dac_bits": 1}, PARTS + "an input has 8 digits"),
        (
            {"readout": "digital"},
            PARTS + "differential mapping with digital readout subtracts columns after the conversion",
        ),
        (
            {"readout": "digital", "mapping": "offset"},
            PARTS + "offset mapping with digital readout subtracts columns after the conversion",
        ),
    ],
)
def test_what_cannot_have_a_ramp(changes, message):
    machine = Crossbar(**WHOLE)
    if "adc" not in changes:
        machine.replace(**changes)
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        machine.replace(**changes, ramp=RampAdc())


def test_wrong_kinds_are_refused():
    with pytest.raises(TypeError, match=r"^`ramp` must be a RampAdc, got 'tanh'$"):
        Crossbar(**WHOLE, ramp="tanh")

    class Mine(Device):
        pass

    machine = Crossbar(**WHOLE, ramp=RampAdc(device=Mine()))
    with pytest.raises(InvalidValueError, match=r"^`device` of class Mine cannot be written as a table; only Device"):
        hardware.to_dict(machine)


@pytest.mark.parametrize("dac_bits", [None, 8, 16])
def test_one_digit_of_inputs_may_be_as_wide_as_the_format_or_wider(dac_bits):
    assert Crossbar(**WHOLE | {"dac_bits": dac_bits}, ramp=RampAdc()).parts_of_sum is None
