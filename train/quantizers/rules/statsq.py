"""StatsQ in tensor operations, the freezing of weights far from a border included."""

__all__ = ["RULES"]

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from tetrit.estimators import StatsQ
from tetrit.train.quantizers.rules._tensors import from_rows, number, ordered_sum, per_row, positive_or_one, to_rows
from tetrit.train.quantizers.rules.base import Rule


class _StatsQ(Rule):
    name: ClassVar[str] = "statsq"

    def values(self, e: StatsQ, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        x = to_rows(w.double(), e.axis)
        half = _half(e)
        scales = _scales(e, x)
        q = torch.round(x / scales * 0.5 - 0.5).clamp(-half, half - 1.0)
        return from_rows((2.0 * q + 1.0) * scales, w.shape, e.axis)

    def backward(self, e: StatsQ, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        if e.cga is None:
            return [grad]
        x = to_rows(w.double(), e.axis)
        half = _half(e)
        place = x / _scales(e, x) * 0.5
        border = torch.round(place).clamp(1.0 - half, half - 1.0)
        free = from_rows((place - border).abs() <= e.cga, w.shape, e.axis)
        return [torch.where(free, grad, 0.0)]


def _half(e: StatsQ) -> float:
    return 2.0 ** (e.bits - 1)


def _scales(e: StatsQ, x: Tensor) -> Tensor:
    means = per_row(x, ordered_sum(x.abs()))
    return positive_or_one(means / number(_half(e), x))[:, None]


RULES = (_StatsQ(),)
