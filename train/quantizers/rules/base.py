"""What a torch rule is, and the reductions that all of them share: sums in the golden order, rows, scales."""

__all__ = ["Rule", "from_rows", "largest_magnitudes", "ordered_sum", "to_rows"]

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from tetrit.estimators import Estimator
from tetrit.estimators._kernels import CHUNK, LANES


class Rule(ABC):
    """An estimator in tensor operations.

    Every method takes the golden estimator for its plain fields and `learned`, the tensors of its learned fields in the
    order of `Estimator.learnable`. `w` and `grad` may have any float dtype; results are float64 (forward) or in the
    dtype of `grad`. Nothing here may read a value of a tensor into Python: that would wait for the device.
    """

    name: ClassVar[str]

    @abstractmethod
    def values(self, e: Any, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        """Return the values that the codes stand for, in float64."""

    def forward(self, e: Any, w: Tensor, learned: Sequence[Tensor], generator: torch.Generator | None) -> Tensor:
        """Return the values of the training, in float64; `generator` is there for estimators that draw."""
        return self.values(e, w, learned)

    @abstractmethod
    def backward(self, e: Any, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradient of the latent tensor and of every learned field."""

    def after_step(self, e: Any, w: Tensor) -> Tensor:
        """Return the latent tensor after the optimiser's step; the same tensor where the estimator leaves it."""
        assert type(e).after_step is Estimator.after_step, f"rule of {e.name} lacks after_step"
        return w


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


def _running_total(x: Tensor) -> Tensor:
    """Return the sum over the first axis, one element after the other: a scan along an outer axis is sequential."""
    return x.cumsum(0)[-1] if x.shape[0] else x.new_zeros(x.shape[1:])


def ordered_sum(terms: Tensor) -> Tensor:
    """Return the sum of every row of float64 terms, bit for bit in the order of `tetrit.estimators._kernels`.

    That order is: `LANES` interleaved lanes within a chunk of `CHUNK` elements, then the lanes, then the chunks. Zeros
    fill the last chunk, which changes no sum but the sign of a zero.
    """
    rows, n = terms.shape
    chunks = -(-n // CHUNK)
    steps = CHUNK // LANES if chunks > 1 else -(-n // LANES)
    padded = torch.nn.functional.pad(terms, (0, chunks * steps * LANES - n))
    lanes = _running_total(padded.reshape(rows, chunks, steps, LANES).permute(2, 3, 0, 1))
    return _running_total(_running_total(lanes).T)


def largest_magnitudes(rows: Tensor) -> Tensor:
    """Return the largest magnitude of every row, 0 for an empty one, in float64."""
    if rows.shape[1] == 0:
        return rows.new_zeros(rows.shape[0], dtype=torch.float64)
    return rows.abs().amax(1).double()
