"""Products of checked operands: operands into floats, BLAS, and each result rounded once."""

__all__ = ["Product"]

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.formats.real import RealFormat
from tetrit.parallel import run_items
from tetrit.sim.simd import _kernels, splitting
from tetrit.sim.simd.operands import Codes, Floats, Operand
from tetrit.sim.simd.splitting import Extent, Plan, Split, trailing_zeros

_PANEL = 1 << 21
"""Results of products that are kept at a time."""

_PART_WORK, _ROUNDING_WORK = 4, 32
"""How many times as long as an element of a loop over arrays it takes to add one part, and to round a sum."""

_ALIGNMENT = 64
_WORD_BITS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Product:
    """One matrix product to be computed.

    Attributes
    ----------
    a, b : Operand
        Of shapes (m, k) and (k, n), without regard to NaR, which counts as 0.
    bias : list of int
        Added to each column's sums, in units of the quire; empty for none.
    relu : bool
        Whether negative sums become zero.
    exponent : int
        Power of two that sums are scaled by; the unit of the quire is 2**exponent then.
    out : RealFormat
        What results are rounded to.
    """

    a: Operand
    b: Operand
    bias: list[int]
    relu: bool
    exponent: int
    out: RealFormat

    def codes(self) -> Codes:
        """Return the results' codes, shape (m, n)."""
        codes = np.empty((self.a.codes.shape[0], self.b.codes.shape[1]), dtype=self.out.code_dtype)
        plan = self.plan()
        if plan.direct:
            self._direct(plan, codes)
        else:
            self._in_parts(plan, codes)
        return codes

    def plan(self) -> Plan:
        """Return how to compute it; the codes are looked at only where the formats alone promise no fast way."""
        n_terms, bias = self.a.codes.shape[1], self._bias_extent()
        a, b = self.a.limits(), self.b.limits()
        for look in (None, "a", "b"):
            if look == "a":
                a = self.a.extent()
            elif look == "b":
                b = self.b.extent()
            plan = splitting.plan(n_terms, a, b, bias=bias, exponent=self.exponent)
            if plan.direct and plan.dtype == np.float32:
                break
        return plan

    def _bias_extent(self) -> Extent:
        bits = 0
        for entry in self.bias:
            bits |= abs(entry)
        return Extent(top=max(map(abs, self.bias), default=0), zeros=trailing_zeros(bits))

    def _direct(self, plan: Plan, codes: Codes) -> None:
        """Fill `codes` by one product of real values: the plan says that it is exact, and that adding the bias is."""
        panels = _panels(codes, 1)
        shapes = self.a.codes.shape, self.b.codes.shape, codes[panels[0]].shape
        left, right, results = _carve(*((shape, plan.dtype) for shape in shapes))
        scale = self.exponent - self.a.format.lsb_exponent - self.b.format.lsb_exponent
        self.a.look_up(_values(self.a.format, 0, plan.dtype), left)
        self.b.look_up(_values(self.b.format, scale, plan.dtype), right)
        added: Floats = np.array([_scaled(entry, self.exponent) for entry in self.bias or [0]], dtype=plan.dtype)
        for rows in panels:
            sums = results[: rows.stop - rows.start]
            np.matmul(left[rows], right, out=sums)
            sums += added  # without a bias, too: a single product may be -0, and becomes +0
            if self.relu:
                np.maximum(sums, 0, out=sums)
            self.out.encode(sums, out=codes[rows])

    def _in_parts(self, plan: Plan, codes: Codes) -> None:
        """Fill `codes` by products of limbs, added up as wide integers; one call of BLAS multiplies all limbs."""
        n_terms, n = self.b.codes.shape
        n_left, n_right = len(plan.a.tops), len(plan.b.tops)
        panels = _panels(codes, n_left * n_right)
        height = panels[0].stop
        shifts = np.add.outer(np.array(plan.a.shifts), np.array(plan.b.shifts))
        bias = self._bias_words(int(shifts.max()))
        left, right, parts, words, sums = _carve(
            ((n_left, height, n_terms), plan.dtype),
            ((n_terms, n_right, n), plan.dtype),
            ((n_left, height, n_right, n), plan.dtype),
            ((height, *bias.shape), np.uint64),
            ((height, n), np.float64),
        )
        flat_left, flat_right = left.reshape(-1, n_terms), right.reshape(n_terms, -1)
        flat_parts = parts.reshape(len(flat_left), -1)
        for index, table in enumerate(_limb_tables(self.b.format, plan.b, plan.dtype)):
            self.b.look_up(table, right[:, index])
        for rows in panels:
            count = rows.stop - rows.start
            for index, table in enumerate(_limb_tables(self.a.format, plan.a, plan.dtype)):
                self.a.look_up(table, left[index], rows)
            words[:] = bias
            for start in range(0, n_terms, plan.block):
                stop = start + plan.block
                np.matmul(flat_left[:, start:stop], flat_right[start:stop], out=flat_parts)
                run_items(
                    lambda first, last: _kernels.accumulate(parts, shifts, words, first, last),
                    count,
                    n * shifts.size * _PART_WORK,
                )
            run_items(
                lambda first, last: _kernels.rounded(
                    words, self.relu, self.exponent, sums.view(np.uint64), first, last
                ),
                count,
                n * _ROUNDING_WORK,
            )
            self.out.encode(sums[:count], out=codes[rows])

    def _bias_words(self, highest: int) -> npt.NDArray[np.uint64]:
        """Return the bias in two's complement words, as many as every sum needs."""
        n_terms, n = self.b.codes.shape
        largest = n_terms * self.a.limits().top * self.b.limits().top + self._bias_extent().top
        n_words = max(largest.bit_length(), highest) // _WORD_BITS + 1
        entries = self.bias or [0] * n
        words = [[(entry >> _WORD_BITS * word) % (1 << _WORD_BITS) for entry in entries] for word in range(n_words)]
        return np.array(words, dtype=np.uint64)


def _panels(codes: Codes, n_parts: int) -> list[slice]:
    """Return groups of rows whose results are worked on together, the first the largest."""
    m, n = codes.shape
    height = -(-m // -(-m * n * n_parts // _PANEL))
    return [slice(first, min(first + height, m)) for first in range(0, m, height)]


def _carve(*wanted: tuple[tuple[int, ...], npt.DTypeLike]) -> list[npt.NDArray[Any]]:
    """Return arrays of some shapes and types that are neighbours in memory.

    The C library gives several large blocks back to the system as soon as they are free, and the next call would pay
    for every page anew; one block it keeps.
    """
    sizes = [prod(shape) * np.dtype(dtype).itemsize for shape, dtype in wanted]
    starts = np.cumsum([0, *(-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes)]).tolist()
    memory = np.empty(starts[-1], dtype=np.uint8)
    return [
        memory[start : start + size].view(dtype).reshape(shape)
        for start, size, (shape, dtype) in zip(starts, sizes, wanted, strict=False)
    ]


def _scaled(integer: int, exponent: int) -> float:
    """Return ``integer * 2**exponent``, which is known to be a double."""
    zeros = trailing_zeros(integer)
    return float(np.ldexp(float(integer >> zeros), zeros + exponent))


@lru_cache(maxsize=16)
def _values(fmt: RealFormat, shift: int, dtype: np.dtype[Any]) -> Floats:
    """Return the codes' values times 2**shift; NaR counts as 0."""
    values: Floats = np.ldexp(fmt.integers.astype(np.float64), fmt.lsb_exponent + shift).astype(dtype)
    return values


@lru_cache(maxsize=8)
def _limb_tables(fmt: RealFormat, cut: Split, dtype: np.dtype[Any]) -> tuple[Floats, ...]:
    """Return the limbs of the codes' integers; those of codes that do not occur may be anything."""
    return tuple(digit.astype(dtype) for digit in splitting.split(fmt.integers, cut))
