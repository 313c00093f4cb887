"""N of M along an axis: which weights are the largest of their group, packing them together, and spreading them."""

__all__ = ["Groups", "checked_along", "n_of_m_mask", "sortable"]

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import latent, to_rows
from tetrit.estimators._run import largest_magnitudes
from tetrit.estimators.deterministic.groups import _kernels
from tetrit.parallel import run_items


def checked_along(value: int) -> int:
    """Return `along` as an int; anything else raises TypeError."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"`along` must be an integer, got {value!r}") from None


def sortable(w: ArrayLike, along: int) -> tuple[NDArray[Any], float]:
    """Return `w` as a contiguous array, if it is finite and has the axis `along`, and its largest magnitude."""
    x = latent(w)
    if not x.ndim:
        raise InvalidValueError("`w` must have at least one dimension, to hold groups")
    if not -x.ndim <= along < x.ndim:
        wanted = f"from {-x.ndim} to {x.ndim - 1}"
        raise InvalidValueError(f"`along` must be {wanted} for an array of {x.ndim} dimensions, got {along}")
    largest = float(largest_magnitudes(to_rows(x, None))[0])
    if not math.isfinite(largest):
        checks.finite("w", x)
    return np.ascontiguousarray(x), largest


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Groups of `m` neighbours along the axis `along`, of which the `n` largest are kept.

    Members
    -------
    n, m, along : int
        As in `n_of_m_mask`. All arrays are contiguous.
    """

    n: int
    m: int
    along: int

    def largest(self, x: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where the kept weights of a finite array are."""
        kept = np.empty(x.shape, np.bool_)
        self._share(_kernels.largest_of_groups, x, self._lines(kept))
        return kept

    def pack(self, kept: NDArray[np.bool_], source: NDArray[Any]) -> NDArray[Any]:
        """Return the kept elements of `source`, in their order."""
        length = kept.shape[self.along]
        shape = list(kept.shape)
        shape[self.along] = length // self.m * self.n + min(self.n, length % self.m)
        packed = np.empty(shape, source.dtype)
        self._share(_kernels.pack_kept, kept, self._lines(source), self._lines(packed))
        return packed

    def spread(self, kept: NDArray[np.bool_], packed: NDArray[Any], out: NDArray[Any]) -> None:
        """Write what `pack` gathered back to its places in `out`."""
        packed = np.ascontiguousarray(packed, out.dtype)
        self._share(_kernels.spread_kept, kept, self._lines(packed), self._lines(out))

    def integers(self, x: NDArray[Any], scale: float, largest: float, out: NDArray[Any]) -> None:
        """Write scale times the integer nearest to x / scale, within +-largest, where x is kept, and 0 elsewhere."""
        self._share(_kernels.kept_integers, x, scale, largest, self._lines(out))

    def clear(self, x: NDArray[Any], values: NDArray[Any]) -> None:
        """Write 0 to the values of the x that are not kept."""
        self._share(_kernels.clear_pruned, x, self._lines(values))

    def gradient(self, x: NDArray[Any], grad: NDArray[Any], decay: float, out: NDArray[Any]) -> None:
        """Write ``grad + decay * x`` where x is not kept, and grad elsewhere; `out` may be `grad` or `x`."""
        self._share(_kernels.pruned_gradient, x, self._lines(grad), decay, self._lines(out))

    def _lines(self, array: NDArray[Any]) -> NDArray[Any]:
        """View an array as the kernels want it: (outer, along, inner), or (outer, 1, along) without an inner axis."""
        along = self.along % array.ndim
        outer, inner = math.prod(array.shape[:along]), math.prod(array.shape[along + 1 :])
        length = array.shape[along]
        return array.reshape((outer, 1, length) if along == array.ndim - 1 else (outer, length, inner))

    def _share(self, kernel: Callable[..., None], x: NDArray[Any], *args: Any) -> None:
        """Call the kernel for all tiles of an array, shared out to threads."""
        lines = self._lines(x)
        outer, length, width = lines.shape
        along_line = self.along % x.ndim == x.ndim - 1
        height, breadth = (1, self.m) if along_line else (self.m, 1)
        breadth *= _kernels.columns(self.m)
        tiles = outer * -(-length // height) * -(-width // breadth)
        run_items(
            lambda first, last: kernel(lines, self.n, self.m, along_line, *args, first, last),
            tiles,
            min(height, length) * min(breadth, width),
        )


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
    return Groups(n=n, m=m, along=along).largest(sortable(w, along)[0])
