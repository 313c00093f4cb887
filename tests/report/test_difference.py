"""Two reports compared: nothing that differs is missed, and what is no result is left out."""

import copy
import json
from xml.etree import ElementTree

import pytest

from tetrit.errors import InvalidValueError
from tetrit.report import Difference, differences, read, to_json
from tetrit.report.difference import GROUPS
from tetrit.report.html import render_differences
from tetrit.report.tables import compared


def changed(report, **blocks):
    return {**copy.deepcopy(report), **blocks}


def test_equal_reports_do_not_differ(sample):
    moved = changed(sample, timings={"seconds": {"train": 1e9}, "started": "1970"}, platform={"python": "9"})
    assert differences(sample, moved) == []


def test_every_change_is_found_sorted_by_relevance(sample):
    other = copy.deepcopy(sample)
    first, second, third = other["layers"]
    second["cycles"] += 7
    first["cycles"] *= 3
    third["cycles"] //= 2
    third["events"]["mac"] *= 100
    other["cycles"] = 2 * sample["cycles"]
    other["accuracy"]["machine"] = 0.5
    other["config"]["extra"] = {"a": 1, "b": 2}
    del other["roofline"]
    found = differences(sample, other)
    assert [(each.group, each.place, each.change) for each in found] == [
        ("configuration", "config.extra", "new"),
        ("summary", "accuracy.machine", "-48.5 %"),
        ("summary", "cycles", "+100 %"),
        ("details", "roofline", "gone"),
        ("details", "layers.fc1.cycles", "x 3"),
        ("details", "layers.fc3.cycles", "-50 %"),
        ("details", "layers.fc2.cycles", "+0.0454 %"),
        ("samples", "layers.fc3.events.mac", "x 100"),
    ]
    assert found[0] == Difference(place="config.extra", before=None, after={"a": 1, "b": 2})
    assert found[3] == Difference(place="roofline", before=sample["roofline"], after=None)
    assert tuple(dict.fromkeys(each.group for each in found)) == GROUPS


def test_what_changes_its_kind_is_one_difference(sample):
    other = changed(sample, roofline=[1, 2], images=True)
    assert [(each.place, each.after, each.change) for each in differences(sample, other)] == [
        ("images", True, "other"),
        ("roofline", [1, 2], "other"),
    ]


def test_lists_of_other_lengths_are_compared_by_entry(sample):
    other = changed(sample, seeds=[0, 5])
    assert [(each.place, each.before, each.after) for each in differences(sample, other)] == [
        ("seeds.1", 1, 5),
        ("seeds.2", 2, None),
    ]


def test_tables_of_differences(sample):
    other = changed(sample, cycles=2 * sample["cycles"], config={"name": "x"})
    tables = compared(differences(sample, other))
    assert list(tables) == ["configuration", "summary"]
    assert ["config.network", "(3 entries)", "–", "gone"] in tables["configuration"].texts
    assert tables["summary"].texts == [["cycles", "32,756", "65,512", "+100 %"]]
    assert tables["summary"].title == "Summary: 1"
    assert compared([]) == {}


def test_the_page_of_differences(sample):
    other = changed(sample, name="<script>", cycles=1)
    page = render_differences(differences(sample, other), ("runs/<a>", "runs/b"))
    root = ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
    assert [element.text for element in root.iter("h2")] == ["Configuration", "Summary"]
    assert "A: runs/<a>. B: runs/b. 2 differences;" in "".join(root.find("body").itertext())
    assert len(root.findall(".//script")) == 1
    assert "No differences" in render_differences([], ("a", "b"))


def test_layers_are_told_apart_by_name_and_not_by_order(sample):
    other = copy.deepcopy(sample)
    other["layers"].reverse()
    assert differences(sample, other) == []
    other["layers"][0]["name"] = other["layers"][1]["name"]  # names that are not all different count by number
    assert any(each.place.startswith("layers.0.") for each in differences(sample, other))


def test_ratios():
    assert Difference(place="a", before=4, after=6.0).ratio == 1.5
    for before, after in ((0, 1), (None, 1), (1, None), ("x", 1), (True, 2), (1, False)):
        assert Difference(place="a", before=before, after=after).ratio is None


def test_reading(sample, tmp_path):
    (tmp_path / "report.json").write_text(to_json(sample))
    assert read(tmp_path) == read(tmp_path / "report.json") == json.loads(to_json(sample))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no report can be read at '{}': No such file or directory"),
        ("{", "'{}' is no report: not JSON: Expecting property name"),
        ("[1]", "'{}' is no report: it must be a JSON object"),
        (
            '{"schema": "tetrit-report/9"}',
            "'{}' is no report: `report.schema` must be 'tetrit-report/2', got 'tetrit-report/9': "
            "it is of a newer tetrit than this",
        ),
        ('{"schema": "tetrit-report/2"}', "'{}' is no report: `report` lacks `tetrit`"),
        ("[" * 100_000, "'{}' is no report: not JSON: maximum recursion depth exceeded"),
        ("\x00\xff", "'{}' is no report: not JSON: "),
    ],
)
def test_what_is_no_report(text, message, tmp_path):
    file = tmp_path / "report.json"
    if text is not None:
        file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidValueError) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(message.format(file))
