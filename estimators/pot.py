"""The power-of-two estimator: nearest signed power of two, trained through a blend with the latent weight."""

__all__ = ["PowerOfTwo"]

from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators import _kernels
from tetrit.estimators._rows import checked_axis, from_rows, gradient, gradient_out, latent, scale_array, to_rows
from tetrit.estimators._run import largest_magnitudes, run
from tetrit.estimators._values import in_one_pass
from tetrit.estimators.base import Estimator, Quantized

_FORMATS = ("pot2", "pot3", "pot3z", "pot4", "pot4z")


@dataclass(frozen=True, kw_only=True)
class PowerOfTwo(Estimator):
    """Signed powers of two (with zero in ``pot3z`` and ``pot4z``): a multiplication becomes a shift.

    Codes: those that the format's `encode` gives for w / scale in float64 (the nearest value, ties to the even code; in
    formats without a zero the sign of a zero decides), with scale = max |w| / (the format's largest value), so that
    nothing saturates. The forward pass of training is the blend
    ``lam * Q(w) + (1 - lam) * w``, whose gradient is real, not approximated: ``(1 - lam) * grad_out``.
    At lam = 1 the forward pass is the staircase and the gradient is 0; `at` raises the blend linearly from 0 to `lam`.

    Parameters
    ----------
    format : {"pot3z", "pot4z", "pot2", "pot3", "pot4"}, default "pot3z"
        The set of values.
    axis : int or None, default None
        The channel axis that keeps its own scale; None for one scale per tensor.
    lam : float, default 0.8
        Share of the quantised weight in the forward pass, from 0 to 1.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If a call or `forward` is given a NaN or an infinity in `w` (the message names its index), or if `grad_out` has
        another shape than `w`. `backward` reads the shape of `w` only, never its values.

    Notes
    -----
    After n-BQ-NN: Chen, Liu, Liu, Zeng, "A Learning Framework for n-bit Quantized Neural Networks toward FPGAs",
    arXiv 2004.02396, which keeps latent weights and blends them with the quantised ones. The exact blend function, its
    schedule and the scale rule were not found: linear blend, linear schedule and absmax scale are **our
    reconstruction**.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit import estimators
    >>> e = estimators.get("pot", lam=0.75)
    >>> w = np.array([-1.0, -0.3, 0.0, 0.1, 0.8])
    >>> e(w).values
    array([-1.  , -0.25,  0.  ,  0.  ,  1.  ])
    >>> e.forward(w)
    array([-1.    , -0.2625,  0.    ,  0.025 ,  0.95  ])
    >>> e.backward(w, np.ones(5))
    array([0.25, 0.25, 0.25, 0.25, 0.25])
    """

    name: ClassVar[str] = "pot"

    format: str = "pot3z"
    axis: int | None = None
    lam: float = 0.8

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", checked_axis(self.axis))
        checks.choice("format", self.format, _FORMATS)
        lam = checks.real("lam", self.lam, minimum=0.0)
        if lam > 1:
            raise InvalidValueError(f"`lam` must be from 0 to 1, got {lam:g}")
        object.__setattr__(self, "lam", lam)

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are uint8 of the same shape."""
        x = latent(w)
        codes, scales = self._encoded(x)
        return Quantized(
            codes=from_rows(codes, x.shape, self.axis),
            scale=scale_array(scales, x.shape, self.axis),
            format=self.format,
        )

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the blend ``lam * Q(w) + (1 - lam) * w``, in float64 or rounded once into `out`."""
        x = latent(w)
        scales = self._scales(x, to_rows(x, self.axis))
        return in_one_pass(x, self.axis, out, _kernels.blended, scales, *_magnitude_steps(self.format), self.lam)

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return ``(1 - lam) * grad_out``, computed in float64 and rounded once."""
        g = gradient(grad_out, latent(w).shape)
        return gradient_out(g, None, out, lambda grad, into: run(_kernels.scaled, grad, 1.0 - self.lam, into))

    def _encoded(self, x: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Codes of the rows, and the scale of every row."""
        rows = to_rows(x, self.axis)
        scales = self._scales(x, rows)
        units = np.empty(rows.shape)
        run(_kernels.divided, rows, scales, units)
        return formats.get(self.format).encode(units), scales

    def _scales(self, x: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
        """Scale of every row."""
        largest = largest_magnitudes(rows)
        if not np.isfinite(largest).all():
            checks.finite("w", x)
        scales: NDArray[np.float64] = largest / formats.get(self.format).max_value
        scales[scales == 0] = 1.0
        return scales

    def at(self, progress: float) -> Self:
        """Return the estimator with the blend ``lam * progress``."""
        return replace(self, lam=self.lam * min(max(float(progress), 0.0), 1.0))


@cache
def _magnitude_steps(name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the magnitudes of a format, ascending, and the least double that is rounded to each but the first.

    They double from one to the next, so a middle is exact, and one that is a tie is given where `encode` puts it.
    """
    fmt = formats.get(name)
    magnitudes = np.unique(np.abs(fmt.values))
    middles = 0.5 * (magnitudes[:-1] + magnitudes[1:])
    up = fmt.decode(fmt.encode(middles)) == magnitudes[1:]
    return magnitudes, np.where(up, middles, np.nextafter(middles, np.inf))
