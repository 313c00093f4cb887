"""`tetrit train`: what it prints, its exit codes, Ctrl-C and kill -9, and resumption to the same bytes."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).parent / "tetrit"
CONFIG = """
threads = 1
[data]
source = "digits"
[model]
name = "mlp"
hidden = [8]
[train]
epochs = 3
batch = 128
checkpoint_every = 2
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.toml"
    path.write_text(CONFIG)
    return path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "timings.json"}


def test_it_prints_a_table_and_leaves_its_files(tetrit, path):
    outcome = tetrit("train", path)
    assert (outcome.code, outcome.err) == (0, "")
    metrics = json.loads((path.parent / "build" / "train" / "small" / "metrics.json").read_text())
    result = metrics["results"]["float"]
    figures = [f"{result[part][name]:.4f}" for part in ("validation", "test") for name in ("loss", "accuracy")]
    lines = outcome.out.splitlines()
    assert lines[0].split("  ") == ["phase", "steps", *(f"{p} {n}" for p in ("validation", "test") for n in result[p])]
    assert lines[1].split() == ["float", "27", *figures]
    assert lines[2:] == ["results in build/train/small"]


def test_bars_are_drawn_on_standard_error(tetrit, path):
    outcome = tetrit("train", path, "--progress", "--out", "out")
    assert outcome.code == 0
    assert "27/27" in outcome.err
    assert "27/27" not in outcome.out


def test_again_it_is_refused_and_resumed_it_is_unchanged(tetrit, path):
    first = tetrit("train", path, "--out", "out")
    before = contents(Path("out"))
    again = tetrit("train", path, "--out", "out")
    message = "'out' already holds this run: resume it (--resume) or choose another folder"
    assert (again.code, again.out, again.err) == (2, "", f"tetrit: error: {message}\n")
    resumed = tetrit("train", path, "--out", "out", "--resume")
    assert (resumed.code, resumed.out) == (0, first.out)
    assert contents(Path("out")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.toml"], "cannot read configuration 'none.toml': No such file or directory"),
        (["small.toml", "--resume"], "there is no checkpoint in 'build/train/small' to resume from"),
        (["small.toml", "--out", "small.toml/out"], "cannot write 'small.toml/out': Not a directory"),
        (["typing.toml"], "typing.toml: [train]: unknown key 'epoch'; did you mean 'epochs'?"),
        (["plan.toml"], "plan.toml: [quantize]: plan: unknown key 'layers'; did you mean 'layer'?"),
        (["phase.toml"], "phase.toml: [quantize]: `float_epochs` must be a non-negative integer, got -1"),
        (["small.toml", "--rsume"], "No such option '--rsume'. Did you mean '--resume'?"),
        (["gpu.toml"], "`device` is 'cuda', but PyTorch finds no CUDA device here"),
    ],
)
def test_wrong_input_is_one_line(tetrit, path, monkeypatch, arguments, message):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    Path("typing.toml").write_text(CONFIG.replace("epochs", "epoch"))
    Path("plan.toml").write_text(CONFIG + "[[quantize.layers]]\nmatch = '*'\n")
    Path("phase.toml").write_text(CONFIG + "[quantize]\nfloat_epochs = -1\n")
    Path("gpu.toml").write_text("device = 'cuda'" + CONFIG)
    outcome = tetrit("train", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"tetrit: error: {message}\n"


@pytest.mark.parametrize("quantized", [False, True])
def test_without_torch_it_says_what_to_install(path, quantized):
    if quantized:
        path.write_text(CONFIG + "[[quantize.layer]]\nmatch = '*'\nweight = 'szt'\n")
    code = f"import sys; sys.modules['torch'] = None; from tetrit.cli import main; sys.exit(main(['train', '{path}']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    message = "training in PyTorch needs torch: pip install 'tetrit[train]'"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"tetrit: error: {message}\n")


def begun(path, out, *more):
    """Start a training in a process of its own, and wait for its first new checkpoint."""

    def written():
        file = Path(out, "checkpoint.pt")
        return file.stat().st_mtime_ns if file.exists() else None

    before = written()
    command = [PROGRAM, "train", path, "--out", out, *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while written() == before:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


def test_killed_interrupted_and_resumed_it_leaves_the_same_bytes(tetrit, path):
    import torch

    path.write_text(
        CONFIG.replace("epochs = 3", "epochs = 100").replace("checkpoint_every = 2", "checkpoint_every = 30")
    )
    assert tetrit("train", path, "--out", "whole").code == 0

    process = begun(path, "out")
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not Path("out", "model.pt").exists()

    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = begun(path, "out", "--resume")
        process.send_signal(number)
        out, err = process.communicate()
        where = r"interrupted at step \d+ of 900 of the float phase; its checkpoint is 'out/checkpoint\.pt'"
        assert (process.returncode, out) == (code, "")
        assert re.fullmatch(rf"tetrit: {where}; go on with --resume\n", err)

    assert tetrit("train", path, "--out", "out", "--resume").code == 0
    one, two = contents(Path("out")), contents(Path("whole"))
    assert one.keys() == two.keys()
    assert all(one[name] == two[name] for name in ("config.json", "metrics.json"))
    one, two = (torch.load(Path(folder, "model.pt"), weights_only=True) for folder in ("out", "whole"))
    assert all(torch.equal(one[name], two[name]) for name in two)


def test_two_trainings_do_not_share_a_folder(path):
    path.write_text(CONFIG.replace("epochs = 3", "epochs = 1000"))
    process = begun(path, "out")
    for more in ((), ("--resume",)):
        second = subprocess.run([PROGRAM, "train", path, "--out", "out", *more], capture_output=True, text=True)
        expected = (
            "another training is at work in 'out'"
            if more
            else "'out' already holds this run: resume it (--resume) or choose another folder"
        )
        assert (second.returncode, second.stdout, second.stderr) == (2, "", f"tetrit: error: {expected}\n")
    assert process.poll() is None
    process.kill()
    process.communicate()
