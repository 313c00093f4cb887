"""Error-free splitting: how integer operands are cut into limbs so that BLAS multiplies them without any rounding.

**What BLAS may be trusted with.** A float of p significand bits (24 in float32, 53 in float64) holds every integer of
absolute value up to 2**p. If every partial sum of a product of integer matrices, in whatever order and with or without
fused multiply-add, is at most 2**p in absolute value, no operation rounds, and the result is the integer itself. All
partial sums of ``sum_k a[k] * b[k]`` are bounded by ``sum_k |a[k]| * |b[k]|``, hence by each of

- ``k * max|a| * max|b|``;
- ``l1 * max|b|``, where l1 bounds ``sum_k |a[k]|`` of every row.

This is so for every algorithm that multiplies elements and adds the products, as the BLAS libraries behind numpy do;
one that adds elements before it multiplies (Strassen's) or that rounds operands to fewer bits is outside of the proof.

Scaling by a power of two changes nothing of this, as long as nothing leaves the exponents' range: a common power of two
in all integers of a matrix does not count, and operands may be real values instead of integers.

**Limbs.** Where one such product does not do, integers y, ``|y| <= top``, are cut into p balanced digits of radix 2**r:

    y = d_0 + 2**r d_1 + ... + 2**(r(p-1)) d_(p-1),    -2**(r-1) <= d_i < 2**(r-1) for i < p - 1.

``d_0 = ((y + 2**(r-1)) mod 2**r) - 2**(r-1)``, and the rest ``(y - d_0) / 2**r`` is at most ``(top + 2**(r-1)) / 2**r``
in absolute value; so on for the next digit, and what is left after p - 1 digits is the last one. These bounds are what
`limbs` computes, in integers. With ``r = ceil(bits(top) / p)`` the last digit is at most ``2**(r-1)`` as well, or
``2**r`` where top is a power of two.

The product is the sum over all pairs of limbs of ``2**(r_a i + r_b j) (A_i B_j)``, each of which is computed over
blocks of k that are short enough for the bound above. Each block's result is an integer, exactly, and they are added
as wide integers (`_kernels.rounded_sums`). For example, the integers of Posit(16,1) reach 2**56: two limbs for one
operand, at most 2**28, and three of radix 2**19 for the other, at most 2**18, make six float64 products of up to 128
terms, whose largest sum is 128 * 2**46 = 2**53 exactly.
"""

__all__ = ["Extent", "Plan", "Split", "limbs", "plan", "split", "trailing_zeros"]

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

FLOATS: tuple[tuple[np.dtype[Any], int, int], ...] = (
    (np.dtype(np.float32), 24, 1),
    (np.dtype(np.float64), 53, 2),
)
"""Float types with their significand bits, and what a product of theirs costs."""

_MAX_LIMBS = 4
_READ_COST = 150
"""What adding up one block's result costs for each output, in terms of a float32 product; a matter of speed only."""

_EXPONENTS32 = -126, 127
"""Exponents of float32 numbers that are normal."""


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How large the integers of a matrix are.

    Attributes
    ----------
    top : int
        Bound of their absolute values.
    zeros : int
        All are multiples of 2**zeros.
    l1 : int or None
        Bound of the sum of absolute values of any row; None if not known.
    """

    top: int
    zeros: int = 0
    l1: int | None = None

    @property
    def reduced(self) -> int:
        """Bound of the absolute values in units of 2**zeros."""
        return self.top >> self.zeros


@dataclass(frozen=True, kw_only=True)
class Split:
    """Integers cut into balanced digits.

    Attributes
    ----------
    zeros : int
        Zeros cut off below.
    radix_bits : int
        Bits of a digit, and distance of the digits.
    tops : tuple of int
        Bound of the absolute value of each digit, lowest digit first.
    """

    zeros: int
    radix_bits: int
    tops: tuple[int, ...]

    @property
    def shifts(self) -> tuple[int, ...]:
        """Power of two that each digit counts with, the zeros cut off included."""
        return tuple(self.zeros + self.radix_bits * index for index in range(len(self.tops)))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a product is computed.

    Attributes
    ----------
    dtype : dtype
        Float type of the products.
    a, b : Split
        Limbs of both operands.
    block : int
        Most terms that a product of limbs sums up.
    direct : bool
        Whether the one product, bias added, is exact as it is: then the operands are real values.
    """

    dtype: np.dtype[Any]
    a: Split
    b: Split
    block: int
    direct: bool


def trailing_zeros(number: int) -> int:
    """Return the largest z for which `number` is a multiple of 2**z; 0 for zero."""
    return (number & -number).bit_length() - 1 if number else 0


def limbs(extent: Extent, count: int) -> Split:
    """Cut integers of `extent` into `count` digits; the bounds are proved in the module's docstring."""
    rest = max(extent.reduced, 1)
    radix_bits = -(-rest.bit_length() // count)
    half = 1 << (radix_bits - 1)
    tops = []
    for _ in range(count - 1):
        tops.append(min(half, rest))
        rest = (rest + half) >> radix_bits
    return Split(zeros=extent.zeros, radix_bits=radix_bits, tops=(*tops, rest))


def split(integers: Ints, cut: Split) -> list[Ints]:
    """Return the digits of `integers`, which must be within the extent that `cut` was made for.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.sim.simd import splitting
    >>> cut = splitting.limbs(splitting.Extent(top=100), 2)
    >>> [digit.tolist() for digit in splitting.split(np.array([100, -7]), cut)], cut.tops  # 100 = 4 + 16 * 6
    ([[4, -7], [6, 0]], (8, 6))
    """
    rest = integers >> cut.zeros
    half = np.int64(1) << (cut.radix_bits - 1)
    digits = []
    for _ in cut.tops[:-1]:
        carried = rest + half
        rest = carried >> cut.radix_bits
        digits.append((carried & (2 * half - 1)) - half)
    return [*digits, rest]


def plan(n_terms: int, a: Extent, b: Extent, *, bias: Extent, exponent: int) -> Plan:
    """Return the cheapest exact way to compute a product.

    Parameters
    ----------
    n_terms : int
        Length of the sums.
    a, b : Extent
        Of the integers of both operands.
    bias : Extent
        Of what is added to the sums, in the same units.
    exponent : int
        The units' power of two.

    Returns
    -------
    Plan
        One direct product if there is one, in the faster type that does. Else of all splittings into up to four limbs
        each the one that multiplies least, products in float64 counted twice, and what follows a product counted in.
    """
    largest = n_terms * a.top * b.top
    if a.l1 is not None:
        largest = min(largest, a.l1 * b.top)
    zeros = a.zeros + b.zeros
    if bias.top:
        zeros = min(zeros, bias.zeros)
    total = largest + bias.top
    for dtype, bits, _ in FLOATS:
        low, high = exponent + zeros, exponent + total.bit_length()
        normal = dtype == np.float64 or (_EXPONENTS32[0] <= low and high <= _EXPONENTS32[1])
        if total <= 1 << (bits + zeros) and normal:
            return Plan(dtype=dtype, a=limbs(a, 1), b=limbs(b, 1), block=n_terms, direct=True)
    best: tuple[float, Plan] | None = None
    for (dtype, bits, cost), count_a, count_b in product(FLOATS, range(1, _MAX_LIMBS + 1), range(1, _MAX_LIMBS + 1)):
        cut_a, cut_b = limbs(a, count_a), limbs(b, count_b)
        block = (1 << bits) // (max(cut_a.tops) * max(cut_b.tops))
        if not block or count_a > max(a.reduced, 1).bit_length() or count_b > max(b.reduced, 1).bit_length():
            continue
        block = min(block, n_terms)
        n_blocks = math.ceil(n_terms / block)
        effort = count_a * count_b * (cost * n_terms + _READ_COST * n_blocks)
        if best is None or effort < best[0]:
            best = effort, Plan(dtype=dtype, a=cut_a, b=cut_b, block=block, direct=False)
    assert best is not None  # four limbs of 64-bit integers are below 2**17
    return best[1]
