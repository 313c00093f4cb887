"""Powers of two in tensor operations, with the blend of latent and quantised weights."""

__all__ = ["RULES"]

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from tetrit import formats
from tetrit.estimators import PowerOfTwo
from tetrit.train.quantizers.rules._formats import nearest
from tetrit.train.quantizers.rules._tensors import (
    from_rows,
    largest_magnitudes,
    number,
    positive_or_one,
    rounded,
    to_rows,
)
from tetrit.train.quantizers.rules.base import Rule


class _PowerOfTwo(Rule):
    name: ClassVar[str] = "pot"

    def values(self, e: PowerOfTwo, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        x = to_rows(w.double(), e.axis)
        largest = largest_magnitudes(x)
        scales = positive_or_one(largest / number(formats.get(e.format).max_value, x))[:, None]
        return from_rows(nearest(x / scales, e.format) * scales, w.shape, e.axis)

    def forward(self, e: PowerOfTwo, w: Tensor, learned: Sequence[Tensor], seed: int | None) -> Tensor:
        return e.lam * self.values(e, w, learned) + (1.0 - e.lam) * w.double()

    def backward(self, e: PowerOfTwo, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        return [rounded((1.0 - e.lam) * grad.double(), grad.dtype)]


RULES = (_PowerOfTwo(),)
