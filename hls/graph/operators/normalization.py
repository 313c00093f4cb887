"""Normalisations."""

__all__: list[str] = []

import numpy as np

from tetrit.hls.graph.ir import Node
from tetrit.hls.graph.operators.common import Array, converted, operator, sum_dtype


def _per_channel(parameter: Array, x: Array) -> Array:
    return parameter.reshape(1, -1, *(1,) * (x.ndim - 2))


@operator("BatchNormalization")
def batch_normalization(node: Node, x: Array, scale: Array, bias: Array, mean: Array, variance: Array) -> Array:
    factor = scale / np.sqrt(variance + variance.dtype.type(node.attributes.get("epsilon", 1e-5)))
    result = x * _per_channel(factor, x)
    result += _per_channel(bias - mean * factor, x)
    return result.astype(x.dtype, copy=False)


def _standard(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    """Return (standardised, mean, 1 / deviation) over axes, computed in float32 or wider."""
    wide = x.astype(sum_dtype(x.dtype), copy=False)
    mean = wide.mean(axis=axes, keepdims=True)
    centred = wide - mean
    inverse = 1 / np.sqrt((centred * centred).mean(axis=axes, keepdims=True) + wide.dtype.type(epsilon))
    centred *= inverse
    return centred, mean, inverse


@operator("LayerNormalization")
def layer_normalization(node: Node, x: Array, scale: Array, bias: Array | None = None) -> tuple[Array, ...]:
    axes = tuple(range(node.attributes.get("axis", -1) % x.ndim, x.ndim))
    normal, mean, inverse = _standard(x, axes, node.attributes.get("epsilon", 1e-5))
    result = normal.astype(x.dtype, copy=False) * scale
    if bias is not None:
        result = result + bias
    return result.astype(x.dtype, copy=False), mean.astype(np.float32), inverse.astype(np.float32)


@operator("RMSNormalization")
def rms_normalization(node: Node, x: Array, scale: Array) -> Array:
    axes = tuple(range(node.attributes.get("axis", -1) % x.ndim, x.ndim))
    wide = x.astype(sum_dtype(x.dtype), copy=False)
    mean = (wide * wide).mean(axis=axes, keepdims=True) + wide.dtype.type(node.attributes.get("epsilon", 1e-5))
    return converted(converted(wide / np.sqrt(mean), x.dtype) * scale, x.dtype)


@operator("GroupNormalization", "InstanceNormalization")
def group_normalization(node: Node, x: Array, scale: Array, bias: Array) -> Array:
    groups = node.attributes.get("num_groups", x.shape[1])
    split = x.reshape(x.shape[0], groups, -1)
    normal = _standard(split, (2,), node.attributes.get("epsilon", 1e-5))[0].reshape(x.shape).astype(x.dtype)
    return np.asarray(normal * _per_channel(scale, x) + _per_channel(bias, x)).astype(x.dtype, copy=False)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(node: Node, x: Array) -> Array:
    axes = tuple(node.attributes.get("axes", (0, 2, 3)))
    centred = x - x.mean(axis=axes, keepdims=True)
    deviation = np.sqrt((centred * centred).mean(axis=axes, keepdims=True))
    return np.asarray(centred / (deviation + x.dtype.type(1e-9)))


@operator("LpNormalization")
def lp_normalization(node: Node, x: Array) -> Array:
    order, axis = node.attributes.get("p", 2), node.attributes.get("axis", -1)
    norm = np.linalg.norm(x, ord=order, axis=axis, keepdims=True).astype(x.dtype)
    return np.where(norm == 0, 0, x / norm).astype(x.dtype)


@operator("LRN")
def local_response_normalization(node: Node, x: Array) -> Array:
    size = node.attributes["size"]
    alpha, beta = node.attributes.get("alpha", 1e-4), node.attributes.get("beta", 0.75)
    before = (size - 1) // 2
    total = np.zeros((x.shape[0], x.shape[1] + 1, *x.shape[2:]), np.float64)
    np.cumsum(np.square(x, dtype=np.float64), axis=1, out=total[:, 1:])
    channel = np.arange(x.shape[1])
    first, last = np.maximum(channel - before, 0), np.minimum(channel + size - before, x.shape[1])
    squares = total[:, last] - total[:, first]
    return converted(x / (node.attributes.get("bias", 1.0) + alpha / size * squares) ** beta, x.dtype)
