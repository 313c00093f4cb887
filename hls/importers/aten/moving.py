"""What moves, joins and picks numbers."""

__all__: list[str] = []

from typing import Any

import numpy as np

from tetrit.hls.importers.aten.context import Args, Context, Ref, UnsupportedError, handles


@handles("view", "reshape", "_unsafe_view", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as")
def _reshape(c: Context, a: Args) -> Any:
    return c.reshape(a["self"], c.out[0][0])


@handles("flatten")
def _flatten(c: Context, a: Args) -> Ref:
    x = a["self"]
    first, last = int(a["start_dim"]), int(a["end_dim"]) % max(len(x.shape), 1)
    if first == 1 and last == len(x.shape) - 1:
        return c.emit("Flatten", [x], axis=1)
    return c.reshape(x, c.out[0][0])


@handles("permute")
def _permute(c: Context, a: Args) -> Any:
    return c.transpose(a["self"], [int(d) % len(a["self"].shape) for d in a["dims"]])


@handles("transpose", "swapaxes")
def _transpose(c: Context, a: Args) -> Any:
    x = a["self"]
    order = list(range(len(x.shape)))
    one, two = int(a.get("dim0", a.get("axis0", 0))), int(a.get("dim1", a.get("axis1", 0)))
    order[one], order[two] = order[two], order[one]
    return c.transpose(x, order)


@handles("t", "numpy_T", "mT")
def _t(c: Context, a: Args) -> Any:
    return c.transpose(a["self"], [1, 0]) if len(a["self"].shape) == 2 else a["self"]


@handles("expand", "expand_as", "broadcast_to")
def _expand(c: Context, a: Args) -> Ref:
    return c.emit("Expand", [a["self"], np.array(c.out[0][0], dtype=np.int64)])


@handles("repeat")
def _repeat(c: Context, a: Args) -> Ref:
    x, repeats = a["self"], [int(r) for r in a["repeats"]]
    if len(repeats) > len(x.shape):
        x = c.reshape(x, (1,) * (len(repeats) - len(x.shape)) + x.shape, ".wide")
    return c.emit("Tile", [x, np.array(repeats, dtype=np.int64)])


@handles("cat", "concat")
def _cat(c: Context, a: Args) -> Ref:
    parts = [part for part in a["tensors"] if part.shape != (0,)]
    return c.emit("Concat", [c.like(part, c.out[0][1]) for part in parts], axis=int(a["dim"]))


@handles("stack")
def _stack(c: Context, a: Args) -> Ref:
    shape = list(c.out[0][0])
    axis = int(a["dim"]) % len(shape)
    shape[axis] = 1
    parts = [c.reshape(part, shape, ".part") for part in a["tensors"]]
    return c.emit("Concat", parts, axis=axis)


def _cut(c: Context, x: Any, axis: int, sizes: list[int]) -> tuple[Ref, ...]:
    parts, start = [], 0
    for place, size in enumerate(sizes):
        parts.append(c.slice(x, axis, start, start + size, 1, f".{place}"))
        start += size
    return tuple(parts)


@handles("chunk", "split", "split_with_sizes", "tensor_split")
def _split(c: Context, a: Args) -> tuple[Ref, ...]:
    x = a["self"]
    axis = int(a["dim"]) % len(x.shape)
    return _cut(c, x, axis, [shape[axis] for shape, _ in c.out])


@handles("unbind")
def _unbind(c: Context, a: Args) -> tuple[Ref, ...]:
    x = a["self"]
    axis = int(a["dim"]) % len(x.shape)
    return tuple(_selected(c, x, axis, place, f".{place}") for place in range(x.shape[axis]))


def _selected(c: Context, x: Any, axis: int, place: int, suffix: str = "") -> Ref:
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    index = np.asarray(place, dtype=np.int64)
    return c.emit("Gather", [x, index], shape, dtype=x.dtype, suffix=suffix, axis=axis)


@handles("select")
def _select(c: Context, a: Args) -> Ref:
    x = a["self"]
    axis = int(a["dim"]) % len(x.shape)
    return _selected(c, x, axis, int(a["index"]) % x.shape[axis])


@handles("slice")
def _slice(c: Context, a: Args) -> Any:
    x = a["self"]
    axis = int(a["dim"]) % len(x.shape)
    start = 0 if a["start"] is None else int(a["start"])
    stop = x.shape[axis] if a["end"] is None else int(a["end"])
    start, stop, step = slice(start, stop, int(a["step"])).indices(x.shape[axis])
    if (start, stop, step) == (0, x.shape[axis], 1):
        return x
    return c.slice(x, axis, start, stop, step, "")


@handles("narrow")
def _narrow(c: Context, a: Args) -> Ref:
    x = a["self"]
    axis = int(a["dim"]) % len(x.shape)
    start = int(a["start"]) % x.shape[axis]
    return c.slice(x, axis, start, start + int(a["length"]), 1, "")


@handles("embedding")
def _embedding(c: Context, a: Args) -> Ref:
    return c.emit("Gather", [a["weight"], a["indices"]], axis=0)


@handles("index_select")
def _index_select(c: Context, a: Args) -> Ref:
    return c.emit("Gather", [a["self"], a["index"]], axis=int(a["dim"]))


@handles("gather")
def _gather(c: Context, a: Args) -> Ref:
    return c.emit("GatherElements", [a["self"], a["index"]], axis=int(a["dim"]))


@handles("constant_pad_nd", "pad")
def _pad(c: Context, a: Args) -> Ref:
    x, value = a["self"], a.get("value")
    mode = a.get("mode", "constant")
    modes = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    if mode not in modes:
        raise UnsupportedError(f"`mode` {mode} is not supported")
    ends = [int(p) for p in a["pad"]]
    before, after = [0] * len(x.shape), [0] * len(x.shape)
    for place in range(len(ends) // 2):  # the last axis comes first
        before[-1 - place], after[-1 - place] = ends[2 * place : 2 * place + 2]
    fill = np.asarray(0.0 if value is None else value, dtype=x.dtype) if mode == "constant" else None
    return c.emit("Pad", [x, np.array(before + after, dtype=np.int64), fill], mode=modes[mode])


@handles("tril", "triu")
def _tril(c: Context, a: Args) -> Ref:
    raise UnsupportedError("triangles of activations are not supported")


@handles("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")
def _filled(c: Context, a: Args) -> Any:
    """Take what only has the shape of an activation for the constant that it is."""
    shape, dtype = c.out[0]
    number = a.get("fill_value")
    if number is None:
        number = 1 if "ones" in c.operator else 0
    return np.full(shape, number, dtype=dtype)
