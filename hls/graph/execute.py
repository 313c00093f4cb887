"""Execution of a float graph in numpy, tensor by tensor, with the memory estimated first."""

__all__ = ["compute", "peak_bytes", "run"]

import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hls.graph.ir import Array, Graph, Node, Value
from tetrit.hls.graph.lower import VIEWS
from tetrit.hls.graph.operators import OPERATORS
from tetrit.hls.graph.rules.products import GATES
from tetrit.hls.graph.windows import windows


def compute(node: Node, inputs: Sequence[Array | None]) -> tuple[Array, ...]:
    """Return the outputs of one node that have a name, from its inputs in their order.

    Raises
    ------
    InvalidValueError
        If the inputs' contents or dtypes are not such that the operator can work on them.
    """
    try:
        with np.errstate(all="ignore"):  # infinities and NaN are values here, as in any runtime
            result = OPERATORS[node.op](node, *inputs)
    except InvalidValueError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise InvalidValueError(f"{node}: it cannot be computed: {error}") from error
    results = result if isinstance(result, tuple) else (result,)
    return tuple(np.asarray(array) for name, array in zip(node.outputs, results, strict=False) if name)


def run(graph: Graph, inputs: Mapping[str, npt.ArrayLike], *, memory_bytes: int | None = None) -> dict[str, Array]:
    """Execute `graph`; see `Graph.run`."""
    given = _arrays(graph.inputs, inputs)
    limit = _machine_bytes() if memory_bytes is None else checks.integer("memory_bytes", memory_bytes)
    needed, where = peak_bytes(graph)
    if needed > limit:
        raise InvalidValueError(
            f"graph '{graph.name}' needs about {needed / 2**30:.3g} GiB at {where}, "
            f"but only {limit / 2**30:.3g} GiB may be used"
        )
    tensors: dict[str, Array] = dict(graph.constants) | given
    last = _last_uses(graph)
    for place, node in enumerate(graph.nodes):
        results = compute(node, [tensors[name] if name else None for name in node.inputs])
        for name, result in zip(filter(None, node.outputs), results, strict=True):
            assert result.shape == graph.values[name].shape, f"{node}: {result.shape}"
            tensors[name] = result
        for name in last[place]:
            del tensors[name]
    return {name: np.array(tensors[name]) for name in graph.outputs}  # copies: they may be views of the inputs


def peak_bytes(graph: Graph) -> tuple[int, str]:
    """Return the most bytes that activations take at one time during `run`, and at which node."""
    values, last = graph.values, _last_uses(graph)
    alive = sum(value.n_bytes for value in graph.inputs)
    most, where = alive, "its inputs"
    for place, node in enumerate(graph.nodes):
        alive += sum(values[name].n_bytes for name in node.outputs if name)
        now = alive + _workspace(node, values)
        if now > most:
            most, where = now, str(node)
        alive -= sum(values[name].n_bytes for name in last[place] if name not in graph.constants)
    return most, where


def _workspace(node: Node, values: Mapping[str, Value]) -> int:
    """Return about how many bytes a node takes besides its inputs and outputs."""
    made = sum(values[name].n_bytes for name in node.outputs if name)
    if node.op in (*VIEWS, "Expand", "Slice", "Split"):
        return 0
    x = values[node.inputs[0]] if node.inputs and node.inputs[0] else None
    if x is None:
        return made
    if node.op in ("Conv", "ConvInteger", "QLinearConv", "MaxPool", "AveragePool", "LpPool"):
        weight = node.inputs[3 if node.op == "QLinearConv" else 1] if "Pool" not in node.op else ""
        at = windows(node, x.shape[2:], values[weight].shape[2:] if weight else node.attributes["kernel_shape"])
        padded = math.prod(n + begin + max(end, 0) for n, begin, end in zip(at.size, at.begin, at.last, strict=True))
        return 8 * x.shape[0] * x.shape[1] * padded + made
    if node.op == "ConvTranspose":
        spread = int(node.attributes.get("group", 1)) * math.prod(values[node.inputs[1]].shape[1:])
        return 4 * x.size // max(x.shape[1], 1) * spread + made
    if node.op == "Attention":
        total = values[node.inputs[1]].shape[-2] + (values[node.input(4)].shape[2] if node.input(4) else 0)
        heads = x.shape[1] if len(x.shape) == 4 else int(node.attributes.get("q_num_heads", 1))
        return 12 * x.shape[0] * heads * x.shape[-2] * total
    if node.op in GATES:
        return 4 * x.shape[0] * x.shape[1] * values[node.inputs[1]].shape[1] + made
    return 2 * made  # temporary results of functions of elements


def _last_uses(graph: Graph) -> list[list[str]]:
    """Return for every node the values that nothing needs after it, its own unused outputs among them."""
    kept = set(graph.outputs)
    seen: set[str] = set()
    result = []
    for node in reversed(graph.nodes):
        names = {*filter(None, (*node.inputs, *node.outputs))} - kept - seen
        seen |= names
        result.append(sorted(names))
    return result[::-1]


def _arrays(values: Sequence[Value], inputs: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
    unknown = sorted(set(inputs) - {value.name for value in values})
    missing = [value.name for value in values if value.name not in inputs]
    if unknown or missing:
        wanted = ", ".join(f"'{value.name}'" for value in values)
        raise InvalidValueError(f"`inputs` must be {wanted or 'none'}, got {sorted(inputs)}")
    arrays = {}
    for value in values:
        array = np.asarray(inputs[value.name])
        if array.shape != value.shape:
            raise InvalidValueError(
                f"input '{value.name}' must have shape {list(value.shape)}, got {list(array.shape)}"
            )
        if array.dtype != value.dtype and not np.can_cast(array.dtype, value.dtype, "same_kind"):
            raise InvalidValueError(f"input '{value.name}' must be {value.dtype}, got {array.dtype}")
        arrays[value.name] = array.astype(value.dtype, copy=False)
    return arrays


def _machine_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
