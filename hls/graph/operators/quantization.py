"""Quantisation: ONNX's linear quantisation and integer products, and the nodes of QONNX."""

__all__ = ["INTEGER_RANGES", "integer_range", "qonnx_range"]

from collections.abc import Callable
from typing import Any

import numpy as np

from tetrit.errors import InvalidValueError
from tetrit.hls.graph.ir import Node
from tetrit.hls.graph.operators.common import Array, converted, operator
from tetrit.hls.graph.operators.convolution import conv_integer
from tetrit.hls.graph.operators.product import matmul_integer
from tetrit.hls.graph.rules.elementwise import STORED

INTEGER_RANGES = {
    f"{'' if signed else 'u'}int{bits}": (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    for bits in (2, 4, 8, 16)
    for signed in (True, False)
}
"""Least and greatest integer that QuantizeLinear saturates to."""


def integer_range(node: Node, zero: Array | None) -> tuple[int, int]:
    """Return the range of a QuantizeLinear node: `output_dtype` if given, else the dtype of its zero point."""
    return INTEGER_RANGES[node.attributes.get("output_dtype") or ("uint8" if zero is None else zero.dtype.name)]


def _spread(node: Node, parameter: Array, x: Array) -> Array:
    """Return a scale or zero point so that it broadcasts: one, one per index of the axis, or one per block."""
    if parameter.size == 1:
        return parameter.reshape(())
    axis, block = node.attributes.get("axis", 1), node.attributes.get("block_size", 0)
    if parameter.ndim > 1 or block:
        if parameter.ndim != x.ndim:
            raise InvalidValueError(f"{node}: a scale per block must have {x.ndim} axes, got {list(parameter.shape)}")
        return np.take(np.repeat(parameter, block or 1, axis=axis), range(x.shape[axis]), axis=axis)
    axis %= x.ndim
    if parameter.size != x.shape[axis]:
        raise InvalidValueError(f"{node}: axis {axis} of {list(x.shape)} needs as many scales, got {parameter.size}")
    return parameter.reshape(-1, *(1,) * (x.ndim - axis - 1))


def _stored(integers: Array, low: int, high: int, dtype: str) -> Array:
    """Saturate; a NaN, of which ONNX says nothing, becomes the integer nearest to 0."""
    return converted(np.clip(np.nan_to_num(integers, nan=0.0, posinf=np.inf, neginf=-np.inf), low, high), dtype)


@operator("QuantizeLinear")
def quantize_linear(node: Node, x: Array, scale: Array, zero: Array | None = None) -> Array:
    low, high = integer_range(node, zero)
    dtype = STORED[node.attributes.get("output_dtype") or "uint8"] if zero is None else zero.dtype.name
    precision = node.attributes.get("precision") or np.result_type(x.dtype, scale.dtype)
    ratio = x.astype(precision) / _spread(node, scale, x).astype(precision)
    shift = 0 if zero is None else _spread(node, zero, x).astype(np.float64)
    return _stored(np.rint(ratio).astype(np.float64) + shift, low, high, dtype)


@operator("DequantizeLinear")
def dequantize_linear(node: Node, x: Array, scale: Array, zero: Array | None = None) -> Array:
    shift = np.float32(0) if zero is None else _spread(node, zero, x).astype(np.float32)
    real = (x.astype(np.float32) - shift) * _spread(node, scale, x)
    return np.asarray(real).astype(node.attributes.get("output_dtype") or scale.dtype)


@operator("DynamicQuantizeLinear")
def dynamic_quantize_linear(node: Node, x: Array) -> tuple[Array, Array, Array]:
    low, high = min(x.min(initial=0), x.dtype.type(0)), max(x.max(initial=0), x.dtype.type(0))
    scale = np.asarray((high - low) / np.float32(255), np.float32)
    divisor = scale if scale else np.float32(1)
    zero = np.asarray(np.clip(np.rint(-low / divisor), 0, 255), np.uint8)
    return _stored(np.rint(x / divisor).astype(np.float64) + zero, 0, 255, "uint8"), scale, zero


def _requantized(node: Node, total: Array, factor: Array, zero: Array) -> Array:
    low, high = INTEGER_RANGES[zero.dtype.name]
    return _stored(np.rint(total.astype(np.float32) * factor).astype(np.float64) + zero, low, high, zero.dtype.name)


@operator("QLinearMatMul")
def q_linear_matmul(
    node: Node,
    a: Array,
    a_scale: Array,
    a_zero: Array,
    b: Array,
    b_scale: Array,
    b_zero: Array,
    y_scale: Array,
    y_zero: Array,
) -> Array:
    return _requantized(node, matmul_integer(node, a, b, a_zero, b_zero), a_scale * b_scale / y_scale, y_zero)


@operator("QLinearConv")
def q_linear_conv(
    node: Node,
    x: Array,
    x_scale: Array,
    x_zero: Array,
    w: Array,
    w_scale: Array,
    w_zero: Array,
    y_scale: Array,
    y_zero: Array,
    bias: Array | None = None,
) -> Array:
    channel = (-1, *(1,) * (x.ndim - 2))
    total = conv_integer(node, x, w, x_zero, w_zero).astype(np.int64)
    if bias is not None:
        total = total + bias.reshape(channel)
    factor = x_scale * w_scale / y_scale
    return _requantized(node, total, factor.reshape(channel) if factor.size > 1 else factor, y_zero)


def _round_half(x: Array, up: bool) -> Array:
    """Round to the nearest integer, ties away from zero or toward it."""
    size = np.abs(x)
    return np.copysign(np.floor(size + 0.5) if up else np.ceil(size - 0.5), x)


_ROUNDINGS: dict[str, Callable[[Array], Any]] = {
    "ROUND": np.rint,
    "HALF_EVEN": np.rint,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": lambda x: np.copysign(np.ceil(np.abs(x)), x),
    "DOWN": np.trunc,
    "HALF_UP": lambda x: _round_half(x, up=True),
    "HALF_DOWN": lambda x: _round_half(x, up=False),
}


def _rounded(node: Node, x: Array, default: str) -> Array:
    mode = str(node.attributes.get("rounding_mode", default)).upper()
    return np.asarray(_ROUNDINGS[mode](x))


def qonnx_range(node: Node, bits: Array) -> tuple[Array, Array]:
    """Return the least and greatest integer of a Quant or Trunc node for its width in bits."""
    signed, narrow = bool(node.attributes.get("signed", 1)), bool(node.attributes.get("narrow", 0))
    width = bits.astype(np.float64)
    if signed:
        return -(2.0 ** (width - 1)) + narrow, 2.0 ** (width - 1) - 1
    return np.zeros_like(width), 2.0**width - 1 - narrow


@operator("Quant")
def quant(node: Node, x: Array, scale: Array, zero: Array, bits: Array) -> Array:
    y = x / scale + zero
    if bits.size == 1 and bits.item() == 1 and node.attributes.get("signed", 1):
        y = np.where(y >= 0, 1, -1).astype(x.dtype)
    else:
        low, high = qonnx_range(node, bits)
        y = _rounded(node, np.clip(y, low.astype(y.dtype), high.astype(y.dtype)), "ROUND")
    return np.asarray((y - zero) * scale).astype(x.dtype)


@operator("BipolarQuant")
def bipolar_quant(node: Node, x: Array, scale: Array) -> Array:
    return np.asarray(np.where(x >= 0, 1, -1) * scale).astype(x.dtype)


@operator("Trunc")
def trunc(node: Node, x: Array, scale: Array, zero: Array, in_bits: Array, *out: Array) -> Array:
    y = np.rint(x / scale + zero)
    if len(out) == 1:  # version 1: the bits that are dropped say by how much
        y = _rounded(node, y / 2.0 ** (in_bits.astype(np.float64) - out[0]), "FLOOR")
        return np.asarray((y - zero) * scale).astype(x.dtype)
    out_scale, out_bits = out
    step = 2.0 ** np.rint(np.log2(out_scale / scale))
    low, high = qonnx_range(node, out_bits)
    y = _rounded(node, np.clip(y / step, low, high), "FLOOR")
    return np.asarray((y - zero / step) * out_scale).astype(x.dtype)
