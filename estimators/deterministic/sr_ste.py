"""SR-STE: N:M structured sparsity, with an inner estimator that quantises the weights that are kept."""

__all__ = ["SRSTE"]

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import gradient, gradient_out, to_rows
from tetrit.estimators._run import run
from tetrit.estimators._values import stored
from tetrit.estimators.base import Estimator, Quantized
from tetrit.estimators.deterministic import _kernels
from tetrit.estimators.deterministic.n_of_m import checked_along, largest, n_of_m_mask, pack, sortable, spread
from tetrit.estimators.uniform import STE

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
        object.__setattr__(self, "along", checked_along(self.along))
        if not isinstance(self.inner, Estimator):
            raise TypeError(f"`inner` must be an estimator, got {self.inner!r}")

    def mask(self, w: ArrayLike) -> NDArray[np.bool_]:
        """Return True where a weight is kept, of the shape of `w`."""
        return n_of_m_mask(w, n=self.n, m=self.m, along=self.along)

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are those of `inner`, of the shape of `w`."""
        x = sortable(w, self.along)
        kept = self._kept(x)
        packed = self._pack(kept, x)
        q = self.inner(packed)
        if q.codes.shape != packed.shape:
            raise InvalidValueError(f"`inner` must train on a latent of the shape of the weights, got {self.inner!r}")
        if q.block is not None:
            raise InvalidValueError(f"`inner` must not share scales among blocks, got {self.inner!r}")
        if q.scale.ndim and q.scale.shape[self.along] != 1:
            raise InvalidValueError(f"`inner` must not have a scale that varies along axis {self.along}")
        zeros = np.flatnonzero(formats.get(q.format).values == 0)
        if not zeros.size:
            raise InvalidValueError(f"`inner` must have a format with a zero, got '{q.format}'")
        codes = np.full(x.shape, zeros[0], q.codes.dtype)
        spread(kept, q.codes, codes, along=self.along)
        return Quantized(codes=codes, scale=q.scale, format=q.format)

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return what `inner` computes with at kept weights, and 0 at pruned ones."""
        x = sortable(w, self.along)
        direct = out is not None and out.shape == x.shape and out.dtype == np.float32 and out.flags.c_contiguous
        values = np.zeros(x.shape, np.float32 if direct else np.float64)
        kept = self._kept(x)
        packed = self._pack(kept, x)
        spread(kept, self.inner.forward(packed, out=np.empty(packed.shape, values.dtype)), values, along=self.along)
        return stored(values, out)

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the inner gradient at kept weights, ``grad_out + decay * w`` at pruned ones."""
        x = sortable(w, self.along)
        g = gradient(grad_out, x.shape)
        kept = self._kept(x)
        inner = self.inner.backward(self._pack(kept, x), self._pack(kept, _wide(np.ascontiguousarray(g))))

        def merge(grad: NDArray[Any], into: NDArray[Any]) -> None:
            result = np.empty_like(into)  # not `into`, which may be the array of `w`
            run(_kernels.pruned_gradient, to_rows(x, None), grad, self.decay, result)
            spread(kept, inner, result.reshape(x.shape), along=self.along)
            into[...] = result

        return gradient_out(g, None, out, merge, w=x)

    def start(self, w: ArrayLike) -> tuple[Self, NDArray[Any]]:
        """Return the estimator with an inner one begun at the kept weights, and a copy of `w` to start from."""
        x = sortable(w, self.along)
        packed = self._pack(self._kept(x), x)
        inner, begun = self.inner.start(packed)
        if begun.shape != packed.shape:
            raise InvalidValueError(f"`inner` must train on a latent of the shape of the weights, got {self.inner!r}")
        return replace(self, inner=inner), np.array(w)

    def at(self, progress: float) -> Self:
        """Return the estimator with the inner one of that moment."""
        return replace(self, inner=self.inner.at(progress))

    def _kept(self, x: NDArray[Any]) -> NDArray[np.bool_]:
        return largest(x, n=self.n, m=self.m, along=self.along)

    def _pack(self, kept: NDArray[np.bool_], source: NDArray[Any]) -> NDArray[Any]:
        return pack(kept, source, n=self.n, m=self.m, along=self.along)


def _wide(g: NDArray[Any]) -> NDArray[Any]:
    """Return float16, which kernels do not take, as float32: a later rounding to float16 makes up for the detour."""
    return g.astype(np.float32) if g.dtype == np.float16 else g
