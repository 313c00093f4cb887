"""What the shape rules share: the registry, facts of inputs, axes and broadcasting, with errors that name the node."""

__all__ = [
    "RULES",
    "Fact",
    "Made",
    "axes_of",
    "axis_of",
    "broadcast",
    "content",
    "integers",
    "rank",
    "refuse",
    "required",
    "rule",
]

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError
from tetrit.hls.graph.ir import Node, Value

Array = npt.NDArray[Any]
Made = list[tuple[tuple[int, ...], str]]
"""What a rule returns: (shape, dtype) of every output that the operator may have."""


@dataclass(frozen=True)
class Fact:
    """What is known of a value: shape and dtype, and its content if that follows without data."""

    value: Value
    content: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.value.shape

    @property
    def dtype(self) -> str:
        """Name of the numpy dtype."""
        return self.value.dtype


Rule = Callable[..., Made]
"""Called with the node and, for every input, a `Fact` or None where it is absent."""


@dataclass(frozen=True)
class Registered:
    """A rule, and how many inputs the operator needs and takes (`most` is None if there is no limit)."""

    function: Rule
    least: int
    most: int | None


RULES: dict[str, Registered] = {}
"""Operator -> rule."""


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """Register a shape rule for operators; its parameters without a default are the inputs that must be there."""

    def register(function: Rule) -> Rule:
        parameters = list(inspect.signature(function).parameters.values())[1:]
        least = sum(p.default is p.empty and p.kind is not p.VAR_POSITIONAL for p in parameters)
        open_end = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        for op in ops:
            assert op not in RULES, op
            RULES[op] = Registered(function, least, None if open_end else len(parameters))
        return function

    return register


def refuse(node: Node, why: str) -> NoReturn:
    """Raise the error of a node whose inputs or attributes do not fit."""
    raise InvalidValueError(f"{node}: {why}")


def required(node: Node, attribute: str) -> Any:
    """Return an attribute that has no default."""
    if attribute not in node.attributes:
        refuse(node, f"it needs the attribute `{attribute}`")
    return node.attributes[attribute]


def rank(node: Node, fact: Fact, least: int, most: int | None = None) -> None:
    """Refuse an input with too few or too many axes."""
    axes = len(fact.shape)
    if axes < least or (most is not None and axes > most):
        wanted = f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
        refuse(node, f"'{fact.value.name}' must have {wanted} axes, got shape {list(fact.shape)}")


def axis_of(node: Node, axis: int, axes: int) -> int:
    """Return an axis counted from the front."""
    if not -axes <= axis < axes:
        refuse(node, f"axis {axis} is not one of {axes} axes")
    return axis % axes


def axes_of(node: Node, given: Sequence[int], axes: int) -> tuple[int, ...]:
    """Return axes counted from the front; one given twice is refused."""
    result = tuple(axis_of(node, int(axis), axes) for axis in given)
    if len(set(result)) != len(result):
        refuse(node, f"the axes {list(given)} name one axis twice")
    return result


def broadcast(node: Node, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the common shape of shapes that are broadcast as numpy does."""
    result: list[int] = []
    longest = max(map(len, shapes))
    for sizes in zip(*((1,) * (longest - len(shape)) + shape for shape in shapes), strict=True):
        wide = {size for size in sizes if size != 1}
        if len(wide) > 1:
            refuse(node, f"shapes {' and '.join(str(list(shape)) for shape in shapes)} cannot be broadcast")
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def content(node: Node, fact: Fact) -> Array:
    """Return what an input holds; refuse one that depends on data, since the shape of the output needs it."""
    if fact.content is None:
        refuse(
            node,
            f"the shape of its output depends on '{fact.value.name}', which is computed from data; "
            "export the network with fixed shapes",
        )
    return fact.content


def integers(node: Node, fact: Fact | None, attribute: str) -> tuple[int, ...] | None:
    """Return integers that are an input in newer operator sets and an attribute in older ones; None if neither."""
    if fact is None:
        given = node.attributes.get(attribute)
        return None if given is None else tuple(int(v) for v in np.atleast_1d(given))
    return tuple(int(v) for v in np.atleast_1d(content(node, fact)))
