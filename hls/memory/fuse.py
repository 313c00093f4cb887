"""Element-wise operators run together with the operator beside them, so that what lies between takes no room."""

__all__ = ["fused"]

from tetrit.hls.graph import Graph
from tetrit.hls.memory.graph import Op, TensorGraph

# fmt: off
ELEMENTWISE = frozenset((
    "Abs", "Add", "BatchNormalization", "Ceil", "Celu", "Clip", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu",
    "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Mish", "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu",
    "Round", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Sub", "Swish", "Tanh", "ThresholdedRelu"
))
# fmt: on
"""Operators that make each element of one activation from the element at the same place, and from constants."""


def fused(graph: Graph, bytes_per_value: int = 1) -> TensorGraph:
    """Return the activations of a network with batch norm folded and element-wise operators fused.

    An element-wise operator on one activation runs with the operator that makes its input, if nothing else reads that;
    else with the operator that reads its output, if only one does. A sum of two branches stays an operator, and so do a
    concatenation, a pooling, a softmax and a layer norm.

    Parameters
    ----------
    graph : Graph
    bytes_per_value : int
        Size of one activation.

    Examples
    --------
    >>> from tetrit.hls import networks
    >>> graph = networks.get("resnet18")
    >>> len(graph.nodes), len(graph.tensor_graph().ops), len(fused(graph).ops)
    (69, 68, 31)
    """
    plain = graph.tensor_graph(bytes_per_value)
    kinds = {node.name: node.op for node in graph.nodes}
    ops = {op.name: op for op in plain.ops}
    writer = {tensor: op.name for op in plain.ops for tensor in op.outputs}
    readers: dict[str, set[str]] = {}
    for op in plain.ops:
        for tensor in op.inputs:
            readers.setdefault(tensor, set()).add(op.name)
    held = {*plain.outputs}
    for name in [op.name for op in plain.ops]:
        op = ops[name]
        if kinds[name] not in ELEMENTWISE or len(set(op.inputs)) != 1 or len(op.outputs) != 1:
            continue
        (source,), (target,) = set(op.inputs), op.outputs
        if plain.sizes[source] != plain.sizes[target]:
            continue
        maker = writer.get(source)
        behind = readers.get(target, set())
        if maker is not None and readers[source] == {name} and source not in held:
            outputs = tuple(target if tensor == source else tensor for tensor in ops[maker].outputs)
            ops[maker] = Op(maker, ops[maker].inputs, outputs)
            writer[target] = maker
        elif len(behind) == 1 and target not in held:
            (reader,) = behind
            inputs = tuple(source if tensor == target else tensor for tensor in ops[reader].inputs)
            ops[reader] = Op(reader, inputs, ops[reader].outputs)
            readers[source] = readers[source] - {name} | {reader}
        else:
            continue
        del ops[name]
    return TensorGraph(ops.values(), plain.sizes, plain.outputs)
