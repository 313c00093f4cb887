"""SR-STE: N:M structured sparsity, with an inner estimator that quantises the weights that are kept."""

__all__ = ["SRSTE", "n_of_m_mask"]

import operator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import from_rows, gradient, gradient_out, latent, to_rows
from tetrit.estimators._values import stored
from tetrit.estimators.base import Estimator, Quantized
from tetrit.estimators.deterministic import _kernels
from tetrit.estimators.uniform import STE

_INNER = STE()


def _along(value: int) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"`along` must be an integer, got {value!r}") from None


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
    along = _along(along)
    x = latent(w)
    if not x.ndim:
        raise InvalidValueError("`w` must have at least one dimension, to hold groups")
    if not -x.ndim <= along < x.ndim:
        wanted = f"from {-x.ndim} to {x.ndim - 1}"
        raise InvalidValueError(f"`along` must be {wanted} for an array of {x.ndim} dimensions, got {along}")
    checks.finite("w", x)
    columns = to_rows(x, along)
    mask = np.empty(columns.shape, np.bool_)
    _kernels.n_of_m_mask(columns, n, m, mask)
    return from_rows(mask, x.shape, along)


@dataclass(frozen=True, kw_only=True)
class SRSTE(Estimator):
    """N of every M weights along the inputs, quantised by an inner estimator; the pruned ones decay, but still learn.

    Forward: the mask of `n_of_m_mask` picks the kept weights; packed along the axis `along` in their order they are
    the (shorter) array that hardware stores, and that `inner` sees, scale and all. Every pruned weight has the code of
    the format's zero. Backward: at a kept weight the inner estimator's gradient, at a pruned one grad_out + decay * w.
    With a straight-through `inner` that is the source's g + decay * (1 - mask) * w: the gradient of the dense weight,
    and a pull that keeps pruned weights small, so that the mask settles.

    Contract: mask exact, codes and gradients of kept weights those of `inner` bit by bit; grad_out + decay * w is two
    roundings in float64 and one to the dtype of `grad_out`.

    Parameters
    ----------
    n, m : int, default 2 and 4
        1 <= n <= m; n weights of every m are kept. A shorter last group keeps up to n.
    decay : float, default 2e-4
        Non-negative; the pull on pruned weights (lambda).
    along : int, default 0
        The axis that the groups run along: the inputs of a weight of shape (n_in, n_out).
    inner : Estimator, default STE()
        Quantises the kept weights. Its format must have a zero, its latent the shape of the weights, and its scale must
        not vary along `along`.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64, or `inner` is no estimator.
    InvalidValueError
        If `w` has a NaN or an infinity (the message names its index) or has no axis `along`, if `grad_out` has another
        shape than `w`, or if `inner` does not fit.

    Notes
    -----
    Source: Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch", arXiv 2102.04010,
    ICLR 2021, and its released code (github.com/aojunzz/NM-sparsity), where the kept weights are floats. The inner
    quantiser, its view of the kept weights alone, and its gradient at those are **our reconstruction**.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators import STE
    >>> from tetrit.estimators.deterministic import SRSTE
    >>> e = SRSTE(n=1, m=2, decay=0.5, inner=STE(format="int4"))
    >>> w = np.array([0.2, -1.4, 0.7, 0.6])
    >>> e(w).values.round(3)
    array([ 0. , -1.4,  0.8,  0. ])
    >>> e.backward(w, np.ones(4))
    array([1.1, 1. , 1. , 1.3])
    """

    name: ClassVar[str] = "sr_ste"

    n: int = 2
    m: int = 4
    decay: float = 2e-4
    along: int = 0
    inner: Estimator = _INNER

    def __post_init__(self) -> None:
        object.__setattr__(self, "m", checks.integer("m", self.m))
        object.__setattr__(self, "n", checks.integer("n", self.n, maximum=self.m))
        object.__setattr__(self, "decay", checks.real("decay", self.decay, minimum=0.0))
        object.__setattr__(self, "along", _along(self.along))
        if not isinstance(self.inner, Estimator):
            raise TypeError(f"`inner` must be an estimator, got {self.inner!r}")

    def mask(self, w: ArrayLike) -> NDArray[np.bool_]:
        """Return True where a weight is kept, of the shape of `w`."""
        return n_of_m_mask(w, n=self.n, m=self.m, along=self.along)

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are those of `inner`, of the shape of `w`."""
        x = latent(w)
        order = self._order(x)
        kept = self._pack(x, order)
        q = self.inner(kept)
        if q.codes.shape != kept.shape:
            raise InvalidValueError(f"`inner` must train on a latent of the shape of the weights, got {self.inner!r}")
        if q.scale.ndim and q.scale.shape[self.along] != 1:
            raise InvalidValueError(f"`inner` must not have a scale that varies along axis {self.along}")
        zeros = np.flatnonzero(formats.get(q.format).values == 0)
        if not zeros.size:
            raise InvalidValueError(f"`inner` must have a format with a zero, got '{q.format}'")
        codes = np.full(x.shape, zeros[0], q.codes.dtype)
        np.put_along_axis(codes, order, q.codes, self.along)
        return Quantized(codes=codes, scale=q.scale, format=q.format)

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return what `inner` computes with at kept weights, and 0 at pruned ones."""
        x = latent(w)
        order = self._order(x)
        values = np.zeros(x.shape)
        np.put_along_axis(values, order, self.inner.forward(self._pack(x, order)), self.along)
        return stored(values, out)

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the inner gradient at kept weights, ``grad_out + decay * w`` at pruned ones."""
        x = latent(w)
        g = gradient(grad_out, x.shape)
        order = self._order(x)
        inner = self.inner.backward(self._pack(x, order), self._pack(g, order))

        def merge(grad: NDArray[Any], into: NDArray[Any]) -> None:
            result = (grad.reshape(x.shape).astype(np.float64) + self.decay * x.astype(np.float64)).astype(grad.dtype)
            np.put_along_axis(result, order, inner.astype(grad.dtype), self.along)
            into[...] = result.reshape(into.shape)

        with np.errstate(over="ignore"):
            return gradient_out(g, None, out, merge)

    def start(self, w: ArrayLike) -> tuple[Self, NDArray[Any]]:
        """Return the estimator with an inner one begun at the kept weights, and a copy of `w` to start from."""
        x = latent(w)
        kept = self._pack(x, self._order(x))
        inner, begun = self.inner.start(kept)
        if begun.shape != kept.shape:
            raise InvalidValueError(f"`inner` must train on a latent of the shape of the weights, got {self.inner!r}")
        return replace(self, inner=inner), np.array(w)

    def at(self, progress: float) -> Self:
        """Return the estimator with the inner one of that moment."""
        return replace(self, inner=self.inner.at(progress))

    def _order(self, x: NDArray[Any]) -> NDArray[np.intp]:
        """Return the indices of the kept weights along the axis, rising; the same number for every column."""
        mask = self.mask(x)
        length = x.shape[self.along]
        count = length // self.m * self.n + min(self.n, length % self.m)
        rising = np.argsort(~mask, axis=self.along, kind="stable")
        return rising.take(np.arange(count), axis=self.along)

    def _pack(self, array: NDArray[Any], order: NDArray[np.intp]) -> NDArray[Any]:
        return np.take_along_axis(array, order, self.along)
