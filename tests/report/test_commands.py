"""`tetrit report`: on reports that runs have left."""

import json

import pytest

from tetrit.cli import main
from tetrit.report import to_json


@pytest.fixture
def tetrit(capsys):
    """Call the command and return its exit code and what it printed."""

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def run(tmp_path, sample):
    """Write a report with some blocks changed."""

    def write(name, **changes):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "report.json").write_text(to_json(sample | changes))
        return folder

    return write


def test_show_and_diff(tetrit, run, sample):
    first, second = run("a"), run("b", cycles=2 * sample["cycles"])
    assert tetrit("report", "show", first)[1].startswith(f"{sample['name']}\n")
    assert tetrit("report", "diff", first, first)[1] == "no differences\n"
    lines = tetrit("report", "diff", first, second / "report.json")[1].splitlines()
    assert lines[1].split() == ["cycles", str(sample["cycles"]), str(2 * sample["cycles"]), "2"]
    assert lines[2:] == ["1 difference"]


def test_diff_says_what_it_leaves_out(tetrit, run, sample):
    many = {f"key_{n:03}": n for n in range(100)}
    arguments = ["report", "diff", run("a"), run("b", config=sample["config"] | {"many": many})]
    assert tetrit(*arguments)[1].endswith("100 differences, 40 more with --all\n")
    assert tetrit(*arguments, "--all")[1].count("config.many.") == 100


def test_export(tetrit, run, tmp_path):
    out = tmp_path / "out"
    printed = tetrit("report", "export", run("a"), "--out", out)[1].split()
    assert sorted(printed) == sorted(str(path) for path in out.iterdir())
    assert {"layers.csv", "layers.tex", "energy.svg", "energy.png"} <= {path.name for path in out.iterdir()}


def test_bad_input(tetrit, run, tmp_path):
    broken = run("a")
    (broken / "report.json").write_text(json.dumps({"schema": "tetrit-report/1"}))
    code, _, error = tetrit("report", "diff", broken, broken)
    assert (code, error.count("\n")) == (2, 1)
    assert "is no report: `report.schema` must be 'tetrit-report/2', got 'tetrit-report/1'" in error
    assert tetrit("report", "export", tmp_path / "none", "--out", tmp_path / "out")[0] == 2
    assert not (tmp_path / "out").exists()
