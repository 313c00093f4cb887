"""Golden kernels of this family, under the rules of `tetrit.estimators._kernels`: chunks, float64, exact sums."""

__all__ = ["block_band_backward", "pair_products"]

from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tetrit.estimators._kernels import chunk_at

Floats: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]

_LOW, _HIGH, _SPAN = -(1 << 31), (1 << 31) - 1, 1 << 32


@njit(cache=True, nogil=True)
def block_band_backward(
    x: Floats, grad: Floats, block: int, limits: Doubles, out: Floats, first: int, last: int
) -> None:
    """Write grad where |x| <= the limit of its block, and 0 elsewhere."""
    blocks = (x.shape[1] + block - 1) // block
    for item in range(first, last):
        r, _, i, j = chunk_at(item, x.shape[1])
        while i < j:
            b = i // block
            stop = min(j, (b + 1) * block)
            part, part_grad, part_out = x[r, i:stop], grad[r, i:stop], out[r, i:stop]
            limit = limits[r * blocks + b]
            for k in range(part.size):
                part_out[k] = part_grad[k] if abs(np.float64(part[k])) <= limit else 0.0
            i = stop


@njit(cache=True, nogil=True)
def pair_products(
    a: NDArray[np.int16],
    b: NDArray[np.int16],
    chain: int,
    mode: int,
    out: NDArray[np.int64],
    where: NDArray[np.int64],
    first: int,
    last: int,
) -> None:
    """Write the rows of a @ b: sums of two products go to a 32-bit register, `chain` of them, and that to 64 bits.

    Beyond 32 bits the register saturates with mode 1 and wraps otherwise; the first column of a row where that happened
    goes to `where`, which holds -1 before.
    """
    length, n = b.shape
    register = np.zeros(n, np.int64)
    for r in range(first, last):
        total = out[r]
        total[:] = 0
        register[:] = 0
        for t in range(0, length, 2):
            low = np.int64(a[r, t])
            high = np.int64(a[r, t + 1]) if t + 1 < length else np.int64(0)
            row, row_next = b[t], b[min(t + 1, length - 1)]
            beyond = False
            for j in range(n):
                s = register[j] + low * np.int64(row[j]) + high * np.int64(row_next[j])
                beyond |= (s > _HIGH) | (s < _LOW)
                register[j] = s
            if beyond:
                for j in range(n):
                    s = register[j]
                    if s > _HIGH or s < _LOW:
                        where[r] = j if where[r] < 0 or j < where[r] else where[r]
                        held = _HIGH if s > 0 else _LOW
                        register[j] = held if mode == 1 else (s - _LOW) % _SPAN + _LOW
            if (t // 2 + 1) % chain == 0:
                for j in range(n):
                    total[j] += register[j]
                register[:] = 0
        for j in range(n):
            total[j] += register[j]
