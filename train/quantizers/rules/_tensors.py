"""Arithmetic that rules share, exact on every device: rows, sums in the golden order, scales, one rounding at the end.

Three traps are avoided here. On a GPU torch divides by a Python number as it would multiply by its reciprocal, so
divisors are tensors (`number`). It scans a tensor of one axis in parallel, so sums run along an outer one. And it
rounds float64 to float16 by way of float32, so that step rounds to odd.
"""

__all__ = [
    "from_rows",
    "largest_magnitudes",
    "number",
    "numbers",
    "ordered_sum",
    "per_row",
    "poisoned",
    "positive_or_one",
    "power_of_two",
    "random_words",
    "rounded",
    "running_total",
    "shifted",
    "to_rows",
]

import math
from functools import lru_cache

import torch
from torch import Tensor

from tetrit.estimators._kernels import CHUNK, LANES
from tetrit.noise._kernels import FIRST_FACTOR, INCREMENT, SECOND_FACTOR


def to_rows(x: Tensor, axis: int | None) -> Tensor:
    """Return `x` as (rows, row length), one row per scale."""
    if axis is None:
        return x.reshape(1, -1)
    return x.movedim(axis, 0).reshape(x.shape[axis], x.numel() // max(x.shape[axis], 1))


def from_rows(rows: Tensor, shape: torch.Size, axis: int | None) -> Tensor:
    """Undo `to_rows`."""
    if axis is None:
        return rows.reshape(shape)
    moved = [shape[axis], *(n for i, n in enumerate(shape) if i != axis % len(shape))]
    return rows.reshape(moved).movedim(0, axis)


def number(value: float, like: Tensor) -> Tensor:
    """Return a float64 number on the device of `like`: what to divide by."""
    return torch.full((), value, dtype=torch.float64, device=like.device)


def running_total(x: Tensor) -> Tensor:
    """Return the sum over the first axis, one element after the other."""
    length, *rest = x.shape
    if length == 0:
        return x.new_zeros(rest)
    columns = x.reshape(length, math.prod(rest))
    if columns.shape[1] == 1:
        columns = columns.expand(length, 2)  # a lone column would be scanned in parallel
    return columns.cumsum(0)[-1, : math.prod(rest)].reshape(rest)


def ordered_sum(terms: Tensor, lanes: int = LANES) -> Tensor:
    """Return the sum of every row of float64 terms, bit for bit in the order of `tetrit.estimators._kernels`.

    That order is: interleaved lanes within a chunk of `CHUNK` elements, then the lanes, then the chunks. Zeros fill the
    last chunk, which changes no sum but the sign of a zero.
    """
    rows, n = terms.shape
    chunks = -(-n // CHUNK)
    steps = CHUNK // lanes if chunks > 1 else -(-n // lanes)
    if chunks == 0:
        return terms.new_zeros(rows)
    padded = torch.nn.functional.pad(terms, (0, chunks * steps * lanes - n))
    totals = padded.reshape(rows, chunks, steps, lanes).cumsum(2)[:, :, -1]
    return running_total(running_total(totals.permute(2, 0, 1)).T)


def largest_magnitudes(rows: Tensor) -> Tensor:
    """Return the largest magnitude of every row, 0 for an empty one, in float64; NaN where one is not finite."""
    if rows.shape[1] == 0:
        return rows.new_zeros(rows.shape[0], dtype=torch.float64)
    largest = rows.abs().amax(1).double()
    return torch.where(largest.isfinite(), largest, torch.nan)


def poisoned(x: Tensor, by: Tensor) -> Tensor:
    """Return `x`, but NaN where `by` is not finite: what stands for the golden estimator's error."""
    return torch.where(by.isfinite(), x, torch.nan)


def positive_or_one(scales: Tensor) -> Tensor:
    """Return non-negative scales with 1 in place of 0."""
    return torch.where(scales == 0, 1.0, scales)


def per_row(rows: Tensor, total: Tensor) -> Tensor:
    """Return a sum over every row divided by the row's length, NaN where it is not finite."""
    return poisoned(total, total) / number(max(rows.shape[1], 1), rows)


@lru_cache(maxsize=256)
def numbers(values: float | tuple[float, ...], device: torch.device) -> Tensor:
    """Return a number as a float64 tensor of shape (1,), or a tuple of n as one of shape (n,), kept on the device."""
    return torch.tensor(values, dtype=torch.float64, device=device).reshape(-1)


def power_of_two(exponent: Tensor) -> Tensor:
    """Return 2 to an integer exponent within the normal numbers of float64, exactly."""
    return ((exponent.long() + 1023) << 52).view(torch.float64)


def _odd_float32(x: Tensor) -> Tensor:
    """Round float64 to float32, an inexact result to the neighbour with the odd significand."""
    near = x.float()
    wide, bits = near.double(), near.view(torch.int32)
    moved = torch.where(wide.abs() < x.abs(), bits + 1, bits - 1)
    return torch.where((wide != x) & (bits & 1 == 0), moved, bits).view(torch.float32)


def rounded(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Round float64 once to `dtype`; to bfloat16 through float32, as on the CPU."""
    if dtype == torch.float16:
        return _odd_float32(x).to(dtype)
    return x.float().to(dtype) if dtype == torch.bfloat16 else x.to(dtype)


def _signed(word: int) -> int:
    """Return the int64 that has the bits of an unsigned word."""
    return word - 2**64 if word >= 2**63 else word


def shifted(x: Tensor, by: int) -> Tensor:
    """Shift the bits of int64 words right, as those of unsigned ones."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def random_words(n: int, *, key: int, device: torch.device | str, offset: int = 0) -> Tensor:
    """Return the words of SplitMix64 from number `offset` on, see `tetrit.estimators.elementary`, as int64."""
    numbers = torch.arange(offset + 1, offset + n + 1, dtype=torch.int64, device=device)
    x = numbers * _signed(INCREMENT) + _signed(key)
    x = (x ^ shifted(x, 30)) * _signed(FIRST_FACTOR)
    x = (x ^ shifted(x, 27)) * _signed(SECOND_FACTOR)
    return x ^ shifted(x, 31)
