"""LOTION: the authority for the loss smoothed by unbiased randomised rounding, its penalty and its gradient."""

__all__ = ["LOTION"]

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import (
    channel_axis,
    checked_axis,
    from_rows,
    gradient,
    gradient_out,
    latent,
    scale_array,
    to_rows,
)
from tetrit.estimators._run import chunk_count, run
from tetrit.estimators._values import in_one_pass
from tetrit.estimators.base import Estimator, Quantized
from tetrit.estimators.stochastic import _kernels
from tetrit.estimators.stochastic._shared import REAL_FORMATS, absmax_scales, neighbours, sums
from tetrit.estimators.stochastic.rounding import StochasticRounding

_FORMS = ("penalty", "sampled")


@dataclass(frozen=True, kw_only=True)
class LOTION(Estimator):
    """Train on the expectation of the quantised loss under unbiased randomised rounding, L_s(w) = E[L(RR(w))].

    With s the scale, v = w / s between its neighbours a <= v < b in the format, the rounded weight has the mean w and
    the variance s^2 (v - a)(b - v); for integers, b - a = 1 and D = v - a, it is s^2 D (1 - D). To second order in the
    rounding error, and exactly for a quadratic loss,

    L_s(w) = L(w) + penalty, penalty = 1/2 sum_i h_ii s^2 D_i (1 - D_i), d penalty / d w_i = 1/2 h_ii s (1 - 2 D_i),

    with h the diagonal of the Hessian (Gauss-Newton or empirical Fisher) and s held fixed. The gradient on a value of
    the grid is that to the right (D = 0); where v is at the top value or outside of the format, penalty and its
    gradient are 0.

    form="penalty": `forward` is `w` itself, so that the network computes L(w), and ``e(w)`` are the deployed codes,
    v rounded by the format's own rule. form="sampled": `forward` and ``e(w)`` are one randomised rounding, drawn as
    `StochasticRounding` draws, whose expected loss is L_s. Both forms: grad_w = grad_out + weight * d penalty / d w;
    for a quadratic loss and weight 1 its expectation is the gradient of L_s in both.

    Contract: bit-exact; gradients are computed in float64 and rounded once.

    Parameters
    ----------
    format : str, default "int4"
        Any real scalar format of `tetrit.formats`.
    axis : int or None, default None
        The channel axis that keeps its own scale; None for one scale per tensor.
    limit : float or None, default None
        The magnitude that the format's largest value stands for; None takes the largest |w| of the tensor or channel.
    form : {"penalty", "sampled"}, default "penalty"
        What the forward pass computes with.
    weight : float, default 1
        Non-negative factor of the penalty (the paper's lambda); 1 is the expectation.
    seed : int, default 0
        For the sampled form without `rng`; see `StochasticRounding`.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64, or `rng` no Generator.
    InvalidValueError
        If `w` or a curvature has a NaN or an infinity (the message names its index), or if `grad_out` or a curvature
        has another shape than `w`.

    Notes
    -----
    Source: "LOTION", arXiv 2510.08757: the smoothed loss, its variance and its second-order form. **Our
    reconstruction**: the absmax scale, the neighbours of formats other than integers, the side at the grid, adding the
    penalty's gradient to that of one sample, and, where `backward` is given no curvature, the square of `grad_out` as
    the empirical Fisher diagonal (for a mean over a batch this is below the per-example Fisher; a running mean handed
    over as `curvature` is the better choice).

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.stochastic import LOTION
    >>> e = LOTION(format="int4", limit=7.0)
    >>> w = np.array([-1.25, 0.5, 2.0])
    >>> h = np.array([4.0, 4.0, 4.0])
    >>> e(w).values, e.forward(w)
    (array([-1.,  0.,  2.]), array([-1.25,  0.5 ,  2.  ]))
    >>> e.penalty(w, h)
    0.875
    >>> e.backward(w, np.zeros(3), curvature=h)
    array([-1.,  0.,  2.])
    """

    name: ClassVar[str] = "lotion"
    draws: ClassVar[bool] = True

    format: str = "int4"
    axis: int | None = None
    limit: float | None = None
    form: str = "penalty"
    weight: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", checked_axis(self.axis))
        checks.choice("format", self.format, REAL_FORMATS)
        checks.choice("form", self.form, _FORMS)
        if self.limit is not None:
            object.__setattr__(self, "limit", checks.real("limit", self.limit, minimum=0.0, exclusive=True))
        object.__setattr__(self, "weight", checks.real("weight", self.weight, minimum=0.0))
        object.__setattr__(self, "seed", checks.integer("seed", self.seed, minimum=0))

    def __call__(self, w: ArrayLike, *, rng: np.random.Generator | None = None) -> Quantized:
        """Quantise `w` as `form` says; codes are uint8 (up to 8 bits) or uint16, of the same shape."""
        if self.form == "sampled":
            return self._rounding(w, rng=rng)
        x, rows, scales = self._scaled(w)
        fmt = formats.get(self.format)
        values, _ = neighbours(self.format)
        units = np.clip(rows.astype(np.float64) / scales[:, None], values[0], values[-1])
        return Quantized(
            codes=from_rows(fmt.encode(units), x.shape, self.axis),
            scale=scale_array(scales, x.shape, self.axis),
            format=self.format,
        )

    def forward(
        self, w: ArrayLike, *, rng: np.random.Generator | None = None, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Return `w` in float64 (penalty form), or the values of one randomised rounding (sampled form)."""
        if self.form == "sampled":
            return self._rounding.forward(w, rng=rng, out=out)
        x = latent(w)
        channel_axis(self.axis, x.ndim)  # raises its error
        finite = np.empty(chunk_count(x.size), np.bool_)
        values = in_one_pass(x, None, out, _kernels.copied, finite)
        if not finite.all():
            checks.finite("w", x)
        return values

    def variance(self, w: ArrayLike) -> NDArray[np.float64]:
        """Return the variance of the rounding of every weight, s^2 (v - a)(b - v), float64 of the shape of `w`."""
        x, rows, scales = self._scaled(w)
        values, _ = neighbours(self.format)
        variance = np.empty(rows.shape)
        run(_kernels.rounding_variance, rows, scales, values, variance)
        return from_rows(variance, x.shape, self.axis)

    def penalty(self, w: ArrayLike, curvature: ArrayLike) -> float:
        """Return weight/2 * sum_i h_ii Var_i for the Hessian diagonal `curvature` (the shape of `w`), summed in order.

        The order is that of `w`'s elements in C order, in the lanes and chunks of `tetrit.estimators._kernels`.
        """
        variance = self.variance(w)
        terms = _curvature(curvature, variance.shape) * variance
        return 0.5 * self.weight * float(sums(terms.reshape(1, -1))[0])

    def backward(
        self,
        w: ArrayLike,
        grad_out: ArrayLike,
        *,
        out: NDArray[Any] | None = None,
        curvature: ArrayLike | None = None,
    ) -> NDArray[Any]:
        """Return ``grad_out + weight/2 h s (1 - 2 D)``; `curvature` is h, by default the square of `grad_out`."""
        x, rows, scales = self._scaled(w)
        g = gradient(grad_out, x.shape)
        values, _ = neighbours(self.format)
        given = None if curvature is None else _curvature(curvature, x.shape)
        h = np.empty((1, 1)) if given is None else to_rows(given, self.axis)
        return gradient_out(
            g,
            self.axis,
            out,
            lambda grad, into: run(
                _kernels.smoothed_backward, rows, scales, values, h, given is None, self.weight, grad, into
            ),
            w=x,
            apart={} if given is None else {"curvature": given},
        )

    def _scaled(self, w: ArrayLike) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
        """Array, rows and scale of every row."""
        x = latent(w)
        rows = to_rows(x, self.axis)
        return x, rows, absmax_scales(x, rows, self.limit, formats.get(self.format).max_value)

    @property
    def _rounding(self) -> StochasticRounding:
        return StochasticRounding(format=self.format, axis=self.axis, limit=self.limit, seed=self.seed)


def _curvature(curvature: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    h = np.ascontiguousarray(curvature, np.float64).reshape(np.shape(curvature))
    if h.shape != shape:
        raise InvalidValueError(f"`curvature` must have shape {shape}, got {h.shape}")
    checks.finite("curvature", h)
    return h
