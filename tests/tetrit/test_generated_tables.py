# amaranth: UnusedElaboratable=no
"""The generated tables of the manual: how they are written, what they rest on, and that the code still gives them."""

import csv
import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tetrit import formats
from tetrit.errors import InvalidValueError, ToolError
from tetrit.sim.cost.figure import ORIGINS, Figure

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools" / "tables"
PAGE = ROOT / "docs" / "comparison.md"
TABLES = ("arrays", "elements_compact", "elements_fast", "fp8", "fpga_elements", "published", "rmmec")


@pytest.fixture
def tool(monkeypatch):
    """Import a module of the tables' scripts, and forget it afterwards."""
    monkeypatch.syspath_prepend(str(TOOLS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(TOOLS) in sys.modules[name].__file__:
            del sys.modules[name]


def committed(name):
    with (ROOT / "docs" / "tables" / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def small(writing):
    figures = {
        "area": Figure(value=1234.56, unit="um2", origin="synthesised", source="a library, typical"),
        "ratio": Figure(value=0.123456789, unit="", origin="published", source="somebody"),
    }
    rows = [writing.Row(names=("one", "x"), figures=figures), writing.Row(names=("two", "y"), figures={})]
    columns = (writing.Column(key="area", title="area, um2"), writing.Column(key="ratio", title="ratio", form=".2f"))
    return writing.Table(name="small", heads=("design", "of kind"), columns=columns, rows=rows, notes=["- noted"])


def test_a_table_in_markdown_and_csv(tool):
    writing = tool("writing")
    table = small(writing)
    assert writing.markdown(table) == (
        "| design | of kind | area, um2 | ratio |\n"
        "|---|---|---:|---:|\n"
        "| one | x | 1,235 | 0.12 |\n"
        "| two | y |  |  |\n"
        "\n"
        "- noted\n"
    )
    assert writing.csv_text(table) == (
        "design,of_kind,figure,value,unit,origin,source\n"
        'one,x,area,1234.56,um2,synthesised,"a library, typical"\n'
        "one,x,ratio,0.123457,,published,somebody\n"
    )


def test_a_part_of_a_page_is_replaced_and_nothing_else(tool):
    replaced = tool("writing").replaced
    page = "a\n<!-- table t -->\nold\n<!-- end of t -->\nb\n"
    new = replaced(page, "t", "new\n")
    assert new == "a\n<!-- table t -->\n\nnew\n\n<!-- end of t -->\nb\n"
    assert replaced(new, "t", "new\n") == new
    wanted = r"^the page must have '<!-- table t -->' and, below it, '<!-- end of t -->', each once$"
    for bad in ("", page + page, "<!-- end of t -->\n<!-- table t -->\n"):
        with pytest.raises(InvalidValueError, match=wanted):
            replaced(bad, "t", "new\n")


@pytest.mark.parametrize("name", ["szt", "pot4", "int8", "fp8_e4m3", "posit8_0"])
def test_operands_are_the_same_numbers_in_every_format(tool, name):
    operands = tool("operands")
    x = operands.normal(2048, 1)
    np.testing.assert_array_equal(x, operands.normal(2048, 1))
    assert not np.array_equal(x, operands.normal(2048, 2))
    values = formats.get(name).values[operands.to_codes(name, x)]
    assert np.isfinite(values).all()
    assert np.corrcoef(values, x)[0, 1] > (0.999 if name not in ("szt", "pot4") else 0.88)


def test_results_are_kept_until_something_changes(tool, tmp_path):
    kept = tool("measuring").Kept(tmp_path)
    made = []

    def make():
        made.append(1)
        return {"area": 1.25}

    assert kept.get(("a", "b"), make) == {"area": 1.25}
    assert kept.get(("a", "b"), make) == {"area": 1.25}
    assert len(made) == 1
    kept.get(("ab", ""), make)
    assert len(made) == 2


def test_a_netlist_that_adds_up_wrongly_is_not_priced(tool, tmp_path):
    elements, measuring = tool("elements"), tool("measuring")

    class Wrong(elements.Element):
        def make(self, adders):
            return elements.ShiftMac("int8", "int2_symmetric", self.bits, adders=adders)

    with pytest.raises(ToolError, match=r"^the netlist of .*weight='szt'.* gives wrong sums$"):
        elements.measured(measuring.Kept(tmp_path), Wrong(act="int4", weight="szt"), "compact")


def test_committed_elements_are_what_the_code_gives(tool, tmp_path):
    elements, measuring, writing = tool("elements"), tool("measuring"), tool("writing")
    row = elements.Element(act="int8", weight="szt")
    tables = elements.build(measuring.Kept(tmp_path), lambda: None, (row,))
    for table in tables:
        found = list(csv.DictReader(writing.csv_text(table).splitlines()))
        names = {key: found[0][key] for key in ("activation", "weight", "sum")}
        assert found == [line for line in committed(table.name) if line.items() >= names.items()]


def test_a_cheap_table_twice_gives_the_same_bytes_and_the_check_sees_a_change(tool, tmp_path, capsys):
    for folder in ("one", "two"):
        (tmp_path / folder / "docs").mkdir(parents=True)
        (tmp_path / folder / "docs" / "comparison.md").write_bytes(PAGE.read_bytes())
    arguments = ["published", "--kept", str(tmp_path / "kept"), "--root"]
    done = subprocess.run(
        [sys.executable, str(TOOLS), *arguments, str(tmp_path / "one")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")
    main = tool("making").main
    assert main([*arguments, str(tmp_path / "two")]) == 0
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / folder).rglob("*.*") if path.is_file()}
        for folder in ("one", "two")
    )
    assert one == two
    assert one["published.csv"] == (ROOT / "docs" / "tables" / "published.csv").read_bytes()
    assert one["comparison.md"] == PAGE.read_bytes()
    (tmp_path / "one" / "docs" / "tables" / "published.csv").write_text("old\n")
    assert main(["published", "--check", "--root", str(tmp_path / "one")]) == 1
    assert capsys.readouterr().out == "out of date: docs/tables/published.csv\n"
    assert (tmp_path / "one" / "docs" / "tables" / "published.csv").read_text() == "old\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["elemnts"], r"error: unknown table 'elemnts'; known: published, elements, "),
        (
            ["registers", "--check"],
            r"error: `--check` is for the tables of docs/comparison.md alone, not for registers$",
        ),
        (["published", "--root", "/nowhere"], r"^tools/tables: .*'/nowhere/docs/comparison.md'$"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tool, capsys, arguments, message):
    try:
        code = tool("making").main(arguments)
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert re.search(message, capsys.readouterr().err.strip().splitlines()[-1])


def test_scripts_of_other_pages_and_what_they_write_are_there(tool):
    for script in tool("making").SCRIPTS.values():
        assert (ROOT / script.path).is_file()
        assert (ROOT / script.writes).is_file()


@pytest.mark.parametrize("name", TABLES)
def test_page_and_csv_hold_the_same_rows_with_an_origin_each(name):
    lines = committed(name)
    assert lines
    assert {line["origin"] for line in lines} <= set(ORIGINS)
    assert all(line["source"] and float(line["value"]) >= 0 for line in lines)
    heads = list(lines[0])[: list(lines[0]).index("figure")]
    section = PAGE.read_text(encoding="utf-8").split(f"<!-- table {name} -->")[1].split(f"<!-- end of {name} -->")[0]
    rows = [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in section.splitlines() if line[:2] == "| "]
    assert {row[: len(heads)] for row in rows[1:]} == {tuple(line[head] for head in heads) for line in lines}
    if name == "published":
        assert {line["origin"] for line in lines} == {"published"}


def test_all_tables_of_the_page_are_known():
    found = re.findall(r"<!-- table (\w+) -->", PAGE.read_text(encoding="utf-8"))
    assert sorted(found) == sorted(TABLES)
    assert sorted(path.stem for path in (ROOT / "docs" / "tables").glob("*.csv")) == sorted(TABLES)
