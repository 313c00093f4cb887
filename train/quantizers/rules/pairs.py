"""Latent pairs in tensor operations: complex weights, and the product of two attention projections."""

__all__ = ["RULES"]

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tetrit import formats
from tetrit.estimators import StatsQ
from tetrit.estimators.pairs import QKR, Fairy
from tetrit.train.quantizers._golden import array
from tetrit.train.quantizers.rules._tensors import (
    from_rows,
    largest_magnitudes,
    ordered_sum,
    poisoned,
    positive_or_one,
    rounded,
    to_rows,
)
from tetrit.train.quantizers.rules.base import Rule, rule_of


@lru_cache(maxsize=32)
def _roots(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return real and imaginary part of every code of `fairy2`."""
    values = formats.get("fairy2").values
    re, im = np.ascontiguousarray(values.real), np.ascontiguousarray(values.imag)
    return torch.tensor(re, device=device), torch.tensor(im, device=device)


class _Fairy(Rule):
    name: ClassVar[str] = "fairy"

    def values(self, e: Fairy, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        re, im = (to_rows(part, e.axis) for part in w.double())
        across = re.abs() < im.abs()
        codes = across.long() | (torch.where(across, im, re) < 0).long() << 1
        totals = torch.stack([
            ordered_sum(torch.where(across, 0.0, re.abs())),
            ordered_sum(torch.where(across, im.abs(), 0.0)),
        ])  # fmt: skip
        landed = torch.stack([(~across).sum(1), across.sum(1)]).clamp_min(1).double()
        whole = totals[0] + totals[1] + largest_magnitudes(torch.cat([re, im], 1))
        scales = poisoned(positive_or_one(totals / landed), whole)[:, :, None]
        parts = [
            from_rows(roots[codes] * s, w.shape[1:], e.axis) for roots, s in zip(_roots(w.device), scales, strict=True)
        ]
        return torch.stack(parts)

    def backward(self, e: Fairy, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        return [grad]


class _QKR(Rule):
    name: ClassVar[str] = "qkr"
    serves_cpu: ClassVar[bool] = True

    def values(self, e: QKR, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        rows, inner = _products(e, w)
        return rule_of(inner).values(inner, rows, ()).reshape(e.value_shape(tuple(w.shape)))

    def backward(self, e: QKR, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        wide = torch.promote_types(torch.promote_types(w.dtype, grad.dtype), torch.float32)
        query, key = w.to(wide).contiguous()  # in the same order of memory a product adds in the same order
        g = (grad if e.cga is None else _product_gradient(e, w, grad)).to(wide).contiguous()
        result = torch.empty(w.shape, dtype=wide, device=w.device)
        torch.bmm(key, g.transpose(1, 2), out=result[0])  # autocast leaves a product alone that has an `out`
        torch.bmm(query, g, out=result[1])
        return [rounded(result, grad.dtype)]


def _product_gradient(e: QKR, w: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient of the products, 0 where they are frozen."""
    if w.is_cpu:
        return torch.from_numpy(e.product_gradient(array(w), array(grad)))
    rows, inner = _products(e, w)
    return rule_of(inner).backward(inner, rows, grad.reshape(rows.shape), ())[0].reshape(grad.shape)


def _products(e: QKR, w: Tensor) -> tuple[Tensor, StatsQ]:
    """Return the rows of W_q^T W_k of all heads, added in the order of d_head, and their quantiser."""
    query, key = w.double()
    heads, _, n = query.shape
    product = query.new_zeros(heads, n, n)
    for t in range(query.shape[1]):
        product = product + query[:, t, :, None] * key[:, t, None, :]
    return product.reshape(heads * n, n), StatsQ(bits=e.bits, cga=e.cga, axis=0)


RULES: tuple[Rule, ...] = (_Fairy(), _QKR())
