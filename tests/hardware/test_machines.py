"""Machine descriptions: derived widths, presets, TOML round trip, and errors that name the field."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import hardware
from tetrit.hardware import Memory, ShiftArray
from tetrit.hardware.shift_array import WEIGHT_FORMATS


@pytest.mark.parametrize("name", hardware.presets())
def test_presets_load_and_round_trip(name, tmp_path):
    machine = hardware.load(name)
    path = tmp_path / "machine.toml"
    path.write_text(hardware.to_toml(machine))
    assert hardware.load(path) == machine
    assert hash(hardware.load(str(path))) == hash(machine)


@given(
    st.builds(
        ShiftArray,
        rows=st.integers(1, 64),
        cols=st.integers(1, 64),
        act_format=st.sampled_from(["int2", "int8", "int16"]),
        weight_format=st.sampled_from(WEIGHT_FORMATS),
        acc_bits=st.integers(32, 48),
        dataflow=st.sampled_from(hardware.DATAFLOWS),
        act_memory=st.builds(Memory, width_bits=st.none() | st.integers(1, 512), latency_cycles=st.integers(0, 9)),
    )
)
def test_round_trip_and_widths(machine):
    assert hardware.from_dict(hardware.to_dict(machine)) == machine
    assert machine.act_vector_bits == machine.rows * int(machine.act_format[3:])
    word = machine.act_memory.word_bits(machine.act_vector_bits)
    assert (machine.act_words - 1) * word < machine.act_vector_bits <= machine.act_words * word


def test_machines_are_frozen_and_replace_validates():
    machine = ShiftArray(rows=4, cols=4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        machine.rows = 5
    assert machine.replace(rows=5).rows == 5
    with pytest.raises(ValueError, match=r"^`rows` must be an integer from 1 to 4096, got -3$"):
        machine.replace(rows=-3)
    with pytest.raises(TypeError, match=r"^`cols` must be an integer, got 2.5$"):
        machine.replace(cols=2.5)
    with pytest.raises(ValueError, match=r"^unknown weight_format 'stz'; did you mean 'szt'\?$"):
        machine.replace(weight_format="stz")
    with pytest.raises(ValueError, match=r"^unknown act_format 'int9000'; did you mean 'int9'\?$"):
        machine.replace(act_format="int9000")
    with pytest.raises(ValueError, match=r"^`clock_mhz` must be above 0, got 0$"):
        machine.replace(clock_mhz=0)
    with pytest.raises(TypeError, match=r"^`act_memory` must be a Memory, got 3$"):
        machine.replace(act_memory=3)
    with pytest.raises(ValueError, match=r"^`acc_bits` must be at least 9 to hold one product of int8 and szt, got 8$"):
        machine.replace(acc_bits=8)
    with pytest.raises(ValueError, match=r"^`size_bytes` must be a positive integer, got 0$"):
        Memory(size_bytes=0)
    with pytest.raises(ValueError, match=r"^`read_pj_per_bit` must be at least 0, got -1$"):
        Memory(read_pj_per_bit=-1)
    with pytest.raises(TypeError, match=r"^`energy_source` must be a string, got 1$"):
        Memory(energy_source=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows = 4", "{path}: `kind` is missing; known: crossbar, shift_array, simd_engine"),
        ("kind = 'shift_aray'", "{path}: unknown kind 'shift_aray'; did you mean 'shift_array'?"),
        ("kind = 'shift_array'\nrows = 4", "{path}: `cols` is missing"),
        (
            "kind = 'shift_array'\nrows = 4\ncols = 4\nacc_bit = 8",
            "{path}: unknown key 'acc_bit'; did you mean 'acc_bits'?",
        ),
        ("kind = 'shift_array'\nrows = 4\ncols = -4", "{path}: `cols` must be an integer from 1 to 4096, got -4"),
        (
            "kind = 'shift_array'\nrows = 4\ncols = 4\n[act_memory]\nwidth = 8",
            "{path}: [act_memory]: unknown key 'width'; did you mean 'width_bits'?",
        ),
        (
            "kind = 'shift_array'\nrows = 4\ncols = 4\n[act_memory]\nwidth_bits = 1.5",
            "{path}: [act_memory]: `width_bits` must be an integer, got 1.5",
        ),
        ("kind = 'shift_array'\nrows = 4\ncols = 4\nact_memory = 3", "{path}: [act_memory]: must be a table, got 3"),
    ],
)
def test_toml_errors_name_file_and_field(text, message, tmp_path):
    path = tmp_path / "machine.toml"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        hardware.load(path)
    assert str(error.value) == message.format(path=path)


def test_toml_syntax_and_missing_files(tmp_path):
    path = tmp_path / "machine.toml"
    path.write_text("kind = \nrows = 3")
    with pytest.raises(ValueError, match=r"machine\.toml: not valid TOML: .*line 1"):
        hardware.load(path)
    with pytest.raises(ValueError, match=r"^cannot read machine file '.*nowhere\.toml': No such file or directory$"):
        hardware.load(tmp_path / "nowhere.toml")
    with pytest.raises(ValueError, match=r"^unknown machine 'shift_16x17'; did you mean 'shift_16x16'\?$"):
        hardware.load("shift_16x17")
