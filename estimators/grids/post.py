"""POST: weights on signed powers of the square root of two, the scale from a quantile of the magnitudes."""

__all__ = ["POST"]

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._band import band_gradient
from tetrit.estimators._rows import checked_axis, gradient, gradient_out, latent, scale_array, to_rows
from tetrit.estimators.base import Estimator, Quantized
from tetrit.estimators.grids._places import Grid, grid_codes, grid_values, nearest_grid
from tetrit.estimators.grids._quantile import quantiles_and_largest

_FORMATS = ("post4", "pot3z", "pot4z")


@dataclass(frozen=True, kw_only=True)
class POST(Estimator):
    """Powers of sqrt(2) with a sign and a zero: w / scale goes to the nearest value of the format ``post4``.

    Forward: alpha is a quantile of |w|, scale = alpha / (the format's largest value, 1 for ``post4``), code = nearest
    value to w / scale, *in value*, not in the logarithm; a tie goes to the even code, and what lies beyond +-alpha
    saturates. Value = scale times a value of {0, +-2^(-3), +-2^(-2.5), +-2^(-2), ..., +-2^(-0.5), +-1}.

    The quantile is one of the magnitudes, never an interpolation: the one of rank k = max(1, ceil(quantile * n)) in
    ascending order of the n magnitudes that share a scale, the product being one of doubles. Where it is 0 (most
    weights are), alpha is the largest |w|; where that is 0 too, scale is 1.

    Backward: grad_w = grad_out everywhere; with `clipped`, 0 where |w| > alpha.

    Contract: bit-exact; w / scale is a quotient of doubles, and the code is that of ``formats.get("post4")`` for it.

    Parameters
    ----------
    format : str, default "post4"
        ``post4``, or ``pot3z`` or ``pot4z`` for powers of two.
    axis : int or None, default None
        The channel axis that keeps its own scale; None for one scale per tensor.
    quantile : float, default 0.99
        Above 0, at most 1 (then alpha is the largest magnitude).
    clipped : bool, default False
        Whether the gradient stops where the forward pass saturates.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If `w` has a NaN or an infinity (the message names its index), or if `grad_out` has another shape than `w`.
        Without `clipped`, `backward` reads the shape of `w` only, never its values.

    Notes
    -----
    Source: arXiv 2504.17263 (ASQ and POST): base sqrt(2); and its released code
    (github.com/SENGEL13/ASQ-POST): alpha as the 0.99 quantile of |w| per channel, the nearest level, the
    straight-through gradient. The released code has base 2 (its square root is commented out) and 17 values for 4 bits;
    the base of the paper with 15 values, so that a code fits 4 bits, is **our reconstruction**, and so are the order
    statistic, ties, what happens where the quantile is 0, and `clipped`.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.grids import POST
    >>> e = POST(quantile=0.8, clipped=True)
    >>> w = np.array([-2.0, -1.4, 0.05, 0.6, 9.0])
    >>> e(w).values.round(3)
    array([-2.   , -1.414,  0.   ,  0.5  ,  2.   ])
    >>> e(w).codes, float(e(w).scale)
    (array([15, 14,  0,  3,  7], dtype=uint8), 2.0)
    >>> e.backward(w, np.ones(5))
    array([1., 1., 1., 1., 0.])
    """

    name: ClassVar[str] = "post"

    format: str = "post4"
    axis: int | None = None
    quantile: float = 0.99
    clipped: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", checked_axis(self.axis))
        checks.choice("format", self.format, _FORMATS)
        quantile = checks.real("quantile", self.quantile, minimum=0.0, exclusive=True)
        if quantile > 1:
            raise InvalidValueError(f"`quantile` must be at most 1, got {quantile:g}")
        object.__setattr__(self, "quantile", quantile)
        if not isinstance(self.clipped, bool):
            raise TypeError(f"`clipped` must be True or False, got {self.clipped!r}")

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are uint8 of the same shape."""
        x = latent(w)
        rows, alphas = self._alphas(x)
        grid, scales = self._grid(alphas)
        return Quantized(
            codes=grid_codes(grid, rows, scales, x.shape, self.axis),
            scale=scale_array(scales, x.shape, self.axis),
            format=self.format,
        )

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the values of the codes, in one pass."""
        x = latent(w)
        rows, alphas = self._alphas(x)
        grid, scales = self._grid(alphas)
        return grid_values(grid, rows, scales, x.shape, self.axis, out)

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return a copy of `grad_out`; with `clipped`, 0 where the forward pass saturates."""
        x = latent(w)
        g = gradient(grad_out, x.shape)
        if self.straight_through:
            return gradient_out(g, None, out, lambda grad, into: np.copyto(into, grad))
        rows, alphas = self._alphas(x)
        return band_gradient(x, rows, self.axis, alphas, g, out)

    @property
    def straight_through(self) -> bool:
        """Whether `backward` returns `grad_out` as it is: not with `clipped`."""
        return not self.clipped

    def _grid(self, alphas: NDArray[np.float64]) -> tuple[Grid, NDArray[np.float64]]:
        """Grid of the format, and scale of every row."""
        fmt = formats.get(self.format)
        levels = fmt.values.copy()
        levels[levels.size // 2] = np.nan  # "minus zero" is never encoded
        scales = alphas / fmt.max_value
        scales[scales == 0] = 1.0
        return nearest_grid(tuple(levels.tolist())), scales

    def _alphas(self, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Rows and alpha of every row; 0 where all is 0."""
        rows = to_rows(x, self.axis)
        alphas, largest = quantiles_and_largest(rows, self.quantile)
        if not np.isfinite(largest).all():
            checks.finite("w", x)
        return rows, np.where(alphas == 0, largest, alphas)
