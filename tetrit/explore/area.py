"""Area of machines from committed tables and cited figures: the authority for what `tetrit explore` takes for mm2.

Digital arrays: straight lines through arrays mapped to sg13g2 (``area_sg13g2.toml``, made by
``bench/explore_area.py``), or, where asked for, the array itself mapped by Yosys. Memories: the sizes of IHP's SRAM
macros at the same node. Crossbars: ISAAC's converters and adders at 32 nm, and cells at the pitch that the presets'
wires assume.
"""

__all__ = ["Area", "crossbar", "shift", "shift_terms", "simd", "simd_terms", "sram_um2"]

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from tetrit.hardware import Crossbar, Memory, ShiftArray, SimdEngine

_SRAM_WIDTH_UM = (56.96, 11.24)
"""Width of a macro: constant, and for each bit of a word."""

_SRAM_HEIGHT_UM = (46.22, 0.28344)
"""Height of a macro: constant, and for each word."""

_SRAM_BITS, _SRAM_WORDS = 64, 2048
"""The largest macro; larger memories take several."""

_SECOND_PORT = 1.96
"""RM_IHPSG13_2P_64x32_c2 over the one-port macro of that size."""

SRAM_SOURCE = (
    "IHP-Open-PDK, sg13g2_sram: sizes of the macros RM_IHPSG13_1P_64x64 to 2048x64 as their data sheets state, a "
    "straight line in words and one in bits (within 2 %); a second port 1.96 times, as RM_IHPSG13_2P_64x32"
)

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


def sram_um2(memory: Memory, word_bits: int, *, ports: int = 1) -> float:
    """Return the area of a memory of words of `word_bits`, built from macros side by side and above each other."""
    words = math.ceil(8 * memory.size_bytes / word_bits)
    across, along = math.ceil(word_bits / _SRAM_BITS), math.ceil(words / _SRAM_WORDS)
    width = _SRAM_WIDTH_UM[0] + _SRAM_WIDTH_UM[1] * word_bits / across
    height = _SRAM_HEIGHT_UM[0] + _SRAM_HEIGHT_UM[1] * words / along
    return across * along * width * height * (_SECOND_PORT if ports == 2 else 1.0)


def shift_terms(machine: ShiftArray) -> list[float]:
    """Return what the area of a shift array outside of its elements is linear in: constant, vectors, skew triangles."""
    act, acc = machine.activations.bits, machine.acc_bits
    return [
        1.0,
        machine.act_vector_bits,
        machine.acc_vector_bits,
        machine.weight_vector_bits,
        act * machine.rows**2,
        acc * machine.cols**2,
    ]


def simd_terms(machine: SimdEngine) -> list[float]:
    """Return what the area of an element, and of a read-out, is linear in."""
    return [1.0, machine.quire_bits]


def shift(machine: ShiftArray, mode: str = "table") -> Area:
    """Return the area of a shift array with its memories, ``table`` or ``synthesised``."""
    row = next(
        row
        for row in _table()["shift"]
        if (row["dataflow"], row["weight_format"]) == (machine.dataflow, machine.weight_format)
    )
    if mode == "synthesised":
        array, requantizer = _synthesised_shift(machine)
        source = "synthesised: Yosys, sg13g2, cell area without routing"
        parts = {"array": array}
    else:
        element = _line(row["element"], [1.0, machine.activations.bits, machine.acc_bits])
        parts = {
            "processing elements": machine.rows * machine.cols * element,
            "skew, decoders and gearboxes": _line(row["rest"], shift_terms(machine)),
        }
        requantizer = _line(
            _table()["requantizer"], [1.0, machine.acc_bits, machine.acc_bits * machine.multiplier_bits]
        )
        source = f"modelled: {_table()['source']}"
    parts["requantisers"] = machine.cols * requantizer
    memories = {
        "weight memory": sram_um2(machine.weight_memory, machine.weight_word_bits),
        "activation memory": sram_um2(machine.act_memory, machine.act_word_bits),
        "accumulator memory": sram_um2(machine.acc_memory, machine.acc_word_bits, ports=2),
    }
    return Area(um2=parts | memories, sources=dict.fromkeys(parts, source) | _published(memories))


def simd(machine: SimdEngine, mode: str = "table") -> Area:
    """Return the area of a SIMD engine with its memories, ``table`` or ``synthesised``.

    The table has the element for all four formats; engines for fewer take the same (our assumption).
    """
    if mode == "synthesised":
        parts = {"array": _synthesised_simd(machine)}
        source = "synthesised: Yosys, sg13g2, cell area without routing"
    else:
        row = next(row for row in _table()["simd"] if row["gating"] == machine.gating)
        parts = {
            "elements": machine.rows * machine.cols * _line(row["element"], simd_terms(machine)),
            "read-outs": machine.cols * _line(row["readout"], simd_terms(machine)),
        }
        source = f"modelled: {_table()['source']}; skew and control of the array left out"
    memories = {
        "weight memory": sram_um2(machine.weight_memory, machine.weight_word_bits),
        "activation memory": sram_um2(machine.act_memory, machine.act_word_bits),
        "result memory": sram_um2(machine.result_memory, machine.result_word_bits),
    }
    return Area(um2=parts | memories, sources=dict.fromkeys(parts, source) | _published(memories))


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


def _published(memories: dict[str, float]) -> dict[str, str]:
    return dict.fromkeys(memories, f"published: {SRAM_SOURCE}")


def _line(coefficients: Sequence[float], terms: Sequence[float]) -> float:
    return sum(c * term for c, term in zip(coefficients, terms, strict=True))


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


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads((resources.files("tetrit.explore") / "area_sg13g2.toml").read_text(encoding="utf-8"))
