"""N:M sparsity in tensor operations, around the rule of the inner estimator."""

__all__ = ["RULES"]

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from tetrit.estimators import SRSTE, Estimator
from tetrit.train.quantizers.rules._tensors import rounded
from tetrit.train.quantizers.rules.base import Rule, rule_of


def _kept(e: SRSTE, w: Tensor) -> Tensor:
    """Return the indices of the kept weights along the axis, rising."""
    columns = w.movedim(e.along, 0)
    length, *rest = columns.shape
    groups = -(-length // e.m)
    padded = columns.new_full((groups * e.m, *rest), -1.0)
    padded[:length] = columns.abs()
    # a stable sort leaves the earlier of equals in front; the padding of the last group comes last
    order = padded.reshape(groups, e.m, *rest).argsort(dim=1, descending=True, stable=True)[:, : e.n].sort(1).values
    first = torch.arange(0, groups * e.m, e.m, device=w.device).reshape(groups, *(1 for _ in columns.shape))
    count = length // e.m * e.n + min(e.n, length % e.m)
    return (order + first).reshape(groups * e.n, *rest)[:count].movedim(0, e.along)


class _SRSTE(Rule):
    name: ClassVar[str] = "sr_ste"

    def values(self, e: SRSTE, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        order = _kept(e, w)
        inner = rule_of(e.inner).values(e.inner, w.gather(e.along, order), ())
        return _spread(e, w, order, inner)

    def forward(self, e: SRSTE, w: Tensor, learned: Sequence[Tensor], seed: int | None) -> Tensor:
        order = _kept(e, w)
        inner = rule_of(e.inner).forward(e.inner, w.gather(e.along, order), (), None)
        return _spread(e, w, order, inner)

    def backward(self, e: SRSTE, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        order = _kept(e, w)
        packed, packed_grad = w.gather(e.along, order), grad.gather(e.along, order)
        inner = rule_of(e.inner).backward(e.inner, packed, packed_grad, ())[0]
        pruned = rounded(grad.double() + e.decay * w.double(), grad.dtype)
        return [pruned.scatter(e.along, order, inner)]

    def after_step(self, e: SRSTE, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        if type(e.inner).after_step is Estimator.after_step:
            return w
        order = _kept(e, w)
        return w.scatter(e.along, order, rule_of(e.inner).after_step(e.inner, w.gather(e.along, order), ()))


def _spread(e: SRSTE, w: Tensor, order: Tensor, inner: Tensor) -> Tensor:
    return torch.zeros_like(w, dtype=torch.float64).scatter(e.along, order, inner)


RULES = (_SRSTE(),)
