"""The loop as a whole: what it measures and leaves behind, which folders it refuses, and how it diverges."""

import json
import os
import re

import numpy as np
import pytest
import torch

from tetrit.errors import InvalidValueError
from tetrit.train.loop import checkpoint, run

# --- what is left behind ---


def test_metrics_of_a_quantised_training(config, tmp_path):
    metrics = run(config("quantised"), tmp_path / "out")
    assert metrics == json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("config.json", "checkpoint.pt", "metrics.json", "timings.json", "model.pt")
    }
    history = metrics["history"]
    assert [(line["phase"], line["step"]) for line in history] == [
        *(("float", 5), ("float", 9), ("quantized", 5), ("quantized", 10), ("quantized", 14))
    ]
    assert [line["epoch"] for line in history[:2]] == [round(5 / 9, 6), 1.0]
    assert all("weights" not in line for line in history[:2])
    unmoved = [line["weights"]["all"]["unmoved"] for line in history[2:]]
    assert 1.0 > unmoved[0] >= unmoved[1] >= unmoved[2] > 0.0
    last = history[-1]["weights"]
    assert list(last) == ["layers.0.weight", "layers.2.weight", "layers.4.weight", "all"]
    assert [last[name]["weights"] for name in last] == [512, 64, 80, 656]
    assert last["all"]["zero"] == pytest.approx(
        sum(last[name]["zero"] * last[name]["weights"] for name in list(last)[:3]) / 656
    )
    assert metrics["results"].keys() == {"float", "quantized"}
    assert metrics["finished"]
    assert metrics["data"]["train"] == 1213
    assert metrics["model"] == {"class": "MLP", "parameters": 64 * 8 + 8 + 64 + 8 + 80 + 10}


def test_metrics_of_a_text(config, tmp_path):
    metrics = run(config("gpt"), tmp_path / "out")
    found = metrics["results"]["float"]["test"]
    assert found["perplexity"] == pytest.approx(2 ** found["bits_per_character"])
    assert found["loss"] == pytest.approx(np.log(found["perplexity"]))
    assert metrics["data"]["alphabet"] == len(set("the quick brown fox jumps over the lazy dog, 0123456789 times.\n"))


def test_the_measured_accuracy_is_that_of_the_saved_model(config, tmp_path):
    chosen = config("patient")
    metrics = run(chosen, tmp_path / "out")
    data = chosen.source.load()
    model = chosen.model.build(data.shape, data.classes)
    model.load_state_dict(torch.load(tmp_path / "out" / "model.pt", weights_only=True))
    with torch.no_grad():
        right = model(torch.from_numpy(data.test.x).float() / 16).argmax(1).numpy() == data.test.y
    assert metrics["results"]["float"]["test"]["accuracy"] == right.mean()


def test_patience_stops_and_returns_to_the_best(config, tmp_path):
    metrics = run(config("patient"), tmp_path / "out")
    result = metrics["results"]["float"]
    losses = {line["step"]: line["validation"]["loss"] for line in metrics["history"]}
    best = min(losses, key=losses.get)
    assert result["stopped_early"]
    assert (result["kept_step"], result["steps"]) == (best, best + 6)
    assert result["validation"]["loss"] == losses[best]
    assert max(losses) == result["steps"]


def test_a_longer_training_learns(config, tmp_path, texts):
    text = texts["mlp"].replace("steps = 23", "epochs = 15").replace("128", "32").replace("[8]", "[32]")
    text = text.replace("checkpoint_every = 4", "rate = 3e-3")
    metrics = run(config(text), tmp_path / "out")
    assert metrics["results"]["float"]["test"]["accuracy"] > 0.9
    assert metrics["history"][-1]["train"]["loss"] < metrics["history"][0]["train"]["loss"] / 3


# --- folders ---


def fails(config, out, message, **options):
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        run(config, out, **options)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == files


def test_a_folder_is_never_overwritten(config, tmp_path, texts):
    out = tmp_path / "out"
    run(config("mlp"), out)
    fails(config("mlp"), out, f"'{out}' already holds this run: resume it (--resume) or choose another folder")
    message = f"'{out}' holds a run of another configuration (`{{}}): choose another folder"
    other = config(texts["mlp"] + "rate = 0.1\n")
    for resume in (False, True):
        fails(other, out, message.format("train.rate` is 0.001 there and 0.1 here"), resume=resume)
    fails(config("seed = 3\n" + texts["mlp"]), out, message.format("seed` is 0 there and 3 here"))
    (out / "config.json").write_text("{}")
    fails(config("mlp"), out, f"'{out / 'config.json'}' is not what tetrit has written there", resume=True)
    (out / "config.json").unlink()
    fails(config("mlp"), out, f"'{out}' holds a checkpoint without its config.json: choose another folder")


def test_a_finished_run_is_left_as_it_is(config, tmp_path):
    out = tmp_path / "out"
    metrics = run(config("quantised"), out)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()}
    assert run(config("quantised"), out, resume=True) == metrics
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()} == before


def test_lost_results_of_a_finished_run_come_back(config, tmp_path):
    out = tmp_path / "out"
    run(config("quantised"), out)
    model = torch.load(out / "model.pt", weights_only=True)
    metrics = (out / "metrics.json").read_bytes()
    (out / "model.pt").unlink()
    (out / "metrics.json").unlink()
    run(config("quantised"), out, resume=True)
    again = torch.load(out / "model.pt", weights_only=True)
    assert again.keys() == model.keys()
    assert all(torch.equal(again[name], model[name]) for name in model if isinstance(model[name], torch.Tensor))
    assert (out / "metrics.json").read_bytes() == metrics


def test_a_run_that_failed_before_its_first_checkpoint_holds_no_folder(config, tmp_path, texts):
    out = tmp_path / "out"
    with pytest.raises(InvalidValueError, match=r"^`batch` is 2000"):
        run(config(texts["mlp"].replace("128", "2000")), out)
    assert [path.name for path in out.iterdir()] == ["config.json"]
    assert run(config("mlp"), out)["finished"]
    assert json.loads((out / "config.json").read_text())["sha256"] == config("mlp").sha256
    (out / "checkpoint.pt").unlink()  # results of another configuration are kept without it, too
    message = f"'{out}' holds a run of another configuration (`seed` is 0 there and 3 here): choose another folder"
    fails(config("seed = 3\n" + texts["mlp"]), out, message)


@pytest.mark.parametrize("content", ['{"sha256": "0", "config": "text"}', '{"sha256": 0, "config": {}}', "[" * 100_000])
def test_a_configuration_of_somebody_else(config, tmp_path, content):
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text(content)
    fails(config("mlp"), out, f"'{out / 'config.json'}' is not what tetrit has written there")


def test_only_regular_files_are_replaced(config, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    os.mkfifo(out / "metrics.json")
    with pytest.raises(InvalidValueError, match=r"^cannot write '.*metrics\.json': it is no regular file$"):
        run(config("mlp"), out)
    assert (out / "metrics.json").is_fifo()


def test_nothing_to_resume(config, tmp_path, stop_at):
    out = tmp_path / "out"
    fails(config("mlp"), out, f"there is no checkpoint in '{out}' to resume from", resume=True)
    with pytest.raises(stop_at.error):
        run(config("mlp"), out, after_step=stop_at(1))
    fails(config("mlp"), out, f"there is no checkpoint in '{out}' to resume from", resume=True)
    assert run(config("mlp"), out)["finished"]  # nothing is lost by beginning again


def test_changed_data_are_noticed(config, tmp_path, stop_at):
    out = tmp_path / "out"
    with pytest.raises(stop_at.error):
        run(config("gpt"), out, after_step=stop_at(5))
    chosen = config("gpt")
    (tmp_path / "text").write_bytes((tmp_path / "text").read_bytes().replace(b"fox", b"cat", 1))
    message = f"checkpoint '{out / 'checkpoint.pt'}' is of other data: the files have changed since"
    fails(chosen, out, message, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.update(config="0" * 64), "is of another configuration"),
        (lambda state: state.pop("trainer"), "cannot be loaded: it has no entry 'trainer'"),
        (lambda state: state["trainer"].pop("optimizer"), "does not fit: KeyError: 'optimizer'"),
        (lambda state: state["trainer"].pop("stale"), "does not fit: KeyError: 'stale'"),
        (
            lambda state: state["trainer"]["model"].popitem(),
            "does not fit: RuntimeError: Error(s) in loading state_dict for MLP:",
        ),
        (lambda state: state["trainer"].update(phase=7), "does not fit: IndexError: tuple index out of range"),
    ],
)
def test_checkpoints_that_do_not_fit(config, tmp_path, change, message, stop_at):
    out = tmp_path / "out"
    with pytest.raises(stop_at.error):
        run(config("mlp"), out, after_step=stop_at(5))
    state = checkpoint.read(out / "checkpoint.pt")
    change(state)
    checkpoint.write(out / "checkpoint.pt", state)
    fails(config("mlp"), out, f"checkpoint '{out / 'checkpoint.pt'}' {message}", resume=True)


def test_a_damaged_checkpoint_is_refused_and_kept(config, tmp_path, stop_at):
    out = tmp_path / "out"
    with pytest.raises(stop_at.error):
        run(config("mlp"), out, after_step=stop_at(5))
    path = out / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InvalidValueError, match=r"^checkpoint '.*' is truncated: "):
        run(config("mlp"), out, resume=True)
    assert path.exists()


# --- data and model that do not fit ---


@pytest.mark.parametrize(
    ("data", "rest", "message"),
    [
        ("images", 'name = "gpt"\n[train]\nepochs = 1', "the model GPT reads text, but the data are images"),
        ("text", 'name = "mlp"\n[train]\nepochs = 1', "the model MLP reads images, but the data are text"),
        (
            "text",
            'name = "lstm"\ncontext = 100\n[train]\nepochs = 1',
            "the validation text of 189 symbols is shorter than two contexts of 100",
        ),
        (
            "images",
            'name = "mlp"\n[train]\nepochs = 1\nbatch = 2000',
            "`batch` is 2000, but there are 1213 items of training data only",
        ),
    ],
)
def test_what_does_not_fit_is_one_clear_error(config, texts, tmp_path, data, rest, message):
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        run(config(f"{texts[data]}[model]\n{rest}"), tmp_path / "out")


@pytest.mark.parametrize(
    ("ask", "wanted"),
    [
        (lambda: torch.empty(1 << 60, dtype=torch.uint8), ", which ask for 1152921504606846976 bytes at once"),
        (lambda: np.empty(1 << 60, np.uint8), ", which ask for 1.00 EiB at once"),
        (lambda: bytearray(1 << 62), ""),
    ],
)
def test_too_little_memory_is_one_clear_error(config, tmp_path, monkeypatch, ask, wanted):
    from tetrit.train.models.mlp import MLP

    monkeypatch.setattr(MLP, "forward", lambda self, x: ask())
    message = f"there is not enough memory for this model and these data{wanted}"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        run(config("mlp"), tmp_path / "out")


def test_other_errors_are_not_taken_for_lack_of_memory(config, tmp_path, monkeypatch):
    from tetrit.train.models.mlp import MLP

    monkeypatch.setattr(MLP, "forward", lambda self, x: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="size"):
        run(config("mlp"), tmp_path / "out")


# --- divergence ---


def test_a_diverging_training_stops_and_keeps_its_checkpoint(config, tmp_path, texts):
    text = texts["mlp"].replace("steps = 23", 'steps = 200\noptimizer = "sgd"\nrate = 1e12\nschedule = "constant"')
    text = text.replace("checkpoint_every = 4", "checkpoint_every = 1")
    out = tmp_path / "out"
    with pytest.raises(InvalidValueError) as caught:
        run(config(text), out)
    found = re.fullmatch(
        r"the training diverged in the float phase (at step \d+ of 200, where this was not finite: the \w+ .+"
        r"|after step \d+ of 200: .+); the checkpoint of step (\d+) of the float phase is kept in '(.+)'",
        str(caught.value),
    )
    assert found is not None
    state = checkpoint.read(out / "checkpoint.pt")["trainer"]
    assert (state["step"], found[3]) == (int(found[2]), str(out / "checkpoint.pt"))
    assert all(torch.isfinite(value).all() for value in state["model"].values())


@pytest.mark.parametrize(
    ("name", "calls", "where"), [("mlp", 6, "float"), ("quantised", 6, "float"), ("quantised", 9 + 6, "quantized")]
)
@pytest.mark.parametrize("what", ["parameter", "output"])
def test_the_place_of_a_nan_is_named(config, tmp_path, monkeypatch, name, calls, where, what):
    from tetrit.train.models.mlp import MLP

    original = MLP.forward
    done = 0

    def forward(self, x):
        nonlocal done
        done += self.training
        if done > calls:
            if what == "parameter":
                self.layers[0].bias.data[2] = float("nan")
            else:
                self.layers[0].bias.data[2] = 3e38
                self.layers[0].weight.data[2] = 3e38
        return original(self, x)

    monkeypatch.setattr(MLP, "forward", forward)
    path = tmp_path / "out" / "checkpoint.pt"
    place = {
        "parameter": r"the parameter 'layers\.0\.bias', which has nan at index \(2,\)",
        "output": r"the output of 'layers\.0' \(\w*Linear\), which has inf at index \(0, 2\)",
    }[what]
    message = (
        rf"^the training diverged in the {where} phase at step 7 of \d+, where this was not finite: {place}; "
        rf"the checkpoint of step 4 of the {where} phase is kept in '{path}'$"
    )
    with pytest.raises(InvalidValueError, match=message):
        run(config(name), tmp_path / "out")
    assert checkpoint.read(path)["trainer"]["step"] == 4


def test_a_plan_that_does_not_fit_is_found_before_any_step(config, texts, tmp_path):
    text = texts["quantised"].replace('match = "layers.2"', 'match = "layer.2"')
    with pytest.raises(InvalidValueError, match=r"^\[quantize\]: .*'layer\.2'"):
        run(config(text), tmp_path / "out", after_step=lambda phase, step: pytest.fail("a step was done"))
