"""The one place where stochastic units check their arrays: dtype, shape, finite values, and the states of units."""

__all__ = ["finite_floats", "generator", "pre_activations", "rounded", "states"]

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError

Doubles = NDArray[np.float64]

_FLOATS = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))


def finite_floats(name: str, array: ArrayLike, shape: tuple[int, ...] | None = None) -> tuple[Doubles, np.dtype[Any]]:
    """Return the array as C-contiguous float64, and its own native dtype; wrong dtypes, shapes and NaN raise."""
    x = np.asarray(array)
    dtype = x.dtype.newbyteorder("=")
    if dtype not in _FLOATS:
        raise TypeError(f"`{name}` must be a float16, float32 or float64 array, got {x.dtype}")
    if shape is not None and x.shape != shape:
        raise InvalidValueError(f"`{name}` must have shape {shape}, got {x.shape}")
    checks.finite(name, x)
    return np.ascontiguousarray(x, np.float64), dtype


def pre_activations(a: ArrayLike) -> Doubles:
    """Return `a` as a (batch, n) array of float64."""
    x, _ = finite_floats("a", a)
    if x.ndim != 2:
        raise InvalidValueError(f"`a` must have 2 dimensions (batch, units), got shape {x.shape}")
    return x


def states(h: ArrayLike, shape: tuple[int, ...], allowed: tuple[float, float], *, name: str = "h") -> Doubles:
    """Return the sampled states as float64; a value that is not one of the two `allowed` raises."""
    x, _ = finite_floats(name, h, shape)
    wrong = (x != allowed[0]) & (x != allowed[1])
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise InvalidValueError(f"`{name}` must be {allowed[0]:g} or {allowed[1]:g}, got {x[where]:g} at index {where}")
    return x


def generator(rng: Any) -> np.random.Generator:
    """Return `rng` if it is a numpy Generator; anything else raises TypeError."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"`rng` must be a numpy.random.Generator, got {rng!r}")
    return rng


def rounded(grad: Doubles, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Round a float64 gradient once to `dtype`; what is too large for it becomes an infinity."""
    with np.errstate(over="ignore"):
        return grad.astype(dtype, copy=False)
