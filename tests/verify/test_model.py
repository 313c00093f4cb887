"""Executable models: built once, by whoever comes first, or refused in one line."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tetrit.errors import InvalidValueError, ToolError
from tetrit.verify import tools
from tetrit.verify.model import build
from tetrit.verify.simulate import simulate

INVERTER = "module dut(a, y);\n  input [3:0] a;\n  output [3:0] y;\n  assign y = ~a;\nendmodule\n"
STIMULUS = {"in_a": np.arange(16), "expected_y": 15 - np.arange(16)}


def test_a_model_is_built_once_and_kept_with_its_verilog(build_dir):
    first = build(INVERTER, "dut", toolchain=tools.find(), directory=build_dir)
    made = (first.directory / "dut").stat()
    assert build(INVERTER, "dut", toolchain=tools.find(), directory=build_dir) == first
    assert (first.directory / "dut").stat() == made
    assert (first.directory / "design.v").read_text() == INVERTER
    assert not simulate(first, "lockstep", STIMULUS)["wrong"].any()


def test_another_text_is_another_model(build_dir):
    models = [build(text, "dut", toolchain=tools.find(), directory=build_dir) for text in (INVERTER, INVERTER + "\n")]
    assert models[0] != models[1]


def test_builders_at_the_same_time_do_not_disturb_each_other(build_dir):
    text = INVERTER + "// new\n"
    with ThreadPoolExecutor(3) as pool:
        models = list(pool.map(lambda _: build(text, "dut", toolchain=tools.find(), directory=build_dir), range(3)))
    assert len(set(models)) == 1
    assert not simulate(models[0], "lockstep", STIMULUS)["wrong"].any()
    left = [path / "design.v" for path in build_dir.glob(".tmp-*")]  # of builders in other processes
    assert not any(path.is_file() and path.read_text() == text for path in left)


def test_a_relative_folder(tmp_path, monkeypatch, build_dir):
    build(INVERTER, "dut", toolchain=tools.find(), directory=build_dir)
    monkeypatch.chdir(build_dir.parent)
    model = build(INVERTER, "dut", toolchain=tools.find(), directory=Path(build_dir.name))
    assert not simulate(model, "lockstep", STIMULUS)["wrong"].any()


def test_wrong_verilog_is_told_in_one_line_and_leaves_nothing(tmp_path):
    text = INVERTER.replace("~a", "~missing")
    with pytest.raises(ToolError, match=r"\AVerilator failed: %Error: .*design\.v:4:\d+: .*'missing'[^\n]*\Z"):
        build(text, "dut", toolchain=tools.find(), directory=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_top_module_that_is_not_there(build_dir):
    with pytest.raises(InvalidValueError, match=r"\A`verilog` has no module 'top'\Z"):
        build(INVERTER, "top", toolchain=tools.find(), directory=build_dir)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    where = tmp_path / "file" / "models"
    text = re.escape(f"cannot write to `build_dir` '{where}': ")
    with pytest.raises(InvalidValueError, match=rf"\A{text}[^\n]+\Z"):
        build(INVERTER, "dut", toolchain=tools.find(), directory=where)


def test_variables_that_steer_cocotb_do_not_reach_the_bench(build_dir, monkeypatch):
    for name, value in {
        "COCOTB_TEST_FILTER": "nothing",
        "WAVES": "1",
        "GPI_USERS": "none",
        "VERILATOR_ROOT": "/no",
    }.items():
        monkeypatch.setenv(name, value)
    model = build(INVERTER, "dut", toolchain=tools.find(), directory=build_dir)
    assert not simulate(model, "lockstep", STIMULUS)["wrong"].any()


def test_a_bench_that_breaks_off_says_why(build_dir):
    model = build(INVERTER, "dut", toolchain=tools.find(), directory=build_dir)
    stimulus = {"in_a": np.arange(16), "expected_z": np.arange(16)}
    text = "the simulation of dut under cocotb broke off: dut contains no child object named z"
    with pytest.raises(ToolError, match=rf"\A{text}\Z"):
        simulate(model, "lockstep", stimulus)


def test_a_wrong_output_is_found_and_named(build_dir):
    model = build(INVERTER, "dut", toolchain=tools.find(), directory=build_dir)
    observed = simulate(
        model, "lockstep", STIMULUS | {"expected_y": np.where(np.arange(16) == 9, 7, 15 - np.arange(16))}
    )
    assert np.flatnonzero(observed["wrong"]).tolist() == [9]
    assert observed["messages"].tolist() == ["row 9 (a=9): y is 6, expected 7"]
