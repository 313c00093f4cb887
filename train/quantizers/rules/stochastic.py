"""Random rounding, LOTION and Gaussian weight sampling in tensor operations, split at their draws."""

__all__ = ["RULES", "random_neighbours"]

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from tetrit import formats
from tetrit.estimators import LOTION, GaussWS, StochasticRounding
from tetrit.estimators.stochastic.gauss import TAILS
from tetrit.train.quantizers.rules._formats import ends, nearest, neighbour_values, place_below
from tetrit.train.quantizers.rules._tensors import (
    from_rows,
    largest_magnitudes,
    number,
    poisoned,
    positive_or_one,
    rounded,
    shifted,
    to_rows,
)
from tetrit.train.quantizers.rules.base import Drawing
from tetrit.train.quantizers.rules.uniform import symmetric_integers


def _scales(e: StochasticRounding | LOTION, x: Tensor) -> Tensor:
    largest = largest_magnitudes(x)
    limits = largest if e.limit is None else poisoned(torch.full_like(largest, e.limit), largest)
    return positive_or_one(limits / number(formats.get(e.format).max_value, x))[:, None]


def random_neighbours(v: Tensor, words: Tensor, format: str) -> Tensor:
    """Return the neighbour of `v` in the format that the top bits of each word choose, as in `StochasticRounding`."""
    values = neighbour_values(format, v.device)
    place = place_below(values, v).clamp_min(0)
    # both zeros lie at or below either zero: take the one with the sign bit of v
    lower_zero = (v == 0) & v.signbit() & (place > 0) & (values[(place - 1).clamp_min(0)] == 0)
    place = torch.where(lower_zero, place - 1, place)
    below, above = values[place], values[(place + 1).clamp_max(len(values) - 1)]
    up = (below < v) & (shifted(words, 11).double() * 2.0**-53 < (v - below) / (above - below))
    return torch.where(up, above, below)


class _StochasticRounding(Drawing):
    name: ClassVar[str] = "stochastic_rounding"

    def values(self, e: Any, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        return self.drawn(e, w, learned, self.words(e, w, None))

    def drawn(self, e: StochasticRounding | LOTION, w: Tensor, learned: Sequence[Tensor], words: Tensor) -> Tensor:
        x = to_rows(w.double(), e.axis)
        scales = _scales(e, x)
        values = random_neighbours(x / scales, to_rows(words, e.axis), e.format)
        return from_rows(values * scales, w.shape, e.axis)

    def backward(self, e: Any, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        return [grad]


class _LOTION(_StochasticRounding):
    name: ClassVar[str] = "lotion"

    def values(self, e: LOTION, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        if e.form == "sampled":
            return super().values(e, w, learned)
        x = to_rows(w.double(), e.axis)
        scales = _scales(e, x)
        return from_rows(nearest((x / scales).clamp(*ends(e.format)), e.format) * scales, w.shape, e.axis)

    def forward(self, e: LOTION, w: Tensor, learned: Sequence[Tensor], seed: int | None) -> Tensor:
        return super().forward(e, w, learned, seed) if e.form == "sampled" else w.double()

    def backward(self, e: LOTION, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        x, g = to_rows(w.double(), e.axis), to_rows(grad.double(), e.axis)
        scales = _scales(e, x)
        v = x / scales
        values = neighbour_values(e.format, w.device)
        top = len(values) - 1
        place = place_below(values, v)
        below, above = values[place.clamp_min(0)], values[(place + 1).clamp_max(top)]
        slope = 0.5 * scales * ((above - below) - 2.0 * (v - below))
        slope = torch.where((place >= 0) & (place < top), slope, 0.0)
        result = g + e.weight * (g * g) * slope
        return [rounded(from_rows(result, w.shape, e.axis), grad.dtype)]


class _GaussWS(Drawing):
    name: ClassVar[str] = "gauss_ws"

    def values(self, e: GaussWS, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        return symmetric_integers(w, f"int{math.ceil(e.bits)}", e.axis, None)

    def drawn(self, e: GaussWS, w: Tensor, learned: Sequence[Tensor], words: Tensor) -> Tensor:
        down, across = (1, 1, *w.shape)[-2:]
        outer = math.prod(w.shape[:-2])
        x = w.double().reshape(outer, down, across)
        blocks = -(-down // e.block), -(-across // e.block)
        grown = torch.nn.functional.pad(x, (0, blocks[1] * e.block - across, 0, blocks[0] * e.block - down))
        tiles = grown.reshape(outer, blocks[0], e.block, blocks[1], e.block)
        largest = tiles.abs().amax((2, 4), keepdim=True)
        steps = (largest * 2.0 ** (1.0 - e.bits)).expand(tiles.shape).reshape(grown.shape)[:, :down, :across]
        words = words.reshape(x.shape)
        t = shifted(words, 12).double() * 2.0**-52
        noise = sum((t < tail).double() for tail in TAILS.tolist())
        noise = torch.where((words & 1) != 0, -noise, noise)
        return torch.where((noise == 0) & steps.isfinite(), x, x + noise * steps).reshape(w.shape)

    def backward(self, e: GaussWS, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        return [grad]


RULES = (_StochasticRounding(), _LOTION(), _GaussWS())
