"""How wide every integer of a Winograd convolution must be, in the worst case, and that it is then exact."""

__all__ = ["Widths", "two_complement", "widths"]

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hls.winograd.transform import Transform

Objects = npt.NDArray[np.object_]
Range = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Widths:
    """Bits of two's complement that hold every value there can be.

    Attributes
    ----------
    act_bits, weight_bits : int
        Of a transformed input, and of a transformed weight.
    product_bits, acc_bits : int
        Of their product, and of its sum over the channels.
    output_bits : int
        Of the sums of the output transform, in any order, before the division.
    denominator : int
        What the output transform is divided by, without a remainder.
    direct_acc_bits : int
        Of the accumulator of the direct convolution, for comparison.
    """

    act_bits: int
    weight_bits: int
    product_bits: int
    acc_bits: int
    output_bits: int
    denominator: int
    direct_acc_bits: int


def widths(vertical: Transform, horizontal: Transform, *, act: Range, weight: Range, channels: int) -> Widths:
    """Return the widths of an exact convolution with integer transforms.

    Parameters
    ----------
    vertical, horizontal : Transform
        Along the two axes.
    act, weight : (int, int)
        Least and greatest input, and weight; 0 is taken to lie between (padding).
    channels : int
        Summed over.

    Returns
    -------
    Widths
        The widths of transformed inputs, weights and products are attained by some input; those of sums are bounds.

    Raises
    ------
    TypeError, InvalidValueError
        Ranges that are none, or no channel.

    Examples
    --------
    >>> from tetrit.hls.winograd import transform
    >>> f = transform(2, 3)
    >>> found = widths(f, f, act=(-128, 127), weight=(-1, 1), channels=64)
    >>> found.act_bits, found.weight_bits, found.acc_bits, found.denominator
    (10, 5, 20, 4)
    """
    n = checks.integer("channels", channels)
    acts, weights = _range("act", act), _range("weight", weight)
    v, h = vertical.integer, horizontal.integer
    u_low, u_high = _reach(v.b, h.b, acts)
    w_low, w_high = _reach(v.g, h.g, weights)
    corners = [u_low * w_low, u_low * w_high, u_high * w_low, u_high * w_high]
    p_low, p_high = np.minimum.reduce(corners), np.maximum.reduce(corners)
    reach = np.maximum(np.abs(p_low), np.abs(p_high)) * n  # of each of the n x n positions
    output = (np.abs(v.a) @ reach @ np.abs(h.a).T).max()
    direct = n * vertical.r * horizontal.r * max(abs(x) for x in acts) * max(abs(x) for x in weights)
    return Widths(
        act_bits=two_complement(u_low.min(), u_high.max()),
        weight_bits=two_complement(w_low.min(), w_high.max()),
        product_bits=two_complement(p_low.min(), p_high.max()),
        acc_bits=two_complement(n * p_low.min(), n * p_high.max()),
        output_bits=two_complement(-output, output),
        denominator=v.denominator * h.denominator,
        direct_acc_bits=two_complement(-direct, direct),
    )


def _range(name: str, given: Range) -> Range:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise TypeError(f"`{name}` must be the least and the greatest integer, got {given!r}")
    low, high = (checks.integer(name, value, minimum=-(2**31), maximum=2**31) for value in given)
    if low > high:
        raise InvalidValueError(f"`{name}` must be the least and the greatest integer, got {low} and {high}")
    return min(low, 0), max(high, 0)


def _reach(left: Objects, right: Objects, limits: Range) -> tuple[Objects, Objects]:
    """Return least and greatest value of ``left @ x @ right.T`` over all x within limits, element by element."""
    up, down = (
        [np.where(rows > 0, rows, 0).sum(axis=1), np.where(rows < 0, -rows, 0).sum(axis=1)] for rows in (left, right)
    )
    positive = np.multiply.outer(up[0], down[0]) + np.multiply.outer(up[1], down[1])
    negative = np.multiply.outer(up[0], down[1]) + np.multiply.outer(up[1], down[0])
    low, high = limits
    return positive * low - negative * high, positive * high - negative * low


def two_complement(low: int, high: int) -> int:
    """Return the bits of two's complement that hold all integers from `low` to `high`."""
    return int(max(int(high).bit_length(), (-int(low) - 1).bit_length() if low < 0 else 0)) + 1
