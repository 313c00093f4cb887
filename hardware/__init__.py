"""Frozen descriptions of machines, memories, devices and cell libraries; presets and TOML."""

__all__ = [
    "CROSSBAR_WEIGHTS",
    "DATAFLOWS",
    "SIMD_FORMATS",
    "WEIGHT_FORMATS",
    "Adc",
    "Cell",
    "CellOutput",
    "Crossbar",
    "Dac",
    "Device",
    "LaneMode",
    "Machine",
    "Memory",
    "RampAdc",
    "ShiftArray",
    "SimdEngine",
    "Technology",
    "changed",
    "devices",
    "from_dict",
    "load",
    "load_crossbar",
    "load_shift_array",
    "load_simd_engine",
    "presets",
    "technologies",
    "to_dict",
    "to_toml",
]

from tetrit.hardware.converters import Adc, Dac
from tetrit.hardware.crossbar import CROSSBAR_WEIGHTS, Crossbar
from tetrit.hardware.device import Device, devices
from tetrit.hardware.memory import Memory
from tetrit.hardware.ramp import RampAdc
from tetrit.hardware.shift_array import DATAFLOWS, WEIGHT_FORMATS, ShiftArray
from tetrit.hardware.simd_engine import SIMD_FORMATS, LaneMode, SimdEngine
from tetrit.hardware.technology import Cell, CellOutput, Technology, technologies
from tetrit.hardware.toml import (
    Machine,
    changed,
    from_dict,
    load,
    load_crossbar,
    load_shift_array,
    load_simd_engine,
    presets,
    to_dict,
    to_toml,
)
