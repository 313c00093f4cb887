"""DenseShift in tensor operations: the nest of binary references, one after the other."""

__all__ = ["RULES"]

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from tetrit.estimators import DenseShift
from tetrit.train.quantizers.rules._tensors import rounded
from tetrit.train.quantizers.rules.base import Rule


class _DenseShift(Rule):
    name: ClassVar[str] = "denseshift"

    def values(self, e: DenseShift, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        x = w.double()
        magnitude = torch.ones_like(x[0])
        for reference in x[1:]:
            magnitude = torch.where(reference > 0, 2.0 * magnitude, 1.0)
        values = torch.copysign(magnitude, x[0]) * e.scale
        return torch.where(x.isfinite().all(0), values, torch.nan)

    def backward(self, e: DenseShift, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        x, g = w.double(), grad.double()
        exponent, power = torch.zeros_like(x[0]), torch.ones_like(x[0])
        before = []
        for reference in x[1:]:
            before.append(exponent)
            positive = reference > 0
            exponent = torch.where(positive, exponent + 1.0, 0.0)
            power = torch.where(positive, 2.0 * power, 1.0)
        magnitude = e.scale * power
        within = x.abs() <= e.clip
        slope = g * (torch.copysign(magnitude, x[0]) * math.log(2.0))
        reached = torch.ones_like(within[0])
        grads = []
        for t in range(len(x) - 1, 0, -1):
            grads.append(torch.where(reached & within[t], slope * (1.0 + before[t - 1]), 0.0))
            reached = reached & (x[t] > 0)
        grads.append(torch.where(within[0], g * magnitude, 0.0))
        return [rounded(torch.stack(grads[::-1]), grad.dtype)]


RULES = (_DenseShift(),)
