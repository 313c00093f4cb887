"""What the handlers of PyTorch's operators work with: values, constants, and the nodes made so far."""

__all__ = ["HANDLERS", "Args", "Context", "Fixed", "Ref", "UnsupportedError", "handles"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError
from tetrit.hls.graph import Node

Args: TypeAlias = Mapping[str, Any]
"""Arguments of an operator by the names of its schema."""


class UnsupportedError(InvalidValueError):
    """Why one node has no ONNX form; the importer collects them."""


@dataclass(frozen=True)
class Ref:
    """A value of the graph being made.

    Attributes
    ----------
    name : str
    shape : tuple of int
    dtype : str
        Of numpy.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class Fixed:
    """A tensor that depends on no input.

    Attributes
    ----------
    tensor : torch.Tensor
    name : str
        Of the parameter or buffer, or of what made it.
    """

    tensor: Any
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.tensor.shape)

    @property
    def array(self) -> npt.NDArray[Any]:
        """Its content."""
        return np.asarray(self.tensor.detach().cpu().numpy())

    @property
    def dtype(self) -> str:
        """Of numpy."""
        return self.array.dtype.name


Handler: TypeAlias = Callable[["Context", Args], Any]
HANDLERS: dict[str, Handler] = {}
"""By the name of the operator, without overload."""


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Register the handler of ``aten`` operators; it returns a `Ref`, or a tuple of them."""

    def register(function: Handler) -> Handler:
        for name in names:
            HANDLERS[f"aten::{name}"] = function
        return function

    return register


class Context:
    """Collects nodes and constants.

    Attributes
    ----------
    nodes : list of Node
    constants : dict of str to ndarray
    operator : str
        Name of the operator at hand.
    out : list of (shape, dtype)
        Of the results of the operator at hand, as PyTorch has them.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, npt.NDArray[Any]] = {}
        self.out: list[tuple[tuple[int, ...], str]] = []
        self.operator = ""
        self._label = ""
        self._names: set[str] = set()
        self._fixed: dict[str, Any] = {}

    def begin(self, label: str, operator: str, out: list[tuple[tuple[int, ...], str]]) -> None:
        """Note the operator at hand: what its nodes are named after, and what it gives."""
        self._label, self.operator, self.out = label, operator, out

    def free(self, stem: str) -> str:
        """Return a name that is not taken, and take it."""
        name, count = stem, 1
        while name in self._names:
            count += 1
            name = f"{stem}_{count}"
        self._names.add(name)
        return name

    def emit(
        self,
        op: str,
        inputs: Sequence[Any],
        shape: Sequence[int] | None = None,
        *,
        dtype: str | None = None,
        suffix: str = "",
        **attributes: Any,
    ) -> Ref:
        """Add a node with one output.

        Parameters
        ----------
        op : str
            Of ONNX.
        inputs : sequence of Ref, Fixed, ndarray or None
            None is absent.
        shape : sequence of int, optional
            Of the output; by default that of the operator at hand.
        dtype : str, optional
            Likewise.
        suffix : str
            Part of the name, for nodes that are not the main one of an operator.
        **attributes
            Those that are None are left out.
        """
        return self.emit_all(
            op, inputs, [(tuple(self.out[0][0] if shape is None else shape), dtype)], suffix, attributes
        )[0]

    def emit_all(
        self,
        op: str,
        inputs: Sequence[Any],
        outputs: Sequence[tuple[tuple[int, ...], str | None]],
        suffix: str,
        attributes: Mapping[str, Any],
    ) -> list[Ref]:
        """Add a node with several outputs; see `emit`."""
        name = self.free(self._label + suffix)
        names = [name] + [self.free(f"{name}.{place}") for place in range(1, len(outputs))]
        given = [self.name(value) for value in inputs]
        while given and not given[-1]:
            given.pop()
        kept = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(Node(name=name, op=op, inputs=tuple(given), outputs=tuple(names), attributes=kept))
        default = self.out[0][1] if self.out else "float32"
        return [Ref(out, shape, dtype or default) for out, (shape, dtype) in zip(names, outputs, strict=True)]

    def name(self, value: Any) -> str:
        """Return the name of a value; constants become part of the graph."""
        if value is None:
            return ""
        if isinstance(value, Ref):
            return value.name
        if isinstance(value, Fixed):
            key = f"{value.name}:{id(value.tensor)}"
            if key not in self._fixed:
                self._fixed[key] = self.constant(value.array, value.name), value.tensor
            return str(self._fixed[key][0])
        return self.constant(value)

    def constant(self, array: Any, name: str | None = None) -> str:
        """Add a constant."""
        name = self.free(name or f"{self._label}.constant")
        self.constants[name] = np.asarray(array)
        return name

    def like(self, value: Any, dtype: str) -> Any:
        """Return a number as a constant of a dtype, and a value cast to it where it has another one."""
        if isinstance(value, bool | int | float):
            return np.asarray(value, dtype=dtype)
        if isinstance(value, Fixed):
            return value if value.dtype == dtype else value.array.astype(dtype)
        if value.dtype == dtype:
            return value
        return self.cast(value, dtype)

    def cast(self, value: Ref, dtype: str) -> Ref:
        """Cast a value."""
        codes = {"float32": 1, "uint8": 2, "int8": 3, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10}
        codes |= {"float64": 11}
        if dtype not in codes:
            raise UnsupportedError(f"numbers of {dtype} are not supported")
        return self.emit("Cast", [value], value.shape, dtype=dtype, suffix=".cast", to=codes[dtype])

    def reshape(self, value: Any, shape: Sequence[int], suffix: str = "") -> Ref:
        """Reshape a value."""
        return self.emit("Reshape", [value, np.array(shape, dtype=np.int64)], shape, dtype=value.dtype, suffix=suffix)

    def transpose(self, value: Any, perm: Sequence[int], suffix: str = "") -> Any:
        """Permute the axes of a value; constants are permuted here and now."""
        if isinstance(value, Fixed):
            return Fixed(value.tensor.permute(*perm), f"{value.name}.T")
        shape = [value.shape[axis] for axis in perm]
        return self.emit("Transpose", [value], shape, dtype=value.dtype, suffix=suffix, perm=tuple(perm))

    def slice(self, value: Any, axis: int, start: int, stop: int, step: int, suffix: str) -> Ref:
        """Take part of an axis."""
        shape = list(value.shape)
        shape[axis] = len(range(*slice(start, stop, step).indices(shape[axis])))
        ends = [np.array([number], dtype=np.int64) for number in (start, stop, axis, step)]
        return self.emit("Slice", [value, *ends], shape, dtype=value.dtype, suffix=suffix)
