"""The JSON Schema: it accepts a realistic report, and refuses every kind of broken one."""

import json

import jsonschema
import pytest

from tetrit import report


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(report.schema())
    return jsonschema.Draft202012Validator(report.schema())


def objects(schema, path="$"):
    """Every subschema of type object, with its place."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for key, value in schema.items():
            yield from objects(value, f"{path}.{key}")
    elif isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from objects(value, f"{path}[{index}]")


def remove(data, *path):
    *parents, last = path
    for key in parents:
        data = data[key]
    del data[last]


def put(data, value, *path):
    *parents, last = path
    for key in parents:
        data = data[key]
    data[last] = value


def test_sample_is_valid_as_text(validator, sample):
    validator.validate(json.loads(report.to_json(sample)))


@pytest.mark.parametrize(
    "blocks",
    [["verify"], ["synthesis"], ["szt_vs_ternary"], ["roofline"], ["area_mm2"], ["energy_uj", "energy_per_image_nj"]],
)
def test_blocks_of_steps_that_were_not_run_may_be_left_out(validator, sample, blocks):
    for block in blocks:
        del sample[block]
    validator.validate(sample)


def test_every_required_block_is_required(validator, sample):
    for block in report.schema()["required"]:
        assert not validator.is_valid({key: value for key, value in sample.items() if key != block}), block


def test_only_free_objects_take_any_key():
    free = [path for path, schema in objects(report.schema()) if "additionalProperties" not in schema]
    assert [path.rpartition(".")[2] for path in free] == ["machine", "params", "machine"]


def test_every_property_that_is_required_is_described():
    for path, schema in objects(report.schema()):
        assert set(schema.get("required", ())) <= set(schema.get("properties", schema.get("required", ()))), path


STRICT = [
    (),
    ("accuracy",),
    ("accuracy", "per_seed", 0),
    ("accuracy", "by_estimator", 0),
    ("training",),
    ("layers", 0),
    ("energy_uj",),
    ("area_mm2",),
    ("verify",),
    ("verify", "testbenches", 0),
    ("synthesis", 0),
    ("synthesis", 0, "modules", 0),
    ("szt_vs_ternary",),
    ("roofline",),
    ("roofline", "points", 0),
    ("assumptions", 0),
    ("timings",),
]


@pytest.mark.parametrize("path", STRICT)
def test_unknown_keys_are_refused(validator, sample, path):
    put(sample, 1, *path, "surprise")
    assert not validator.is_valid(sample)


REQUIRED = [
    ("accuracy", "machine"),
    ("accuracy", "per_seed", 1, "seed"),
    ("accuracy", "by_estimator", 0, "bits"),
    ("training", "history"),
    ("training", "history", 0, "loss"),
    ("layers", 2, "bound"),
    ("layers", 0, "breakdown"),
    ("energy_uj", "sources"),
    ("verify", "mismatches"),
    ("verify", "testbenches", 0, "passed"),
    ("synthesis", 0, "library"),
    ("szt_vs_ternary", "szt_decoder_um2"),
    ("roofline", "points"),
    ("assumptions", 0, "source"),
    ("timings", "started"),
    ("platform", "numpy"),
    ("energy_per_image_nj",),
]


@pytest.mark.parametrize("path", REQUIRED)
def test_missing_keys_are_refused(validator, sample, path):
    remove(sample, *path)
    assert not validator.is_valid(sample)


WRONG = [
    ("tetrit-report/1", "schema"),
    (0.5, "cycles"),
    (-1, "cycles"),
    ("450", "images"),
    (0, "images"),
    ([], "seeds"),
    ([1, 1], "seeds"),
    ([-1], "seeds"),
    (97.1, "accuracy", "machine"),
    (-0.1, "accuracy", "per_seed", 0, "float"),
    (1.01, "layers", 0, "utilization"),
    ("magic", "layers", 0, "bound"),
    (1.5, "layers", 0, "events", "mac"),
    (-2, "layers", 0, "words", "act_read"),
    ([], "layers"),
    ("guessed", "energy_uj", "sources", "array"),
    (-1.0, "area_mm2", "breakdown", "array"),
    (1, "verify", "testbenches", 0, "passed"),
    (0, "roofline", "peak_macs_per_cycle"),
    (0.0, "clock_mhz"),
    ({}, "machine"),
    ({"deep": {"x": None}}, "config"),
    (2.0, "training", "weight_codes", "fc1", "+1"),
    (1.5, "training", "history", 0, "test_accuracy"),
    ("fast", "training", "history", 0, "rate"),
    ("", "name"),
    ({"a": "b"}, "timings", "seconds"),
    ([1], "synthesis", 0, "critical_path"),
    ("weights", "verify", "testbenches", 0, "level"),
    (None, "latency_us"),
    (True, "cycles"),
]


@pytest.mark.parametrize(("value", "path"), [(value, path) for value, *path in WRONG])
def test_wrong_values_are_refused(validator, sample, value, path):
    put(sample, value, *path)
    assert not validator.is_valid(sample)
