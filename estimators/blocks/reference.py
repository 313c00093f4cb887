"""Slow references of this family: plain Python loops over exact fractions, written from the definitions.

They share no code with the formats or the kernels; tests hold those to them, codes and scales bit by bit.
"""

__all__ = ["block_forward", "down_convert", "k_sort_order", "pair_products"]

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

E2M1 = [Fraction(n, 2) for n in (0, 1, 2, 3, 4, 6, 8, 12)]
"""Magnitudes of the codes 0 to 7."""


def _floor_log2(x: Fraction) -> int:
    e = x.numerator.bit_length() - x.denominator.bit_length()  # or one less
    return e if Fraction(2) ** e <= x else e - 1


def _nearest(x: Fraction, levels: list[Fraction]) -> int:
    """Index of the level nearest to x; of two as near, the even index."""
    best = 0
    for i, level in enumerate(levels):
        distance, least = abs(x - level), abs(x - levels[best])
        if distance < least or (distance == least and i % 2 == 0):
            best = i
    return best


def _e4m3() -> list[Fraction]:
    """Values of the codes 0 to 126."""
    small = [Fraction(m, 2**9) for m in range(8)]
    return small + [Fraction(8 + m, 8) * Fraction(2) ** (e - 7) for e in range(1, 16) for m in range(8)][:-1]


def block_forward(
    w: NDArray[Any], *, element: str, bits: int, block: int | None, kind: str = "e8m0", unit: float = 1.0
) -> tuple[NDArray[np.int64], list[int], list[Fraction]]:
    """Element codes, scale codes and real scales, blocks in C order; `element` is "e2m1" or "int"."""
    top = E2M1[-1] if element == "e2m1" else Fraction(2 ** (bits - 1) - 1)
    codes = np.zeros(w.shape, np.int64)
    if block is None or w.ndim == 0:
        groups = [list(np.ndindex(*w.shape))]
    else:
        n = w.shape[-1]
        groups = [
            [(*row, i) for i in range(start, min(n, start + block))]
            for row in np.ndindex(*w.shape[:-1])
            for start in range(0, n, block)
        ]
    scale_codes, scales = [], []
    for group in groups:
        largest = max((abs(Fraction(float(w[i]))) for i in group), default=Fraction(0))
        if kind == "e8m0":
            exponent = -127
            if largest:
                exponent = min(max(_floor_log2(largest) - _floor_log2(top), -127), 127)
            scale_codes.append(exponent + 127)
            scale = Fraction(2) ** exponent
        else:
            quotient = Fraction(float(largest) / (unit * float(top)))
            scale_codes.append(max(1, _nearest(min(quotient, Fraction(448)), _e4m3())))
            scale = _e4m3()[scale_codes[-1]] * Fraction(unit)
        scales.append(scale)
        for i in group:
            size = min(abs(Fraction(float(w[i]))) / scale, top)
            code = _nearest(size, E2M1) if element == "e2m1" else round(size)
            negative = math.copysign(1.0, float(w[i])) < 0
            codes[i] = (code + 8 * negative) if element == "e2m1" else (-code if negative else code) % 2**bits
    return codes, scale_codes, scales


def pair_products(a: NDArray[Any], b: NDArray[Any], *, chain: int, saturate: bool) -> tuple[list[list[int]], list[Any]]:
    """Return the sums of `dfp_accumulate` as Python integers, and the outputs whose register overflowed."""
    (m, k), n = a.shape, b.shape[1]
    sums, overflows = [[0] * n for _ in range(m)], []
    for i in range(m):
        for j in range(n):
            register, steps = 0, 0
            for t in range(0, k, 2):
                register += sum(int(a[i, u]) * int(b[u, j]) for u in range(t, min(k, t + 2)))
                if not -(2**31) <= register < 2**31:
                    overflows.append((i, j))
                    if saturate:
                        register = min(max(register, -(2**31)), 2**31 - 1)
                    else:
                        register = (register + 2**31) % 2**32 - 2**31
                steps += 1
                if steps == chain:
                    sums[i][j] += register
                    register, steps = 0, 0
            sums[i][j] += register
    return sums, overflows


def down_convert(sums: list[int], *, bits: int) -> tuple[list[int], int]:
    """Integers and shift of `dfp_down_convert`."""
    end, shift = 2 ** (bits - 1) - 1, 0
    while any(abs(s) >> shift > end for s in sums):
        shift += 1
    return [min(max(round(Fraction(s, 2**shift)), -end), end) for s in sums], shift


def k_sort_order(w_k: NDArray[Any], *, members: list[list[int]]) -> list[list[int]]:
    """Order of the groups of channels of every head, by the exact sum of their squares, largest first, stable."""
    orders = []
    for head in w_k:
        sizes = [sum(Fraction(float(v)) ** 2 for c in group for v in head[c]) for group in members]
        orders.append(sorted(range(len(members)), key=lambda g: -sizes[g]))
    return orders
