"""Arithmetic, comparisons and functions of single elements."""

__all__ = ["erf"]

from functools import reduce

import numpy as np

from tetrit.errors import ToolError
from tetrit.hls.graph.ir import Node
from tetrit.hls.graph.operators.common import OPERATORS, Array, Kernel, converted, operator


def _unary(ufunc: np.ufunc) -> Kernel:
    return lambda node, x: ufunc(x)


def _binary(ufunc: np.ufunc) -> Kernel:
    return lambda node, a, b: ufunc(a, b)


def _variadic(ufunc: np.ufunc) -> Kernel:
    return lambda node, *xs: reduce(ufunc, xs)


OPERATORS |= {
    "Abs": _unary(np.abs),
    "Acos": _unary(np.arccos),
    "Acosh": _unary(np.arccosh),
    "Asin": _unary(np.arcsin),
    "Asinh": _unary(np.arcsinh),
    "Atan": _unary(np.arctan),
    "Atanh": _unary(np.arctanh),
    "Ceil": _unary(np.ceil),
    "Cos": _unary(np.cos),
    "Cosh": _unary(np.cosh),
    "Exp": _unary(np.exp),
    "Floor": _unary(np.floor),
    "IsNaN": _unary(np.isnan),
    "Log": _unary(np.log),
    "Neg": _unary(np.negative),
    "Not": _unary(np.logical_not),
    "Round": _unary(np.rint),
    "Sign": _unary(np.sign),
    "Sin": _unary(np.sin),
    "Sinh": _unary(np.sinh),
    "Sqrt": _unary(np.sqrt),
    "Tan": _unary(np.tan),
    "Add": _binary(np.add),
    "Sub": _binary(np.subtract),
    "Mul": _binary(np.multiply),
    "And": _binary(np.logical_and),
    "Or": _binary(np.logical_or),
    "Xor": _binary(np.logical_xor),
    "Equal": _binary(np.equal),
    "Greater": _binary(np.greater),
    "GreaterOrEqual": _binary(np.greater_equal),
    "Less": _binary(np.less),
    "LessOrEqual": _binary(np.less_equal),
    "Max": _variadic(np.maximum),
    "Min": _variadic(np.minimum),
    "Sum": _variadic(np.add),
}


@operator("Div")
def div(node: Node, a: Array, b: Array) -> Array:
    if np.issubdtype(a.dtype, np.integer):  # ONNX rounds toward zero, numpy down; a division by 0 gives 0
        return np.asarray(np.floor_divide(a - np.fmod(a, b), b))
    return np.asarray(a / b)


@operator("Mod")
def mod(node: Node, a: Array, b: Array) -> Array:
    return np.asarray(np.fmod(a, b) if node.attributes.get("fmod", 0) else np.mod(a, b))


@operator("Pow")
def pow_(node: Node, x: Array, exponent: Array) -> Array:
    if np.issubdtype(exponent.dtype, np.integer) and exponent.size and exponent.min() < 0:
        exponent = exponent.astype(np.float64)
    if np.issubdtype(x.dtype, np.integer) and np.issubdtype(exponent.dtype, np.integer):
        return np.power(x, exponent).astype(x.dtype)
    if exponent.size == 1 and exponent.item() == 2:
        return np.multiply(x, x).reshape(np.broadcast_shapes(x.shape, exponent.shape))
    return converted(np.power(x, exponent.astype(np.result_type(x, np.float16))), x.dtype)


@operator("Mean")
def mean(node: Node, *xs: Array) -> Array:
    return np.asarray(reduce(np.add, xs) / xs[0].dtype.type(len(xs)))


@operator("Reciprocal")
def reciprocal(node: Node, x: Array) -> Array:
    return np.asarray(x.dtype.type(1) / x)


@operator("Erf")
def erf(node: Node, x: Array) -> Array:
    """Return the error function."""
    try:
        from scipy.special import erf as function
    except ImportError:
        raise ToolError("the error function (Erf, Gelu) needs scipy; pip install 'tetrit[run]'") from None

    return np.asarray(function(x)).astype(x.dtype, copy=False)


@operator("IsInf")
def is_inf(node: Node, x: Array) -> Array:
    positive = bool(node.attributes.get("detect_positive", 1))
    negative = bool(node.attributes.get("detect_negative", 1))
    return np.asarray((np.isposinf(x) & positive) | (np.isneginf(x) & negative))


@operator("Clip")
def clip(node: Node, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    lowest = node.attributes.get("min") if low is None else low
    highest = node.attributes.get("max") if high is None else high
    if lowest is None and highest is None:
        return x
    least, most = (None if bound is None else np.asarray(bound, x.dtype) for bound in (lowest, highest))
    return np.asarray(np.clip(x, least, most))


@operator("Where")
def where(node: Node, condition: Array, a: Array, b: Array) -> Array:
    return np.where(condition, a, b)


@operator("CumSum")
def cumulative_sum(node: Node, x: Array, axis: Array) -> Array:
    place = int(axis.item())
    backward = bool(node.attributes.get("reverse", 0))
    ordered = np.flip(x, place) if backward else x
    total = np.cumsum(ordered, axis=place, dtype=x.dtype)
    if node.attributes.get("exclusive", 0):
        total = total - ordered
    return np.flip(total, place) if backward else total
