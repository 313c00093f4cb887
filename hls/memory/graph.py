"""What a memory plan is made for: operators that read and write tensors of known sizes."""

__all__ = ["Op", "TensorGraph"]

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tetrit import checks
from tetrit.errors import InvalidValueError


@dataclass(frozen=True)
class Op:
    """One operator: what it reads and what it writes, all of which are in the scratchpad while it runs.

    Parameters
    ----------
    name : str
        Unique within a graph.
    inputs, outputs : sequence of str
        Names of tensors. An input that is named twice is in the scratchpad once. Weights are not named: they stream
        (or are named like any other tensor, and are then inputs of the graph).

    Raises
    ------
    TypeError
        If a name is no string.
    InvalidValueError
        If a tensor is written twice, or both read and written.

    Examples
    --------
    >>> Op("add", ("a", "b"), ("sum",))
    Op(name='add', inputs=('a', 'b'), outputs=('sum',))
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"`name` must be a string, got {self.name!r}")
        for field in ("inputs", "outputs"):
            names = getattr(self, field)
            if isinstance(names, str) or not isinstance(names, Iterable):
                raise TypeError(f"operator '{self.name}': `{field}` must be a sequence of names, got {names!r}")
            names = tuple(names)
            for name in names:
                if not isinstance(name, str):
                    raise TypeError(f"operator '{self.name}': `{field}` must hold names, got {name!r}")
            object.__setattr__(self, field, names)
        twice = {name for name in self.outputs if self.outputs.count(name) > 1}
        if twice:
            raise InvalidValueError(f"operator '{self.name}': writes '{min(twice)}' twice")
        both = set(self.inputs) & set(self.outputs)
        if both:
            raise InvalidValueError(f"operator '{self.name}': both reads and writes '{min(both)}'")


@dataclass(frozen=True, init=False)
class TensorGraph:
    """Operators and the sizes of their tensors.

    A tensor that no operator writes is an input of the graph: it lies outside the scratchpad when the work begins. A
    tensor that no operator reads is an output of the graph: it goes outside. Tensors that are read inside as well can
    be named as outputs.

    Parameters
    ----------
    ops : sequence of Op
        In any order; the default order of execution is this one, as far as every operator comes after those that it
        needs.
    sizes : mapping of str to int
        Bytes of every tensor. Tensors that no operator names are ignored.
    outputs : sequence of str, optional
        Tensors that go outside although operators read them too.

    Raises
    ------
    TypeError
        If `ops` holds something else than operators, or a size is no integer.
    InvalidValueError
        If there is no operator, two have one name, a tensor has two writers or no size, a size is negative, an output
        is unknown, or operators wait for each other.

    Examples
    --------
    >>> graph = TensorGraph([Op("conv", ["x"], ["y"]), Op("add", ["x", "y"], ["z"])], {"x": 4, "y": 4, "z": 4})
    >>> graph.inputs, graph.outputs, graph.smallest_budget
    (('x',), ('z',), 12)
    """

    ops: tuple[Op, ...]
    sizes: Mapping[str, int]
    outputs: tuple[str, ...]

    def __init__(self, ops: Iterable[Op], sizes: Mapping[str, int], outputs: Iterable[str] = ()) -> None:
        given = tuple(ops)
        for op in given:
            if not isinstance(op, Op):
                raise TypeError(f"`ops` must hold operators, got {op!r}")
        if not given:
            raise InvalidValueError("`ops` must hold at least one operator, got none")
        if not isinstance(sizes, Mapping):
            raise TypeError(f"`sizes` must map names of tensors to bytes, got {sizes!r}")
        names: set[str] = set()
        writer: dict[str, str] = {}
        known: dict[str, int] = {}
        for op in given:
            if op.name in names:
                raise InvalidValueError(f"`ops` must have names of their own, got '{op.name}' twice")
            names.add(op.name)
            for tensor in (*op.inputs, *op.outputs):
                if tensor not in sizes:
                    raise InvalidValueError(f"`sizes` must have every tensor, got none for '{tensor}' of '{op.name}'")
                known[tensor] = checks.integer(f"sizes[{tensor!r}]", sizes[tensor], minimum=0)
            for tensor in op.outputs:
                if tensor in writer:
                    raise InvalidValueError(
                        f"tensor '{tensor}' must have one writer, got '{writer[tensor]}' and '{op.name}'"
                    )
                writer[tensor] = op.name
        read = {tensor for op in given for tensor in op.inputs}
        named = set(outputs)
        for tensor in sorted(named):
            if tensor not in writer:
                raise InvalidValueError(f"`outputs` must be tensors that an operator writes, got '{tensor}'")
        object.__setattr__(self, "ops", given)
        object.__setattr__(self, "sizes", known)
        object.__setattr__(self, "outputs", tuple(t for t in known if t in writer and (t in named or t not in read)))
        stuck = set(range(len(given))) - set(self.default_order)
        if stuck:
            raise InvalidValueError(
                f"operators must not wait for each other, got a cycle through '{given[self._in_cycle(stuck)].name}'"
            )

    def __hash__(self) -> int:
        return hash((self.ops, frozenset(self.sizes.items()), self.outputs))

    def __getstate__(self) -> dict[str, Any]:
        return {"ops": self.ops, "sizes": self.sizes, "outputs": self.outputs}

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that no operator writes."""
        written = {tensor for op in self.ops for tensor in op.outputs}
        return tuple(tensor for tensor in self.sizes if tensor not in written)

    @cached_property
    def needs(self) -> tuple[frozenset[int], ...]:
        """For each operator the indices of those whose outputs it reads."""
        writer = {tensor: index for index, op in enumerate(self.ops) for tensor in op.outputs}
        return tuple(frozenset(writer[t] for t in op.inputs if t in writer) for op in self.ops)

    @cached_property
    def default_order(self) -> tuple[int, ...]:
        """Indices of the operators as given, each as early as what it needs allows; without those in cycles."""
        waiting = [len(needed) for needed in self.needs]
        readers: list[list[int]] = [[] for _ in self.ops]
        for index, needed in enumerate(self.needs):
            for other in needed:
                readers[other].append(index)
        ready = [index for index, count in enumerate(waiting) if count == 0]
        order = []
        while ready:
            index = heapq.heappop(ready)
            order.append(index)
            for reader in readers[index]:
                waiting[reader] -= 1
                if waiting[reader] == 0:
                    heapq.heappush(ready, reader)
        return tuple(order)

    @cached_property
    def smallest_budget(self) -> int:
        """M_R: the most bytes that an operator reads and writes; with less no plan exists, with it one always does."""
        return max(sum(self.sizes[t] for t in {*op.inputs, *op.outputs}) for op in self.ops)

    def _in_cycle(self, stuck: set[int]) -> int:
        # what waits and is not done waits for another one that waits: after enough steps back, one stands in a cycle
        index = min(stuck)
        for _ in stuck:
            index = min(self.needs[index] & stuck)
        return index
