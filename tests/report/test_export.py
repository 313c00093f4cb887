"""Tables for other programs: all digits in CSV and JSON, a table that LaTeX takes, drawings that stand alone."""

import csv
import io
import json
from xml.etree import ElementTree

import pytest

from tetrit.report import canonical, plots, style, tables
from tetrit.report.export import FORMATS, table_csv, table_json, table_latex
from tetrit.report.tables.model import Table, column, words


@pytest.fixture(scope="module")
def found(unchanged):
    return tables.build(canonical.plain(unchanged))


def test_csv_holds_every_digit(found, unchanged):
    rows = list(csv.DictReader(io.StringIO(table_csv(found["layers"]))))
    assert [row["layer"] for row in rows] == [layer["name"] for layer in unchanged["layers"]]
    for row, layer in zip(rows, unchanged["layers"], strict=True):
        assert all(float(row[key]) == layer[key] for key in ("macs", "cycles", "utilization", "bytes_moved"))
        assert float(row["energy_uj"]) == layer["energy_pj"] * 1e-6


def test_csv_and_json_hold_the_same(found):
    for table in found.values():
        lines = list(csv.DictReader(io.StringIO(table_csv(table))))
        data = json.loads(table_json(table))
        assert data["title"] == table.title
        assert [each["key"] for each in data["columns"]] == (list(lines[0]) if lines else [])
        assert [{key: "" if v is None else str(v) for key, v in row.items()} for row in data["rows"]] == lines


def test_what_a_report_lacks_is_empty_in_csv_and_null_in_json(sample):
    del sample["layers"][0]["energy_pj"], sample["layers"][0]["breakdown"]
    table = tables.build(canonical.plain(sample))["layers"]
    first, second, _ = csv.DictReader(io.StringIO(table_csv(table)))
    assert first["energy_uj"] == "" and second["energy_uj"] != ""
    assert json.loads(table_json(table))["rows"][0]["energy_uj"] is None
    assert table.texts[0][-1] == "–" and table.total_texts[-1] == ""


def test_csv_quotes_what_would_break_a_line():
    table = Table(name="odd", title="odd", columns=(words("a", "a", ['x,"y"\nz']), column("b", "b", [1e-300])))
    assert list(csv.reader(io.StringIO(table_csv(table)))) == [["a", "b"], ['x,"y"\nz', "1e-300"]]


def test_latex():
    columns = (
        words("layer", "layer", [r"conv_1 & 50% \x {~^#$}", "µ ± 1 → é 层"]),
        column("macs", "MAC", [12345, None], "count"),
        words("text", "text", ["a", "b"], prose=True),
    )
    text = table_latex(Table(name="odd", title="100 %", columns=columns, total=("all", 12345, None)))
    assert text.splitlines() == [
        r"% 100 \%",
        r"\begin{tabular}{lrp{6cm}}",
        r"\toprule",
        r"layer & MAC & text \\",
        r"\midrule",
        r"conv\_1 \& 50\% \textbackslash{}x \{\textasciitilde{}\textasciicircum{}\#\$\} & 12,345 & a \\",
        r"\textmu{} $\pm$ 1 ? e ? & -- & b \\",
        r"\midrule",
        r"all & 12,345 &  \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_latex_of_every_table_has_a_row_for_each_of_its_rows(found):
    for table in found.values():
        text = table_latex(table)
        body = [line for line in text.splitlines() if line.endswith(r" \\")]
        assert len(body) == 1 + len(table.rows) + bool(table.total)
        assert {line.count(" & ") for line in body} == {len(table.columns) - 1}
        assert text.isascii()


def test_every_suffix_has_a_function():
    assert dict(FORMATS) == {"csv": table_csv, "json": table_json, "tex": table_latex}


def test_drawings_stand_alone(sample):
    drawn = plots.draw(sample, {"energy_map", "roofline"})
    assert sorted(drawn) == ["energy_map", "roofline"]
    for plot in drawn.values():
        text = style.alone(plot.svg)
        assert "var(" not in text
        assert ElementTree.fromstring(text.encode()).tag == "{http://www.w3.org/2000/svg}svg"
