"""What the nodes of integer networks share: checks of their fields, and gathering under windows."""

__all__ = [
    "boolean",
    "check_map",
    "check_pool",
    "check_shape",
    "check_stored",
    "exact_dtype",
    "frozen_copy",
    "gathered",
    "int_vector",
    "pooled",
    "tensor_names",
]

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError
from tetrit.hls.integer.tensor import IntegerTensor
from tetrit.hls.integer.window import Window

Ints = npt.NDArray[np.int64]

_CHUNK = 2**22
"""Numbers that are gathered from feature maps at a time."""


def exact_dtype(reach: int) -> type[np.float32 | np.float64 | np.int64]:
    """Return the fastest type that holds every partial sum exactly, in whatever order it is summed."""
    if reach <= 2**24:
        return np.float32
    return np.float64 if reach <= 2**53 else np.int64


def gathered(x: npt.NDArray[Any], table: Ints, padding: int) -> Iterator[tuple[slice, npt.NDArray[Any]]]:
    """Yield parts of the batch and what lies under the kernel, (part, groups, positions, k)."""
    step = max(1, _CHUNK // table.size)
    edge = np.full((min(step, len(x)), 1), padding, dtype=x.dtype)  # index -1
    for start in range(0, len(x), step):
        flat = x[start : start + step].reshape(len(x[start : start + step]), -1)
        yield slice(start, start + step), np.concatenate([flat, edge[: len(flat)]], axis=1)[:, table]


def pooled(x: Ints, window: Window, padding: int, reduce: Any) -> Ints:
    """Reduce what lies under a window, channel by channel."""
    out = np.empty((len(x), window.positions, window.channels), dtype=np.int64)
    places = window.kernel[0] * window.kernel[1]
    for part, under in gathered(x, window.indices(), padding):
        out[part] = reduce(under.reshape(-1, window.positions, places, window.channels), axis=2)
    return out.reshape(len(x), *window.out_shape_hw, window.channels)


def check_map(window: Window, x: IntegerTensor) -> None:
    """Raise InvalidValueError unless a window is made for a feature map."""
    if x.shape != window.in_shape:
        raise InvalidValueError(f"'{x.name}' must have the shape of the window, {window.in_shape}, got {x.shape}")


def check_shape(out: IntegerTensor, shape: tuple[int, ...]) -> None:
    """Raise InvalidValueError unless a tensor has the shape."""
    if out.shape != shape:
        raise InvalidValueError(f"'{out.name}' must have shape {shape}, got {out.shape}")


def check_stored(out: IntegerTensor) -> None:
    """Raise InvalidValueError for a tensor too wide to be requantised to."""
    if out.bits > 16:
        raise InvalidValueError(f"'{out.name}' must have a format of at most 16 bits, got {out.format}")


def check_pool(window: Any) -> None:
    """Raise TypeError or InvalidValueError for what is no window of a pool."""
    if not isinstance(window, Window):
        raise TypeError(f"`window` must be a Window, got {window!r}")
    if window.groups != 1:
        raise InvalidValueError(f"`window` of a pool must have 1 group, got {window.groups}")
    if not window.counts().all():
        raise InvalidValueError("`window` must lie over at least one pixel at every position, got padding alone")


def tensor_names(inputs: Any) -> tuple[str, ...]:
    """Return two or more names."""
    if not isinstance(inputs, tuple | list) or not all(isinstance(name, str) for name in inputs):
        raise TypeError(f"`inputs` must be names of tensors, got {inputs!r}")
    if len(inputs) < 2:
        raise InvalidValueError(f"`inputs` must be two or more, got {len(inputs)}")
    return tuple(inputs)


def boolean(name: str, value: Any) -> None:
    """Raise TypeError for what is neither True nor False."""
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False, got {value!r}")


def int_vector(name: str, value: Any, n: int, minimum: int, maximum: int) -> Ints:
    """Return a copy of n integers within a range that cannot be written to."""
    array = np.asarray(value)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"`{name}` must be integers, got {array.dtype}")
    if array.shape != (n,):
        raise InvalidValueError(f"`{name}` must have shape ({n},), got {array.shape}")
    if array.min() < minimum or array.max() > maximum:
        raise InvalidValueError(
            f"`{name}` must be within {minimum}..{maximum}, got {int(array.min())}..{int(array.max())}"
        )
    return frozen_copy(array.astype(np.int64))


def frozen_copy(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a copy that cannot be written to."""
    copy = np.array(array, order="C")
    copy.flags.writeable = False
    return copy
