"""Rounding to any real format with a straight-through gradient: the authority for how its scale is chosen."""

__all__ = ["FormatSTE"]

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._band import band_gradient
from tetrit.estimators._rows import (
    checked_axis,
    from_rows,
    gradient,
    latent,
    scale_array,
    to_rows,
)
from tetrit.estimators._run import largest_magnitudes, run
from tetrit.estimators._values import filled
from tetrit.estimators.base import Estimator, Pullback, Quantized
from tetrit.estimators.scales import _kernels, best_scales

_FORMATS = tuple(name for name in formats.names() if isinstance(formats.get(name), formats.RealFormat))
_FINE = 8
_OCTAVES = 6


@dataclass(frozen=True, kw_only=True)
class FormatSTE(Estimator):
    """The nearest value of a format, by the format's own rule, and a gradient that passes where it does not saturate.

    Forward: value = decode(encode(w / scale)) * scale, w / scale being held within the format's largest finite value.
    Backward: grad_w = grad_out where |w| <= scale * that largest value, else 0.

    Where no scale is given, it is the one among a few that gives the least sum of squared errors over the tensor or
    channel, the larger one of equals: with E the exponent of the largest |w| = f 2^E, 1/2 <= f < 1, the powers of two
    2^E, 2^(E-1), ... 2^(E-d), or, with ``power_of_two=False``, f 2^E 2^(-i/8) for i = 0, 1, ... 8 d. Here d is as many
    octaves as lie between 1 and the format's largest value, but at most 6 unless it is an integer, since posits are
    finest near 1. All zeros have scale 1.

    Contract: bit-exact; arithmetic is in float64, and the sums have the golden order.

    Parameters
    ----------
    format : str, default "fp4_e2m1"
        Any real scalar format of `tetrit.formats`.
    axis : int or None, default None
        The channel axis that keeps its own scale; None for one scale per tensor.
    scale : float, tuple of float or None, default None
        Positive; the scale in units of `w`, a tuple having one per channel. None finds it anew at every call; `start`
        fixes it for the training.
    power_of_two : bool, default True
        Whether scales that are found are powers of two, which hardware applies without a multiplier.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If `w` has a NaN or an infinity (the message names its index), if `grad_out` has another shape than `w`, or if
        there are not as many scales as channels.

    Notes
    -----
    Source of the gradient: the clipped straight-through estimator of Hubara et al., "Binarized Neural Networks", arXiv
    1602.02830, with the clip at the format's largest value. The choice of the scale is **our own**.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit import estimators
    >>> e = estimators.get("ste_format", format="fp4_e2m1", scale=0.5)
    >>> w = np.array([-4.0, -0.3, 0.1, 0.9, 2.3])
    >>> e(w).values
    array([-3.  , -0.25,  0.  ,  1.  ,  2.  ])
    >>> e.backward(w, np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    array([0., 2., 3., 4., 5.])
    >>> estimators.get("ste_format", format="posit4_1").start(w)[0].scale
    1.0
    """

    name: ClassVar[str] = "ste_format"

    format: str = "fp4_e2m1"
    axis: int | None = None
    scale: float | tuple[float, ...] | None = None
    power_of_two: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", checked_axis(self.axis))
        checks.choice("format", self.format, _FORMATS)
        scale: Any = self.scale
        if isinstance(scale, tuple | list) or (isinstance(scale, np.ndarray) and scale.ndim == 1):
            fixed: Any = tuple(checks.real(f"scale[{i}]", s, minimum=0.0, exclusive=True) for i, s in enumerate(scale))
            object.__setattr__(self, "scale", fixed)
        elif scale is not None:
            object.__setattr__(self, "scale", checks.real("scale", scale, minimum=0.0, exclusive=True))
        if not isinstance(self.power_of_two, bool):
            raise TypeError(f"`power_of_two` must be true or false, got {self.power_of_two!r}")

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are uint8 (up to 8 bits) or uint16, of the same shape."""
        x = latent(w)
        rows = to_rows(x, self.axis)
        scales = self._scales(x, rows)
        largest = self._format.max_value
        with np.errstate(over="ignore"):  # infinities are held like anything beyond the format's ends
            scaled = rows.astype(np.float64) / scales[:, np.newaxis]
        codes = self._format.encode(np.clip(scaled, -largest, largest, out=scaled))
        return Quantized(
            codes=from_rows(codes, x.shape, self.axis),
            scale=scale_array(scales, x.shape, self.axis),
            format=self.format,
        )

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return `grad_out` where the forward pass does not saturate, else 0."""
        x = latent(w)
        gradient(grad_out, x.shape)  # before any work
        rows = to_rows(x, self.axis)
        return self._gradients(x, rows, self._scales(x, rows), grad_out, out)[0]

    def _gradients(
        self,
        x: NDArray[Any],
        rows: NDArray[Any],
        scales: NDArray[np.float64],
        grad_out: ArrayLike,
        out: NDArray[Any] | None,
        _: bool = True,
    ) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        """Return `grad_out` where the magnitude is within the format's largest value, else 0."""
        return band_gradient(x, rows, self.axis, scales * self._format.max_value, grad_out, out), {}

    def start(self, w: ArrayLike) -> tuple[Self, NDArray[Any]]:
        """Return the estimator with the scales that it finds for `w`, and `w`."""
        x = latent(w)
        if self.scale is not None:
            return self, np.array(w)
        scales = self._scales(x, to_rows(x, self.axis))
        fixed = float(scales[0]) if self.axis is None else tuple(scales.tolist())
        return replace(self, scale=fixed), np.array(w)

    @property
    def _format(self) -> formats.RealFormat:
        fmt = formats.get(self.format)
        assert isinstance(fmt, formats.RealFormat)
        return fmt

    def ratios(self) -> tuple[float, ...]:
        """Return the candidates for a scale, largest first, in units of the largest magnitude or its power of two."""
        octaves = max(0, math.ceil(math.log2(self._format.max_value)))
        if not isinstance(self._format, formats.Integer):
            octaves = min(_OCTAVES, octaves)
        steps = 1 if self.power_of_two else _FINE
        return tuple(2.0 ** (-i / steps) for i in range(steps * octaves + 1))

    def _scales(self, x: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return one scale per row; x must be finite."""
        if self.scale is None:
            scales = best_scales(rows, self._format, self.ratios(), power_of_two=self.power_of_two)
            if not np.isfinite(scales).all():
                checks.finite("w", x)
            return scales
        if not np.isfinite(largest_magnitudes(rows)).all():
            checks.finite("w", x)
        if not isinstance(self.scale, float) and len(self.scale) != len(rows):
            raise InvalidValueError(
                f"`scale` must be a number or a tuple of {len(rows)}, one per channel, got {len(self.scale)}"
            )
        return np.full(len(rows), self.scale) if isinstance(self.scale, float) else np.array(self.scale)

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the values of the codes, in float64 or rounded once into `out`, without making the codes."""
        return self.vjp(w, out=out)[0]

    def vjp(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> tuple[NDArray[Any], Pullback]:
        """Do what the base class says; the scale is looked for once."""
        x = latent(w)
        rows, fmt = to_rows(x, self.axis), self._format
        scales = self._scales(x, rows)
        exact = bool((np.frexp(scales)[0] == 0.5).all())
        given = rows, scales, exact, fmt.max_value, *fmt.nearest_tables
        with np.errstate(over="ignore"):  # infinities are held like anything beyond the format's ends
            values = filled(rows, x.shape, self.axis, out, lambda into: run(_kernels.rounded, *given, into))
        return values, partial(self._gradients, x, rows, scales)
