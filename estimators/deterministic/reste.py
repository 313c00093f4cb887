"""ReSTE: binary weights whose backward pass follows a power function that grows steeper as training goes on."""

__all__ = ["ReSTE", "estimating_error", "gradient_variance", "rectified"]

import math
import operator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import accumulate
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import checked_axis, from_rows, gradient, gradient_out, latent, scale_array, to_rows
from tetrit.estimators._run import run, sums_of_magnitudes
from tetrit.estimators._values import in_one_pass
from tetrit.estimators.base import Estimator, Pullback, Quantized
from tetrit.estimators.deterministic import _kernels
from tetrit.estimators.deterministic._means import mean_magnitudes
from tetrit.estimators.elementary._kernels import SUBNORMAL, powers


def _power(value: float) -> float:
    return checks.real("power", value, minimum=1.0)


@lru_cache(maxsize=16)
def _slopes(power: float, clip: float, secant: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the binomial series of (1 + d)^p after its 1, p = 1 / power - 1, and a table of slopes.

    These are c^p / power at the centres c of the cells from `secant` to `clip`.
    """
    exponent = (1.0 - power) / power
    series = np.array(list(accumulate(((exponent - n) / (n + 1) for n in range(_kernels.TERMS)), operator.mul)))
    first, last = np.array([secant, clip]).view(np.int64) >> _kernels.CELL
    centres = (np.arange(first, last + 1) << _kernels.CELL | _kernels.CENTRE).view(np.float64)
    table = np.empty(centres.size)
    powers(centres, exponent, table)
    return series, table / power


@dataclass(frozen=True, kw_only=True)
class ReSTE(Estimator):
    """Binary weights with the rectified straight-through estimator: sign forward, a power function backward.

    Forward: +scale or -scale by the sign *bit* (+0.0 gives +, -0.0 gives -), scale = mean |w|.
    Backward, with f(w) = sign(w) |w|^(1/o): grad_w = grad_out * scale * s(w), where s(w) = 0 for |w| > t,
    f'(w) = (1/o) |w|^((1-o)/o) for m < |w| <= t, and the secant f(m)/m = m^(1/o - 1) for |w| <= m, near the pole of f'.
    o = 1 is the clipped straight-through estimator, a large o approaches the derivative of the sign. `at` raises o from
    1 to `power` over the training: o(p) = 1 + (1 - cos(pi p / 2)) (power - 1).

    Codes are 1 for +1 and 3 for -1 of the format ``int2_symmetric``, since no 1-bit format exists: its zero is never
    used, so bit 1 of a code alone is the weight.

    Contract: bit-exact. The gradient's powers are those of `tetrit.estimators.elementary` at 256 points between one
    power of two and the next, times five terms of a binomial series (within a relative 1e-15 at the default `clip` and
    `secant`); it is rounded once to the dtype of `grad_out`.

    Parameters
    ----------
    power : float, default 3
        At least 1; the o of the end of the training (the released code calls it ``o_end``).
    clip : float, default 1.5
        Positive; the t beyond which no gradient passes, in units of `w`.
    secant : float, default 0.1
        From 2^-1022 to `clip`; the m below which the secant stands for the derivative, in units of `w`.
    axis : int or None, default None
        The channel axis that keeps its own scale; None, as in the released code, for one scale per tensor. Where the
        scale would be 0 (all zeros, an empty tensor), it is 1.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If `w` has a NaN or an infinity (the message names its index), if the sum of its magnitudes overflows float64,
        or if `grad_out` has another shape than `w`.

    Notes
    -----
    Source: Wu, Zheng, Liu, Zheng, "Estimator Meets Equilibrium Perspective: A Rectified Straight Through Estimator for
    Binary Neural Networks Training", arXiv 2308.06689, ICCV 2023, and its released code (github.com/DravenALG/ReSTE)
    for t, m, the cosine schedule and the scale. The released code also differentiates the scale; here it is a constant,
    as in every estimator of this room. That zeros keep their sign bit (there, sign(0) = 0) and the choice of the
    channel axis are **ours**.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.deterministic import ReSTE
    >>> e = ReSTE(power=2.0)
    >>> w = np.array([-2.0, -0.25, 0.0, 0.04, 1.0])
    >>> e(w).values.round(3)
    array([-0.658, -0.658,  0.658,  0.658,  0.658])
    >>> (e.backward(w, np.ones(5)) / e(w).scale).round(3)
    array([0.   , 1.   , 3.162, 3.162, 0.5  ])
    >>> [round(e.at(progress).power, 3) for progress in (0.0, 0.5, 1.0)]
    [1.0, 1.293, 2.0]
    """

    name: ClassVar[str] = "reste"

    power: float = 3.0
    clip: float = 1.5
    secant: float = 0.1
    axis: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", checked_axis(self.axis))
        object.__setattr__(self, "power", _power(self.power))
        object.__setattr__(self, "clip", checks.real("clip", self.clip, minimum=0.0, exclusive=True))
        object.__setattr__(self, "secant", checks.real("secant", self.secant, minimum=0.0, exclusive=True))
        if self.secant > self.clip:
            raise InvalidValueError(f"`secant` must be at most `clip` ({self.clip:g}), got {self.secant:g}")
        if self.secant < SUBNORMAL:
            raise InvalidValueError(f"`secant` must be at least 2^-1022, got {self.secant:g}")

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are uint8 of the same shape."""
        x = latent(w)
        rows = to_rows(x, self.axis)
        scales = self._scales(x, rows)
        codes = np.empty(rows.shape, np.uint8)
        run(_kernels.sign_codes, rows, codes)
        return Quantized(
            codes=from_rows(codes, x.shape, self.axis),
            scale=scale_array(scales, x.shape, self.axis),
            format="int2_symmetric",
        )

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the values of the codes, in float64 or rounded once into `out`, without making the codes."""
        return self.vjp(w, out=out)[0]

    def vjp(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> tuple[NDArray[Any], Pullback]:
        """Return the values and the backward rule, which share the scales."""
        x = latent(w)
        scales = self._scales(x, to_rows(x, self.axis))
        return in_one_pass(x, self.axis, out, _kernels.sign_values, scales), partial(self._gradients, x, scales)

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the gradient of the truncated power function; a weight on `clip` or on `secant` is inside."""
        x = latent(w)
        gradient(grad_out, x.shape)  # before any work
        return self._gradients(x, self._scales(x, to_rows(x, self.axis)), grad_out, out)[0]

    def _gradients(
        self,
        x: NDArray[Any],
        scales: NDArray[np.float64],
        grad_out: ArrayLike,
        out: NDArray[Any] | None,
        _: bool = True,
    ) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        g, rows = gradient(grad_out, x.shape), to_rows(x, self.axis)
        fixed = scales, self.power, self.secant, self.clip, *_slopes(self.power, self.clip, self.secant)
        result = gradient_out(
            g, self.axis, out, lambda grad, into: run(_kernels.reste_backward, rows, grad, *fixed, into), w=x
        )
        return result, {}

    def at(self, progress: float) -> Self:
        """Return the estimator with the o of that moment: 1 at the start, `power` at the end."""
        share = 1.0 - math.cos(min(max(float(progress), 0.0), 1.0) * math.pi / 2)
        return replace(self, power=1.0 + share * (self.power - 1.0))

    def _scales(self, x: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
        means = mean_magnitudes(x, rows)
        return np.where(means > 0, means, 1.0)


def rectified(w: ArrayLike, *, power: float) -> NDArray[np.float64]:
    """Return f(w) = sign(w) |w|^(1/power) in float64, the function between identity (power 1) and sign.

    Parameters
    ----------
    w : array_like of float
        Finite, of any shape.
    power : float
        At least 1.

    Returns
    -------
    ndarray of float64
        Of the shape of `w`; within three units in the last place for |w| from 2^-4 to 2^4; a zero keeps its sign.

    Examples
    --------
    >>> from tetrit.estimators.deterministic import rectified
    >>> rectified([-8.0, 0.0, 0.125], power=3.0).round(6)
    array([-2. ,  0. ,  0.5])
    """
    x = latent(w)
    checks.finite("w", x)
    rows = to_rows(x, None)
    values = np.empty(rows.shape)
    run(_kernels.power_values, rows, 1.0 / _power(power), values)
    return values.reshape(x.shape)


def estimating_error(w: ArrayLike, *, power: float) -> float:
    """Return how far the estimator is from the sign function at `w`: the Euclidean norm of sign(w) - f(w).

    It falls as `power` rises, at the price of `gradient_variance`. sign is that of `ReSTE`: 1 or -1 by the sign bit.

    Parameters
    ----------
    w : array_like of float
        Finite, of any shape: what is binarised, weights or activations.
    power : float
        At least 1.

    Returns
    -------
    float
        Infinity if the squares overflow.

    Notes
    -----
    Source: the indicator e of arXiv 2308.06689, before truncation; the sum of squares runs in the golden order.

    Examples
    --------
    >>> from tetrit.estimators.deterministic import estimating_error
    >>> [round(estimating_error([0.25, -0.25, 1.0], power=power), 3) for power in (1.0, 2.0)]
    [1.061, 0.707]
    """
    f = rectified(w, power=power)
    with np.errstate(over="ignore"):
        squares = np.square(np.copysign(1.0, f) - f)
    return math.sqrt(sums_of_magnitudes(to_rows(squares, None))[0])


def gradient_variance(grad_out: ArrayLike) -> float:
    """Return how unsteady a gradient is: the variance of its magnitudes (divided by the count, 0 for an empty one).

    Parameters
    ----------
    grad_out : array_like of float
        Finite, of any shape, e.g. the result of ``ReSTE.backward``.

    Returns
    -------
    float
        Infinity if the squares overflow.

    Notes
    -----
    Source: the indicator s of arXiv 2308.06689; two passes, both sums in the golden order. Dividing by the count is
    **our choice**; the released code divides by the count less one.

    Examples
    --------
    >>> from tetrit.estimators.deterministic import gradient_variance
    >>> gradient_variance([1.0, -1.0, 3.0, -3.0])
    1.0
    """
    x = gradient(grad_out, np.shape(grad_out))
    checks.finite("grad_out", x)
    magnitudes = np.abs(to_rows(x, None).astype(np.float64))
    count = max(magnitudes.size, 1)
    with np.errstate(over="ignore"):
        mean = sums_of_magnitudes(magnitudes)[0] / count
        return float(sums_of_magnitudes(np.square(magnitudes - mean))[0] / count)
