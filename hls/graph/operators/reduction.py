"""Reductions over axes."""

__all__: list[str] = []

from collections.abc import Callable
from typing import Any

import numpy as np

from tetrit.hls.graph.ir import Node
from tetrit.hls.graph.operators.common import OPERATORS, Array, Kernel, operator, sum_dtype

Reduction = Callable[[Array, tuple[int, ...] | None, bool], Any]


def _log_sum_exp(x: Array, axes: tuple[int, ...] | None, keep: bool) -> Any:
    if not x.size:
        return np.log(np.exp(x).sum(axis=axes, keepdims=keep))
    most = x.max(axis=axes, keepdims=True)
    most = np.where(np.isfinite(most), most, 0)
    total = np.log(np.exp(x - most).sum(axis=axes, keepdims=True)) + most
    return total if keep else total.reshape(x.sum(axis=axes).shape)


def _extreme(ufunc: np.ufunc, largest: bool) -> Reduction:
    def function(x: Array, axes: tuple[int, ...] | None, keep: bool) -> Any:
        if x.dtype == np.bool_:
            return ufunc.reduce(x, axis=axes, keepdims=keep, initial=not largest)
        limits = np.finfo(x.dtype) if np.issubdtype(x.dtype, np.floating) else np.iinfo(x.dtype)
        start = limits.min if largest else limits.max
        if np.issubdtype(x.dtype, np.floating):
            start = -np.inf if largest else np.inf
        return ufunc.reduce(x, axis=axes, keepdims=keep, initial=start)

    return function


_REDUCTIONS: dict[str, Reduction] = {
    "ReduceL1": lambda x, axes, keep: np.abs(x).sum(axis=axes, keepdims=keep),
    "ReduceL2": lambda x, axes, keep: np.sqrt(np.square(x).sum(axis=axes, keepdims=keep)),
    "ReduceLogSum": lambda x, axes, keep: np.log(x.sum(axis=axes, keepdims=keep)),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": _extreme(np.maximum, largest=True),
    "ReduceMean": lambda x, axes, keep: x.mean(axis=axes, keepdims=keep),
    "ReduceMin": _extreme(np.minimum, largest=False),
    "ReduceProd": lambda x, axes, keep: x.prod(axis=axes, keepdims=keep),
    "ReduceSum": lambda x, axes, keep: x.sum(axis=axes, keepdims=keep),
    "ReduceSumSquare": lambda x, axes, keep: np.square(x).sum(axis=axes, keepdims=keep),
}


def _reduce(reduction: Reduction) -> Kernel:
    def kernel(node: Node, x: Array, axes: Array | None = None) -> Array:
        given = node.attributes.get("axes") if axes is None else axes
        chosen = None if given is None or len(given) == 0 else tuple(int(axis) for axis in given)
        keep = bool(node.attributes.get("keepdims", 1))
        if chosen is None and node.attributes.get("noop_with_empty_axes", 0):
            chosen, keep = (), True
        wide = x if x.dtype == np.bool_ else x.astype(sum_dtype(x.dtype), copy=False)
        return np.asarray(reduction(wide, chosen, keep)).astype(x.dtype, copy=False)

    return kernel


OPERATORS |= {name: _reduce(reduction) for name, reduction in _REDUCTIONS.items()}


@operator("ArgMax", "ArgMin")
def arg(node: Node, x: Array) -> Array:
    axis, keep = node.attributes.get("axis", 0), bool(node.attributes.get("keepdims", 1))
    find = np.argmax if node.op == "ArgMax" else np.argmin
    if node.attributes.get("select_last_index", 0):
        place = x.shape[axis] - 1 - find(np.flip(x, axis), axis=axis, keepdims=keep)
        return np.asarray(place, np.int64)
    return np.asarray(find(x, axis=axis, keepdims=keep), np.int64)


@operator("TopK")
def top_k(node: Node, x: Array, k: Array) -> tuple[Array, Array]:
    axis, count = node.attributes.get("axis", -1), int(k.item())
    if node.attributes.get("largest", 1):
        # of equal elements the first is taken, so the order is found from the back
        order = np.flip(x.shape[axis] - 1 - np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis=axis, kind="stable")
    index = np.take(order, range(count), axis=axis)
    return np.take_along_axis(x, index, axis=axis), index
