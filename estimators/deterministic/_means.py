"""The mean magnitude of every row, checked: the statistic from which this family takes their scales."""

__all__ = ["mean_magnitudes"]

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators._run import sums_of_magnitudes


def mean_magnitudes(x: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return mean |w| of every row (0 for an empty one), summed in the golden order; `x` is what errors speak of."""
    sums = sums_of_magnitudes(rows)
    if not np.isfinite(sums).all():
        checks.finite("w", x)
        raise InvalidValueError("`w` must have a sum of magnitudes that float64 can hold, got an overflow")
    means: NDArray[np.float64] = sums / max(rows.shape[1], 1)
    return means
