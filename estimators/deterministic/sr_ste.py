"""SR-STE: N:M structured sparsity, with an inner estimator that quantises the weights that are kept."""

__all__ = ["SRSTE"]

from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import gradient, gradient_out
from tetrit.estimators._values import checked, stored
from tetrit.estimators.base import Estimator, Pullback, Quantized
from tetrit.estimators.deterministic.n_of_m import Groups, checked_along, n_of_m_mask, sortable
from tetrit.estimators.uniform import STE, ClippedSTE

_INNER = STE()


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
        Quantises the kept weights. Its format must have a zero, its latent the shape of the weights, its scale must not
        vary along `along`, and it must neither draw at random nor learn fields of its own.

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
        object.__setattr__(self, "along", checked_along(self.along))
        if not isinstance(self.inner, Estimator):
            raise TypeError(f"`inner` must be an estimator, got {self.inner!r}")
        _zero_code(self.inner)

    def mask(self, w: ArrayLike) -> NDArray[np.bool_]:
        """Return True where a weight is kept, of the shape of `w`."""
        return n_of_m_mask(w, n=self.n, m=self.m, along=self.along)

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are those of `inner`, of the shape of `w`."""
        x, _ = self._sortable(w)
        kept = self._groups.largest(x)
        q = self.inner(self._groups.pack(kept, x))
        codes = np.full(x.shape, _zero_code(self.inner), q.codes.dtype)
        self._groups.spread(kept, q.codes, codes)
        return Quantized(codes=codes, scale=q.scale, format=q.format)

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return what `inner` computes with at kept weights, and 0 at pruned ones."""
        return self.vjp(w, out=out)[0]

    def vjp(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> tuple[NDArray[Any], Pullback]:
        """Return the values and the backward rule, which share the checks."""
        x, largest = self._sortable(w)
        single = out is not None and checked(out, x.shape).dtype == np.float32
        dtype = np.float32 if single else np.float64
        direct = out is not None and out.dtype == dtype and out.flags.c_contiguous and not np.may_share_memory(out, x)
        values = out if out is not None and direct else np.empty(x.shape, dtype)
        if type(self.inner) is STE or type(self.inner) is ClippedSTE:
            self._integers(self.inner, x, largest, values)
        else:
            kept = self._groups.largest(x)
            packed = self._groups.pack(kept, x)
            inner = self.inner.forward(packed, out=np.empty(packed.shape, dtype))
            values[...] = 0.0
            self._groups.spread(kept, inner, values)
        return values if direct else stored(values, out), partial(self._gradients, x)

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the inner gradient at kept weights, ``grad_out + decay * w`` at pruned ones."""
        return self._gradients(self._sortable(w)[0], grad_out, out)[0]

    def _gradients(
        self, x: NDArray[Any], grad_out: ArrayLike, out: NDArray[Any] | None, _: bool = True
    ) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        g = gradient(grad_out, x.shape)

        def decayed(grad: Any, into: Any) -> None:
            self._groups.gradient(x, grad.reshape(x.shape), self.decay, into.reshape(x.shape))

        if self.inner.straight_through:
            return gradient_out(g, None, out, decayed, w=x), {}
        kept = self._groups.largest(x)
        # kernels do not take float16; in float64 it is rounded once
        wide = np.ascontiguousarray(g, np.float64 if g.dtype == np.float16 else None)
        inner = self.inner.backward(self._groups.pack(kept, x), self._groups.pack(kept, wide))

        def merge(grad: Any, into: Any) -> None:
            decayed(grad, into)
            self._groups.spread(kept, inner, into.reshape(x.shape))

        return gradient_out(g, None, out, merge, w=x), {}

    def after_step(self, w: ArrayLike) -> NDArray[Any]:
        """Return `w` with its kept weights where `inner` has them after the step; pruned ones stay."""
        x, _ = self._sortable(w)
        kept = self._groups.largest(x)
        moved = np.array(x)
        self._groups.spread(kept, self.inner.after_step(self._groups.pack(kept, x)), moved)
        return moved.astype(np.asarray(w).dtype)

    def start(self, w: ArrayLike) -> tuple[Self, NDArray[Any]]:
        """Return the estimator with an inner one begun at the kept weights, and a copy of `w` to start from."""
        x, _ = self._sortable(w)
        inner, _ = self.inner.start(self._groups.pack(self._groups.largest(x), x))
        return replace(self, inner=inner), np.array(w)

    def at(self, progress: float) -> Self:
        """Return the estimator with the inner one of that moment."""
        if type(self.inner).at is Estimator.at:
            return self
        return replace(self, inner=self.inner.at(progress))

    @property
    def _groups(self) -> Groups:
        return Groups(n=self.n, m=self.m, along=self.along)

    def _sortable(self, w: ArrayLike) -> tuple[NDArray[Any], float]:
        x, largest = sortable(w, self.along)
        axis = getattr(self.inner, "axis", None)
        if axis is not None and axis % x.ndim == self.along % x.ndim:
            raise InvalidValueError(f"`inner` must not have a scale that varies along axis {self.along}")
        return x, largest

    def _integers(self, inner: STE | ClippedSTE, x: NDArray[Any], largest: float, values: NDArray[Any]) -> None:
        """Write the values of `inner`: its scale is that of the largest weight, which is kept, so nothing is packed."""
        if inner.axis is not None:
            inner.forward(x, out=values)
            self._groups.clear(x, values)
            return
        scale = float(inner(np.array([largest])).scale)
        self._groups.integers(x, scale, float(formats.get(inner.format).max_value), values)


@cache
def _zero_code(inner: Estimator) -> int:
    """Return the code of zero of an inner estimator; raises InvalidValueError for one that does not fit."""
    if inner.draws or inner.learnable:
        does = "draw at random" if inner.draws else f"learn {', '.join(inner.learnable)}"
        raise InvalidValueError(f"`inner` must not {does}, got {inner!r}")
    weights = np.linspace(-1.0, 1.0, 16).reshape(4, 4)
    try:
        begun, latent = inner.start(weights)
        q = begun(latent)
    except InvalidValueError:
        latent = np.empty(0)
    if latent.shape != weights.shape:
        raise InvalidValueError(f"`inner` must train on a latent of the shape of the weights, got {inner!r}")
    if q.block is not None:
        raise InvalidValueError(f"`inner` must not share scales among blocks, got {inner!r}")
    zeros = np.flatnonzero(formats.get(q.format).values == 0)
    if not zeros.size:
        raise InvalidValueError(f"`inner` must have a format with a zero, got '{q.format}'")
    return int(zeros[0])
