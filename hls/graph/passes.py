"""Rewriting of graphs: batch normalisation folded away, what needs no data computed, what nothing uses removed."""

__all__ = ["folded", "pruned", "simplified"]

from collections import Counter
from dataclasses import replace

import numpy as np

from tetrit.hls.graph.ir import Array, Graph, Node

QUANTISERS = ("BipolarQuant", "DequantizeLinear", "DynamicQuantizeLinear", "Quant", "QuantizeLinear", "Trunc")
"""Operators that stay although their inputs may be fixed: they say how a weight is quantised."""

_LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def pruned(graph: Graph) -> Graph:
    """Return `graph` without the nodes and constants that no output needs; the inputs stay."""
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(filter(None, node.inputs))
    constants = {name: array for name, array in graph.constants.items() if name in needed}
    return replace(graph, nodes=tuple(kept[::-1]), constants=constants)


def simplified(graph: Graph) -> Graph:
    """Return `graph` with what follows from shapes and small constants computed, and Identity and Dropout removed.

    Nodes that quantise stay, whatever they work on.
    """
    constants, renamed, nodes = dict(graph.constants), dict[str, str](), []
    for node in graph.nodes:
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        outputs = [name for name in node.outputs if name]
        known = {name: graph.known(name) for name in outputs}
        if node.op not in QUANTISERS and all(array is not None for array in known.values()):
            constants |= {name: array for name, array in known.items() if array is not None}
        elif node.op in ("Dropout", "Identity") and len(outputs) == 1 and outputs[0] not in graph.outputs:
            renamed[outputs[0]] = inputs[0]
        else:
            nodes.append(replace(node, inputs=inputs))
    return pruned(replace(graph, nodes=tuple(nodes), constants=constants))


def folded(graph: Graph) -> Graph:
    """Return `graph` with every batch normalisation folded into the convolution or linear layer before it.

    Contract: y = scale * (W x + b - mean) / sqrt(variance + epsilon) + bias is one layer with the weight W * f and the
    bias (b - mean) * f + bias, where f = scale / sqrt(variance + epsilon), computed in float64 and rounded once to the
    dtype of the weight. A normalisation stays where the layer's output is used elsewhere too or its weight is not
    fixed.

    Parameters
    ----------
    graph : Graph
        With fixed parameters of the normalisations.

    Returns
    -------
    Graph
        With the same inputs and outputs.

    Examples
    --------
    >>> from tetrit.hls.graph import Builder, folded
    >>> b = Builder("tiny")
    >>> graph = b.build([b.batch_norm(b.conv(b.input("x", (1, 3, 8, 8)), 4, 3))])
    >>> [node.op for node in folded(graph).nodes]
    ['Conv']
    """
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    uses.update(graph.outputs)
    constants = dict(graph.constants)
    names = {*graph.values}
    nodes: list[Node] = []
    place: dict[str, int] = {}
    for node in graph.nodes:
        before = nodes[place[node.inputs[0]]] if node.inputs and node.inputs[0] in place else None
        if node.op == "BatchNormalization" and before is not None and uses[node.inputs[0]] == 1:
            parameters = [constants.get(name) for name in node.inputs[1:5]]
            fixed = [array for array in parameters if array is not None]
            weight = constants.get(before.input(1))
            bias = constants.get(before.input(2)) if before.input(2) else np.zeros(1)
            if len(fixed) == 4 and weight is not None and bias is not None and _foldable(before, weight):
                merged = _merged(node, before, fixed, weight, bias)
                new_names = [_fresh(f"{node.outputs[0]}.{part}", names) for part in ("weight", "bias")]
                constants |= dict(zip(new_names, merged, strict=True))
                layer = replace(before, inputs=(before.inputs[0], *new_names), outputs=node.outputs[:1])
                nodes[place[node.inputs[0]]] = layer
                place[node.outputs[0]] = place[node.inputs[0]]
                continue
        nodes.append(node)
        if node.op in _LINEAR:
            place[node.outputs[0]] = len(nodes) - 1
    return pruned(replace(graph, nodes=tuple(nodes), constants=constants))


def _foldable(layer: Node, weight: Array) -> bool:
    if layer.op == "Gemm":
        return not layer.attributes.get("transA", 0) and layer.attributes.get("beta", 1.0) == 1.0
    return layer.op != "MatMul"


def _merged(norm: Node, layer: Node, parameters: list[Array], weight: Array, bias: Array) -> tuple[Array, Array]:
    scale, shift, mean, variance = (array.astype(np.float64) for array in parameters)
    factor = scale / np.sqrt(variance + norm.attributes.get("epsilon", 1e-5))
    if layer.op == "Gemm" and not layer.attributes.get("transB", 0):
        wide = weight * factor
    elif layer.op == "ConvTranspose":
        groups = layer.attributes.get("group", 1)
        each = factor.reshape(groups, 1, -1)
        split = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
        wide = (split * each[..., None]).reshape(weight.shape)
    else:
        wide = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    new_bias = np.broadcast_to((bias - mean) * factor + shift, factor.shape)
    return wide.astype(weight.dtype), new_bias.astype(weight.dtype)


def _fresh(name: str, names: set[str]) -> str:
    """Return `name`, with an underscore appended as often as it takes to be a new one."""
    while name in names:
        name += "_"
    names.add(name)
    return name
