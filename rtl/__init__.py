"""The machines as Amaranth components, their Verilog and their synthesis; independent of the simulators on purpose."""

__all__ = [
    "Requantizer",
    "SZTDecoder",
    "SZTEncoder",
    "ShiftPE",
    "ShiftPEArray",
    "Synthesis",
    "WeightDecoder",
    "build",
    "components",
    "synthesize",
    "to_verilog",
]

from tetrit.rtl.components import build, components
from tetrit.rtl.requantizer import Requantizer
from tetrit.rtl.shift_array import ShiftPEArray
from tetrit.rtl.shift_pe import ShiftPE
from tetrit.rtl.synthesis import Synthesis, synthesize
from tetrit.rtl.szt import SZTDecoder, SZTEncoder
from tetrit.rtl.verilog import to_verilog
from tetrit.rtl.weights import WeightDecoder
