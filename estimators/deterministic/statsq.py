"""StatsQ: a zero-free grid with a scale from the statistics of the weights, and a mask that freezes most of them."""

__all__ = ["StatsQ"]

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import (
    checked_axis,
    copied,
    from_rows,
    gradient,
    gradient_out,
    latent,
    scale_array,
    to_rows,
)
from tetrit.estimators._run import run
from tetrit.estimators._values import in_one_pass
from tetrit.estimators.base import Estimator, Quantized
from tetrit.estimators.deterministic import _kernels
from tetrit.estimators.deterministic._means import mean_magnitudes


@dataclass(frozen=True, kw_only=True)
class StatsQ(Estimator):
    """Statistical weight quantisation: half-integers without a zero, a scale that no gradient moves.

    Forward, with n = 2^(bits-1) and s = 2 mean |w|: q = round-to-nearest-even(n w / s - 1/2) held within [-n, n - 1],
    value s (q + 1/2) / n. These are 2^bits values, symmetric about 0, with none at 0. Backward: grad_w = grad_out
    everywhere, the clipped range included.

    With ``cga`` (confidence-guided annealing, the last epochs of a training) the gradient is 0 for every weight that
    is `frozen`: whose n w / s is farther than ``cga`` from all 2^bits - 1 borders between two values. Only the weights
    that still waver about a border learn. An optimiser with momentum or weight decay moves a weight without a gradient
    too: take the mask of `frozen` before a step and put the frozen weights back after it.

    Codes: those of the odd integer 2 q + 1 in the format ``int<bits + 1>_symmetric``, with scale s / (2 n). Their
    lowest bit is always 1, so `bits` bits hold a weight.

    Contract: bit-exact. The mean is a float64 sum in a fixed order, everything else float64.

    Parameters
    ----------
    bits : int, default 4
        1 to 15.
    cga : float or None, default None
        From 0 to 0.5, half the width of the free band about a border in steps of the grid; the source uses 0.005.
        None freezes nothing.
    axis : int or None, default None
        The channel axis that keeps its own scale (in the source: the output channels); None for one scale per tensor.
        Where the scale would be 0 (all zeros, an empty tensor), it is 1.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If `w` has a NaN or an infinity (the message names its index), if the sum of its magnitudes overflows float64,
        or if `grad_out` has another shape than `w`.

    Notes
    -----
    Source: Liu, Liu, Cheng, "Oscillation-free Quantization for Low-bit Vision Transformers", arXiv 2302.02210,
    ICML 2023, and its released code (github.com/nbasyl/OFQ), which has a scale per output row. There w / s is clipped
    to [-1, 1 - 1e-6] before the rounding; holding q within its range gives the same codes from 2 bits on (with 1 bit,
    the clip at -1 rounds to a third value). The codes as odd integers are **our choice**. On a border the even q wins,
    so ties are not symmetric, as there.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.deterministic import StatsQ
    >>> e = StatsQ(bits=2, cga=0.1)
    >>> w = np.array([-2.0, -0.5, 0.01, 0.49, 2.0])
    >>> e(w).scale
    array(0.5)
    >>> e(w).values
    array([-1.5, -0.5,  0.5,  0.5,  1.5])
    >>> e.backward(w, np.ones(5))
    array([0., 0., 1., 0., 0.])
    """

    name: ClassVar[str] = "statsq"

    bits: int = 4
    cga: float | None = None
    axis: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", checked_axis(self.axis))
        object.__setattr__(self, "bits", checks.integer("bits", self.bits, maximum=15))
        if self.cga is not None:
            object.__setattr__(self, "cga", checks.real("cga", self.cga, minimum=0.0))
            if self.cga > 0.5:
                raise InvalidValueError(f"`cga` must be from 0 to 0.5, got {self.cga:g}")

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are uint8 (up to 7 bits) or uint16, of the same shape."""
        x = latent(w)
        rows = to_rows(x, self.axis)
        scales = self._scales(x, rows)
        codes = np.empty(rows.shape, np.uint8 if self.bits <= 7 else np.uint16)
        run(_kernels.odd_codes, rows, scales, self._half, 2 ** (self.bits + 1) - 1, codes)
        return Quantized(
            codes=from_rows(codes, x.shape, self.axis),
            scale=scale_array(scales, x.shape, self.axis),
            format=f"int{self.bits + 1}_symmetric",
        )

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the values of the codes, in float64 or rounded once into `out`, without making the codes."""
        x = latent(w)
        scales = self._scales(x, to_rows(x, self.axis))
        return in_one_pass(x, self.axis, out, _kernels.odd_values, scales, self._half)

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return `grad_out`, with 0 where a weight is frozen."""
        x = latent(w)
        if self.straight_through:
            return copied(grad_out, x.shape, out)
        g = gradient(grad_out, x.shape)
        frozen = to_rows(self.frozen(x), self.axis)

        def free(rows: NDArray[Any], into: NDArray[Any]) -> None:
            into[...] = np.where(frozen, 0.0, rows)

        return gradient_out(g, self.axis, out, free)

    @property
    def straight_through(self) -> bool:
        """Whether no weight is ever frozen."""
        return self.cga is None

    def frozen(self, w: ArrayLike) -> NDArray[np.bool_]:
        """Return True where ``cga`` freezes a weight, of the shape of `w`; False everywhere without ``cga``."""
        x = latent(w)
        rows = to_rows(x, self.axis)
        frozen = np.zeros(rows.shape, np.bool_)
        scales = self._scales(x, rows)
        if self.cga is not None:
            run(_kernels.frozen_mask, rows, scales, self._half, self.cga, frozen)
        return from_rows(frozen, x.shape, self.axis)

    @property
    def _half(self) -> float:
        """Half the number of values, n."""
        return 2.0 ** (self.bits - 1)

    def _scales(self, x: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
        scales = mean_magnitudes(x, rows) / self._half
        return np.where(scales > 0, scales, 1.0)
