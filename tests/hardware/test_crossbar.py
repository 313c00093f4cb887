"""Crossbar and converter descriptions: derived counts, TOML round trips, and errors that name file and field."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import formats, hardware
from tetrit.hardware import CROSSBAR_WEIGHTS, Adc, Crossbar, Dac, Device, Memory, ShiftArray
from tetrit.hardware.crossbar import CROSSBAR_ACTS, DRIVES, MAPPINGS, READOUTS

BITS = {  # bits of the largest magnitude, and of the largest shifted weight
    "szt": (1, 2),
    "int2_symmetric": (1, 2),
    "pot2": (2, 3),
    "pot3": (4, 5),
    "pot4": (8, 9),
    "pot3z": (3, 4),
    "pot4z": (7, 8),
    "posit4_1": (9, 10),
    **{f"int{bits}": (bits, bits) for bits in range(2, 17)},
}

positive = st.floats(1e-3, 1e3)
shares = st.floats(0, 0.5)
devices = st.one_of(
    st.sampled_from(["ideal", "pcm", "rram", "flash"]),
    st.builds(
        Device,
        name=st.text(),
        program_sigma_siemens=st.lists(st.floats(-1, 1), max_size=4),
        write_cycles=st.just(5),
        write_tolerance_siemens=positive,
        flicker=st.none() | st.tuples(shares, shares, shares),
        drift_mean=st.just((0.1, 0, 0, 1)),
        drift_sigma=st.just((0.1, 0, 0, 1)),
        device_distribution=st.sampled_from(["normal", "lognormal"]),
        sinh_volt=st.none() | st.floats(0.01, 1e3),
        shot=st.booleans(),
        source=st.text(),
    ),
)
crossbars = st.builds(
    Crossbar,
    rows=st.integers(1, 1024),
    cols=st.integers(256, 1024),
    device=devices,
    weight_format=st.sampled_from(CROSSBAR_WEIGHTS),
    act_format=st.sampled_from(CROSSBAR_ACTS),
    mapping=st.sampled_from(MAPPINGS),
    readout=st.sampled_from(READOUTS),
    bits_per_cell=st.integers(1, 8),
    slices=st.none() | st.just(16),
    dac_bits=st.none() | st.integers(1, 16),
    adc_bits=st.none() | st.integers(1, 24),
    dac=st.builds(Dac, gain_sigma=shares, inl_lsb=st.just([]) | st.lists(st.floats(-1, 1), min_size=2, max_size=5)),
    adc=st.one_of(
        st.builds(Adc, range=st.just("fixed"), full_scale=positive, conversion_cycles=st.none() | st.integers(1, 9)),
        st.builds(Adc, range=st.sampled_from(["full", "calibrated", "calibrated_per_column"]), capacitor_sigma=shares),
    ),
    r_row_ohm=shares,
    drive=st.sampled_from(DRIVES),
    g_min_siemens=st.none() | st.just(1e-6),
    g_max_siemens=st.none() | st.just(5e-6),
    time_s=positive,
    stuck_on=shares,
    stuck_off=shares,
)


@given(machine=crossbars)
def test_a_crossbar_survives_tables_and_files(machine, tmp_path_factory):
    assert hardware.from_dict(hardware.to_dict(machine)) == machine
    path = tmp_path_factory.mktemp("machines") / "machine.toml"
    path.write_text(hardware.to_toml(machine), encoding="utf-8")
    again = hardware.load(path)
    assert again == machine
    assert hash(again) == hash(machine)
    assert hardware.to_toml(again) == path.read_text(encoding="utf-8")


@given(machine=crossbars)
def test_counts_follow_from_their_definitions(machine):
    magnitude, shifted = BITS[machine.weight_format]
    assert machine.weight_bits == (magnitude if machine.mapping == "differential" else shifted)
    assert (machine.n_slices - 1 if machine.slices is None else 0) * machine.bits_per_cell < machine.weight_bits
    assert machine.n_slices * machine.bits_per_cell >= machine.weight_bits
    used = machine.outputs_per_array * machine.columns_per_output + machine.reserved_cols
    assert used <= machine.cols < used + machine.columns_per_output
    digits = machine.input_digits
    assert sum(digits) == machine.activations.bits
    assert all(0 < digit <= (machine.dac_bits or 16) for digit in digits)
    assert len(set(digits[:-1])) <= 1
    low, high = machine.window
    np.testing.assert_allclose(low + machine.level_siemens * (2**machine.bits_per_cell - 1), high, rtol=1e-12)


@pytest.mark.parametrize("name", CROSSBAR_WEIGHTS)
def test_weight_bits_and_offset_of_every_format(name):
    """Against the values of all codes; NaR of the posit and the reserved code of symmetric ternary are no weights."""
    found = formats.get(name)
    values = found.values[~np.isnan(found.values)]
    integers = np.round(values * (16 if name == "posit4_1" else 1)).astype(int)
    machine = Crossbar(rows=1, cols=64, weight_format=name)
    assert (machine.weight_bits, machine.offset) == (int(np.abs(integers).max()).bit_length(), 0)
    shifted = machine.replace(mapping="offset")
    assert shifted.offset == -integers.min()
    assert shifted.weight_bits == int(integers.max() - integers.min()).bit_length()
    assert (machine.weight_bits, shifted.weight_bits) == BITS[name]


def test_every_activation_format_exists():
    assert len(CROSSBAR_ACTS) == 30
    for name in CROSSBAR_ACTS:
        assert Crossbar(rows=1, cols=4, act_format=name).activations == formats.get(name)


def test_counts_by_hand():
    machine = Crossbar(rows=64, cols=70, weight_format="int8", act_format="int8", bits_per_cell=3, dac_bits=3)
    assert (machine.n_slices, machine.columns_per_output, machine.reserved_cols) == (3, 6, 0)
    assert (machine.outputs_per_array, machine.spare_outputs) == (11, 0)
    assert machine.input_digits == (3, 3, 2)
    assert machine.level_siemens == 25e-6 / 7
    offset = machine.replace(mapping="offset", spare_cols=6, dac_bits=None)
    assert (offset.n_slices, offset.columns_per_output, offset.reserved_cols) == (3, 3, 9)
    assert (offset.outputs_per_array, offset.spare_outputs, offset.offset) == (20, 2, 128)
    assert offset.input_digits == (8,)
    assert machine.replace(dac_bits=1).input_digits == (1,) * 8
    assert machine.replace(dac_bits=16).input_digits == (8,)
    assert machine.replace(slices=5).columns_per_output == 10
    wide = machine.replace(weight_format="int16", bits_per_cell=1, cols=32)
    assert (wide.n_slices, wide.outputs_per_array) == (16, 1)


def test_the_smallest_arrays():
    assert Crossbar(rows=1, cols=2, weight_format="szt", bits_per_cell=1).outputs_per_array == 1
    assert Crossbar(rows=1, cols=2, weight_format="szt", bits_per_cell=2, mapping="offset").outputs_per_array == 1
    with pytest.raises(ValueError, match=r"^`cols` must be at least 2: 2 for an output and 0 reserved, got 1$"):
        Crossbar(rows=1, cols=1, weight_format="szt", bits_per_cell=1)


def test_windows():
    machine = Crossbar(rows=4, cols=4, g_min_siemens=5e-6)
    assert machine.window == (5e-6, 25e-6)
    assert machine.replace(g_min_siemens=None, g_max_siemens=np.float64(1e-5)).window == (0.0, 1e-5)
    assert machine.has_wires is False
    for name in ("r_row_ohm", "r_col_ohm", "r_driver_ohm", "r_sense_ohm"):
        assert machine.replace(**{name: 1e-3}).has_wires is True
    charge = Crossbar(rows=4, cols=16, device="sram", bits_per_cell=1, weight_format="int4", read_time_s=1e-8)
    assert charge.window == (0.0, 1.2e-15 / 1e-8)
    assert charge.level_siemens == charge.window[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 0}, "`rows` must be an integer from 1 to 65536, got 0"),
        ({"cols": 65537}, "`cols` must be an integer from 1 to 65536, got 65537"),
        ({"cols": 2.0}, "`cols` must be an integer, got 2.0"),
        ({"device": 3}, "`device` must be a Device, got 3"),
        ({"device": "pmc"}, "unknown device 'pmc'; did you mean 'pcm'?"),
        ({"dac": 8}, "`dac` must be a Dac, got 8"),
        ({"adc": None}, "`adc` must be a Adc, got None"),
        ({"bits_per_cell": 9}, "`bits_per_cell` must be an integer from 1 to 8, got 9"),
        ({"bits_per_cell": True}, "`bits_per_cell` must be an integer, got True"),
        ({"slices": 17}, "`slices` must be an integer from 1 to 16, got 17"),
        ({"dac_bits": 0}, "`dac_bits` must be an integer from 1 to 16, got 0"),
        ({"adc_bits": 25}, "`adc_bits` must be an integer from 1 to 24, got 25"),
        ({"weight_format": "int1"}, "unknown weight_format 'int1'; did you mean 'int16'?"),
        ({"weight_format": "uint8"}, "unknown weight_format 'uint8'; did you mean 'int8'?"),
        ({"act_format": "fp4_e2m1"}, None),
        ({"mapping": "differnetial"}, "unknown mapping 'differnetial'; did you mean 'differential'?"),
        ({"readout": "analogue"}, "unknown readout 'analogue'; did you mean 'analog'?"),
        ({"drive": "both"}, "unknown drive 'both'; known: one_sided, two_sided"),
        ({"drift_compensation": "globl"}, "unknown drift_compensation 'globl'; did you mean 'global'?"),
        ({"r_row_ohm": -1}, "`r_row_ohm` must be at least 0, got -1"),
        ({"r_col_ohm": -0.5}, "`r_col_ohm` must be at least 0, got -0.5"),
        ({"r_driver_ohm": float("nan")}, "`r_driver_ohm` must be finite, got nan"),
        ({"r_sense_ohm": float("inf")}, "`r_sense_ohm` must be finite, got inf: columns 0 to 15 would float"),
        ({"r_driver_ohm": float("inf")}, "`r_driver_ohm` must be finite, got inf: rows 0 to 7 would float"),
        ({"r_row_ohm": float("inf"), "rows": 1}, "`r_row_ohm` must be finite, got inf: row 0 would float"),
        ({"time_s": -1}, "`time_s` must be at least 0, got -1"),
        ({"read_voltage_v": 0}, "`read_voltage_v` must be above 0, got 0"),
        (
            {"device": Device(sinh_volt=0.0099)},
            "`read_voltage_v` must be at most 20 times the `sinh_volt` of 'ideal', 0.0099 V, got 0.2",
        ),
        ({"read_time_s": 0}, "`read_time_s` must be above 0, got 0"),
        ({"temperature_k": -3}, "`temperature_k` must be above 0, got -3"),
        ({"clock_mhz": "1"}, "`clock_mhz` must be a number, got '1'"),
        ({"settle_cycles": -1}, "`settle_cycles` must be a non-negative integer, got -1"),
        ({"stuck_on": -0.1}, "`stuck_on` must be at least 0, got -0.1"),
        ({"stuck_on": 0.6, "stuck_off": 0.5}, "`stuck_on` + `stuck_off` must be at most 1, got 1.1"),
        ({"spare_cols": 2}, "`spare_cols` must be a multiple of 4, the columns of an output, got 2"),
        ({"spare_cols": 16}, "`cols` must be at least 20: 4 for an output and 16 reserved, got 16"),
        (
            {"mapping": "offset", "bits_per_cell": 1, "cols": 15},
            "`cols` must be at least 16: 8 for an output and 8 reserved, got 15",
        ),
        (
            {"slices": 1},
            "`slices` x `bits_per_cell` must be at least 8 to hold int8 with the differential mapping, got 1 x 4",
        ),
        (
            {"slices": 2, "mapping": "offset", "weight_format": "posit4_1"},
            "`slices` x `bits_per_cell` must be at least 10 to hold posit4_1 with the offset mapping, got 2 x 4",
        ),
        (
            {"g_min_siemens": -1e-6},
            "`g_min_siemens` must be at least 0, got -1e-06",
        ),
        (
            {"g_max_siemens": 3e-5},
            "`g_max_siemens` must be within 0..2.5e-05 S, the window of 'ideal', got 3e-05",
        ),
        (
            {"g_min_siemens": 2e-5, "g_max_siemens": 1e-5},
            "`g_min_siemens` must be below `g_max_siemens`, got 2e-05 and 1e-05",
        ),
        ({"device": "sram"}, "`bits_per_cell` of a charge-domain cell must be 1, got 4"),
        (
            {"device": "sram", "bits_per_cell": 1, "r_col_ohm": 1},
            "a charge-domain array has no wire resistance here: `r_..._ohm` must all be 0",
        ),
        (
            {"device": "sram", "bits_per_cell": 1, "g_max_siemens": 1e-6},
            "a charge-domain cell's conductances follow from its capacitance",
        ),
    ],
)
def test_errors_name_the_field(changes, message):
    if message is None:
        message = "unknown act_format 'fp4_e2m1'; known: " + ", ".join(sorted(CROSSBAR_ACTS))
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}$"):
        Crossbar(**{"rows": 8, "cols": 16} | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"range": "auto"}, "unknown range 'auto'; known: calibrated, calibrated_per_column, fixed, full"),
        ({"range": "fixed"}, "`full_scale` belongs to `range` = 'fixed', got None with 'fixed'"),
        ({"full_scale": 3.0}, "`full_scale` belongs to `range` = 'fixed', got 3.0 with 'full'"),
        ({"range": "fixed", "full_scale": 0}, "`full_scale` must be above 0, got 0"),
        ({"calibration_quantile": 0}, "`calibration_quantile` must be above 0, got 0"),
        ({"calibration_quantile": 1.5}, "`calibration_quantile` must be at most 1, got 1.5"),
        ({"offset_sigma_lsb": -1}, "`offset_sigma_lsb` must be at least 0, got -1"),
        ({"gain_sigma": -1}, "`gain_sigma` must be at least 0, got -1"),
        ({"noise_sigma_lsb": -1}, "`noise_sigma_lsb` must be at least 0, got -1"),
        ({"dnl_sigma_lsb": -1}, "`dnl_sigma_lsb` must be at least 0, got -1"),
        ({"capacitor_sigma": -1}, "`capacitor_sigma` must be at least 0, got -1"),
        ({"columns_per_adc": 0}, "`columns_per_adc` must be a positive integer, got 0"),
        ({"conversion_cycles": 0}, "`conversion_cycles` must be a positive integer, got 0"),
        ({"inl_lsb": (1,)}, "`inl_lsb` must be two numbers or more, or none, got 1"),
        ({"inl_lsb": 0.5}, "`inl_lsb` must be two numbers or more, or none, got 0.5"),
        ({"inl_lsb": (0, float("nan"))}, "`inl_lsb` must be finite, got nan"),
    ],
)
def test_errors_of_converters(changes, message):
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}$"):
        Adc(**changes)
    if set(changes) <= {field.name for field in dataclasses.fields(Dac)}:
        with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}$"):
            Dac(**changes)


def test_descriptions_are_frozen_and_replace_validates():
    machine = Crossbar(rows=4, cols=4)
    for part, name in ((machine, "rows"), (machine.adc, "range"), (machine.dac, "gain_sigma")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, name, 5)
    assert machine.replace(rows=5).rows == 5
    assert machine.adc.replace(columns_per_adc=2).columns_per_adc == 2
    assert machine.dac.replace(gain_sigma=0.1).gain_sigma == 0.1
    with pytest.raises(ValueError, match=r"^`rows` must be an integer from 1 to 65536, got -3$"):
        machine.replace(rows=-3)


# --- files ---


def test_the_presets_are_what_they_are_called():
    pcm = hardware.load("crossbar_256_pcm")
    assert (pcm.rows, pcm.cols, pcm.device) == (256, 256, Device.load("pcm"))
    assert (pcm.mapping, pcm.dac_bits, pcm.adc_bits, pcm.r_row_ohm, pcm.r_col_ohm) == ("differential", 8, 8, 1.0, 1.0)
    assert (pcm.outputs_per_array, pcm.n_slices, pcm.adc.range) == (128, 1, "calibrated")
    rram = hardware.load("crossbar_128_rram")
    assert (rram.rows, rram.cols, rram.device) == (128, 128, Device.load("rram"))
    assert (rram.n_slices, rram.spare_outputs, rram.outputs_per_array, rram.input_digits) == (4, 2, 14, (4, 4))
    sram = hardware.load("crossbar_256_sram")
    assert (sram.rows, sram.cols, sram.device) == (256, 256, Device.load("sram"))
    assert (sram.n_slices, sram.reserved_cols, sram.outputs_per_array, sram.has_wires) == (4, 4, 63, False)
    ideal = hardware.load("crossbar_ideal")
    assert (ideal.device, ideal.dac_bits, ideal.adc_bits) == (Device.load("ideal"), None, None)
    assert not ideal.has_wires


def write(folder, text):
    path = folder / "machine.toml"
    path.write_text('kind = "crossbar"\nrows = 4\ncols = 8\n' + text)
    return path


def test_a_device_is_a_name_a_file_beside_or_a_table(tmp_path, monkeypatch):
    assert hardware.load(write(tmp_path, "device = 'pcm'")).device == Device.load("pcm")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "mine.toml").write_text("name = 'mine'\ng_max_siemens = 1e-4\n")
    monkeypatch.chdir(tmp_path.parent)
    machine = hardware.load(write(tmp_path, "device = 'parts/mine.toml'"))
    assert machine.device == Device(name="mine", g_max_siemens=1e-4, source="not stated")
    assert hardware.load(write(tmp_path, f"device = '{tmp_path}/parts/mine.toml'")) == machine
    assert hardware.load(write(tmp_path, "[device]\nname = 'mine'\ng_max_siemens = 1e-4")) == machine
    monkeypatch.chdir(tmp_path)
    assert hardware.from_dict({"kind": "crossbar", "rows": 4, "cols": 8, "device": "parts/mine.toml"}) == machine
    assert Crossbar(rows=4, cols=8, device="parts/mine.toml") == machine


def test_none_is_written_where_it_is_not_the_default(tmp_path):
    machine = hardware.load(write(tmp_path, "adc_bits = 'none'\nslices = 'none'\n[adc]\nconversion_cycles = 'none'"))
    assert (machine.adc_bits, machine.dac_bits, machine.slices, machine.adc) == (None, 8, None, Adc())
    table = hardware.to_dict(machine)
    assert table["adc_bits"] == "none"
    assert not {"slices", "g_min_siemens"} & set(table)
    assert not {"full_scale", "conversion_cycles"} & set(table["adc"])
    assert table["drift_compensation"] == "none"
    assert hardware.from_dict(table).drift_compensation == "none"


def test_what_a_device_may_lack_can_be_taken_from_it(tmp_path):
    machine = Crossbar(rows=4, cols=8, device="pcm")
    lasting = hardware.changed(machine, {"device": dict.fromkeys(("drift_mean", "drift_sigma", "flicker"), "none")})
    assert lasting.device == machine.device.replace(drift_mean=None, drift_sigma=None, flicker=None)
    with pytest.raises(ValueError, match=r"^changes: \[device\]: `thermal` must be true or false, got 'none'$"):
        hardware.changed(machine, {"device": {"thermal": "none"}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row = 4", "{path}: unknown key 'row'; did you mean 'rows'?"),
        ("[wires]\nr_row_ohm = 1", "{path}: unknown key 'wires'; did you mean 'time_s'?"),
        ("[act_memory]\nsize_bytes = 1", "{path}: unknown key 'act_memory'; did you mean 'act_format'?"),
        ("device = 'pmc'", "{path}: unknown device 'pmc'; did you mean 'pcm'?"),
        ("device = 'mine.toml'", "{path}: cannot read device file '{folder}/mine.toml': No such file or directory"),
        (
            "device = 'broken.toml'",
            "{path}: {folder}/broken.toml: unknown key 'g_max_siemen'; did you mean 'g_max_siemens'?",
        ),
        ("device = 3", "{path}: `device` must be a Device, got 3"),
        ("[device]\nname = 3", "{path}: [device]: `name` must be a string, got 3"),
        ("[device]\nflicker = [1, 2]", "{path}: [device]: `flicker` must be 3 numbers, got 2"),
        (
            "[dac]\nbits = 3",
            "{path}: [dac]: unknown key 'bits'; known: dnl_sigma_lsb, gain_sigma, inl_lsb, offset_sigma_lsb",
        ),
        ("[adc]\nrange = 'fixd'", "{path}: [adc]: unknown range 'fixd'; did you mean 'fixed'?"),
        ("adc = 3", "{path}: [adc]: must be a table, got 3"),
        ("rows_ = 1", "{path}: unknown key 'rows_'; did you mean 'rows'?"),
        ("bits_per_cell = 'none'", "{path}: `bits_per_cell` must be an integer, got 'none'"),
        ("stuck_on = 2", "{path}: `stuck_on` + `stuck_off` must be at most 1, got 2"),
    ],
)
def test_toml_errors_name_file_and_field(text, message, tmp_path):
    (tmp_path / "broken.toml").write_text("g_max_siemen = 1")
    path = write(tmp_path, text)
    with pytest.raises(ValueError) as error:
        hardware.load(path)
    wanted = message.format(path=path, folder=tmp_path)
    assert str(error.value) == wanted


def test_a_missing_size_is_named(tmp_path):
    path = tmp_path / "machine.toml"
    path.write_text("kind = 'crossbar'\nrows = 4")
    with pytest.raises(ValueError) as error:
        hardware.load(path)
    assert str(error.value) == f"{path}: `cols` is missing"


def test_a_device_class_of_the_user_s_own_cannot_be_written():
    class Mine(Device):
        pass

    machine = Crossbar(rows=4, cols=8, device=Mine())
    with pytest.raises(
        ValueError, match=r"^`device` of class Mine cannot be written as a table; only Device itself can$"
    ):
        hardware.to_toml(machine)


def test_what_needs_a_shift_array_says_so(tmp_path):
    from tetrit.flow import config

    assert hardware.load_shift_array("shift_8x8") == hardware.load("shift_8x8")
    with pytest.raises(ValueError, match=r"^crossbar_ideal: a shift_array is needed here, got a crossbar$"):
        hardware.load_shift_array("crossbar_ideal")
    path = tmp_path / "run.toml"
    path.write_text("[machine]\npreset = 'crossbar_ideal'\n")
    with pytest.raises(ValueError) as error:
        config.load(path)
    assert str(error.value) == f"{path}: [machine]: crossbar_ideal: a shift_array is needed here, got a crossbar"


def test_digital_machines_are_written_as_before():
    machine = ShiftArray(rows=2, cols=3, act_memory=Memory(width_bits=8))
    table = hardware.to_dict(machine)
    assert list(table)[:3] == ["kind", "rows", "cols"]
    assert "width_bits" not in table["weight_memory"]
    assert table["act_memory"]["width_bits"] == 8
