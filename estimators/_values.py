"""From codes to real values in one pass over memory, and how results of float64 reach an array of the caller."""

__all__ = ["checked", "decoded", "filled", "in_one_pass", "stored"]

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit import checks, formats
from tetrit.estimators import _kernels
from tetrit.estimators._rows import from_rows, to_rows
from tetrit.estimators._run import run
from tetrit.formats.block import block_values

_FLOATS = (np.float16, np.float32, np.float64)
_SHORT = 16
"""Rows shorter than this are left to numpy: the compiled loop would spend its time between the rows."""


def stored(values: NDArray[Any], out: NDArray[Any] | None) -> NDArray[Any]:
    """Return `values`, or `out` with them, rounded once to its dtype."""
    if out is None:
        return values
    checked(out, values.shape)
    with np.errstate(over="ignore"):
        np.copyto(out, values, casting="same_kind")
    return out


def decoded(
    fmt: formats.Format,
    codes: NDArray[Any],
    scale: NDArray[np.float64],
    out: NDArray[Any] | None,
    block: int | None = None,
) -> NDArray[Any]:
    """Return ``fmt.decode(codes) * scale``, the product in float64, rounded once to the dtype of `out` if it is given.

    `codes` must be codes of the format; `scale` broadcasts against the values, or is one per `block` neighbours along
    the last axis. Complex values come as two real ones along a new first axis.
    """
    if fmt.values.dtype != np.float64:
        shape = (2, *codes.shape)
        if out is not None:
            checked(out, shape)
        pair = np.empty(shape) if out is None else out
        shared = np.broadcast_to(scale, (2, *scale.shape[1:]))
        for part, table in enumerate((fmt.values.real.copy(), fmt.values.imag.copy())):
            _scaled(table, codes, shared[part, ...], pair[part, ...])
        return pair
    if out is not None:
        checked(out, codes.shape)
    result = np.empty(codes.shape) if out is None else out
    if block is not None and codes.ndim:
        return block_values(fmt, codes, scale, block, result)
    return _scaled(fmt.values, codes, scale, result)


def _scaled(
    table: NDArray[np.float64], codes: NDArray[Any], scale: NDArray[np.float64], out: NDArray[Any]
) -> NDArray[Any]:
    """Write ``table[codes] * scale`` into `out` and return it."""
    channels = [axis for axis, n in enumerate(scale.shape) if n != 1]
    first, last = (channels[0], channels[-1] + 1) if channels else (0, 0)
    inner = math.prod(codes.shape[last:])
    adjacent = scale.shape[first:last] == codes.shape[first:last]
    if not (adjacent and inner >= _SHORT and codes.flags.c_contiguous and codes.dtype in (np.uint8, np.uint16)):
        return stored(table[codes] * scale, out)
    direct = out.flags.c_contiguous and out.dtype != np.float16
    into = out if direct else np.empty(codes.shape)
    scales = np.tile(scale.reshape(-1), math.prod(codes.shape[:first]))
    run(_kernels.decoded, codes.reshape(-1, inner), table, scales, into.reshape(-1, inner))
    return into if direct else stored(into, out)


def in_one_pass(
    x: NDArray[Any], axis: int | None, out: NDArray[Any] | None, kernel: Callable[..., bool | None], *args: Any
) -> NDArray[Any]:
    """Run ``kernel(rows of x, *args, rows of the result)``; the result is float64 or, rounded once, in `out`."""
    rows = to_rows(x, axis)
    return filled(rows, x.shape, axis, out, lambda into: run(kernel, rows, *args, into))


def filled(
    rows: NDArray[Any],
    shape: tuple[int, ...],
    axis: int | None,
    out: NDArray[Any] | None,
    fill: Callable[[NDArray[Any]], object],
) -> NDArray[Any]:
    """Let `fill` write the values of `rows` into rows like them; the result is float64 or, rounded once, in `out`.

    `rows` are those of an array of the given shape.
    """
    if out is not None:
        checked(out, shape)
        apart = not np.may_share_memory(out, rows)  # kernels may read an element again after they have written it
        if apart and axis in (None, 0) and out.flags.c_contiguous and out.dtype != np.float16:
            fill(out.reshape(rows.shape))
            return out
    into = np.empty(rows.shape)
    fill(into)
    return stored(from_rows(into, shape, axis), out)


def checked(out: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return `out` if it is a float array of this shape that can be written to."""
    if not isinstance(out, np.ndarray) or out.dtype not in _FLOATS:
        raise TypeError(f"`out` must be a float16, float32 or float64 array, got {getattr(out, 'dtype', out)!r}")
    checks.output(out, shape, out.dtype, apart={})
    return out
