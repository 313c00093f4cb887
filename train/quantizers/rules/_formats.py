"""Rounding to a format in tensor operations: the format's own cells, on any device."""

__all__ = ["ends", "nearest", "neighbour_values", "place_below"]

from functools import lru_cache

import torch
from torch import Tensor

from tetrit import formats
from tetrit.estimators.stochastic._shared import neighbours


@lru_cache(maxsize=256)
def _cells(name: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """First key of every cell but the first, and the value of every cell (`tetrit.formats._steps`)."""
    fmt = formats.get(name)
    assert isinstance(fmt, formats.RealFormat)
    steps = fmt._steps
    return torch.tensor(steps.keys, device=device), torch.tensor(fmt.values[steps.codes], device=device)


def nearest(x: Tensor, name: str) -> Tensor:
    """Return ``decode(encode(x))`` of the format for float64 `x`, bit for bit, ties and signed zeros included.

    Where the format has no code for NaN, a NaN gets the value at the end of its sign.
    """
    keys, values = _cells(name, x.device)
    bits = x.contiguous().view(torch.int64)
    ordered = torch.where(bits < 0, bits ^ 0x7FFF_FFFF_FFFF_FFFF, bits)
    return values[torch.bucketize(ordered, keys, right=True)]


@lru_cache(maxsize=256)
def neighbour_values(name: str, device: torch.device) -> Tensor:
    """Return the finite values of the format, ascending, -0.0 before 0.0."""
    return torch.tensor(neighbours(name)[0], device=device)


def place_below(values: Tensor, x: Tensor) -> Tensor:
    """Return the index of the last value at or below `x`, -1 if there is none."""
    return torch.bucketize(x.contiguous(), values, right=True) - 1


def ends(name: str) -> tuple[float, float]:
    """Return the least and the greatest finite value of the format."""
    values = neighbours(name)[0]
    return float(values[0]), float(values[-1])
