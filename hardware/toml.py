"""Machines as TOML: presets, loading, saving; errors name the file and the field."""

__all__ = [
    "Machine",
    "changed",
    "from_dict",
    "load",
    "load_crossbar",
    "load_shift_array",
    "load_simd_engine",
    "presets",
    "to_dict",
    "to_toml",
]

import dataclasses
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args

from tetrit import checks
from tetrit.errors import InvalidValueError, unknown_name
from tetrit.hardware.converters import Adc, Dac
from tetrit.hardware.crossbar import Crossbar
from tetrit.hardware.device import Device
from tetrit.hardware.memory import Memory
from tetrit.hardware.ramp import RampAdc
from tetrit.hardware.shift_array import ShiftArray
from tetrit.hardware.simd_engine import SimdEngine

Machine = ShiftArray | Crossbar | SimdEngine
AnyMachine = TypeVar("AnyMachine", ShiftArray, Crossbar, SimdEngine)

KINDS: dict[str, type[Machine]] = {"crossbar": Crossbar, "shift_array": ShiftArray, "simd_engine": SimdEngine}
PARTS: dict[str, type[Any]] = {
    **dict.fromkeys(("weight_memory", "act_memory", "acc_memory", "result_memory"), Memory),
    "dac": Dac,
    "adc": Adc,
    "ramp": RampAdc,
}
NONE = "none"
"""How a file says that an optional field has no value; TOML has no word for it."""


def presets() -> tuple[str, ...]:
    """Names of the machines that come with tetrit, sorted."""
    folder = resources.files("tetrit.hardware") / "presets"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load(source: str | Path) -> Machine:
    """Load a machine.

    Parameters
    ----------
    source : str or Path
        Name of a preset, or path of a TOML file (anything that ends in ``.toml``).

    Returns
    -------
    ShiftArray, SimdEngine or Crossbar
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
    >>> hardware.load("crossbar_256_pcm").columns_per_output
    2
    """
    path = Path(source)
    if path.suffix == ".toml":
        return from_dict(checks.read_toml("machine file", path), where=str(path), folder=path.parent)
    if str(source) not in presets():
        raise unknown_name("machine", str(source), presets())
    text = (resources.files("tetrit.hardware") / "presets" / f"{source}.toml").read_text(encoding="utf-8")
    where = f"preset {source}"
    return from_dict(checks.parse_toml(where, text), where=where)


def load_shift_array(source: str | Path) -> ShiftArray:
    """Load a machine as `load` does, for what only a shift array can do; any other is an InvalidValueError."""
    machine = load(source)
    if not isinstance(machine, ShiftArray):
        raise InvalidValueError(f"{source}: a shift_array is needed here, got a {_kind(machine)}")
    return machine


def load_simd_engine(source: str | Path) -> SimdEngine:
    """Load a machine as `load` does, for what only a SIMD engine can do; any other is an InvalidValueError."""
    machine = load(source)
    if not isinstance(machine, SimdEngine):
        raise InvalidValueError(f"{source}: a simd_engine is needed here, got a {_kind(machine)}")
    return machine


def load_crossbar(source: str | Path) -> Crossbar:
    """Load a machine as `load` does, for what only a crossbar can do; any other is an InvalidValueError."""
    machine = load(source)
    if not isinstance(machine, Crossbar):
        raise InvalidValueError(f"{source}: a crossbar is needed here, got a {_kind(machine)}")
    return machine


def changed(
    machine: AnyMachine, changes: Mapping[str, Any], *, where: str = "changes", folder: Path | None = None
) -> AnyMachine:
    """Return a machine with some fields changed as a file would give them.

    Parameters
    ----------
    machine : ShiftArray, SimdEngine or Crossbar
    changes : mapping
        Fields, as in `from_dict`. A table for a converter, a memory or the device changes the fields that it has, and
        leaves the others.
    where, folder
        As for `from_dict`.

    Raises
    ------
    InvalidValueError
        A field is unknown or wrong, or the machine cannot be written, see `to_dict`.

    Examples
    --------
    >>> from tetrit import hardware
    >>> machine = hardware.load_crossbar("crossbar_256_pcm")
    >>> hot = hardware.changed(machine, {"temperature_k": 360, "adc": {"noise_sigma_lsb": 0.5}})
    >>> hot.temperature_k, hot.adc.noise_sigma_lsb, hot.adc.columns_per_adc
    (360.0, 0.5, 8)
    """
    table = to_dict(machine)
    for key, value in checks.keys(where, changes, [f.name for f in dataclasses.fields(machine)]).items():
        within = isinstance(value, Mapping) and isinstance(table.get(key), Mapping)
        table[key] = {**table[key], **value} if within else value
    found = from_dict(table, where=where, folder=folder)
    assert isinstance(found, type(machine))
    return found


def from_dict(table: Mapping[str, Any], *, where: str = "machine", folder: Path | None = None) -> Machine:
    """Build a machine from a table with the machine's `kind` and its fields.

    Parameters
    ----------
    table : mapping
        A `device`, of a crossbar or its `ramp`, is a table of a device's fields, the name of a device that comes with
        tetrit, or the path of a TOML file. An optional field may be "none".
    where : str
        Begin of every error.
    folder : Path, optional
        Where a relative path of a device starts; by default in the working directory.
    """
    table = dict(table)
    kind = table.pop("kind", None)
    if kind is None:
        raise InvalidValueError(f"{where}: `kind` is missing; known: {', '.join(KINDS)}")
    if kind not in KINDS:
        raise InvalidValueError(f"{where}: {unknown_name('kind', str(kind), KINDS)}")
    fields = {f.name for f in dataclasses.fields(KINDS[kind])}
    values: dict[str, Any] = {}
    for name, value in table.items():
        inner = f"{where}: [{name}]"
        if name == "ramp" and isinstance(value, Mapping) and "device" in value:
            value = {**value, "device": _device(value["device"], inner, folder)}
        if name in fields and name in PARTS and not (value == NONE and name in _optional(KINDS[kind])):
            values[name] = _construct(PARTS[name], value, inner)
        elif name in fields and name == "device":
            values[name] = _device(value, where, folder)
        else:
            values[name] = value
    machine: Machine = _construct(KINDS[kind], values, where)
    return machine


def _device(value: Any, where: str, folder: Path | None) -> Any:
    if isinstance(value, Mapping):
        return Device.from_dict(value, where=f"{where}: [device]")
    if isinstance(value, str):
        try:
            return Device.load(folder / value if folder is not None and value.endswith(".toml") else value)
        except InvalidValueError as error:
            raise InvalidValueError(f"{where}: {error}") from None
    return value


def _construct(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    known = dataclasses.fields(kind)
    values = checks.keys(where, values, [f.name for f in known])
    for f in known:
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and f.name not in values:
            raise InvalidValueError(f"{where}: `{f.name}` is missing")
    optional = _optional(kind)
    values = {name: None if name in optional and value == NONE else value for name, value in values.items()}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None


def _optional(kind: type[Any]) -> set[str]:
    """Fields that may be None."""
    return {f.name for f in dataclasses.fields(kind) if type(None) in get_args(f.type)}


def to_dict(machine: Machine) -> dict[str, Any]:
    """Return the table that `from_dict` reads.

    A field that is None is left out where that is its default, and else "none". A device is written in full, so that
    the table does not change with the devices that come with tetrit.

    Raises
    ------
    InvalidValueError
        The device is of a class of the user's own: its methods cannot be written.
    """
    table: dict[str, Any] = {"kind": _kind(machine)}
    for f in dataclasses.fields(machine):
        value = _written(getattr(machine, f.name))
        if value is not None:
            table[f.name] = value
        elif f.default is not None:
            table[f.name] = NONE
    return table


def _written(value: Any) -> Any:
    """Return a part of a machine, and its parts, as tables without what is None; anything else as it is."""
    if not dataclasses.is_dataclass(value):
        return value
    if isinstance(value, Device) and type(value) is not Device:
        raise InvalidValueError(
            f"`device` of class {type(value).__name__} cannot be written as a table; only Device itself can"
        )
    items = {f.name: _written(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return {name: item for name, item in items.items() if item is not None}


def _kind(machine: Machine) -> str:
    return next(name for name, cls in KINDS.items() if cls is type(machine))


def to_toml(machine: Machine) -> str:
    """Return TOML text that `load` reads back to an equal machine."""
    import tomli_w

    return tomli_w.dumps(to_dict(machine))
