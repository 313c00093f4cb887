"""The walk over a float graph: which value is what, what is fused, and which nodes cannot be integers."""

__all__ = ["Flow", "Walk", "handles", "lower"]

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tetrit.errors import InvalidValueError
from tetrit.hls.graph import Graph, Node, Value
from tetrit.hls.integer.lowering.constants import Constants, Stated
from tetrit.hls.integer.lowering.steps import Function, Given, Layout, Lowered, Step, Ties, UnsupportedError

_SPATIAL = (
    *("Conv", "BatchNormalization", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"),
    *("ConvTranspose", "InstanceNormalization"),
)
_HANDLERS: dict[str, Callable[["Walk", Node], None]] = {}


def handles(*ops: str) -> Callable[[Callable[["Walk", Node], None]], Callable[["Walk", Node], None]]:
    """Register a function that lowers nodes of these operators."""

    def register(function: Callable[["Walk", Node], None]) -> Callable[["Walk", Node], None]:
        for op in ops:
            _HANDLERS[op] = function
        return function

    return register


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What a float value is: the value `root`, or functions of each of its numbers, not yet made.

    Attributes
    ----------
    root : str
        A value that a step gives, or an input.
    layout : Layout
    functions : tuple of Node
        Elementwise nodes on the way from the root, which they call ``x``; none where the value is the root.
    name : str
        Of the float value.
    given : Given or None
        Quantisation that a value not yet made must have.
    padding : tuple of int
        Zeros around a map, not yet made: top, left, bottom, right.
    """

    root: str
    layout: Layout
    functions: tuple[Node, ...]
    name: str
    given: Given | None = None
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


class Walk:
    """The state of the walk.

    Attributes
    ----------
    graph : Graph
    constants : Constants
    batch : int
    flows : dict of str to Flow
    steps : list of Step
    ties : Ties
    source : dict of str to str
    """

    def __init__(self, graph: Graph, given: Mapping[str, Given], stated: Mapping[str, Stated]) -> None:
        self.graph = graph
        self.constants = Constants(graph, stated)
        self.flows: dict[str, Flow] = {}
        self.steps: list[Step] = []
        self.ties = Ties()
        self.source: dict[str, str] = {}
        self._wanted = dict(given)
        self._met: set[str] = set()
        self.uses = Counter(name for node in graph.nodes for name in node.inputs if name)
        self.uses.update(graph.outputs)
        self._broken: set[str] = set()
        self._made: dict[str, str] = {}
        batches = {value.shape[0] if value.shape else 0 for value in graph.inputs}
        if len(batches) != 1 or batches == {0}:
            raise InvalidValueError(f"all inputs of graph '{graph.name}' must have one batch axis first, got {batches}")
        self.batch = batches.pop()

    def run(self) -> Lowered:
        """Lower all nodes, or say which ones cannot be."""
        problems = []
        for value in self.graph.inputs:
            self._input(value)
        for node in self.graph.nodes:
            if self.constants.folds(node):
                continue
            if node.op not in _HANDLERS:
                problems.append(f"{node} has no integer form")
                self._broken.update(node.outputs)
            elif self._broken & set(node.inputs):
                self._broken.update(node.outputs)
            else:
                try:
                    _HANDLERS[node.op](self, node)
                except UnsupportedError as error:
                    problems.append(f"{node}: {error}")
                    self._broken.update(node.outputs)
        outputs = {}
        for name in self.graph.outputs:
            if name in self._broken:
                continue
            try:
                if name not in self.flows:
                    raise UnsupportedError("it does not depend on the inputs")
                flow = self.make(name)
                if flow.layout.order is not None:
                    raise UnsupportedError("it is a flattened feature map, whose order differs; give the map itself")
                outputs[name] = flow.root
            except UnsupportedError as error:
                problems.append(f"output '{name}': {error}")
        if problems:
            raise InvalidValueError(
                f"graph '{self.graph.name}' cannot be computed in integers, {len(problems)} "
                f"{'places are' if len(problems) > 1 else 'place is'} in the way: {'; '.join(problems)}"
            )
        unknown = sorted(set(self._wanted) - self._met)
        if unknown:
            raise InvalidValueError(f"a scale is given for '{unknown[0]}', which is no tensor of the integer network")
        return Lowered(
            graph=self.graph,
            inputs={value.name: self.flows[value.name].layout.shape for value in self.graph.inputs},
            outputs=outputs,
            steps=tuple(self.steps),
            ties=self.ties,
            source=self.source,
        )

    def _input(self, value: Value) -> None:
        users = {node.op for node in self.graph.nodes if value.name in node.inputs}
        shape = value.shape[1:]
        if len(shape) == 3 or (len(shape) == 2 and users & set(_SPATIAL)):
            c, h, w = (shape[0], 1, shape[1]) if len(shape) == 2 else shape
            layout = Layout(shape=(h, w, c), is_map=True)
        else:
            layout = Layout(shape=shape)
        self.flows[value.name] = Flow(root=value.name, layout=layout, functions=(), name=value.name)
        self.source[value.name] = value.name
        if value.name in self._wanted:
            self.make(value.name)

    def flow(self, name: str, *, padded: bool = False) -> Flow:
        """Return what a value is; UnsupportedError for a constant, and for padding where `padded` is not set."""
        if name not in self.flows:
            raise UnsupportedError(f"'{name}' must not be a constant" if name else "an input is missing")
        flow = self.flows[name]
        if any(flow.padding) and not padded:
            raise UnsupportedError("the padding before it has an integer form only before a convolution")
        return flow

    def make(self, name: str, *, padded: bool = False) -> Flow:
        """Return what a value is, once a step gives it, with the quantisation that is wanted for it."""
        flow = self.flow(name, padded=padded)
        if flow.functions:
            flow = self._looked_up(flow)
            if flow.given is not None:
                flow = self.quantized(flow, flow.given, flow.name)
        if name in self._wanted and name not in self._met:
            self._met.add(name)
            flow = self.quantized(flow, self._wanted[name], name)
        self.flows[name] = flow
        return flow

    def quantized(self, flow: Flow, quantisation: Given, name: str) -> Flow:
        """Give a value a quantisation; where it has another one already, a table takes it there."""
        known = self.ties.given(flow.root)
        if known is None or known == quantisation:
            self.ties.give(flow.root, quantisation)
            return flow
        root = self.rescaled(flow.root, flow.layout, f"{name}/requantized")
        self.ties.give(root, quantisation)
        return replace(flow, root=root)

    def rescaled(self, root: str, layout: Layout, name: str) -> str:
        """Add a step that takes a value to another scale, and return what it gives."""
        step = Step(kind="lookup", name=name, inputs=(root,), output=name, shape=layout.shape, function=Function())
        self.steps.append(step)
        self.source[name] = self.source[root]
        return name

    def _looked_up(self, flow: Flow) -> Flow:
        if flow.name not in self._made:
            self._made[flow.name] = self.add(
                kind="lookup",
                node=flow.functions[-1],
                inputs=(flow.root,),
                output=flow.name,
                layout=flow.layout,
                function=self._function(flow.functions),
            )
        return replace(flow, root=self._made[flow.name], functions=())

    def _function(self, nodes: tuple[Node, ...]) -> Function:
        made = {"x", *(name for node in nodes for name in node.outputs)}
        fixed = {name for node in nodes for name in node.inputs if name and name not in made}
        # every constant has one number, without axes it fits whatever the shape
        constants = {name: np.reshape(self.constants.need(nodes[-1], name, name), ()) for name in sorted(fixed)}
        return Function(nodes=nodes, constants=constants)

    def add(
        self,
        *,
        kind: str,
        node: Node,
        inputs: tuple[str, ...],
        output: str,
        layout: Layout,
        name: str = "",
        **fields: Any,
    ) -> str:
        """Add a step, and return the value that it gives."""
        step = Step(kind=kind, name=name or node.name, inputs=inputs, output=output, shape=layout.shape, **fields)
        self.steps.append(step)
        self.source[output] = output if output in self.graph.values else node.output(0)
        if output in self.graph.values:
            self.flows[output] = Flow(root=output, layout=layout, functions=(), name=output)
        return output

    def alias(self, node: Node, flow: Flow, layout: Layout | None = None) -> None:
        """Let a node's output be what a value is."""
        out = node.output(0)
        self.flows[out] = replace(flow, layout=flow.layout if layout is None else layout)
        if not flow.functions:
            self.uses[flow.root] += self.uses[out] - 1

    def extend(self, node: Node, flow: Flow, given: Given | None = None) -> None:
        """Let a node's output be a function of each number of a value that is itself not yet made."""
        renamed = replace(node, inputs=(flow.functions[-1].output(0), *node.inputs[1:]))
        out = node.output(0)
        self.flows[out] = replace(flow, functions=(*flow.functions, renamed), name=out, given=given)

    def fusible(self, name: str, kinds: tuple[str, ...]) -> Step | None:
        """Return the step that gives a value, if what follows may be fused into it."""
        flow = self.flow(name)
        if (
            flow.functions
            or name in self._wanted
            or self.ties.given(flow.root) is not None
            or self.uses[flow.root] != 1
        ):
            return None
        step = next((step for step in self.steps if step.output == flow.root), None)
        if step is None or step.kind not in kinds or step.relu or step.cap is not None:
            return None
        return step

    def rename(self, step: Step, node: Node, layout: Layout) -> None:
        """Let a step give the output of a node that has been fused into it."""
        old, out = step.output, node.output(0)
        del self.source[old]
        step.output = out
        self.source[out] = out
        self.flows[out] = Flow(root=out, layout=layout, functions=(), name=out)


def lower(
    graph: Graph,
    *,
    given: Mapping[str, Given],
    stated: Mapping[str, Stated],
) -> Lowered:
    """Lower a float graph.

    Parameters
    ----------
    graph : Graph
    given : mapping of str to Given
        Quantisations that values must have.
    stated : mapping of str to (codes, scale, format)
        Codes behind constants of the graph; the scale broadcasts against them.

    Raises
    ------
    InvalidValueError
        If something has no integer form; the message names all such nodes.
    """
    return Walk(graph, given, stated).run()
