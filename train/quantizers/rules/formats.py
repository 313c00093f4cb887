"""Rounding to any real format in tensor operations, with its choice of the scale."""

__all__ = ["RULES"]

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from tetrit import formats
from tetrit.estimators import FormatSTE
from tetrit.estimators.scales import GREATEST_EXPONENT, LEAST_EXPONENT
from tetrit.train.quantizers.rules._formats import nearest
from tetrit.train.quantizers.rules._tensors import (
    from_rows,
    largest_magnitudes,
    number,
    numbers,
    ordered_sum,
    poisoned,
    power_of_two,
    to_rows,
)
from tetrit.train.quantizers.rules.base import Rule


def _scales(e: FormatSTE, x: Tensor) -> Tensor:
    """Return one scale per row, NaN where a row is not finite."""
    largest = largest_magnitudes(x)
    if e.scale is not None:
        return poisoned(numbers(e.scale, x.device).expand(x.shape[0]), largest)
    finite = torch.where(largest.isfinite(), largest, 0.0)
    fraction, exponent = torch.frexp(finite)
    exponent = exponent.long()
    unit = torch.ones_like(finite) if e.power_of_two else torch.where(fraction == 0, 1.0, fraction)
    half = torch.div(-exponent, 2, rounding_mode="floor")
    scaled = x * power_of_two(half)[:, None] * power_of_two(-exponent - half)[:, None]
    best, found, held = torch.full_like(unit, torch.inf), unit, formats.get(e.format).max_value
    for ratio in e.ratios():
        scale = unit * number(ratio, x)
        error = nearest((scaled / scale[:, None]).clamp(-held, held), e.format) * scale[:, None] - scaled
        total = ordered_sum(error * error)
        better = total < best
        best, found = torch.where(better, total, best), torch.where(better, scale, found)
    mantissa, places = torch.frexp(found)
    place = (places.long() - 1 + exponent).clamp(LEAST_EXPONENT, GREATEST_EXPONENT)
    return poisoned(torch.where(finite == 0, 1.0, 2.0 * mantissa * power_of_two(place)), largest)


class _FormatSTE(Rule):
    name: ClassVar[str] = "ste_format"

    def values(self, e: FormatSTE, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        x = to_rows(w.double(), e.axis)
        scales = _scales(e, x)[:, None]
        largest = formats.get(e.format).max_value
        return from_rows(nearest((x / scales).clamp(-largest, largest), e.format) * scales, w.shape, e.axis)

    def backward(self, e: Any, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        x = to_rows(w.double(), e.axis)
        limits = _scales(e, x) * number(formats.get(e.format).max_value, x)
        return [torch.where(from_rows(x.abs() <= limits[:, None], w.shape, e.axis), grad, 0.0)]


RULES = (_FormatSTE(),)
