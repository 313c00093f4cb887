"""Comparisons run: cells are trainings of `tetrit train`, results do not depend on how they came about."""

import json
import os
import re
import shutil
import signal

import pytest
import torch

from tetrit.errors import InvalidValueError
from tetrit.statistics import mean_interval, paired_p
from tetrit.train import compare, loop
from tetrit.train.compare import pool
from tetrit.train.compare.cells import run_cell

CONFIG = """
seeds = [0, 7]
baseline = "float"
[task.digits.data]
source = "digits"
[task.digits.model]
name = "mlp"
hidden = [8]
[task.digits.train]
steps = 12
batch = 64
rate = 0.01
evaluate_every = 5
checkpoint_every = 4
[task.digits.quantize]
float_epochs = 2
[[estimator]]
label = "float"
weight = "float"
[[estimator]]
label = "SZT"
weight = {name = "szt", axis = "output"}
"""


def load(folder, text=CONFIG):
    path = folder / "c.toml"
    path.write_text(text)
    return compare.load_config(path)


def refused(out):
    return re.escape(f"'{out}'")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A comparison that nothing interrupted, in one process."""
    folder = tmp_path_factory.mktemp("whole")
    config = load(folder)
    return config, folder / "out", compare.run(config, folder / "out", jobs=1)


def test_cells_are_what_tetrit_train_gives(whole, tmp_path):
    config, out, comparison = whole
    for cell in config.cells(out)[1]:
        alone = tmp_path / f"{cell.estimator}-{cell.seed}"
        metrics = loop.run(cell.config, alone)
        (found,) = (c for c in comparison["cells"] if (c["estimator"], c["seed"]) == (cell.estimator, cell.seed))
        assert found["test"] == metrics["results"]["quantized"]["test"]
        assert found["validation"] == metrics["results"]["quantized"]["validation"]
        there = json.loads((cell.folder / "metrics.json").read_text())
        for line in there["history"]:
            line.pop("indicators", None)  # which only a comparison looks at
        assert there == metrics
        one, two = (torch.load(f / "model.pt", weights_only=True) for f in (alone, cell.folder))
        assert one.keys() == two.keys()
        tensors = [name for name, value in one.items() if isinstance(value, torch.Tensor)]
        assert {"layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"} <= set(tensors)
        assert all(torch.equal(one[name], two[name]) for name in tensors)


def test_the_result_adds_up(whole):
    _, out, comparison = whole
    assert comparison == json.loads((out / "comparison.json").read_text())
    assert comparison["schema"] == "tetrit-compare/1"
    task = comparison["tasks"]["digits"]
    assert (task["metric"], task["higher"]) == ("accuracy", True)
    assert task["budget"] == {"steps": {"float": 36, "quantized": 12}, "batch": 64}
    cells = {(c["estimator"], c["seed"]): c for c in comparison["cells"]}
    assert list(cells) == [("float", 0), ("SZT", 0), ("float", 7), ("SZT", 7)]
    values = {label: [cells[label, seed]["test"]["accuracy"] for seed in (0, 7)] for label in ("float", "SZT")}
    float_line, szt = comparison["summaries"]
    assert float_line["difference"] is None
    for line in (float_line, szt):
        expected = mean_interval(values[line["estimator"]])
        assert (line["mean"], line["half"], line["n"]) == (expected.mean, expected.half, 2)
        assert line["diverged"] == []
    differences = [b - a for a, b in zip(values["float"], values["SZT"], strict=True)]
    expected = mean_interval(differences)
    p = paired_p(differences)
    assert szt["difference"] == {"mean": expected.mean, "half": expected.half, "n": 2, "p": p, "p_holm": p}
    assert [point["step"] for point in cells["SZT", 0]["history"]] == [5, 10, 12]
    for point in cells["SZT", 7]["history"]:
        assert 0 < point["zero"] < 1
        assert 0 < point["unmoved"] <= 1
        assert point["error"] > 0
        assert point["variance"] > 0
    assert all(set(point) == {"step", "validation"} for point in cells["float", 0]["history"])


def test_estimators_of_a_seed_share_their_float_network(whole):
    config, out, _ = whole
    floats, cells = config.cells(out)
    results = {cell.folder: json.loads((cell.folder / "result.json").read_text()) for cell in (*floats, *cells)}
    for cell in cells:
        assert results[cell.folder]["results"]["float"] == results[cell.float_run]["results"]["float"]
    assert results[floats[0].folder]["results"] != results[floats[1].folder]["results"]


def test_in_parallel_it_is_the_same(whole, tmp_path):
    config, out, comparison = whole
    assert compare.run(config, tmp_path / "out", jobs=2) == comparison
    assert (tmp_path / "out/comparison.json").read_bytes() == (out / "comparison.json").read_bytes()


@pytest.mark.parametrize(("at", "step", "finished"), [(1, 9, 0), (3, 3, 2), (4, 10, 3), (6, 12, 5)])
def test_interrupted_and_resumed_it_is_the_same(whole, tmp_path, monkeypatch, at, step, finished):
    config, out, _ = whole
    begun = []

    def interrupted(cell, after_step=None):
        begun.append(cell)

        def callback(phase, done):
            if len(begun) == at and done == step:
                os.kill(os.getpid(), signal.SIGINT)

        run_cell(cell, callback)

    with monkeypatch.context() as patch:
        patch.setattr(pool, "run_cell", interrupted)
        with pytest.raises(loop.Interrupted, match=rf"^interrupted with {finished} of 6 cells finished$"):
            compare.run(config, tmp_path / "out", jobs=1)
    assert len(begun) == at
    assert not (tmp_path / "out/comparison.json").exists()
    with pytest.raises(InvalidValueError, match=rf"^{refused(tmp_path / 'out')} already holds a comparison: resume it"):
        compare.run(config, tmp_path / "out", jobs=1)
    begun.clear()
    with monkeypatch.context() as patch:
        patch.setattr(pool, "run_cell", lambda cell, after_step=None: begun.append(run_cell(cell, after_step)))
        compare.run(config, tmp_path / "out", resume=True, jobs=1)
    assert len(begun) == 6 - finished
    assert (tmp_path / "out/comparison.json").read_bytes() == (out / "comparison.json").read_bytes()


def test_resumed_with_more_it_does_the_new_cells_only(whole, tmp_path, monkeypatch):
    _, out, comparison = whole
    shutil.copytree(out, tmp_path / "out")
    more = '[[estimator]]\nlabel = "int4"\nweight = {name = "ste", format = "int4"}\n'
    config = load(tmp_path, CONFIG + more)
    done = []
    monkeypatch.setattr(pool, "run_cell", lambda cell, after_step=None: done.append(cell) or run_cell(cell))
    found = compare.run(config, tmp_path / "out", resume=True, jobs=1)
    assert [(cell.estimator, cell.seed) for cell in done] == [("int4", 0), ("int4", 7)]
    assert [c for c in found["cells"] if c["estimator"] != "int4"] == comparison["cells"]
    p, q = (line["difference"] for line in found["summaries"][1:])
    assert min(p["p_holm"], q["p_holm"]) == min(1.0, 2 * min(p["p"], q["p"]))  # Holm counts both


def test_a_folder_of_another_configuration_is_refused(whole, tmp_path):
    _, out, _ = whole
    shutil.copytree(out, tmp_path / "out")
    config = load(tmp_path, CONFIG.replace("rate = 0.01", "rate = 0.02"))
    where = tmp_path / "out/float/digits/seed-0"
    message = f"'{where}' holds a run of another configuration: choose another folder"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        compare.run(config, tmp_path / "out", resume=True, jobs=1)
    with pytest.raises(InvalidValueError, match=rf"^there is no comparison in {refused(tmp_path / 'none')} to resume$"):
        compare.run(config, tmp_path / "none", resume=True)
    (tmp_path / "out/float/digits/seed-0/result.json").write_text("{}")
    with pytest.raises(InvalidValueError, match=r"^'.*result\.json' is not what tetrit has written there$"):
        compare.run(config, tmp_path / "out", resume=True, jobs=1)


DIVERGING = CONFIG.replace("rate = 0.01", 'rate = 0.01\noptimizer = "sgd"\nschedule = "constant"\nmomentum = 0.0')
BIPER = '[[estimator]]\nlabel = "BiPer"\nweight = {name = "biper", frequency = 2.6e6}\n'


def test_a_diverged_cell_is_a_result(tmp_path):
    """A sine of this frequency refuses weights above 0.4, its gradient drives them there; the others go on."""
    config = load(tmp_path, DIVERGING + BIPER)
    found = compare.run(config, tmp_path / "out", jobs=1)
    status = {(c["estimator"], c["seed"]): c for c in found["cells"]}
    assert {key: cell["status"] for key, cell in status.items() if key[0] != "BiPer"} == dict.fromkeys(
        [("float", 0), ("SZT", 0), ("float", 7), ("SZT", 7)], "finished"
    )
    for seed in (0, 7):
        cell = status["BiPer", seed]
        assert set(cell) == {"task", "estimator", "seed", "status", "message"}
        assert cell["status"] == "diverged"
        assert "must be at most 2^20 in magnitude" in cell["message"]
        assert str(tmp_path) not in cell["message"]
    line = found["summaries"][2]
    assert line == {
        "task": "digits",
        "estimator": "BiPer",
        "diverged": [0, 7],
        "mean": None,
        "half": None,
        "n": 0,
        "difference": None,
    }
    (tmp_path / "out/comparison.json").unlink()
    assert compare.run(config, tmp_path / "out", resume=True, jobs=1) == found
    header, rows = compare.tables(found)["digits"]
    assert rows[2] == ["BiPer", "0 of 2, others diverged", "", "", "", ""]
    assert len(header) == 6


def test_where_the_float_network_diverges_its_cells_have(tmp_path):
    config = load(tmp_path, DIVERGING.replace("float_epochs = 2", "float_epochs = 2\nfloat_rate = 1e30"))
    found = compare.run(config, tmp_path / "out", jobs=1)
    assert {c["status"] for c in found["cells"]} == {"diverged"}
    messages = {c["message"] for c in found["cells"] if c["seed"] == 0}
    assert len(messages) == 1
    assert messages.pop().startswith("the training diverged in the float phase at step ")
    assert found["platform"] is None


def test_an_estimator_that_does_not_fit_is_refused_before_any_training(tmp_path):
    fairy = '[[estimator]]\nlabel = "complex"\nweight = "fairy"\n'
    config = load(tmp_path, CONFIG + fairy)
    where = re.escape(f"{tmp_path}/c.toml: task 'digits', estimator 'complex': ")
    with pytest.raises(InvalidValueError, match=f"^{where}"):
        compare.run(config, tmp_path / "out", jobs=1)
    assert not (tmp_path / "out/float").exists()


def test_text_is_compared_in_bits_per_character(tmp_path):
    (tmp_path / "text").write_bytes(b"the quick brown fox jumps over the lazy dog, 0123456789 times.\n" * 30)
    text = (
        'seeds = [0]\n[task.t.data]\nsource = "text"\npath = "text"\nvalidation = 0.1\ntest = 0.1\n'
        '[task.t.model]\nname = "gpt"\ncontext = 8\nlayers = 1\nheads = 2\nwidth = 8\n'
        '[task.t.train]\nsteps = 3\nbatch = 8\n[task.t.quantize]\n[[task.t.quantize.layer]]\nmatch = "layers.*"\n'
        '[[estimator]]\nlabel = "a"\nweight = "szt"\n[[estimator]]\nlabel = "b"\nweight = "szt"\n'
    )
    found = compare.run(load(tmp_path, text), tmp_path / "out", jobs=1)
    assert (found["tasks"]["t"]["metric"], found["tasks"]["t"]["higher"]) == ("bits_per_character", False)
    assert found["tasks"]["t"]["budget"]["steps"] == {"quantized": 3}
    a, b = found["summaries"]
    assert a["mean"] == b["mean"] == found["cells"][0]["test"]["bits_per_character"]
    assert a["half"] is None
    assert b["difference"] == {"mean": 0.0, "half": None, "n": 1, "p": None, "p_holm": None}
    header, rows = compare.tables(found)["t"]
    assert header[2:4] == ["test bits per character", "minus 'a'"]
    assert rows[1][2:4] == [f"{a['mean']:.4f}", "+0.0000"]


def test_an_unfinished_float_network_is_not_taken_over(tmp_path):
    config = load(tmp_path)
    floats, cells = config.cells(tmp_path / "out")

    def stop(phase, done):
        if done == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(loop.Interrupted):
        loop.run(floats[0].config, floats[0].folder, after_step=stop)
    kept = floats[0].folder / "checkpoint.pt"
    with pytest.raises(
        InvalidValueError, match=f"^the float network of checkpoint '{re.escape(str(kept))}' is not fin"
    ):
        loop.run(cells[0].config, cells[0].folder, float_run=floats[0].folder)
    with pytest.raises(InvalidValueError, match=f"^checkpoint '{re.escape(str(kept))}' is of another configuration$"):
        loop.run(cells[2].config, cells[2].folder, float_run=floats[0].folder)


def test_switches_of_adapt_go_on_where_they_were(tmp_path):
    """Its windows of gradients are part of a checkpoint: 25 steps are in the first window when it is interrupted."""
    text = CONFIG.replace("steps = 12", "steps = 260").replace("evaluate_every = 5", "evaluate_every = 130")
    config = load(tmp_path, text.replace('{name = "szt", axis = "output"}', '"adapt"'))
    cell = config.cells(tmp_path)[1][1]
    assert cell.estimator == "SZT"

    def stop(phase, done):
        if (phase, done) == ("quantized", 25):
            os.kill(os.getpid(), signal.SIGINT)

    whole = loop.run(cell.config, tmp_path / "whole")
    with pytest.raises(loop.Interrupted):
        loop.run(cell.config, tmp_path / "parts", after_step=stop)
    assert loop.run(cell.config, tmp_path / "parts", resume=True) == whole
