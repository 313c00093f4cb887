"""The slow reference of integer networks: loops over Python's integers that share nothing with the fast execution."""

__all__ = ["run", "under"]

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy.typing as npt

from tetrit import formats
from tetrit.hls.integer.graph import IntegerGraph
from tetrit.hls.integer.tensor import IntegerTensor
from tetrit.hls.integer.types import AveragePool, Concat, Lookup, MaxPool, Product, Reshape, Sum
from tetrit.hls.integer.window import Window

Values = list[int]
Tensors = Mapping[str, IntegerTensor]


def run(graph: IntegerGraph, x: Mapping[str, npt.NDArray[Any]]) -> dict[str, Values]:
    """Return all tensors of one sample, by name, as lists row by row.

    Parameters
    ----------
    graph : IntegerGraph
    x : mapping of str to ndarray of int
        Every input, without a batch.
    """
    values = {name: [int(v) for v in x[name].ravel()] for name in graph.inputs}
    for node in graph.nodes:
        values[node.output] = _RULES[type(node)](node, [values[name] for name in node.sources], graph.tensors)
    return values


def _floor_half(number: int, shift: int) -> int:
    """Round number / 2**shift to nearest, halves up."""
    return (2 * number + (1 << shift)) // (2 << shift)


def _fitted(value: int, tensor: IntegerTensor, relu: bool = False) -> int:
    bits = int(tensor.format[3:])
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    return min(max(value, 0 if relu else low), high)


def _weight_integer(fmt: str, code: int) -> int:
    known = formats.get(fmt)
    exact = Fraction(float(known.values[code])) / Fraction(2) ** known.lsb_exponent
    assert exact.denominator == 1
    return int(exact)


def under(window: Window, oy: int, ox: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (ky, kx, y, x) of pixels in the map under the kernel at a position."""
    height, width, _ = window.in_shape
    for ky in range(window.kernel[0]):
        for kx in range(window.kernel[1]):
            y = oy * window.stride[0] - window.padding[0] + ky * window.dilation[0]
            x = ox * window.stride[1] - window.padding[1] + kx * window.dilation[1]
            if 0 <= y < height and 0 <= x < width:
                yield ky, kx, y, x


def _product(node: Product, inputs: list[Values], tensors: Tensors) -> Values:
    (x,) = inputs
    out = tensors[node.output]
    results: Values = []
    window = node.window
    if window is None:
        k = node.weight.shape[0]
        for start in range(0, len(x), k):
            for n in range(node.weight.shape[1]):
                acc = sum(x[start + i] * _weight_integer(node.weight_format, node.weight[i, n]) for i in range(k))
                results.append(_finished(node, n, acc, out))
        return results
    _, width, channels = window.in_shape
    groups = window.groups
    each_in, weight = channels // groups, node.weight.reshape(groups, -1, node.weight.shape[-1])
    each_out = weight.shape[-1]
    oh, ow, n_out = out.shape
    for oy in range(oh):
        for ox in range(ow):
            for n in range(n_out):
                group = n // each_out
                acc = 0
                for ky, kx, y, xx in under(window, oy, ox):
                    for c in range(each_in):
                        row = (ky * window.kernel[1] + kx) * each_in + c
                        code = weight[group, row, n % each_out]
                        pixel = x[(y * width + xx) * channels + group * each_in + c]
                        acc += pixel * _weight_integer(node.weight_format, code)
                results.append(_finished(node, n, acc, out))
    return results


def _finished(node: Product, n: int, acc: int, out: IntegerTensor) -> int:
    acc += int(node.bias[n])
    if node.multiplier is None or node.shift is None:
        return max(acc, 0) if node.relu else acc
    return _fitted(_floor_half(acc * int(node.multiplier[n]), int(node.shift[n])), out, node.relu)


def _pooled(node: Any, inputs: list[Values], reduce: Callable[[Values], int], out: IntegerTensor) -> Values:
    (x,) = inputs
    window = node.window
    _, width, channels = window.in_shape
    oh, ow, _ = out.shape
    return [
        reduce([x[(y * width + xx) * channels + c] for _, _, y, xx in under(window, oy, ox)])
        for oy in range(oh)
        for ox in range(ow)
        for c in range(channels)
    ]


def _average(node: AveragePool, inputs: list[Values], tensors: Tensors) -> Values:
    out = tensors[node.output]
    sums = _pooled(node, inputs, sum, out)
    return [_fitted(_floor_half(s * node.multiplier, node.shift), out) for s in sums]


def _summed(node: Sum, inputs: list[Values], tensors: Tensors) -> Values:
    out = tensors[node.output]
    return [
        _fitted(_floor_half(sum(m * v for m, v in zip(node.multipliers, row, strict=True)), node.shift), out, node.relu)
        for row in zip(*inputs, strict=True)
    ]


def _joined(node: Concat, inputs: list[Values], tensors: Tensors) -> Values:
    shapes = [tensors[name].shape for name in node.inputs]
    axis = node.axis % len(shapes[0])
    before, after = 1, 1
    for n in shapes[0][:axis]:
        before *= n
    for n in shapes[0][axis + 1 :]:
        after *= n
    results: Values = []
    for row in range(before):
        for values, shape in zip(inputs, shapes, strict=True):
            block = shape[axis] * after
            results += values[row * block : (row + 1) * block]
    return results


def _looked_up(node: Lookup, inputs: list[Values], tensors: Tensors) -> Values:
    low = -(2 ** (int(tensors[node.input].format[3:]) - 1))
    return [int(node.table[v - low]) for v in inputs[0]]


_RULES: dict[type, Callable[[Any, list[Values], Tensors], Values]] = {
    Product: _product,
    Sum: _summed,
    MaxPool: lambda node, inputs, tensors: _pooled(node, inputs, max, tensors[node.output]),
    AveragePool: _average,
    Concat: _joined,
    Reshape: lambda node, inputs, tensors: inputs[0],
    Lookup: _looked_up,
}
