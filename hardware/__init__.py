"""Frozen descriptions of machines, memories and cell libraries; presets and TOML."""

__all__ = [
    "DATAFLOWS",
    "WEIGHT_FORMATS",
    "Cell",
    "CellOutput",
    "Memory",
    "ShiftArray",
    "Technology",
    "from_dict",
    "load",
    "presets",
    "technologies",
    "to_dict",
    "to_toml",
]

from tetrit.hardware.memory import Memory
from tetrit.hardware.shift_array import DATAFLOWS, WEIGHT_FORMATS, ShiftArray
from tetrit.hardware.technology import Cell, CellOutput, Technology, technologies
from tetrit.hardware.toml import from_dict, load, presets, to_dict, to_toml
