"""The machines as Amaranth components, their Verilog, their synthesis and switching; independent of the simulators."""

__all__ = [
    "Activity",
    "Downsizer",
    "Energy",
    "FpgaMapping",
    "LibertyError",
    "MatmulCoprocessor",
    "ModuleArea",
    "Requantizer",
    "SZTDecoder",
    "SZTEncoder",
    "ShiftPE",
    "ShiftPEArray",
    "SimdArray",
    "SimdMac",
    "SimdReadout",
    "Synthesis",
    "Upsizer",
    "WeightDecoder",
    "build",
    "components",
    "default_machine",
    "full_name",
    "load_technology",
    "map_fpga",
    "read_activity",
    "read_saif",
    "read_vcd",
    "require_energy",
    "simulate",
    "synthesize",
    "to_verilog",
]

from tetrit.rtl.activity import Activity, simulate
from tetrit.rtl.activity_files import read_activity
from tetrit.rtl.components import build, components, default_machine, full_name
from tetrit.rtl.coprocessor import MatmulCoprocessor
from tetrit.rtl.energy import Energy, require_energy
from tetrit.rtl.fpga import FpgaMapping, map_fpga
from tetrit.rtl.gearbox import Downsizer, Upsizer
from tetrit.rtl.liberty_syntax import LibertyError
from tetrit.rtl.requantizer import Requantizer
from tetrit.rtl.saif import read_saif
from tetrit.rtl.shift_array import ShiftPEArray
from tetrit.rtl.shift_pe import ShiftPE
from tetrit.rtl.simd import SimdArray, SimdMac, SimdReadout
from tetrit.rtl.synthesis import ModuleArea, Synthesis, load_technology, synthesize
from tetrit.rtl.szt import SZTDecoder, SZTEncoder
from tetrit.rtl.vcd import read_vcd
from tetrit.rtl.verilog import to_verilog
from tetrit.rtl.weights import WeightDecoder
