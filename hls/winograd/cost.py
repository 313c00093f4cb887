"""What a convolution costs, directly and by tiles: products, additions, widths, and cycles on a machine."""

__all__ = ["Cost", "additions", "digits", "direct_cost", "operations", "planes", "shares", "spread", "tiled_cost"]

import functools
import itertools
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.hardware import Machine, ShiftArray, SimdEngine
from tetrit.hls.integer.window import Window
from tetrit.hls.winograd.transform import Transform
from tetrit.sim import Workload
from tetrit.sim.shift import best_mapping
from tetrit.sim.shift import cycles as shift_cycles
from tetrit.sim.simd import cycles as simd_cycles

MOST_PLANES = 4


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one image takes.

    Attributes
    ----------
    products : int
        Multiply-accumulates, those of all passes.
    passes : int
        How often each product runs, since weights are cut into planes that the machine can multiply by.
    additions : int
        Of the transforms of inputs and outputs; those of weights are done beforehand. A multiplication by a constant
        counts as the shifts and additions that it takes in integers, and as one in rounded arithmetic.
    act_bits, weight_bits, acc_bits : int
        Of the operands of products, and of their sums.
    cycles : int or None
        On the machine: products by its cycle model, then additions at so many a cycle; None without a machine.
    work : int
        ``products x act_bits x weight_bits + additions x acc_bits``: one-bit cells of multipliers and adders at work.
    """

    products: int
    passes: int
    additions: int
    act_bits: int
    weight_bits: int
    acc_bits: int
    cycles: int | None

    @property
    def work(self) -> int:
        """One-bit cells of multipliers and adders at work."""
        return self.products * self.act_bits * self.weight_bits + self.additions * self.acc_bits

    @property
    def decisive(self) -> int:
        """What two costs are compared by: cycles on a machine, else work."""
        return self.work if self.cycles is None else self.cycles


def digits(number: int) -> int:
    """Return the nonzero digits of an integer in canonical signed binary: one more than the additions it costs.

    Examples
    --------
    >>> [digits(n) for n in (0, 1, -4, 7, 21)]
    [0, 1, 1, 2, 3]
    """
    number = abs(number)
    return (number ^ (3 * number)).bit_count()


def additions(rows: npt.NDArray[Any]) -> int:
    """Return the additions of a product of an integer matrix and a vector, row by row, without sharing."""
    return sum(max(0, sum(digits(int(x)) for x in row) - 1) for row in rows)


def operations(rows: Sequence[Sequence[Fraction]]) -> int:
    """Return additions, and multiplications by what is no power of two, of such a product in rounded arithmetic."""
    count = 0
    for row in rows:
        factors = [abs(x) for x in row if x]
        count += len(factors) - 1 if factors else 0
        count += sum(x.numerator & (x.numerator - 1) > 0 or x.denominator & (x.denominator - 1) > 0 for x in factors)
    return count


def _transform_additions(v: Transform, h: Transform, channels: int, outputs: int, *, exact: bool) -> int:
    """Return the additions of a tile: the input transforms of all channels, the output transforms of all outputs."""
    if exact:
        b_v, b_h, a_v, a_h = (additions(rows) for rows in (v.integer.b, h.integer.b, v.integer.a, h.integer.a))
    else:
        b_v, b_h, a_v, a_h = (operations(rows) for rows in (v.b, h.b, v.a, h.a))
    return channels * (h.n * b_v + v.n * b_h) + outputs * (h.n * a_v + v.m * a_h)


def planes(values: Iterable[int], digit_values: Iterable[int]) -> int | None:
    """Return into how many weights of a format integers can be cut, each weight times a power of two of its place.

    Parameters
    ----------
    values : iterable of int
        All of them must be sums ``sum_p 2**e_p d_p`` with the same exponents.
    digit_values : iterable of int
        What the format has.

    Returns
    -------
    int or None
        The fewest places; None for more than `MOST_PLANES`.

    Examples
    --------
    >>> planes(range(-9, 10), (-1, 0, 1)), planes(range(-9, 10), (-4, -2, -1, 0, 1, 2, 4))
    (4, 2)
    """
    wanted, known = sorted(set(values)), sorted(set(digit_values))
    if not wanted or not known:
        return 1 if known else None
    low, span = known[0], known[-1] - known[0]
    for count in range(1, MOST_PLANES + 1):
        if len(known) ** count < len(wanted):
            continue
        for exponents in itertools.combinations_with_replacement(range(_top(wanted)), count):
            scale = sum(1 << exponent for exponent in exponents)
            if low * scale > wanted[0] or (low + span) * scale < wanted[-1]:
                continue
            sums = 1  # bit i: the sum ``i + low * scale`` can be had
            for exponent in exponents:
                sums = functools.reduce(operator.or_, (sums << ((digit - low) << exponent) for digit in known))
            if all(sums >> (value - low * scale) & 1 for value in wanted):
                return count
    return None


def _top(wanted: Sequence[int]) -> int:
    """Return how many exponents a place may have."""
    return max(abs(value) for value in wanted).bit_length() + 1


def direct_cost(
    window: Window, outputs: int, bits: tuple[int, int, int], machine: Machine | None, formats: tuple[str, str]
) -> Cost:
    """Return the cost of a convolution as matrix products, one for each group; `bits` of operands and sums."""
    product = Workload(m=window.positions, k=window.k, n=outputs // window.groups)
    return Cost(
        products=window.groups * product.macs,
        passes=1,
        additions=0,
        act_bits=bits[0],
        weight_bits=bits[1],
        acc_bits=bits[2],
        cycles=None if machine is None else window.groups * _cycles(product, machine, formats),
    )


def tiled_cost(
    window: Window,
    outputs: int,
    schemes: tuple[Transform, Transform],
    bits: tuple[int, int, int],
    machine: Machine | None,
    formats: tuple[str, str],
    *,
    exact: bool = True,
    passes: int = 1,
    adders: int = 1,
) -> Cost:
    """Return the cost of a convolution by tiles: a matrix product for each place of a tile, pass and group."""
    v, h = schemes
    height, width = window.out_shape_hw
    n_tiles = -(-height // v.m) * -(-width // h.m)
    own, channels = outputs // window.groups, window.channels // window.groups
    product = Workload(m=n_tiles, k=channels, n=own)
    times = passes * v.n * h.n * window.groups
    added = n_tiles * _transform_additions(v, h, window.channels, outputs, exact=exact)
    added += (passes - 1) * n_tiles * v.n * h.n * outputs  # planes put together
    cycles = None
    if machine is not None:
        cycles = times * _cycles(product, machine, formats) + -(-added // adders)
    return Cost(
        products=times * product.macs,
        passes=passes,
        additions=added,
        act_bits=bits[0],
        weight_bits=bits[1],
        acc_bits=bits[2],
        cycles=cycles,
    )


def _cycles(product: Workload, machine: Machine, formats: tuple[str, str]) -> int:
    if isinstance(machine, ShiftArray):
        return shift_cycles.count(product, best_mapping(product, machine), machine)
    assert isinstance(machine, SimdEngine)
    return simd_cycles.count(product, machine, *formats)


def spread(weights: Iterable[int], coefficients: npt.NDArray[Any]) -> dict[int, float]:
    """Return how probable each value of a weighted sum is, all weights being equally probable and independent."""
    chances = {0: 1.0}
    known = sorted(set(weights))
    for coefficient in coefficients.reshape(-1):
        if not coefficient:
            continue
        following: dict[int, float] = {}
        for total, chance in chances.items():
            for weight in known:
                value = total + int(coefficient) * weight
                following[value] = following.get(value, 0.0) + chance / len(known)
        chances = following
    return chances


def shares(weights: Iterable[int], v: Transform, h: Transform) -> tuple[float, float]:
    """Return which shares of transformed weights are -1, 0 or 1, and zero or a power of two, for even weights.

    Parameters
    ----------
    weights : iterable of int
        What a weight may be, each as probable as any other.
    v, h : Transform
        In their integer form.
    """
    ternary = powers = 0.0
    known = tuple(weights)
    for row in v.integer.g:
        for column in h.integer.g:
            for value, chance in spread(known, np.multiply.outer(row, column)).items():
                ternary += chance * (abs(value) <= 1)
                powers += chance * (value == 0 or abs(value) & (abs(value) - 1) == 0)
    places = v.n * h.n
    return ternary / places, powers / places
