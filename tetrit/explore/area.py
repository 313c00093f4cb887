"""Area of machines from committed tables and cited figures: the authority for what `tetrit explore` takes for mm2.

Digital arrays and their memories: `tetrit.sim.cost.area`, or, where asked for, the array itself mapped by Yosys.
Crossbars: ISAAC's converters and adders at 32 nm, and cells at the pitch that the presets' wires assume.
"""

__all__ = ["Area", "crossbar", "shift", "simd", "sram_um2"]

import math
from dataclasses import dataclass
from functools import lru_cache

from tetrit.hardware import Crossbar, ShiftArray, SimdEngine
from tetrit.sim.cost.area import MEMORY_NAMES, machine_area
from tetrit.sim.cost.memory import sram_um2

_ADC_UM2 = {4: 361.04, 5: 476.91, 6: 626.91, 7: 845.18, 8: 1200.0, 9: 1827.911647, 10: 3002.008032}
_DAC_UM2_PER_BIT = 0.166015625
_SHIFT_ADD_UM2 = 60.0
_CELL_UM2 = 0.25
ANALOG_SOURCE = (
    "ISAAC (ISCA 2016), 32 nm, as hwcomponents-library's isaac.py reads it: 1200 um2 an 8-bit ADC, its other widths "
    "from 4 to 10 bits scaled there after Saberi et al. 2011, by 2^bits beyond; 0.166 um2 a bit of a row's DAC; 60 um2 "
    "a shift-and-add unit, one an ADC; cells half a micrometre apart, the presets' assumption for wires"
)


@dataclass(frozen=True, kw_only=True)
class Area:
    """An area by component, each with its source.

    Attributes
    ----------
    um2, sources : dict
        By component.
    """

    um2: dict[str, float]
    sources: dict[str, str]

    @property
    def mm2(self) -> float:
        """All components together."""
        return sum(self.um2.values()) * 1e-6


def shift(machine: ShiftArray, mode: str = "table") -> Area:
    """Return the area of a shift array with its memories, ``table`` or ``synthesised``."""
    found = _table(machine)
    if mode == "table":
        return found
    array, requantizer = _synthesised_shift(machine)
    return _replaced(found, {"array": array, "requantisers": machine.cols * requantizer})


def simd(machine: SimdEngine, mode: str = "table") -> Area:
    """Return the area of a SIMD engine with its memories, ``table`` or ``synthesised``.

    The table has the element for all four formats; engines for fewer take the same (our assumption).
    """
    found = _table(machine)
    return found if mode == "table" else _replaced(found, {"array": _synthesised_simd(machine)})


def crossbar(machine: Crossbar, arrays: int) -> Area:
    """Return the area of `arrays` crossbars with their converters; requantisation and memories are left out."""
    bits = machine.adc_bits
    adcs = 0 if bits is None else math.ceil(machine.cols / machine.adc.columns_per_adc)
    adc_um2 = 0.0
    if bits is not None:
        nearest = min(max(bits, min(_ADC_UM2)), max(_ADC_UM2))
        adc_um2 = _ADC_UM2[nearest] * 2.0 ** (bits - nearest)
    um2 = {
        "cells": arrays * machine.rows * machine.cols * _CELL_UM2,
        "DAC": arrays * machine.rows * max(machine.input_digits) * _DAC_UM2_PER_BIT,
        "ADC": arrays * adcs * adc_um2,
        "shift and add": arrays * adcs * _SHIFT_ADD_UM2,
    }
    return Area(um2=um2, sources=dict.fromkeys(um2, f"published: {ANALOG_SOURCE}"))


def _table(machine: ShiftArray | SimdEngine) -> Area:
    """Return the area from the committed table."""
    found = machine_area(machine)
    return Area(
        um2={name: figure.value for name, figure in found.items()},
        sources={name: f"{figure.origin}: {figure.source}" for name, figure in found.items()},
    )


def _replaced(found: Area, made: dict[str, float]) -> Area:
    """Return an area with synthesised parts in place of all that is no memory."""
    memories = {name: um2 for name, um2 in found.um2.items() if name in MEMORY_NAMES.values()}
    return Area(
        um2=made | memories,
        sources=dict.fromkeys(made, "synthesised: Yosys, sg13g2, cell area without routing")
        | {name: found.sources[name] for name in memories},
    )


@lru_cache(maxsize=64)
def _synthesised_shift(machine: ShiftArray) -> tuple[float, float]:
    """Return the mapped area of the array, and of one requantiser."""
    from tetrit import rtl

    array, requantizer = (rtl.synthesize(rtl.build(name, machine)) for name in ("ShiftPEArray", "Requantizer"))
    return array.area_um2, requantizer.area_um2


@lru_cache(maxsize=64)
def _synthesised_simd(machine: SimdEngine) -> float:
    from tetrit import rtl

    return float(rtl.synthesize(rtl.build("SimdArray", machine)).area_um2)
