"""Signed-zero ternary in tensor operations."""

__all__ = ["RULES"]

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from tetrit.estimators.surrogates import Surrogate
from tetrit.estimators.szt import RATIOS, SZT
from tetrit.train.quantizers.rules._tensors import (
    from_rows,
    ordered_sum,
    per_row,
    poisoned,
    positive_or_one,
    rounded,
    to_rows,
)
from tetrit.train.quantizers.rules.base import Rule


class _SZT(Rule):
    name: ClassVar[str] = "szt"

    def values(self, e: SZT, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        x = to_rows(w.double(), e.axis)
        means, thresholds = _thresholds(e, x)
        kept = x.abs() > thresholds
        counts = kept.sum(1)
        sums = ordered_sum(torch.where(kept, x.abs(), 0.0))
        scales = sums / counts.clamp_min(1).double() if e.scale == "kept" else means
        scales = torch.where(counts > 0, positive_or_one(scales), 1.0)
        return from_rows(torch.copysign(kept.double(), x) * poisoned(scales, means)[:, None], w.shape, e.axis)

    def backward(self, e: SZT, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        x, g = to_rows(w.double(), e.axis), to_rows(grad.double(), e.axis)
        means, thresholds = _thresholds(e, x)
        rule = e.surrogate
        assert isinstance(rule, Surrogate)
        clips = torch.where(means > 0, rule.clip * means, torch.inf)[:, None]
        dead = rule.gain * g - torch.copysign(torch.ones_like(x), x) * (rule.tilt * g.abs() + rule.drift)
        live = torch.where(x.abs() <= clips, g, 0.0)
        result = torch.where(x.abs() <= thresholds, dead, live)
        return [rounded(from_rows(result, w.shape, e.axis), grad.dtype)]


def _thresholds(e: SZT, x: Tensor) -> tuple[Tensor, Tensor]:
    means = per_row(x, ordered_sum(x.abs()))
    return means, (RATIOS[e.threshold] * means)[:, None]


RULES = (_SZT(),)
