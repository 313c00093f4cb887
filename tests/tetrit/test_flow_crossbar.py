"""A run beside an analog crossbar: one report, repeatable; wrong sections fail before any work, in one line."""

import copy
import json
import re
import sys

import jsonschema
import numpy as np
import pytest

from tetrit import flow, hardware, report
from tetrit.errors import InvalidValueError, ToolError
from tetrit.flow import analog, chips
from tetrit.flow import config as configs
from tetrit.flow.crossbar_config import TIMES_S, read_crossbar
from tetrit.sim import CrossbarEngine
from tetrit.train import digits
from tetrit.train.recipe import noise_aware_trainer

CONFIG = """
name = "small"
seeds = [3]
[network]
hidden = [12]
[train]
epochs = 4
quantized_epochs = 3
[machine]
path = "machine.toml"
[verify]
images = 0
[crossbar]
preset = "crossbar_256_pcm"
chips = 2
seed = 5
calibration_images = 64
times_s = [3600, 31536000]
[crossbar.changes]
rows = 32
cols = 32
weight_format = "szt"
bits_per_cell = 1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("crossbar")
    memory = hardware.Memory(width_bits=16, read_pj_per_bit=1.0)
    (path / "machine.toml").write_text(
        hardware.to_toml(hardware.ShiftArray(rows=4, cols=4, acc_bits=16, act_memory=memory))
    )
    (path / "small.toml").write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def made(folder):
    flow.run(folder / "small.toml", folder / "one")
    return json.loads((folder / "one" / "report.json").read_text())


def test_the_report_has_both_machines(made, folder):
    jsonschema.validate(made, report.schema())
    block = made["crossbar"]
    assert (block["chips"], block["seed"], block["calibration_images"]) == (2, 5, 64)
    assert [(row["name"], row["network"], len(row["per_chip"])) for row in block["accuracy"]] == [
        ("perfect", "plain", 1),
        ("converters", "plain", 1),
        ("wires", "plain", 1),
        ("chips", "plain", 2),
    ]
    assert block["accuracy"][0]["mean"] == made["accuracy"]["machine"]  # all perfect: integer arithmetic
    for row in (*block["accuracy"], *(point for line in block["drift"] for point in line["points"])):
        assert row["mean"] == np.mean(row["per_chip"])
        assert row["std"] == (np.std(row["per_chip"], ddof=1) if len(row["per_chip"]) > 1 else 0.0)
    assert [(line["network"], line["compensation"]) for line in block["drift"]] == [
        ("plain", "none"),
        ("plain", "global"),
    ]
    assert [[point["time_s"] for point in line["points"]] for line in block["drift"]] == [[3600.0, 31536000.0]] * 2
    assert [layer["name"] for layer in block["layers"]] == [layer["name"] for layer in made["layers"]]
    assert [layer["arrays"] for layer in block["layers"]] == [2, 1]
    assert block["cycles"] == sum(layer["cycles"] for layer in block["layers"])
    assert block["energy_uj"]["total"] == pytest.approx(sum(layer["energy_pj"] for layer in block["layers"]) * 1e-6)
    assert {"report.html", "drift.png", "crossbar.toml"} <= {path.name for path in (folder / "one").iterdir()}
    assert hardware.load(folder / "one" / "crossbar.toml") == configs.load(folder / "small.toml").crossbar.machine
    page = (folder / "one" / "report.html").read_text()
    assert 'id="crossbar-section"' in page
    assert {"crossbar-cells", "crossbar-wires", "crossbar-digital"} <= {entry["id"] for entry in made["assumptions"]}
    assert "crossbar (2 chips)" in report.summary(made)


def test_effective_weights_are_those_of_the_arrays(made, folder):
    """The rms error with wires alone, worked out again from the solved conductances of one array."""
    machine = configs.load(folder / "small.toml").crossbar.machine
    wires = chips.exact_converters(chips.perfect_cells(machine))
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (32, 16)).astype(np.uint8)
    engine = CrossbarEngine(wires, 5).load(codes)
    units = engine.arrays.effective[0, 0] / wires.level_siemens
    wanted = units[:, 0::2] - units[:, 1::2]
    assert np.allclose(chips._measured(engine, 127), wanted, rtol=1e-5, atol=1e-6)
    assert all(0 < layer["wires_rms"] < layer["chip_rms"] < 1 for layer in made["crossbar"]["weights"])


def test_blocks_are_means():
    matrix = np.arange(40.0 * 20).reshape(40, 20)
    found = chips._blocks(matrix)
    assert found.shape == (14, 10)  # blocks of 3 x 2, the last row of one
    assert found[0, 0] == matrix[:3, :2].mean()
    assert found[13, 9] == matrix[39:, 18:].mean()
    assert np.array_equal(chips._blocks(matrix[:5, :5]), matrix[:5, :5])


def test_same_seed_same_report(made, folder):
    flow.run(folder / "small.toml", folder / "one")
    again = json.loads((folder / "one" / "report.json").read_text())
    first = copy.deepcopy(made)
    assert first.pop("timings") != again.pop("timings")
    assert first == again


def test_noise_aware_training_adds_a_network(folder):
    import torch

    from tetrit.flow.learning import learn

    path = folder / "aware.toml"
    path.write_text(CONFIG + '[crossbar.noise_aware]\nepochs = 1\nrate = 0.002\nredraw = "chip"\n')
    config = configs.load(path)
    data = digits.load()
    analog.check(config, config.crossbar, data)
    learned = learn(config, data, progress=False)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    steps = []
    found = [
        analog.evaluate(config, config.crossbar, learned, data, step=steps.append, progress=False) for _ in range(2)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert found[0] == found[1]
    assert [row["network"] for row in found[0]["accuracy"]] == ["plain"] * 4 + ["control", "noise_aware"]
    assert len(found[0]["drift"]) == 6
    told = found[0]["noise_aware"]
    assert (told["epochs"], told["batch"], told["rate"], told["redraw"]) == (1, 64, 0.002, "chip")
    assert len(told["history"]) == len(told["control"]["history"]) == 1
    assert told["history"] != told["control"]["history"]
    assert "crossbar: noise_aware, compensation global, chip 2 of 2" in steps
    assert "noise-aware" in {entry["id"] for entry in analog.assumptions(config.crossbar)}


def test_noise_aware_training_without_torch_is_one_line(folder, monkeypatch, tetrit):
    path = folder / "no_torch.toml"
    path.write_text(CONFIG + "[crossbar.noise_aware]\nepochs = 1\n")
    monkeypatch.delitem(sys.modules, "tetrit.train.analog", raising=False)
    monkeypatch.delattr("tetrit.train.analog", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    outcome = tetrit("run", path, "--out", folder / "no_torch")
    assert outcome.code == 2
    assert outcome.err == (
        f"tetrit: error: {path}: [crossbar.noise_aware] needs torch, which is not installed: pip install "
        "'tetrit[train]', or leave the section out\n"
    )
    assert not (folder / "no_torch").exists()


def test_a_run_without_noise_aware_training_needs_no_torch(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    config = configs.load(folder / "small.toml")
    analog.check(config, config.crossbar, digits.load())


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("chips = 2", "chip = 2", "{path}: [crossbar]: unknown key 'chip'; did you mean 'chips'?"),
        ("chips = 2", "chips = 0", "{path}: [crossbar]: `chips` must be an integer from 1 to 10000, got 0"),
        (
            "seed = 5",
            "seed = -1",
            "{path}: [crossbar]: `seed` must be an integer from 0 to 18446744073709541615, got -1",
        ),
        ("[3600, 31536000]", "[3600, 60]", "{path}: [crossbar]: `times_s` must ascend, got [3600.0, 60.0]"),
        ("[3600, 31536000]", "[-1]", "{path}: [crossbar]: `times_s` must be at least 0, got -1"),
        ("[3600, 31536000]", "3600", "{path}: [crossbar]: `times_s` must be a list, got 3600"),
        (
            "calibration_images = 64",
            "calibration_images = 5000",
            "{path}: [crossbar]: `calibration_images` must be at most the 1348 training ones, got 5000",
        ),
        ('preset = "crossbar_256_pcm"\n', "", "{path}: [crossbar]: one of `preset` or `path` is needed"),
        ('"crossbar_256_pcm"', '"shift_8x8"', "{path}: [crossbar]: a crossbar is needed, 'shift_8x8' is none"),
        (
            '"crossbar_256_pcm"',
            '"crossbar_256_pcn"',
            "{path}: [crossbar]: unknown machine 'crossbar_256_pcn'; did you mean 'crossbar_256_pcm'?",
        ),
        ('"crossbar_256_pcm"', "7", "{path}: [crossbar]: `preset` must be a string, got 7"),
        ("rows = 32", "row = 32", "{path}: [crossbar.changes]: unknown key 'row'; did you mean 'rows'?"),
        (
            "bits_per_cell = 1",
            "r_row_ohm = -1.0",
            "{path}: [crossbar.changes]: `r_row_ohm` must be at least 0, got -1",
        ),
        (
            "bits_per_cell = 1",
            'adc = { rang = "full" }',
            "{path}: [crossbar.changes]: [adc]: unknown key 'rang'; did you mean 'range'?",
        ),
        (
            "rows = 32\ncols = 32",
            "rows = 65536\ncols = 65536",
            "{path}: [crossbar]: 64 x 12 weights on arrays of 65536 x 65536 cells need about ",
        ),
        (
            'weight_format = "szt"',
            'weight_format = "int4"',
            "{path}: [crossbar]: the crossbar takes int4 weights, estimator 'szt' gives szt",
        ),
        (
            "bits_per_cell = 1",
            'act_format = "int4"',
            "{path}: [crossbar]: training gives int8 activations, the crossbar takes int4",
        ),
        ("chips = 2", 'prices = "no.toml"', "{path}: [crossbar]: cannot read price table '{folder}/no.toml': "),
        (
            "[crossbar.changes]",
            "[crossbar.noise_aware]\nepoch = 3\n[crossbar.changes]",
            "{path}: [crossbar.noise_aware]: unknown key 'epoch'; did you mean 'epochs'?",
        ),
        (
            "[crossbar.changes]",
            "[crossbar.noise_aware]\nredraw = 'never'\n[crossbar.changes]",
            "{path}: [crossbar.noise_aware]: unknown redraw 'never'; known: batch, chip, epoch",
        ),
    ],
)
def test_wrong_sections_are_one_line_before_any_work(before, after, message, folder, monkeypatch, tetrit):
    monkeypatch.setattr(flow, "learn", lambda *_, **__: pytest.fail("the training began"))
    path = folder / "wrong.toml"
    assert before in CONFIG
    path.write_text(CONFIG.replace(before, after, 1))
    outcome = tetrit("run", path, "--out", folder / "wrong")
    assert outcome.code == 2
    assert outcome.err.startswith(f"tetrit: error: {message.format(path=path, folder=folder)}")
    assert outcome.err.count("\n") == 1
    assert not (folder / "wrong").exists()


def test_defaults_and_changes(tmp_path):
    config = read_crossbar("c: [crossbar]", {"preset": "crossbar_256_pcm"}, tmp_path)
    assert config.machine == hardware.load("crossbar_256_pcm")
    assert config.times_s == TIMES_S
    assert config.noise_aware is None
    changes = {"adc": {"columns_per_adc": 4}, "device": "rram", "adc_bits": "none"}
    found = read_crossbar("c: [crossbar]", {"preset": "crossbar_256_pcm", "changes": changes}, tmp_path).machine
    assert (found.adc.range, found.adc.columns_per_adc, found.adc_bits) == ("calibrated", 4, None)
    assert found.cell.name == "rram"
    with pytest.raises(InvalidValueError, match=re.escape("c: [crossbar]: must be a table, got 3")):
        read_crossbar("c: [crossbar]", 3, tmp_path)


def test_perfect_variants_change_nothing_else():
    machine = hardware.load("crossbar_128_rram")
    cells = chips.perfect_cells(machine)
    assert cells.window == machine.window
    assert (cells.stuck_on, cells.stuck_off, cells.r_row_ohm) == (0.0, 0.0, machine.r_row_ohm)
    assert not chips.without_wires(machine).has_wires
    assert chips.exact_converters(machine).adc_bits is None
    assert chips.exact_converters(machine).cell == machine.cell


def test_tool_errors_are_of_their_kind(folder, monkeypatch):
    monkeypatch.delitem(sys.modules, "tetrit.train.analog", raising=False)
    monkeypatch.delattr("tetrit.train.analog", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ToolError, match=r"needs torch"):
        noise_aware_trainer()
