"""Estimators that adapt, in tensor operations: Tequila's ternary weights and AdaPT's fixed point."""

__all__ = ["RULES"]

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from tetrit.estimators import SZT
from tetrit.estimators.adaptive import AdaPT, Tequila
from tetrit.estimators.adaptive.adapt import _HIGHEST, _LOWEST
from tetrit.train.quantizers.rules._formats import ends
from tetrit.train.quantizers.rules._tensors import largest_magnitudes, number, poisoned, power_of_two
from tetrit.train.quantizers.rules.base import Drawing, Rule, rule_of
from tetrit.train.quantizers.rules.stochastic import random_neighbours


class _Tequila(Rule):
    name: ClassVar[str] = "tequila"

    def values(self, e: Tequila, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        ternary = SZT(threshold=e.threshold, scale=e.scale, axis=e.axis)
        return rule_of(ternary).values(ternary, w, ()) + 0.0  # this zero has no sign

    def backward(self, e: Tequila, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        return [grad]


class _AdaPT(Drawing):
    name: ClassVar[str] = "adapt"

    def values(self, e: AdaPT, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        if e.rounding == "stochastic":
            return self.drawn(e, w, learned, self.words(e, w, None))
        x, scale = _scaled(e, w)
        low, high = ends(f"int{e.word_length}")
        return (torch.round(x / scale).clamp(low, high) + 0.0) * scale

    def forward(self, e: AdaPT, w: Tensor, learned: Sequence[Tensor], seed: int | None) -> Tensor:
        if e.rounding == "stochastic":
            return super().forward(e, w, learned, seed)
        return self.values(e, w, learned)

    def drawn(self, e: AdaPT, w: Tensor, learned: Sequence[Tensor], words: Tensor) -> Tensor:
        x, scale = _scaled(e, w)
        return random_neighbours(x / scale, words, f"int{e.word_length}") * scale

    def backward(self, e: AdaPT, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        return [grad]


def _scaled(e: AdaPT, w: Tensor) -> tuple[Tensor, Tensor]:
    """Return the latent tensor in float64 and the step, a power of two."""
    x = w.double()
    largest = largest_magnitudes(x.reshape(1, -1))[0]
    if e.fraction_length is not None:
        return x, poisoned(number(2.0**-e.fraction_length, x), largest)
    whole = torch.frexp(torch.where(largest.isfinite(), largest, 1.0)).exponent.clamp(_LOWEST, _HIGHEST)
    return x, poisoned(power_of_two(whole - (e.word_length - 1)), largest)


RULES: tuple[Rule, ...] = (_Tequila(), _AdaPT())
