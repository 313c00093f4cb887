"""The float network graph: nodes, values and the graph itself, with the semantics of ONNX operators."""

__all__ = ["Graph", "Node", "Value"]

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError

if TYPE_CHECKING:
    from tetrit.hls.memory import TensorGraph
    from tetrit.sim import Workload

Array = npt.NDArray[Any]


def _names(what: str, names: Any) -> tuple[str, ...]:
    if isinstance(names, str):
        raise TypeError(f"{what} must be a sequence of names, got {names!r}")
    result = tuple(names)
    for name in result:
        if not isinstance(name, str):
            raise TypeError(f"{what} must be names, got {name!r}")
    return result


@dataclass(frozen=True, kw_only=True)
class Value:
    """What is known of a tensor before it is computed.

    Attributes
    ----------
    name : str
        Unique within the graph.
    shape : tuple of int
        Every dimension, the batch axis included; 0 is allowed, as ONNX allows it.
    dtype : str
        Name of a numpy dtype: ``"float32"``, ``"int64"``, ``"bool"``, ...
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidValueError(f"the name of a value must be a string that is not empty, got {self.name!r}")
        shape = tuple(checks.integer(f"shape of '{self.name}'", size, minimum=0) for size in self.shape)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "dtype", np.dtype(self.dtype).name)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Bytes of the tensor as numpy stores it."""
        return self.size * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operator applied to named values.

    Attributes
    ----------
    name : str
        Unique within the graph.
    op : str
        ONNX operator, e.g. ``"Conv"``; the QONNX operators ``Quant``, ``BipolarQuant`` and ``Trunc`` as well.
    inputs, outputs : tuple of str
        Names of values; an empty name is an optional one that is absent.
    attributes : mapping of str to Any
        ONNX attributes: int, float, str, or tuples of them. An attribute that is absent has ONNX's default.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for what in ("name", "op"):
            text = getattr(self, what)
            if not isinstance(text, str) or not text:
                raise InvalidValueError(f"the {what} of a node must be a string that is not empty, got {text!r}")
        object.__setattr__(self, "inputs", _names(f"inputs of {self}", self.inputs))
        object.__setattr__(self, "outputs", _names(f"outputs of {self}", self.outputs))
        if not any(self.outputs):
            raise InvalidValueError(f"{self} must have an output")
        plain = {name: tuple(v) if isinstance(v, list) else v for name, v in self.attributes.items()}
        object.__setattr__(self, "attributes", MappingProxyType(plain))

    def __str__(self) -> str:
        return f"node '{self.name}' ({self.op})"

    def __reduce__(self) -> tuple[Any, ...]:  # a mapping proxy cannot be pickled
        return _node, (self.name, self.op, self.inputs, self.outputs, dict(self.attributes))

    def input(self, place: int) -> str:
        """Return the name of an input, empty where it is absent."""
        return self.inputs[place] if place < len(self.inputs) else ""

    def output(self, place: int) -> str:
        """Return the name of an output, empty where it is absent."""
        return self.outputs[place] if place < len(self.outputs) else ""


def _node(name: str, op: str, inputs: Any, outputs: Any, attributes: Any) -> Node:
    return Node(name=name, op=op, inputs=inputs, outputs=outputs, attributes=attributes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """A network in float: operators in the order they run, with ONNX's semantics and layouts (N, C, H, W).

    Contract: every name is given once, and nothing is used before the node that makes it. Shapes are fixed.

    Attributes
    ----------
    name : str
        Of the network.
    inputs : tuple of Value
        What `run` is given.
    outputs : tuple of str
        What `run` returns; values of nodes, inputs or constants.
    nodes : tuple of Node
        In topological order.
    constants : mapping of str to ndarray
        Weights and other fixed tensors.

    Raises
    ------
    InvalidValueError
        If a name is given twice or is not known, or the nodes form a cycle or stand in the wrong order.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.hls import Graph, Node, Value
    >>> node = Node(name="r", op="Relu", inputs=("x",), outputs=("y",))
    >>> graph = Graph(name="g", inputs=(Value(name="x", shape=(1, 3)),), outputs=("y",), nodes=(node,), constants={})
    >>> graph.run({"x": np.array([[-1.0, 0.0, 2.0]], np.float32)})["y"].tolist()
    [[0.0, 0.0, 2.0]]
    """

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "outputs", _names("`outputs`", self.outputs))
        object.__setattr__(self, "nodes", tuple(self.nodes))
        constants = {name: np.asarray(array) for name, array in self.constants.items()}
        object.__setattr__(self, "constants", MappingProxyType(constants))
        if not self.outputs:
            raise InvalidValueError(f"graph '{self.name}' must have an output")
        self._check_names()

    def _check_names(self) -> None:
        makers: dict[str, str] = {}
        for value in self.inputs:
            _define(makers, value.name, "an input")
        for name in self.constants:
            _define(makers, name, "a constant")
        known = set(makers)
        seen: set[str] = set()
        for node in self.nodes:
            if node.name in seen:
                raise InvalidValueError(f"two nodes have the name '{node.name}'")
            seen.add(node.name)
            for output in filter(None, node.outputs):
                _define(makers, output, str(node))
        for node in self.nodes:
            for source in filter(None, node.inputs):
                if source not in makers:
                    raise InvalidValueError(f"{node} uses '{source}', which nothing makes")
                if source not in known:
                    cycle = _cycle(self.nodes)
                    why = f"the nodes form a cycle: {' -> '.join(cycle)}" if cycle else "the order must be topological"
                    raise InvalidValueError(f"{node} uses '{source}' before {makers[source]} makes it; {why}")
            known.update(filter(None, node.outputs))
        for output in self.outputs:
            if output not in known:
                raise InvalidValueError(f"output '{output}' is made by nothing")

    def __reduce__(self) -> tuple[Any, ...]:
        return _graph, (self.name, self.inputs, self.outputs, self.nodes, dict(self.constants))

    @cached_property
    def values(self) -> Mapping[str, Value]:
        """Shape and dtype of every value, by shape inference; InvalidValueError names the node that does not fit."""
        return MappingProxyType({name: fact.value for name, fact in self._facts.items()})

    @cached_property
    def _facts(self) -> Any:
        from tetrit.hls.graph.shapes import infer

        return infer(self)

    def known(self, name: str) -> Array | None:
        """Return the content of a value that follows from constants and shapes alone, or None if it needs data."""
        content: Array | None = self._facts[name].content
        return content

    def run(self, inputs: Mapping[str, npt.ArrayLike], *, memory_bytes: int | None = None) -> dict[str, Array]:
        """Execute the graph in numpy.

        Parameters
        ----------
        inputs : mapping of str to array_like
            One array for every input, of its shape; other dtypes are converted if that loses no kind
            (float64 to float32, int32 to int64).
        memory_bytes : int, optional
            The most memory that the tensors alive at one time may take; that of this machine if not given.

        Returns
        -------
        dict of str to ndarray
            Every output.

        Raises
        ------
        InvalidValueError
            If an input is missing, unknown or of another shape, or the memory would not do. It is estimated before
            anything is allocated.
        """
        from tetrit.hls.graph.execute import run

        return run(self, inputs, memory_bytes=memory_bytes)

    def workloads(self) -> list[tuple[str, "Workload", int]]:
        """Return the matrix products of the network: (node name, product, how many of it), in the nodes' order.

        A convolution is lowered (im2col): m = output positions, k = inputs per output, n = channels, count = groups; a
        depthwise one has k = kernel size and n = 1. A product of activations (attention) counts once per head.
        """
        from tetrit.hls.graph.lower import workloads

        return workloads(self)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all matrix products."""
        return sum(work.macs * count for _, work, count in self.workloads())

    def tensor_graph(self, bytes_per_value: int = 1) -> "TensorGraph":
        """Return the operators and the sizes of their activations, for `tetrit.hls.plan_memory`.

        Weights stream and are not part of it; nor is what follows from shapes alone. Reshaping makes no new tensor.

        Parameters
        ----------
        bytes_per_value : int
            Size of one activation.
        """
        from tetrit.hls.graph.lower import tensor_graph

        return tensor_graph(self, bytes_per_value)


def _graph(name: str, inputs: Any, outputs: Any, nodes: Any, constants: Any) -> Graph:
    return Graph(name=name, inputs=inputs, outputs=outputs, nodes=nodes, constants=constants)


def _define(makers: dict[str, str], name: str, maker: str) -> None:
    if not name:
        raise InvalidValueError(f"{maker} has an empty name")
    if name in makers:
        raise InvalidValueError(f"the name '{name}' is given twice: by {makers[name]} and by {maker}")
    makers[name] = maker


def _cycle(nodes: tuple[Node, ...]) -> list[str]:
    """Return the names of nodes along one cycle, first and last the same; none, an empty list."""
    maker = {output: node for node in nodes for output in node.outputs if output}
    done: set[str] = set()
    for start in nodes:
        path: list[str] = []
        on_path: set[str] = set()
        stack = [(start, False)]
        while stack:  # depth first without recursion: graphs may be long
            node, leave = stack.pop()
            if leave:
                path.pop()
                on_path.discard(node.name)
                done.add(node.name)
            elif node.name in on_path:
                return [*path[path.index(node.name) :], node.name][::-1]
            elif node.name not in done:
                path.append(node.name)
                on_path.add(node.name)
                stack.append((node, True))
                stack += [(maker[source], False) for source in node.inputs if source in maker]
    return []
