"""Lowering of pools and of what moves numbers without changing them."""

__all__: list[str] = []

from dataclasses import replace

import numpy as np

from tetrit.hls.graph import Node
from tetrit.hls.integer.lowering.products import window_of
from tetrit.hls.integer.lowering.steps import Layout, UnsupportedError, flat_order
from tetrit.hls.integer.lowering.walk import Flow, Walk, handles
from tetrit.hls.integer.window import Window


@handles("Identity", "Dropout", "Cast")
def _identity(walk: Walk, node: Node) -> None:
    if node.op == "Cast" and not walk.graph.values[node.output(0)].dtype.startswith("float"):
        raise UnsupportedError("it makes something else of floats")
    if len([name for name in node.outputs if name]) > 1:
        raise UnsupportedError("only its first output may be used")
    walk.alias(node, walk.flow(node.input(0)))


@handles("MaxPool")
def _max_pool(walk: Walk, node: Node) -> None:
    if len([name for name in node.outputs if name]) > 1:
        raise UnsupportedError("its indices have no integer form")
    x = walk.make(node.input(0))
    kernel = tuple(int(k) for k in node.attributes["kernel_shape"])
    _max(walk, node, x, window_of(node, x.layout, kernel, 1))


@handles("GlobalMaxPool")
def _global_max_pool(walk: Walk, node: Node) -> None:
    x = walk.make(node.input(0))
    _max(walk, node, x, _whole(x.layout))


def _max(walk: Walk, node: Node, x: Flow, window: Window) -> None:
    layout = Layout(shape=(*window.out_shape_hw, window.channels), is_map=True)
    out = walk.add(kind="max", node=node, inputs=(x.root,), output=node.output(0), layout=layout, window=window)
    walk.ties.tie(x.root, out)


@handles("AveragePool")
def _average_pool(walk: Walk, node: Node) -> None:
    x = walk.make(node.input(0))
    kernel = tuple(int(k) for k in node.attributes["kernel_shape"])
    window = window_of(node, x.layout, kernel, 1)
    places = window.kernel[0] * window.kernel[1]
    padded = int(node.attributes.get("count_include_pad", 0))
    over = any(last > end for last, end in zip(window.padding[2:], _stated_end(node, window), strict=True))
    if (not padded or over) and (window.counts() != places).any():
        raise UnsupportedError("its means are over different numbers of pixels: set `count_include_pad`")
    _average(walk, node, x, window, node.output(0))


def _stated_end(node: Node, window: Window) -> tuple[int, int]:
    """Return the padding below and to the right that counts as pixels."""
    pads = [int(p) for p in node.attributes.get("pads", ())]
    if not pads:
        return window.padding[2], window.padding[3]
    return (0, pads[1]) if len(pads) == 2 else (pads[2], pads[3])


@handles("GlobalAveragePool")
def _global_average_pool(walk: Walk, node: Node) -> None:
    x = walk.make(node.input(0))
    _average(walk, node, x, _whole(x.layout), node.output(0))


@handles("ReduceMean")
def _reduce_mean(walk: Walk, node: Node) -> None:
    x = walk.make(node.input(0))
    ndim = len(walk.graph.values[node.input(0)].shape)
    given = node.attributes.get("axes")
    if given is None and node.input(1):
        given = walk.constants.need(node, node.input(1), "axes").reshape(-1)
    axes = sorted(int(a) % ndim for a in (() if given is None else given))
    if not x.layout.is_map or axes != list(range(2, ndim)):
        raise UnsupportedError("only the mean over height and width of a feature map has an integer form")
    if node.attributes.get("keepdims", 1):
        _average(walk, node, x, _whole(x.layout), node.output(0))
        return
    pooled = f"{node.output(0)}/pooled"
    _average(walk, node, x, _whole(x.layout), pooled)
    c = x.layout.shape[-1]
    layout = Layout(shape=(c,))
    out = walk.add(
        kind="reshape",
        node=node,
        name=f"{node.name}/flat",
        inputs=(pooled,),
        output=node.output(0),
        layout=layout,
    )
    walk.ties.tie(pooled, out)


def _average(walk: Walk, node: Node, x: Flow, window: Window, output: str) -> None:
    layout = Layout(shape=(*window.out_shape_hw, window.channels), is_map=True)
    walk.add(kind="average", node=node, inputs=(x.root,), output=output, layout=layout, window=window)


def _whole(layout: Layout) -> Window:
    if not layout.is_map:
        raise UnsupportedError(f"it needs a feature map (batch, channels, ...), got shape {layout.shape}")
    h, w, c = layout.shape
    return Window(in_shape=(h, w, c), kernel=(h, w))


@handles("Flatten", "Reshape", "Squeeze", "Unsqueeze")
def _reshape(walk: Walk, node: Node) -> None:
    shape = walk.graph.values[node.output(0)].shape
    if not shape or shape[0] != walk.batch:
        raise UnsupportedError(f"it must keep the batch of {walk.batch} as its first axis, got shape {shape}")
    flow = walk.flow(node.input(0))
    order = flat_order(flow.layout)
    layout = Layout(shape=shape[1:], order=order)
    if len(shape) == 4 or (len(shape) == 3 and order is not None):
        c, h, w = shape[1:] if len(shape) == 4 else (shape[1], 1, shape[2])
        layout = Layout(shape=(h, w, c), is_map=True)
        wanted = flat_order(layout)
        if wanted is not order and (wanted is None or order is None or not np.array_equal(wanted, order)):
            raise UnsupportedError("it makes channels of other numbers: the integers would have to move")
    if layout.shape == flow.layout.shape:
        walk.alias(node, flow, layout)
        return
    x = walk.make(node.input(0))
    out = walk.add(kind="reshape", node=node, inputs=(x.root,), output=node.output(0), layout=layout)
    walk.ties.tie(x.root, out)


@handles("Transpose")
def _transpose(walk: Walk, node: Node) -> None:
    flow = walk.flow(node.input(0))
    ndim = len(walk.graph.values[node.input(0)].shape)
    perm = tuple(int(p) for p in node.attributes.get("perm", range(ndim)[::-1]))
    last, first = (0, *range(2, ndim), 1), (0, ndim - 1, *range(1, ndim - 1))
    shape = flow.layout.shape
    if perm == tuple(range(ndim)):
        walk.alias(node, flow)
    elif flow.layout.is_map and perm == last:  # the integers have the channels last already
        plain = shape if ndim == 4 else shape[1:]
        if plain == shape:
            walk.alias(node, flow, Layout(shape=shape))
        else:
            x = walk.make(node.input(0))
            _moved(walk, node, x, Layout(shape=plain))
    elif not flow.layout.is_map and flow.layout.order is None and perm == first and ndim in (3, 4):
        if ndim == 4:
            walk.alias(node, flow, Layout(shape=shape, is_map=True))
        else:
            x = walk.make(node.input(0))
            _moved(walk, node, x, Layout(shape=(1, *shape), is_map=True))
    else:
        raise UnsupportedError(f"`perm` {list(perm)} would have to move the integers of shape {shape}")


def _moved(walk: Walk, node: Node, x: Flow, layout: Layout) -> None:
    out = walk.add(kind="reshape", node=node, inputs=(x.root,), output=node.output(0), layout=layout)
    walk.ties.tie(x.root, out)


@handles("Concat")
def _concat(walk: Walk, node: Node) -> None:
    names = [name for name in node.inputs if name]
    if len(names) == 1:
        walk.alias(node, walk.flow(names[0]))
        return
    parts = [walk.make(name) for name in names]
    ndim = len(walk.graph.values[names[0]].shape)
    axis = int(node.attributes["axis"]) % ndim
    if axis == 0:
        raise UnsupportedError("it joins along the batch")
    first = parts[0].layout
    if any(part.layout.is_map != first.is_map for part in parts) or any(p.layout.order is not None for p in parts):
        raise UnsupportedError("its inputs lie in different orders")
    place = axis - 1
    if first.is_map:
        place = 2 if axis == 1 else axis - 2 + (ndim == 3)
    shape = list(first.shape)
    shape[place] = sum(part.layout.shape[place] for part in parts)
    roots = tuple(part.root for part in parts)
    stated = {walk.ties.given(root) for root in roots}
    if stated != {None} and len(stated) > 1:  # each part is brought to the scale of the result
        roots = tuple(walk.rescaled(part.root, part.layout, f"{node.name}/{i}") for i, part in enumerate(parts))
    layout = Layout(shape=tuple(shape), is_map=first.is_map)
    out = walk.add(kind="concat", node=node, inputs=roots, output=node.output(0), layout=layout, axis=place)
    walk.ties.tie(*roots, out)


@handles("Pad")
def _pad(walk: Walk, node: Node) -> None:
    """Lower zeros around a map: they become the padding of the convolution that follows."""
    flow = walk.flow(node.input(0))
    ndim = len(walk.graph.values[node.input(0)].shape)
    pads = [int(p) for p in node.attributes.get("pads", ())]
    if node.input(1):
        pads = [int(p) for p in walk.constants.need(node, node.input(1), "pads").reshape(-1)]
    axes = list(range(ndim))
    if node.input(3):
        axes = [int(a) % ndim for a in walk.constants.need(node, node.input(3), "axes").reshape(-1)]
    value = float(node.attributes.get("value", 0.0))
    if node.input(2):
        value = float(walk.constants.need(node, node.input(2), "constant_value").reshape(()))
    before, after = [0] * ndim, [0] * ndim
    for place, axis in enumerate(axes):
        before[axis], after[axis] = pads[place], pads[place + len(axes)]
    zeros = str(node.attributes.get("mode", "constant")) == "constant" and value == 0
    if not flow.layout.is_map or not zeros or any(before[:2] + after[:2]) or min(before + after) < 0:
        raise UnsupportedError("only zeros around a feature map have an integer form")
    top, bottom = (before[2], after[2]) if ndim == 4 else (0, 0)
    padding = (top, before[-1], bottom, after[-1])
    if not any(padding):
        walk.alias(node, flow)
    else:
        x = walk.make(node.input(0))
        walk.flows[node.output(0)] = replace(x, name=node.output(0), padding=padding)
        walk.uses[x.root] += walk.uses[node.output(0)] - 1
