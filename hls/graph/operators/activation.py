"""Activation functions, among them those over an axis."""

__all__ = ["sigmoid", "softmax_of"]

import math

import numpy as np

from tetrit.hls.graph.ir import Node
from tetrit.hls.graph.operators.common import Array, converted, operator, sum_dtype
from tetrit.hls.graph.operators.elementwise import erf

_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


@operator("Relu")
def relu(node: Node, x: Array) -> Array:
    return np.asarray(np.maximum(x, x.dtype.type(0)))


@operator("LeakyRelu")
def leaky_relu(node: Node, x: Array) -> Array:
    return np.where(x < 0, x * x.dtype.type(node.attributes.get("alpha", 0.01)), x)


@operator("PRelu")
def parametric_relu(node: Node, x: Array, slope: Array) -> Array:
    return np.where(x < 0, x * slope, x).astype(x.dtype, copy=False)


@operator("ThresholdedRelu")
def thresholded_relu(node: Node, x: Array) -> Array:
    return np.where(x > node.attributes.get("alpha", 1.0), x, x.dtype.type(0))


@operator("Shrink")
def shrink(node: Node, x: Array) -> Array:
    border, bias = node.attributes.get("lambd", 0.5), node.attributes.get("bias", 0.0)
    inner = np.where(x > border, x - bias, 0)
    return np.where(x < -border, x + bias, inner).astype(x.dtype)


@operator("Sigmoid")
def sigmoid(node: Node | None, x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    one = x.dtype.type(1)
    return np.asarray(one / (one + np.exp(-x)))


@operator("Tanh")
def tanh(node: Node, x: Array) -> Array:
    return np.asarray(np.tanh(x))


@operator("HardSigmoid")
def hard_sigmoid(node: Node, x: Array) -> Array:
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return converted(np.clip(x * x.dtype.type(alpha) + x.dtype.type(beta), 0, 1), x.dtype)


@operator("HardSwish")
def hard_swish(node: Node, x: Array) -> Array:
    return np.asarray(x * np.clip(x * x.dtype.type(1 / 6) + x.dtype.type(0.5), 0, 1)).astype(x.dtype, copy=False)


@operator("Swish")
def swish(node: Node, x: Array) -> Array:
    return np.asarray(x * sigmoid(None, x * x.dtype.type(node.attributes.get("alpha", 1.0))))


@operator("Elu")
def elu(node: Node, x: Array) -> Array:
    alpha = x.dtype.type(node.attributes.get("alpha", 1.0))
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


@operator("Celu")
def celu(node: Node, x: Array) -> Array:
    alpha = x.dtype.type(node.attributes.get("alpha", 1.0))
    return np.asarray(np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha)))


@operator("Selu")
def selu(node: Node, x: Array) -> Array:
    alpha = x.dtype.type(node.attributes.get("alpha", _SELU_ALPHA))
    gamma = x.dtype.type(node.attributes.get("gamma", _SELU_GAMMA))
    return np.asarray(gamma * np.where(x <= 0, alpha * np.expm1(np.minimum(x, 0)), x))


@operator("Softplus")
def softplus(node: Node, x: Array) -> Array:
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


@operator("Softsign")
def softsign(node: Node, x: Array) -> Array:
    return np.asarray(x / (x.dtype.type(1) + np.abs(x)))


@operator("Mish")
def mish(node: Node, x: Array) -> Array:
    return np.asarray(x * np.tanh(softplus(node, x)))


@operator("Gelu")
def gelu(node: Node, x: Array) -> Array:
    kind = x.dtype.type
    if node.attributes.get("approximate", "none") == "tanh":
        inner = kind(math.sqrt(2 / math.pi)) * (x + kind(0.044715) * x * x * x)
        return np.asarray(kind(0.5) * x * (kind(1) + np.tanh(inner)))
    return np.asarray(kind(0.5) * x * (kind(1) + erf(node, x * kind(math.sqrt(0.5)))))


def softmax_of(x: Array, axis: int) -> Array:
    """Return the softmax along an axis; a slice that is -inf throughout gives zeros."""
    wide = x.astype(sum_dtype(x.dtype), copy=False)
    if not x.size:
        return x
    most = wide.max(axis=axis, keepdims=True)
    most = np.where(np.isneginf(most), 0, most).astype(wide.dtype)
    powers = np.exp(wide - most)
    total = powers.sum(axis=axis, keepdims=True)
    powers /= np.where(total == 0, 1, total).astype(wide.dtype)
    return converted(powers, x.dtype)


@operator("Softmax")
def softmax(node: Node, x: Array) -> Array:
    return softmax_of(x, node.attributes.get("axis", -1))


@operator("LogSoftmax")
def log_softmax(node: Node, x: Array) -> Array:
    axis = node.attributes.get("axis", -1)
    wide = x.astype(sum_dtype(x.dtype), copy=False)
    if not x.size:
        return x
    shifted = wide - wide.max(axis=axis, keepdims=True)
    return converted(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)), x.dtype)


@operator("Hardmax")
def hardmax(node: Node, x: Array) -> Array:
    axis = node.attributes.get("axis", -1)
    result = np.zeros_like(x)
    np.put_along_axis(result, np.expand_dims(x.argmax(axis=axis), axis), 1, axis)
    return result
