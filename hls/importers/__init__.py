"""Importers: networks of other tools as graphs. Each loads its tool only when it is called."""

__all__ = ["from_onnx", "from_torch"]

from tetrit.hls.importers.onnx import from_onnx
from tetrit.hls.importers.torch import from_torch
