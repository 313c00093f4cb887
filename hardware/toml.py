"""Machines as TOML: presets, loading, saving; errors name the file and the field."""

__all__ = ["from_dict", "load", "presets", "to_dict", "to_toml"]

import dataclasses
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from tetrit import checks
from tetrit.errors import InvalidValueError, unknown_name
from tetrit.hardware.memory import Memory
from tetrit.hardware.shift_array import ShiftArray

KINDS: dict[str, type[ShiftArray]] = {"shift_array": ShiftArray}


def presets() -> tuple[str, ...]:
    """Names of the machines that come with tetrit, sorted."""
    folder = resources.files("tetrit.hardware") / "presets"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load(source: str | Path) -> ShiftArray:
    """Load a machine.

    Parameters
    ----------
    source : str or Path
        Name of a preset, or path of a TOML file (anything that ends in ``.toml``).

    Returns
    -------
    ShiftArray
        Validated.

    Raises
    ------
    UnknownNameError
        No preset of that name; the message suggests the nearest.
    InvalidValueError
        The file cannot be read, is not TOML, or a field is wrong; the message names file and field.

    Examples
    --------
    >>> from tetrit import hardware
    >>> hardware.load("shift_16x16").rows
    16
    """
    path = Path(source)
    if path.suffix == ".toml":
        return from_dict(checks.read_toml("machine file", path), where=str(path))
    if str(source) not in presets():
        raise unknown_name("machine", str(source), presets())
    text = (resources.files("tetrit.hardware") / "presets" / f"{source}.toml").read_text(encoding="utf-8")
    where = f"preset {source}"
    return from_dict(checks.parse_toml(where, text), where=where)


def from_dict(table: Mapping[str, Any], *, where: str = "machine") -> ShiftArray:
    """Build a machine from a table with the machine's `kind` and its fields; errors begin with `where`."""
    table = dict(table)
    kind = table.pop("kind", None)
    if kind is None:
        raise InvalidValueError(f"{where}: `kind` is missing; known: {', '.join(KINDS)}")
    if kind not in KINDS:
        raise InvalidValueError(f"{where}: {unknown_name('kind', str(kind), KINDS)}")
    memories = {f.name for f in dataclasses.fields(KINDS[kind]) if f.name.endswith("_memory")}
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name in memories:
            values[name] = _construct(Memory, value, f"{where}: [{name}]")
        else:
            values[name] = value
    machine: ShiftArray = _construct(KINDS[kind], values, where)
    return machine


def _construct(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    known = dataclasses.fields(kind)
    values = checks.keys(where, values, [f.name for f in known])
    for f in known:
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and f.name not in values:
            raise InvalidValueError(f"{where}: `{f.name}` is missing")
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None


def to_dict(machine: ShiftArray) -> dict[str, Any]:
    """Return the table that `from_dict` reads; fields that are None are left out."""
    kind = next(name for name, cls in KINDS.items() if cls is type(machine))
    table = {"kind": kind, **dataclasses.asdict(machine)}
    return {
        name: {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value
        for name, value in table.items()
    }


def to_toml(machine: ShiftArray) -> str:
    """Return TOML text that `load` reads back to an equal machine."""
    import tomli_w

    return tomli_w.dumps(to_dict(machine))
