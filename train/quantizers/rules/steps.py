"""Integers with a step of their own in tensor operations: LSQ and double rounding."""

__all__ = ["RULES"]

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from tetrit.estimators import LSQ, DoubleRounding
from tetrit.estimators.stochastic.double_rounding import STORED_BITS
from tetrit.train.quantizers.rules._formats import ends
from tetrit.train.quantizers.rules._tensors import (
    from_rows,
    largest_magnitudes,
    number,
    numbers,
    ordered_sum,
    per_row,
    poisoned,
    positive_or_one,
    to_rows,
)
from tetrit.train.quantizers.rules.base import Rule, field_gradients, field_values


class _LSQ(Rule):
    name: ClassVar[str] = "lsq"

    def values(self, e: LSQ, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        x, steps = _lsq_steps(e, w, learned)
        low, high = ends(e.format)
        return from_rows((torch.round(x / steps).clamp(low, high) + 0.0) * steps, w.shape, e.axis)

    def backward(self, e: LSQ, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        x, steps = _lsq_steps(e, w, learned)
        low, high = ends(e.format)
        z = x / steps
        inside = from_rows((low < z) & (z < high), w.shape, e.axis)
        result = torch.where(inside, grad, 0.0)
        if not learned:
            return [result]
        slope = torch.where(z <= low, low, torch.where(z >= high, high, torch.round(z) - z))
        total = ordered_sum(to_rows(grad.double(), e.axis) * slope)
        return [result, *field_gradients(e, learned, {"step": total * e.gradient_factor(tuple(w.shape))})]


def _lsq_steps(e: LSQ, w: Tensor, learned: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    x = to_rows(w.double(), e.axis)
    if e.step is not None:
        step = field_values(e, "step", learned, x.device)
        steps = poisoned(step.expand(x.shape[0]), largest_magnitudes(x))
    else:
        steps = positive_or_one(2.0 * per_row(x, ordered_sum(x.abs())) / number(math.sqrt(ends(e.format)[1]), x))
    return x, steps[:, None]


class _DoubleRounding(Rule):
    name: ClassVar[str] = "double_rounding"

    def values(self, e: DoubleRounding, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        x, steps = _stored_steps(e, w)
        half, narrow_half, ratio = _halves(e)
        stored = torch.round(x / steps).clamp(-half, half - 1.0)
        narrow = torch.round(stored / number(ratio, x)).clamp(-narrow_half, narrow_half - 1.0)
        return from_rows((narrow + 0.0) * (steps * ratio), w.shape, e.axis)

    def backward(self, e: DoubleRounding, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        x, steps = _stored_steps(e, w)
        half, narrow_half, ratio = _halves(e)
        stored = torch.round(x / steps)
        narrow = torch.round(stored / number(ratio, x))
        inside = (-half <= stored) & (stored < half) & (-narrow_half <= narrow) & (narrow < narrow_half)
        return [torch.where(from_rows(inside, w.shape, e.axis), grad, 0.0)]


def _halves(e: DoubleRounding) -> tuple[float, float, float]:
    """Half the number of stored and of narrow codes, and how many of the first one of the second stands for."""
    half, narrow_half = 2.0 ** (STORED_BITS - 1), 2.0 ** (e.bits - 1)
    return half, narrow_half, half / narrow_half


def _stored_steps(e: DoubleRounding, w: Tensor) -> tuple[Tensor, Tensor]:
    x = to_rows(w.double(), e.axis)
    largest = largest_magnitudes(x)
    if e.step is not None:
        return x, poisoned(numbers(e.step, x.device).expand(x.shape[0]), largest)[:, None]
    return x, positive_or_one(largest / number(2.0 ** (STORED_BITS - 1) - 1.0, x))[:, None]


RULES = (_LSQ(), _DoubleRounding())
