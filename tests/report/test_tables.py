"""The tables: what they are refused for, and that they hold the report's own numbers."""

import math

import pytest

from tetrit.errors import InvalidValueError
from tetrit.report import canonical, plots, tables
from tetrit.report.tables.model import Table, column, total, words

NAMES = [
    "accuracy", "estimators", "training", "weight_codes", "layers", "mapping", "events", "roofline", "energy",
    "energy_layers", "area", "synthesis", "modules", "cells", "szt_vs_ternary", "verify", "summary", "assumptions",
    "timings",
]  # fmt: skip


@pytest.fixture(scope="module")
def found(unchanged):
    return tables.build(canonical.plain(unchanged))


def values(table, key):
    (column,) = [each for each in table.columns if each.key == key]
    return list(column.values)


def test_every_block_has_its_tables(found):
    assert list(found) == NAMES


def test_every_plot_has_tables_of_its_numbers(found, unchanged):
    for plot in plots.draw(canonical.plain(unchanged), {"accuracy", "area_map"}).values():
        assert set(plot.tables) <= set(found)
    known = {*NAMES, "format_networks", "crossbar_accuracy", "drift", "weight_errors", "crossbar_layers"}
    known |= {"crossbar_energy", "crossbar_energy_layers", "crossbar_figures"}
    assert {name for kind in plots._KINDS for name in kind.tables} <= known


def test_layers_hold_the_report_s_numbers(found, unchanged):
    table, layers = found["layers"], unchanged["layers"]
    for key in ("m", "k", "n", "macs", "cycles", "ideal_cycles", "utilization", "bound", "bytes_moved"):
        assert values(table, key) == [layer[key] for layer in layers]
    assert math.fsum(values(table, "cycles_share")) == pytest.approx(1)
    sums = dict(zip([each.key for each in table.columns], table.total, strict=True))
    assert sums["cycles"] == sum(layer["cycles"] for layer in layers)
    assert sums["energy_uj"] == pytest.approx(unchanged["energy_uj"]["total"])
    assert sums["utilization"] is None


def test_energy_by_layer_adds_up_to_the_layers(found, unchanged):
    table = found["energy_layers"]
    for row, layer in zip(table.rows, unchanged["layers"], strict=True):
        assert row[1] == layer["energy_pj"] * 1e-6
        assert math.fsum(row[2:]) == pytest.approx(row[1])
    assert len({each.title.rpartition(", ")[2] for each in table.columns[1:]}) == 1  # one unit for all


def test_breakdowns_come_largest_first_with_their_origin(found, unchanged):
    amounts = values(found["energy"], "energy_uj")
    assert amounts == sorted(unchanged["energy_uj"]["breakdown"].values(), reverse=True)
    sources = unchanged["energy_uj"]["sources"]
    assert values(found["energy"], "origin") == [sources[name] for name in values(found["energy"], "component")]
    assert math.fsum(values(found["area"], "share")) == pytest.approx(1)


def test_the_roofline_s_limit_is_the_lower_one(found, unchanged):
    roof = unchanged["roofline"]
    limits = [
        min(roof["peak_macs_per_cycle"], roof["bandwidth_bytes_per_cycle"] * point["intensity_macs_per_byte"])
        for point in roof["points"]
    ]
    assert values(found["roofline"], "roof_macs_per_cycle") == limits


def test_the_summary_has_the_headline(found, unchanged):
    rows = {row[0]: row[1:4] for row in found["summary"].rows}
    assert rows["accuracy, machine"] == (100 * unchanged["accuracy"]["machine"], "%", "measured")
    assert rows["energy per image"] == (unchanged["energy_per_image_nj"], "nJ", "synthesised and modelled")
    assert rows["RTL mismatches"] == (0, "", "hardware")


FIGURES = [
    {"name": "TOPS/W", "value": 12.5, "unit": "TOPS/W", "origin": "modelled", "source": "a", "low": 10.0, "high": 20.0},
    {"name": "cell", "value": 6, "unit": "um2", "origin": "assumed", "source": "b", "low": None, "high": None},
]


def test_figures_show_bounds_only_if_some_have_them():
    table = tables.build({"figures": FIGURES})["figures"]
    assert [each.title for each in table.columns] == [
        "figure", "value", "unit", "at least", "at most", "origin", "source"
    ]  # fmt: skip
    assert table.texts == [
        ["TOPS/W", "12.5", "TOPS/W", "10", "20", "modelled", "a"],
        ["cell", "6", "µm²", "–", "–", "assumed", "b"],
    ]
    assert len(tables.build({"figures": FIGURES[1:]})["figures"].columns) == 5
    assert tables.build({"figures": []}) == {}


def test_amounts_of_a_column_share_the_unit_of_the_largest():
    amounts = column("area_mm2", "area", [0.5, 0.00012, None], "mm²")
    assert (amounts.title, [amounts.text(value) for value in amounts.values]) == ("area, mm²", ["0.5", "0.00012", "–"])
    assert column("energy_uj", "energy", [0.002], "µJ", largest=3.0).title == "energy, µJ"
    assert column("energy_uj", "energy", [0.002], "µJ").title == "energy, nJ"


def test_totals_add_only_what_is_complete():
    columns = (words("a", "a", ["x", "y"]), column("b", "b", [1, 2]), column("c", "c", [1.0, None]))
    assert total(columns, ("b", "c")) == ("total", 3, None)
    assert total(columns, ("b",), "mean", c=4.0) == ("mean", 3, 4.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "A b"}, "`name` must be of lower-case letters, digits and underscores, got 'A b'"),
        ({"columns": ()}, "`columns` of table 't' must not be empty"),
        ({"columns": (words("a", "x", []), words("a", "y", []))}, "`columns` of table 't' must differ, got a, a"),
        ({"columns": (words("a", "x", []), words("b", "y", ["1"]))}, "`columns` of table 't' must have equal lengths"),
        ({"total": ("all", 1)}, "`total` of table 't' must have a value for each column"),
    ],
)
def test_malformed_tables_are_refused(arguments, message):
    usual = {"name": "t", "title": "t", "columns": (words("a", "a", ["x"]),)}
    with pytest.raises(InvalidValueError) as caught:
        Table(**usual | arguments)
    assert str(caught.value) == message


def test_columns_need_a_key():
    with pytest.raises(InvalidValueError, match=r"^`key` must not be empty$"):
        words("", "x", [])
