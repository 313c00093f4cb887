"""A report against its schema: the same verdicts as a full validator's, in one line of words."""

import copy

import jsonschema
import pytest

from tests.report.test_schema import REQUIRED, WRONG, put, remove
from tetrit import report
from tetrit.errors import InvalidValueError
from tetrit.report.validation import KEYWORDS, validate


def objects(schema):
    if isinstance(schema, dict):
        yield schema
    for value in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from objects(value)


def tables_of_schemas(schema):
    """The objects in a schema whose keys are names of its user's, not keywords."""
    for each in objects(schema):
        for key in ("properties", "patternProperties", "$defs", "dependentRequired"):
            if isinstance(each.get(key), dict):
                yield id(each[key])


def test_the_schema_uses_known_keywords_only():
    schema = report.schema()
    names = set(tables_of_schemas(schema))
    used = {key for each in objects(schema) if id(each) not in names for key in each}
    assert used == KEYWORDS


def test_the_sample_is_valid(sample):
    validate(sample)


@pytest.mark.parametrize("path", REQUIRED)
def test_missing_keys_are_named(sample, path):
    remove(sample, *path)
    with pytest.raises(InvalidValueError, match=rf"lacks `{path[-1]}`$"):
        validate(sample)


@pytest.mark.parametrize(("value", "path"), [(value, path) for value, *path in WRONG])
def test_wrong_values_are_named(sample, value, path):
    put(sample, value, *path)
    assert not jsonschema.Draft202012Validator(report.schema()).is_valid(sample)
    with pytest.raises(InvalidValueError) as caught:
        validate(sample)
    place = "report" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    assert str(caught.value).startswith(f"`{place}")


def test_what_is_additional_is_accepted(sample):
    sample["later"] = {"deep": [None]}
    sample["layers"][0]["new"] = 1
    validate(sample)


MESSAGES = [
    ([], "`report` must be an object, got []"),
    ({"cycles": "1"}, "`report.cycles` must be an integer, got '1'"),
    ({"cycles": -3}, "`report.cycles` must be at least 0, got -3"),
    ({"clock_mhz": 0}, "`report.clock_mhz` must be above 0, got 0"),
    ({"clock_mhz": float("nan")}, "`report.clock_mhz` must be a number, got nan"),
    ({"seeds": []}, "`report.seeds` must not be empty"),
    ({"seeds": [1, 1]}, "`report.seeds` must not hold the same twice"),
    ({"name": ""}, "`report.name` must not be empty"),
    ({"config": {"x": None}}, "`report.config.x` must be an object, got None"),
    ({"energy_uj": {"total": 1.0, "breakdown": {"a": 1.0}, "sources": {}}}, "`report.energy_uj.sources` lacks `a`"),
    (
        {"figures": [{"name": "x", "value": 1, "unit": "", "origin": "guess", "source": "s"}]},
        "`report.figures[0].origin` must be one of synthesised, modelled, published, assumed, got 'guess'",
    ),
]


@pytest.mark.parametrize(("change", "message"), MESSAGES)
def test_messages(sample, change, message):
    with pytest.raises(InvalidValueError) as caught:
        validate(change if isinstance(change, list) else copy.deepcopy(sample) | change)
    assert str(caught.value) == message
