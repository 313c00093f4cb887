"""ASQ: activations quantised with a step that adapts to each sample, and dequantised with a fixed one."""

__all__ = ["ASQ"]

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import checked_axis, from_rows, gradient, gradient_out, latent, to_rows
from tetrit.estimators._run import chunk_count, largest_magnitudes, run, sum_chunks, sums_of_magnitudes
from tetrit.estimators._values import filled
from tetrit.estimators.base import Estimator, Pullback, Quantized
from tetrit.estimators.grids import _kernels
from tetrit.estimators.integers._kernels import clipped_codes, clipped_values
from tetrit.estimators.stochastic._shared import checked_step, integer_ends, row_steps

_FORMATS = tuple(name for name in formats.names() if isinstance(formats.get(name), formats.Integer))
_LEAST = np.finfo(np.float32).tiny.item()
_Prepared: TypeAlias = tuple[NDArray[Any], NDArray[Any], float, NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class ASQ(Estimator):
    """Adaptive step: integers of x / (step beta), but the values that they stand for are multiples of `step`.

    Forward, with the step s, the factor beta of the sample, -Q_N and Q_P the ends of the format, and z = x / (s beta):
    q = round(clip(z, -Q_N, Q_P)), ties to even, value = q s. So beta stretches the input and is *not* undone: the codes
    stay integers of one step that hardware knows beforehand. Gradients of the value, the rounding passed straight
    through:

    - by x: 1 / beta, a double, where -Q_N < z < Q_P, else 0;
    - by s: round(z) - z where -Q_N < z < Q_P, else the end; multiplied with grad_out, summed over all, and multiplied
      with 1 / sqrt(n Q_P);
    - by beta: -z s / beta where -Q_N < z < Q_P, else 0; multiplied with grad_out and summed over the sample.

    Contract: codes, values and `backward` bit-exact; s beta is a product and z a quotient of doubles. The other
    gradients are float64 sums in a fixed order, the same for any number of threads.

    Parameters
    ----------
    format : str, default "uint4"
        ``uint2`` to ``uint16`` for activations after a ReLU, else ``int2`` to ``int16`` or a symmetric variant.
    axis : int or None, default 0
        The axis of the samples, each of which may have its own beta; None for one beta in all.
    step : float or None, default None
        Positive; the step s in units of `x`. None takes the start 2 mean |x| / sqrt(Q_P) anew at every call, 1 where
        that is 0; `start` fixes it for the training.
    beta : float or tuple of float, default 1
        Positive; a tuple has one per sample. `AdaptiveStep` computes it from the samples, and learns from its gradient;
        a number may be learned by itself.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If `x` has a NaN or an infinity (the message names its index), if its sum of magnitudes overflows float64 where
        the step is taken from it, if there are not as many betas as samples, if s beta is no positive double, or if
        `grad_out` has another shape than `x`.

    Notes
    -----
    Source: arXiv 2504.17263 (ASQ and POST), and its released code
    (github.com/SENGEL13/ASQ-POST), as summarised by third parties: quantise with s beta, dequantise with s. Gradients
    in the manner of LSQ (arXiv 1902.08153) are named there, not written out: the formulas above are **our derivation**.
    **Our reconstruction**: ties to even, the start, and n as the number of values of a sample (of all, without axis).

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.grids import ASQ
    >>> e = ASQ(format="uint2", step=0.5, beta=(1.0, 2.0))
    >>> x = np.array([[0.4, 0.9, 9.0], [0.4, 0.9, 9.0]])
    >>> e(x).codes
    array([[1, 2, 3],
           [0, 1, 3]], dtype=uint8)
    >>> e(x).values
    array([[0.5, 1. , 1.5],
           [0. , 0.5, 1.5]])
    >>> e.backward(x, np.ones((2, 3)))
    array([[1. , 1. , 0. ],
           [0.5, 0.5, 0. ]])
    >>> {name: grad.round(3).tolist() for name, grad in e.parameter_gradients(x, np.ones((2, 3))).items()}
    {'step': 2.033, 'beta': [-1.3, -0.325]}
    """

    name: ClassVar[str] = "asq"
    learnable: ClassVar[dict[str, tuple[float, float]]] = {"step": (_LEAST, math.inf), "beta": (_LEAST, math.inf)}

    format: str = "uint4"
    axis: int | None = 0
    step: float | None = None
    beta: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", checked_axis(self.axis))
        checks.choice("format", self.format, _FORMATS)
        if self.step is not None:
            object.__setattr__(self, "step", checks.real("step", self.step, minimum=0.0, exclusive=True))
        beta = checked_step("beta", self.beta)
        if beta is None:
            raise TypeError("`beta` must be a number or a tuple of numbers, got None")
        object.__setattr__(self, "beta", beta)

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`, the activations; codes are uint8 (up to 8 bits) or uint16, the scale is the step."""
        x, rows, step, _, steps = self._prepared(w)
        fmt = formats.get(self.format)
        codes = np.empty(rows.shape, fmt.code_dtype)
        run(clipped_codes, rows, steps, *self._ends(), 2**fmt.bits - 1, codes)
        return Quantized(codes=from_rows(codes, x.shape, self.axis), scale=np.array(step), format=self.format)

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the values of the codes, in one pass."""
        return self.vjp(w, out=out)[0]

    def vjp(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> tuple[NDArray[Any], Pullback]:
        """Return the values and the backward rule, which share the checks and the steps."""
        prepared = self._prepared(w)
        x, rows, step, _, steps = prepared
        given = rows, steps, np.full(len(rows), step), *self._ends()
        values = filled(rows, x.shape, self.axis, out, lambda into: run(clipped_values, *given, into))
        return values, partial(self._gradients, prepared)

    def _gradients(
        self, prepared: _Prepared, grad_out: ArrayLike, out: NDArray[Any] | None, _: bool = True
    ) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        x, rows, step, betas, steps = prepared
        g = gradient(grad_out, x.shape)
        by_step, by_beta = np.empty((2, len(rows), chunk_count(rows.shape[1])))
        given = rows, steps, *self._ends(), 1.0 / betas
        result = gradient_out(
            g, self.axis, out,
            lambda grad, into: run(_kernels.adaptive_backward, *given, grad, into, by_step, by_beta), w=x,
        )  # fmt: skip
        total = sum_chunks(sum_chunks(by_step)[None])[0]
        samples = -(sum_chunks(by_beta) * (step / betas)) + 0.0
        return result, {
            "step": np.array(total * self.gradient_factor(rows.shape[1])),
            "beta": samples if isinstance(self.beta, tuple) else np.array(sum_chunks(samples[None])[0]),
        }

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return ``grad_out * (1 / beta)`` inside of the range, 0 at its ends and outside."""
        return self._gradients(self._prepared(w), grad_out, out)[0]

    def parameter_gradients(self, w: ArrayLike, grad_out: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Return the gradients of the step, of shape (), and of beta, of shape () for a number or (samples,)."""
        return self._gradients(self._prepared(w), grad_out, None)[1]

    def gradient_factor(self, n: int) -> float:
        """Return 1 / sqrt(n Q_P) for samples of `n` values (1 / sqrt(Q_P) for none)."""
        return 1.0 / math.sqrt(max(n, 1) * self._ends()[1])

    def start(self, w: ArrayLike) -> tuple[Self, NDArray[Any]]:
        """Return the estimator with the step 2 mean |x| / sqrt(Q_P), and a copy of `w`."""
        return replace(self, step=self._first_step(latent(w))), np.array(w)

    def _ends(self) -> tuple[float, float]:
        """Return -Q_N and Q_P."""
        return integer_ends(self.format)

    def _first_step(self, x: NDArray[Any]) -> float:
        rows = to_rows(x, None)
        total = float(sums_of_magnitudes(rows)[0])
        if not math.isfinite(total):
            checks.finite("w", x)
            raise InvalidValueError("`w` must have a sum of magnitudes that float64 can hold, got an overflow")
        return 2.0 * (total / max(rows.size, 1)) / math.sqrt(self._ends()[1]) or 1.0

    def _prepared(self, w: ArrayLike) -> _Prepared:
        """Array, rows, step, and beta and their product for every row."""
        x = latent(w)
        rows = to_rows(x, self.axis)
        if self.step is None:
            step = self._first_step(x)
        else:
            step = self.step
            if not np.isfinite(largest_magnitudes(rows)).all():
                checks.finite("w", x)
        betas = row_steps("beta", self.beta, len(rows))
        with np.errstate(over="ignore", under="ignore"):
            steps = step * betas
        bad = ~((steps > 0) & np.isfinite(steps))
        if bad.any():
            raise InvalidValueError(f"`step` times `beta` must be a positive double, got {steps[bad][0]:g}")
        return x, rows, step, betas, steps
