"""Uniform integers in tensor operations: both straight-through estimators and true 4-bit training."""

__all__ = ["RULES", "symmetric_integers"]

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from tetrit.estimators import STE, ClippedSTE, TanhClip
from tetrit.train.quantizers.rules._formats import ends
from tetrit.train.quantizers.rules._tensors import (
    from_rows,
    largest_magnitudes,
    number,
    poisoned,
    positive_or_one,
    rounded,
    to_rows,
)
from tetrit.train.quantizers.rules.base import Rule


def _limits(x: Tensor, limit: float | None) -> Tensor:
    largest = largest_magnitudes(x)
    return largest if limit is None else poisoned(torch.full_like(largest, limit), largest)


def symmetric_integers(w: Tensor, format: str, axis: int | None, limit: float | None) -> Tensor:
    """Return the values of `tetrit.estimators.STE` with these fields, in float64."""
    x = to_rows(w.double(), axis)
    _, high = ends(format)
    scales = positive_or_one(_limits(x, limit) / number(high, x))[:, None]
    # an integer has no negative zero
    values = (torch.round(x / scales).clamp(-high, high) + 0.0) * scales
    return from_rows(values, w.shape, axis)


class _STE(Rule):
    name: ClassVar[str] = "ste"

    def values(self, e: STE, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        return symmetric_integers(w, e.format, e.axis, e.limit)

    def backward(self, e: Any, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        return [grad]


class _ClippedSTE(_STE):
    name: ClassVar[str] = "ste_clipped"

    def backward(self, e: ClippedSTE, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        x = to_rows(w.double(), e.axis)
        inside = from_rows(x.abs() <= _limits(x, e.limit)[:, None], w.shape, e.axis)
        return [torch.where(inside, grad, 0.0)]


class _TanhClip(_STE):
    name: ClassVar[str] = "tanh_clip"

    def after_step(self, e: TanhClip, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        x = w.double()
        return rounded(e.bound * torch.tanh(x / number(e.bound, x)), w.dtype)


RULES = (_STE(), _ClippedSTE(), _TanhClip())
