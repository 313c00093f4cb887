"""Lowering of activation functions and of branches that meet."""

__all__: list[str] = []

from dataclasses import replace

import numpy as np

from tetrit.hls.graph import Node
from tetrit.hls.integer.lowering.products import affine, channel_constant
from tetrit.hls.integer.lowering.steps import UnsupportedError
from tetrit.hls.integer.lowering.walk import Flow, Walk, handles


@handles("Relu")
def _relu(walk: Walk, node: Node) -> None:
    step = walk.fusible(node.input(0), ("product", "sum"))
    if step is None:
        _function(walk, node)
        return
    step.relu = True
    walk.rename(step, node, walk.flow(node.input(0)).layout)


@handles("Clip")
def _clip(walk: Walk, node: Node) -> None:
    ends = [float(node.attributes.get("min", -np.inf)), float(node.attributes.get("max", np.inf))]
    for place, name in ((1, "min"), (2, "max")):
        if node.input(place):
            ends[place - 1] = float(walk.constants.need(node, node.input(place), name).reshape(()))
    step = walk.fusible(node.input(0), ("product", "sum")) if ends[0] == 0 and ends[1] > 0 else None
    if step is None:
        _function(walk, node)
        return
    step.relu, step.cap = True, None if np.isinf(ends[1]) else ends[1]
    walk.rename(step, node, walk.flow(node.input(0)).layout)


@handles(
    *("Abs", "Atan", "Celu", "Cos", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish"),
    *("Neg", "PRelu", "Pow", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Swish", "Tanh"),
    *("ThresholdedRelu", "Floor", "Ceil", "Round", "Max", "Min"),
)
def _function(walk: Walk, node: Node) -> None:
    """Lower an operator on single numbers, all of one value; it becomes a table with those before and after it."""
    flows = [walk.flow(name) for name in node.inputs if name in walk.flows]
    fixed = [name for name in node.inputs if name and name not in walk.flows]
    for name in fixed:
        if walk.constants.need(node, name, "operand").size != 1:
            raise UnsupportedError(f"its constant '{name}' must be one number")
    layout = flows[0].layout
    if any(flow.root != flows[0].root or not flow.layout.same(layout) for flow in flows):
        raise UnsupportedError("it joins two activations, which has no integer form here")
    if walk.graph.values[node.output(0)].shape != walk.graph.values[flows[0].name].shape:
        raise UnsupportedError("its constants change the shape")
    functions: list[Node] = []
    for flow in flows:
        functions += [function for function in flow.functions if function not in functions]
    renamed = {name: _called(walk.flows[name]) for name in node.inputs if name in walk.flows}
    functions.append(replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs)))
    out = node.output(0)
    walk.flows[out] = Flow(root=flows[0].root, layout=layout, functions=tuple(functions), name=out)


def _called(flow: Flow) -> str:
    return flow.functions[-1].output(0) if flow.functions else "x"


@handles("Add", "Sub", "Mul", "Div", "Sum", "Mean")
def _arithmetic(walk: Walk, node: Node) -> None:
    names = [name for name in node.inputs if name]
    flows = [walk.flow(name) for name in names if name in walk.flows]
    if len(flows) == 1 and len(names) == 2:
        _with_constant(walk, node)
    elif len({flow.root for flow in flows}) == 1 and len(flows) == len(names) and any(f.functions for f in flows):
        _function(walk, node)
    elif node.op in ("Add", "Sub", "Sum") and len(flows) == len(names) > 1:
        _sum(walk, node)
    else:
        raise UnsupportedError("it joins activations in a way that has no integer form here")


def _with_constant(walk: Walk, node: Node) -> None:
    first = node.input(0) in walk.flows
    name, other = (node.input(0), node.input(1)) if first else (node.input(1), node.input(0))
    flow = walk.flow(name)
    if walk.graph.values[node.output(0)].shape != walk.graph.values[name].shape:
        raise UnsupportedError("its constant changes the shape")
    ndim = len(walk.graph.values[name].shape)
    constant = channel_constant(flow.layout, walk.constants.need(node, other, "operand"), ndim)
    if constant is None:
        raise UnsupportedError("its constant must be one number, or one for each channel")
    one, none = np.ones(1), np.zeros(1)
    pair = {
        ("Add", True): (one, constant),
        ("Add", False): (one, constant),
        ("Sum", True): (one, constant),
        ("Sum", False): (one, constant),
        ("Sub", True): (one, -constant),
        ("Sub", False): (-one, constant),
        ("Mul", True): (constant, none),
        ("Mul", False): (constant, none),
    }.get((node.op, first))
    if node.op == "Div" and first and constant.all():
        pair = 1.0 / constant, none
    plain = constant.size == 1 and walk.fusible(name, ("product",)) is None
    if pair is None or plain:
        if node.op == "Mean":
            raise UnsupportedError("the mean with a constant has no integer form")
        _function(walk, node)
    else:
        affine(walk, node, name, *pair)


def _sum(walk: Walk, node: Node) -> None:
    parts = [walk.make(name) for name in node.inputs]
    layout = parts[0].layout
    if any(not part.layout.same(layout) for part in parts):
        shapes = ", ".join(str(part.layout.shape) for part in parts)
        raise UnsupportedError(f"its inputs must have one shape and order, got {shapes}")
    walk.add(
        kind="sum",
        node=node,
        inputs=tuple(part.root for part in parts),
        output=node.output(0),
        layout=layout,
        signs=(1, -1) if node.op == "Sub" else (1,) * len(parts),
    )
