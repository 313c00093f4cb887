"""Golden kernels of this family, under the rules of `tetrit.estimators._kernels`: chunks, float64, exact sums."""

__all__ = ["block_band_backward", "block_rounded", "pair_products"]

from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tetrit.estimators._kernels import BLOCK, chunk_at

Floats: TypeAlias = NDArray[Any]
Doubles: TypeAlias = NDArray[np.float64]
Words: TypeAlias = NDArray[Any]

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
def _scales(bits: Words, block: int, fraction: Any, table: Floats, scales: Floats) -> Any:
    """Write the scale of every block, by the exponent field of its largest magnitude; return the largest of all."""
    none = bits.dtype.type(0)
    magnitude = ~none >> bits.dtype.type(1)
    worst = none
    for b in range(scales.size):
        part = bits[b * block : (b + 1) * block]
        largest = none
        for k in range(part.size):
            largest = max(largest, part[k] & magnitude)
        scales[b] = table[largest >> fraction]
        worst = max(worst, largest)
    return worst


@njit(cache=True, nogil=True)
def _rounded_e2m1(x: Floats, block: int, scales: Floats, anchor: float, out: Floats) -> None:
    real = x.dtype.type
    # Adding a number whose last place is a step of E2M1 (1/2 below 2, 1 below 4, 2 above) rounds to whole steps, ties
    # to the even one, which is the one with the even code.
    step2, step4, step8 = real(anchor), real(2.0 * anchor), real(4.0 * anchor)
    for b in range(scales.size):
        part, target = x[b * block : (b + 1) * block], out[b * block : (b + 1) * block]
        scale = scales[b]
        inverse = real(1.0) / scale
        for k in range(part.size):
            a = abs(part[k]) * inverse
            a = a if a < real(6.0) else real(6.0)
            step = step4 if a >= real(2.0) else step2
            step = step8 if a >= real(4.0) else step
            target[k] = np.copysign(((a + step) - step) * scale, part[k])


@njit(cache=True, nogil=True)
def _rounded_integers(x: Floats, block: int, scales: Floats, largest: float, out: Floats) -> None:
    real = x.dtype.type
    top = real(largest)
    for b in range(scales.size):
        part, target = x[b * block : (b + 1) * block], out[b * block : (b + 1) * block]
        scale = scales[b]
        inverse = real(1.0) / scale
        for k in range(part.size):
            q = np.rint(part[k] * inverse)
            q = q if q < top else top
            q = q if q > -top else -top
            target[k] = (q + real(0.0)) * scale  # an integer has no -0.0


@njit(cache=True, nogil=True)
def block_rounded(
    x: Floats,
    bits: Words,
    block: int,
    fraction: Any,
    table: Floats,
    largest: float,
    anchor: float,
    out: Floats,
    first: int,
    last: int,
) -> Any:
    """Write the values of the blocks `first` to before `last` of the rows; return the largest magnitude pattern.

    `bits` are the words of `x`, whose exponent fields begin at bit `fraction`; `table` has, of the type of `x`, the
    power of two that scales a block by the exponent field of its largest magnitude. Elements are integers held within
    +-`largest`, or E2M1 where that is 0, for which `anchor` is the number whose last place is 1/2.
    """
    n = x.shape[1]
    blocks = (n + block - 1) // block
    worst = bits.dtype.type(0)
    scales = np.empty(max(1, BLOCK // block), x.dtype)  # of so many blocks at a time, which stay in the nearest cache
    item = first
    while item < last:
        r, b = item // blocks, item % blocks
        count = min(scales.size, blocks - b, last - item)
        i, j = b * block, min(n, (b + count) * block)
        worst = max(worst, _scales(bits[r, i:j], block, fraction, table, scales[:count]))
        if largest > 0.0:
            _rounded_integers(x[r, i:j], block, scales[:count], largest, out[r, i:j])
        else:
            _rounded_e2m1(x[r, i:j], block, scales[:count], anchor, out[r, i:j])
        item += count
    return worst


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
