"""Binary weights in tensor operations: ReSTE and BiPer."""

__all__ = ["RULES"]

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from tetrit.estimators import BiPer, ReSTE
from tetrit.estimators.elementary._kernels import LARGEST_PHASE
from tetrit.train.quantizers.rules._elementary import cosine, powers, sine
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
        secant = number(e.secant, x)
        flat = powers(secant.reshape(1), 1.0 / e.power) / secant
        # what is not finite goes through too, and comes out so
        bases = torch.where(a > e.secant, a, secant).clamp_max(torch.finfo(torch.float64).max)
        steep = powers(bases, (1.0 - e.power) / e.power) / number(e.power, x)
        result = g * (scales * torch.where(a > e.secant, steep, flat))
        return [rounded(from_rows(torch.where(a > e.clip, 0.0, result), w.shape, e.axis), grad.dtype)]


def _mean_scales(x: Tensor) -> Tensor:
    return positive_or_one(per_row(x, ordered_sum(x.abs())))[:, None]


class _BiPer(Rule):
    name: ClassVar[str] = "biper"

    def values(self, e: BiPer, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        wave = sine(_phases(e, w))
        return torch.where(wave.isnan(), wave, _signs(wave) * e.scale)

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
