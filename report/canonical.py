"""The one way in which a report becomes JSON text: sorted keys, shortest exact floats, no NaN; and its light checks.

The authority for the keys and their meaning is ``schema/report-v2.json``. The same content gives the same bytes in
whatever order a dict was filled, and numpy scalars and arrays are written as the numbers that they hold.
"""

__all__ = ["SCHEMA_NAME", "check", "check_version", "plain", "schema", "to_json"]

import functools
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

from tetrit.errors import InvalidValueError, unknown_name

SCHEMA_NAME = "tetrit-report/2"


@functools.cache
def _schema_text() -> str:
    return resources.files("tetrit.report").joinpath("schema", "report-v2.json").read_text(encoding="utf-8")


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of ``report.json``.

    Returns
    -------
    dict
        A fresh copy, free to change.

    Examples
    --------
    >>> from tetrit import report
    >>> report.schema()["properties"]["schema"]["const"]
    'tetrit-report/2'
    """
    loaded: dict[str, Any] = json.loads(_schema_text())
    return loaded


def plain(value: Any, where: str = "report") -> Any:
    """Return `value` as plain JSON data, dict keys sorted.

    Parameters
    ----------
    value : mapping, sequence, str, bool, int, float, None, numpy scalar or array
        What to convert. Mappings need string keys.
    where : str
        The name of `value` in error messages.

    Returns
    -------
    dict, list, str, bool, int, float or None
        Shares nothing with `value`.

    Raises
    ------
    InvalidValueError
        For NaN and infinities, which JSON does not have, and for lone surrogates.
    TypeError
        For anything else that JSON does not have.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist(), where)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidValueError(f"`{where}` must be finite, got {value}")
        return float(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"keys of `{where}` must be strings, got {key!r}")
            _text(key, f"key of {where}")
        return {key: plain(value[key], f"{where}.{key}") for key in sorted(value)}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise TypeError(f"`{where}` must be JSON data, got {type(value).__name__}")


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidValueError(f"`{where}` must be text that UTF-8 can hold, got {value!a}") from None
    return str(value)


def check(report: Mapping[str, Any]) -> None:
    """Check the schema's name and the keys of the top level; for the rest see `tetrit.report.validation`.

    Raises
    ------
    InvalidValueError
        For another schema, a missing block, or (with the nearest name) an unknown one.
    """
    rules = schema()
    check_version(report)
    missing = [key for key in rules["required"] if key not in report]
    if missing:
        raise InvalidValueError(f"`report` lacks {', '.join(f'`{key}`' for key in missing)}")
    if not report["layers"]:
        raise InvalidValueError("`report.layers` must have at least one layer")
    for key, needed in rules["dependentRequired"].items():
        lacking = [name for name in needed if key in report and name not in report]
        if lacking:
            raise InvalidValueError(f"`report` has `{key}` but lacks `{lacking[0]}`")
    for key in report:
        if key not in rules["properties"]:
            raise unknown_name("block of the report", key, rules["properties"])


def check_version(report: Mapping[str, Any]) -> None:
    """Raise InvalidValueError unless the report has this version's schema, and tell older from newer ones."""
    found = report.get("schema")
    if found == SCHEMA_NAME:
        return
    family, _, own = SCHEMA_NAME.partition("/")
    other = found.removeprefix(f"{family}/") if isinstance(found, str) else ""
    hint = ""
    if other.isdecimal():
        hint = f": it is of {'a newer' if int(other) > int(own) else 'an older'} tetrit than this"
    raise InvalidValueError(f"`report.schema` must be '{SCHEMA_NAME}', got {found!r}{hint}")


def to_json(report: Mapping[str, Any]) -> str:
    r"""Return `report` as the canonical text of ``report.json``.

    Contract: the same content gives the same text; every float reads back bit for bit (shortest ``repr``), -0.0 too.

    Parameters
    ----------
    report : mapping
        The report; see ``schema/report-v2.json``.

    Returns
    -------
    str
        Indented JSON in UTF-8 characters, ended by one line feed.

    Raises
    ------
    InvalidValueError
        For NaN and infinities, naming the place.
    TypeError
        For what JSON does not have, naming the place.

    Examples
    --------
    >>> from tetrit import report
    >>> report.to_json({"b": 0.1, "a": [1, True]})
    '{\n  "a": [\n    1,\n    true\n  ],\n  "b": 0.1\n}\n'
    """
    return json.dumps(plain(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
