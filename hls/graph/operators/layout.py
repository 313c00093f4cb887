"""Operators that move, select, make or cast elements."""

__all__: list[str] = []

import itertools
from typing import Any

import numpy as np

from tetrit.errors import InvalidValueError
from tetrit.hls.graph.ir import Node, Value
from tetrit.hls.graph.operators.common import Array, converted, operator
from tetrit.hls.graph.rules import RULES, Fact
from tetrit.hls.graph.rules.layout import slices


def _shape(node: Node, *inputs: Array | None) -> tuple[int, ...]:
    """Return the shape of the first output by the operator's own shape rule."""
    facts = [
        None if array is None else Fact(Value(name=name or "?", shape=array.shape, dtype=array.dtype.name), array)
        for name, array in zip(node.inputs, inputs, strict=False)
    ]
    return RULES[node.op].function(node, *facts)[0][0]


def _integers(node: Node, given: Array | None, attribute: str) -> tuple[int, ...] | None:
    values = node.attributes.get(attribute) if given is None else given
    return None if values is None else tuple(int(v) for v in np.atleast_1d(values))


@operator("Identity")
def identity(node: Node, x: Array) -> Array:
    return x


@operator("Dropout")
def dropout(node: Node, x: Array, ratio: Array | None = None, training: Array | None = None) -> tuple[Array, Array]:
    return x, np.ones(x.shape, bool)


@operator("Flatten", "Reshape", "Squeeze", "Unsqueeze")
def reshape(node: Node, x: Array, wanted: Array | None = None) -> Array:
    return x.reshape(_shape(node, x, wanted))


@operator("Expand")
def expand(node: Node, x: Array, wanted: Array) -> Array:
    return np.broadcast_to(x, _shape(node, x, wanted))


@operator("Transpose")
def transpose(node: Node, x: Array) -> Array:
    # a copy, since most operators that follow read it more than once
    return np.ascontiguousarray(x.transpose(node.attributes.get("perm"))).reshape(_shape(node, x))


@operator("Concat")
def concat(node: Node, *xs: Array) -> Array:
    return np.concatenate(xs, axis=node.attributes["axis"])


@operator("Split")
def split(node: Node, x: Array, parts: Array | None = None) -> tuple[Array, ...]:
    axis = node.attributes.get("axis", 0)
    facts = [Fact(Value(name="x", shape=x.shape, dtype=x.dtype.name))]
    if parts is not None:
        facts.append(Fact(Value(name="split", shape=parts.shape, dtype="int64"), parts))
    sizes = [shape[axis] for shape, _ in RULES["Split"].function(node, *facts)]
    return tuple(np.split(x, list(itertools.accumulate(sizes))[:-1], axis=axis))


@operator("Slice")
def slice_(
    node: Node,
    x: Array,
    starts: Array | None = None,
    ends: Array | None = None,
    axes: Array | None = None,
    steps: Array | None = None,
) -> Array:
    names = ("starts", "ends", "axes", "steps")
    given = [_integers(node, array, name) for array, name in zip((starts, ends, axes, steps), names, strict=True)]
    return x[slices(node, x.shape, given)]


def _index(node: Node, indices: Array, size: int) -> Array:
    if indices.size and not (-size <= indices.min() and indices.max() < size):
        raise InvalidValueError(
            f"{node}: an index must be from {-size} to {size - 1}, got {indices.min()}..{indices.max()}"
        )
    return np.where(indices < 0, indices + size, indices)


@operator("Gather")
def gather(node: Node, x: Array, indices: Array) -> Array:
    axis = node.attributes.get("axis", 0)
    return np.asarray(np.take(x, _index(node, indices, x.shape[axis]), axis=axis))


@operator("GatherElements")
def gather_elements(node: Node, x: Array, indices: Array) -> Array:
    axis = node.attributes.get("axis", 0)
    cut = [slice(None) if i == axis % x.ndim else slice(n) for i, n in enumerate(indices.shape)]
    return np.take_along_axis(x[tuple(cut)], _index(node, indices, x.shape[axis]), axis=axis)


def _places(node: Node, indices: Array, shape: tuple[int, ...]) -> tuple[Array, ...]:
    """Return numpy's index arrays for indices whose last axis counts the axes of `shape`."""
    return tuple(_index(node, indices[..., axis], size) for axis, size in enumerate(shape[: indices.shape[-1]]))


@operator("GatherND")
def gather_nd(node: Node, x: Array, indices: Array) -> Array:
    batch = node.attributes.get("batch_dims", 0)
    if not batch:
        return np.asarray(x[_places(node, indices, x.shape)])
    wide = x.reshape(-1, *x.shape[batch:])
    rows = indices.reshape(-1, *indices.shape[batch:])
    parts = [part[_places(node, row, part.shape)] for part, row in zip(wide, rows, strict=True)]
    return np.stack(parts).reshape(_shape(node, x, indices))


_SCATTERS: dict[str, Any] = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


@operator("ScatterElements", "ScatterND")
def scatter(node: Node, x: Array, indices: Array, updates: Array) -> Array:
    result = x.copy()
    if node.op == "ScatterND":
        places = _places(node, indices, x.shape)
    else:
        axis = node.attributes.get("axis", 0) % x.ndim
        grid = np.indices(indices.shape, sparse=True)
        places = (*grid[:axis], _index(node, indices, x.shape[axis]), *grid[axis + 1 :])
    how = node.attributes.get("reduction", "none")
    if how == "none":
        result[places] = updates
    else:
        _SCATTERS[how].at(result, places, updates)
    return result


@operator("OneHot")
def one_hot(node: Node, indices: Array, depth: Array, values: Array) -> Array:
    axis, count = node.attributes.get("axis", -1) % (indices.ndim + 1), int(depth.item())
    numbers = np.arange(count).reshape(-1, *(1,) * (indices.ndim - axis))
    # an index that is out of range makes no place hot
    place = np.where(indices < 0, indices + count, indices)
    return np.asarray(np.where(np.expand_dims(place, axis) == numbers, values[1], values[0]))


@operator("EyeLike")
def eye_like(node: Node, x: Array) -> Array:
    rows, columns = x.shape
    return converted(np.eye(rows, columns, k=node.attributes.get("k", 0)), node.attributes.get("dtype") or x.dtype)


@operator("Pad")
def pad(
    node: Node, x: Array, pads: Array | None = None, value: Array | None = None, axes: Array | None = None
) -> Array:
    given = _integers(node, pads, "pads") or ()
    places = range(x.ndim) if axes is None else [int(axis) for axis in axes]
    widths = [(0, 0)] * x.ndim
    for place, axis in enumerate(places):
        widths[axis] = (given[place], given[place + len(places)])
    cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(widths, x.shape, strict=True))
    grow = [(max(a, 0), max(b, 0)) for a, b in widths]
    mode = node.attributes.get("mode", "constant")
    if mode != "constant":
        return np.pad(x[cut], grow, mode=mode)
    fill = node.attributes.get("value", 0) if value is None else value.item()
    return np.pad(x[cut], grow, constant_values=fill)


@operator("Tile")
def tile(node: Node, x: Array, repeats: Array) -> Array:
    return np.tile(x, repeats)


def _cast(x: Array, dtype: Any) -> Array:
    return x.astype(dtype)


@operator("Cast")
def cast(node: Node, x: Array) -> Array:
    return _cast(x, node.attributes["to"])


@operator("CastLike")
def cast_like(node: Node, x: Array, like: Array) -> Array:
    return _cast(x, like.dtype)


@operator("Shape")
def shape(node: Node, x: Array) -> Array:
    cut = slice(node.attributes.get("start", 0), node.attributes.get("end"))
    return np.array(x.shape[cut], np.int64)


@operator("Size")
def size(node: Node, x: Array) -> Array:
    return np.array(x.size, np.int64)


@operator("ConstantOfShape")
def constant_of_shape(node: Node, wanted: Array) -> Array:
    value = np.asarray(node.attributes.get("value", np.float32(0)))
    return np.full(tuple(wanted), value.item() if value.size else 0, value.dtype)


@operator("Range")
def range_(node: Node, start: Array, limit: Array, delta: Array) -> Array:
    count = _shape(node, start, limit, delta)[0]
    return converted(start.item() + np.arange(count) * delta.item(), start.dtype)


@operator("DepthToSpace")
def depth_to_space(node: Node, x: Array) -> Array:
    b = node.attributes["blocksize"]
    n, c, h, w = x.shape
    if node.attributes.get("mode", "DCR") == "DCR":
        blocks = x.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        blocks = x.reshape(n, c // b**2, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return blocks.reshape(n, c // b**2, h * b, w * b)


@operator("SpaceToDepth")
def space_to_depth(node: Node, x: Array) -> Array:
    b = node.attributes["blocksize"]
    n, c, h, w = x.shape
    order = (0, 3, 5, 1, 2, 4) if node.attributes.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return x.reshape(n, c, h // b, b, w // b, b).transpose(order).reshape(n, c * b**2, h // b, w // b)


@operator("Trilu")
def triangle(node: Node, x: Array, k: Array | None = None) -> Array:
    diagonal = 0 if k is None else int(k.item())
    return np.triu(x, diagonal) if node.attributes.get("upper", 1) else np.tril(x, diagonal)
