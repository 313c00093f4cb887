"""`tetrit compare`: what it prints and writes, its exit codes, Ctrl-C and kill -9 of many processes, resumption."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).parent / "tetrit"
CONFIG = """
name = "Two on digits"
seeds = [0, 1]
[task.digits.data]
source = "digits"
[task.digits.model]
name = "mlp"
hidden = [8]
[task.digits.train]
steps = 20
batch = 64
[task.digits.quantize]
[[task.digits.quantize.layer]]
match = "*"
[[estimator]]
label = "float"
weight = "float"
[[estimator]]
label = "SZT"
weight = { name = "szt", axis = "output" }
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.toml"
    path.write_text(CONFIG)
    return path


def test_it_prints_a_table_and_leaves_its_files(tetrit, path):
    outcome = tetrit("compare", path, "--jobs", 1)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "digits"
    assert re.split(r" {2,}", lines[1]) == [
        "estimator",
        "seeds",
        "test accuracy, %",
        "minus 'float'",
        "zero, %",
        "never moved, %",
    ]
    assert re.fullmatch(r"float +2 +\d+\.\d\d \+- \d+\.\d\d", lines[2])
    assert re.fullmatch(
        r"SZT +2 +\d+\.\d\d \+- \d+\.\d\d +[+-]\d+\.\d\d \+- \d+\.\d\d(?: \*+)? +[\d.]+ +[\d.]+", lines[3]
    )
    assert lines[-1] == "results in build/compare/small"
    out = Path("build/compare/small")
    files = {file.name for file in out.iterdir() if file.is_file()}
    pictures = {"metric-digits.png", "dead.png", "variance.png", "error.png"}
    assert files == {"comparison.json", "comparison.md", "cells.csv", *pictures}
    assert (out / "comparison.md").read_text().startswith("# Two on digits\n\n## digits\n\n| estimator |")
    before = {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()}
    again = tetrit("compare", path)
    message = "'build/compare/small' already holds a comparison: resume it (--resume) or choose another folder"
    assert (again.code, again.out, again.err) == (2, "", f"tetrit: error: {message}\n")
    resumed = tetrit("compare", path, "--resume", "--progress")
    assert (resumed.code, resumed.out, resumed.err) == (0, outcome.out, "")
    assert {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.toml"], "cannot read configuration 'none.toml': No such file or directory"),
        (["small.toml", "--resume"], "there is no comparison in 'build/compare/small' to resume"),
        (["small.toml", "--out", "small.toml/out"], "cannot write 'small.toml/out': Not a directory"),
        (["small.toml", "--jobs", "0"], "Invalid value for '--jobs': 0 is not in the range 1<=x<=1024."),
        (
            ["typing.toml"],
            "typing.toml: estimator 2 ('SZT'): `weight`: unknown estimator 'szr'; did you mean 'szt'?",
        ),
        (["places.toml"], "places.toml: task 'digits', estimator 'float': rule 'layers.9' takes no layer; layers that"),
    ],
)
def test_wrong_input_is_one_line(tetrit, path, arguments, message):
    Path("typing.toml").write_text(CONFIG.replace('"szt"', '"szr"'))
    Path("places.toml").write_text(CONFIG.replace('match = "*"', 'match = "layers.9"'))
    outcome = tetrit("compare", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"tetrit: error: {message}")
    assert outcome.err.count("\n") == 1


def test_without_torch_it_says_what_to_install(path):
    code = (
        f"import sys; sys.modules['torch'] = None; from tetrit.cli import main; sys.exit(main(['compare', '{path}']))"
    )
    done = subprocess.run([sys.executable, "-c", code, "compare", str(path)], capture_output=True, text=True)
    message = "training in PyTorch needs torch: pip install 'tetrit[train]'"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"tetrit: error: {message}\n")


def checkpoints():
    return {path: path.stat().st_mtime_ns for path in Path("out").glob("cells/*/*/*/checkpoint.pt")}


def begun(path, *more):
    """Start a comparison with two processes in a session of its own, and wait until both of them train."""
    before = checkpoints()
    command = [PROGRAM, "compare", path, "--out", "out", "--jobs", "2", *more]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 90
    while len(checkpoints().items() - before.items()) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def left_over(session):
    """Return the processes of a session that are still at work."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = path.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(own) == session and state != "Z":
            found.append(path)
    return found


def wait_for_the_end_of(session):
    """Wait until the other processes have noticed that the first one is gone, and ended."""
    deadline = time.monotonic() + 60
    while left_over(session):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_interrupted_killed_and_resumed_it_is_the_same(tetrit, path):
    path.write_text(CONFIG.replace("steps = 20", "steps = 800\nevaluate_every = 200\ncheckpoint_every = 20"))

    for number, more in ((signal.SIGINT, ()), (signal.SIGTERM, ("--resume",))):
        process = begun(path, *more)
        os.killpg(process.pid, number)  # as a terminal does
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (128 + number, "")
        assert re.fullmatch(r"tetrit: interrupted with [0-3] of 4 cells finished; go on with --resume\n", err)
        wait_for_the_end_of(process.pid)

    process = begun(path, "--resume")
    process.kill()
    process.communicate(timeout=60)
    wait_for_the_end_of(process.pid)
    assert len(list(Path("out").glob("cells/*/*/*/result.json"))) < 4

    assert tetrit("compare", path, "--out", "out", "--resume", "--jobs", 1).code == 0
    assert tetrit("compare", path, "--out", "whole", "--jobs", 1).code == 0
    for name in ("comparison.json", "cells.csv", "metric-digits.png"):
        assert Path("out", name).read_bytes() == Path("whole", name).read_bytes()
