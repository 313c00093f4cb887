"""The components by name, each built to fit a machine."""

__all__ = ["build", "components"]

from collections.abc import Callable

from amaranth.lib.wiring import Component

from tetrit.errors import unknown_name
from tetrit.hardware import ShiftArray
from tetrit.rtl.gearbox import Downsizer, Upsizer
from tetrit.rtl.requantizer import Requantizer
from tetrit.rtl.shift_array import ShiftPEArray
from tetrit.rtl.shift_pe import ShiftPE
from tetrit.rtl.szt import SZTDecoder, SZTEncoder
from tetrit.rtl.weights import WeightDecoder

_BUILDERS: dict[str, Callable[[ShiftArray], Component]] = {
    "SZTDecoder": lambda machine: SZTDecoder(),
    "SZTEncoder": lambda machine: SZTEncoder(),
    "WeightDecoder": lambda machine: WeightDecoder(machine.weights),
    "Upsizer": lambda machine: Upsizer(machine.act_vector_bits, machine.act_word_bits),
    "Downsizer": lambda machine: Downsizer(machine.acc_vector_bits, machine.acc_word_bits),
    "ShiftPE": lambda machine: ShiftPE(machine.weights, machine.activations.bits, machine.acc_bits, machine.dataflow),
    "ShiftPEArray": ShiftPEArray,
    "Requantizer": lambda machine: Requantizer(machine.acc_bits, machine.act_format, machine.multiplier_bits),
}


def components() -> tuple[str, ...]:
    """Names of the components that `build` knows."""
    return tuple(_BUILDERS)


def build(name: str, machine: ShiftArray) -> Component:
    """Return the component `name` with the formats, widths and size of `machine`.

    Raises
    ------
    UnknownNameError
        No such component; the message suggests the nearest.
    """
    if name not in _BUILDERS:
        raise unknown_name("component", name, _BUILDERS)
    return _BUILDERS[name](machine)
