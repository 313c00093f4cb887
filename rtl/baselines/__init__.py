"""Multiply-accumulate elements that the machines' own are measured against, all with the same registers and ports."""

__all__ = [
    "ACCUMULATORS",
    "FloatFormat",
    "FloatMultiplyAdd",
    "IntegerMac",
    "MacArray",
    "MacElement",
    "QuireMac",
    "RoundingMac",
    "ShiftMac",
]

from tetrit.rtl.baselines.array import MacArray
from tetrit.rtl.baselines.element import MacElement
from tetrit.rtl.baselines.exact import IntegerMac, QuireMac, ShiftMac
from tetrit.rtl.baselines.fused import ACCUMULATORS, FloatFormat, FloatMultiplyAdd
from tetrit.rtl.baselines.rounding import RoundingMac
