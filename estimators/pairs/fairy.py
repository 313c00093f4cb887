"""Complex weights in two bits: the authority for the scales and the gradient of the fourth roots of unity."""

__all__ = ["Fairy"]

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import (
    checked_axis,
    copied,
    from_rows,
    latent,
    scale_array,
    to_rows,
)
from tetrit.estimators._run import chunk_count, run, sum_chunks
from tetrit.estimators._values import checked, stored
from tetrit.estimators.base import Estimator, Quantized
from tetrit.estimators.pairs import _kernels


@dataclass(frozen=True, kw_only=True)
class Fairy(Estimator):
    """Fourth roots of unity: every complex weight becomes s_re, i s_im, -s_re or -i s_im.

    The latent array has a leading axis of length 2, real and imaginary parts; so have `forward`, `Quantized.values` and
    the gradient. Codes have the shape of one part: the nearest of 1, i, -1, -i, the sectors of +-pi/4 about the axes.
    Between two sectors, where both parts have the same magnitude, the real axis wins; 0 goes to 1 (the rule of the
    format `fairy2`, decided exactly, without a phase). s_re = mean |Re w| over the weights that land on the real axis,
    s_im = mean |Im w| over those on the imaginary axis. Backward: grad_w = grad_out, both parts.

    Codes: ``fairy2`` with a scale of shape (2, 1, ..., 1), or with as many as there are channels on their axis.

    Contract: bit-exact. The means are float64 sums in a fixed order.

    Parameters
    ----------
    axis : int or None, default None
        The channel axis that keeps its own two scales, counted without the leading axis of parts (0: the output
        channels of complex weights (outputs, inputs)); None for two scales per tensor. Where a scale would be 0, or no
        weight lands on its axis, it is 1.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If the first axis of `w` is not of length 2, if `w` has a NaN or an infinity (the message names its index), if
        the sum of its magnitudes overflows float64, or if `grad_out` has another shape than `w`. `backward` reads the
        shape of `w` only, never its values.

    Notes
    -----
    Source: iFairy, arXiv 2508.05571, and its released code (github.com/PKULab1806/Fairy-plus-minus-i): sectors, both
    scales, straight-through gradient. **Our reconstruction**: the ties (a phase that is rounded, as in code that
    computes one, makes them depend on the last bit), scales per channel, the scale 1 where the mean is 0, and `start`.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.pairs import Fairy
    >>> e = Fairy()
    >>> w = np.array([[2.0, 0.1, -1.0, 0.5], [-1.0, 0.5, 1.0, -0.7]])
    >>> e(w).codes
    array([0, 1, 2, 3], dtype=uint8)
    >>> e(w).values
    array([[ 1.5,  0. , -1.5, -0. ],
           [ 0. ,  0.6,  0. , -0.6]])
    >>> e.backward(w, np.ones((2, 4)))
    array([[1., 1., 1., 1.],
           [1., 1., 1., 1.]])
    """

    name: ClassVar[str] = "fairy"

    axis: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", checked_axis(self.axis))

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise both parts; codes are uint8 of the shape of one part."""
        x = _parts(w)
        re, im = (to_rows(part, self.axis) for part in x)
        scales = _scales(x, re, im)
        codes = np.empty(re.shape, np.uint8)
        run(_kernels.root_codes, re, im, codes)
        shape = x.shape[1:]
        pair = np.stack([scale_array(np.ascontiguousarray(each), shape, self.axis) for each in scales.T])
        return Quantized(
            codes=from_rows(codes, shape, self.axis),
            scale=pair.reshape(2, *(pair.shape[1:] or (1,) * len(shape))),
            format="fairy2",
        )

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the values of the codes, in float64 or rounded once into `out`, without making the codes."""
        x = _parts(w)
        re, im = (to_rows(part, self.axis) for part in x)
        scales = _scales(x, re, im)
        roots = formats.get("fairy2").values
        reals, imaginaries = (
            np.ascontiguousarray(part * scales[:, [axis]]) for axis, part in enumerate((roots.real, roots.imag))
        )
        if out is not None:
            checked(out, x.shape)
            direct = self.axis in (None, 0) and out.flags.c_contiguous and out.dtype != np.float16
            if direct and not any(np.may_share_memory(out, part) for part in (re, im)):
                run(_kernels.root_values, re, im, reals, imaginaries, out.reshape(2, *re.shape))
                return out
        into = np.empty((2, *re.shape))
        run(_kernels.root_values, re, im, reals, imaginaries, into)
        return stored(np.stack([from_rows(part, x.shape[1:], self.axis) for part in into]), out)

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return a copy of `grad_out`."""
        return copied(grad_out, _parts(w).shape, out)

    @property
    def straight_through(self) -> bool:
        """Whether the gradient passes everywhere: it does."""
        return True

    def start(self, w: ArrayLike) -> tuple[Self, NDArray[Any]]:
        """Return the estimator and the real weights `w` as complex ones, (2, outputs / 2, ...).

        The first half of the rows of `w` (outputs, ...) become the real parts, the second half the imaginary parts: on
        real inputs, the parts of the complex outputs are the real outputs of `w`, in the same order, so training
        starts from the same function with as many numbers. An odd number of rows raises InvalidValueError.
        """
        x = np.array(w)
        if x.ndim == 0 or len(x) % 2:
            raise InvalidValueError(f"`w` must have an even number of rows to make pairs, got shape {x.shape}")
        return self, x.reshape(2, len(x) // 2, *x.shape[1:])


def _scales(x: NDArray[Any], re: NDArray[Any], im: NDArray[Any]) -> NDArray[np.float64]:
    """Return the scales of both axes, (rows, 2), for the parts of `x` as rows."""
    chunks = chunk_count(re.shape[1])
    sums, counts = np.empty((2, len(re), 2, chunks))
    run(_kernels.root_sums, re, im, sums, counts)
    totals, landed = (sum_chunks(each.reshape(2 * len(re), chunks)).reshape(-1, 2) for each in (sums, counts))
    if not np.isfinite(totals).all():
        checks.finite("w", x)
        raise InvalidValueError("`w` must have a sum of magnitudes that float64 can hold, got an overflow")
    scales: NDArray[np.float64] = totals / np.maximum(landed, 1.0)
    scales[scales == 0] = 1.0
    return scales


def _parts(w: ArrayLike) -> NDArray[Any]:
    x = latent(w)
    if x.ndim == 0 or len(x) != 2:
        raise InvalidValueError(f"`w` must have real and imaginary parts on its first axis, got shape {x.shape}")
    return x
