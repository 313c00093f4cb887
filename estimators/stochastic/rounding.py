"""Stochastic rounding: the authority for unbiased rounding of an array to any real format."""

__all__ = ["StochasticRounding"]

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks, formats
from tetrit.estimators._rows import (
    checked_axis,
    copied,
    from_rows,
    latent,
    scale_array,
    to_rows,
)
from tetrit.estimators._run import run
from tetrit.estimators._values import in_one_pass
from tetrit.estimators.base import Estimator, Quantized
from tetrit.estimators.stochastic import _kernels
from tetrit.estimators.stochastic._shared import REAL_FORMATS, absmax_scales, drawn_key, layout, neighbours


@dataclass(frozen=True, kw_only=True)
class StochasticRounding(Estimator):
    """Unbiased rounding to a neighbour in the format, with the straight-through gradient.

    Forward, with scale = limit / (the format's largest value) and v = w / scale: between the neighbouring finite values
    a < v < b of the format, v becomes b with probability p = (v - a) / (b - a), else a, so that the expectation of the
    rounded value is v. A v that the format has stays. A v outside of the format's finite range saturates to its end,
    which is the only place with a bias (with ``limit=None`` it happens for the negatives of unsigned formats alone).
    Where a format has two zeros, the zero has the sign of w. Backward: grad_w = grad_out, everywhere.

    Contract: a function of the array and of one 64-bit key, bit by bit; a call takes the key,
    ``rng.integers(2**64, dtype=uint64)``, and nothing else from `rng`. Element i in C order of `w`'s own shape has the
    draw u = k 2^-53, k the top 53 bits of word i of the generator SplitMix64 in the state of the key, and rounds up if
    u < p, p in float64: the probability that is realised differs from (v - a) / (b - a) by at most 2^-51. The number
    of threads, `axis`, the memory order and the device do not change the draws.

    Parameters
    ----------
    format : str, default "int4"
        Any real scalar format of `tetrit.formats`, from ``szt`` to ``bf16`` and ``posit16_1``.
    axis : int or None, default None
        The channel axis that keeps its own scale; None for one scale per tensor.
    limit : float or None, default None
        The magnitude that the format's largest value stands for, in units of `w`; None takes the largest |w| of the
        tensor or channel. Where the scale would be 0 (all zeros, an empty tensor), it is 1.
    seed : int, default 0
        Where a call without `rng` takes its draws from: a new generator for every call, hence the same draws for the
        same shape. Training must hand its own `rng` over, or its noise is the same in every step.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64, or `rng` no Generator.
    InvalidValueError
        If `w` has a NaN or an infinity (the message names its index), or if `grad_out` has another shape than `w`.

    Notes
    -----
    Source: Gupta, Agrawal, Gopalakrishnan, Narayanan, "Deep Learning with Limited Numerical Precision",
    arXiv 1502.02551, for fixed point. Taking any format's neighbours for the fixed-point grid, the absmax scale and
    the sign of zero are **our reconstruction**.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.stochastic import StochasticRounding
    >>> e = StochasticRounding(format="int4", limit=7.0)
    >>> w = np.array([-9.0, -1.5, 0.25, 3.0])
    >>> rng = np.random.default_rng(1)
    >>> e(w, rng=rng).values
    array([-8., -1.,  0.,  3.])
    >>> float(np.mean([e.forward(w[1:], rng=rng)[0] for _ in range(1000)]).round(2))
    -1.5
    >>> e.backward(w, np.array([1.0, 2.0, 3.0, 4.0]))
    array([1., 2., 3., 4.])
    """

    name: ClassVar[str] = "stochastic_rounding"
    draws: ClassVar[bool] = True

    format: str = "int4"
    axis: int | None = None
    limit: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", checked_axis(self.axis))
        checks.choice("format", self.format, REAL_FORMATS)
        if self.limit is not None:
            object.__setattr__(self, "limit", checks.real("limit", self.limit, minimum=0.0, exclusive=True))
        object.__setattr__(self, "seed", checks.integer("seed", self.seed, minimum=0))

    def __call__(self, w: ArrayLike, *, rng: np.random.Generator | None = None) -> Quantized:
        """Round `w`; codes are uint8 (up to 8 bits) or uint16, of the same shape. One draw per element."""
        x = latent(w)
        rows = to_rows(x, self.axis)
        fmt = formats.get(self.format)
        scales = absmax_scales(x, rows, self.limit, fmt.max_value)
        key = drawn_key(rng, self.seed)
        values, table = neighbours(self.format)
        codes = np.empty(rows.shape, fmt.code_dtype)
        run(_kernels.random_codes, rows, scales, values, table, key, *layout(x.shape, self.axis), codes)
        return Quantized(
            codes=from_rows(codes, x.shape, self.axis),
            scale=scale_array(scales, x.shape, self.axis),
            format=self.format,
        )

    def forward(
        self, w: ArrayLike, *, rng: np.random.Generator | None = None, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Return the rounded values in float64, those of ``e(w, rng=rng)``."""
        x = latent(w)
        scales = absmax_scales(x, to_rows(x, self.axis), self.limit, formats.get(self.format).max_value)
        values, _ = neighbours(self.format)
        key, places = drawn_key(rng, self.seed), layout(x.shape, self.axis)
        return in_one_pass(x, self.axis, out, _kernels.random_values, scales, values, key, *places)

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return a copy of `grad_out`."""
        return copied(grad_out, latent(w).shape, out)

    @property
    def straight_through(self) -> bool:
        """True."""
        return True
