"""Layers for other programs: all digits in CSV, a table that LaTeX takes, drawings that stand alone."""

import copy
import csv
import io
from xml.etree import ElementTree

from tetrit.report import layers_csv, layers_latex, plots, style


def test_csv_holds_every_digit(sample):
    rows = list(csv.DictReader(io.StringIO(layers_csv(sample))))
    assert [row["name"] for row in rows] == [layer["name"] for layer in sample["layers"]]
    for row, layer in zip(rows, sample["layers"], strict=True):
        assert all(float(row[key]) == layer[key] for key in ("macs", "cycles", "utilization", "energy_pj"))


def test_csv_of_a_report_without_prices(sample):
    bare = copy.deepcopy(sample)
    del bare["layers"][0]["energy_pj"]
    rows = list(csv.DictReader(io.StringIO(layers_csv(bare))))
    assert rows[0]["energy_pj"] == "" and rows[1]["energy_pj"] != ""
    assert "energy" not in layers_latex(bare)


def test_latex(sample):
    odd = copy.deepcopy(sample)
    odd["layers"][0]["name"] = r"conv_1 & 50% \x"
    text = layers_latex(odd)
    lines = text.splitlines()
    assert r"conv\_1 \& 50\% \textbackslash{}x & " in text
    body = [line for line in lines if line.endswith(r" \\")]
    assert len(body) == len(odd["layers"]) + 2  # the head and the sum
    assert {line.count(" & ") for line in body} == {5}
    cycles = sum(layer["cycles"] for layer in odd["layers"])
    assert f"{cycles:,}".replace(",", r"\,") in body[-1]
    assert text.isascii()


def test_drawings_stand_alone(sample):
    drawn = plots.draw(sample)
    assert drawn
    for plot in drawn.values():
        text = style.alone(plot.svg)
        assert "var(" not in text
        assert ElementTree.fromstring(text.encode()).tag == "{http://www.w3.org/2000/svg}svg"
