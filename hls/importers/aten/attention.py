"""Softmax and scaled dot-product attention."""

__all__: list[str] = []

import math

import numpy as np

from tetrit.hls.importers.aten.context import Args, Context, Ref, UnsupportedError, handles


@handles("softmax", "_softmax")
def _softmax(c: Context, a: Args) -> Ref:
    return c.emit("Softmax", [c.like(a["self"], c.out[0][1])], axis=int(a["dim"]))


@handles("log_softmax", "_log_softmax")
def _log_softmax(c: Context, a: Args) -> Ref:
    return c.emit("LogSoftmax", [c.like(a["self"], c.out[0][1])], axis=int(a["dim"]))


@handles("scaled_dot_product_attention")
def _attention(c: Context, a: Args) -> Ref:
    """Return ``softmax(q k^T scale + mask) v``, as separate nodes that all tools know."""
    query, key, value = a["query"], a["key"], a["value"]
    if a["dropout_p"]:
        raise UnsupportedError("it drops values: the module must be in evaluation mode")
    if a.get("enable_gqa") and query.shape[-3] != key.shape[-3]:
        raise UnsupportedError("heads that share keys (`enable_gqa`) are not supported")
    n, width = query.shape[-2:]
    scale = 1.0 / math.sqrt(width) if a["scale"] is None else float(a["scale"])
    scaled = c.emit("Mul", [query, np.asarray(scale, dtype=query.dtype)], query.shape, suffix=".scaled")
    axes = list(range(len(key.shape)))
    turned = c.transpose(key, [*axes[:-2], axes[-1], axes[-2]], ".keys")
    shape = (*np.broadcast_shapes(query.shape[:-2], key.shape[:-2]), n, key.shape[-2])
    scores = c.emit("MatMul", [scaled, turned], shape, suffix=".scores")
    mask = a["attn_mask"]
    if a["is_causal"]:
        hidden = np.triu(np.full((n, key.shape[-2]), -np.inf, dtype=query.dtype), 1)
        scores = c.emit("Add", [scores, hidden], shape, suffix=".causal")
    if mask is not None and mask.dtype == "bool":
        none = np.asarray(-np.inf, dtype=query.dtype)
        scores = c.emit("Where", [mask, scores, none], shape, suffix=".masked")
    elif mask is not None:
        scores = c.emit("Add", [scores, mask], shape, suffix=".masked")
    weights = c.emit("Softmax", [scores], shape, suffix=".weights", axis=-1)
    return c.emit("MatMul", [weights, value])
