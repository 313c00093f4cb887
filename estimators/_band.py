"""The gradient that passes within a band around 0, and is 0 outside of it."""

__all__ = ["band_gradient"]

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit.estimators import _kernels
from tetrit.estimators._rows import gradient, gradient_out
from tetrit.estimators._run import run


def band_gradient(
    x: NDArray[Any],
    rows: NDArray[Any],
    axis: int | None,
    limits: NDArray[np.float64],
    grad_out: ArrayLike,
    out: NDArray[Any] | None,
) -> NDArray[Any]:
    """Return `grad_out` where the magnitude of `x` is at most the limit of its row, else 0.

    `rows` are those of `x` along `axis`; for `out` see `gradient_out`.
    """
    return gradient_out(
        gradient(grad_out, x.shape),
        axis,
        out,
        lambda grad, into: run(_kernels.band_backward, rows, grad, limits, into),
        w=x,
    )
