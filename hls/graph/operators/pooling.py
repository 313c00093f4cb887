"""Pooling: windows are combined tap by tap."""

__all__: list[str] = []

import math

import numpy as np

from tetrit.hls.graph.ir import Node
from tetrit.hls.graph.operators.common import Array, converted, operator, sum_dtype
from tetrit.hls.graph.operators.convolution import padded, taps
from tetrit.hls.graph.windows import Windows, windows


def _lowest(x: Array) -> float | int:
    return -np.inf if np.issubdtype(x.dtype, np.floating) else int(np.iinfo(x.dtype).min)


@operator("MaxPool")
def max_pool(node: Node, x: Array) -> Array | tuple[Array, Array]:
    at = windows(node, x.shape[2:], node.attributes["kernel_shape"])
    wide = padded(x, at.begin, at.last, _lowest(x))
    if not node.output(1):
        result = np.full((*x.shape[:2], *at.out), _lowest(x), x.dtype)
        for _, cuts in taps(at):
            np.maximum(result, wide[(..., *cuts)], out=result)
        return result
    places = _places(x, at, bool(node.attributes.get("storage_order", 0)))
    best = np.full((*x.shape[:2], *at.out), _lowest(x), x.dtype)
    index = np.full(best.shape, -1, np.int64)
    for _, cuts in taps(at):
        found, place = wide[(..., *cuts)], places[cuts]
        better = (place >= 0) & ((index < 0) | (found > best))
        np.copyto(best, found, where=better)
        np.copyto(index, np.broadcast_to(place, best.shape), where=better)
    planes = np.arange(math.prod(x.shape[:2])).reshape(*x.shape[:2], *(1,) * len(at.out))
    return best, index + planes * math.prod(x.shape[2:])


def _places(x: Array, at: Windows, column_major: bool) -> Array:
    """Return the index of every place of the padded input within a plane of the input, -1 in the padding."""
    order = np.arange(math.prod(x.shape[2:])).reshape(x.shape[2:], order="F" if column_major else "C")
    return np.asarray(padded(order[None, None], at.begin, at.last, -1)[0, 0])


@operator("AveragePool")
def average_pool(node: Node, x: Array) -> Array:
    at = windows(node, x.shape[2:], node.attributes["kernel_shape"])
    wide = padded(x, at.begin, at.last).astype(sum_dtype(x.dtype), copy=False)
    result = np.zeros((*x.shape[:2], *at.out), wide.dtype)
    for _, cuts in taps(at):
        result += wide[(..., *cuts)]
    result /= _counts(at, bool(node.attributes.get("count_include_pad", 0))).astype(wide.dtype)
    return result.astype(x.dtype, copy=False)


def _counts(at: Windows, with_padding: bool) -> Array:
    """Return how many elements of each window count; what hangs over the padding never does."""
    counts = np.ones(at.out, np.int64)
    for axis, n in enumerate(at.out):
        place = np.arange(n)[:, None] * at.stride[axis] + np.arange(at.kernel[axis]) * at.dilation[axis]
        low = 0 if with_padding else at.begin[axis]
        high = at.begin[axis] + at.size[axis] + (at.end[axis] if with_padding else 0)
        inside = ((place >= low) & (place < high)).sum(axis=1)
        counts *= np.maximum(inside, 1).reshape(-1, *(1,) * (len(at.out) - axis - 1))
    return counts


@operator("LpPool")
def lp_pool(node: Node, x: Array) -> Array:
    at = windows(node, x.shape[2:], node.attributes["kernel_shape"])
    order = node.attributes.get("p", 2)
    wide = np.abs(padded(x, at.begin, at.last)) ** order
    result = np.zeros((*x.shape[:2], *at.out), wide.dtype)
    for _, cuts in taps(at):
        result += wide[(..., *cuts)]
    return converted(result ** (1 / order), x.dtype)


@operator("GlobalAveragePool")
def global_average_pool(node: Node, x: Array) -> Array:
    axes = tuple(range(2, x.ndim))
    return converted(x.mean(axis=axes, keepdims=True, dtype=sum_dtype(x.dtype)), x.dtype)


@operator("GlobalMaxPool")
def global_max_pool(node: Node, x: Array) -> Array:
    return np.asarray(x.max(axis=tuple(range(2, x.ndim)), keepdims=True))
