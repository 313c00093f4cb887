"""Integer networks: the authority for their structure, for running them, and for the widths that they need."""

__all__ = ["IntegerGraph"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hls.integer.base import IntegerNode, Ints
from tetrit.hls.integer.tensor import IntegerTensor
from tetrit.hls.integer.types import AveragePool, Product, Sum

if TYPE_CHECKING:
    import os

    from tetrit.hls.cpp import CppOptions, CppProject

_STEP = 2**24
"""Numbers of the largest tensor up to which a batch runs at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerGraph:
    """A network that computes with integers only; frozen and checked.

    Contract: `run` is exact and the same for any batch. No accumulator can leave `acc_bits`, whatever the inputs: the
    sum of all weights' magnitudes times the largest magnitude of an input, and the bias, fit.

    Attributes
    ----------
    name : str
        Of the network.
    inputs, outputs : tuple of str
        Names of tensors.
    nodes : tuple of IntegerNode
        In an order in which they can run.
    tensors : mapping of str to IntegerTensor
        All inputs and all outputs of nodes; may be given as a sequence.
    acc_bits : int, default 32
        Width of the accumulators of products and pools, two's complement.
    multiplier_bits : int, default 16
        Width of the unsigned multipliers of the requantisation; the products behind them, and the sums of branches,
        take ``acc_bits + multiplier_bits``.

    Raises
    ------
    TypeError, InvalidValueError
        If it is no such graph; the message names the node or the tensor.

    Notes
    -----
    Integer-only execution with dyadic requantisation is that of HAWQ-V3 (Yao et al., arXiv 2011.10680). The widths, the
    layout and the single rounding of a sum of branches are ours.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.hls.integer import IntegerGraph, IntegerTensor, Sum
    >>> tensors = [IntegerTensor(name=n, shape=(2,), format="int8", scale=s) for n, s in (("x", 0.5), ("y", 1.0))]
    >>> double = Sum(name="double", inputs=("x", "x"), output="y", multipliers=(1, 1), shift=1, relu=True)
    >>> graph = IntegerGraph(name="net", inputs=("x",), outputs=("y",), nodes=(double,), tensors=tensors)
    >>> graph.run(np.array([[3, -4], [100, 127]]))
    {'y': array([[  3,   0],
           [100, 127]])}
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[IntegerNode, ...]
    tensors: Mapping[str, IntegerTensor] = field(repr=False)
    acc_bits: int = 32
    multiplier_bits: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "acc_bits", checks.integer("acc_bits", self.acc_bits, minimum=2, maximum=63))
        bits = checks.integer("multiplier_bits", self.multiplier_bits, minimum=2, maximum=31)
        object.__setattr__(self, "multiplier_bits", bits)
        tensors = tuple(self.tensors.values()) if isinstance(self.tensors, Mapping) else tuple(self.tensors)
        for tensor in tensors:
            if not isinstance(tensor, IntegerTensor):
                raise TypeError(f"`tensors` must be of IntegerTensor, got {tensor!r}")
        table = {tensor.name: tensor for tensor in tensors}
        if len(table) != len(tensors):
            twice = next(t.name for i, t in enumerate(tensors) if t.name in [u.name for u in tensors[:i]])
            raise InvalidValueError(f"tensor '{twice}' occurs twice in `tensors`")
        object.__setattr__(self, "tensors", MappingProxyType(table))
        for name in ("inputs", "outputs", "nodes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if name != "nodes" and not getattr(self, name):
                raise InvalidValueError(f"`{name}` must name at least one tensor")
        self._check_order()
        for node in self.nodes:
            try:
                node.check(self.tensors)
                self._check_widths(node)
            except InvalidValueError as error:
                raise InvalidValueError(f"node '{node.name}': {error}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        fields = ("name", "inputs", "outputs", "nodes", "acc_bits", "multiplier_bits")
        return _rebuilt, ({**{name: getattr(self, name) for name in fields}, "tensors": dict(self.tensors)},)

    def _check_order(self) -> None:
        known, nodes = set(), set()
        for name in self.inputs:
            self._known(name, "input")
            if name in known:
                raise InvalidValueError(f"input '{name}' occurs twice")
            known.add(name)
        for node in self.nodes:
            if not isinstance(node, IntegerNode):
                raise TypeError(f"`nodes` must be of IntegerNode, got {node!r}")
            if node.name in nodes:
                raise InvalidValueError(f"node '{node.name}' occurs twice")
            nodes.add(node.name)
            for name in node.sources:
                if name not in known:
                    raise InvalidValueError(f"node '{node.name}' takes '{name}', which no node before it gives")
            self._known(node.output, f"output of node '{node.name}'")
            if node.output in known:
                raise InvalidValueError(f"node '{node.name}' gives '{node.output}', which exists already")
            known.add(node.output)
        for name in self.outputs:
            if name not in known:
                raise InvalidValueError(f"output '{name}' is given by no node")
        for name in self.tensors:
            if name not in known:
                raise InvalidValueError(f"tensor '{name}' is no input and given by no node")

    def _known(self, name: str, what: str) -> None:
        if name not in self.tensors:
            raise InvalidValueError(f"{what} '{name}' is not among `tensors`")

    def _check_widths(self, node: IntegerNode) -> None:
        sums = isinstance(node, Sum)
        bits = self.acc_bits + (self.multiplier_bits if sums else 0)
        bits = min(bits, 63)  # what int64 execution holds
        needed = node.reach(self.tensors).bit_length() + 1
        if needed > bits:
            stated = f"{'with `multiplier_bits` ' if sums else ''}is too small"
            raise InvalidValueError(
                f"`acc_bits` = {self.acc_bits} {stated}: its sums can reach {node.reach(self.tensors)}, "
                f"which takes {needed} bits"
            )
        most = 0
        if isinstance(node, Product) and node.multiplier is not None:
            most = int(node.multiplier.max())
        elif isinstance(node, AveragePool):
            most = node.multiplier
        if most >= 2**self.multiplier_bits:
            raise InvalidValueError(
                f"`multiplier` must be below 2**{self.multiplier_bits} (`multiplier_bits`), got {most}"
            )

    def accumulator_bits(self) -> dict[str, int]:
        """Return the width that each node's accumulator needs, by the name of the node; nodes without one are left out.

        It holds ``-reach`` .. ``reach``, where the reach is the greatest magnitude over all inputs.
        """
        needed = {node.name: node.reach(self.tensors) for node in self.nodes}
        return {name: reach.bit_length() + 1 for name, reach in needed.items() if reach}

    def run(self, x: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> dict[str, Ints]:
        """Run a batch.

        Parameters
        ----------
        x : array_like of int, or mapping of str to array_like
            Shape (batch, *shape) of the one input, or of every input by its name; within its format.

        Returns
        -------
        dict of str to ndarray of int64
            The outputs by name, shape (batch, *shape).

        Raises
        ------
        TypeError
            Inputs that are no integers.
        InvalidValueError
            An input that is missing or unknown, of another shape, or out of range; or no batch.
        """
        arrays = self._arrays(x)
        batch = len(next(iter(arrays.values())))
        step = max(1, _STEP // max(tensor.size for tensor in self.tensors.values()))
        parts = [
            self._run({name: array[start : start + step] for name, array in arrays.items()}, self.outputs)
            for start in range(0, batch, step)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}

    def trace(self, x: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> dict[str, Ints]:
        """Run a batch, see `run`, and return all tensors, inputs first and then in the order of the nodes."""
        return self._run(self._arrays(x), tuple(self.tensors))

    def _run(self, arrays: Mapping[str, Ints], kept: Sequence[str]) -> dict[str, Ints]:
        last = {name: place for place, node in enumerate(self.nodes) for name in node.sources}
        values = dict(arrays)
        for place, node in enumerate(self.nodes):
            values[node.output] = node.compute([values[name] for name in node.sources], self.tensors)
            for name in {*node.sources, node.output}:
                if name not in kept and last.get(name, -1) <= place:
                    del values[name]
        order = [*self.inputs, *(node.output for node in self.nodes)]
        return {name: values[name] for name in (order if len(kept) == len(order) else kept)}

    def _arrays(self, x: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> dict[str, Ints]:
        if not isinstance(x, Mapping):
            if len(self.inputs) != 1:
                raise InvalidValueError(f"the inputs must be given by name: {', '.join(self.inputs)}")
            x = {self.inputs[0]: x}
        if set(x) != set(self.inputs):
            odd = sorted(set(x) ^ set(self.inputs))[0]
            raise InvalidValueError(f"input '{odd}' is {'unknown' if odd in x else 'missing'}")
        arrays = {name: self._array(self.tensors[name], x[name]) for name in self.inputs}
        batches = {name: len(array) for name, array in arrays.items()}
        if len(set(batches.values())) != 1 or 0 in batches.values():
            raise InvalidValueError(f"all inputs must have one batch of at least 1, got {batches}")
        return arrays

    @staticmethod
    def _array(tensor: IntegerTensor, given: npt.ArrayLike) -> Ints:
        array = np.asarray(given)
        if not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"input '{tensor.name}' must be integers, got {array.dtype}")
        if array.shape[1:] != tensor.shape or array.ndim == 0:
            shape = ", ".join(["batch", *(str(n) for n in tensor.shape)])
            raise InvalidValueError(f"input '{tensor.name}' must have shape ({shape}), got {array.shape}")
        if array.size and (array.min() < tensor.low or array.max() > tensor.high):
            raise InvalidValueError(
                f"input '{tensor.name}' must be within {tensor.low}..{tensor.high} ({tensor.format}), "
                f"got {int(array.min())}..{int(array.max())}"
            )
        return array.astype(np.int64, copy=False)

    def encode(self, x: npt.ArrayLike, name: str | None = None) -> Ints:
        """Return the integers of real inputs, in the shape of the input: nearest, half to even, saturating.

        Parameters
        ----------
        x : array_like of float
            With the batch first, in the layout of the graph: see `channels_last`.
        name : str, optional
            Of the input; needed where there are several.

        Returns
        -------
        ndarray of int64
        """
        tensor = self._one(self.inputs, name)
        values = np.asarray(x, dtype=np.float64)
        checks.finite("x", values)
        return np.clip(np.rint(values / tensor.scale), tensor.low, tensor.high).astype(np.int64)

    def decode(self, integers: npt.ArrayLike, name: str | None = None) -> npt.NDArray[np.float64]:
        """Return the real values of an output's integers; `name` is needed where there are several."""
        return np.asarray(integers) * self._one(self.outputs, name).scale

    def to_hls_cpp(
        self, folder: "str | os.PathLike[str]", *, inputs: Any = None, options: "CppOptions | None" = None
    ) -> "CppProject":
        """Write the graph as C++ for high-level synthesis; see `tetrit.hls.cpp.to_hls_cpp`."""
        from tetrit.hls.cpp import to_hls_cpp

        return to_hls_cpp(self, folder, inputs=inputs, options=options)

    def _one(self, names: tuple[str, ...], name: str | None) -> IntegerTensor:
        if name is None:
            if len(names) != 1:
                raise InvalidValueError(f"`name` must be one of {', '.join(names)}")
            name = names[0]
        return self.tensors[checks.choice("name", name, names)]


def _rebuilt(fields: dict[str, Any]) -> IntegerGraph:
    return IntegerGraph(**fields)
