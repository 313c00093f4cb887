"""Lowering of products: convolutions, fully connected layers, and what scales and shifts channels."""

__all__: list[str] = []

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.hls.graph import Node
from tetrit.hls.graph.windows import windows
from tetrit.hls.integer.lowering.steps import Floats, Layout, UnsupportedError, Weights
from tetrit.hls.integer.lowering.walk import Walk, handles
from tetrit.hls.integer.window import Window


def window_of(
    node: Node,
    layout: Layout,
    kernel: tuple[int, ...],
    groups: int,
    around: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> Window:
    """Return the window of a Conv or pooling node over a map with zeros around it (top, left, bottom, right)."""
    if not layout.is_map:
        raise UnsupportedError(f"it needs a feature map (batch, channels, ...), got shape {layout.shape}")
    flat = len(kernel) == 1  # a signal: a map of height 1
    height, width = layout.shape[0] + around[0] + around[2], layout.shape[1] + around[1] + around[3]
    size = (width,) if flat else (height, width)
    found = windows(node, size, kernel)
    end = [max(last, 0) for last in found.last]
    pad = (0,) if flat else ()
    one = (1,) if flat else ()
    begin = (*pad, *found.begin)
    ends = (*pad, *end)
    return Window(
        in_shape=layout.shape,  # type: ignore[arg-type]
        kernel=(*one, *kernel),
        stride=(*one, *found.stride),
        padding=(begin[0] + around[0], begin[1] + around[1], ends[0] + around[2], ends[1] + around[3]),
        dilation=(*one, *found.dilation),
        groups=groups,
    )


def _weights(walk: Walk, node: Node, name: str, arrange: Any) -> Weights:
    """Return the weights of a node; `arrange` brings arrays to outputs first."""
    values = np.asarray(walk.constants.need(node, name, "weight"))
    stated = walk.constants.stated(name)
    real = arrange(values.astype(np.float64))
    if stated is None:
        return Weights(values=real)
    codes, scale, fmt = stated
    wide = arrange(np.broadcast_to(np.asarray(scale, dtype=np.float64), codes.shape))
    first = wide.reshape(len(wide), -1)
    if (first != first[:, :1]).any():
        raise UnsupportedError("its weights must have one scale, or one for each output")
    return Weights(values=real, codes=arrange(codes), scale=np.array(first[:, 0]), format=fmt)


def _bias(walk: Walk, node: Node, place: int, n: int, factor: float = 1.0) -> Floats:
    if not node.input(place):
        return np.zeros(n)
    bias = np.asarray(walk.constants.need(node, node.input(place), "bias"), dtype=np.float64)
    if bias.size not in (1, n):
        raise UnsupportedError(f"its bias must have {n} numbers, got shape {bias.shape}")
    return np.broadcast_to(bias.reshape(-1) * factor, (n,)).copy()


@handles("Conv")
def _conv(walk: Walk, node: Node) -> None:
    x = walk.make(node.input(0), padded=True)
    groups = int(node.attributes.get("group", 1))

    def arrange(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array[:, :, None] if array.ndim == 3 else array

    weights = _weights(walk, node, node.input(1), arrange)
    if weights.values.ndim != 4:
        raise UnsupportedError(f"it must be a convolution in one or two dimensions, got {weights.values.ndim - 2}")
    axes = len(walk.graph.values[node.input(0)].shape) - 2
    window = window_of(node, x.layout, weights.values.shape[-axes:], groups, x.padding)
    n = len(weights.values)
    walk.add(
        kind="product",
        node=node,
        inputs=(x.root,),
        output=node.output(0),
        layout=Layout(shape=(*window.out_shape_hw, n), is_map=True),
        weights=weights,
        bias=_bias(walk, node, 2, n),
        window=window,
    )


@handles("Gemm")
def _gemm(walk: Walk, node: Node) -> None:
    if node.attributes.get("transA", 0):
        raise UnsupportedError("`transA` must be 0")
    alpha, beta = float(node.attributes.get("alpha", 1.0)), float(node.attributes.get("beta", 1.0))
    turned = bool(node.attributes.get("transB", 0))
    _linear(walk, node, (lambda a: a) if turned else (lambda a: a.T), alpha, beta)


@handles("MatMul")
def _matmul(walk: Walk, node: Node) -> None:
    if node.input(1) in walk.flows and node.input(0) in walk.flows:
        raise UnsupportedError("it multiplies two activations, which has no integer form here")
    if walk.constants.need(node, node.input(1), "B").ndim != 2:
        raise UnsupportedError("its second operand must be a matrix")
    _linear(walk, node, lambda a: a.T, 1.0, 1.0)


def _linear(walk: Walk, node: Node, arrange: Any, alpha: float, beta: float) -> None:
    x = walk.make(node.input(0))
    if x.layout.is_map:
        raise UnsupportedError("its input must not be a feature map: flatten it")
    weights = _weights(walk, node, node.input(1), arrange)
    if x.layout.order is not None:
        order = x.layout.order
        weights = replace(
            weights,
            values=weights.values[:, order],
            codes=None if weights.codes is None else weights.codes[:, order],
        )
    n = len(weights.values)
    if alpha != 1.0:
        weights = weights.scaled(np.full(n, alpha))
    walk.add(
        kind="product",
        node=node,
        inputs=(x.root,),
        output=node.output(0),
        layout=Layout(shape=(*x.layout.shape[:-1], n)),
        weights=weights,
        bias=_bias(walk, node, 2, n, beta),
    )


@handles("BatchNormalization")
def _batch_norm(walk: Walk, node: Node) -> None:
    names = ("scale", "B", "mean", "var")
    gamma, beta, mean, var = (
        np.asarray(walk.constants.need(node, node.input(place), name), dtype=np.float64)
        for place, name in enumerate(names, 1)
    )
    factor = gamma / np.sqrt(var + float(node.attributes.get("epsilon", 1e-5)))
    affine(walk, node, node.input(0), factor, beta - mean * factor)


def affine(walk: Walk, node: Node, name: str, factor: Floats, shift: Floats) -> None:
    """Lower ``factor * x + shift``, both one number a channel: into the product before it, or as a product itself."""
    flow = walk.flow(name)
    channels = flow.layout.shape[-1] if flow.layout.shape else 1
    if flow.layout.order is not None:
        raise UnsupportedError("it scales the numbers of a flattened feature map; scale the map itself")
    factor, shift = (np.broadcast_to(np.asarray(a, dtype=np.float64).reshape(-1), (channels,)) for a in (factor, shift))
    step = walk.fusible(name, ("product",))
    if step is not None and step.weights is not None and step.bias is not None:
        step.weights = step.weights.scaled(factor)
        step.bias = step.bias * factor + shift
        walk.rename(step, node, flow.layout)
        return
    x = walk.make(name)
    shape = x.layout.shape
    if not x.layout.is_map and len(shape) != 3:
        raise UnsupportedError("it scales the numbers of a vector; that is integer only behind a product")
    walk.add(
        kind="product",
        node=node,
        inputs=(x.root,),
        output=node.output(0),
        layout=x.layout,
        weights=Weights(values=factor.reshape(-1, 1, 1, 1)),
        bias=np.array(shift),
        window=Window(in_shape=shape, kernel=(1, 1), groups=channels),  # type: ignore[arg-type]
    )


def channel_constant(flow_layout: Layout, constant: npt.NDArray[Any], ndim: int) -> Floats | None:
    """Return a constant that broadcasts against a value as one number a channel; None where it does not."""
    array = np.asarray(constant, dtype=np.float64)
    if array.size == 1:
        return array.reshape(-1)
    channels = flow_layout.shape[-1] if flow_layout.shape else 1
    place = 1 if flow_layout.is_map else ndim - 1
    padded = (1,) * (ndim - array.ndim) + array.shape
    if len(padded) != ndim or padded[place] != channels or array.size != channels:
        return None
    return array.reshape(-1)
