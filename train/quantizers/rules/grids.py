"""Uneven grids in tensor operations: powers of the square root of two, power functions, adaptive steps, learned tables.

The levels of a learned grid lie on the device, so its borders are computed there. A middle between two levels is exact
but for levels that are subnormal numbers.
"""

__all__ = ["RULES"]

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from tetrit import formats
from tetrit.estimators.grids import ASQ, NUPES, POST, LearnedTable
from tetrit.estimators.grids._quantile import rank
from tetrit.train.quantizers.rules._formats import ends, nearest
from tetrit.train.quantizers.rules._tensors import (
    from_rows,
    largest_magnitudes,
    number,
    ordered_sum,
    per_row,
    poisoned,
    positive_or_one,
    rounded,
    running_total,
    to_rows,
)
from tetrit.train.quantizers.rules.base import Rule, field_gradients, field_values


class _POST(Rule):
    name: ClassVar[str] = "post"

    def values(self, e: POST, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        x = to_rows(w.double(), e.axis)
        scales = positive_or_one(_alphas(e, x) / number(formats.get(e.format).max_value, x))[:, None]
        return from_rows(nearest(x / scales, e.format) * scales, w.shape, e.axis)

    def backward(self, e: POST, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        if e.straight_through:
            return [grad]
        x = to_rows(w.double(), e.axis)
        inside = from_rows(x.abs() <= _alphas(e, x)[:, None], w.shape, e.axis)
        return [torch.where(inside, grad, 0.0)]


def _alphas(e: POST, x: Tensor) -> Tensor:
    largest = largest_magnitudes(x)
    n = x.shape[1]
    if n == 0:
        return largest
    alphas = x.abs().kthvalue(rank(e.quantile, n), 1).values
    return torch.where((alphas > 0) & largest.isfinite(), alphas, largest)


class _NUPES(Rule):
    name: ClassVar[str] = "nupes"

    def values(self, e: NUPES, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        x, scales, levels, _, place = _powers(e, w, learned)
        return from_rows(torch.copysign(levels[place], x) * (place > 0) * scales + 0.0, w.shape, e.axis)

    def backward(self, e: NUPES, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        if not learned:
            return [grad]
        x, scales, levels, power, place = _powers(e, w, learned)
        shares = _shares(e.bits, w.device)
        squared = power * power
        bent, straight = levels / squared / shares, levels / squared * -torch.log(shares)
        log = torch.log(x.abs() / scales) * power
        slope = scales * (bent[place] * (torch.exp(log) * log) + straight[place])
        terms = to_rows(grad.double(), e.axis) * torch.where(place > 0, torch.copysign(slope, slope * x), 0.0)
        return [grad, *field_gradients(e, learned, {"power": running_total(ordered_sum(terms))})]


@lru_cache(maxsize=32)
def _shares(bits: int, device: torch.device) -> Tensor:
    """Return q / top for every magnitude q from 0 to top, but 1 for 0, where it is not used."""
    shares = np.arange(1 << (bits - 1)) / ((1 << (bits - 1)) - 1)
    shares[0] = 1.0
    return torch.tensor(shares, device=device)


@lru_cache(maxsize=32)
def _middles(bits: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return (q - 1/2) / top for q from 1 to top, and whether q is even, which a border then belongs to."""
    top = (1 << (bits - 1)) - 1
    upper = np.arange(1, top + 1)
    return torch.tensor((upper - 0.5) / top, device=device), torch.tensor(upper % 2 == 0, device=device)


def _powers(e: NUPES, w: Tensor, learned: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Rows, scales, the values of the magnitudes, the exponent, and the integer magnitude of every weight."""
    x = to_rows(w.double(), e.axis)
    scales = positive_or_one(largest_magnitudes(x))[:, None]
    power = field_values(e, "power", learned, w.device)
    inverse = torch.ones_like(power) / power
    middles, even = _middles(e.bits, w.device)
    borders = torch.pow(middles, inverse)
    borders = torch.where(even, torch.nextafter(borders, torch.zeros_like(borders)), borders)
    place = torch.bucketize((x.abs() / scales).contiguous(), borders)
    shares = _shares(e.bits, w.device)
    levels = torch.cat([torch.zeros_like(power), torch.pow(shares[1:], inverse)])
    return x, scales, levels, power, place


class _ASQ(Rule):
    name: ClassVar[str] = "asq"

    def values(self, e: ASQ, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        _, z, step, _ = _adapted(e, w, learned)
        return from_rows((torch.round(z).clamp(*ends(e.format)) + 0.0) * step, w.shape, e.axis)

    def backward(self, e: ASQ, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        low, high = ends(e.format)
        x, z, step, betas = _adapted(e, w, learned)
        g = to_rows(grad.double(), e.axis)
        inside = (z > low) & (z < high)
        result = rounded(
            from_rows(torch.where(inside, g * (torch.ones_like(betas) / betas)[:, None], 0.0), w.shape, e.axis),
            grad.dtype,
        )
        if not learned:
            return [result]
        slope = torch.where(inside, torch.round(z) - z, torch.where(z <= low, low, high))
        by_step = running_total(ordered_sum(g * slope)) * e.gradient_factor(x.shape[1])
        by_beta = -(ordered_sum(torch.where(inside, g * z, 0.0)) * (step / betas)) + 0.0
        if not isinstance(e.beta, tuple):
            by_beta = running_total(by_beta)
        return [result, *field_gradients(e, learned, {"step": by_step, "beta": by_beta})]


def _adapted(e: ASQ, w: Tensor, learned: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows, these over step and beta, the step, and beta of every row."""
    x = to_rows(w.double(), e.axis)
    if e.step is None:
        flat = to_rows(w.double(), None)
        first = 2.0 * per_row(flat, ordered_sum(flat.abs())) / number(math.sqrt(ends(e.format)[1]), x)
        step = positive_or_one(first)
    else:
        step = field_values(e, "step", learned, w.device)
    betas = field_values(e, "beta", learned, w.device).expand(x.shape[0])
    return x, x / poisoned(step * betas, largest_magnitudes(x))[:, None], step, betas


class _LearnedTable(Rule):
    name: ClassVar[str] = "codebook"

    def values(self, e: LearnedTable, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        x = to_rows(w.double(), None)
        levels, _, place = _nearest_entries(_table(e, x, learned), x)
        return from_rows(poisoned(levels[place], x), w.shape, None)

    def backward(self, e: LearnedTable, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        if not learned:
            return [grad]
        x = to_rows(w.double(), None)
        _, codes, place = _nearest_entries(_table(e, x, learned), x)
        sums, _ = _member_sums(codes[place], to_rows(grad.double(), None), len(codes))
        return [grad, *field_gradients(e, learned, {"table": sums})]

    def after_step(self, e: LearnedTable, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        if e.strength == 0:
            return w
        x = to_rows(w.double(), None)
        levels, _, place = _nearest_entries(_table(e, x, learned), x)
        c = levels[place]
        d = x - c
        if e.pull == "l2":
            moved = (x + e.strength * c) / number(1.0 + e.strength, x)
        else:
            moved = torch.where(d.abs() <= e.strength, c, x - torch.copysign(torch.full_like(d, e.strength), d))
        return rounded(from_rows(moved, w.shape, None), w.dtype)


_MEMBER_LANES = 8
_FIT_ROUNDS = 25


def _table(e: LearnedTable, x: Tensor, learned: Sequence[Tensor]) -> Tensor:
    """Return the entries: learned, fixed, or fitted to `x` by the rounds of k-means of the golden estimator."""
    if e.table is not None:
        return field_values(e, "table", learned, x.device) + 0.0
    n = x.shape[1]
    if n == 0:
        return x.new_zeros(e.entries)
    places = [(2 * k + 1) * n // (2 * e.entries) for k in range(e.entries)]
    ordered = x[0].sort().values
    table = torch.stack([ordered[place] for place in places]) + 0.0
    for _ in range(_FIT_ROUNDS):
        _, codes, place = _nearest_entries(table, x)
        sums, counts = _member_sums(codes[place], x, e.entries)
        table = torch.where(counts > 0, sums / counts.clamp_min(1).double(), table) + 0.0
    return table


def _nearest_entries(table: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the entries in ascending order, their codes (of equal ones the lowest), and the place of every x."""
    levels, codes = table.sort(stable=True)
    codes = codes[torch.searchsorted(levels, levels).clamp_max(len(codes) - 1)]
    low, high = levels[:-1] * 0.5, levels[1:] * 0.5
    middle = low + high
    part = middle - low  # Knuth's two-sum: the error of the addition, exactly
    side = (low - (middle - part)) + (high - part)
    lower, upper = codes[:-1], codes[1:]
    upper_wins = torch.where((lower ^ upper) & 1 == 1, upper & 1 == 0, upper < lower)
    below = torch.nextafter(middle, torch.full_like(middle, -torch.inf))
    borders = torch.where((side < 0) | ((side == 0) & upper_wins), below, middle)
    return levels, codes, torch.bucketize(x.contiguous(), borders)


def _member_sums(codes: Tensor, terms: Tensor, entries: int) -> tuple[Tensor, Tensor]:
    """Return the sum of the terms, in the golden order, and the number of the members of every entry."""
    sums, counts = [], []
    for k in range(entries):
        member = codes == k
        sums.append(ordered_sum(torch.where(member, terms, 0.0), _MEMBER_LANES)[0])
        counts.append(member.sum())
    return torch.stack(sums), torch.stack(counts)


RULES: tuple[Any, ...] = (_POST(), _NUPES(), _ASQ(), _LearnedTable())
