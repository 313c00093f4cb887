"""From the parameters of a point to its machine, and where each kind of machine has its figures from."""

__all__ = ["VIRTUAL", "Variant", "origins", "variant"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tetrit import hardware
from tetrit.hardware import Crossbar, Machine, SimdEngine

VIRTUAL: dict[type[Any], tuple[str, ...]] = {SimdEngine: ("act_format", "weight_format")}
"""Parameters that are no fields of a machine: the formats that a SIMD engine, built for several, runs in."""

_SIMD_FORMAT = "posit8_0"
"""Of a SIMD engine where a space says none."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A machine of a point, and the formats that run on it.

    Attributes
    ----------
    machine : Machine
    act_format, weight_format : str
    """

    machine: Machine
    act_format: str
    weight_format: str


def variant(base: Machine, parameters: Mapping[str, Any]) -> Variant:
    """Return the machine with parameters in place of its fields.

    Raises
    ------
    InvalidValueError
        The machine does not allow them together.
    """
    table = hardware.to_dict(base)
    formats = dict.fromkeys(VIRTUAL.get(type(base), ()), _SIMD_FORMAT)
    for name, value in parameters.items():
        if name in formats:
            formats[name] = value
            continue
        part = table
        *outer, field = name.split(".")
        for step in outer:
            inner = part.get(step)
            part[step] = dict(inner) if isinstance(inner, Mapping) else {}
            part = part[step]
        part[field] = value
    machine = hardware.from_dict(table)
    if isinstance(machine, SimdEngine):
        machine.mode(formats["act_format"], formats["weight_format"])
        return Variant(machine=machine, **formats)
    return Variant(machine=machine, act_format=machine.act_format, weight_format=machine.weight_format)


def origins(machine: Machine) -> dict[str, str]:
    """Return which technology energy and area of a machine are stated for; different ones are no comparison."""
    if isinstance(machine, Crossbar):
        return {
            "energy_uj": "published figures of converters at 32 nm, and the cells' own currents",
            "area_mm2": "published figures of converters at 32 nm, and the cells' pitch",
        }
    return {
        "energy_uj": "gates in sg13g2, 130 nm, and the memories' own fields",
        "area_mm2": "gates and SRAM macros in sg13g2, 130 nm",
    }
