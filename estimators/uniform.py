"""The uniform estimators: symmetric integers with one scale, straight-through gradients with and without a clip."""

__all__ = ["STE", "ClippedSTE"]

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.estimators._band import band_gradient
from tetrit.estimators._rows import (
    checked_axis,
    copied,
    from_rows,
    gradient,
    latent,
    plain_rows,
    scale_array,
    to_rows,
)
from tetrit.estimators._run import by_rows, largest_magnitudes, magnitude_words, parted, run, run_rows
from tetrit.estimators._values import filled, in_one_pass
from tetrit.estimators.base import Estimator, Pullback, Quantized
from tetrit.estimators.integers._kernels import clipped_codes, clipped_values, uniform_rows

_BITS = {f"int{bits}": bits for bits in range(2, 17)}


@dataclass(frozen=True, kw_only=True)
class _Uniform(Estimator):
    """The forward pass that `STE` and `ClippedSTE` share."""

    format: str = "int8"
    axis: int | None = None
    limit: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", checked_axis(self.axis))
        checks.choice("format", self.format, _BITS)
        if self.limit is not None:
            object.__setattr__(self, "limit", checks.real("limit", self.limit, minimum=0.0, exclusive=True))

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are uint8 (up to 8 bits) or uint16, of the same shape."""
        x = latent(w)
        rows = to_rows(x, self.axis)
        bits = _BITS[self.format]
        scales, largest = self._scales(self._limits(x, rows))
        codes = np.empty(rows.shape, np.uint8 if bits <= 8 else np.uint16)
        run(clipped_codes, rows, scales, -largest, largest, 2**bits - 1, codes)
        return Quantized(
            codes=from_rows(codes, x.shape, self.axis),
            scale=scale_array(scales, x.shape, self.axis),
            format=self.format,
        )

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the values of the codes, in float64 or rounded once into `out`, without making the codes."""
        x = latent(w)
        return self._values(x, to_rows(x, self.axis), out)[0]

    def _values(
        self, x: NDArray[Any], rows: NDArray[Any], out: NDArray[Any] | None
    ) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return the values, and the largest magnitude that every row represents."""
        if not by_rows(rows):
            limits = self._limits(x, rows)
            scales, largest = self._scales(limits)
            return in_one_pass(x, self.axis, out, clipped_values, scales, scales, -largest, largest), limits
        limits = np.empty(len(rows))
        return filled(rows, x.shape, self.axis, out, lambda into: self._fill(x, rows, limits, into)), limits

    def _fill(self, x: NDArray[Any], rows: NDArray[Any], limits: NDArray[np.float64], into: NDArray[Any]) -> None:
        """Write the values of rows that `by_rows` takes, and the largest magnitudes that they represent."""
        if self.limit is not None:
            limits[:] = self.limit
            rows = parted(rows)
            limits, into = np.empty(len(rows)), into.reshape(rows.shape)
        magnitudes = np.empty(len(rows), rows.dtype)
        bits, mask = magnitude_words(rows)
        given = rows, bits, mask, magnitudes.view(mask.dtype), magnitudes, *self.ends
        if not run_rows(uniform_rows, *given, limits, into):
            checks.finite("w", x)

    def plain_vjp(self, x: NDArray[Any], out: NDArray[Any]) -> Pullback | None:
        """Do what `vjp` does, without its checks."""
        rows = plain_rows(x, self.axis)
        if rows is None or not by_rows(rows):
            return super().plain_vjp(x, out)
        limits = np.empty(len(rows))
        self._fill(x, rows, limits, out.reshape(rows.shape))
        return None if self.straight_through else partial(self._gradients, x, rows, limits)

    def _gradients(
        self,
        x: NDArray[Any],
        rows: NDArray[Any],
        limits: NDArray[np.float64],
        grad_out: ArrayLike,
        out: NDArray[Any] | None,
        _: bool = True,
    ) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        """Return `grad_out` where the magnitude is within the limit, else 0."""
        return band_gradient(x, rows, self.axis, limits, grad_out, out), {}

    @property
    def ends(self) -> tuple[float, float, float]:
        """The limit, or -1; the scale where it would be 0; the largest integer: what `uniform_rows` takes.

        A limit that was given is kept, however small; else nothing is represented by a scale of 0.
        """
        limit, least = (-1.0, 1.0) if self.limit is None else (self.limit, math.ulp(0.0))
        return limit, least, 2.0 ** (_BITS[self.format] - 1) - 1.0

    def _scales(self, limits: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """Scale of every row, and the largest integer."""
        _, least, largest = self.ends
        scales = limits / largest
        scales[scales == 0] = least
        return scales, largest

    def _limits(self, x: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
        """Largest magnitude that every row represents."""
        largest: NDArray[np.float64] = largest_magnitudes(rows)
        if not np.isfinite(largest).all():
            checks.finite("w", x)
        return largest if self.limit is None else np.full_like(largest, self.limit)


@dataclass(frozen=True, kw_only=True)
class STE(_Uniform):
    """Uniform integers with the plain straight-through estimator: the gradient passes unchanged, everywhere.

    Forward: scale = limit / L with L = 2^(bits-1) - 1, integer q = round-to-nearest-even(w / scale) held within
    [-L, L] (symmetric: the code of -L - 1 is never used), value q * scale. Backward: grad_w = grad_out.
    Contract: bit-exact; division and rounding are in float64.

    Parameters
    ----------
    format : str, default "int8"
        ``int2`` to ``int16``.
    axis : int or None, default None
        The channel axis that keeps its own scale; None for one scale per tensor.
    limit : float or None, default None
        The largest magnitude represented, in units of `w`; None takes the largest |w| of the tensor or channel.
        Where the scale would be 0 (all zeros, an empty tensor), it is 1.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If a call is given a NaN or an infinity in `w` (the message names its index), or if `grad_out` has another shape
        than `w`. `backward` reads the shape of `w` only, never its values.

    Notes
    -----
    Source: Bengio, Leonard, Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
    Computation", arXiv 1308.3432.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit import estimators
    >>> e = estimators.get("ste", format="int4")
    >>> w = np.array([-1.4, -0.1, 0.0, 0.3, 0.7])
    >>> e(w).values.round(3)
    array([-1.4, -0.2,  0. ,  0.4,  0.8])
    >>> e.backward(w, np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    array([1., 2., 3., 4., 5.])
    """

    name: ClassVar[str] = "ste"

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return a copy of `grad_out`."""
        return copied(grad_out, latent(w).shape, out)

    @property
    def straight_through(self) -> bool:
        """True."""
        return True


@dataclass(frozen=True, kw_only=True)
class ClippedSTE(_Uniform):
    """Uniform integers with the clipped straight-through estimator: no gradient where the forward pass saturates.

    Forward as in `STE`. Backward: grad_w = grad_out where |w| <= limit, else 0. With ``limit=None`` nothing
    saturates and the two are the same; they differ once `limit` lies below the largest |w|, as it does for
    activations with a calibrated range.

    Parameters
    ----------
    format, axis, limit
        As in `STE`.

    Raises
    ------
    TypeError, InvalidValueError
        As in `STE`; `backward` reads `w` and refuses a NaN or an infinity too.

    Notes
    -----
    Source: the clipped ("hard tanh") straight-through estimator of Hubara et al., "Binarized Neural Networks",
    arXiv 1602.02830, with the clip at the end of the integer range.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit import estimators
    >>> e = estimators.get("ste_clipped", format="int4", limit=0.7)
    >>> w = np.array([-1.4, -0.1, 0.0, 0.3, 0.7])
    >>> e(w).values.round(3)
    array([-0.7, -0.1,  0. ,  0.3,  0.7])
    >>> e.backward(w, np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    array([0., 2., 3., 4., 5.])
    """

    name: ClassVar[str] = "ste_clipped"

    def vjp(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> tuple[NDArray[Any], Pullback]:
        """Return the values and the backward rule, which share the limits."""
        x = latent(w)
        rows = to_rows(x, self.axis)
        values, limits = self._values(x, rows, out)
        return values, partial(self._gradients, x, rows, limits)

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return `grad_out` where the forward pass does not saturate, else 0."""
        x = latent(w)
        gradient(grad_out, x.shape)  # before any work
        rows = to_rows(x, self.axis)
        return self._gradients(x, rows, self._limits(x, rows), grad_out, out)[0]
