"""Estimators as plain tables, for state dicts, plans and checkpoints: a name, and the fields of its class."""

__all__ = ["from_table", "to_table"]

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tetrit import checks, estimators
from tetrit.estimators import Estimator, Surrogate


def to_table(estimator: Estimator) -> dict[str, Any]:
    """Return ``{"name": ..., field: value, ...}`` of numbers, texts, tuples, None and tables of the same kind."""
    table: dict[str, Any] = {"name": estimator.name}
    for field in fields(estimator):
        value = getattr(estimator, field.name)
        if isinstance(value, Estimator):
            value = to_table(value)
        elif isinstance(value, Surrogate):
            value = {part.name: getattr(value, part.name) for part in fields(value)}
        table[field.name] = value
    return table


def from_table(table: Mapping[str, Any]) -> Estimator:
    """Return the estimator of a table, as `to_table` gives it or as it stands in a TOML file.

    Raises
    ------
    InvalidValueError, TypeError
        If a name or a field is unknown (the nearest is suggested) or a value is none that the field can have.
    """
    params = dict(table)
    name = checks.choice("estimator", params.pop("name", None), estimators.names())
    for key, value in params.items():
        if isinstance(value, Mapping):
            params[key] = from_table(value) if "name" in value else _surrogate(value)
        elif isinstance(value, list):
            params[key] = tuple(value)
    return estimators.get(name, **params)


def _surrogate(table: Mapping[str, Any]) -> Surrogate:
    return Surrogate(**checks.keys("surrogate", table, [part.name for part in fields(Surrogate)]))
