"""Double rounding: the authority for narrower codes that are taken from one stored 8-bit tensor."""

__all__ = ["STORED_BITS", "DoubleRounding", "narrow"]

from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks, formats
from tetrit.estimators._rows import checked_axis, from_rows, gradient, gradient_out, latent, scale_array, to_rows
from tetrit.estimators._run import run
from tetrit.estimators._values import in_one_pass
from tetrit.estimators.base import Estimator, Quantized
from tetrit.estimators.integers._kernels import clipped_codes
from tetrit.estimators.stochastic import _kernels
from tetrit.estimators.stochastic._shared import absmax_scales, checked_step, row_steps

STORED_BITS = 8
"""Width of the tensor that is stored."""


@cache
def _narrow_table(bits: int) -> NDArray[np.uint8]:
    """Code of ``int{bits}`` for every code of int8."""
    half = 2 ** (bits - 1)
    integers = formats.get(f"int{STORED_BITS}").values
    narrowed = np.clip(np.rint(integers / 2.0 ** (STORED_BITS - bits)), -half, half - 1)
    table: NDArray[np.uint8] = (narrowed.astype(np.int64) & (2 * half - 1)).astype(np.uint8)
    return table


def narrow(codes: ArrayLike, bits: int) -> NDArray[np.uint8]:
    """Round stored int8 codes to ``int{bits}`` codes: clip(round(q / 2^D), -2^(bits-1), 2^(bits-1) - 1), D = 8 - bits.

    Ties go to the even integer. Always taken from the stored codes: going through a width between rounds once more, and
    by 8, 6, 4 bits and by 8, 6, 4, 2 bits 30 of the 256 codes end one step away from where the formula puts them.

    Parameters
    ----------
    codes : array_like of unsigned int
        int8 codes (two's complement, 0 to 255) of any shape.
    bits : int
        2 to 8.

    Returns
    -------
    ndarray of uint8
        Codes of the format ``int{bits}``, of the same shape.

    Raises
    ------
    TypeError
        If the codes are no integers.
    InvalidValueError
        If a code is not from 0 to 255, or `bits` not from 2 to 8.

    Examples
    --------
    >>> from tetrit.estimators.stochastic import narrow
    >>> narrow([0, 9, 100, 127, 128, 255], 4)
    array([0, 1, 6, 7, 8, 0], dtype=uint8)
    """
    bits = checks.integer("bits", bits, minimum=2, maximum=STORED_BITS)
    stored = formats.get(f"int{STORED_BITS}").decode(codes).astype(np.int64) & 255
    return np.asarray(_narrow_table(bits)[stored])


@dataclass(frozen=True, kw_only=True)
class DoubleRounding(Estimator):
    """Networks of several widths from one stored 8-bit tensor: rounded to 8 bits, then from there to fewer.

    Forward, with the stored step s and D = 8 - bits:
    W_8 = clip(round(w / s), -128, 127); W_b = clip(round(W_8 / 2^D), -2^(bits-1), 2^(bits-1) - 1); value W_b s 2^D.
    Both roundings are to nearest, ties to even; ``e(w)`` has the codes W_b of ``int{bits}`` and the scale s 2^D.
    Backward: grad_w = grad_out where neither clip changes its argument, else 0 (straight through both roundings).
    Contract: bit-exact.

    Parameters
    ----------
    bits : int, default 4
        Width that the network computes with, 2 to 8; the paper's are 8, 6, 4 and 2.
    axis : int or None, default None
        The channel axis that keeps its own step; None for one step per tensor.
    step : float, tuple of float or None, default None
        Positive; the stored step s in units of `w`, a tuple having one per channel. None takes max |w| / 127 of the
        tensor or channel, 1 where that is 0.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If `w` has a NaN or an infinity (the message names its index), if `grad_out` has another shape than `w`, or if
        there are not as many steps as channels.

    Notes
    -----
    Source: "Double Rounding", arXiv 2502.01199: both formulas, the scale, and `rate_factor`. The paper learns s; the
    rule for ``step=None``, the ties and the place where the clips cut the gradient are **our reconstruction**. Its
    Hessian-aware bit sampling, and the running term of its learning rates, are not part of this class.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.stochastic import DoubleRounding
    >>> e = DoubleRounding(bits=4, step=0.01)
    >>> w = np.array([-1.27, -0.09, 0.05, 0.4, 2.0])
    >>> e.stored(w).values.round(2)
    array([-1.27, -0.09,  0.05,  0.4 ,  1.27])
    >>> e(w).values.round(2)
    array([-1.28, -0.16,  0.  ,  0.32,  1.12])
    >>> {bits: q.codes.tolist() for bits, q in e.nested(w, (6, 2)).items()}
    {6: [32, 62, 1, 10, 31], 2: [2, 0, 0, 1, 1]}
    >>> e.backward(w, np.ones(5))
    array([1., 1., 1., 1., 0.])
    >>> e.rate_factor
    0.01
    """

    name: ClassVar[str] = "double_rounding"

    bits: int = 4
    axis: int | None = None
    step: float | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", checked_axis(self.axis))
        object.__setattr__(self, "bits", checks.integer("bits", self.bits, minimum=2, maximum=STORED_BITS))
        object.__setattr__(self, "step", checked_step("step", self.step))

    @property
    def rate_factor(self) -> float:
        """Factor eta of the learning rate of the step at this width: 10^(-D/2), for odd D 5 * 10^(-(D+1)/2)."""
        dropped = STORED_BITS - self.bits
        return (5.0 if dropped % 2 else 1.0) / 10.0 ** ((dropped + 1) // 2)

    def stored(self, w: ArrayLike) -> Quantized:
        """Return what is stored: int8 codes W_8 and the step s."""
        x = latent(w)
        rows, steps = self._steps(x)
        codes = np.empty(rows.shape, np.uint8)
        half = 2.0 ** (STORED_BITS - 1)
        run(clipped_codes, rows, steps, -half, half - 1.0, 2**STORED_BITS - 1, codes)
        return Quantized(
            codes=from_rows(codes, x.shape, self.axis),
            scale=scale_array(steps, x.shape, self.axis),
            format=f"int{STORED_BITS}",
        )

    def nested(self, w: ArrayLike, widths: tuple[int, ...] = (8, 6, 4, 2)) -> dict[int, Quantized]:
        """Return the tensor of every width, all from the one stored tensor; what the network of that width uses."""
        stored = self.stored(w)
        return {bits: replace(self, bits=bits)._narrowed(stored) for bits in widths}

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are uint8 of the same shape."""
        return self._narrowed(self.stored(w))

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the values of the codes, in float64 or rounded once into `out`, without making the codes."""
        x = latent(w)
        halves = 2.0 ** (STORED_BITS - 1), 2.0 ** (self.bits - 1)
        step = halves[0] / halves[1]
        return in_one_pass(x, self.axis, out, _kernels.narrowed_values, self._steps(x)[1], halves[0], step, halves[1])

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return `grad_out` where neither clip is at work, else 0."""
        x = latent(w)
        g = gradient(grad_out, x.shape)
        rows, steps = self._steps(x)
        halves = 2.0 ** (STORED_BITS - 1), 2.0 ** (self.bits - 1)
        return gradient_out(
            g,
            self.axis,
            out,
            lambda grad, into: run(
                _kernels.narrowed_backward, rows, steps, halves[0], halves[0] / halves[1], halves[1], grad, into
            ),
            w=x,
        )

    def _narrowed(self, stored: Quantized) -> Quantized:
        return Quantized(
            codes=np.asarray(_narrow_table(self.bits)[stored.codes]),
            scale=np.asarray(stored.scale * 2.0 ** (STORED_BITS - self.bits)),
            format=f"int{self.bits}",
        )

    def _steps(self, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Rows and stored step of every row."""
        rows = to_rows(x, self.axis)
        steps = absmax_scales(x, rows, None, 2.0 ** (STORED_BITS - 1) - 1.0)
        return rows, steps if self.step is None else row_steps("step", self.step, len(rows))
