"""The canonical text of reports and the light checks before writing."""

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import report
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.report import canonical

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


def reversed_order(value):
    if isinstance(value, dict):
        return {key: reversed_order(value[key]) for key in reversed(value)}
    return [reversed_order(item) for item in value] if isinstance(value, list) else value


@given(JSON)
def test_text_reads_back_to_the_same_data_whatever_the_order(value):
    text = report.to_json({"value": value})
    assert json.loads(text) == {"value": value}
    assert report.to_json(reversed_order({"value": value})) == text
    assert report.to_json(json.loads(text)) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_read_back_bit_for_bit(value):
    assert struct.pack("d", json.loads(report.to_json({"x": value}))["x"]) == struct.pack("d", value)


def test_numpy_values_become_plain_numbers():
    data = {
        "a": np.arange(3, dtype=np.uint8),
        "b": np.float64(0.1),
        "c": np.bool_(True),
        "d": (np.int64(7),),
        "e": np.eye(2),
    }
    assert canonical.plain(data) == {"a": [0, 1, 2], "b": 0.1, "c": True, "d": [7], "e": [[1.0, 0.0], [0.0, 1.0]]}
    assert {type(value) for value in canonical.plain(data)["a"]} == {int}


def test_float32_is_written_as_its_exact_value():
    assert json.loads(report.to_json({"x": np.float32(0.1)}))["x"] == float(np.float32(0.1))


def test_plain_shares_nothing_with_its_input():
    inner = [1, 2]
    converted = canonical.plain({"a": inner})
    converted["a"].append(3)
    assert inner == [1, 2]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, np.float32("nan"), np.float64("inf")])
def test_numbers_that_are_not_finite_are_refused(bad):
    with pytest.raises(InvalidValueError, match=r"^`report\.layers\[1\]\.cycles` must be finite, got (nan|inf|-inf)$"):
        report.to_json({"layers": [{"cycles": 1}, {"cycles": bad}]})


def test_nan_inside_an_array_is_refused():
    with pytest.raises(InvalidValueError, match=r"^`report\.a\[0\]\[1\]` must be finite, got nan$"):
        report.to_json({"a": np.array([[1.0, np.nan]])})


@pytest.mark.parametrize(
    ("value", "kind"),
    [({1, 2}, "set"), (b"x", "bytes"), (1j, "complex"), (np.complex128(1j), "complex"), (object(), "object")],
)
def test_what_json_lacks_is_refused(value, kind):
    with pytest.raises(TypeError, match=rf"^`report\.x` must be JSON data, got {kind}$"):
        report.to_json({"x": value})


def test_keys_must_be_strings():
    with pytest.raises(TypeError, match=r"^keys of `report\.x` must be strings, got 1$"):
        report.to_json({"x": {1: 2}})


@pytest.mark.parametrize("data", [{"x": "\ud800"}, {"x": {"\ud800": 1}}])
def test_lone_surrogates_are_refused(data):
    with pytest.raises(
        InvalidValueError, match=r"^`(report\.x|key of report\.x)` must be text that UTF-8 can hold, got '\\ud800'$"
    ):
        report.to_json(data)


def test_check_accepts_the_sample(sample):
    canonical.check(sample)


def test_check_names_missing_blocks(sample):
    del sample["layers"], sample["cycles"]
    with pytest.raises(InvalidValueError, match=r"^`report` lacks `layers`, `cycles`$"):
        canonical.check(sample)


def test_check_suggests_the_nearest_block(sample):
    sample["acuracy"] = {}
    with pytest.raises(UnknownNameError, match=r"^unknown block of the report 'acuracy'; did you mean 'accuracy'\?$"):
        canonical.check(sample)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tetrit-report/1", ": it is of an older tetrit than this"),
        ("tetrit-report/3", ": it is of a newer tetrit than this"),
        ("other/3", ""),
        (2, ""),
        (None, ""),
    ],
)
def test_check_refuses_another_schema(sample, name, hint):
    sample["schema"] = name
    with pytest.raises(InvalidValueError, match=rf"^`report\.schema` must be 'tetrit-report/2', got {name!r}{hint}$"):
        canonical.check(sample)


def test_schema_returns_a_copy():
    report.schema()["required"].clear()
    assert "layers" in report.schema()["required"]
