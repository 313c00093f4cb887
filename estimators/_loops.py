"""What the slow references share: channels, signs, and the documented order of sums, as plain loops over scalars.

No code of the kernels is used here either.
"""

__all__ = ["Index", "Scales", "channels", "is_negative", "left_to_right", "ordered_sum"]

import math
from collections.abc import Sequence

import numpy as np

Index = tuple[int, ...]
Scales = dict[int | None, float]


def channels(shape: Index, axis: int | None) -> dict[int | None, list[Index]]:
    """Return the indices of every channel in C order; the only channel of a tensor with one scale is None."""
    members: dict[int | None, list[Index]] = {None: []} if axis is None else {k: [] for k in range(shape[axis])}
    for index in np.ndindex(*shape):
        members[None if axis is None else index[axis]].append(index)
    return members


def left_to_right(terms: Sequence[float]) -> float:
    """Add one term after the other."""
    total = 0.0
    for term in terms:
        total += term
    return total


def ordered_sum(terms: Sequence[float], lanes: int = 64) -> float:
    """Add by chunks of 32768, interleaved lanes in each; lanes, then chunks, from left to right."""
    parts = []
    for start in range(0, len(terms), 32768):
        chunk = terms[start : start + 32768]
        parts.append(left_to_right([left_to_right(chunk[lane::lanes]) for lane in range(lanes)]))
    return left_to_right(parts)


def is_negative(value: float) -> bool:
    """Return the sign bit, also of -0.0."""
    return math.copysign(1.0, value) < 0
