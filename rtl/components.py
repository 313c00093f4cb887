"""The components by name, each built to fit a machine."""

__all__ = ["build", "components", "default_machine", "full_name"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.lib.wiring import Component

from tetrit.errors import InvalidValueError, unknown_name
from tetrit.hardware import Machine, ShiftArray, SimdEngine
from tetrit.rtl.coprocessor import MatmulCoprocessor
from tetrit.rtl.gearbox import Downsizer, Upsizer
from tetrit.rtl.requantizer import Requantizer
from tetrit.rtl.shift_array import ShiftPEArray
from tetrit.rtl.shift_pe import ShiftPE
from tetrit.rtl.simd import SimdArray, SimdMac, SimdReadout
from tetrit.rtl.szt import SZTDecoder, SZTEncoder
from tetrit.rtl.weights import WeightDecoder


@dataclass(frozen=True, kw_only=True)
class _Builder:
    """How a component is made of a machine, and which kinds of machine it is made of; the first one by default."""

    make: Callable[[Any], Component]
    kinds: tuple[type[Machine], ...] = (ShiftArray,)


_NAMES = {ShiftArray: "shift array", SimdEngine: "SIMD engine"}
_DEFAULTS = {ShiftArray: "shift_16x16", SimdEngine: "simd_8x8"}
_SHORT = {"coprocessor": "MatmulCoprocessor"}

_BUILDERS: dict[str, _Builder] = {
    "SZTDecoder": _Builder(make=lambda machine: SZTDecoder()),
    "SZTEncoder": _Builder(make=lambda machine: SZTEncoder()),
    "WeightDecoder": _Builder(make=lambda machine: WeightDecoder(machine.weights)),
    "Upsizer": _Builder(make=lambda machine: Upsizer(machine.act_vector_bits, machine.act_word_bits)),
    "Downsizer": _Builder(make=lambda machine: Downsizer(machine.acc_vector_bits, machine.acc_word_bits)),
    "ShiftPE": _Builder(
        make=lambda machine: ShiftPE(machine.weights, machine.activations.bits, machine.acc_bits, machine.dataflow)
    ),
    "ShiftPEArray": _Builder(make=ShiftPEArray),
    "Requantizer": _Builder(
        make=lambda machine: Requantizer(machine.acc_bits, machine.act_format, machine.multiplier_bits)
    ),
    "SimdMac": _Builder(make=SimdMac, kinds=(SimdEngine,)),
    "SimdReadout": _Builder(make=SimdReadout, kinds=(SimdEngine,)),
    "SimdArray": _Builder(make=SimdArray, kinds=(SimdEngine,)),
    "MatmulCoprocessor": _Builder(make=MatmulCoprocessor, kinds=(SimdEngine, ShiftArray)),
}


def components() -> tuple[str, ...]:
    """Names of the components that `build` knows."""
    return tuple(_BUILDERS)


def full_name(name: str) -> str:
    """Return the name in `components()` that `name` stands for.

    Raises
    ------
    UnknownNameError
        No such component; the message suggests the nearest.
    """
    full = _SHORT.get(name, name)
    if full not in _BUILDERS:
        raise unknown_name("component", name, [*_BUILDERS, *_SHORT])
    return full


def default_machine(name: str) -> str:
    """Return the preset that fits the component `name`.

    Raises
    ------
    UnknownNameError
        No such component; the message suggests the nearest.
    """
    return _DEFAULTS[_BUILDERS[full_name(name)].kinds[0]]


def build(name: str, machine: Machine) -> Component:
    """Return the component `name` with the formats, widths and size of `machine`.

    Parameters
    ----------
    name : str
        One of `components()`, or ``"coprocessor"`` for ``"MatmulCoprocessor"``.
    machine : ShiftArray or SimdEngine
        Which of both depends on the component; the co-processor takes either.

    Raises
    ------
    UnknownNameError
        No such component; the message suggests the nearest.
    InvalidValueError
        The component is none of that kind of machine.
    """
    builder = _BUILDERS[full_name(name)]
    if not isinstance(machine, builder.kinds):
        kinds = " or a ".join(_NAMES[kind] for kind in builder.kinds)
        raise InvalidValueError(f"`machine` must be a {kinds} for {name}, got a {type(machine).__name__}")
    return builder.make(machine)
