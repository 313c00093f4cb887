"""Reductions."""

__all__: list[str] = []

from typing import Any

import numpy as np

from tetrit.hls.importers.aten.context import Args, Context, Ref, UnsupportedError, handles

_REDUCED = {"mean": "ReduceMean", "sum": "ReduceSum", "amax": "ReduceMax", "amin": "ReduceMin", "prod": "ReduceProd"}


def _reduction(op: str) -> Any:
    def handler(c: Context, a: Args) -> Ref:
        x, dims = c.like(a["self"], c.out[0][1]), a.get("dim")
        if isinstance(dims, int):
            dims = [dims]
        axes = list(range(len(x.shape))) if not dims else [int(d) % len(x.shape) for d in dims]
        keep = int(bool(a.get("keepdim", False)))
        return c.emit(op, [x, np.array(axes, dtype=np.int64)], keepdims=keep)

    return handler


for _name, _op in _REDUCED.items():
    handles(_name)(_reduction(_op))


@handles("argmax", "argmin")
def _argmax(c: Context, a: Args) -> Ref:
    raise UnsupportedError("it gives an index; take it outside of the graph")


@handles("cumsum")
def _cumsum(c: Context, a: Args) -> Ref:
    return c.emit("CumSum", [c.like(a["self"], c.out[0][1]), np.asarray(int(a["dim"]), dtype=np.int64)])


@handles("linalg_vector_norm", "norm")
def _norm(c: Context, a: Args) -> Ref:
    order = a.get("ord", a.get("p"))
    if order not in (1, 2, None):
        raise UnsupportedError(f"the norm must be of order 1 or 2, got {order}")
    x, dims = a["self"], a.get("dim")
    axes = list(range(len(x.shape))) if not dims else [int(d) for d in (dims if isinstance(dims, list) else [dims])]
    op = "ReduceL1" if order == 1 else "ReduceL2"
    return c.emit(op, [x, np.array(axes, dtype=np.int64)], keepdims=int(bool(a.get("keepdim", False))))
