"""A run on a SIMD engine: formats chosen within their bound, a valid and repeatable report, errors before any work."""

import copy
import json
import re
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest

from tetrit import flow, hardware, report
from tetrit.errors import InvalidValueError
from tetrit.flow import config as configs
from tetrit.flow import simd, simd_learning
from tetrit.flow.simd_result import SimdGates
from tetrit.verify import BenchResult

CONFIG = """
name = "small"
seeds = [3, 1]
[network]
hidden = [12, 8]
[train]
epochs = 6
quantized_epochs = 3
[formats]
candidates = ["posit4_1", { act = "posit8_0", weight = "fp4_e2m1" }, "posit8_0", "posit16_1"]
mean_bits = 6.5
calibration_images = 100
[machine]
preset = "simd_4x4"
changes = { rows = 3, act_memory = { width_bits = 24 } }
[verify]
images = 0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("simd")
    (path / "small.toml").write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def gates(folder):
    """Mapped once for all tests."""
    return SimdGates.synthesise(configs.load(folder / "small.toml").machine, "sg13g2", None)


@pytest.fixture
def mapped(gates, monkeypatch):
    monkeypatch.setattr(SimdGates, "synthesise", lambda *_: gates)


@pytest.fixture(scope="module")
def made(folder, gates):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimdGates, "synthesise", lambda *_: gates)
        flow.run(folder / "small.toml", folder / "one")
    return json.loads((folder / "one" / "report.json").read_text())


def test_report_is_valid_and_complete(made, folder, gates):
    jsonschema.validate(made, report.schema())
    block = made["formats"]
    assert block["candidates"] == ["posit4_1", "posit8_0 x fp4_e2m1", "posit8_0", "posit16_1"]
    assert [layer["name"] for layer in block["layers"]] == ["fc1", "fc2", "fc3"]
    assert block["layers"][-1]["out"] == "posit16_1"
    own, *others = block["networks"]
    assert own["mean_bits"] <= 6.5
    assert own["trained"] == made["accuracy"]["machine"]
    assert own["cycles"] > 0
    assert [network["mean_bits"] for network in others] == [4.0, 8.0, 8.0, 16.0]
    assert others[0]["weight_bytes"] == (64 * 12 + 12 * 8 + 8 * 10) / 2
    losses = np.array([layer["losses"] for layer in block["layers"]])
    assert (losses[:, 0] > losses[:, 2]).all()
    assert (losses[:, 2] > losses[:, 3]).all()
    assert made["machine"]["rows"] == 3
    assert made["machine"]["act_memory"]["width_bits"] == 24
    assert made["cycles"] == sum(layer["cycles"] for layer in made["layers"])
    assert all(layer["bound"] == "activations" for layer in made["layers"])  # two words a step
    assert made["area_mm2"]["total"] == pytest.approx((12 * gates.element.area_um2 + 4 * gates.readout.area_um2) * 1e-6)
    written = {path.name for path in (folder / "one").iterdir()}
    assert {"report.html", "formats.png", "machine.toml"} <= written
    assert hardware.load(folder / "one" / "machine.toml").rows == 3


def test_energy_is_that_of_all_layers_and_says_what_it_is_made_from(made):
    total = sum(sum(layer["breakdown"].values()) for layer in made["layers"])
    assert made["energy_uj"]["total"] == pytest.approx(total * 1e-6)
    assert made["energy_per_image_nj"] == pytest.approx(total * 1e-3 / made["images"])
    assert "not priced" not in report.summary(made)
    [prices] = (entry for entry in made["assumptions"] if entry["id"] == "prices")
    assert "operands" in prices["text"] and "characterise" in prices["source"]


@pytest.mark.usefixtures("mapped")
def test_same_seed_same_report(made, folder):
    flow.run(folder / "small.toml", folder / "two")
    again = json.loads((folder / "two" / "report.json").read_text())
    first = copy.deepcopy(made)
    assert first.pop("timings") != again.pop("timings")
    assert first == again


@pytest.mark.usefixtures("mapped")
def test_formats_that_are_given_are_taken(folder):
    path = folder / "given.toml"
    text = CONFIG.replace("mean_bits = 6.5", 'layers = ["posit8_0", "fp4_e2m1", "posit16_1"]').replace("[3, 1]", "[3]")
    path.write_text(text.replace("candidates", "# candidates"))
    found = flow.run(path, folder / "given")["formats"]
    assert not found["chosen"]
    assert found["networks"][0]["formats"] == ["posit8_0", "fp4_e2m1", "posit16_1"]
    assert found["candidates"] == ["fp4_e2m1", "posit4_1", "posit8_0", "posit16_1"]
    assert [layer["out"] for layer in found["layers"]] == ["fp4_e2m1", "posit16_1", "posit16_1"]


@pytest.mark.usefixtures("mapped")
def test_a_wrong_hardware_is_reported_and_fails_the_command(folder, monkeypatch, capsys):
    from tetrit.cli import main

    models = folder / "wrong" / "models"
    models.mkdir(parents=True)
    (models / "design.v").write_text("module SimdMac(a);\nendmodule\nmodule dut(a);\nendmodule\n")
    bench = BenchResult(
        name="fc1 on SimdArray",
        component="SimdArray",
        level="rtl",
        vectors=4,
        mismatches=1,
        cycles_rtl=9,
        cycles_model=8,
        cases=1,
        passed=False,
        message="results word 2",
    )
    monkeypatch.setattr(simd, "_build_array", lambda *_: SimpleNamespace(top="dut", directory=models))
    monkeypatch.setattr(simd.verify, "run_simd_program", lambda *_, **__: [bench])
    path = folder / "wrong.toml"
    path.write_text(CONFIG.replace("images = 0", "images = 2").replace("[3, 1]", "[3]"))
    assert main(["run", str(path), "--out", str(folder / "wrong")]) == 1
    assert "1 mismatches in 4 outputs, 0 of 1 benches pass" in capsys.readouterr().out
    assert "module SimdArray(a);" in (folder / "wrong" / "SimdArray.v").read_text()


def test_a_build_that_fails_beside_is_met_again_here(monkeypatch, tmp_path):
    machine = hardware.SimdEngine(rows=1, cols=1)
    calls = []
    monkeypatch.setattr(
        simd.subprocess, "run", lambda *given, **_: calls.append(given) or SimpleNamespace(returncode=1)
    )
    monkeypatch.setattr(simd.verify, "build_simd_array", lambda found, *, build_dir, waves: (found, build_dir, waves))
    assert simd._build_array(machine, tmp_path, True) == (machine, tmp_path, True)
    assert calls


def test_a_clock_beyond_the_netlist_is_refused(gates):
    fast = SimdGates(machine=gates.machine.replace(clock_mhz=5000.0), element=gates.element, readout=gates.readout)
    with pytest.raises(InvalidValueError, match=r"^`clock_mhz` must be at most \d+\.\d, the speed of Simd\w+ in"):
        fast.check_clock()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("images = 0", "images = 450", "[verify]: `images` must be at most the 449 held-out ones, got 450"),
        ("images = 100", "images = 1349", "[formats]: `calibration_images` must be at most the 1348 training ones, "),
    ],
)
def test_too_many_images_are_found_before_training(before, after, message, folder, monkeypatch):
    monkeypatch.setattr(simd, "learn", lambda *_, **__: pytest.fail("the training began"))
    path = folder / "early.toml"
    path.write_text(CONFIG.replace(before, after, 1))
    with pytest.raises(InvalidValueError, match=re.escape(message)):
        flow.run(path, folder / "early")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "mean_bits = 6.5",
            "mean_bits = 3",
            "[formats]: `mean_bits` must be at least 4, that of the least candidate, got 3",
        ),
        ("mean_bits = 6.5", "mean_bit = 6.5", "[formats]: unknown key 'mean_bit'; did you mean 'mean_bits'?"),
        ('["posit4_1", ', '["posit4", ', "[formats]: unknown candidates 'posit4'; did you mean 'posit4_1'?"),
        ('["posit4_1", ', '["posit8_0", ', "[formats]: `candidates` must be one or more different formats"),
        (', weight = "fp4_e2m1"', "", "[formats]: `candidates`: `weight` is missing"),
        (
            "mean_bits = 6.5",
            'layers = ["posit8_0"]',
            "[formats]: `layers` must have formats for each of 3 layers, got 1",
        ),
        ("mean_bits = 6.5", 'output = "int8"', "[formats]: unknown output 'int8'"),
        (
            "epochs = 6",
            'estimator = "szt"',
            "[train]: `estimator` must be left out: [formats] says how layers are rounded",
        ),
        (
            'preset = "simd_4x4"',
            'preset = "shift_8x8"',
            "[machine]: shift_8x8: a simd_engine is needed here, got a shift_array",
        ),
        ("rows = 3", "rows = 0", "[machine]: changes: `rows` must be an integer from 1 to 4096, got 0"),
        (
            "rows = 3",
            'formats = ["posit8_0", "posit16_1"]',
            "[formats]: `candidates`: the machine has posit8_0, posit16_1, not posit4_1",
        ),
        ("[verify]", "[crossbar]\n[verify]", "unknown key 'crossbar'"),
        (
            "calibration_images = 100",
            "calibration_images = 0",
            "[formats]: `calibration_images` must be a positive integer, got 0",
        ),
    ],
)
def test_configuration_errors_name_file_section_and_field(before, after, message, folder):
    path = folder / "broken.toml"
    assert before in CONFIG
    path.write_text(CONFIG.replace(before, after, 1))
    with pytest.raises(InvalidValueError, match=f"^{re.escape(f'{path}: {message}')}") as caught:
        configs.load(path)
    assert "\n" not in str(caught.value)


def test_an_engine_without_formats_is_told_so(folder):
    path = folder / "none.toml"
    path.write_text('[machine]\npreset = "simd_4x4"\n')
    with pytest.raises(InvalidValueError, match=r"simd_4x4: a simd_engine needs a section \[formats\], which says how"):
        configs.load(path)


def test_the_choice_is_the_cheapest_loss_within_the_bound(folder):
    config = configs.load(folder / "small.toml")
    layers = [SimpleNamespace(latent=np.zeros(shape)) for shape in ((64, 12), (12, 8), (8, 10))]
    plain = SimpleNamespace(network=SimpleNamespace(layers=layers))
    losses = np.array([[9.0, 2.0, 1.0, 0.0], [1.0, 1.0, 0.5, 0.0], [3.0, 1.0, 0.5, 0.0]])
    own = simd_learning._variants(config, plain, losses)[0]
    assert [str(pair) for pair in own.pairs] == ["posit4_1", "posit16_1", "posit16_1"]
