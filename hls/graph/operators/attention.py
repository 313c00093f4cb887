"""Scaled dot-product attention as one operator."""

__all__: list[str] = []

from typing import Any

import numpy as np

from tetrit.hls.graph.heads import heads
from tetrit.hls.graph.ir import Node
from tetrit.hls.graph.operators.activation import softmax_of
from tetrit.hls.graph.operators.common import Array, operator, sum_dtype


def _split(x: Array, count: int) -> Array:
    """Return (batch, heads, steps, size) of (batch, steps, heads * size)."""
    return x if x.ndim == 4 else x.reshape(*x.shape[:2], count, -1).swapaxes(1, 2)


def _bias(node: Node, mask: Array | None, offset: Array, shape: tuple[int, int], dtype: Any) -> Array:
    """Return what is added to the scores: the mask, with -inf where causality or the window excludes a key."""
    q_steps, total = shape
    bias = np.zeros(shape, dtype)
    if mask is not None:
        missing = [(0, 0)] * (mask.ndim - 1) + [(0, total - mask.shape[-1])]
        boolean = mask.dtype == np.bool_
        mask = np.pad(mask, missing, constant_values=False if boolean else -np.inf)
        bias = bias + (np.where(mask, 0, -np.inf).astype(dtype) if boolean else mask)
    ahead = np.arange(total) - (np.arange(q_steps)[:, None] + offset.reshape(-1, 1, 1, 1))
    left, right = node.attributes.get("left_window_size", -1), node.attributes.get("right_window_size", -1)
    seen = np.ones(ahead.shape, bool)
    if node.attributes.get("is_causal", 0):
        seen &= ahead <= 0
    if left >= 0:
        seen &= ahead >= -left
    if right >= 0:
        seen &= ahead <= right
    return bias if seen.all() else bias + np.where(seen, 0, -np.inf).astype(dtype)


@operator("Attention")
def attention(
    node: Node,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    past_key: Array | None = None,
    past_value: Array | None = None,
    lengths: Array | None = None,
) -> tuple[Array, ...]:
    n = heads(node, q.shape, k.shape, v.shape)
    query, key, value = _split(q, n.q_heads), _split(k, n.k_heads), _split(v, n.k_heads)
    offset = np.zeros(1, np.int64)
    if past_key is not None and past_value is not None:
        key, value = np.concatenate((past_key, key), axis=2), np.concatenate((past_value, value), axis=2)
        offset += past_key.shape[2]
    elif lengths is not None:
        offset = lengths.reshape(-1).astype(np.int64) - n.q_steps
    total = key.shape[2]
    bias = _bias(node, mask, offset, (n.q_steps, total), q.dtype)
    if lengths is not None:
        valid = np.arange(total) < lengths.reshape(-1, 1, 1, 1)
        bias = bias + np.where(valid, 0, -np.inf).astype(q.dtype)

    wide = sum_dtype(q.dtype)
    scale = node.attributes.get("scale")
    root = q.dtype.type(np.sqrt(1 / np.sqrt(n.k_size) if scale is None else scale))
    repeat = n.q_heads // n.k_heads
    keys, values = (np.repeat(x, repeat, axis=1) if repeat > 1 else x for x in (key, value))
    left, right = (query * root).astype(wide, copy=False), (keys * root).astype(wide, copy=False)
    scores = (left @ right.swapaxes(-1, -2)).astype(q.dtype, copy=False)
    mode = node.attributes.get("qk_matmul_output_mode", 0)
    shown = scores
    cap = node.attributes.get("softcap", 0.0)
    if cap:
        scores = np.tanh(scores / q.dtype.type(cap)) * q.dtype.type(cap)
        shown = scores if mode == 1 else shown
    scores = scores + bias
    shown = scores if mode == 2 else shown
    precision = node.attributes.get("softmax_precision")
    weights = softmax_of(scores.astype(precision) if precision else scores, -1)
    empty = np.isneginf(bias.max(axis=-1, keepdims=True)) if total else np.zeros(1, bool)
    weights = np.where(empty, 0, weights).astype(q.dtype)  # a query that may see no key gives zeros
    shown = weights if mode == 3 else shown
    result = (weights.astype(wide, copy=False) @ values.astype(wide, copy=False)).astype(q.dtype, copy=False)
    if q.ndim == 3:
        result = result.swapaxes(1, 2).reshape(n.batch, n.q_steps, -1)
    return result, key, value, np.broadcast_to(shown, (n.batch, n.q_heads, n.q_steps, total)).astype(q.dtype)


@operator("RotaryEmbedding")
def rotary_embedding(node: Node, x: Array, cosine: Array, sine: Array, positions: Array | None = None) -> Array:
    whole = _split(x, node.attributes.get("num_heads", 0) or 1)
    turned = node.attributes.get("rotary_embedding_dim", 0) or whole.shape[-1]
    if positions is not None:
        cosine, sine = cosine[positions], sine[positions]
    cosine, sine = np.expand_dims(cosine, -3), np.expand_dims(sine, -3)  # the same for all heads
    if node.attributes.get("interleaved", 0):
        first, second = slice(0, turned, 2), slice(1, turned, 2)
    else:
        first, second = slice(0, turned // 2), slice(turned // 2, turned)
    real, imaginary = whole[..., first], whole[..., second]
    result = whole.copy()
    result[..., first] = cosine * real - sine * imaginary
    result[..., second] = sine * real + cosine * imaginary
    return result if x.ndim == 4 else result.swapaxes(1, 2).reshape(x.shape)
