"""Networks in integers: tensors with scales, exact nodes, graphs that run, and how float networks become them."""

__all__ = [
    "AveragePool",
    "Concat",
    "Given",
    "IntegerGraph",
    "IntegerNode",
    "IntegerTensor",
    "Lookup",
    "MaxPool",
    "Product",
    "Reshape",
    "Sum",
    "Window",
    "channels_first",
    "channels_last",
    "quantize",
]

from tetrit.hls.integer.base import IntegerNode
from tetrit.hls.integer.graph import IntegerGraph
from tetrit.hls.integer.layout import channels_first, channels_last
from tetrit.hls.integer.lowering import Given
from tetrit.hls.integer.quantize import quantize
from tetrit.hls.integer.tensor import IntegerTensor
from tetrit.hls.integer.types import AveragePool, Concat, Lookup, MaxPool, Product, Reshape, Sum
from tetrit.hls.integer.window import Window
