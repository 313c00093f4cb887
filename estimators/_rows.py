"""The one place where estimators check their arrays and lay them out as contiguous rows, one row per scale."""

__all__ = [
    "checked_axis",
    "copied",
    "from_rows",
    "gradient",
    "gradient_out",
    "latent",
    "plain_rows",
    "scale_array",
    "to_rows",
]

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError

_FLOATS = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))


def _floats(name: str, array: ArrayLike) -> NDArray[Any]:
    x = np.asarray(array)
    if x.dtype.char in "efd" and x.dtype.isnative:
        return x
    if x.dtype.name == "bfloat16":  # of ml_dtypes; every bfloat16 is a float32
        x = x.astype(np.float32)
    native = x.dtype.newbyteorder("=")
    if native not in _FLOATS:
        raise TypeError(f"`{name}` must be a float16, float32 or float64 array, got {x.dtype}")
    return x.astype(native, copy=False)


def latent(w: ArrayLike) -> NDArray[Any]:
    """Return `w` as a native float32 or float64 array; float16 and bfloat16 widen, other dtypes raise TypeError."""
    x = _floats("w", w)
    return x.astype(np.float32) if x.dtype == np.float16 else x


def gradient(grad_out: ArrayLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return `grad_out` as a native float array of the given shape; another shape raises InvalidValueError."""
    g = _floats("grad_out", grad_out)
    if g.shape != shape:
        raise InvalidValueError(f"`grad_out` must have shape {shape}, got {g.shape}")
    return g


def checked_axis(axis: int | None) -> int | None:
    """Return `axis` as an int or None; anything else, booleans too, raises TypeError."""
    if axis is None:
        return None
    try:
        if not isinstance(axis, bool):
            return operator.index(axis)
    except TypeError:
        pass
    raise TypeError(f"`axis` must be an integer or None, got {axis!r}")


def channel_axis(axis: int | None, ndim: int) -> int | None:
    """Return `axis` as a non-negative index into `ndim` axes, or None for one scale per tensor."""
    if axis is None:
        return None
    if not -ndim <= axis < ndim:
        wanted = f"None or from {-ndim} to {ndim - 1}" if ndim else "None"
        raise InvalidValueError(f"`axis` must be {wanted} for an array of {ndim} dimensions, got {axis}")
    return axis % ndim


def to_rows(x: NDArray[Any], axis: int | None) -> NDArray[Any]:
    """Return `x` as a C-contiguous (rows, row length) array, one row per scale; no copy where none is needed."""
    axis = channel_axis(axis, x.ndim)
    if axis is None:
        return np.ascontiguousarray(x).reshape(1, x.size)
    channels = x.shape[axis]
    first = np.moveaxis(x, axis, 0) if axis else x
    return np.ascontiguousarray(first).reshape(channels, x.size // channels if channels else 0)


def plain_rows(x: NDArray[Any], axis: int | None) -> NDArray[Any] | None:
    """Return the rows of a C-contiguous array without a copy, None where it takes one or where they are empty."""
    if axis is None:
        return x.reshape(1, -1) if x.size else None
    return x.reshape(len(x), -1) if axis == 0 and x.size else None


def from_rows(rows: NDArray[Any], shape: tuple[int, ...], axis: int | None) -> NDArray[Any]:
    """Undo `to_rows`: return the C-contiguous array of `shape` whose rows these are."""
    axis = channel_axis(axis, len(shape))
    if axis is None or axis == 0:
        return rows.reshape(shape)
    moved = (shape[axis], *shape[:axis], *shape[axis + 1 :])
    return np.ascontiguousarray(np.moveaxis(rows.reshape(moved), 0, axis))


def scale_array(scales: NDArray[np.float64], shape: tuple[int, ...], axis: int | None) -> NDArray[np.float64]:
    """Shape one scale per row so that it broadcasts against an array of `shape`."""
    axis = channel_axis(axis, len(shape))
    if axis is None:
        return scales.reshape(())
    return scales.reshape([-1 if i == axis else 1 for i in range(len(shape))])


def gradient_out(
    grad: NDArray[Any],
    axis: int | None,
    out: NDArray[Any] | None,
    kernel: Callable[[NDArray[Any], NDArray[Any]], object],
    *,
    w: NDArray[Any] | None = None,
    apart: Mapping[str, NDArray[Any]] | None = None,
) -> NDArray[Any]:
    """Run ``kernel(gradient rows, result rows)`` and return the result in the layout and dtype of `grad`, or in `out`.

    `w` is the latent array where the kernel reads it, `apart` has further arrays, by name, that it reads element by
    element: `out` may be `grad` or one of these, but not overlap them otherwise.
    float16 goes through float64, so that the kernel's result is rounded once.
    """
    if out is None and axis in (None, 0) and grad.flags.c_contiguous and grad.dtype != np.float16 and grad.ndim:
        into = np.empty(grad.shape, grad.dtype)
        shape = (1, grad.size) if axis is None else (len(grad), grad.size // max(len(grad), 1))
        kernel(grad.reshape(shape), into.reshape(shape))
        return into
    if out is not None:
        read = {"grad_out": grad, **({} if w is None else {"w": w}), **(apart or {})}
        checks.output(out, grad.shape, grad.dtype, like="grad_out", apart=read, may_be_same=True)
    rows = to_rows(grad.astype(np.float64) if grad.dtype == np.float16 else grad, axis)
    if axis in (None, 0) and out is not None and out.flags.c_contiguous and out.dtype == rows.dtype:
        kernel(rows, out.reshape(rows.shape))
        return out
    into = np.empty_like(rows)
    kernel(rows, into)
    result = from_rows(into, grad.shape, axis)
    if out is None:
        with np.errstate(over="ignore"):
            return result.astype(grad.dtype, copy=False)
    with np.errstate(over="ignore"):
        np.copyto(out, result, casting="same_kind")
    return out


def copied(grad_out: ArrayLike, shape: tuple[int, ...], out: NDArray[Any] | None) -> NDArray[Any]:
    """Return a copy of the gradient, the backward rule of straight-through estimators, or write it into `out`."""

    def copy(rows: NDArray[Any], into: NDArray[Any]) -> None:
        into[...] = rows

    return gradient_out(gradient(grad_out, shape), None, out, copy)
