"""Shared scales: block formats with a straight-through gradient, dynamic fixed point, and the sorting of channels."""

__all__ = [
    "DFP",
    "BlockQuantizer",
    "KSorted",
    "dfp_accumulate",
    "dfp_down_convert",
    "dfp_matmul",
    "k_sort",
]

from tetrit.estimators.blocks.block import BlockQuantizer
from tetrit.estimators.blocks.dfp import DFP, dfp_accumulate, dfp_down_convert, dfp_matmul
from tetrit.estimators.blocks.sorting import KSorted, k_sort
