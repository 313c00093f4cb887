"""Formats of real numbers: rounding, and the exact integers behind the values."""

__all__ = ["RealFormat"]

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit.errors import InvalidValueError
from tetrit.formats._steps import Steps, float_keys, floats_from_keys, to_odd_float64
from tetrit.formats._tables import MANTISSA_BITS, Binades, Nearest, Search, Sticky, encoder_tables, nearest_tables
from tetrit.formats.base import Format, output_array, read_only
from tetrit.parallel import SMALL, run_blocks


@dataclass(frozen=True, kw_only=True)
class RealFormat(Format):
    """A format whose values lie on the real line; see `Format` for the fields."""

    @abstractmethod
    def _make_steps(self) -> Steps:
        """Compute the rounding rule."""

    @cached_property
    def _dyadic(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        finite = np.where(np.isfinite(self.values), self.values, 0.0)
        fraction, exponent = np.frexp(finite)
        significand = (fraction * 2.0**53).astype(np.int64)
        lowest = np.where(significand == 0, 1, significand & -significand)
        exponent = np.where(significand == 0, 0, exponent - 53 + np.log2(lowest.astype(np.float64)).astype(np.int64))
        return read_only(significand // lowest), read_only(exponent)

    @property
    def significand(self) -> NDArray[np.int64]:  # noqa: D102
        return self._dyadic[0]

    @property
    def exponent(self) -> NDArray[np.int64]:  # noqa: D102
        return self._dyadic[1]

    @cached_property
    def lsb_exponent(self) -> int:  # noqa: D102
        exponents = self.exponent[self.significand != 0]
        return int(exponents.min()) if exponents.size else 0

    @cached_property
    def integers(self) -> NDArray[np.int64]:  # noqa: D102
        low, high = self.integer_range
        if max(-low, high) >= 2**63:
            raise InvalidValueError(
                f"the integers of format '{self.name}' need {max(-low, high).bit_length()} bits, more than int64 has"
            )
        shift = np.where(self.significand == 0, 0, self.exponent - self.lsb_exponent)
        return read_only(self.significand << shift)

    @cached_property
    def integer_range(self) -> tuple[int, int]:  # noqa: D102
        integers = [
            int(s) << (int(e) - self.lsb_exponent) for s, e in zip(self.significand, self.exponent, strict=True) if s
        ]
        if np.any(self.values == 0):
            integers.append(0)
        return min(integers), max(integers)

    @cached_property
    def _steps(self) -> Steps:
        return self._make_steps()

    @cached_property
    def _tables32(self) -> Sticky | Binades | Search:
        return encoder_tables(self._steps, 32, self.code_dtype)

    @cached_property
    def _tables64(self) -> Sticky | Binades | Search:
        return encoder_tables(self._steps, 64, self.code_dtype)

    @cached_property
    def nearest_tables(self) -> Nearest:
        """What `tetrit.formats._kernels.nearest` takes to round float64 to values of the format."""
        return nearest_tables(self._tables64, self.values)

    @cached_property
    def magnitude_cells(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Borders between the values that magnitudes up to `max_value` round to, and those values, ascending.

        What lies on a border may belong to either side. None where negative numbers are not rounded as positive ones.
        """
        keys, values = self._steps.keys, self.values[self._steps.codes]
        greatest = float_keys(np.array([self.max_value]))[0]
        above, below = np.searchsorted(keys, [0, -1], side="right")
        upper, lower = keys[above:], -keys[:below][::-1]
        upper, lower = upper[upper <= greatest], lower[lower <= greatest]
        found, mirrored = values[above:][: upper.size + 1], values[: below + 1][::-1][: lower.size + 1]
        if upper.size != lower.size or np.any(found != -mirrored) or np.any(abs(upper - lower) > 1):
            return None
        return read_only(floats_from_keys(upper)), read_only(found)

    @cached_property
    def has_nan(self) -> bool:  # noqa: D102
        return bool(np.isnan(self.values[self._steps.codes[-1]]))

    def encode(self, x: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Round to the format, once and exactly, whatever the type of the input.

        Only for `post4` and codebooks, integers and long doubles of more than 53 bits are rounded to doubles first.

        Parameters
        ----------
        x : array_like
            Real numbers of any shape: any float type (bfloat16 and the like of `ml_dtypes` too), integers or booleans.
        out : array of `code_dtype`, optional
            Where to write the codes: C-contiguous, with the shape of `x`, apart from it in memory.

        Returns
        -------
        codes : uint8 or uint16 array, the shape of `x`

        Raises
        ------
        TypeError
            If `x` is not real, or if `out` is no array.
        InvalidValueError
            If `x` holds NaN and the format has no code for it, or if `out` is not fit to be written to.
        """
        numbers = np.asarray(x)
        source = _as_floats(numbers)
        codes = output_array(out, numbers.shape, np.dtype(self.code_dtype), x=numbers)
        flat, flat_codes = source.reshape(-1), codes.reshape(-1)
        if flat.size <= SMALL:
            if not self.has_nan and np.isnan(flat).any():
                raise self._nan_error(source)
            flat_codes[...] = self._steps(flat.astype(np.float64))
        elif self._encode_compiled(flat, flat_codes) and not self.has_nan:
            raise self._nan_error(source)
        return codes

    def _encode_compiled(self, flat: NDArray[np.floating], codes: NDArray[np.unsignedinteger]) -> bool:
        """Encode by the compiled loops; return whether there was a NaN."""
        from tetrit.formats import _kernels

        width = 8 * flat.itemsize
        word, tables = (np.uint64, self._tables64) if width == 64 else (np.uint32, self._tables32)
        bits: NDArray[np.unsignedinteger] = flat.view(word)
        mantissa_bits = word(MANTISSA_BITS[width])
        infinity = int(np.asarray(np.inf, dtype=flat.dtype).view(word))
        nan_blocks: list[int] = []

        def task(start: int, stop: int) -> None:
            part, target = bits[start:stop], codes[start:stop]
            if isinstance(tables, Sticky):
                worst = _kernels.encode_sticky(part, word(tables.dropped), tables.table, target)
            elif isinstance(tables, Binades):
                worst = _kernels.encode_binades(part, mantissa_bits, tables.rows, tables.table, target)
            else:
                worst = _kernels.encode_search(part, tables.keys, tables.codes, tables.starts, target)
            if worst > infinity:
                nan_blocks.append(start)

        run_blocks(task, flat.size)
        return bool(nan_blocks)

    def _nan_error(self, x: NDArray[np.floating]) -> InvalidValueError:
        where = tuple(int(i) for i in np.argwhere(np.isnan(x))[0])
        return InvalidValueError(f"format '{self.name}' has no code for NaN, found at index {where}")


def _as_floats(x: NDArray[Any]) -> NDArray[np.floating]:
    """Return a C-contiguous float32 or float64 array that rounds to any format as `x` does; `x` itself if it is one."""
    if x.dtype.kind == "c" or not np.can_cast(x.dtype, np.longdouble, "safe"):
        raise TypeError(f"`x` must hold real numbers, got {x.dtype}")
    if x.dtype.itemsize > 8 or (x.dtype.kind in "iu" and x.dtype.itemsize == 8):
        return to_odd_float64(x)
    exact_in_float32 = np.can_cast(x.dtype, np.float32, "safe")
    return np.asarray(x, dtype=np.float32 if exact_in_float32 else np.float64, order="C")
