"""Learned step size quantisation: the authority for the gradient of the step, its factor and its start."""

__all__ = ["LSQ"]

import math
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import (
    checked_axis,
    from_rows,
    gradient,
    gradient_out,
    latent,
    plain_rows,
    scale_array,
    to_rows,
)
from tetrit.estimators._run import (
    by_rows,
    chunk_count,
    largest_magnitudes,
    magnitude_words,
    parted,
    run,
    run_rows,
    sum_chunks,
    sums_of_magnitudes,
)
from tetrit.estimators._values import filled, in_one_pass
from tetrit.estimators.base import Estimator, Pullback, Quantized
from tetrit.estimators.integers._kernels import (
    clipped_codes,
    clipped_values,
    slope_sums,
    stepped_backward,
    stepped_rows,
)
from tetrit.estimators.stochastic import _kernels
from tetrit.estimators.stochastic._shared import checked_step, integer_ends, row_steps

_FORMATS = tuple(name for name in formats.names() if isinstance(formats.get(name), formats.Integer))
_GREATEST = {"f": np.finfo(np.float32).max.view(np.int32), "d": np.finfo(np.float64).max.view(np.int64)}
"""By character of the dtype, the bits of its greatest number."""


@dataclass(frozen=True, kw_only=True)
class LSQ(Estimator):
    """Learned step size: uniform integers whose scale is trained with the weights.

    Forward, with the step s, Q_N and Q_P the magnitudes of the format's ends, z = w / s:
    q = round(clip(z, -Q_N, Q_P)), ties to even, value q s. Gradients of the value:

    - by w: 1 where -Q_N < z < Q_P, else 0 (`backward`);
    - by s: round(z) - z where -Q_N < z < Q_P, -Q_N where z <= -Q_N, Q_P where z >= Q_P (`step_gradient`, where
      they are multiplied with grad_out, summed, and multiplied with the factor 1 / sqrt(n Q_P)).

    Contract: codes and `backward` are bit-exact; `step_gradient` is a float64 sum in a fixed order, the same for any
    number of threads.

    Parameters
    ----------
    format : str, default "int4"
        ``int2`` to ``int16``, their symmetric variants, or ``uint2`` to ``uint16`` for activations after a ReLU.
    axis : int or None, default None
        The channel axis that keeps its own step; None for one step per tensor.
    step : float, tuple of float or None, default None
        Positive; the step s in units of `w`, a tuple having one per channel. None takes the start 2 mean |w| /
        sqrt(Q_P) of the tensor or channel anew at every call, 1 where that is 0; `start` fixes it for the training.
    batched : bool, default False
        Whether the first axis is a batch, whose length does not count in n: for activations, so that the gradient of
        the step depends neither on the size of the batch nor on how workers share it.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If `w` has a NaN or an infinity (the message names its index), if the sum of its magnitudes overflows float64,
        if `grad_out` has another shape than `w`, or if there are not as many steps as channels.

    Notes
    -----
    Source: Esser, McKinstry, Bablani, Appuswamy, Modha, "Learned Step Size Quantization", ICLR 2020, arXiv 1902.08153:
    all of the formulas. **Our reconstruction**: ties to even, and n as the number of weights that share a step where
    there is one step per channel.

    Examples
    --------
    >>> import numpy as np
    >>> from dataclasses import replace
    >>> from tetrit.estimators.stochastic import LSQ
    >>> e = LSQ(format="int3", step=0.5)
    >>> w = np.array([-3.0, -0.4, 0.1, 0.75, 2.0])
    >>> e(w).values
    array([-2. , -0.5,  0. ,  1. ,  1.5])
    >>> e.backward(w, np.ones(5))
    array([0., 1., 1., 1., 0.])
    >>> e.step_gradient(w, np.ones(5))
    array(-0.232379)
    >>> replace(e, step=float(e.step - 0.1 * e.step_gradient(w, np.ones(5)))).step
    0.5232379000772445
    """

    name: ClassVar[str] = "lsq"
    learnable: ClassVar[dict[str, tuple[float, float]]] = {"step": (np.finfo(np.float32).tiny.item(), math.inf)}
    takes_arrays: ClassVar[bool] = True

    format: str = "int4"
    axis: int | None = None
    step: float | tuple[float, ...] | None = None
    batched: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", checked_axis(self.axis))
        checks.choice("format", self.format, _FORMATS)
        object.__setattr__(self, "step", checked_step("step", self.step))
        if not isinstance(self.batched, bool):
            raise TypeError(f"`batched` must be true or false, got {self.batched!r}")

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are uint8 (up to 8 bits) or uint16, of the same shape."""
        x = latent(w)
        rows, steps = self._steps(x)
        fmt = formats.get(self.format)
        low, high = self._ends()
        codes = np.empty(rows.shape, fmt.code_dtype)
        run(clipped_codes, rows, steps, low, high, 2**fmt.bits - 1, codes)
        return Quantized(
            codes=from_rows(codes, x.shape, self.axis),
            scale=scale_array(steps, x.shape, self.axis),
            format=self.format,
        )

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the values of the codes, in float64 or rounded once into `out`, without making the codes."""
        return self.vjp(w, out=out)[0]

    def vjp(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> tuple[NDArray[Any], Pullback]:
        """Return the values, and the backward rule that gives both gradients in one pass."""
        x = latent(w)
        rows = to_rows(x, self.axis)
        if self.step is None or not by_rows(rows):
            _, steps = self._steps(x)
            values = in_one_pass(x, self.axis, out, clipped_values, steps, steps, *self._ends())
            return values, partial(self._gradients, x, rows, steps)
        steps = row_steps("step", self.step, len(rows))
        values = filled(rows, x.shape, self.axis, out, lambda into: self._fill(x, rows, steps, into))
        return values, partial(self._gradients, x, rows, steps)

    def plain_vjp(self, x: NDArray[Any], out: NDArray[Any]) -> Pullback | None:
        """Do what `vjp` does, without its checks."""
        rows = plain_rows(x, self.axis)
        if self.step is None or rows is None or not by_rows(rows):
            return super().plain_vjp(x, out)
        steps = row_steps("step", self.step, len(rows))
        self._fill(x, rows, steps, out.reshape(rows.shape))
        return partial(self._plain_gradients, x, rows, steps)

    def _fill(self, x: NDArray[Any], rows: NDArray[Any], steps: NDArray[np.float64], into: NDArray[Any]) -> None:
        """Write the values of rows that `by_rows` takes."""
        parts = parted(rows)
        if len(parts) > len(rows):
            steps, into = np.full(len(parts), steps[0]), into.reshape(parts.shape)
        bits, mask = magnitude_words(parts)
        if not run_rows(stepped_rows, parts, bits, mask, _GREATEST[rows.dtype.char], steps, *self._ends(), into):
            checks.finite("w", x)

    def _gradients(
        self,
        x: NDArray[Any],
        rows: NDArray[Any],
        steps: NDArray[np.float64],
        grad_out: ArrayLike,
        out: NDArray[Any] | None,
        wanted: bool,
    ) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        g = gradient(grad_out, x.shape)
        parts = np.empty((len(rows), chunk_count(rows.shape[1])))
        ends = self._ends()
        if wanted:
            result = gradient_out(
                g, self.axis, out,
                lambda grad, into: run(stepped_backward, rows, steps, *ends, grad, into, parts), w=x,
            )  # fmt: skip
        else:
            result, grad = g, to_rows(g.astype(np.float64) if g.dtype == np.float16 else g, self.axis)
            run(slope_sums, rows, steps, *ends, grad, parts)
        found = sum_chunks(parts) * self.gradient_factor(x.shape)
        return result, {"step": found.reshape(()) if self.axis is None else found}

    def _plain_gradients(
        self,
        x: NDArray[Any],
        rows: NDArray[Any],
        steps: NDArray[np.float64],
        grad_out: ArrayLike,
        out: NDArray[Any] | None,
        wanted: bool,
    ) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        """Do what `_gradients` does, without its checks where there is nothing to check."""
        if not isinstance(grad_out, np.ndarray) or out is not None:
            return self._gradients(x, rows, steps, grad_out, out, wanted)
        g: NDArray[Any] = grad_out
        if g.dtype != x.dtype or g.shape != x.shape or not g.flags.c_contiguous:
            return self._gradients(x, rows, steps, g, None, wanted)
        low, high = self._ends()
        parts = np.empty((len(rows), chunk_count(rows.shape[1])))
        result = g
        if wanted:
            result = np.empty(g.shape, g.dtype)
            run(stepped_backward, rows, steps, low, high, g.reshape(rows.shape), result.reshape(rows.shape), parts)
        else:
            run(slope_sums, rows, steps, low, high, g.reshape(rows.shape), parts)
        found = sum_chunks(parts) * _factor(x.shape, self.axis, self.batched, high)
        return result, {"step": found.reshape(()) if self.axis is None else found}

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return `grad_out` inside of the range, 0 at its ends and outside."""
        x = latent(w)
        g = gradient(grad_out, x.shape)
        rows, steps = self._steps(x)
        low, high = self._ends()
        return gradient_out(
            g, self.axis, out, lambda grad, into: run(_kernels.inner_backward, rows, steps, low, high, grad, into), w=x
        )

    def step_gradient(self, w: ArrayLike, grad_out: ArrayLike) -> NDArray[np.float64]:
        """Return the gradient of the step, factor 1 / sqrt(n Q_P) included, float64 of the shape of the scale."""
        x = latent(w)
        g = gradient(grad_out, x.shape)
        rows, steps = self._steps(x)
        low, high = self._ends()
        parts = np.empty((len(rows), chunk_count(rows.shape[1])))
        grad = to_rows(g.astype(np.float64) if g.dtype == np.float16 else g, self.axis)
        run(slope_sums, rows, steps, low, high, grad, parts)
        return scale_array(sum_chunks(parts) * self.gradient_factor(x.shape), x.shape, self.axis)

    def parameter_gradients(self, w: ArrayLike, grad_out: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Return `step_gradient`, of shape () or (channels,)."""
        grad = self.step_gradient(w, grad_out)
        return {"step": grad.reshape(-1) if self.axis is not None else grad}

    def gradient_factor(self, shape: tuple[int, ...]) -> float:
        """Return 1 / sqrt(n Q_P), n the number of elements that share a step in a tensor of that shape (at least 1)."""
        return _factor(shape, self.axis, self.batched, self._ends()[1])

    def start(self, w: ArrayLike) -> tuple[Self, NDArray[Any]]:
        """Return the estimator with the step 2 mean |w| / sqrt(Q_P), and a copy of `w`."""
        _, steps = replace(self, step=None)._steps(latent(w))
        step = float(steps[0]) if self.axis is None else tuple(steps.tolist())
        return replace(self, step=step), np.array(w)

    def _ends(self) -> tuple[float, float]:
        """Return -Q_N and Q_P."""
        return integer_ends(self.format)

    def _steps(self, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Rows and step of every row."""
        rows = to_rows(x, self.axis)
        if self.step is not None:
            if not np.isfinite(largest_magnitudes(rows)).all():
                checks.finite("w", x)
            return rows, row_steps("step", self.step, len(rows))
        totals = sums_of_magnitudes(rows)
        if not np.isfinite(totals).all():
            checks.finite("w", x)
            raise InvalidValueError("`w` must have a sum of magnitudes that float64 can hold, got an overflow")
        with np.errstate(over="ignore"):
            steps = (totals / max(rows.shape[1], 1)) / math.sqrt(self._ends()[1]) * 2.0
        steps[steps == 0] = 1.0
        return rows, np.minimum(steps, np.finfo(np.float64).max)


@lru_cache(maxsize=1024)
def _factor(shape: tuple[int, ...], axis: int | None, batched: bool, high: float) -> float:
    apart = set() if axis is None else {axis % len(shape)}
    if batched:
        apart.add(0)
    n = math.prod(length for i, length in enumerate(shape) if i not in apart)
    return 1.0 / math.sqrt(max(n, 1) * high)
