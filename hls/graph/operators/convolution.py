"""Convolutions: lowered to matrix products, depthwise ones tap by tap."""

__all__ = ["COLUMN_BYTES", "convolve", "padded", "taps"]

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tetrit.hls.graph.ir import Node
from tetrit.hls.graph.operators.common import Array, operator, sum_dtype
from tetrit.hls.graph.windows import Windows, transposed_padding, windows

COLUMN_BYTES = 1 << 22
"""About how many bytes of lowered input (im2col) are made at a time: few enough to stay in the cache."""


def padded(x: Array, begin: Sequence[int], end: Sequence[int], value: Any = 0) -> Array:
    """Return `x` with its spatial axes (all but two) padded; negative padding cuts."""
    if not any(begin) and not any(end):
        return x
    sizes = [n + b + e for n, b, e in zip(x.shape[2:], begin, end, strict=True)]
    result = np.full((*x.shape[:2], *sizes), value, x.dtype)
    to = [
        slice(max(b, 0), max(b, 0) + min(n + min(b, 0), s - max(b, 0)))
        for n, b, s in zip(x.shape[2:], begin, sizes, strict=True)
    ]
    of = [slice(max(-b, 0), max(-b, 0) + t.stop - t.start) for b, t in zip(begin, to, strict=True)]
    every = (slice(None), slice(None))
    result[(*every, *to)] = x[(*every, *of)]
    return result


def taps(at: Windows, rows: slice = slice(None)) -> Any:
    """Yield (index within the kernel, slices of the padded input) for every element of a window.

    The slices pick that element of all windows, or of those whose first index is within `rows`.
    """
    first = range(at.out[0])[rows]
    for tap in itertools.product(*map(range, at.kernel)):
        cuts = []
        for axis, t in enumerate(tap):
            begin, count = (first.start, len(first)) if axis == 0 else (0, at.out[axis])
            start = t * at.dilation[axis] + begin * at.stride[axis]
            cuts.append(slice(start, start + (count - 1) * at.stride[axis] + 1, at.stride[axis]))
        yield tap, tuple(cuts)


def _depthwise(x: Array, w: Array, at: Windows) -> Array:
    from tetrit.hls.graph.operators._kernels import depthwise

    result = np.zeros((x.shape[0], w.shape[0], *at.out), x.dtype)
    if len(at.out) == 1:  # a plane of height 1
        rows, flat = result[:, :, None], x[:, :, None]
        depthwise(np.ascontiguousarray(flat), w.copy(), _pair((1, *at.stride)), _pair((1, *at.dilation)), rows)
    elif len(at.out) == 2:
        depthwise(np.ascontiguousarray(x), w[:, 0].copy(), _pair(at.stride), _pair(at.dilation), result)
    else:
        spread = np.repeat(x, w.shape[0] // x.shape[1], axis=1)
        for tap, cuts in taps(at):
            result += spread[(..., *cuts)] * w[(slice(None), 0, *tap)].reshape(-1, *(1,) * len(at.out))
    return result


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    height, width = sizes
    return height, width


def _lowered(x: Array, w: Array, at: Windows, groups: int) -> Array:
    """Multiply weights by columns, a block of output rows at a time."""
    depth, n = w.shape[1], w.shape[0] // groups
    k, row = math.prod(w.shape[1:]), math.prod(at.out[1:])
    weight = np.ascontiguousarray(w.reshape(groups, n, k))
    result = np.empty((x.shape[0], groups, n, at.out[0] * row), x.dtype)
    plain = all(size == 1 for size in (*at.kernel, *at.stride))
    step = max(COLUMN_BYTES // max(k * row * x.itemsize, 1), 1)
    for image, group in itertools.product(range(x.shape[0]), range(groups)):
        source = x[image, group * depth : (group + 1) * depth]
        if plain:
            np.matmul(weight[group], source.reshape(depth, -1), out=result[image, group])
            continue
        for start in range(0, at.out[0], step):
            stop = min(start + step, at.out[0])
            columns = np.empty((depth, *at.kernel, stop - start, *at.out[1:]), x.dtype)
            for tap, cuts in taps(at, slice(start, stop)):
                columns[(slice(None), *tap)] = source[(slice(None), *cuts)]
            block = result[image, group, :, start * row : stop * row]
            np.matmul(weight[group], columns.reshape(k, -1), out=block)
    return result.reshape(x.shape[0], w.shape[0], *at.out)


def convolve(x: Array, w: Array, at: Windows, groups: int) -> Array:
    """Return the convolution without bias, in the dtype of `x`."""
    wide = sum_dtype(x.dtype)
    x, w = padded(x, at.begin, at.last).astype(wide, copy=False), w.astype(wide, copy=False)
    if groups == x.shape[1] and groups > 1:
        return _depthwise(x, w, at)
    return _lowered(x, w, at, groups)


@operator("Conv")
def conv(node: Node, x: Array, w: Array, bias: Array | None = None) -> Array:
    at = windows(node, x.shape[2:], w.shape[2:])
    result = convolve(x, w, at, node.attributes.get("group", 1))
    if bias is not None:
        result += bias.reshape(-1, *(1,) * len(at.out))
    return result.astype(x.dtype, copy=False)


@operator("ConvInteger")
def conv_integer(node: Node, x: Array, w: Array, x_zero: Array | None = None, w_zero: Array | None = None) -> Array:
    at = windows(node, x.shape[2:], w.shape[2:])
    # float64 is exact: products below 2**16 would need 2**37 terms to reach 2**53
    a = x.astype(np.float64) - (0.0 if x_zero is None else x_zero)
    zero = 0.0 if w_zero is None else w_zero.reshape(-1, *(1,) * (w.ndim - 1))
    return convolve(a, w.astype(np.float64) - zero, at, node.attributes.get("group", 1)).astype(np.int32)


@operator("ConvTranspose")
def conv_transpose(node: Node, x: Array, w: Array, bias: Array | None = None) -> Array:
    groups = node.attributes.get("group", 1)
    kernel = w.shape[2:]
    out, begin, stride, dilation = transposed_padding(node, x.shape[2:], kernel)
    wide = sum_dtype(x.dtype)
    depth, n, places = w.shape[0] // groups, w.shape[1], math.prod(x.shape[2:])
    weight = w.reshape(groups, depth, -1).transpose(0, 2, 1).astype(wide)
    spread = weight @ x.reshape(x.shape[0], groups, depth, places).astype(wide, copy=False)
    spread = spread.reshape(x.shape[0], groups, n, *kernel, *x.shape[2:])
    full = [
        (size - 1) * s + (k - 1) * d + 1 for size, s, k, d in zip(x.shape[2:], stride, kernel, dilation, strict=True)
    ]
    total = np.zeros((x.shape[0], groups, n, *full), wide)
    for tap in itertools.product(*map(range, kernel)):
        cuts = [
            slice(t * d, t * d + (size - 1) * s + 1, s)
            for t, d, size, s in zip(tap, dilation, x.shape[2:], stride, strict=True)
        ]
        every = (slice(None), slice(None), slice(None))
        total[(*every, *cuts)] += spread[(*every, *tap)]
    end = [o - f + b for o, f, b in zip(out, full, begin, strict=True)]
    result = padded(total.reshape(x.shape[0], groups * n, *full), [-b for b in begin], end)
    if bias is not None:
        result = result + bias.reshape(-1, *(1,) * len(out))
    return result.astype(x.dtype, copy=False)
