"""Lowering of QuantizeLinear, DequantizeLinear and QONNX's Quant: quantisations that the network states."""

__all__: list[str] = []

import numpy as np

from tetrit.hls.graph import Node
from tetrit.hls.integer.lowering.constants import integer_range, quant_range, quant_rounding
from tetrit.hls.integer.lowering.steps import Given, UnsupportedError
from tetrit.hls.integer.lowering.walk import Walk, handles


@handles("QuantizeLinear")
def _quantize(walk: Walk, node: Node) -> None:
    if walk.constants.dequantize(node):
        return
    scale, zero = _numbers(walk, node)
    low, high, _ = integer_range(walk.constants.zero_dtype(node))
    _state(walk, node, scale, low - zero, high - zero)


@handles("DequantizeLinear")
def _dequantize(walk: Walk, node: Node) -> None:
    if walk.constants.dequantize(node):
        return
    flow = walk.flow(node.input(0))
    scale, _ = _numbers(walk, node)
    if flow.functions:
        walk.extend(node, flow, flow.given)
        return
    given = walk.ties.given(flow.root)
    if given is None or not np.isclose(given.scale, scale, rtol=1e-6):
        raise UnsupportedError("its scale must be that of the QuantizeLinear before it")
    walk.alias(node, flow)


@handles("Quant")
def _quant(walk: Walk, node: Node) -> None:
    if walk.constants.dequantize(node):
        return
    if quant_rounding(node) is not np.rint:
        raise UnsupportedError("`rounding_mode` of an activation must be ROUND")
    scale, zero = (
        np.asarray(walk.constants.need(node, node.input(place), name)) for place, name in ((1, "scale"), (2, "zeropt"))
    )
    if scale.size != 1 or zero.size != 1 or float(zero.reshape(())) != int(zero.reshape(())):
        raise UnsupportedError("an activation must have one scale and one whole zero point")
    low, high = quant_range(node, walk.constants)
    offset = int(zero.reshape(()))
    _state(walk, node, float(scale.reshape(())), low - offset, high - offset)


@handles("BipolarQuant")
def _bipolar(walk: Walk, node: Node) -> None:
    if not walk.constants.dequantize(node):
        raise UnsupportedError("only weights may be bipolar")


def _numbers(walk: Walk, node: Node) -> tuple[float, int]:
    scale = np.asarray(walk.constants.need(node, node.input(1), "scale"), dtype=np.float64)
    zero = np.asarray(0 if not node.input(2) else walk.constants.need(node, node.input(2), "zero_point"))
    if scale.size != 1 or zero.size != 1:
        raise UnsupportedError("an activation must have one scale")
    return float(scale.reshape(())), int(zero.reshape(()))


def _state(walk: Walk, node: Node, scale: float, low: int, high: int) -> None:
    """Give a value a quantisation; where it has another one already, a table takes it there."""
    bits = max((-low - 1).bit_length() if low < 0 else 0, high.bit_length()) + 1
    if not 2 <= bits <= 16:
        raise UnsupportedError(f"its integers, without the zero point, must take 2 to 16 bits, got {low}..{high}")
    given = Given(scale=scale, format=f"int{bits}", low=low, high=high)
    flow = walk.flow(node.input(0))
    if flow.functions:  # the table that this becomes may grow, as where x * sigmoid(x) has its sigmoid quantised
        walk.extend(node, flow, given)
    else:
        walk.alias(node, walk.quantized(walk.make(node.input(0)), given, node.output(0)))
