"""Monte-Carlo analyses: chips are those of the simulator, figures are recomputed, and nothing depends on how it ran."""

import csv
import io
import json
import math
import os
import re
import shutil
import signal
import statistics

import numpy as np
import pytest
from scipy import stats

from tetrit import hardware, hls, montecarlo
from tetrit.errors import Interrupted, InvalidValueError
from tetrit.hls import Checkpoint, StoredLayer, StoredWeight, write_checkpoint
from tetrit.montecarlo import network, running, tables
from tetrit.montecarlo.chips import run_cell
from tetrit.report import montecarlo as figures
from tetrit.sim.execute import Chip, execute
from tetrit.train.integers import integer_logits

CONFIG = """
name = "Small"
yield_accuracy = [0.5, 0.9]
[network]
hidden = [12]
[train]
estimator = { name = "ste", format = "int8" }
epochs = 10
quantized_epochs = 3
[crossbar]
preset = "crossbar_256_pcm"
changes = { rows = 64, cols = 32, r_row_ohm = 0.0, r_col_ohm = 0.0, r_driver_ohm = 0.0, r_sense_ohm = 0.0 }
chips = 4
seed = 7
times_s = [0, 86400, 31536000]
[[corner]]
name = "nominal"
[[corner]]
name = "Stuck cells"
changes = { stuck_on = 0.01, adc = { noise_sigma_lsb = 0.5 } }
"""


def load(folder, text=CONFIG):
    path = folder / "m.toml"
    path.write_text(text)
    return montecarlo.load_config(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An analysis that nothing interrupted, in one process."""
    folder = tmp_path_factory.mktemp("whole")
    config = load(folder)
    return config, folder / "out", montecarlo.run(config, folder / "out", jobs=1)


def test_chips_are_those_of_the_simulator(whole):
    config, out, analysis = whole
    found = network.load(out / "network.npz")
    assert [(chip["corner"], chip["seed"]) for chip in analysis["chips"]] == [
        (corner, seed) for corner in ("nominal", "Stuck cells") for seed in (7, 8, 9, 10)
    ]
    assert np.array_equal(found.exact, integer_logits(list(found.layers), found.images))
    for corner, chip in ((config.corners[0], analysis["chips"][1]), (config.corners[1], analysis["chips"][6])):
        program = hls.compile_network(found.layers, corner.machine, batch=len(found.images))
        fresh = execute(program, found.images, seed=chip["seed"], calibration=found.calibration)[-1].output
        assert chip["accuracy"][0] == np.mean(fresh.argmax(axis=1) == found.labels)
        own = Chip(program, chip["seed"]).calibrate(found.calibration)
        for place, time_s in enumerate(config.times_s):
            runs = own.at(time_s).run(found.images)
            y = runs[-1].output
            assert chip["accuracy"][place] == np.mean(y.argmax(axis=1) == found.labels)
            error = np.linalg.norm((y - found.exact).astype(float)) / np.linalg.norm(found.exact.astype(float))
            assert chip["error"][place] == pytest.approx(error, rel=1e-12)
            clipped, conversions = (
                sum(run.run.events[name] for run in runs) for name in ("adc_clipped", "adc_conversion")
            )
            assert chip["clipped"][place] == clipped / conversions
    assert analysis["chips"][0]["accuracy"] != analysis["chips"][1]["accuracy"]
    assert config.corners[1].machine == config.machine.replace(
        stuck_on=0.01, adc=config.machine.adc.replace(noise_sigma_lsb=0.5)
    )


def test_summaries_are_those_of_the_chips(whole):
    config, _, analysis = whole
    by_corner = {
        corner.name: np.array([chip["accuracy"] for chip in analysis["chips"] if chip["corner"] == corner.name])
        for corner in config.corners
    }
    assert len(analysis["summaries"]) == 6
    for number, line in enumerate(analysis["summaries"]):
        corner, place = ("nominal", "Stuck cells")[number // 3], number % 3
        values = by_corner[corner][:, place]
        assert (line["corner"], line["time_s"], line["n"]) == (corner, config.times_s[place], 4)
        found = line["accuracy"]
        half = stats.t.ppf(0.975, 3) * values.std(ddof=1) / 2
        assert found["mean"] == pytest.approx(values.mean(), rel=1e-12)
        assert found["half"] == pytest.approx(half, rel=1e-9, abs=1e-15)
        assert found["std"] == pytest.approx(values.std(ddof=1), rel=1e-12)
        assert (found["least"], found["greatest"]) == (values.min(), values.max())
        for quantile, q in zip(found["quantiles"], (0.05, 0.5, 0.95), strict=True):
            assert quantile["value"] == pytest.approx(np.quantile(values, q), rel=1e-12)
            # one of four chips being below the 5 % quantile is no surprise, two would be: P(Bin(4, 0.05) >= 2) = 1.4 %
            bounds = {0.05: (None, sorted(values)[1]), 0.5: (None, None), 0.95: (sorted(values)[2], None)}[q]
            assert (quantile["q"], quantile["low"], quantile["high"]) == (q, *bounds)
        for entry, least in zip(line["yields"], (0.5, 0.9), strict=True):
            good = int((values >= least).sum())
            bounds = stats.binomtest(good, 4).proportion_ci(0.95, method="exact")
            assert (entry["accuracy"], entry["good"], entry["share"]) == (least, good, good / 4)
            assert (entry["low"], entry["high"]) == (pytest.approx(bounds.low), pytest.approx(bounds.high))
        if corner == "nominal":
            assert line["difference"] is None
        else:
            differences = values - by_corner["nominal"][:, place]
            half = stats.t.ppf(0.975, 3) * differences.std(ddof=1) / 2
            assert line["difference"]["mean"] == pytest.approx(differences.mean(), rel=1e-12)
            assert line["difference"]["half"] == pytest.approx(half, rel=1e-9)
        errors = [chip["error"][place] for chip in analysis["chips"] if chip["corner"] == corner]
        assert line["error"]["mean"] == pytest.approx(statistics.fmean(errors), rel=1e-12)
    drifted = by_corner["nominal"].mean(axis=0)
    assert drifted[0] > drifted[2]
    assert by_corner["nominal"][:, 0].mean() > by_corner["Stuck cells"][:, 0].mean()


def test_what_is_written_is_what_is_returned(whole):
    config, out, analysis = whole
    assert json.loads((out / "montecarlo.json").read_text()) == analysis
    assert analysis["schema"] == "tetrit-montecarlo/1"
    assert [corner["machine"] for corner in analysis["corners"]] == [
        json.loads(json.dumps(hardware.to_dict(corner.machine))) for corner in config.corners
    ]
    rows = list(csv.reader(io.StringIO(montecarlo.to_csv(analysis))))
    assert rows[0] == ["corner", "seed", "time_s", "accuracy", "error", "clipped"]
    assert len(rows) == 1 + 2 * 4 * 3
    last = analysis["chips"][-1]
    wanted = ["Stuck cells", "10", "31536000", *(f"{last[key][2]:.6g}" for key in ("accuracy", "error", "clipped"))]
    assert rows[-1] == wanted


@pytest.mark.parametrize("jobs", [2, 3])
def test_the_number_of_processes_changes_nothing(whole, tmp_path, jobs):
    config, out, _ = whole
    montecarlo.run(config, tmp_path / "out", jobs=jobs)
    for name in ("montecarlo.json", "network.npz"):
        assert (tmp_path / "out" / name).read_bytes() == (out / name).read_bytes()


def test_interrupted_and_resumed_it_is_the_same(whole, tmp_path, monkeypatch):
    config, out, _ = whole
    begun = []

    def interrupted(cell, stopped):
        begun.append(cell)
        if len(begun) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        run_cell(cell, stopped)

    with monkeypatch.context() as patch:
        patch.setattr(running, "run_cell", interrupted)
        with pytest.raises(Interrupted, match=r"^interrupted with 3 of 8 chips finished; go on with --resume$"):
            montecarlo.run(config, tmp_path / "out", jobs=1)
    assert len(begun) == 4
    assert not (tmp_path / "out/montecarlo.json").exists()
    message = f"'{tmp_path / 'out'}' already holds an analysis: resume it (--resume) or choose another folder"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        montecarlo.run(config, tmp_path / "out", jobs=1)
    begun.clear()
    with monkeypatch.context() as patch:
        patch.setattr(running, "run_cell", lambda cell, stopped: begun.append(run_cell(cell, stopped)))
        montecarlo.run(config, tmp_path / "out", resume=True, jobs=1)
    assert len(begun) == 5
    assert (tmp_path / "out/montecarlo.json").read_bytes() == (out / "montecarlo.json").read_bytes()


def test_interrupted_in_its_training_it_begins_again(whole, tmp_path, monkeypatch):
    config, _, _ = whole
    with monkeypatch.context() as patch:
        patch.setattr(network.mlp, "train_quantized", lambda *a, **k: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(Interrupted, match=r"^interrupted before the network was trained$"):
            montecarlo.run(config, tmp_path / "out", jobs=1)
    message = f"there is no analysis in '{tmp_path / 'out'}' to resume"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        montecarlo.run(config, tmp_path / "out", resume=True, jobs=1)
    montecarlo.run(config.with_chips(1), tmp_path / "out", jobs=1)


def test_a_chip_that_is_told_to_stop_leaves_nothing(whole, tmp_path):
    config, out, _ = whole
    found = network.load(out / "network.npz")
    cell = montecarlo.running.cells(config, found, tmp_path, out / "network.npz")[0]
    asked = []
    with pytest.raises(KeyboardInterrupt):
        run_cell(cell, lambda: asked.append(1) or len(asked) == 2)
    assert len(asked) == 2
    assert list(tmp_path.iterdir()) == []


def test_resumed_with_more_it_does_the_new_chips_only(whole, tmp_path, monkeypatch):
    _, out, analysis = whole
    shutil.copytree(out, tmp_path / "out")
    config = load(tmp_path, CONFIG + '[[corner]]\nname = "hot"\nchanges = { temperature_k = 350 }\n').with_chips(5)
    done = []
    monkeypatch.setattr(running, "run_cell", lambda cell, stopped: done.append(cell) or run_cell(cell, stopped))
    found = montecarlo.run(config, tmp_path / "out", resume=True, jobs=1)
    new = {(cell.corner, cell.seed) for cell in done}
    assert new == {("nominal", 11), ("Stuck cells", 11), *(("hot", seed) for seed in range(7, 12))}
    assert len(done) == 7
    assert [chip for chip in found["chips"] if (chip["corner"], chip["seed"]) not in new] == analysis["chips"]
    fewer = montecarlo.run(load(tmp_path), tmp_path / "out", resume=True, jobs=1)
    assert fewer == analysis


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("hidden = [12]", "hidden = [13]", "'OUT/network.npz' is the network of another configuration"),
        ('name = "Small"', "seed = 1", "'OUT/network.npz' is the network of another configuration"),
        ("[0, 86400, 31", "[0, 3600, 31", "'OUT/chips/nominal/00007.json' is a chip of another configuration"),
        ("stuck_on = 0.01", "stuck_on = 0.02", "'OUT/chips/stuck-cells/00007.json' is a chip of another configuration"),
    ],
)
def test_a_folder_of_another_configuration_is_refused(whole, tmp_path, before, after, message):
    _, out, _ = whole
    shutil.copytree(out, tmp_path / "out")
    config = load(tmp_path, CONFIG.replace(before, after))
    text = message.replace("OUT", str(tmp_path / "out")) + ": choose another folder"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        montecarlo.run(config, tmp_path / "out", resume=True, jobs=1)


@pytest.mark.parametrize("name", ["network.npz", "chips/nominal/00008.json"])
@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-20], lambda data: b"{}"])
def test_damaged_files_are_refused(whole, tmp_path, name, damage):
    config, out, _ = whole
    shutil.copytree(out, tmp_path / "out")
    path = tmp_path / "out" / name
    path.write_bytes(damage(path.read_bytes()))
    message = f"'{path}' is not what tetrit has written there"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        montecarlo.run(config, tmp_path / "out", resume=True, jobs=1)


def test_a_changed_network_is_refused(whole, tmp_path):
    _, out, _ = whole
    with np.load(out / "network.npz") as file:
        arrays = {name: file[name].copy() for name in file.files}
    arrays["0.weight"][3, 4] ^= 1
    np.savez(tmp_path / "network.npz", **arrays)
    with pytest.raises(InvalidValueError, match=r"network.npz' is not what tetrit has written there$"):
        network.load(tmp_path / "network.npz")


def test_a_checkpoint_is_what_was_trained(whole, tmp_path):
    _, out, analysis = whole
    found = network.load(out / "network.npz")
    stored = [
        StoredLayer(
            name=layer.name,
            kind="linear",
            weights={
                "weight": StoredWeight(
                    codes=layer.weight.T.copy(), scale=layer.weight_scale.reshape(-1, 1), format=layer.weight_format
                )
            },
            bias=layer.bias,
            in_format=layer.in_format,
            in_scale=layer.in_scale,
            first=place == 0,
            follows=None if place == 0 else found.layers[place - 1].name,
            relu=layer.relu,
            out_scale=layer.out_scale if place == len(found.layers) - 1 else None,
            options={},
        )
        for place, layer in enumerate(found.layers)
    ]
    write_checkpoint(Checkpoint(layers=tuple(stored)), tmp_path / "net.safetensors")
    text = re.sub(
        r"\[network\].*?\[crossbar\]", '[network]\ncheckpoint = "net.safetensors"\n[crossbar]', CONFIG, flags=re.S
    )
    again = montecarlo.run(load(tmp_path, text), tmp_path / "out", jobs=1)
    assert (again["chips"], again["summaries"]) == (analysis["chips"], analysis["summaries"])
    nothing = {"float": None, "quantized": None, "noise_aware": None}
    assert again["network"]["accuracy"] == analysis["network"]["accuracy"] | nothing
    cut = Checkpoint(layers=(StoredLayer(**(vars(stored[1]) | {"first": True, "follows": None})),))
    write_checkpoint(cut, tmp_path / "net.safetensors")
    message = "`checkpoint` must take 64 inputs and give 10 outputs, its network has 12 and 10"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(str(tmp_path / 'm.toml'))}: \\[network\\]: {message}$"):
        montecarlo.run(load(tmp_path, text), tmp_path / "other", jobs=1)
    (tmp_path / "net.safetensors").unlink()
    with pytest.raises(
        InvalidValueError, match=r"^cannot read checkpoint '.*net.safetensors': No such file or directory$"
    ):
        montecarlo.run(load(tmp_path, text), tmp_path / "other", jobs=1)


def test_training_on_the_crossbar_helps_its_chips(whole, tmp_path):
    _, _, analysis = whole
    text = CONFIG.replace("chips = 4", "chips = 4\nnoise_aware = { epochs = 3 }")
    config = load(tmp_path, text)
    found = montecarlo.run(config, tmp_path / "out", jobs=1)
    assert found["config"]["noise_aware"] == {"epochs": 3, "batch": 64, "rate": 0.001, "redraw": "batch"}
    own, before = found["network"]["accuracy"], analysis["network"]["accuracy"]
    assert (own["float"], own["quantized"]) == (before["float"], before["quantized"])
    assert before["noise_aware"] is None
    assert abs(own["noise_aware"] - own["exact"]) < 0.01  # the one rounds in float32
    assert found["summaries"][0]["accuracy"]["mean"] > analysis["summaries"][0]["accuracy"]["mean"]
    with pytest.raises(
        InvalidValueError, match=r"network.npz' is the network of another configuration: choose another"
    ):
        montecarlo.run(load(tmp_path), tmp_path / "out", resume=True, jobs=1)


CROSSBAR = CONFIG[CONFIG.index("[crossbar]") : CONFIG.index("[[corner]]")]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('name = "Small"', "name = 3", ": `name` must be a string, got 3"),
        ('name = "Small"', "seed = -1", ": `seed` must be a non-negative integer, got -1"),
        ('name = "Small"', "seeds = [1]", ": unknown key 'seeds'; did you mean 'seed'?"),
        ("[0.5, 0.9]", "[0.9, 0.5]", ": `yield_accuracy` must ascend, got [0.9, 0.5]"),
        ("[0.5, 0.9]", "[95]", ": `yield_accuracy` must be at most 1, got 95"),
        ("[0.5, 0.9]", "[]", ": `yield_accuracy` must be a list with at least one number, got []"),
        ("hidden = [12]", "hidden = 12", ": [network]: `hidden` must be a list, got 12"),
        (
            "hidden = [12]",
            'checkpoint = "a.safetensors"',
            ": [network]: a checkpoint is trained already: leave out `train`",
        ),
        ("epochs = 10", "epochs = 0", ": [train]: `epochs` must be a positive integer, got 0"),
        ("epochs = 10", "epoch = 1", ": [train]: unknown key 'epoch'; did you mean 'epochs'?"),
        ('"ste"', '"sto"', ": [train]: unknown estimator 'sto'; did you mean 'stochastic_rounding'?"),
        (
            ', format = "int8"',
            ', format = "int4"',
            ": [crossbar]: the crossbar takes int8 weights, estimator 'ste' gives int4",
        ),
        (CROSSBAR, "", ": [crossbar]: the section is missing; it needs a `preset` or a `path`"),
        ('preset = "crossbar_256_pcm"', "", ": [crossbar]: one of `preset` or `path` is needed"),
        ('"crossbar_256_pcm"', "3", ": [crossbar]: `preset` must be a string, got 3"),
        (
            '"crossbar_256_pcm"',
            '"shift_8x8"',
            ": [crossbar]: shift_8x8: a crossbar is needed here, got a shift_array",
        ),
        ("rows = 64", "rows = 0", ": [crossbar.changes]: `rows` must be an integer from 1 to 65536, got 0"),
        ("rows = 64", "row = 64", ": [crossbar.changes]: unknown key 'row'; did you mean 'rows'?"),
        ("rows = 64", 'act_format = "int4"', ": [crossbar]: training gives int8 activations, the crossbar takes int4"),
        ("chips = 4", "noise_aware = 3", ": [crossbar.noise_aware]: must be a table, got 3"),
        (
            "chips = 4",
            "noise_aware = { epochs = 0 }",
            ": [crossbar.noise_aware]: `epochs` must be an integer from 1 to 1000000, got 0",
        ),
        ("chips = 4", "chips = 0", ": [crossbar]: `chips` must be an integer from 1 to 1000000, got 0"),
        ("seed = 7", "seed = -7", f": [crossbar]: `seed` must be an integer from 0 to {2**64 - 1 - 10**6}, got -7"),
        ("[0, 86400, 31536000]", "[5, 5]", ": [crossbar]: `times_s` must ascend, got [5, 5]"),
        ("[0, 86400, 31536000]", "[-1]", ": [crossbar]: `times_s` must be at least 0, got -1"),
        ("[0, 86400, 31536000]", "[inf]", ": [crossbar]: `times_s` must be finite, got inf"),
        (
            "stuck_on = 0.01",
            "stuck_on = 1.5",
            ": corner 2 ('Stuck cells'): `stuck_on` + `stuck_off` must be at most 1, got 1.5",
        ),
        ("stuck_on = 0.01", "r_row_ohm = -1", ": corner 2 ('Stuck cells'): `r_row_ohm` must be at least 0, got -1"),
        ("stuck_on = 0.01", "time_s = 5", ": corner 2 ('Stuck cells'): `time_s` must be the same in all corners"),
        ("stuck_on = 0.01", "g = 5", ": corner 2 ('Stuck cells'): unknown key 'g'; "),
        ("noise_sigma_lsb", "sigma", ": corner 2 ('Stuck cells'): [adc]: unknown key 'sigma'; "),
        (
            '"Stuck cells"',
            '"Nominal!"',
            ": corner 2 ('Nominal!'): another corner has the same name, or one that differs",
        ),
        ('"Stuck cells"', '"!"', ": corner 2 ('!'): `name` must have a letter or a digit"),
        ('"Stuck cells"', "3", ": corner 2: `name` must be a string, got 3"),
    ],
)
def test_wrong_configurations_are_named(tmp_path, before, after, message):
    assert CONFIG.count(before) == 1
    with pytest.raises(InvalidValueError) as caught:
        load(tmp_path, CONFIG.replace(before, after))
    text = str(caught.value)
    if message.endswith(("; ", "differs")):
        assert text.startswith(f"{tmp_path / 'm.toml'}{message}")
    else:
        assert text == f"{tmp_path / 'm.toml'}{message}"


def test_what_only_the_data_show_is_named_too(tmp_path):
    config = load(tmp_path, CONFIG.replace("chips = 4", "calibration_images = 2000"))
    with pytest.raises(
        InvalidValueError, match=r": \[crossbar\]: `calibration_images` must be at most the 1348 for tr"
    ):
        montecarlo.run(config, tmp_path / "out", jobs=1)
    with pytest.raises(InvalidValueError, match=r"^`chips` must be an integer from 1 to 1000000, got 0$"):
        config.with_chips(0)


def test_memory_is_checked_before_any_training(tmp_path, monkeypatch):
    monkeypatch.setattr(network.mlp, "train_float", lambda *_, **__: pytest.fail("the training began"))
    sizes = "[[corner]]\nname = 'huge'\nchanges = { rows = 65536, cols = 65536 }\n"
    config = load(tmp_path, CONFIG + sizes)
    with pytest.raises(
        InvalidValueError,
        match=r"m\.toml: corner 'huge': 64 x 12 weights on arrays of 65536 x 65536 cells need about \d+\.\d GB of "
        r"memory and \d+\.\d GB are free; arrays of \d+ x \d+ cells would fit$",
    ):
        montecarlo.run(config, tmp_path / "out", jobs=1)
    asked = []
    monkeypatch.setattr(network, "check_memory", lambda machine, widths, *, chips: asked.append((widths, chips)))
    for jobs in (1, 3, 1000):
        with pytest.raises(pytest.fail.Exception):
            montecarlo.run(load(tmp_path), tmp_path / "out", jobs=jobs)
    assert asked == [((64, 12, 10), jobs) for jobs in (1, 1, 3, 3, 8, 8)]  # two corners of four chips


def test_defaults(tmp_path):
    text = '[train]\nestimator = { name = "ste", format = "int8" }\n[crossbar]\npreset = "crossbar_256_pcm"\n'
    config = load(tmp_path, text)
    assert (config.name, config.seed, config.chips, config.first_seed) == ("m", 0, 100, 0)
    assert config.times_s == (0.0, 3600.0, 86400.0, 2592000.0, 31536000.0)
    assert (config.calibration_images, config.yield_accuracy) == (256, (0.9,))
    assert [(corner.name, corner.machine) for corner in config.corners] == [
        ("nominal", hardware.load_crossbar("crossbar_256_pcm"))
    ]


def analysis_of(accuracies, times=(0.0, 3600.0)):
    """The summary of made-up accuracies: {corner: rows of chips, one column a time}."""
    from tetrit.montecarlo.chips import Cell
    from tetrit.montecarlo.config import Corner, MonteCarloConfig
    from tetrit.montecarlo.results import summarise
    from tetrit.train import mlp
    from tetrit.train.recipe import Split, estimator_of

    machine = hardware.load_crossbar("crossbar_ideal")
    n = len(next(iter(accuracies.values())))
    config = MonteCarloConfig(
        name="Made up",
        path=None,
        seed=0,
        split=Split(),
        training=mlp.Config(),
        estimator=estimator_of("estimator", {"name": "ste", "format": "int8"}),
        noise_aware=None,
        checkpoint=None,
        machine=machine,
        corners=tuple(Corner(name=name, changes={}, machine=machine) for name in accuracies),
        chips=n,
        first_seed=0,
        times_s=times,
        calibration_images=1,
        yield_accuracy=(0.75,),
    )
    found = network.Network(
        layers=(),
        calibration=np.zeros((1, 1), np.int64),
        images=np.zeros((4, 1), np.int64),
        labels=np.zeros(4, np.int64),
        exact=np.ones((4, 1), np.int64),
        accuracy={"float": 0.9, "quantized": None, "exact": 0.875},
        made_from={},
    )
    cells, results = [], []
    for seed in range(n):
        for name, rows in accuracies.items():
            cells.append(
                Cell(corner=name, seed=seed, machine=machine, times_s=times, network=None, network_sha256="", file=None)
            )
            points = [{"accuracy": value, "error": 0.1, "clipped": 0.0} for value in rows[seed]]
            results.append({"seed": seed, "points": points})
    return summarise(config, found, cells, results)


def test_the_table_by_hand():
    analysis = analysis_of({"a|b": [[0.5, 0.25], [1.0, 0.75]], "other": [[0.75, 0.5], [0.75, 0.5]]})
    half = 12.7062 * 25.0  # Student's t of 1 degree of freedom, times the standard error of 50 and 100
    header, rows = tables.table(analysis)
    assert header == [
        "corner",
        "after",
        "mean",
        "5 % quantile",
        "median",
        "95 % quantile",
        "worst",
        "yield at 75 %",
        "difference",
    ]
    none, one, two = (stats.binomtest(k, 2).proportion_ci(0.95, method="exact") for k in range(3))
    assert [[row[0], row[1], *row[3:8]] for row in rows] == [
        ["a|b", "0 s", "52.50", "75.00", "97.50", "50.00", f"50.0 ({100 * one.low:.1f} to {100 * one.high:.1f})"],
        ["a|b", "1 h", "27.50", "50.00", "72.50", "25.00", f"50.0 ({100 * one.low:.1f} to {100 * one.high:.1f})"],
        ["other", "0 s", "75.00", "75.00", "75.00", "75.00", f"100.0 ({100 * two.low:.1f} to 100.0)"],
        ["other", "1 h", "50.00", "50.00", "50.00", "50.00", f"0.0 (0.0 to {100 * none.high:.1f})"],
    ]
    assert [row[2] for row in rows] == [
        f"75.00 +- {half:.2f}",
        f"50.00 +- {half:.2f}",
        "75.00 +- 0.00",
        "50.00 +- 0.00",
    ]
    assert [row[8] for row in rows] == ["", "", f"+0.00 +- {half:.2f}", f"+0.00 +- {half:.2f}"]
    page = montecarlo.markdown(analysis).splitlines()
    assert page[0] == "# Made up"
    assert page[2] == (
        "2 chips, 4 held-out images; accuracy without a crossbar: float 90.00 %, exact 87.50 % (exact: in integer "
        "arithmetic)."
    )
    assert page[6].startswith("| a\\|b | 0 s | 75.00 ± 317.66 |")


def test_one_chip_has_no_interval():
    analysis = analysis_of({"one": [[0.5]]}, times=(0.0,))
    (line,) = analysis["summaries"]
    assert (line["accuracy"]["half"], line["accuracy"]["std"], line["difference"]) == (None, None, None)
    header, (row,) = tables.table(analysis)
    assert row == ["one", "0 s", "50.00", "50.00", "50.00", "50.00", "50.00", "0.0 (0.0 to 97.5)"]
    assert header[-1] == "yield at 75 %"
    assert set(figures.draw(analysis)) == {"corners", "spread", "yield"}


def test_figures_show_the_analysis(whole):
    _, _, analysis = whole
    drawn = figures.draw(analysis)
    assert sorted(drawn) == ["corners", "spread", "yield"]
    assert all(content.startswith(b"\x89PNG") for content in drawn.values())
    assert figures.draw(json.loads(json.dumps(analysis))) == drawn
    with figures.style.themed():
        (axes,) = figures._corners(analysis).axes
        lines = {line.get_color(): line for line in axes.lines}
        means = [100 * line["accuracy"]["mean"] for line in analysis["summaries"][3:]]
        assert lines[figures.style.PALETTE[1]].get_ydata().tolist() == means
        panels = figures._spread(analysis).axes
        worst = [100 * line["accuracy"]["least"] for line in analysis["summaries"][3:]]
        assert panels[1].collections[-1].get_offsets()[:, 1].tolist() == worst
        curve = figures._yield(analysis).axes[0].lines[0]
    values = sorted(100 * chip["accuracy"][0] for chip in analysis["chips"][:4])
    x, y = curve.get_xdata(), curve.get_ydata()
    for value in values:  # `pre`: y holds up to, and at, its x
        assert y[np.searchsorted(x, value)] == 100 * np.mean(np.array(values) >= value)


def test_places_of_times():
    assert figures._places([0.0, 10.0, 1000.0]) == [0.0, 1.0, 3.0]
    assert figures._places([0.0]) == [0.0]
    assert figures._places([60.0]) == [pytest.approx(math.log10(60))]
