"""Frozen descriptions of machines, memories and technologies; presets and TOML."""

__all__ = ["DATAFLOWS", "WEIGHT_FORMATS", "Memory", "ShiftArray", "from_dict", "load", "presets", "to_dict", "to_toml"]

from tetrit.hardware.memory import Memory
from tetrit.hardware.shift_array import DATAFLOWS, WEIGHT_FORMATS, ShiftArray
from tetrit.hardware.toml import from_dict, load, presets, to_dict, to_toml
