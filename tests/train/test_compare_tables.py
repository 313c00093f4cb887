"""Tables and figures of a comparison, from numbers made up by hand."""

import csv
import re
import struct
from collections import defaultdict
from pathlib import Path

import pytest

from tetrit.report import comparison as figures
from tetrit.statistics import holm, mean_interval, paired_p
from tetrit.train import compare

STUDY = Path(__file__).parents[2] / "docs"


def line(estimator, mean, half, n, difference=None, diverged=()):
    return {
        "task": "t",
        "estimator": estimator,
        "diverged": list(diverged),
        "mean": mean,
        "half": half,
        "n": n,
        "difference": difference,
    }


def difference(mean, half, p_holm):
    return {"mean": mean, "half": half, "n": 2, "p": p_holm / 2, "p_holm": p_holm}


def cell(estimator, seed, accuracy, zero=None):
    point = {"step": 5, "validation": accuracy}
    if zero is not None:
        point |= {"zero": zero, "unmoved": 0.5, "error": 0.1 + zero, "variance": 1e-5}
    history = [point | {"step": 3}, point]
    own = {"task": "t", "estimator": estimator, "seed": seed, "status": "finished"}
    return own | {"test": {"accuracy": accuracy}, "validation": {"accuracy": accuracy / 2}, "history": history}


@pytest.fixture
def found():
    labels = ["float", "a|b", "c", "d*"]
    diverged = {"task": "t", "estimator": "d*", "seed": 1, "status": "diverged", "message": "it diverged"}
    return {
        "config": {"baseline": "float", "estimator": [{"label": label, "curve": False} for label in labels]},
        "tasks": {"t": {"metric": "accuracy", "higher": True}},
        "cells": [
            *(cell("float", seed, 0.9 + 0.01 * seed) for seed in (0, 1)),
            *(cell("a|b", seed, 0.8, zero=0.4 + 0.1 * seed) for seed in (0, 1)),
            *(cell("c", seed, 0.7 + 0.1 * seed, zero=0.1) for seed in (0, 1)),
            cell("d*", 0, 0.6, zero=0.6),
            diverged,
        ],
        "summaries": [
            line("float", 0.905, 0.0635, 2),
            line("a|b", 0.8, 0.0, 2, difference(-0.105, 0.06, 0.04)),
            line("c", 0.75, 0.6, 2, difference(-0.155, 0.15, 0.2)),
            line("d*", 0.6, None, 1, {"mean": -0.3, "half": None, "n": 1, "p": None, "p_holm": None}, [1]),
        ],
    }


def test_rows(found):
    header, rows = compare.tables(found)["t"]
    assert header == ["estimator", "seeds", "test accuracy, %", "minus 'float'", "zero, %", "never moved, %"]
    assert rows == [
        ["float", "2", "90.50 +- 6.35", "", "", ""],
        ["a|b", "2", "80.00 +- 0.00", "-10.50 +- 6.00 **", "45.0", "50.0"],
        ["c", "2", "75.00 +- 60.00", "-15.50 +- 15.00 *", "10.0", "50.0"],
        ["d*", "1 of 2, others diverged", "60.00", "-30.00", "60.0", "50.0"],
    ]


def test_an_interval_that_holds_zero_has_no_mark(found):
    found["summaries"][2]["difference"] = difference(-0.15, 0.15, 0.01)
    assert compare.tables(found)["t"][1][2][3] == "-15.00 +- 15.00"


def test_markdown(found):
    text = compare.markdown(found)
    lines = text.splitlines()
    assert lines[0] == "## t"
    assert lines[2] == "| estimator | seeds | test accuracy, % | minus 'float' | zero, % | never moved, % |"
    assert lines[3] == "| --- | ---: | ---: | ---: | ---: | ---: |"
    assert lines[5] == "| a\\|b | 2 | 80.00 ± 0.00 | -10.50 ± 6.00 \\*\\* | 45.0 | 50.0 |"
    assert text.endswith("Holm's correction over the estimators of the task too.\n")


def test_csv(found):
    lines = compare.to_csv(found).splitlines()
    assert lines[0] == "task,estimator,seed,status,metric,test,validation,zero,unmoved,error,variance"
    assert len(lines) == 9
    assert lines[1] == "t,float,0,finished,accuracy,0.9,0.45,,,,"
    assert lines[4] == "t,a|b,1,finished,accuracy,0.8,0.4,0.5,0.5,0.6,1e-05"
    assert lines[8] == "t,d*,1,diverged,accuracy,,,,,,"


def size(png):
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", png[16:24])


def test_figures_are_the_same_every_time_and_small(found):
    drawn = figures.draw(found)
    assert list(drawn) == ["metric-t", "dead", "variance", "error"]
    assert drawn == figures.draw(found)
    for png in drawn.values():
        assert len(png) < 200_000
        assert size(png)[0] == 600


def test_a_figure_without_anything_to_show_is_left_out(found):
    found["cells"] = [c for c in found["cells"] if c["estimator"] == "float"]
    found["summaries"] = found["summaries"][:1]
    assert list(figures.draw(found)) == ["metric-t"]
    found["cells"], found["summaries"] = [], [line("float", None, None, 0)]
    assert figures.draw(found) == {}


def test_marked_estimators_have_their_colour_in_every_figure(found):
    before = figures.draw(found)
    found["config"]["estimator"][3]["curve"] = True
    after = figures.draw(found)
    assert before["metric-t"] == after["metric-t"]
    assert all(before[name] != after[name] for name in ("dead", "variance", "error"))


def test_the_tables_of_the_study_follow_from_its_single_figures():
    values = defaultdict(dict)
    with (STUDY / "study" / "cells.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            values[row["task"], row["estimator"]][row["seed"]] = float(row["test"])
    text = (STUDY / "study.md").read_text(encoding="utf-8")
    compared = 0
    for task in ("digits", "fashion", "characters"):
        factor, digits, rounding = (1.0, 4, 2e-6) if task == "characters" else (100.0, 2, 2e-4)
        table = text.partition(f"### {task}\n\n")[2].partition("\n\n")[0]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
        found = {label: list(seeds.values()) for (own, label), seeds in values.items() if own == task}
        assert [row[0] for row in rows] == list(found)
        differences = {k: [a - b for a, b in zip(v, found["float"], strict=True)] for k, v in found.items()}
        del differences["float"]
        adjusted = dict(zip(differences, holm([paired_p(d) for d in differences.values()]), strict=True))
        for label, n, own, difference, *_ in rows:
            for shown, numbers in ((own, found[label]), (difference, differences.get(label, []))):
                if numbers:
                    interval = mean_interval([factor * number for number in numbers])
                    mean, half = map(float, re.match(r"([-+\d.]+) ± ([\d.]+)", shown).groups())
                    tolerance = 0.5 * 10**-digits + rounding  # the figures have six digits
                    assert mean == pytest.approx(interval.mean, abs=tolerance)
                    assert half == pytest.approx(interval.half, abs=3 * tolerance)
                    assert int(n) == len(numbers) == 5
                    compared += 1
            if label != "float":
                excludes = mean_interval(differences[label]).excludes_zero
                assert difference.count("*") == excludes + (excludes and adjusted[label] < 0.05)
    assert compared == 3 * (32 + 31)
