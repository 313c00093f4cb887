"""Two reports compared: nothing that differs is missed, and what is no result is left out."""

import copy
import json

import pytest

from tetrit.errors import InvalidValueError
from tetrit.report import Difference, differences, read, to_json


def changed(report, **blocks):
    return {**copy.deepcopy(report), **blocks}


def test_equal_reports_do_not_differ(sample):
    moved = changed(sample, timings={"seconds": {"train": 1e9}, "started": "1970"}, platform={"python": "9"})
    assert differences(sample, moved) == []


def test_every_change_is_found_and_the_summary_comes_first(sample):
    other = copy.deepcopy(sample)
    other["layers"][1]["cycles"] += 7
    other["cycles"] = 2 * sample["cycles"]
    other["config"]["extra"] = "new"
    del other["clock_mhz"]
    second = sample["layers"][1]
    first, *others = differences(sample, other)
    assert first == Difference(place="cycles", before=sample["cycles"], after=2 * sample["cycles"])
    assert sorted(others, key=lambda each: each.place) == [
        Difference(place="clock_mhz", before=sample["clock_mhz"], after=None),
        Difference(place="config.extra", before=None, after="new"),
        Difference(place=f"layers.{second['name']}.cycles", before=second["cycles"], after=second["cycles"] + 7),
    ]


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
        ('{"schema": "tetrit-report/9"}', "'{}' is no report: `report.schema` must be 'tetrit-report/2', got "),
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
