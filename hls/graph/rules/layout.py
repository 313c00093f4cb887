"""Shape rules of operators that move, select, cast or reduce elements."""

__all__: list[str] = []

import math

import numpy as np

from tetrit.hls.graph.ir import Node
from tetrit.hls.graph.rules.common import (
    Fact,
    Made,
    axes_of,
    axis_of,
    broadcast,
    content,
    integers,
    rank,
    refuse,
    required,
    rule,
)


@rule("Reshape")
def reshape(node: Node, x: Fact, shape: Fact | None = None) -> Made:
    wanted = integers(node, shape, "shape")
    if wanted is None:
        refuse(node, "it needs a shape")
    keep_zero = bool(node.attributes.get("allowzero", 0))
    sizes = []
    for axis, size in enumerate(wanted):
        if size == 0 and not keep_zero:
            if axis >= len(x.shape):
                refuse(node, f"{list(wanted)} copies axis {axis}, which {list(x.shape)} does not have")
            size = x.shape[axis]
        sizes.append(size)
    if sizes.count(-1) > 1 or min(sizes, default=0) < -1:
        refuse(node, f"{list(wanted)} is not a shape")
    total = math.prod(x.shape)
    if -1 in sizes:
        rest = math.prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = total // rest if rest else 0
    if math.prod(sizes) != total:
        refuse(node, f"{list(x.shape)} cannot be reshaped to {list(wanted)}")
    return [(tuple(sizes), x.dtype)]


@rule("Flatten")
def flatten(node: Node, x: Fact) -> Made:
    axis = node.attributes.get("axis", 1)
    if not -len(x.shape) <= axis <= len(x.shape):
        refuse(node, f"axis {axis} is not one of {len(x.shape)} axes")
    axis = axis + len(x.shape) if axis < 0 else axis
    return [((math.prod(x.shape[:axis]), math.prod(x.shape[axis:])), x.dtype)]


@rule("Transpose")
def transpose(node: Node, x: Fact) -> Made:
    order = axes_of(node, node.attributes.get("perm", range(len(x.shape))[::-1]), len(x.shape))
    if len(order) != len(x.shape):
        refuse(node, f"`perm` must order {len(x.shape)} axes, got {list(order)}")
    return [(tuple(x.shape[axis] for axis in order), x.dtype)]


@rule("Squeeze")
def squeeze(node: Node, x: Fact, axes: Fact | None = None) -> Made:
    given = integers(node, axes, "axes")
    gone = [i for i, n in enumerate(x.shape) if n == 1] if given is None else axes_of(node, given, len(x.shape))
    for axis in gone:
        if x.shape[axis] != 1:
            refuse(node, f"axis {axis} of {list(x.shape)} is not 1")
    return [(tuple(size for axis, size in enumerate(x.shape) if axis not in gone), x.dtype)]


@rule("Unsqueeze")
def unsqueeze(node: Node, x: Fact, axes: Fact | None = None) -> Made:
    given = integers(node, axes, "axes")
    if given is None:
        refuse(node, "it needs axes")
    places = axes_of(node, given, len(x.shape) + len(given))
    sizes = iter(x.shape)
    return [(tuple(1 if i in places else next(sizes) for i in range(len(x.shape) + len(places))), x.dtype)]


@rule("Concat")
def concat(node: Node, first: Fact, *others: Fact) -> Made:
    axis = axis_of(node, required(node, "axis"), len(first.shape))
    before, after = first.shape[:axis], first.shape[axis + 1 :]
    for x in others:
        if len(x.shape) != len(first.shape) or (x.shape[:axis], x.shape[axis + 1 :]) != (before, after):
            refuse(node, f"{list(first.shape)} and {list(x.shape)} cannot be joined along axis {axis}")
        if x.dtype != first.dtype:
            refuse(node, f"its inputs must have one dtype, got {first.dtype} and {x.dtype}")
    total = sum(x.shape[axis] for x in (first, *others))
    return [((*before, total, *after), first.dtype)]


@rule("Split")
def split(node: Node, x: Fact, parts: Fact | None = None) -> Made:
    axis = axis_of(node, node.attributes.get("axis", 0), len(x.shape))
    sizes = integers(node, parts, "split")
    if sizes is None:
        count = node.attributes.get("num_outputs", len(node.outputs))
        each = -(-x.shape[axis] // count)
        sizes = (each,) * (count - 1) + (x.shape[axis] - each * (count - 1),)
    if sum(sizes) != x.shape[axis] or min(sizes) < 0 or len(sizes) != len(node.outputs):
        refuse(
            node, f"axis {axis} of {list(x.shape)} cannot be split into {list(sizes)} for {len(node.outputs)} outputs"
        )
    return [((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype) for size in sizes]


def slices(node: Node, shape: tuple[int, ...], given: list[tuple[int, ...] | None]) -> tuple[slice, ...]:
    """Return numpy slices of a Slice node from its starts, ends, axes and steps."""
    starts, ends = given[0], given[1]
    if starts is None or ends is None:
        refuse(node, "it needs starts and ends")
    axes = axes_of(node, given[2] if given[2] is not None else range(len(starts)), len(shape))
    steps = given[3] if given[3] is not None else (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        refuse(node, f"starts {list(starts)}, ends {list(ends)}, axes {list(axes)}, steps {list(steps)} do not fit")
    result = [slice(None)] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = shape[axis]
        start, end = (v + size if v < 0 else v for v in (start, end))
        if step > 0:
            result[axis] = slice(min(max(start, 0), size), min(max(end, 0), size), step)
        else:
            low = min(max(end, -1), size - 1)
            result[axis] = slice(min(max(start, 0), size - 1), None if low < 0 else low, step)
    return tuple(result)


@rule("Slice")
def slice_(
    node: Node,
    x: Fact,
    starts: Fact | None = None,
    ends: Fact | None = None,
    axes: Fact | None = None,
    steps: Fact | None = None,
) -> Made:
    facts = zip((starts, ends, axes, steps), ("starts", "ends", "axes", "steps"), strict=True)
    cuts = slices(node, x.shape, [integers(node, fact, name) for fact, name in facts])
    return [(tuple(len(range(*cut.indices(size))) for cut, size in zip(cuts, x.shape, strict=True)), x.dtype)]


@rule("Gather")
def gather(node: Node, x: Fact, indices: Fact) -> Made:
    rank(node, x, 1)
    axis = axis_of(node, node.attributes.get("axis", 0), len(x.shape))
    return [((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype)]


@rule("GatherElements")
def gather_elements(node: Node, x: Fact, indices: Fact) -> Made:
    axis_of(node, node.attributes.get("axis", 0), len(x.shape))
    rank(node, indices, len(x.shape), len(x.shape))
    return [(indices.shape, x.dtype)]


@rule("GatherND")
def gather_nd(node: Node, x: Fact, indices: Fact) -> Made:
    rank(node, indices, 1)
    batch = node.attributes.get("batch_dims", 0)
    depth = indices.shape[-1]
    fits = 0 <= batch < min(len(indices.shape), len(x.shape)) and x.shape[:batch] == indices.shape[:batch]
    if not fits or batch + depth > len(x.shape):
        refuse(node, f"indices {list(indices.shape)} with {batch} batch axes do not fit {list(x.shape)}")
    return [((*indices.shape[:-1], *x.shape[batch + depth :]), x.dtype)]


@rule("ScatterElements", "ScatterND")
def scatter(node: Node, x: Fact, indices: Fact, updates: Fact) -> Made:
    if node.op == "ScatterElements":
        axis_of(node, node.attributes.get("axis", 0), len(x.shape))
        fits = len(indices.shape) == len(x.shape) and updates.shape == indices.shape
    else:
        rank(node, indices, 1)
        depth = indices.shape[-1]
        fits = depth <= len(x.shape) and updates.shape == (*indices.shape[:-1], *x.shape[depth:])
    if not fits:
        refuse(node, f"indices {list(indices.shape)} and updates {list(updates.shape)} do not fit {list(x.shape)}")
    return [(x.shape, x.dtype)]


@rule("OneHot")
def one_hot(node: Node, indices: Fact, depth: Fact, values: Fact) -> Made:
    axis = axis_of(node, node.attributes.get("axis", -1), len(indices.shape) + 1)
    count = int(content(node, depth).item())
    if count < 1 or values.shape != (2,):
        refuse(node, f"it needs a positive depth and two values, got {count} and {list(values.shape)}")
    return [((*indices.shape[:axis], count, *indices.shape[axis:]), values.dtype)]


@rule("EyeLike")
def eye_like(node: Node, x: Fact) -> Made:
    rank(node, x, 2, 2)
    return [(x.shape, node.attributes.get("dtype") or x.dtype)]


@rule("Pad")
def pad(node: Node, x: Fact, pads: Fact | None = None, value: Fact | None = None, axes: Fact | None = None) -> Made:
    given = integers(node, pads, "pads")
    places = integers(node, axes, "axes")
    where = axes_of(node, range(len(x.shape)) if places is None else places, len(x.shape))
    if given is None or len(given) != 2 * len(where):
        refuse(node, f"it needs {2 * len(where)} pads, got {given if given is None else list(given)}")
    shape = list(x.shape)
    for place, axis in enumerate(where):
        shape[axis] += given[place] + given[place + len(where)]
    if min(shape, default=0) < 0:
        refuse(node, f"the pads {list(given)} cut more than there is of {list(x.shape)}")
    return [(tuple(shape), x.dtype)]


@rule("Expand")
def expand(node: Node, x: Fact, shape: Fact) -> Made:
    return [(broadcast(node, x.shape, integers(node, shape, "shape") or ()), x.dtype)]


@rule("Tile")
def tile(node: Node, x: Fact, repeats: Fact) -> Made:
    counts = integers(node, repeats, "repeats") or ()
    if len(counts) != len(x.shape) or min(counts, default=0) < 0:
        refuse(node, f"it needs {len(x.shape)} repeats, got {list(counts)}")
    return [(tuple(n * count for n, count in zip(x.shape, counts, strict=True)), x.dtype)]


@rule("Cast")
def cast(node: Node, x: Fact) -> Made:
    return [(x.shape, str(np.dtype(required(node, "to"))))]


@rule("CastLike")
def cast_like(node: Node, x: Fact, like: Fact) -> Made:
    return [(x.shape, like.dtype)]


@rule("Shape")
def shape_(node: Node, x: Fact) -> Made:
    cut = slice(node.attributes.get("start", 0), node.attributes.get("end"))
    return [((len(x.shape[cut]),), "int64")]


@rule("Size")
def size_(node: Node, x: Fact) -> Made:
    return [((), "int64")]


@rule("ConstantOfShape")
def constant_of_shape(node: Node, shape: Fact) -> Made:
    value = node.attributes.get("value")
    sizes = tuple(int(size) for size in content(node, shape))
    if min(sizes, default=0) < 0:
        refuse(node, f"{list(sizes)} is not a shape")
    return [(sizes, "float32" if value is None else np.asarray(value).dtype.name)]


@rule("Range")
def range_(node: Node, start: Fact, limit: Fact, delta: Fact) -> Made:
    low, high, step = (content(node, fact).item() for fact in (start, limit, delta))
    if step == 0 or not all(map(math.isfinite, (low, high, step))):
        refuse(node, f"there are no numbers from {low} to {high} by {step}")
    return [((max(math.ceil((high - low) / step), 0),), start.dtype)]


@rule("DepthToSpace", "SpaceToDepth")
def depth_space(node: Node, x: Fact) -> Made:
    rank(node, x, 4, 4)
    block = required(node, "blocksize")
    n, c, h, w = x.shape
    deep = node.op == "DepthToSpace"
    if block < 1 or (c % (block * block) if deep else h % block or w % block):
        refuse(node, f"{list(x.shape)} does not divide into blocks of {block}")
    shape = (n, c // block**2, h * block, w * block) if deep else (n, c * block**2, h // block, w // block)
    return [(shape, x.dtype)]


@rule("Trilu")
def trilu(node: Node, x: Fact, k: Fact | None = None) -> Made:
    rank(node, x, 2)
    return [(x.shape, x.dtype)]


@rule(
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
def reduce(node: Node, x: Fact, axes: Fact | None = None) -> Made:
    given = integers(node, axes, "axes")
    if not given and node.attributes.get("noop_with_empty_axes", 0):
        return [(x.shape, x.dtype)]
    gone = axes_of(node, given or range(len(x.shape)), len(x.shape))
    return [(_reduced(node, x.shape, gone), x.dtype)]


@rule("ArgMax", "ArgMin")
def arg(node: Node, x: Fact) -> Made:
    gone = (axis_of(node, node.attributes.get("axis", 0), len(x.shape)),)
    return [(_reduced(node, x.shape, gone), "int64")]


def _reduced(node: Node, shape: tuple[int, ...], gone: tuple[int, ...]) -> tuple[int, ...]:
    if node.attributes.get("keepdims", 1):
        return tuple(1 if axis in gone else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in gone)


@rule("TopK")
def top_k(node: Node, x: Fact, k: Fact) -> Made:
    axis = axis_of(node, node.attributes.get("axis", -1), len(x.shape))
    count = int(content(node, k).item())
    if not 0 <= count <= x.shape[axis]:
        refuse(node, f"there are no {count} of {x.shape[axis]} elements")
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    return [(shape, x.dtype), (shape, "int64")]
