"""The whole way on a small network: a valid, repeatable, honest report; wrong configurations fail before any work."""

import copy
import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from tetrit import flow, hardware, report
from tetrit.errors import InvalidValueError, ToolError
from tetrit.flow import config as configs
from tetrit.flow.gates import Gates
from tetrit.hls import compile_network
from tetrit.sim import QuantizedLinear
from tetrit.sim.cost.memory import price_origins
from tetrit.sim.execute import execute

CONFIG = """
name = "small"
seeds = [3, 1]
[network]
hidden = [12]
[train]
estimator = "szt"
compare = ["pot", {name = "szt", surrogate = "vanishing"}]
epochs = 3
quantized_epochs = 3
[machine]
path = "machine.toml"
[verify]
images = 10
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("flow")
    memory = hardware.Memory(width_bits=16, read_pj_per_bit=1.0)
    machine = hardware.ShiftArray(rows=4, cols=4, acc_bits=16, act_memory=memory)
    (path / "machine.toml").write_text(hardware.to_toml(machine))
    (path / "small.toml").write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def made(folder):
    flow.run(folder / "small.toml", folder / "one")
    return json.loads((folder / "one" / "report.json").read_text())


def test_report_is_valid_and_complete(made, folder):
    jsonschema.validate(made, report.schema())
    assert made["verify"]["mismatches"] == 0
    assert {bench["level"] for bench in made["verify"]["testbenches"]} == {"rtl", "gates"}
    for bench in made["verify"]["testbenches"]:
        assert bench["cycles_rtl"] == bench["cycles_model"]
    assert [entry["estimator"] for entry in made["accuracy"]["by_estimator"]] == ["szt", "pot", "szt"]
    assert made["accuracy"]["machine"] == np.mean([entry["machine"] for entry in made["accuracy"]["per_seed"]])
    assert made["cycles"] == sum(layer["cycles"] for layer in made["layers"])
    assert made["energy_uj"]["total"] == pytest.approx(sum(made["energy_uj"]["breakdown"].values()))
    assert made["energy_uj"]["total"] == pytest.approx(sum(layer["energy_pj"] for layer in made["layers"]) * 1e-6)
    origins = made["energy_uj"]["sources"]
    assert {name for name, origin in origins.items() if origin == "assumed"} == {
        "activation memory"
    }  # others: no price
    assert set(origins.values()) == {"assumed", "synthesised"}
    table = made["szt_vs_ternary"]
    assert table["datapath_szt_um2"] == pytest.approx(table["datapath_ternary_um2"], rel=1e-12)
    assert table["szt_decoder_um2"] > table["ternary_decoder_um2"]
    written = {path.name for path in (folder / "one").iterdir()}
    assert {"report.html", "ShiftPEArray.v", "Requantizer.v", "ShiftPEArray_gates.v", "machine.toml"} <= written


def test_readme_shows_the_rows_that_a_run_prints(made):
    """Labels and heads of the summary, but not the figures: those are of the example's own run."""
    page = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"^```text\n(digits\n.*?)\n```", page, re.MULTILINE | re.DOTALL)

    def labels(text):
        overview, layers, accuracy = (part.splitlines() for part in text.split("\n\n"))
        return [line[2:17] for line in overview[1:]], layers[0].split(), accuracy[0].split()

    assert labels(shown) == labels(report.summary(made))


def test_scratchpads_at_the_prices_of_the_model(folder):
    path = folder / "model.toml"
    path.write_text(CONFIG.replace('"machine.toml"', '"machine.toml"\nmemories = "model"\nchanges = { rows = 8 }'))
    machine = configs.load(path).machine
    assert (machine.rows, machine.act_memory.width_bits) == (8, 16)
    assert set(price_origins(machine).values()) == {"modelled"}
    assert machine.act_memory.read_pj_per_bit != 1.0
    own = configs.load(folder / "small.toml").machine
    assert set(price_origins(own).values()) == {"assumed"}


def test_same_seed_same_report(made, folder):
    """The second run finds the executable models of the first, and replaces its files."""
    netlist = (folder / "one" / "ShiftPEArray_gates.v").read_bytes()
    flow.run(folder / "small.toml", folder / "one")
    again = json.loads((folder / "one" / "report.json").read_text())
    first = copy.deepcopy(made)
    assert first.pop("timings") != again.pop("timings")
    assert first == again
    assert (folder / "one" / "ShiftPEArray_gates.v").read_bytes() == netlist


def test_a_wrong_hardware_is_reported_and_fails_the_command(folder, monkeypatch, capsys):
    """Verification on the RTL left out: the netlist that energy is counted on is compared all the same."""
    from tetrit.cli import main
    from tetrit.flow import gates

    results = gates._results
    monkeypatch.setattr(gates, "_results", lambda *given: (results(*given)[0] + 1, results(*given)[1]))
    path = folder / "wrong.toml"
    path.write_text(CONFIG.replace("images = 10", "images = 0").replace("[3, 1]", "[3]"))
    assert main(["run", str(path), "--out", str(folder / "wrong")]) == 1
    assert "0 of 2 benches pass" in capsys.readouterr().out
    written = json.loads((folder / "wrong" / "report.json").read_text())
    assert written["verify"]["mismatches"] > 0


def test_a_clock_beyond_the_netlist_is_refused(folder):
    machine = hardware.load(folder / "machine.toml").replace(clock_mhz=5000.0)
    gates = Gates.synthesise(machine, "sg13g2", None)
    with pytest.raises(InvalidValueError, match=r"^`clock_mhz` must be at most \d+\.\d, the speed of Requantizer in"):
        gates.check_clock()


def test_netlist_mismatches_are_counted(folder):
    """A netlist of other weights' machine must not pass: an array that takes -0 for -1 is caught."""
    machine = hardware.load(folder / "machine.toml")
    rng = np.random.default_rng(0)
    layer = QuantizedLinear(
        name="only",
        weight=rng.integers(0, 4, (6, 5)).astype(np.uint8),
        weight_format="szt",
        weight_scale=np.ones(5),
        bias=np.zeros(5),
        in_format="int8",
        in_scale=1.0,
        out_format="int16",
        out_scale=1.0,
        relu=False,
    )
    [run] = execute(compile_network([layer], machine, batch=7), rng.integers(-128, 128, (7, 6)))
    gates = Gates.synthesise(machine, "sg13g2", None)
    assert gates.run(run).mismatches == 0
    wrong = Gates(
        machine=machine,
        array=Gates.synthesise(machine.replace(weight_format="pot2"), "sg13g2", None).array,
        decoder=gates.decoder,
        requantizer=gates.requantizer,
        ternary=None,
    )
    assert wrong.run(run).mismatches > 0


@pytest.mark.parametrize(
    ("before", "after", "error", "message"),
    [
        ("[verify]", '[synthesis]\nlibrary = "sg12"\n[verify]', ValueError, "unknown library 'sg12'"),
        ("[verify]", '[synthesis]\nliberty = "no.lib"\n[verify]', ValueError, "no.lib' cannot be read"),
        ("[network]", "[data]\nheld_out = 0.9999\n[network]", ValueError, "0.9999 leaves no training images"),
        (
            "images = 10",
            "images = 450",
            ValueError,
            "at most the 449 held-out ones, got 450",
        ),
        ("", "", ToolError, "a C++ compiler is missing: the variable CXX names '/nowhere/c++'"),
    ],
)
def test_what_is_missing_is_found_before_training(before, after, error, message, folder, monkeypatch):
    if error is ToolError:
        monkeypatch.setenv("CXX", "/nowhere/c++")
    monkeypatch.setattr(flow, "learn", lambda *_, **__: pytest.fail("the training began"))
    path = folder / "early.toml"
    path.write_text(CONFIG.replace(before, after, 1))
    with pytest.raises(error, match=re.escape(message)):
        flow.run(path, folder / "early")
    assert not (folder / "early" / "report.json").exists()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("seeds", "seed", "{path}: unknown key 'seed'; did you mean 'seeds'?"),
        ("seeds = [3, 1]", "seeds = [3, 3]", "{path}: `seeds` must be one or more different integers, got [3, 3]"),
        ("seeds = [3, 1]", "seeds = [0.5]", "{path}: `seeds` must be an integer, got 0.5"),
        ("[verify]", "[verifi]", "{path}: unknown key 'verifi'; did you mean 'verify'?"),
        ("images = 10", "image = 10", "{path}: [verify]: unknown key 'image'; did you mean 'images'?"),
        ("images = 10", "images = -1", "{path}: [verify]: `images` must be a non-negative integer, got -1"),
        ("hidden = [12]", "hidden = [-12]", "{path}: [network]: `hidden` must be an integer from 1 to 65536, got -12"),
        ("hidden = [12]", "hidden = 12", "{path}: [network]: `hidden` must be a list, got 12"),
        (
            '"szt"\n',
            '"fairy"\n',
            "{path}: [train]: `estimator`: the values of 'fairy' are no weights of one fully connected layer",
        ),
        (
            '"szt"\n',
            '{ name = "sr_ste", inner = { name = "szd" } }\n',
            "{path}: [train]: unknown estimator 'szd'; did you mean 'szt'?",
        ),
        ('"szt"\n', '"stz"\n', "{path}: [train]: unknown estimator 'stz'; did you mean 'szt'?"),
        (
            '"szt"\n',
            '{name = "szt", axis = 0}\n',
            "{path}: [train]: `estimator` szt: `axis` must be 1, a scale for each output, or left out",
        ),
        ('"szt"\n', '"pot"\n', "{path}: [machine]: the machine takes szt weights, estimator 'pot' gives pot3z"),
        ("surrogate", "surogate", "{path}: [train]: `compare` szt: unknown key 'surogate'; did you mean 'surrogate'?"),
        ("epochs = 3\nq", "epoch = 3\nq", "{path}: [train]: unknown key 'epoch'; did you mean 'epochs'?"),
        ("epochs = 3\nq", "epochs = 0\nq", "{path}: [train]: `epochs` must be a positive integer, got 0"),
        ('path = "machine.toml"', "", "{path}: [machine]: one of `preset` or `path` is needed"),
        (
            'path = "machine.toml"',
            'preset = "shift_16x61"',
            "{path}: [machine]: unknown machine 'shift_16x61'; did you mean 'shift_16x16'?",
        ),
        (
            'path = "machine.toml"',
            'path = "machine.toml"\nmemories = "sram"',
            "{path}: [machine]: unknown memories 'sram'; known: machine, model",
        ),
        ("[verify]", "[synthesis]\nlibrary = 3\n[verify]", "{path}: [synthesis]: `library` must be a string, got 3"),
    ],
)
def test_configuration_errors_name_file_section_and_field(before, after, message, folder):
    path = folder / "broken.toml"
    assert before in CONFIG
    path.write_text(CONFIG.replace(before, after, 1))
    with pytest.raises(InvalidValueError) as error:
        configs.load(path)
    assert str(error.value) == message.format(path=path)
