"""Zeroth-order training in integers alone: the authority for its noise, its loss, its sign and its update."""

__all__ = ["IntegerSPSA", "integer_cross_entropy"]

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import to_rows
from tetrit.estimators.zeroth import _kernels
from tetrit.estimators.zeroth.counter import checked_offset, key_of, run_quietly

_LOGIT = 2**31


@dataclass(frozen=True, kw_only=True)
class IntegerSPSA:
    """The two-point estimator on int8 weights that share an exponent: noise, loss difference and update are integers.

    Noise: z = 0 with probability `zero_share`, else uniform from -reach to reach. The two points are the weights
    plus and minus z, held within -127 and 127. What the losses L+ and L- say is reduced to the sign s of their
    difference. Update: w - s r(z), held within -127 and 127, where r keeps `update_bits` bits of the magnitude: it
    shifts z right until `reach` fits, and rounds halves away from 0 (so that it can reach 2^`update_bits`).

    Contract: integers only; bit-exact on every machine. A perturbation never changes the weights that are kept, so
    there is nothing to restore.

    Parameters
    ----------
    reach : int, default 15
        From 1 to 127.
    zero_share : float, default 0.33
        From 0 to 1; taken as the nearest multiple of 2^-32.
    update_bits : int, default 2
        From 1 to 7.

    Raises
    ------
    TypeError
        If weights are not int8.
    InvalidValueError
        If a parameter is out of range.

    Notes
    -----
    Source: ElasticZO-INT8 of Sugiura, Matsutani, arXiv 2501.04287, which trains with integer arithmetic only and finds
    its gradient from integer cross-entropy losses. Its formulas were not at hand: noise, mask, sign, shift, loss and
    all defaults here are **our reconstruction**. The uniform noise comes from 32 bits by multiplication, so that
    probabilities are off by at most 2^-32.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.zeroth import IntegerSPSA
    >>> spsa = IntegerSPSA(reach=15, update_bits=2)
    >>> spsa.direction((6,), seed=2)
    array([-14,   0,   7, -13,  -8, -14], dtype=int8)
    >>> w = np.array([127, -127, 0, 1, 2, 3], np.int8)
    >>> spsa.perturbed(w, 1, seed=2)
    array([ 113, -127,    7,  -12,   -6,  -11], dtype=int8)
    >>> spsa.sign(loss_plus=900, loss_minus=850)
    1
    >>> spsa.updated(w, 1, seed=2)
    array([ 127, -127,   -2,    4,    4,    7], dtype=int8)
    """

    reach: int = 15
    zero_share: float = 0.33
    update_bits: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "reach", checks.integer("reach", self.reach, maximum=127))
        share = checks.real("zero_share", self.zero_share, minimum=0.0)
        if share > 1:
            raise InvalidValueError(f"`zero_share` must be from 0 to 1, got {share:g}")
        object.__setattr__(self, "zero_share", share)
        object.__setattr__(self, "update_bits", checks.integer("update_bits", self.update_bits, maximum=7))

    @property
    def shift(self) -> int:
        """By how many bits the noise is shifted for an update."""
        return max(self.reach.bit_length() - self.update_bits, 0)

    def direction(self, shape: tuple[int, ...], *, seed: int, offset: int = 0) -> NDArray[np.int8]:
        """Return the noise z, int8 of the given shape."""
        z = np.empty(shape, np.int8)
        key, start = np.uint64(key_of(seed)), checked_offset(offset)
        run_quietly(_kernels.integer_directions, z.reshape(1, -1), key, start, self.reach, self.rest)
        return z

    def perturbed(
        self, w: ArrayLike, times: int, *, seed: int, offset: int = 0, out: NDArray[Any] | None = None
    ) -> NDArray[np.int8]:
        """Return ``w + times * z``, held within -127 and 127; `times` is 1 or -1; or write it into `out`."""
        times = checks.integer("times", times, minimum=-1, maximum=1)
        return self._added(w, times, 0, seed, offset, out)

    def sign(self, loss_plus: int, loss_minus: int) -> int:
        """Return 1, 0 or -1: the sign of the difference of two integer losses."""
        plus = checks.integer("loss_plus", loss_plus, minimum=-(2**63), maximum=2**63 - 1)
        minus = checks.integer("loss_minus", loss_minus, minimum=-(2**63), maximum=2**63 - 1)
        return (plus > minus) - (plus < minus)

    def updated(
        self, w: ArrayLike, sign: int, *, seed: int, offset: int = 0, out: NDArray[Any] | None = None
    ) -> NDArray[np.int8]:
        """Return ``w - sign * r(z)``, held within -127 and 127, or write it into `out`, which may be `w` itself."""
        sign = checks.integer("sign", sign, minimum=-1, maximum=1)
        return self._added(w, -sign, self.shift, seed, offset, out)

    @property
    def rest(self) -> int:
        """For how many of 2^32 halves of words the noise is 0."""
        return round(self.zero_share * 2**32)

    def _added(
        self, w: ArrayLike, times: int, shift: int, seed: int, offset: int, out: NDArray[Any] | None
    ) -> NDArray[np.int8]:
        x = np.asarray(w)
        if x.dtype != np.int8:
            raise TypeError(f"`w` must be an int8 array, got {x.dtype}")
        if out is not None:
            checks.output(out, x.shape, np.int8, like="w", apart={"w": x}, may_be_same=True)
        rows = to_rows(x, None)
        into = np.empty_like(rows)
        key, start = np.uint64(key_of(seed)), checked_offset(offset)
        run_quietly(_kernels.integer_added, rows, key, start, self.reach, self.rest, times, shift, into)
        result: NDArray[np.int8] = into.reshape(x.shape)
        if out is None:
            return result
        np.copyto(out, result)
        return out


@cache
def powers() -> NDArray[np.int64]:
    """2^30 2^(-k/256) for k from 0 to 256, correctly rounded."""
    with localcontext() as context:
        context.prec = 40
        exact = [Decimal(2) ** (30 - Decimal(k) / 256) for k in range(257)]
        table = np.array([int(p.to_integral_value(ROUND_HALF_EVEN)) for p in exact], np.int64)
    table.flags.writeable = False
    return table


def integer_cross_entropy(logits: ArrayLike, labels: ArrayLike, *, exponent: int) -> NDArray[np.int64]:
    """Return the cross-entropy of every row, in units of 2^-16 bit, by integer arithmetic alone.

    With t = logits * 2^exponent: -log2 softmax(t)[label]. Sums of it over a batch are what `IntegerSPSA.sign` compares.

    Contract: bit-exact; within 2^-14 bit plus a relative 2e-8 of the real value, for up to 2^12 classes.

    Parameters
    ----------
    logits : array_like of int, shape (batch, classes)
        Accumulators of the last layer, of magnitudes below 2^31; at least one class.
    labels : array_like of int, shape (batch,)
        From 0 to classes - 1.
    exponent : int
        From -24 to 4; the power of two that the accumulators count in.

    Returns
    -------
    ndarray of int64, shape (batch,)

    Raises
    ------
    TypeError
        If an array does not hold integers.
    InvalidValueError
        If shapes do not fit, or a logit, label or the exponent is out of range.

    Notes
    -----
    **Our reconstruction** (see `IntegerSPSA`): powers of two by a table of 257 words of 30 fraction bits with linear
    interpolation, the logarithm bit by bit by squaring.

    Examples
    --------
    >>> from tetrit.estimators.zeroth import integer_cross_entropy
    >>> integer_cross_entropy([[16, 16], [32, 0]], [0, 0], exponent=-4) / 2**16
    array([1.        , 0.18310547])
    """
    a, y = np.asarray(logits), np.asarray(labels)
    for name, array in (("logits", a), ("labels", y)):
        if array.dtype.kind not in "iu":
            raise TypeError(f"`{name}` must hold integers, got {array.dtype}")
    check_shapes(a.shape, y.shape)
    exponent = checked_exponent(exponent)
    if a.size and not (a.min() > -_LOGIT and a.max() < _LOGIT):
        raise InvalidValueError(f"`logits` must have magnitudes below 2^31, got {_largest(a)}")
    if y.size and not (y.min() >= 0 and y.max() < a.shape[1]):
        bad = y.min() if y.min() < 0 else y.max()
        raise InvalidValueError(f"`labels` must be from 0 to {a.shape[1] - 1}, got {bad}")
    losses = np.empty(len(a), np.int64)
    wide = [np.ascontiguousarray(array, np.int64) for array in (a, y)]
    kernel: Callable[..., None] = _kernels.cross_entropy
    kernel(*wide, exponent, powers(), losses)
    return losses


def check_shapes(logits: tuple[int, ...], labels: tuple[int, ...]) -> None:
    """Refuse shapes other than (batch, classes) and (batch,)."""
    for name, shape, ndim in (("logits", logits, 2), ("labels", labels, 1)):
        if len(shape) != ndim:
            raise InvalidValueError(f"`{name}` must have {ndim} dimensions, got {len(shape)}")
    if logits[0] != labels[0] or not logits[1]:
        raise InvalidValueError(
            f"`logits` must have one row for each of {labels[0]} labels and at least one class, got shape {logits}"
        )


def checked_exponent(exponent: int) -> int:
    """Return the exponent of the logits as an int."""
    return checks.integer("exponent", exponent, minimum=-24, maximum=4)


def _largest(a: NDArray[Any]) -> int:
    low, high = int(a.min()), int(a.max())
    return low if -low > high else high
