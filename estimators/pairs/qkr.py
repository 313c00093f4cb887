"""Query-key reparameterisation: one quantised matrix per head for the product of two projections."""

__all__ = ["QKR"]

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators._kernels import CHUNK
from tetrit.estimators._rows import gradient, latent
from tetrit.estimators._run import spread
from tetrit.estimators._values import checked, stored
from tetrit.estimators.base import Estimator, Quantized
from tetrit.estimators.deterministic.statsq import StatsQ
from tetrit.estimators.pairs import _kernels


@dataclass(frozen=True, kw_only=True)
class QKR(Estimator):
    """Quantises the product W_q^T W_k of every attention head with `StatsQ`, one scale per row.

    The latent array (2, heads, d_head, d_model) holds W_q and W_k, (d_head, d_model) for every head. Forward:
    P = W_q^T W_k, added in the order of d_head in float64, and its rows quantised as `StatsQ` does with ``axis=0``:
    codes and values are (heads, d_model, d_model). Attention logits are then x P x^T, which are rounded once where
    quantising queries and keys would round twice.
    Backward, straight through StatsQ to G, the gradient of P (0 where `cga` freezes an element):
    grad W_q = W_k G^T, grad W_k = W_q G, each sum in index order.

    Codes: those of `StatsQ`, odd integers of ``int<bits + 1>_symmetric``, with scales (heads, d_model, 1).

    Contract: bit-exact for any number of threads: products and sums are float64 in a fixed order, without fused
    multiply-add; gradients are rounded once.

    Parameters
    ----------
    bits : int, default 4
        1 to 15.
    cga : float or None, default None
        As in `StatsQ`, for the elements of P.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If `w` is not of shape (2, heads, d_head, d_model), has a NaN or an infinity (the message names its index), if
        products or sums overflow float64, or if `grad_out` has another shape than the product.

    Notes
    -----
    Source: Liu, Liu, Cheng, "Oscillation-free Quantization for Low-bit Vision Transformers", arXiv 2302.02210,
    ICML 2023: the product per head, quantised as one matrix. The order of the sums, the scale per row of P (as its code
    has for weights), and both projections in one latent array are **our reconstruction**. A head of d_model > 2 d_head
    has more elements in P than in both projections: this buys steadier training with memory.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.pairs import QKR
    >>> e = QKR(bits=2)
    >>> w = np.array([[[[1.0, -2.0]]], [[[0.5, 1.0]]]])  # one head, d_head 1, d_model 2
    >>> e.product(w)
    array([[[ 0.5,  1. ],
            [-1. , -2. ]]])
    >>> e(w).values
    array([[[ 0.375,  1.125],
            [-0.75 , -2.25 ]]])
    >>> e.backward(w, np.array([[[1.0, 0.0], [0.0, 1.0]]]))
    array([[[[ 0.5,  1. ]]],
    <BLANKLINE>
    <BLANKLINE>
           [[[ 1. , -2. ]]]])
    """

    name: ClassVar[str] = "qkr"

    bits: int = 4
    cga: float | None = None

    def __post_init__(self) -> None:
        inner = StatsQ(bits=self.bits, cga=self.cga, axis=0)
        object.__setattr__(self, "bits", inner.bits)
        object.__setattr__(self, "cga", inner.cga)

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise the products; codes are uint8 (up to 7 bits) or uint16, (heads, d_model, d_model)."""
        products = self.product(w)
        heads, n = products.shape[:2]
        q = self._rows_quantizer(products.reshape(heads * n, n))
        return Quantized(codes=q.codes.reshape(products.shape), scale=q.scale.reshape(heads, n, 1), format=q.format)

    def product(self, w: ArrayLike) -> NDArray[np.float64]:
        """Return W_q^T W_k of every head, float64 (heads, d_model, d_model), bit-exact."""
        x = _projections(w)
        with np.errstate(over="ignore", invalid="ignore"):
            products = _products(_wide(x[0]), _wide(x[1]))
        if not np.isfinite(products).all():
            raise InvalidValueError("`w` must have products that float64 can hold, got an overflow")
        return products

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the values of the codes, in float64 or rounded once into `out`, without holding the products."""
        x = latent(w)
        shape = self.value_shape(x.shape)
        if out is not None:
            checked(out, shape)
        plain = out is None or (out.flags.c_contiguous and out.dtype != np.float16 and not np.may_share_memory(out, x))
        if plain and x.size and shape[2] <= CHUNK:
            into = np.empty(shape) if out is None else out
            if self._fill(x, into):
                return into
        return super().forward(x, out=out)

    def _fill(self, x: NDArray[Any], into: NDArray[Any]) -> bool:
        """Write the values; return whether all of `x` and the sums of magnitudes were finite."""
        left, right = _wide(x[0]), _wide(x[1])
        args = left, right, 2.0 ** (self.bits - 1), into
        with np.errstate(over="ignore", invalid="ignore"):
            return spread(_kernels.quantized_products, args, left.shape[0] * left.shape[2], _effort(right))

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the gradients of W_q and W_k, of the shape of `w`."""
        x = _projections(w)
        _, heads, _, n = x.shape
        g = gradient(grad_out, (heads, n, n))
        if out is not None:
            apart = {"grad_out": g, "w": x}
            checks.output(out, x.shape, g.dtype, apart=apart, may_be_same=True)
        inner = _wide(g)
        if self.cga is not None:
            inner = self.product_gradient(x, inner)
        result = np.empty(x.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            result[0] = _products(inner.swapaxes(1, 2), _wide(x[1].swapaxes(1, 2))).swapaxes(1, 2)  # (G W_k^T)^T
            result[1] = _products(_wide(x[0]).swapaxes(1, 2), inner)
            return result.astype(g.dtype, copy=False) if out is None else stored(result, out)

    def product_gradient(self, w: ArrayLike, grad_out: ArrayLike) -> NDArray[Any]:
        """Return the gradient of P, of the shape and dtype of `grad_out`: 0 where `cga` freezes, else `grad_out`."""
        products = self.product(w)
        heads, n = products.shape[:2]
        rows = products.reshape(heads * n, n)
        g = gradient(grad_out, products.shape)
        return self._rows_quantizer.backward(rows, g.reshape(rows.shape)).reshape(products.shape)

    def value_shape(self, latent_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (heads, d_model, d_model)."""
        _checked_shape(latent_shape)
        return latent_shape[1], latent_shape[3], latent_shape[3]

    @property
    def _rows_quantizer(self) -> StatsQ:
        return StatsQ(bits=self.bits, cga=self.cga, axis=0)


def _effort(right: NDArray[Any]) -> int:
    """Return how many elements of an array take as long as a row of the product: one has at least 16 of its terms."""
    return int(right.shape[1] * right.shape[2]) // 16 + 1


def _wide(x: NDArray[Any]) -> NDArray[Any]:
    """Return the array C-contiguous, float16 as float64."""
    return np.ascontiguousarray(x, np.float64 if x.dtype == np.float16 else None)


def _products(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Return sum_t left[:, t, r] right[:, t, n] as (heads, r, n)."""
    out = np.empty((left.shape[0], left.shape[2], right.shape[2]))
    if out.size:
        spread(_kernels.products, (left, right, out), out.shape[0] * out.shape[1], _effort(right))
    return out


def _projections(w: ArrayLike) -> NDArray[Any]:
    x = latent(w)
    _checked_shape(x.shape)
    checks.finite("w", x)
    return x


def _checked_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 4 or shape[0] != 2:
        raise InvalidValueError(f"`w` must have shape (2, heads, d_head, d_model), got {shape}")
