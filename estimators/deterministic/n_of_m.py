"""N of M along an axis: which weights are the largest of their group, packing them together, and spreading them."""

__all__ = ["checked_along", "largest", "n_of_m_mask", "pack", "sortable", "spread"]

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import latent
from tetrit.estimators.deterministic import _kernels
from tetrit.parallel import run_items


def checked_along(value: int) -> int:
    """Return `along` as an int; anything else raises TypeError."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"`along` must be an integer, got {value!r}") from None


def sortable(w: ArrayLike, along: int) -> NDArray[Any]:
    """Return `w` as a contiguous array, if it is finite and has the axis `along`."""
    x = latent(w)
    if not x.ndim:
        raise InvalidValueError("`w` must have at least one dimension, to hold groups")
    if not -x.ndim <= along < x.ndim:
        wanted = f"from {-x.ndim} to {x.ndim - 1}"
        raise InvalidValueError(f"`along` must be {wanted} for an array of {x.ndim} dimensions, got {along}")
    checks.finite("w", x)
    return np.ascontiguousarray(x)


def _deep(array: NDArray[Any], along: int) -> NDArray[Any]:
    """View a contiguous array as (outer, along, inner)."""
    along %= array.ndim
    shape = array.shape
    return array.reshape(math.prod(shape[:along]), shape[along], math.prod(shape[along + 1 :]))


def _share(kernel: Callable[..., None], x: NDArray[Any], *args: Any) -> None:
    """Call ``kernel(x, *args, first, last)`` for all parts of an array (outer, length, inner)."""
    outer, length, inner = x.shape
    parts = -(-inner // _kernels.COLUMNS)
    run_items(lambda first, last: kernel(x, *args, first, last), outer * parts, length * min(inner, _kernels.COLUMNS))


def largest(x: NDArray[Any], *, n: int, m: int, along: int) -> NDArray[np.bool_]:
    """Return where the kept weights of a contiguous, finite array are."""
    kept = np.empty(x.shape, np.bool_)
    _share(_kernels.largest_of_groups, _deep(x, along), n, m, _deep(kept, along))
    return kept


def pack(kept: NDArray[np.bool_], source: NDArray[Any], *, n: int, m: int, along: int) -> NDArray[Any]:
    """Return the kept elements of a contiguous `source`, in their order."""
    length = kept.shape[along]
    shape = list(kept.shape)
    shape[along] = length // m * n + min(n, length % m)
    packed = np.empty(shape, source.dtype)
    _share(_kernels.pack_kept, _deep(kept, along), _deep(source, along), _deep(packed, along))
    return packed


def spread(kept: NDArray[np.bool_], packed: NDArray[Any], out: NDArray[Any], *, along: int) -> None:
    """Write what `pack` gathered back to its places in a contiguous `out`."""
    packed = np.ascontiguousarray(packed, out.dtype)
    _share(_kernels.spread_kept, _deep(kept, along), _deep(packed, along), _deep(out, along))


def n_of_m_mask(w: ArrayLike, *, n: int = 2, m: int = 4, along: int = 0) -> NDArray[np.bool_]:
    """Return where the `n` weights of largest magnitude lie in every group of `m` consecutive ones along an axis.

    Of equal magnitudes (+0 and -0 are equal) the earlier index is kept, so that every full group keeps exactly `n`,
    and a shorter last group of r weights exactly min(n, r).

    Parameters
    ----------
    w : array_like of float
        Finite, with at least one axis.
    n, m : int, default 2 and 4
        1 <= n <= m.
    along : int, default 0
        The axis that the groups run along: the inputs of a weight of shape (n_in, n_out).

    Returns
    -------
    ndarray of bool
        Of the shape of `w`; True where a weight is kept.

    Raises
    ------
    TypeError
        If `w` is not float16, float32 or float64.
    InvalidValueError
        If `w` has a NaN or an infinity (the message names its index), has no such axis, or `n` exceeds `m`.

    Notes
    -----
    Source: Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch", arXiv 2102.04010,
    ICLR 2021. The rule for ties and the shorter last group are **ours**.

    Examples
    --------
    >>> from tetrit.estimators.deterministic import n_of_m_mask
    >>> n_of_m_mask([0.1, -0.9, 0.4, 0.4, 0.0, -0.0, 0.0, 0.0]).astype(int)
    array([0, 1, 1, 0, 1, 1, 0, 0])
    """
    m = checks.integer("m", m)
    n = checks.integer("n", n, maximum=m)
    along = checked_along(along)
    return largest(sortable(w, along), n=n, m=m, along=along)
