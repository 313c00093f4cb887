"""Fault maps in the configurations of runs and of Monte-Carlo analyses: their chips, and refusals before any work."""

from dataclasses import replace

import numpy as np
import pytest

from tetrit import hardware, hls, montecarlo
from tetrit.errors import InvalidValueError
from tetrit.flow import analog, chips
from tetrit.flow import config as configs
from tetrit.flow.crossbar_config import read_crossbar
from tetrit.montecarlo import network, running
from tetrit.sim import Chip
from tetrit.train import digits, mlp
from tetrit.train.integers import export, layer_shapes

COMMON = """
[network]
hidden = [12]
[train]
epochs = 4
quantized_epochs = 3
{train}
[crossbar]
preset = "crossbar_256_pcm"
changes = {{ rows = 64, cols = 32, r_row_ohm = 0, r_col_ohm = 0, r_driver_ohm = 0, r_sense_ohm = 0{more} }}
chips = 2
seed = 7
times_s = [3600]
faults = "faults.npz"
"""
MONTECARLO = COMMON.format(train='estimator = { name = "ste", format = "int8" }', more="")
RUN = "[machine]\npath = 'machine.toml'\n[verify]\nimages = 0\n" + COMMON.format(
    train="", more=", weight_format = 'szt', bits_per_cell = 1"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Configurations of networks 64-12-10, each layer on one array."""
    monkeypatch.chdir(tmp_path)
    array = hardware.ShiftArray(rows=4, cols=4, acc_bits=16, act_memory=hardware.Memory(read_pj_per_bit=1.0))
    (tmp_path / "machine.toml").write_text(hardware.to_toml(array))
    (tmp_path / "m.toml").write_text(MONTECARLO)
    (tmp_path / "run.toml").write_text(RUN)
    return tmp_path


def faults(*grid, seed=1):
    return np.random.default_rng(seed).choice([0, 1, 2], size=(*grid, 64, 32), p=[0.9, 0.05, 0.05])


def test_chips_of_an_analysis_have_them(folder):
    maps = {"fc1": faults(1, 1), "1": faults(seed=2)}
    np.savez("faults.npz", **maps)
    config = montecarlo.load_config("m.toml")
    analysis = montecarlo.run(config, folder / "out", jobs=2)
    found = network.load(folder / "out" / "network.npz")
    for place, corner in enumerate(config.corners):
        program = hls.compile_network(found.layers, corner.machine, batch=len(found.images))
        for number in range(2):
            chip = Chip(program, 7 + number, faults=maps).calibrate(found.calibration).at(3600.0)
            share = np.mean(chip.run(found.images)[-1].output.argmax(axis=1) == found.labels)
            assert analysis["chips"][2 * place + number]["accuracy"] == [share]
    assert analysis["config"]["faults"] == {"file": "faults.npz", "sha256": config.faults.sha256}
    again = montecarlo.run(config, folder / "out", jobs=1, resume=True)
    assert again == analysis
    np.savez("faults.npz", fc1=faults(seed=9))
    with pytest.raises(InvalidValueError, match=r"is a chip of another configuration: choose another folder$"):
        montecarlo.run(montecarlo.load_config("m.toml"), folder / "out", jobs=1, resume=True)
    cell = running.cells(config, found, folder / "other", folder / "out" / "network.npz")[0]
    with pytest.raises(InvalidValueError, match=r"^'.*faults\.npz' has changed since the analysis began$"):
        running.run_cell(cell)


def test_an_analysis_without_them_has_the_fingerprints_that_it_had(folder):
    (folder / "m.toml").write_text(MONTECARLO.replace('faults = "faults.npz"', ""))
    config = montecarlo.load_config("m.toml")
    assert config.faults is None
    assert "faults" not in config.table()


def test_the_chips_of_a_run_have_them(folder):
    maps = {"fc1": faults(seed=3), "fc2": faults(seed=4)}
    np.savez("faults.npz", **maps)
    config = configs.load(folder / "run.toml")
    data = digits.load()
    about = {"seed": 0, "config": config.training}
    trained = mlp.train_quantized(data, mlp.train_float(data, **about), config.estimator.estimator, **about)
    layers, images = export(trained, data), data.test_x.astype(np.int64)
    ours, theirs = (
        chips.evaluate(crossbar, {"plain": layers}, images, data.test_y, data.train_x[:99].astype(np.int64), step=str)
        for crossbar in (config.crossbar, replace(config.crossbar, faults=None))
    )
    assert ours["accuracy"][:3] == theirs["accuracy"][:3]  # perfect cells
    for place in (0, 1):
        assert ours["weights"][place]["wires_rms"] == theirs["weights"][place]["wires_rms"]
        assert ours["weights"][place]["chip_rms"] > 2 * theirs["weights"][place]["chip_rms"]
    program = hls.compile_network(layers, config.crossbar.machine, batch=len(images))
    own = [Chip(program, seed, faults=maps).calibrate(data.train_x[:99].astype(np.int64)) for seed in (7, 8)]
    wanted = [np.mean(chip.run(images)[-1].output.argmax(axis=1) == data.test_y) for chip in own]
    assert ours["accuracy"][3]["per_chip"] == wanted
    assert np.mean(wanted) < theirs["accuracy"][3]["mean"]
    (told,) = (entry for entry in analog.assumptions(config.crossbar) if entry["id"] == "crossbar-faults")
    assert told["text"] == "Stuck cells of layers 'fc1', 'fc2' are given, the same on all chips; no training knows them"
    assert told["source"] == f"'faults.npz', SHA-256 {config.crossbar.faults.sha256}"
    assert all(entry["id"] != "crossbar-faults" for entry in analog.assumptions(replace(config.crossbar, faults=None)))


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ({"fc3": np.zeros((64, 32), int)}, "unknown layer 'fc3'; did you mean 'fc2'?"),
        ({"2": np.zeros((64, 32), int)}, "unknown layer 2; known: 0 to 1"),
        (
            {"fc2": np.zeros((32, 64), int)},
            "layer 'fc2': `faults` must have shape (1, 1, 64, 32): arrays along inputs and outputs, rows, columns; "
            "got (32, 64)",
        ),
        (
            {"fc2": np.full((64, 32), 7)},
            "layer 'fc2': `faults` must be 0 (healthy), 1 (stuck off) or 2 (stuck on), got 7 at row 0, column 0",
        ),
        ({"fc2": np.zeros((64, 32))}, "layer 'fc2': `faults` must be integers, got float64"),
    ],
)
def test_wrong_maps_end_with_one_line_and_code_2_before_any_training(tetrit, folder, monkeypatch, maps, message):
    for module in (network.mlp, analog.chips.hls):
        name = "train_float" if module is network.mlp else "compile_network"
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("the work began"))
    np.savez("faults.npz", **maps)
    path = folder / "faults.npz"
    outcome = tetrit("montecarlo", folder / "m.toml", "--jobs", 1)
    assert (outcome.code, outcome.out) == (2, "")
    text = f"{folder / 'm.toml'}: corner 'nominal': fault maps '{path}': {message}"
    assert outcome.err == f"tetrit: error: {text}\n"
    outcome = tetrit("run", folder / "run.toml", "--out", folder / "out")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"tetrit: error: {folder / 'run.toml'}: [crossbar]: fault maps '{path}': {message}\n"


def test_a_corner_of_other_arrays_is_named(tetrit, folder):
    np.savez("faults.npz", fc2=np.zeros((64, 32), int))
    corners = "[[corner]]\nname = 'one'\n[[corner]]\nname = 'two'\nchanges = { rows = 32 }\n"
    (folder / "m.toml").write_text(MONTECARLO + corners)
    outcome = tetrit("montecarlo", folder / "m.toml", "--jobs", 1)
    assert outcome.code == 2
    assert f"corner 'two': fault maps '{folder / 'faults.npz'}': layer 'fc2': `faults` must have shape" in outcome.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"none.npz"', "cannot read fault maps '{folder}/none.npz': No such file or directory"),
        ('"m.toml"', "cannot read fault maps '{folder}/m.toml': it is no NPZ file"),
        ("3", "`faults` must be a string, got 3"),
    ],
)
def test_files_that_cannot_be_read(tetrit, folder, text, message):
    for name, arguments in (("m.toml", ["montecarlo"]), ("run.toml", ["run", "--out", "out"])):
        path = folder / name
        path.write_text(path.read_text().replace('"faults.npz"', text))
        outcome = tetrit(*arguments, path)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err == f"tetrit: error: {path}: [crossbar]: {message.format(folder=folder)}\n"


def test_names_of_layers_are_those_of_the_export():
    assert layer_shapes((64, 12, 10)) == [("fc1", 64, 12), ("fc2", 12, 10)]
    with pytest.raises(InvalidValueError, match=r"^x: \[crossbar\]: unknown key 'fault'; did you mean 'faults'\?$"):
        read_crossbar("x: [crossbar]", {"fault": "a"}, None)
