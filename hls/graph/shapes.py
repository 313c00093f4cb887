"""Shape inference: shape and dtype of every value of a graph, and the content of those that need no data."""

__all__ = ["FOLDED_ELEMENTS", "MOST_BYTES", "infer", "made"]

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tetrit.errors import InvalidValueError, unknown_name
from tetrit.hls.graph.ir import Node, Value
from tetrit.hls.graph.rules import RULES, Fact
from tetrit.hls.graph.rules.common import Array

if TYPE_CHECKING:
    from tetrit.hls.graph.ir import Graph

FOLDED_ELEMENTS = 1 << 16
"""Contents beyond this many elements are not computed during inference: shapes need small ones only."""

MOST_BYTES = 1 << 40
"""A tensor above 1 TiB is taken for a mistake in the file."""


def infer(graph: "Graph") -> dict[str, Fact]:
    """Return what is known of every value of `graph`.

    Raises
    ------
    InvalidValueError
        If an operator is not known, its inputs do not fit, or a shape depends on data; it names the node.
    """
    facts = {value.name: Fact(_bounded("input", value)) for value in graph.inputs}
    for name, array in graph.constants.items():
        facts[name] = Fact(Value(name=name, shape=array.shape, dtype=array.dtype.name), array)
    for node in graph.nodes:
        for fact in made(node, facts):
            facts[fact.value.name] = fact
    return facts


def made(node: Node, facts: Mapping[str, Fact]) -> list[Fact]:
    """Return the facts of a node's outputs from those of its inputs."""
    if node.op not in RULES:
        raise InvalidValueError(f"{node}: {unknown_name('operator', node.op, RULES)}")
    known = RULES[node.op]
    given = [facts[name] if name else None for name in node.inputs]
    if len(given) < known.least or (known.most is not None and len(given) > known.most):
        wanted = f"{known.least} to {known.most}" if known.most is not None else f"at least {known.least}"
        raise InvalidValueError(f"{node}: it must have {wanted} inputs, got {len(given)}")
    if None in given[: known.least]:
        raise InvalidValueError(f"{node}: its input {given.index(None)} must not be absent")
    try:
        results = known.function(node, *given)
    except InvalidValueError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise InvalidValueError(f"{node}: its attributes or inputs do not fit: {error}") from error
    if len(node.outputs) > len(results):
        raise InvalidValueError(f"{node}: the operator has at most {len(results)} outputs, got {len(node.outputs)}")
    values = [
        Fact(_bounded(str(node), Value(name=name, shape=shape, dtype=dtype))) if name else None
        for name, (shape, dtype) in zip(node.outputs, results, strict=False)
    ]
    contents = _contents(node, given, [fact.value for fact in values if fact is not None])
    return [Fact(f.value, c) for f, c in zip((f for f in values if f is not None), contents, strict=True)]


def _bounded(maker: str, value: Value) -> Value:
    if value.n_bytes > MOST_BYTES:
        raise InvalidValueError(
            f"{maker}: '{value.name}' of shape {list(value.shape)} would take {value.n_bytes / 2**40:.3g} TiB"
        )
    return value


def _contents(node: Node, given: Sequence[Fact | None], values: Sequence[Value]) -> list[Array | None]:
    """Compute the outputs of small operators whose inputs are known."""
    if node.op == "Shape" and given[0] is not None:
        cut = slice(node.attributes.get("start", 0), node.attributes.get("end"))
        return [np.array(given[0].shape[cut], np.int64)]
    if node.op == "Size" and given[0] is not None:
        return [np.array(given[0].value.size, np.int64)]
    inputs = [fact.content if fact is not None else None for fact in given]
    unknown = any(fact is not None and fact.content is None for fact in given)
    elements = sum(fact.value.size for fact in given if fact is not None) + sum(value.size for value in values)
    if unknown or elements > FOLDED_ELEMENTS:
        return [None] * len(values)
    from tetrit.hls.graph.execute import compute

    return list(compute(node, inputs))
