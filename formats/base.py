"""What every scalar number format has in common: a name, a width, a value for every code, and decoding."""

__all__ = ["Format", "output_array", "read_only"]

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.parallel import SMALL, run_blocks

_WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64, 16: np.complex128}
"""As what the compiled look-up copies numbers of so many bytes; the compiler does not know all float types."""


@dataclass(frozen=True, kw_only=True)
class Format(ABC):
    """A finite set of codes with exact values.

    A code is an unsigned integer below ``2**bits``. Two formats are equal if their fields are; arrays that a format
    exposes are computed once and read-only.

    Parameters
    ----------
    name : str
        The name by which `tetrit.formats.get` knows it.
    bits : int
        Width of a code, 1 to 16.
    """

    name: str
    bits: int

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"`name` must be a string, got {self.name!r}")
        object.__setattr__(self, "bits", checks.integer("bits", self.bits, minimum=1, maximum=16))

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @abstractmethod
    def _make_values(self) -> NDArray[Any]:
        """Compute `values`."""

    @property
    @abstractmethod
    def has_nan(self) -> bool:
        """Whether the format has a code (NaN or NaR) that `encode` gives to NaN."""

    @property
    @abstractmethod
    def significand(self) -> NDArray[np.int64]:
        """Odd integer s of every code, ``value == s * 2**exponent``; 0 for zero, NaN, infinity. int64 (2**bits,)."""

    @property
    @abstractmethod
    def exponent(self) -> NDArray[np.int64]:
        """Exponent e of every code, ``value == significand * 2**e``; 0 where `significand` is. int64 (2**bits,)."""

    @property
    @abstractmethod
    def integers(self) -> NDArray[np.int64]:
        """Integer of every code with ``value == integers * 2**lsb_exponent`` exactly. int64 (2**bits,).

        NaN, NaR, infinities and reserved codes have 0; `values` tells them apart.

        Raises
        ------
        InvalidValueError
            If the integers do not fit int64 (bf16), or the values are no dyadic numbers (post4) or complex (fairy2).
        """

    @property
    @abstractmethod
    def lsb_exponent(self) -> int:
        """The largest e for which every finite value is a whole multiple of 2**e."""

    @property
    @abstractmethod
    def integer_range(self) -> tuple[int, int]:
        """Least and greatest finite value as exact Python integers in units of 2**lsb_exponent."""

    @abstractmethod
    def encode(self, x: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Round numbers to the format and return their codes."""

    @cached_property
    def values(self) -> NDArray[Any]:
        """Value of every code: float64 (2**bits,), NaN for NaN, NaR and reserved codes."""
        return read_only(self._make_values())

    @cached_property
    def max_value(self) -> float:
        """The largest finite value."""
        return float(self.values.real[np.isfinite(self.values)].max())

    @cached_property
    def min_positive(self) -> float:
        """The smallest value above zero."""
        positive = self.values.real[self.values.real > 0]
        if not positive.size:
            raise InvalidValueError(f"format '{self.name}' has no value above zero")
        return float(positive.min())

    @property
    def code_dtype(self) -> type[np.uint8] | type[np.uint16]:
        """The numpy type of codes: uint8 up to 8 bits, uint16 above."""
        return np.uint8 if self.bits <= 8 else np.uint16

    def decode(
        self, codes: ArrayLike, *, dtype: DTypeLike | None = None, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Look up the values of codes.

        Parameters
        ----------
        codes : array_like of int
            Codes of any shape and integer type, each below ``2**bits``.
        dtype : dtype, optional
            float64 (default), or any other float type, to whose nearest number values are rounded (infinity beyond its
            range): float32 is exact for every format except `post4` and codebooks. For `fairy2` complex128 (default)
            or another complex type; formats of real numbers have no complex values.
        out : array, optional
            Where to write the values: C-contiguous, with the shape of `codes`, apart from them in memory; its type is
            then the `dtype`, and the same types are possible.

        Returns
        -------
        values : array of `dtype`, the shape of `codes`

        Raises
        ------
        TypeError
            If the codes are no integers, if values of the format cannot have the type, or if `out` is no array.
        InvalidValueError
            If a code is negative or not below ``2**bits``, or if `out` is not fit to be written to.
        """
        given = np.asarray(codes)
        if given.dtype.kind not in "iu" and given.size:
            raise TypeError(f"`codes` must be integers, got {given.dtype}")
        wanted = self.values.dtype
        if dtype is not None:
            wanted = self._value_dtype("dtype", dtype)
        elif isinstance(out, np.ndarray):
            wanted = self._value_dtype("out.dtype", out.dtype)
        with np.errstate(over="ignore", under="ignore"):
            table = self.values.astype(wanted, copy=False)
        values = output_array(out, given.shape, table.dtype, codes=given)
        if given.dtype not in (np.uint8, np.uint16) or given.size <= SMALL:
            if given.size and (given.min() < 0 or given.max() >= 1 << self.bits):
                raise self._range_error(given)
            given = given.astype(self.code_dtype)
        if given.size <= SMALL or table.itemsize not in _WORDS:
            values[...] = table[given]
        else:
            word = _WORDS[table.itemsize]
            self._decode_compiled(given, table.view(word), values.reshape(-1).view(word))
        return values

    def _value_dtype(self, name: str, dtype: DTypeLike) -> np.dtype[Any]:
        """Return the type that `decode` was asked for, if it is a float type (complex for complex values)."""
        wanted, own = np.dtype(dtype), self.values.dtype
        widest = np.clongdouble if own.kind == "c" else np.longdouble
        if not (np.can_cast(own, wanted, "same_kind") and np.can_cast(wanted, widest, "safe")):
            raise TypeError(f"`{name}` must be a {own} or a float type like it, got {wanted}")
        return wanted

    def _decode_compiled(self, codes: NDArray[np.unsignedinteger], table: NDArray[Any], values: NDArray[Any]) -> None:
        from tetrit.formats import _kernels

        flat = np.ascontiguousarray(codes).reshape(-1)
        mask = flat.dtype.type(((1 << self.bits) - 1) & np.iinfo(flat.dtype).max)

        def task(start: int, stop: int) -> None:
            if _kernels.decode_lookup(flat[start:stop], mask, table, values[start:stop]):
                raise self._range_error(codes)

        run_blocks(task, flat.size)

    def _range_error(self, codes: NDArray[np.integer]) -> InvalidValueError:
        where = tuple(int(i) for i in np.argwhere((codes < 0) | (codes >= 1 << self.bits))[0])
        wanted = f"from 0 to {(1 << self.bits) - 1}"
        got = f"got {int(codes[where])} at index {where}"
        return InvalidValueError(f"codes of format '{self.name}' must be {wanted}, {got}")

    def quantize(self, x: ArrayLike, *, dtype: DTypeLike | None = None) -> NDArray[Any]:
        """Return the values that `x` is rounded to: ``decode(encode(x))``."""
        return self.decode(self.encode(x), dtype=dtype)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Make `array` read-only and return it."""
    array.flags.writeable = False
    return array


def output_array(
    out: NDArray[Any] | None, shape: tuple[int, ...], dtype: np.dtype[Any], **read: NDArray[Any]
) -> NDArray[Any]:
    """Return a new array, or `out` if it is fit to be written to while the arrays `read`, given by name, are read."""
    if out is None:
        return np.empty(shape, dtype=dtype)
    checks.output(out, shape, dtype, contiguous=True, apart=read)
    return out
