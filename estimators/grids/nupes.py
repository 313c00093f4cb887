"""NUPES: integers of a power of the weights, the exponent trained with them; the authority for its gradient."""

__all__ = ["NUPES"]

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import checked_axis, gradient, gradient_out, latent, scale_array, to_rows
from tetrit.estimators._run import chunk_count, largest_magnitudes, run, sum_chunks, sums_of_magnitudes
from tetrit.estimators.base import Estimator, Quantized
from tetrit.estimators.grids import _kernels
from tetrit.estimators.grids._places import Grid, grid_codes, grid_values, thresholds

_POWERS = tuple(p / 20 for p in range(5, 31))
"""0.25 to 1.5: what `start` tries."""
_LEAST, _MOST = 2.0**-6, 2.0**10
"""Below, borders of 8 bits would come near the least double."""


@lru_cache(maxsize=128)
def _levels(bits: int, power: float) -> tuple[float, ...]:
    """Value by code, the scale left out; the code of -2^(bits-1), which is never used, has 0."""
    top = (1 << (bits - 1)) - 1
    magnitudes = [math.pow(q / top, 1.0 / power) for q in range(top + 1)]
    return (*magnitudes, 0.0, *(-m for m in reversed(magnitudes[1:])))


@lru_cache(maxsize=128)
def _grid(bits: int, power: float) -> Grid:
    """Values, codes and borders: ((q - 1/2) / top)^(1/power) between q - 1 and q, itself with the even one."""
    top = (1 << (bits - 1)) - 1
    integers = np.arange(-top, top + 1)
    codes = (integers % (1 << bits)).astype(np.uint8)
    values = np.array(_levels(bits, power))[codes] + 0.0
    upper = np.arange(1, top + 1)
    borders = np.array([math.pow((q - 0.5) / top, 1.0 / power) for q in range(1, top + 1)])
    positive = np.where(upper & 1, borders, np.nextafter(borders, -np.inf))  # an odd q begins above its border
    negative = np.where(upper & 1, np.nextafter(-borders, -np.inf), -borders)
    return Grid(values=values, borders=np.concatenate((negative[::-1], positive)), codes=codes)


@dataclass(frozen=True, kw_only=True)
class NUPES(Estimator):
    """Integers after a power function, value = sign(q) (|q| s)^(1/a): fine steps near 0 for an exponent a below 1.

    Forward, with M the largest |w|, L = 2^(bits-1) - 1, u = |w| / M: q = sign(w) round(L u^a), so s = M^a / L, and
    value = sign(q) M (|q| / L)^(1/a). Rounding is to nearest in the *power*, ties to even: the border between q - 1 and
    q is u = ((q - 1/2) / L)^(1/a), a double of the C library's power; u is a quotient of doubles.

    Codes are the integers q in two's complement (those of ``int{bits}_symmetric``, which an integer engine may take
    them for), but they stand for unequal steps: the `Quantized` has M as its scale and names the codebook of the values
    sign(q) (|q| / L)^(1/a).

    Gradients, with y = u^a and t = |q| / L:

    - by w: grad_w = grad_out, since without the rounding value = w for every exponent;
    - by the exponent, rounding passed straight through, that is, as the addition of a constant c = |q| - L y:
      value(a) = sign(w) M ((L u^a + c) / L)^(1/a), so d value / d a = value / a^2 (y ln y / t - ln t); 0 where q = 0.

    Contract: codes and values bit-exact for given borders and values; the exponent's gradient within a relative 1e-13
    of the sum of its terms' magnitudes, in a fixed order, the same for any number of threads.

    Parameters
    ----------
    bits : int, default 4
        2 to 8.
    axis : int or None, default None
        The channel axis that keeps its own M; None for one per tensor. The exponent is one per tensor always, so that
        one table decodes it. Where M would be 0 (all zeros, an empty tensor), it is 1.
    power : float, default 0.5
        From 2^-6 to 2^10; the exponent a. One that training takes beyond counts as the nearer end. `start` chooses
        among 0.25, 0.3, ..., 1.5 the one of least squared error, the smaller one of equals.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If `w` has a NaN or an infinity (the message names its index), or if `grad_out` has another shape than `w`.
        `backward` reads the shape of `w` only, never its values.

    Notes
    -----
    Source: Yvinec, Dapogny, Bailly, "NUPES: Non-Uniform Post-Training Quantization via Power Exponent Search", arXiv
    2308.05600: a power function as the quantiser, its exponent optimised by gradient; the form of q and of the value is
    that of PowerQuant by the same authors. Both gradients are **our derivation**, and **our reconstruction** are ties,
    M as a constant, the gradient 0 at q = 0 (there the formula has no finite limit for a > 1), and the start.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.grids import NUPES
    >>> e = NUPES(bits=3, power=0.5)
    >>> w = np.array([-0.9, -0.02, 0.1, 0.4])
    >>> e(w).values.round(3), e(w).codes
    (array([-0.9,  0. ,  0.1,  0.4]), array([5, 0, 1, 2], dtype=uint8))
    >>> e.backward(w, np.ones(4))
    array([1., 1., 1., 1.])
    >>> round(float(e.parameter_gradients(np.array([-0.9, 0.02, 0.15, 0.3]), np.ones(4))["power"]), 4)
    -0.1118
    """

    name: ClassVar[str] = "nupes"
    learnable: ClassVar[dict[str, tuple[float, float]]] = {"power": (_LEAST, _MOST)}

    bits: int = 4
    axis: int | None = None
    power: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", checks.integer("bits", self.bits, minimum=2, maximum=8))
        object.__setattr__(self, "axis", checked_axis(self.axis))
        power = checks.real("power", self.power)
        if not _LEAST <= power <= _MOST:
            raise InvalidValueError(f"`power` must be from 2^-6 to 2^10, got {power:g}")
        object.__setattr__(self, "power", power)

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are uint8 of the same shape."""
        x = latent(w)
        rows, scales = self._scales(x)
        return Quantized(
            codes=grid_codes(_grid(self.bits, self.power), rows, scales, x.shape, self.axis),
            scale=scale_array(scales, x.shape, self.axis),
            format=formats.codebook_name(_levels(self.bits, self.power)),
        )

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the values of the codes, in one pass."""
        x = latent(w)
        rows, scales = self._scales(x)
        return grid_values(_grid(self.bits, self.power), rows, scales, x.shape, self.axis, out)

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return a copy of `grad_out`."""
        g = gradient(grad_out, latent(w).shape)
        return gradient_out(g, None, out, lambda grad, into: np.copyto(into, grad))

    def parameter_gradients(self, w: ArrayLike, grad_out: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Return the gradient of the exponent, of shape ()."""
        x = latent(w)
        g = gradient(grad_out, x.shape)
        rows, scales = self._scales(x)
        grid = _grid(self.bits, self.power)
        middle = grid.values.size // 2
        shares = np.abs(np.arange(grid.values.size) - middle) / middle
        shares[middle] = 1.0  # not used
        squared = self.power * self.power
        bent = grid.values / squared / shares
        straight = grid.values / squared * -np.log(shares)
        parts = np.empty((rows.shape[0], chunk_count(rows.shape[1])))
        limits = thresholds(grid.borders, scales, rows.dtype)
        grad = to_rows(g.astype(np.float64) if g.dtype == np.float16 else g, self.axis)
        run(_kernels.power_sums, rows, limits, scales, self.power, bent, straight, middle, grad, parts)
        return {"power": np.array(sum_chunks(sum_chunks(parts)[None])[0])}

    @property
    def straight_through(self) -> bool:
        """Whether `backward` returns `grad_out` as it is, which it always does."""
        return True

    def start(self, w: ArrayLike) -> tuple[Self, NDArray[Any]]:
        """Return the estimator with the exponent of least squared error, and a copy of `w`."""
        x = latent(w)
        tried = [replace(self, power=power) for power in _POWERS]
        errors = [e._squared_error(x) for e in tried]
        return tried[int(np.argmin(errors))], np.array(w)

    def _squared_error(self, x: NDArray[Any]) -> float:
        """Sum of (value - w)^2, in units of the largest |w|."""
        largest = float(largest_magnitudes(to_rows(x, None))[0])
        error = self.forward(x)
        error -= x
        error /= largest or 1.0
        return float(sums_of_magnitudes(to_rows(np.square(error), None))[0])

    def _scales(self, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Rows and M of every row."""
        rows = to_rows(x, self.axis)
        largest = largest_magnitudes(rows)
        if not np.isfinite(largest).all():
            checks.finite("w", x)
        largest[largest == 0] = 1.0
        return rows, largest
