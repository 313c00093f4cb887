"""`tetrit report`: on reports that runs have left."""

import errno
import json
import os
import re

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
    first, second = run("a"), run("b", cycles=2 * sample["cycles"], seeds=[0, 1, 5])
    assert tetrit("report", "show", first)[1].startswith(f"{sample['name']}\n")
    assert tetrit("report", "diff", first, first)[1] == "no differences\n"
    assert tetrit("report", "diff", first, second / "report.json")[1].splitlines() == [
        "configuration  A  B  change",
        "seeds.2        2  5  x 2.5",
        "",
        "summary       A       B  change",
        "cycles   32,756  65,512  +100 %",
        "",
        "2 differences",
    ]


def test_diff_says_what_it_leaves_out(tetrit, run, sample):
    events = sample["layers"][0]["events"]
    layers = [sample["layers"][0] | {"events": events | {f"new_{n:03}": n for n in range(100)}}, *sample["layers"][1:]]
    arguments = ["report", "diff", run("a"), run("b", layers=layers)]
    assert tetrit(*arguments)[1].endswith("100 differences, 75 more with --all\n")
    assert tetrit(*arguments, "--all")[1].count("layers.fc1.events.new_") == 100


def test_diff_as_a_page(tetrit, run, sample, tmp_path):
    page = tmp_path / "new" / "diff.html"
    code, printed, _ = tetrit("report", "diff", run("a"), run("b", cycles=1), "--html", page)
    assert (code, printed) == (0, f"{page}\n")
    assert "<td>x 3.05e-05</td>" in page.read_text()


def test_export(tetrit, run, tmp_path):
    out = tmp_path / "out"
    printed = tetrit("report", "export", run("a"), "--out", out, "--only", "layers", "--only", "events")[1].split()
    names = ("layers.csv", "layers.json", "layers.tex", "events.csv", "events.json", "events.tex")
    assert printed == [str(out / name) for name in (*names, "layers.svg", "layers.png")]
    assert sorted(printed) == sorted(str(path) for path in out.iterdir())


def test_export_of_all_tables_needs_no_drawing(tetrit, run, tmp_path, monkeypatch):
    monkeypatch.setattr("tetrit.report.plots.draw", None)
    out = tmp_path / "out"
    assert tetrit("report", "export", run("a"), "--out", out, "--format", "csv")[0] == 0
    assert {path.suffix for path in out.iterdir()} == {".csv"}
    assert {"layers.csv", "cells.csv", "summary.csv"} <= {path.name for path in out.iterdir()}


def test_export_of_what_is_not_there(tetrit, run, tmp_path):
    folder, out = run("a"), tmp_path / "out"
    message = "tetrit: error: unknown table or plot 'layer'; did you mean 'layers'?\n"
    assert tetrit("report", "export", folder, "--out", out, "--only", "layer") == (2, "", message)
    message = f"tetrit: error: '{folder}' has nothing named 'drift' in svg, csv\n"
    arguments = ("--only", "drift", "--format", "svg", "--format", "csv")
    assert tetrit("report", "export", folder, "--out", out, *arguments) == (2, "", message)
    assert not out.exists()


@pytest.fixture
def undrawn(monkeypatch):
    """Draw nothing: that takes time, and is tested elsewhere."""
    monkeypatch.setattr("tetrit.report.plots.draw", lambda report, names=(): {})


@pytest.mark.usefixtures("undrawn")
def test_page_shows_blocks_of_a_later_version(tetrit, run):
    folder = run("a", later={"b": 2.5, "c": "<i>"}, numbers=[1, {"x": None}], extra={"mine": {"answer": 42}})
    code, printed, _ = tetrit("report", "page", folder)
    assert (code, printed) == (0, f"{folder / 'report.html'}\n")
    page = (folder / "report.html").read_text()
    further = page[page.index('id="further-section"') : page.index('id="machine-section"')]
    assert '<a href="#further-section">further figures</a>' in page
    assert "<h3>later</h3>" in further and "<td>2.5</td>" in further and "<td>&lt;i&gt;</td>" in further
    assert "<h3>mine</h3>" in further and "<td>42</td>" in further
    assert "&#34;x&#34;: null" in further


@pytest.mark.usefixtures("undrawn")
def test_page_beside_a_file_or_elsewhere(tetrit, run, tmp_path):
    folder, out = run("a"), tmp_path / "out"
    assert tetrit("report", "page", folder / "report.json", "--out", out)[1] == f"{out / 'report.html'}\n"
    assert tetrit("report", "page", folder / "report.json")[1] == f"{folder / 'report.html'}\n"
    assert (out / "report.html").read_bytes() == (folder / "report.html").read_bytes()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("command", [("export", "--out"), ("page", "--out"), ("diff", "--html")])
def test_a_full_disk_is_one_line_and_leaves_nothing(tetrit, run, tmp_path, monkeypatch, command):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = run("a")
    runs = [folder, folder] if command[0] == "diff" else [folder]
    monkeypatch.setattr(os, "fsync", full)
    code, printed, error = tetrit("report", command[0], *runs, command[1], tmp_path / "out" / "x")
    assert (code, printed) == (2, "")
    assert re.fullmatch(r"tetrit: error: cannot write '.*': No space left on device\n", error)
    assert not (tmp_path / "out").exists()


def test_bad_input(tetrit, run, tmp_path):
    broken = run("a")
    (broken / "report.json").write_text(json.dumps({"schema": "tetrit-report/1"}))
    code, _, error = tetrit("report", "diff", broken, broken)
    assert (code, error.count("\n")) == (2, 1)
    assert "is no report: `report.schema` must be 'tetrit-report/2', got 'tetrit-report/1'" in error
    assert tetrit("report", "export", tmp_path / "none", "--out", tmp_path / "out")[0] == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": [{"name": "fc1"}]}, "`report.layers[0]` lacks `m`"),
        ({"layers": []}, "`report.layers` must not be empty"),
        ({"accuracy": None}, "`report.accuracy` must be an object, got None"),
        ({"config": [1]}, "`report.config` must be an object, got [1]"),
    ],
)
@pytest.mark.parametrize("command", [("show",), ("page",), ("export", "--out", "x")])
def test_damaged_reports_are_one_line(tetrit, run, tmp_path, monkeypatch, change, message, command):
    monkeypatch.chdir(tmp_path)
    folder = run("a", **change)
    name, *options = command
    error = f"tetrit: error: '{folder / 'report.json'}' is no report: {message}\n"
    assert tetrit("report", name, folder, *options) == (2, "", error)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["report.json"]
