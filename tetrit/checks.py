"""Checks of arguments that every room shares; an error names the argument, what is wrong, what would be right."""

__all__ = ["choice", "finite", "integer", "keys", "output", "parse_toml", "read_toml", "real"]

import math
import operator
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tetrit.errors import InvalidValueError, unknown_name

_OVERLAP_WORK = 10_000
"""Effort (numpy's unit) to tell interleaved arrays from overlapping ones; beyond it they count as overlapping."""


def integer(name: str, value: Any, *, minimum: int = 1, maximum: int | None = None) -> int:
    """Return `value` as a Python int within [minimum, maximum]; floats and booleans are refused with TypeError."""
    if isinstance(value, bool):
        raise TypeError(f"`{name}` must be an integer, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"`{name}` must be an integer, got {value!r}") from None
    if number < minimum or (maximum is not None and number > maximum):
        if maximum is not None:
            wanted = f"an integer from {minimum} to {maximum}"
        else:
            usual = {0: "a non-negative integer", 1: "a positive integer"}
            wanted = usual.get(minimum, f"an integer of at least {minimum}")
        raise InvalidValueError(f"`{name}` must be {wanted}, got {number}")
    return number


def real(
    name: str, value: Any, *, minimum: float = -math.inf, exclusive: bool = False, infinite: bool = False
) -> float:
    """Return `value` as a float at least (or, if `exclusive`, above) `minimum`; NaN never, infinities if `infinite`."""
    if isinstance(value, bool | str | bytes):
        raise TypeError(f"`{name}` must be a number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"`{name}` must be a number, got {value!r}") from None
    if not (infinite or math.isfinite(number)):
        raise InvalidValueError(f"`{name}` must be finite, got {number}")
    if not (number > minimum if exclusive else number >= minimum):
        raise InvalidValueError(f"`{name}` must be {'above' if exclusive else 'at least'} {minimum:g}, got {number:g}")
    return number


def choice(name: str, value: Any, known: Iterable[str]) -> str:
    """Return `value` if it is one of the `known` names; else raise UnknownNameError with the nearest one."""
    names = tuple(known)
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be one of {', '.join(names)}, got {value!r}")
    if value not in names:
        raise unknown_name(name, value, names)
    return value


def finite(name: str, array: Any) -> None:
    """Raise InvalidValueError with the first offending index if `array` holds NaN or an infinity."""
    import numpy as np

    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InvalidValueError(f"`{name}` must be finite, got {np.asarray(array)[where]} at index {where}")


def output(
    out: Any,
    shape: tuple[int, ...],
    dtype: Any,
    *,
    like: str | None = None,
    contiguous: bool = False,
    apart: Mapping[str, Any],
    may_be_same: bool = False,
) -> None:
    """Raise an error unless results of `shape` and `dtype` can be written to `out`.

    Parameters
    ----------
    out : Any
        What the caller of a public function gave.
    shape, dtype
        What `out` must have.
    like : str, optional
        Name of the argument that shape and dtype come from, for the error.
    contiguous : bool
        Whether `out` must be C-contiguous.
    apart : mapping of name to array
        Arrays that are read while `out` is written: they must not overlap it.
    may_be_same : bool
        Whether `out` may nevertheless be one of them: the same elements at the same places.

    Raises
    ------
    TypeError
        If `out` is no numpy array.
    InvalidValueError
        If it has another shape or dtype, is read-only or not contiguous, or overlaps.
    """
    import numpy as np

    if not isinstance(out, np.ndarray):
        raise TypeError(f"`out` must be a numpy array, got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        wanted = f"the shape and dtype of `{like}`, {shape} and {dtype}" if like else f"shape {shape} and dtype {dtype}"
        raise InvalidValueError(f"`out` must have {wanted}, got {out.shape} and {out.dtype}")
    if not out.flags.writeable:
        raise InvalidValueError("`out` must be writeable, got a read-only array")
    if contiguous and not out.flags.c_contiguous:
        raise InvalidValueError(f"`out` must be C-contiguous, got strides of {out.strides} bytes")
    for name, array in apart.items():  # numpy's stubs know the named efforts only
        if not np.may_share_memory(out, array, max_work=0):
            continue
        same = may_be_same and _layout(out) == _layout(array)
        if not same and np.may_share_memory(out, array, max_work=_OVERLAP_WORK):  # type: ignore[arg-type]
            unless = ", unless it is the same array" if may_be_same else ""
            raise InvalidValueError(f"`out` must not overlap `{name}` in memory{unless}")


def _layout(array: Any) -> tuple[Any, ...]:
    strides = [stride for stride, n in zip(array.strides, array.shape, strict=True) if n > 1]
    return array.shape, strides, array.dtype, array.__array_interface__["data"][0]


def keys(where: str, table: Any, known: Iterable[str]) -> dict[str, Any]:
    """Return `table` as a dict if it is a mapping with only `known` keys; errors begin with `where`."""
    if not isinstance(table, Mapping):
        raise InvalidValueError(f"{where}: must be a table, got {table!r}")
    names = tuple(known)
    for name in table:
        if name not in names:
            raise InvalidValueError(f"{where}: {unknown_name('key', str(name), names)}")
    return dict(table)


def read_toml(what: str, path: Path) -> dict[str, Any]:
    """Read a TOML file; `what` says in an error what it was meant to be."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidValueError(f"cannot read {what} '{path}': {reason}") from None
    return parse_toml(str(path), text)


def parse_toml(where: str, text: str) -> dict[str, Any]:
    """Parse TOML text; an error begins with `where` and names the line."""
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidValueError(f"{where}: not valid TOML: {error}") from None
