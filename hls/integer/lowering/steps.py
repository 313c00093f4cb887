"""What lowering makes of a float graph: steps with float weights, layouts of values, scales that are given."""

__all__ = ["Function", "Given", "Layout", "Lowered", "Step", "Ties", "UnsupportedError", "Weights", "flat_order"]

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.hls.graph import Graph, Node, Value
from tetrit.hls.integer.window import Window

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Given:
    """A quantisation that a tensor must have.

    Attributes
    ----------
    scale : float
        Real value of 1.
    format : str
        Signed integers.
    low, high : int
        Least and greatest integer, which may lie within those of the format.
    """

    scale: float
    format: str
    low: int
    high: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """Weights of a product: (outputs, inputs per group, kernel height, kernel width), or (outputs, inputs).

    Attributes
    ----------
    values : ndarray of float64
        Real values.
    codes : ndarray of uint8 or uint16, or None
        Of `format`, where the network states them: then the values are `scale` times theirs.
    scale : ndarray of float64 or None
        One an output.
    format : str or None
    """

    values: Floats
    codes: npt.NDArray[Any] | None = None
    scale: Floats | None = None
    format: str | None = None

    def scaled(self, factor: Floats) -> "Weights":
        """Return the weights with every output multiplied."""
        shape = (-1,) + (1,) * (self.values.ndim - 1)
        values = self.values * factor.reshape(shape)
        if self.codes is None or self.scale is None or self.format is None or not factor.all():
            return Weights(values=values)  # a scale cannot be 0: quantised anew
        known = formats.get(self.format)
        decoded = known.decode(self.codes)
        turned = np.where(factor.reshape(shape) < 0, -decoded, decoded)
        codes = known.encode(turned)
        if (known.decode(codes) != turned).any():
            raise UnsupportedError(f"its weights of {self.format} cannot change their sign, as a negative factor wants")
        return Weights(values=values, codes=codes, scale=self.scale * np.abs(factor), format=self.format)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the integers of a value lie, against its float tensor.

    Attributes
    ----------
    shape : tuple of int
        Of the integers, without the batch.
    is_map : bool
        Whether these are height, width, channels of a float tensor (batch, channels, height, width), or, with height
        1, of a signal (batch, channels, width).
    order : ndarray of int64 or None
        For each integer of a flattened map its place in the float tensor; None where the order is the same.
    """

    shape: tuple[int, ...]
    is_map: bool = False
    order: npt.NDArray[np.int64] | None = field(default=None, compare=False)

    def same(self, other: "Layout") -> bool:
        """Return whether two values can be added element by element."""
        if (self.shape, self.is_map) != (other.shape, other.is_map):
            return False
        if self.order is None or other.order is None:
            return self.order is other.order
        return bool(np.array_equal(self.order, other.order))


def flat_order(layout: Layout) -> npt.NDArray[np.int64] | None:
    """Return the order of a layout's integers once they are flattened; None where it is that of the float tensor."""
    if not layout.is_map:
        return layout.order
    h, w, c = layout.shape
    if c == 1 or h * w == 1:
        return None
    return np.arange(c * h * w, dtype=np.int64).reshape(c, h, w).transpose(1, 2, 0).ravel()


@dataclass(frozen=True, kw_only=True, eq=False)
class Function:
    """A function of one number, as float operators.

    Attributes
    ----------
    nodes : tuple of Node
        In order, from ``x`` to the output of the last; none for the identity.
    constants : mapping of str to ndarray
        Without axes.
    """

    nodes: tuple[Node, ...] = ()
    constants: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __call__(self, x: Floats) -> Floats:
        """Return the function of every number of a vector, in float32 as the operators have it."""
        if not self.nodes:
            return x
        out = self.nodes[-1].output(0)
        graph = Graph(
            name="function",
            inputs=(Value(name="x", shape=x.shape),),
            outputs=(out,),
            nodes=self.nodes,
            constants=self.constants,
        )
        return graph.run({"x": x.astype(np.float32)})[out].astype(np.float64)


@dataclass(kw_only=True, eq=False)
class Step:
    """One node to be; lowering changes it while what follows is fused into it.

    Attributes
    ----------
    kind : str
        ``product``, ``sum``, ``max``, ``average``, ``concat``, ``reshape`` or ``lookup``.
    name : str
        Of the float node.
    inputs : tuple of str
        Values.
    output : str
        The value that it gives.
    shape : tuple of int
        Of the output's integers.
    weights, bias : Weights and ndarray of float64, or None
        Of a product; in real units.
    window : Window or None
        Of a product or a pool.
    signs : tuple of int
        Of a sum's inputs, 1 or -1.
    relu : bool
        Whether negative results become 0.
    cap : float or None
        Real value beyond which results saturate.
    axis : int
        Of a concat.
    function : Function or None
        Of a lookup.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    output: str
    shape: tuple[int, ...]
    weights: Weights | None = None
    bias: Floats | None = None
    window: Window | None = None
    signs: tuple[int, ...] = ()
    relu: bool = False
    cap: float | None = None
    axis: int = -1
    function: Function | None = None


class Ties:
    """Which values must have one scale and format, and which quantisations are given."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._given: dict[str, Given] = {}

    def find(self, name: str) -> str:
        """Return the value that stands for all that are tied to this one."""
        while (parent := self._parent.get(name, name)) != name:
            name = parent
        return name

    def given(self, name: str) -> Given | None:
        """Return the quantisation that a value must have, if one is given."""
        return self._given.get(self.find(name))

    def give(self, name: str, quantisation: Given) -> None:
        """Fix the quantisation of a value and of all that are tied to it; it must have none, or the same."""
        known = self._given.setdefault(self.find(name), quantisation)
        if known != quantisation:
            raise UnsupportedError(f"'{name}' has another quantisation already, of scale {known.scale:g}")

    def tie(self, *names: str) -> None:
        """Tie values, of which no two may have different quantisations."""
        first = self.find(names[0])
        for name in names[1:]:
            other = self.find(name)
            if other != first:
                self._parent[other] = first
                if other in self._given:
                    self.give(first, self._given.pop(other))


@dataclass(frozen=True, kw_only=True, eq=False)
class Lowered:
    """A float graph as steps.

    Attributes
    ----------
    graph : Graph
        Where it comes from.
    inputs : mapping of str to tuple of int
        Shape of the integers of every input.
    outputs : mapping of str to str
        Name of every output and the value that it is.
    steps : tuple of Step
        In order.
    ties : Ties
        Values that must have one quantisation, and those whose quantisation the network states.
    source : mapping of str to str
        For each value the float value whose numbers it has, for calibration.
    """

    graph: Graph
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, str]
    steps: tuple[Step, ...]
    ties: Ties
    source: Mapping[str, str]


class UnsupportedError(InvalidValueError):
    """Why one node cannot be integers; the walk collects them."""
