"""Block formats in tensor operations: a scale per block of neighbours, or one for all (dynamic fixed point)."""

__all__ = ["RULES"]

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from tetrit.estimators.blocks import DFP, BlockQuantizer
from tetrit.formats import BlockFormat, Integer
from tetrit.train.quantizers.rules._formats import nearest
from tetrit.train.quantizers.rules._tensors import number, poisoned, power_of_two
from tetrit.train.quantizers.rules.base import Rule

_SINGLE = torch.finfo(torch.float32)
_E2M1_BORDERS = ((0.25, False, 1.0), (0.75, True, 1.0), (1.25, False, 1.0), (1.75, True, 1.0), (2.5, False, 2.0),
                 (3.5, True, 2.0), (5.0, False, 4.0))  # fmt: skip
"""Borders of E2M1, whether each belongs to the value above it, and how many halves that is more than the one below."""


class _Blocks(Rule):
    name: ClassVar[str] = "block"

    def values(self, e: BlockQuantizer, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        fmt = e.block_format
        blocks = _blocks(w.double(), fmt.block)
        scales, units = _scales(fmt, blocks, w.double() if e.tensor_scale else None)
        return _whole(_rounded(fmt, blocks, scales * units), w)

    def backward(self, e: BlockQuantizer, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        if not e.clip:
            return [grad]
        fmt = e.block_format
        blocks = _blocks(w.double(), fmt.block)
        scales, units = _scales(fmt, blocks, w.double() if e.tensor_scale else None)
        inside = blocks.abs() <= scales * (units * fmt.element.max_value)
        return [torch.where(_whole(inside, w), grad, 0.0)]


class _DFP(Rule):
    name: ClassVar[str] = "dfp"

    def values(self, e: DFP, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        fmt = e.block_format
        blocks = _blocks(w.double(), None)
        return _whole(_rounded(fmt, blocks, _scales(fmt, blocks, None)[0]), w)

    def backward(self, e: DFP, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        return [grad]


def _blocks(x: Tensor, block: int | None) -> Tensor:
    """Return `x` as (rows, blocks, block), the last block of a row filled up with zeros."""
    if block is None or x.ndim == 0:
        return x.reshape(1, 1, x.numel())
    length = x.shape[-1]
    block = min(block, max(length, 1))
    count = -(-length // block)
    rows = math.prod(x.shape[:-1])
    grown = torch.nn.functional.pad(x.reshape(rows, length), (0, count * block - length))
    return grown.reshape(rows, count, block)


def _whole(blocks: Tensor, like: Tensor) -> Tensor:
    """Undo `_blocks`."""
    if like.numel() == 0 or like.ndim == 0 or blocks.numel() == like.numel():
        return blocks.reshape(like.shape)
    return blocks.flatten(1)[:, : like.shape[-1]].reshape(like.shape)


def _largest(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Return the largest magnitude along the axes, 0 for none; NaN where one is not finite."""
    if any(x.shape[dim] == 0 for dim in dims):
        return x.sum(dims, keepdim=True, dtype=torch.int64).double()
    largest = x.abs().amax(dims, keepdim=True)
    return poisoned(largest, largest)


def _scales(fmt: BlockFormat, blocks: Tensor, tensor: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the block scales (rows, blocks, 1), and the scale of the tensor that they are relative to."""
    largest = _largest(blocks, (2,))
    unit = number(1.0, blocks)
    if fmt.scale == "e8m0":
        # the exponent field of a double is floor(log2 m) + 1023, and 0 for zero and subnormal numbers
        field = largest.view(torch.int64) >> 52
        lowest = 1023 - 127 + math.frexp(fmt.element.max_value)[1] - 1
        scales = power_of_two((field - lowest).clamp(0, 254) - 127)
        return poisoned(scales, largest), unit
    if tensor is not None and tensor.numel():
        whole = _largest(tensor.reshape(1, -1), (1,)).reshape(())
        held = (whole / number(fmt.max_value, blocks)).clamp(_SINGLE.tiny, _SINGLE.max).float().double()
        unit = torch.where(whole == 0, 1.0, held)
    wanted = (largest / (unit * fmt.element.max_value)).clamp_max(fmt.max_value / fmt.element.max_value)
    return poisoned(nearest(wanted, "fp8_e4m3").clamp_min(fmt.min_positive / fmt.element.min_positive), largest), unit


def _rounded(fmt: BlockFormat, x: Tensor, scales: Tensor) -> Tensor:
    """Return the nearest values of the elements times their scales."""
    if isinstance(fmt.element, Integer):
        high = fmt.element.max_value
        return (torch.round(x / scales).clamp(-high, high) + 0.0) * scales
    a = x.abs()
    halves = torch.zeros_like(x)
    for border, closed, step in _E2M1_BORDERS:
        beyond = a >= border * scales if closed else a > border * scales
        halves = halves + step * beyond.double()
    return torch.copysign(halves * (0.5 * scales), x)


RULES: tuple[Rule, ...] = (_Blocks(), _DFP())
