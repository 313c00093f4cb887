"""`tetrit montecarlo`: what it prints and writes, its exit codes, Ctrl-C and kill -9 of many processes, resumption."""

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
name = "Digits"
[network]
hidden = [8]
[train]
estimator = { name = "ste", format = "int8" }
epochs = 2
quantized_epochs = 1
[crossbar]
preset = "crossbar_256_pcm"
changes = { rows = 64, cols = 32, r_row_ohm = 0.0, r_col_ohm = 0.0, r_driver_ohm = 0.0, r_sense_ohm = 0.0 }
times_s = [0, 3600]
[[corner]]
name = "nominal"
[[corner]]
name = "hot"
changes = { temperature_k = 360 }
"""
FILES = ["chips.csv", "corners.png", "montecarlo.json", "montecarlo.md", "network.npz", "spread.png", "yield.png"]


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.toml"
    path.write_text(CONFIG)
    return path


def contents(out):
    return {file.name: file.read_bytes() for file in out.iterdir() if file.is_file() and file.name != "timings.json"}


def test_it_prints_a_table_and_leaves_its_files(tetrit, path):
    outcome = tetrit("montecarlo", path, "--chips", 3, "--jobs", 1)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    names = [
        "corner",
        "after",
        "mean",
        "5 % quantile",
        "median",
        "95 % quantile",
        "worst",
        "yield at 90 %",
        "difference",
    ]
    assert re.split(r" {2,}", lines[0]) == names
    figure = r"\d+\.\d\d"
    for line, start in zip(lines[1:5], ("nominal +0 s", "nominal +1 h", "hot +0 s", "hot +1 h"), strict=True):
        last = rf" +[+-]{figure} \+- {figure}" if start.startswith("hot") else ""
        bounds = r"\d+\.\d \(\d+\.\d to \d+\.\d\)"
        assert re.fullmatch(rf"{start} +{figure} \+- {figure}(?: +{figure}){{4}} +{bounds}{last}", line)
    assert lines[5] == ""
    assert lines[-1] == "results in build/montecarlo/small"
    out = Path("build/montecarlo/small")
    before = contents(out)
    assert sorted(before) == FILES
    assert len(list(out.glob("chips/*/*.json"))) == 6
    assert (
        (out / "montecarlo.md").read_text().startswith("# Digits\n\n3 chips, 449 held-out images; accuracy without a ")
    )
    assert len((out / "chips.csv").read_text().splitlines()) == 1 + 2 * 3 * 2
    again = tetrit("montecarlo", path)
    message = "'build/montecarlo/small' already holds an analysis: resume it (--resume) or choose another folder"
    assert (again.code, again.out, again.err) == (2, "", f"tetrit: error: {message}\n")
    resumed = tetrit("montecarlo", path, "--chips", 3, "--resume", "--progress")
    assert (resumed.code, resumed.out) == (0, outcome.out)
    assert "6/6" in resumed.err
    assert contents(out) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.toml"], "cannot read configuration 'none.toml': No such file or directory"),
        (["small.toml", "--resume"], "there is no analysis in 'build/montecarlo/small' to resume"),
        (["small.toml", "--out", "small.toml/out"], "cannot write 'small.toml/out': Not a directory"),
        (["small.toml", "--jobs", "0"], "Invalid value for '--jobs': 0 is not in the range 1<=x<=1024."),
        (["small.toml", "--chips", "0"], "`chips` must be an integer from 1 to 1000000, got 0"),
        (["small.toml", "--chips", "many"], "Invalid value for '--chips': 'many' is not a valid integer."),
        (["typing.toml"], "typing.toml: corner 2 ('hot'): unknown key 'temperatur'; did you mean 'temperature_k'?"),
    ],
)
def test_wrong_input_is_one_line(tetrit, path, arguments, message):
    Path("typing.toml").write_text(CONFIG.replace("temperature_k", "temperatur"))
    outcome = tetrit("montecarlo", *arguments)
    assert (outcome.code, outcome.out, outcome.err) == (2, "", f"tetrit: error: {message}\n")


def finished(out="out"):
    return len(list(Path(out).glob("chips/*/*.json")))


def begun(path, *more):
    """Start an analysis with two processes in a session of its own, and wait until both of them are at work."""
    before = finished()
    command = [PROGRAM, "montecarlo", path, "--out", "out", "--jobs", "2", "--chips", "400", *more]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 90
    while finished() < before + 4:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def members(session):
    """Return the processes of a session that are still there."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, _, own = stat.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(own) == session and state != "Z":
            found[int(stat.parent.name)] = int(parent)
    return found


def wait_for_the_end_of(session):
    """Wait until the other processes have noticed that the first one is gone, and ended."""
    deadline = time.monotonic() + 60
    while members(session):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_interrupted_killed_and_resumed_it_is_the_same(tetrit, path):
    process = begun(path)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert re.fullmatch(r"tetrit: interrupted with \d+ of 800 chips finished; go on with --resume\n", err)
    assert int(err.split()[3]) <= finished() < 800
    wait_for_the_end_of(process.pid)

    process = begun(path, "--resume")
    process.kill()
    process.communicate(timeout=60)
    wait_for_the_end_of(process.pid)
    assert finished() < 800

    process = begun(path, "--resume")
    workers = [child for child, parent in members(process.pid).items() if parent == process.pid]
    killed = next(child for child in workers if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes())
    os.kill(killed, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    chip = r"out/chips/(?:nominal|hot)/\d{5}\.json"
    assert re.fullmatch(rf"tetrit: error: the process at work on '{chip}' has ended; see above, or dmesg\n", err)
    wait_for_the_end_of(process.pid)

    assert tetrit("montecarlo", path, "--out", "out", "--resume", "--jobs", 1, "--chips", 12).code == 0
    assert tetrit("montecarlo", path, "--out", "whole", "--jobs", 1, "--chips", 12).code == 0
    assert contents(Path("out")) == contents(Path("whole"))


def test_an_error_in_a_process_is_one_line(path):
    path.write_text(CONFIG.replace("{ temperature_k = 360 }", "{ r_row_ohm = 1e200 }"))
    command = [PROGRAM, "montecarlo", path, "--out", "out", "--jobs", "2", "--chips", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"tetrit: error: corner 'hot', chip [01]: `r_row_ohm` must be at most 1e\+100 over the largest .*\n",
        done.stderr,
    )
