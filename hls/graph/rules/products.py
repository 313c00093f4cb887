"""Shape rules of matrix products, convolutions, pooling, recurrent cells and attention."""

__all__: list[str] = []

import math

from tetrit.errors import unknown_name
from tetrit.hls.graph.heads import einsum_sizes, heads
from tetrit.hls.graph.ir import Node
from tetrit.hls.graph.rules.common import (
    Fact,
    Made,
    axes_of,
    broadcast,
    content,
    integers,
    rank,
    refuse,
    required,
    rule,
)
from tetrit.hls.graph.windows import transposed_padding, windows


@rule("Gemm")
def gemm(node: Node, a: Fact, b: Fact, c: Fact | None = None) -> Made:
    rank(node, a, 2, 2)
    rank(node, b, 2, 2)
    m, k = a.shape[::-1] if node.attributes.get("transA", 0) else a.shape
    k_b, n = b.shape[::-1] if node.attributes.get("transB", 0) else b.shape
    if k != k_b:
        refuse(node, f"{list(a.shape)} and {list(b.shape)} cannot be multiplied: {k} columns against {k_b} rows")
    if c is not None and broadcast(node, (m, n), c.shape) != (m, n):
        refuse(node, f"the bias {list(c.shape)} must broadcast to {[m, n]}")
    return [((m, n), a.dtype)]


@rule("MatMul", "MatMulInteger")
def matmul(node: Node, a: Fact, b: Fact, *zeros: Fact | None) -> Made:
    rank(node, a, 1)
    rank(node, b, 1)
    left = a.shape if len(a.shape) > 1 else (1, *a.shape)
    right = b.shape if len(b.shape) > 1 else (*b.shape, 1)
    if left[-1] != right[-2]:
        refuse(node, f"{list(a.shape)} and {list(b.shape)} cannot be multiplied")
    shape = broadcast(node, left[:-2], right[:-2]) if max(len(left), len(right)) > 2 else ()
    shape += left[-2:-1] if len(a.shape) > 1 else ()
    shape += right[-1:] if len(b.shape) > 1 else ()
    return [(shape, "int32" if node.op == "MatMulInteger" else a.dtype)]


def _convolution(node: Node, x: Fact, w: Fact) -> tuple[int, ...]:
    rank(node, x, 3, 5)
    rank(node, w, len(x.shape), len(x.shape))
    groups = node.attributes.get("group", 1)
    if groups < 1 or x.shape[1] % groups or w.shape[0] % groups:
        refuse(node, f"{x.shape[1]} inputs and {w.shape[0]} outputs cannot be divided into {groups} groups")
    if w.shape[1] * groups != x.shape[1]:
        refuse(
            node,
            f"'{x.value.name}' has {x.shape[1]} channels, but the weight {list(w.shape)} with {groups} groups "
            f"expects {w.shape[1] * groups}",
        )
    kernel = node.attributes.get("kernel_shape") or w.shape[2:]
    if tuple(kernel) != w.shape[2:]:
        refuse(node, f"`kernel_shape` {list(kernel)} is not that of the weight, {list(w.shape)}")
    return (x.shape[0], w.shape[0], *windows(node, x.shape[2:], w.shape[2:]).out)


@rule("Conv")
def conv(node: Node, x: Fact, w: Fact, bias: Fact | None = None) -> Made:
    shape = _convolution(node, x, w)
    if bias is not None and bias.shape != (w.shape[0],):
        refuse(node, f"the bias must have {w.shape[0]} entries, got shape {list(bias.shape)}")
    return [(shape, x.dtype)]


@rule("ConvInteger")
def conv_integer(node: Node, x: Fact, w: Fact, *zeros: Fact | None) -> Made:
    return [(_convolution(node, x, w), "int32")]


@rule("ConvTranspose")
def conv_transpose(node: Node, x: Fact, w: Fact, bias: Fact | None = None) -> Made:
    rank(node, x, 3, 5)
    rank(node, w, len(x.shape), len(x.shape))
    groups = node.attributes.get("group", 1)
    if groups < 1 or x.shape[1] % groups or w.shape[0] != x.shape[1]:
        refuse(node, f"'{x.value.name}' {list(x.shape)} does not fit the weight {list(w.shape)} with {groups} groups")
    out = transposed_padding(node, x.shape[2:], w.shape[2:])[0]
    if bias is not None and bias.shape != (w.shape[1] * groups,):
        refuse(node, f"the bias must have {w.shape[1] * groups} entries, got shape {list(bias.shape)}")
    return [((x.shape[0], w.shape[1] * groups, *out), x.dtype)]


@rule("AveragePool", "LpPool", "MaxPool")
def pool(node: Node, x: Fact) -> Made:
    rank(node, x, 3, 5)
    shape = (*x.shape[:2], *windows(node, x.shape[2:], required(node, "kernel_shape")).out)
    return [(shape, x.dtype), (shape, "int64")]


@rule("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: Node, x: Fact) -> Made:
    rank(node, x, 3)
    return [(x.shape[:2] + (1,) * (len(x.shape) - 2), x.dtype)]


GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
"""Recurrent operator -> gates."""

ACTIVATIONS = (
    "Affine", "Elu", "HardSigmoid", "LeakyRelu", "Relu", "ScaledTanh", "Sigmoid", "Softplus", "Softsign", "Tanh",
    "ThresholdedRelu",
)  # fmt: skip
"""Functions that a gate may have; upper and lower case are one."""

DEFAULT_ACTIVATIONS = {"GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh"), "RNN": ("Tanh",)}


@rule(*GATES)
def recurrent(node: Node, x: Fact, w: Fact, r: Fact, *others: Fact | None) -> Made:
    rank(node, x, 3, 3)
    rank(node, w, 3, 3)
    rank(node, r, 3, 3)
    directions = 2 if node.attributes.get("direction", "forward") == "bidirectional" else 1
    hidden, gates = r.shape[2], GATES[node.op]
    if w.shape != (directions, gates * hidden, x.shape[2]):
        wanted = [directions, gates * hidden, x.shape[2]]
        refuse(node, f"the weight '{w.value.name}' must have shape {wanted}, got {list(w.shape)}")
    if r.shape != (directions, gates * hidden, hidden):
        refuse(
            node,
            f"the weight '{r.value.name}' must have shape {[directions, gates * hidden, hidden]}, got {list(r.shape)}",
        )
    if node.attributes.get("hidden_size", hidden) != hidden:
        refuse(node, f"`hidden_size` must be {hidden}, as its weights have, got {node.attributes['hidden_size']}")
    functions = node.attributes.get("activations") or DEFAULT_ACTIVATIONS[node.op] * directions
    if len(functions) != len(DEFAULT_ACTIVATIONS[node.op]) * directions:
        refuse(node, f"it needs {len(DEFAULT_ACTIVATIONS[node.op]) * directions} activations, got {list(functions)}")
    for function in functions:
        if function.lower() not in map(str.lower, ACTIVATIONS):
            refuse(node, str(unknown_name("activation", function, ACTIVATIONS)))
    batch_first = node.attributes.get("layout", 0) == 1
    steps, batch = x.shape[1::-1] if batch_first else x.shape[:2]
    state = (batch, directions, hidden) if batch_first else (directions, batch, hidden)
    every = (batch, steps, directions, hidden) if batch_first else (steps, directions, batch, hidden)
    return [(every, x.dtype), (state, x.dtype)] + ([(state, x.dtype)] if node.op == "LSTM" else [])


@rule("Attention")
def attention(
    node: Node,
    q: Fact,
    k: Fact,
    v: Fact,
    mask: Fact | None = None,
    past_key: Fact | None = None,
    past_value: Fact | None = None,
    lengths: Fact | None = None,
) -> Made:
    n = heads(node, q.shape, k.shape, v.shape)
    past = 0 if past_key is None else past_key.shape[2]
    total = n.k_steps + past
    out = (n.batch, n.q_steps, n.q_heads * n.v_size) if len(q.shape) == 3 else (n.batch, n.q_heads, n.q_steps, n.v_size)
    return [
        (out, q.dtype),
        ((n.batch, n.k_heads, total, n.k_size), k.dtype),
        ((n.batch, n.k_heads, total, n.v_size), v.dtype),
        ((n.batch, n.q_heads, n.q_steps, total), q.dtype),
    ]


@rule("RotaryEmbedding")
def rotary_embedding(node: Node, x: Fact, cosine: Fact, sine: Fact, positions: Fact | None = None) -> Made:
    rank(node, x, 3, 4)
    heads_ = node.attributes.get("num_heads", 0)
    if len(x.shape) == 3 and (heads_ < 1 or x.shape[2] % heads_):
        refuse(node, f"'{x.value.name}' {list(x.shape)} does not divide into {heads_} heads")
    size = x.shape[3] if len(x.shape) == 4 else x.shape[2] // heads_
    turned = node.attributes.get("rotary_embedding_dim", 0) or size
    if turned > size or turned % 2 or cosine.shape[-1:] != (turned // 2,) or sine.shape != cosine.shape:
        refuse(node, f"tables {list(cosine.shape)} and {list(sine.shape)} do not fit {turned} of {size} elements")
    return [(x.shape, x.dtype)]


@rule("Einsum")
def einsum(node: Node, first: Fact, *others: Fact) -> Made:
    _, result, sizes = einsum_sizes(node, tuple(x.shape for x in (first, *others)))
    return [(tuple(sizes[letter] for letter in result), first.dtype)]


RESIZE_MODES = {
    "antialias": (0,),
    "coordinate_transformation_mode": (
        "half_pixel",
        "half_pixel_symmetric",
        "pytorch_half_pixel",
        "asymmetric",
        "align_corners",
    ),
    "keep_aspect_ratio_policy": ("stretch",),
    "mode": ("nearest", "linear"),
    "nearest_mode": ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
}
"""Attribute of Resize -> values that are supported, the default first."""


@rule("Resize")
def resize(node: Node, x: Fact, roi: Fact | None = None, scales: Fact | None = None, sizes: Fact | None = None) -> Made:
    for attribute, known in RESIZE_MODES.items():
        if node.attributes.get(attribute, known[0]) not in known:
            wanted = ", ".join(map(str, known))
            refuse(node, f"`{attribute}` must be one of {wanted}, got {node.attributes[attribute]}")
    axes = axes_of(node, node.attributes.get("axes") or range(len(x.shape)), len(x.shape))
    shape = list(x.shape)
    if scales is not None and scales.shape != (0,):
        for axis, scale in zip(axes, content(node, scales).tolist(), strict=True):
            if not 0 < scale < math.inf:
                refuse(node, f"a scale must be positive and finite, got {scale}")
            shape[axis] = int(shape[axis] * scale)
    elif sizes is not None:
        for axis, size in zip(axes, integers(node, sizes, "sizes") or (), strict=True):
            if size < 1 or shape[axis] < 1:
                refuse(node, f"sizes must be positive, got {size} from {shape[axis]}")
            shape[axis] = size
    else:
        refuse(node, "it needs `scales` or `sizes`")
    return [(tuple(shape), x.dtype)]


@rule("QLinearMatMul")
def q_linear_matmul(
    node: Node,
    a: Fact,
    a_scale: Fact,
    a_zero: Fact,
    b: Fact,
    b_scale: Fact,
    b_zero: Fact,
    y_scale: Fact,
    y_zero: Fact,
) -> Made:
    return [(matmul(node, a, b)[0][0], y_zero.dtype)]


@rule("QLinearConv")
def q_linear_conv(
    node: Node,
    x: Fact,
    x_scale: Fact,
    x_zero: Fact,
    w: Fact,
    w_scale: Fact,
    w_zero: Fact,
    y_scale: Fact,
    y_zero: Fact,
    bias: Fact | None = None,
) -> Made:
    return [(_convolution(node, x, w), y_zero.dtype)]
