"""Plans: the authority for the rules by which the layers of a network get their estimators, and for their TOML."""

__all__ = ["AXES", "FLOAT", "Plan", "Rule", "Table", "with_axes"]

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import Any, Self

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators.tables import from_table

FLOAT = "float"
"""What stands in the place of an estimator where a layer is left alone."""

AXES = ("output", "input")
"""Axes by their role, in the place of a number; each type of layer knows its own."""

Table = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Which estimators the layers of some names get.

    Parameters
    ----------
    match : str
        A layer's name in the network, as ``named_modules`` has it, or a pattern of `fnmatch` for several: ``*`` stands
        for any text, dots included.
    weight : str or mapping, default "float"
        The estimator of the weights: its name, or a table ``{"name": ..., field: value, ...}`` of a name and fields of
        its class; ``"float"`` leaves them as they are. Where a field counts an axis (`axis`, `along`, `outputs`), the
        texts ``"output"`` and ``"input"`` stand for the layer's own.
    activation : str, mapping or None, default None
        In the same way, the estimator of the layer's input; None or ``"float"`` for none. Axes are numbers here.

    Raises
    ------
    TypeError, InvalidValueError
        If a name or a field is unknown (the nearest is suggested), or a value is none that the field can have.

    Examples
    --------
    >>> from tetrit.train.qat import Rule
    >>> Rule(match="layers.*", weight={"name": "szt", "axis": "output"}, activation="lsq").takes("layers.0.linear")
    True
    """

    match: str
    weight: str | Table = FLOAT
    activation: str | Table | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.match, str):
            raise TypeError(f"`match` must be a string, got {self.match!r}")
        if not self.match:
            raise InvalidValueError("`match` must not be empty; use '*' for all layers")
        for field, axes in (("weight", AXES), ("activation", ())):
            object.__setattr__(self, field, _checked(f"rule '{self.match}', `{field}`", getattr(self, field), axes))

    @property
    def leaves_float(self) -> bool:
        """Whether the layers stay as they are."""
        return self.weight == FLOAT and self.activation in (None, FLOAT)

    @property
    def explicit(self) -> bool:
        """Whether `match` is a single name, not a pattern."""
        return not any(sign in self.match for sign in "*?[")

    def takes(self, name: str) -> bool:
        """Return whether a layer of that name is meant."""
        return fnmatchcase(name, self.match)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Ordered rules: a layer follows the first that takes its name; a layer that none takes stays in float.

    Parameters
    ----------
    rules : sequence of Rule
        At least one.
    keep_first, keep_last : bool, default False
        Leave the first or last quantisable layer in float, whatever the rules say; first and last in the order of
        ``named_modules``, which is that of construction.

    Raises
    ------
    TypeError, InvalidValueError
        If `rules` has none, or something else.

    Examples
    --------
    >>> from tetrit.train.qat import Plan
    >>> plan = Plan.from_toml({
    ...     "keep_first": True,
    ...     "layer": [
    ...         {"match": "head", "weight": "float"},
    ...         {"match": "*", "weight": {"name": "szt", "axis": "output"}, "activation": {"name": "lsq"}},
    ...     ],
    ... })
    >>> plan.keep_first, [rule.match for rule in plan.rules]
    (True, ['head', '*'])
    """

    rules: tuple[Rule, ...]
    keep_first: bool = False
    keep_last: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.rules, str | Mapping) or not isinstance(self.rules, Iterable):
            raise TypeError(f"`rules` must be a sequence of Rule objects, got {self.rules!r}")
        rules = tuple(self.rules)
        for rule in rules:
            if not isinstance(rule, Rule):
                raise TypeError(f"`rules` must hold Rule objects, got {rule!r}")
        if not rules:
            raise InvalidValueError("`rules` must have at least one rule, got none")
        object.__setattr__(self, "rules", rules)
        for field in ("keep_first", "keep_last"):
            if not isinstance(getattr(self, field), bool):
                raise TypeError(f"`{field}` must be True or False, got {getattr(self, field)!r}")

    @classmethod
    def from_toml(cls, source: str | PathLike[str] | Mapping[str, Any]) -> Self:
        """Return the plan of a TOML file, or of its content as a mapping.

        The plan is the table ``[quantize]``, or the whole file where it has no such table: ``keep_first``,
        ``keep_last``, and one ``[[quantize.layer]]`` for each rule with ``match``, ``weight`` and ``activation``.
        Other tables beside ``[quantize]`` are left alone, these keys beside it are an error.

        Parameters
        ----------
        source : path or mapping

        Raises
        ------
        TypeError, InvalidValueError
            If the file cannot be read or a key or value in it is wrong; the message names the rule.
        """
        keys = ("keep_first", "keep_last", "layer")
        if isinstance(source, Mapping):
            where, table = "plan", source
        elif not isinstance(source, str | PathLike):
            raise TypeError(f"`source` must be a path or a mapping, got {source!r}")
        else:
            path = Path(source)
            where, table = str(path), checks.read_toml("plan", path)
        if "quantize" in table:
            for key in keys:
                if key in table:
                    raise InvalidValueError(f"{where}: `{key}` stands beside the table [quantize]; it must be in it")
            where, table = f"{where}, [quantize]", table["quantize"]
        found = checks.keys(where, table, keys)
        layers = found.pop("layer", [])
        if not isinstance(layers, list | tuple):
            raise InvalidValueError(f"{where}: `layer` must be a list of tables, got {layers!r}")
        rules = []
        for place, entry in enumerate(layers, 1):
            fields = checks.keys(f"{where}, layer {place}", entry, ("match", "weight", "activation"))
            if "match" not in fields:
                raise InvalidValueError(f"{where}, layer {place}: `match` is missing")
            if len(fields) == 1:
                raise InvalidValueError(f"{where}, layer {place}: needs `weight` or `activation`")
            rules.append(Rule(**fields))
        return cls(rules=tuple(rules), **found)


def with_axes(table: Table, axes: Mapping[str, int]) -> dict[str, Any]:
    """Return a table, inner ones included, with the names of axes replaced by the numbers of one type of layer."""
    result: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            result[key] = with_axes(value, axes)
        elif key in ("axis", "along", "outputs") and isinstance(value, str):
            result[key] = axes[value]
        else:
            result[key] = value
    return result


def _checked(where: str, given: Any, axes: tuple[str, ...]) -> Any:
    """Return an entry of a rule as "float", None, or a table of which an estimator can be made."""
    if given is None or given == FLOAT:
        return given
    if not isinstance(given, str | Mapping):
        raise TypeError(f"{where} must be a name or a table, got {given!r}")
    table: Table = {"name": given} if isinstance(given, str) else dict(given)
    if "name" not in table:
        raise InvalidValueError(f"{where}: `name` of the estimator is missing")
    try:
        _check_axes(table, axes)
        from_table(with_axes(table, dict.fromkeys(axes, 0)))
    except (InvalidValueError, TypeError) as error:
        raise type(error)(f"{where}: {error}") from None
    return table


def _check_axes(table: Table, axes: tuple[str, ...]) -> None:
    for key, value in table.items():
        if isinstance(value, Mapping):
            _check_axes(value, axes)
        elif key in ("axis", "along", "outputs") and isinstance(value, str):
            if not axes:
                raise InvalidValueError(f"`{key}` must be a number or left out, got '{value}'")
            checks.choice(key, value, axes)
