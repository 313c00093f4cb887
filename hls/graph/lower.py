"""What the mapper and the memory planner need of a graph: its matrix products, and its activations with their sizes."""

__all__ = ["VIEWS", "tensor_graph", "workloads"]

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from tetrit import checks
from tetrit.hls.graph.heads import einsum_sizes, heads
from tetrit.hls.graph.ir import Graph, Node, Value
from tetrit.hls.graph.rules.products import GATES
from tetrit.sim import Workload

if TYPE_CHECKING:
    from tetrit.hls.memory import TensorGraph

VIEWS = ("Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Operators whose output holds the elements of their first input in the same order."""

Products = list[tuple[int, int, int, int]]
"""(m, k, n, count)."""


def _conv(node: Node, x: Value, w: Value, y: Value) -> Products:
    groups = node.attributes.get("group", 1)
    return [(y.shape[0] * math.prod(y.shape[2:]), math.prod(w.shape[1:]), w.shape[0] // groups, groups)]


def _conv_transpose(node: Node, x: Value, w: Value, y: Value) -> Products:
    groups = node.attributes.get("group", 1)
    return [(x.shape[0] * math.prod(x.shape[2:]), x.shape[1] // groups, math.prod(w.shape[1:]), groups)]


def _gemm(node: Node, a: Value, b: Value, y: Value) -> Products:
    k = a.shape[0] if node.attributes.get("transA", 0) else a.shape[1]
    return [(y.shape[0], k, y.shape[1], 1)]


def _matmul(node: Node, a: Value, b: Value, y: Value) -> Products:
    n = b.shape[-1] if len(b.shape) > 1 else 1
    k = a.shape[-1]
    # a right operand without a batch is one weight for all rows of the left one, whatever axes they have
    count = math.prod(b.shape[:-2])
    return [(y.size // (n * count) if n * count else 0, k, n, count)]


def _recurrent(node: Node, x: Value, w: Value, y: Value) -> Products:
    steps, batch = x.shape[1::-1] if node.attributes.get("layout", 0) == 1 else x.shape[:2]
    directions, outputs, k = w.shape
    hidden = outputs // GATES[node.op]
    return [(steps * batch, k, outputs, directions), (batch, hidden, outputs, directions * steps)]


def _attention(node: Node, q: Value, k: Value, v: Value, total: int) -> Products:
    n = heads(node, q.shape, k.shape, v.shape)
    count = n.batch * n.q_heads
    return [(n.q_steps, n.k_size, total, count), (n.q_steps, total, n.v_size, count)]


def _einsum(node: Node, a: Value, b: Value) -> Products:
    (left, right), result, sizes = einsum_sizes(node, (a.shape, b.shape))
    size = dict.fromkeys(("m", "k", "n", "count"), 1)
    for letter, length in sizes.items():
        in_left, in_right = letter in left, letter in right
        if letter in result:
            what = "count" if in_left and in_right else "m" if in_left else "n"
        elif in_left and in_right:
            what = "k"
        else:
            continue  # summed over in one operand alone: no product
        size[what] *= length
    return [(size["m"], size["k"], size["n"], size["count"])]


_PRODUCTS: dict[str, Callable[..., Products]] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
} | dict.fromkeys(GATES, _recurrent)


def workloads(graph: Graph) -> list[tuple[str, Workload, int]]:
    """Return (node name, product, count) of every matrix product; see `Graph.workloads`."""
    values = graph.values
    result = []
    for node in graph.nodes:
        given = [values[name] for name in node.inputs if name]
        if node.op == "Attention":
            total = given[1].shape[-2] + (values[node.input(4)].shape[2] if node.input(4) else 0)
            products = _attention(node, given[0], given[1], given[2], total)
        elif node.op == "Einsum":
            products = _einsum(node, *given) if len(given) == 2 else []
        elif node.op in _PRODUCTS:
            first = next(values[name] for name in node.outputs if name)
            weight = values[node.inputs[3 if node.op.startswith("QLinear") else 1]]
            products = _PRODUCTS[node.op](node, given[0], weight, first)
        else:
            continue
        for m, k, n, count in products:
            if m and k and n and count:
                result.append((node.name, Workload(m=m, k=k, n=n), count))
    return result


def tensor_graph(graph: Graph, bytes_per_value: int) -> "TensorGraph":
    """Return the operators and activations of a graph; see `Graph.tensor_graph`."""
    from tetrit.hls.memory import Op, TensorGraph

    each = checks.integer("bytes_per_value", bytes_per_value)
    values, holder = graph.values, {value.name: value.name for value in graph.inputs}
    ops = []
    for node in graph.nodes:
        computed = [name for name in node.outputs if name and graph.known(name) is None and values[name].size]
        sources = list(dict.fromkeys(holder[name] for name in node.inputs if name in holder))
        if not computed or not sources:
            continue
        if node.op in VIEWS and node.inputs[0] in holder:
            holder[computed[0]] = holder[node.inputs[0]]
            continue
        holder |= {name: name for name in computed}
        ops.append(Op(name=node.name, inputs=tuple(sources), outputs=tuple(computed)))
    used = {name for op in ops for name in (*op.inputs, *op.outputs)}
    written = {name for op in ops for name in op.outputs}
    outputs = [holder[name] for name in graph.outputs if holder.get(name) in written]
    sizes = {name: values[name].size * each for name in values if name in used}
    return TensorGraph(ops=ops, sizes=sizes, outputs=outputs)
