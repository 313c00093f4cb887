"""Building a network graph operator by operator, with names made and shapes checked at once."""

__all__ = ["Builder"]

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hls.graph.ir import Graph, Node, Value
from tetrit.hls.graph.rules import Fact
from tetrit.hls.graph.shapes import made

Sizes = int | Sequence[int]


class Builder:
    """Makes a `Graph`; every method adds a node and returns the name of its output.

    Contract: shapes are inferred as nodes are added, so that what does not fit is refused where it is written. Weights
    that are not given are zeros without memory (a broadcast scalar), for networks whose values do not matter.

    Parameters
    ----------
    name : str
        Of the network.

    Examples
    --------
    >>> from tetrit.hls.graph.build import Builder
    >>> b = Builder("tiny")
    >>> x = b.input("image", (1, 3, 8, 8))
    >>> x = b.relu(b.batch_norm(b.conv(x, 16, 3, stride=2, padding=1)))
    >>> x = b.linear(b.flatten(b.global_average_pool(x)), 10)
    >>> graph = b.build([x])
    >>> graph.values[x].shape, graph.macs
    ((1, 10), 7072)
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._inputs: list[Value] = []
        self._nodes: list[Node] = []
        self._names: set[str] = set()
        self._constants: dict[str, npt.NDArray[Any]] = {}
        self._facts: dict[str, Fact] = {}

    def input(self, name: str, shape: Sequence[int], dtype: str = "float32") -> str:
        """Add an input of the network."""
        self._refuse_known(name)
        value = Value(name=name, shape=tuple(shape), dtype=dtype)
        self._inputs.append(value)
        self._facts[name] = Fact(value)
        return name

    def constant(self, array: npt.ArrayLike, name: str | None = None) -> str:
        """Add a fixed tensor."""
        name = self._free("constant") if name is None else name
        self._refuse_known(name)
        content = np.asarray(array)
        self._constants[name] = content
        self._facts[name] = Fact(Value(name=name, shape=content.shape, dtype=content.dtype.name), content)
        return name

    def shape(self, value: str) -> tuple[int, ...]:
        """Return the shape of a value."""
        return self._fact(value).shape

    def node(
        self, op: str, inputs: Sequence[str], *, name: str | None = None, outputs: int = 1, **attributes: Any
    ) -> Any:
        """Add any operator; attributes that are None are left out.

        Parameters
        ----------
        op : str
            ONNX operator.
        inputs : sequence of str
            Names of values; empty for an optional one that is absent.
        name : str, optional
            Of the node and of its first output; made from the operator if not given.
        outputs : int
            How many outputs the node has.
        **attributes
            Of the operator.

        Returns
        -------
        str or tuple of str
            The output, or outputs if there are more than one.
        """
        name = self._free(op.lower()) if name is None else name
        made_names = (name, *(f"{name}.{place}" for place in range(1, checks.integer("outputs", outputs))))
        for output in made_names:
            self._refuse_known(output)
        for source in filter(None, inputs):
            self._fact(source)
        given = {key: value for key, value in attributes.items() if value is not None}
        node = Node(name=name, op=op, inputs=tuple(inputs), outputs=made_names, attributes=given)
        for fact in made(node, self._facts):
            self._facts[fact.value.name] = fact
        self._nodes.append(node)
        self._names.add(name)
        return made_names[0] if outputs == 1 else made_names

    def conv(
        self,
        x: str,
        channels: int,
        kernel: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        groups: int = 1,
        dilation: Sizes = 1,
        name: str | None = None,
        *,
        weight: npt.ArrayLike | None = None,
        bias: npt.ArrayLike | bool = False,
    ) -> str:
        """Add a convolution over all axes after the channels.

        Parameters
        ----------
        x : str
            Value of shape (batch, channels, ...).
        channels : int
            Of the output.
        kernel, stride, padding, dilation : int or sequence of int
            One for all spatial axes, or one each; `padding` on both sides (or all begins, then all ends).
        groups : int
            Of channels; as many as there are channels makes it depthwise.
        name : str, optional
            Of the node.
        weight : array_like, optional
            Shape (channels, channels of x / groups, *kernel); zeros if not given.
        bias : array_like or bool
            Shape (channels,), or True for zeros.
        """
        shape = self.shape(x)
        axes = len(shape) - 2
        name = self._free("conv") if name is None else name
        size = _each(kernel, axes)
        pads = _each(padding, axes)
        inputs = [x, self._parameter(f"{name}.weight", weight, (channels, shape[1] // groups, *size))]
        inputs += self._bias(name, bias, channels)
        return self._one(
            "Conv",
            inputs,
            name,
            kernel_shape=size,
            strides=_each(stride, axes),
            pads=pads if len(pads) == 2 * axes else pads * 2,
            dilations=_each(dilation, axes),
            group=groups,
        )

    def linear(
        self,
        x: str,
        features: int,
        name: str | None = None,
        *,
        weight: npt.ArrayLike | None = None,
        bias: npt.ArrayLike | bool = True,
    ) -> str:
        """Add a fully connected layer over the last axis: Gemm on two axes, else MatMul and Add.

        Parameters
        ----------
        x : str
            Value of shape (..., features of x).
        features : int
            Of the output.
        name : str, optional
            Of the node.
        weight : array_like, optional
            Shape (features of x, features); zeros if not given.
        bias : array_like or bool
            Shape (features,), True for zeros, False for none.
        """
        name = self._free("linear") if name is None else name
        shape = self.shape(x)
        w = self._parameter(f"{name}.weight", weight, (shape[-1], features))
        extra = self._bias(name, bias, features)
        if len(shape) == 2:
            return self._one("Gemm", [x, w, *extra], name)
        product = self._one("MatMul", [x, w], name)
        return self._one("Add", [product, *extra], f"{name}.add") if extra else product

    def batch_norm(self, x: str, name: str | None = None, *, epsilon: float = 1e-5) -> str:
        """Add a batch normalisation with scale and variance 1, bias and mean 0."""
        name = self._free("batchnorm") if name is None else name
        channels = (self.shape(x)[1],)
        parameters = [
            self._constant_of(f"{name}.{part}", value, channels)
            for part, value in (("scale", 1.0), ("bias", 0.0), ("mean", 0.0), ("variance", 1.0))
        ]
        return self._one("BatchNormalization", [x, *parameters], name, epsilon=epsilon)

    def layer_norm(self, x: str, name: str | None = None, *, epsilon: float = 1e-5) -> str:
        """Add a layer normalisation over the last axis with scale 1 and bias 0."""
        name = self._free("layernorm") if name is None else name
        size = self.shape(x)[-1:]
        inputs = [x, self._constant_of(f"{name}.scale", 1.0, size), self._constant_of(f"{name}.bias", 0.0, size)]
        return self._one("LayerNormalization", inputs, name, epsilon=epsilon)

    def relu(self, x: str, name: str | None = None) -> str:
        """Add max(x, 0)."""
        return self._one("Relu", [x], name)

    def gelu(self, x: str, name: str | None = None) -> str:
        """Add x times the normal distribution function of x."""
        return self._one("Gelu", [x], name)

    def add(self, a: str, b: str, name: str | None = None) -> str:
        """Add a + b, broadcast."""
        return self._one("Add", [a, b], name)

    def concat(self, values: Sequence[str], axis: int = 1, name: str | None = None) -> str:
        """Join values along an axis."""
        return self._one("Concat", list(values), name, axis=axis)

    def matmul(self, a: str, b: str, name: str | None = None) -> str:
        """Add the matrix product over the last two axes."""
        return self._one("MatMul", [a, b], name)

    def softmax(self, x: str, axis: int = -1, name: str | None = None) -> str:
        """Add a softmax along an axis."""
        return self._one("Softmax", [x], name, axis=axis)

    def max_pool(
        self,
        x: str,
        kernel: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        name: str | None = None,
        *,
        ceil_mode: bool = False,
    ) -> str:
        """Add a maximum over windows; the stride is the kernel's size if not given."""
        return self._pool("MaxPool", x, kernel, stride, padding, name, ceil_mode=int(ceil_mode))

    def average_pool(
        self,
        x: str,
        kernel: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        name: str | None = None,
        *,
        ceil_mode: bool = False,
        count_include_pad: bool = False,
    ) -> str:
        """Add a mean over windows, without the padding unless `count_include_pad`."""
        count = int(count_include_pad)
        return self._pool(
            "AveragePool", x, kernel, stride, padding, name, ceil_mode=int(ceil_mode), count_include_pad=count
        )

    def global_average_pool(self, x: str, name: str | None = None) -> str:
        """Add a mean over all axes after the channels, which stay with size 1."""
        return self._one("GlobalAveragePool", [x], name)

    def flatten(self, x: str, axis: int = 1, name: str | None = None) -> str:
        """Join the axes before and those from `axis` on, into two."""
        return self._one("Flatten", [x], name, axis=axis)

    def reshape(self, x: str, shape: Sequence[int], name: str | None = None) -> str:
        """Give a value another shape; -1 is what is left, 0 copies a size."""
        name = self._free("reshape") if name is None else name
        wanted = self.constant(np.array(list(shape), np.int64), f"{name}.shape")
        return self._one("Reshape", [x, wanted], name)

    def transpose(self, x: str, order: Sequence[int], name: str | None = None) -> str:
        """Reorder the axes."""
        return self._one("Transpose", [x], name, perm=tuple(order))

    def build(self, outputs: Sequence[str]) -> Graph:
        """Return the graph with these outputs."""
        for output in outputs:
            self._fact(output)
        return Graph(
            name=self.name,
            inputs=tuple(self._inputs),
            outputs=tuple(outputs),
            nodes=tuple(self._nodes),
            constants=self._constants,
        )

    def _one(self, op: str, inputs: Sequence[str], name: str | None, **attributes: Any) -> str:
        return str(self.node(op, inputs, name=name, **attributes))

    def _pool(
        self, op: str, x: str, kernel: Sizes, stride: Sizes | None, padding: Sizes, name: str | None, **more: int
    ) -> str:
        axes = len(self.shape(x)) - 2
        size = _each(kernel, axes)
        steps = size if stride is None else _each(stride, axes)
        pads = _each(padding, axes)
        pads = pads if len(pads) == 2 * axes else pads * 2
        return self._one(op, [x], name, kernel_shape=size, strides=steps, pads=pads, **more)

    def _parameter(self, name: str, given: npt.ArrayLike | None, shape: tuple[int, ...]) -> str:
        if given is None:
            return self._constant_of(name, 0.0, shape)
        array = np.asarray(given)
        if array.shape != shape:
            raise InvalidValueError(f"'{name}' must have shape {list(shape)}, got {list(array.shape)}")
        return self.constant(array, name)

    def _bias(self, name: str, bias: npt.ArrayLike | bool, size: int) -> list[str]:
        if isinstance(bias, bool):
            return [self._constant_of(f"{name}.bias", 0.0, (size,))] if bias else []
        return [self._parameter(f"{name}.bias", bias, (size,))]

    def _constant_of(self, name: str, value: float, shape: tuple[int, ...]) -> str:
        return self.constant(np.broadcast_to(np.float32(value), shape), name)

    def _fact(self, name: str) -> Fact:
        if name not in self._facts:
            raise InvalidValueError(f"nothing makes '{name}' in graph '{self.name}'")
        return self._facts[name]

    def _refuse_known(self, name: str) -> None:
        if name in self._facts:
            raise InvalidValueError(f"the name '{name}' is given twice in graph '{self.name}'")

    def _free(self, stem: str) -> str:
        place = len(self._nodes)
        while f"{stem}{place}" in self._facts or f"{stem}{place}" in self._names:
            place += 1
        return f"{stem}{place}"


def _each(given: Sizes, axes: int) -> tuple[int, ...]:
    """Return one entry for every axis, or as many as are given."""
    return (given,) * axes if isinstance(given, int) else tuple(given)
