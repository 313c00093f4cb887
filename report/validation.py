"""A whole report checked against its schema: the first thing that is wrong, in words.

Knows the keywords of JSON Schema that ``schema/report-v2.json`` uses, no others. What is additional is accepted, so
that a report with blocks of a later tetrit can be read.
"""

__all__ = ["KEYWORDS", "validate"]

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tetrit.errors import InvalidValueError
from tetrit.report.canonical import schema

_Schema = Mapping[str, Any]

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: _number(value) and value == int(value),
    "number": lambda value: _number(value),
}
_WORDS = {"object": "an object", "array": "a list", "string": "text", "null": "null", "integer": "an integer"}
_WORDS |= {"number": "a number", "boolean": "true or false"}


def validate(report: Any) -> None:
    """Raise InvalidValueError for the first thing in a report that is not as its schema says.

    Parameters
    ----------
    report : object
        As read from JSON.

    Raises
    ------
    InvalidValueError
        With the place, e.g. ``report.layers[0].cycles``, what is wrong there, and what would be right.

    Examples
    --------
    >>> from tetrit.report.validation import validate
    >>> validate({"schema": "tetrit-report/2"})
    Traceback (most recent call last):
    ...
    tetrit.errors.InvalidValueError: `report` lacks `tetrit`
    """
    rules = schema()
    for problem in _problems(report, rules, "report", rules["$defs"]):
        raise InvalidValueError(problem)
    for problem in _unequal(report):
        raise InvalidValueError(problem)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _problems(value: Any, rules: _Schema, place: str, defs: _Schema) -> Iterator[str]:
    """Yield what is wrong with `value`, at most one thing for each rule."""
    if "$ref" in rules:
        yield from _problems(value, defs[rules["$ref"].removeprefix("#/$defs/")], place, defs)
    if "anyOf" in rules:
        found = [list(_problems(value, each, place, defs)) for each in rules["anyOf"]]
        if all(found):
            yield from found[-1][:1]
    kinds = rules.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_TYPES[kind](value) for kind in kinds):
        yield f"`{place}` must be {' or '.join(_WORDS[kind] for kind in kinds)}, got {_short(value)}"
        return
    if "const" in rules and value != rules["const"]:
        yield f"`{place}` must be {rules['const']!r}, got {_short(value)}"
    if "enum" in rules and value not in rules["enum"]:
        yield f"`{place}` must be one of {', '.join(map(str, rules['enum']))}, got {_short(value)}"
    if isinstance(value, str) and len(value) < rules.get("minLength", 0):
        yield f"`{place}` must not be empty"
    if _number(value):
        yield from _bounds(value, rules, place)
    if isinstance(value, list):
        yield from _list(value, rules, place, defs)
    if isinstance(value, dict):
        yield from _object(value, rules, place, defs)


def _bounds(value: float, rules: _Schema, place: str) -> Iterator[str]:
    low, high = rules.get("minimum", -math.inf), rules.get("maximum", math.inf)
    if not low <= value <= high:
        wanted = f"from {low:g} to {high:g}" if math.isfinite(high) else f"at least {low:g}"
        yield f"`{place}` must be {wanted}, got {value}"
    if not value > rules.get("exclusiveMinimum", -math.inf):
        yield f"`{place}` must be above {rules['exclusiveMinimum']:g}, got {value}"


def _list(value: list[Any], rules: _Schema, place: str, defs: _Schema) -> Iterator[str]:
    if len(value) < rules.get("minItems", 0):
        yield f"`{place}` must not be empty"
    if rules.get("uniqueItems") and any(entry in value[:number] for number, entry in enumerate(value)):
        yield f"`{place}` must not hold the same twice"
    for number, entry in enumerate(value):
        yield from _problems(entry, rules.get("items", {}), f"{place}[{number}]", defs)


def _object(value: dict[str, Any], rules: _Schema, place: str, defs: _Schema) -> Iterator[str]:
    if len(value) < rules.get("minProperties", 0):
        yield f"`{place}` must not be empty"
    needed = [*rules.get("required", [])]
    for key, others in rules.get("dependentRequired", {}).items():
        needed += others if key in value else []
    for key in needed:
        if key not in value:
            yield f"`{place}` lacks `{key}`"
    for key, entry in value.items():
        here = [rules["properties"][key]] if key in rules.get("properties", {}) else []
        here += [each for pattern, each in rules.get("patternProperties", {}).items() if re.search(pattern, key)]
        further = rules.get("additionalProperties", True)
        for each in here or ([] if isinstance(further, bool) else [further]):
            yield from _problems(entry, each, f"{place}.{key}", defs)


def _unequal(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield which lists of a report, else as its schema says, lack entries for each other."""
    pairs = []
    if "crossbar" in report:
        block = report["crossbar"]
        pairs += [("crossbar.layers", block["layers"], "layers", report["layers"])]
        pairs += [("crossbar.weights", block["weights"], "layers", report["layers"])]
        for number, line in enumerate(block["drift"]):
            first = block["drift"][0]["points"]
            pairs.append((f"crossbar.drift[{number}].points", line["points"], "crossbar.drift[0].points", first))
    if "formats" in report:
        block = report["formats"]
        for number, layer in enumerate(block["layers"]):
            place = f"formats.layers[{number}].losses"
            pairs.append((place, layer["losses"], "formats.candidates", block["candidates"]))
    for one, first, other, second in pairs:
        if len(first) != len(second):
            yield f"`report.{one}` must be as long as `report.{other}`, got {len(first)} and {len(second)}"
    for name in ("energy_uj", "area_mm2"):
        lacking = sorted({*report.get(name, {}).get("breakdown", {})} - {*report.get(name, {}).get("sources", {})})
        if lacking:
            yield f"`report.{name}.sources` lacks `{lacking[0]}`"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_CHECKED = {
    "$ref", "anyOf", "type", "const", "enum", "minLength", "minimum", "maximum", "exclusiveMinimum", "minItems",
    "uniqueItems", "items", "minProperties", "required", "dependentRequired", "properties", "patternProperties",
    "additionalProperties",
}  # fmt: skip
KEYWORDS = frozenset(_CHECKED | {"$defs", "$schema", "$id", "title", "description", "format"})
"""What a schema may use; ``format`` and the texts say nothing that is checked."""
