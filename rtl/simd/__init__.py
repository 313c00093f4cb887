"""The mixed-precision SIMD engine as hardware: shared datapath, quires, read-out, array, and its baselines."""

__all__ = [
    "OperandDecoder",
    "ResultEncoder",
    "SimdArray",
    "SimdMac",
    "SimdReadout",
    "TileMode",
    "UnionMac",
    "single_format",
]

from tetrit.rtl.simd.array import SimdArray, TileMode
from tetrit.rtl.simd.baselines import UnionMac, single_format
from tetrit.rtl.simd.decoders import OperandDecoder
from tetrit.rtl.simd.encoder import ResultEncoder
from tetrit.rtl.simd.mac import SimdMac
from tetrit.rtl.simd.readout import SimdReadout
