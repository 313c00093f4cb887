"""From codes to real values in one pass over memory, and how results of float64 reach an array of the caller."""

__all__ = ["decoded", "stored"]

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit import checks, formats
from tetrit.estimators import _kernels
from tetrit.estimators._run import run

_FLOATS = (np.float16, np.float32, np.float64)
_SHORT = 16
"""Rows shorter than this are left to numpy: the compiled loop would spend its time between the rows."""


def stored(values: NDArray[Any], out: NDArray[Any] | None) -> NDArray[Any]:
    """Return `values`, or `out` with them, rounded once to its dtype."""
    if out is None:
        return values
    _checked(out, values.shape)
    with np.errstate(over="ignore"):
        np.copyto(out, values, casting="same_kind")
    return out


def decoded(
    fmt: formats.Format, codes: NDArray[Any], scale: NDArray[np.float64], out: NDArray[Any] | None
) -> NDArray[Any]:
    """Return ``fmt.decode(codes) * scale``, the product in float64, rounded once to the dtype of `out` if it is given.

    `codes` must be codes of the format; `scale` broadcasts against them.
    """
    table = fmt.values
    channels = [axis for axis, n in enumerate(scale.shape) if n != 1]
    axis = channels[0] if channels else 0
    inner = math.prod(codes.shape[axis + 1 :]) if channels else codes.size
    real = table.dtype == np.float64 and codes.dtype in (np.uint8, np.uint16)
    if out is not None:
        _checked(out, codes.shape)
    if not real or len(channels) > 1 or inner < _SHORT or not codes.flags.c_contiguous:
        return stored(np.asarray(fmt.decode(codes) * scale), out)
    direct = out is not None and out.flags.c_contiguous and out.dtype != np.float16
    into = out if out is not None and direct else np.empty(codes.shape)
    outer = math.prod(codes.shape[:axis]) if channels else 1
    run(_kernels.decoded, codes.reshape(-1, inner), table, np.tile(scale.reshape(-1), outer), into.reshape(-1, inner))
    return into if direct else stored(into, out)


def _checked(out: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(out, np.ndarray) or out.dtype not in _FLOATS:
        raise TypeError(f"`out` must be a float16, float32 or float64 array, got {getattr(out, 'dtype', out)!r}")
    checks.output(out, shape, out.dtype, apart={})
