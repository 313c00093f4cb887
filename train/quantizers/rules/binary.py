"""Binary weights in tensor operations: ReSTE and BiPer."""

__all__ = ["RULES"]

import operator
from collections.abc import Sequence
from itertools import accumulate
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tetrit.estimators import BiPer, ReSTE
from tetrit.estimators.deterministic._kernels import CELL, CENTRE, TERMS
from tetrit.estimators.elementary._kernels import LARGEST_PHASE
from tetrit.train.quantizers.rules._elementary import cosine, powers, series, sine, sine_angle
from tetrit.train.quantizers.rules._tensors import (
    from_rows,
    number,
    ordered_sum,
    per_row,
    positive_or_one,
    rounded,
    to_rows,
)
from tetrit.train.quantizers.rules.base import Rule


def _signs(x: Tensor) -> Tensor:
    return torch.copysign(torch.ones_like(x), x)


class _ReSTE(Rule):
    name: ClassVar[str] = "reste"

    def values(self, e: ReSTE, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        x = to_rows(w.double(), e.axis)
        return from_rows(_signs(x) * _mean_scales(x), w.shape, e.axis)

    def backward(self, e: ReSTE, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        x, g = to_rows(w.double(), e.axis), to_rows(grad.double(), e.axis)
        scales, a = _mean_scales(x), x.abs()
        steep = a > e.secant
        # what is not finite goes through too, and comes out so
        b = torch.where(steep, a, number(e.secant, x)).clamp_max(e.clip)
        bits, first = b.view(torch.int64), _cell(e.secant)
        centre = _centre(bits >> CELL)
        terms, table = _slopes(e, first, x.device)
        inside = torch.where(a > e.clip, 0.0, g * torch.where(steep, scales, scales * e.power))
        result = inside * series((b - centre) / centre, terms) * table[(bits >> CELL) - first]
        return [rounded(from_rows(result, w.shape, e.axis), grad.dtype)]


def _cell(value: float) -> int:
    return int(np.float64(value).view(np.int64)) >> CELL


def _centre(cell: Tensor) -> Tensor:
    return (cell << CELL | CENTRE).view(torch.float64)


def _slopes(e: ReSTE, first: int, device: torch.device) -> tuple[list[float], Tensor]:
    """Return the coefficients and the table of the golden estimator, the latter computed on the device."""
    exponent = (1.0 - e.power) / e.power
    terms = list(accumulate(((exponent - n) / (n + 1) for n in range(TERMS)), operator.mul))
    centres = _centre(torch.arange(first, _cell(e.clip) + 1, device=device))
    return [1.0, *terms], powers(centres, exponent) / number(e.power, centres)


def _mean_scales(x: Tensor) -> Tensor:
    return positive_or_one(per_row(x, ordered_sum(x.abs())))[:, None]


class _BiPer(Rule):
    name: ClassVar[str] = "biper"

    def values(self, e: BiPer, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        angle = sine_angle(_phases(e, w))
        return torch.where(angle.isnan(), angle, _signs(angle) * e.scale)

    def forward(self, e: BiPer, w: Tensor, learned: Sequence[Tensor], seed: int | None) -> Tensor:
        if e.stage == 2:
            return self.values(e, w, learned)
        return e.scale * sine(_phases(e, w))

    def backward(self, e: BiPer, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        slope = (e.scale * e.frequency) * cosine(_phases(e, w))
        return [rounded(grad.double() * slope, grad.dtype)]


def _phases(e: BiPer, w: Tensor) -> Tensor:
    phases = e.frequency * w.double()
    return torch.where(phases.abs() <= LARGEST_PHASE, phases, torch.nan)


RULES = (_ReSTE(), _BiPer())
