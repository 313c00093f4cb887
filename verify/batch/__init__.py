"""Executable models as shared libraries: whole arrays of inputs through a design in one call, without a coroutine."""

__all__ = [
    "BatchCoprocessor",
    "BatchModel",
    "Library",
    "StitchedModel",
    "build_library",
    "coprocessor_source",
    "in_lanes",
    "sliced",
]

from tetrit.verify.batch.coprocessor import BatchCoprocessor, coprocessor_source
from tetrit.verify.batch.library import Library, build_library
from tetrit.verify.batch.model import BatchModel
from tetrit.verify.batch.slicing import in_lanes, sliced
from tetrit.verify.batch.stitching import StitchedModel
