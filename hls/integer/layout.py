"""Layouts: feature maps are batch, channels, height, width in float networks, and height, width, channels here."""

__all__ = ["channels_first", "channels_last"]

from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError


def channels_last(x: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return feature maps (batch, channels, height, width), or signals (batch, channels, width), for integer networks.

    Signals become maps of height 1; what has no more than two axes stays as it is.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.hls.integer import channels_last
    >>> channels_last(np.zeros((5, 3, 8, 7))).shape, channels_last(np.zeros((5, 3, 7))).shape
    ((5, 8, 7, 3), (5, 1, 7, 3))
    """
    array = np.asarray(x)
    if array.ndim == 3:
        array = array[:, :, None]
    if array.ndim > 4:
        raise InvalidValueError(f"`x` must have at most 4 axes, got shape {array.shape}")
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array


def channels_first(x: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return feature maps (batch, height, width, channels) as (batch, channels, height, width); others as they are."""
    array = np.asarray(x)
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2)) if array.ndim == 4 else array
