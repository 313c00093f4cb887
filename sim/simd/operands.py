"""Matrices of codes, checked: which results they make NaR, and how large the integers behind them are."""

__all__ = ["Operand"]

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.formats.real import RealFormat
from tetrit.parallel import run_items
from tetrit.sim.simd import _kernels
from tetrit.sim.simd.splitting import Extent, trailing_zeros

Codes = npt.NDArray[np.unsignedinteger[Any]]
Floats = npt.NDArray[np.floating[Any]]

_SUM_BITS = 62
"""Sums of magnitudes are kept below 2**62."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Operand:
    """A checked matrix of codes.

    Attributes
    ----------
    codes : ndarray of the format's `code_dtype`
        C-contiguous, a copy of its own.
    format : RealFormat
        What they are codes of.
    """

    codes: Codes
    format: RealFormat

    @classmethod
    def of(cls, name: str, codes: npt.ArrayLike, format_name: str) -> "Operand":
        """Check that `codes` is a non-empty matrix of codes of one of the engine's formats."""
        fmt = formats.get(format_name)
        assert isinstance(fmt, RealFormat)
        try:
            array = np.asarray(codes)
        except ValueError:
            raise InvalidValueError(f"`{name}` must be a matrix, got rows of different lengths") from None
        if array.ndim != 2 or array.size == 0:
            raise InvalidValueError(f"`{name}` must be a non-empty matrix, got shape {array.shape}")
        if array.dtype.kind not in "iu":
            raise TypeError(f"`{name}` must be integers, got {array.dtype}")
        last = (1 << fmt.bits) - 1
        if array.min() < 0 or array.max() > last:
            row, column = (int(i) for i in np.argwhere((array < 0) | (array > last))[0])
            raise InvalidValueError(
                f"`{name}` must be codes of {format_name}, 0 to {last}, got {int(array[row, column])} "
                f"at ({row}, {column})"
            )
        return cls(codes=np.array(array, dtype=fmt.code_dtype, order="C"), format=fmt)

    def not_real(self, axis: int) -> npt.NDArray[np.bool_] | None:
        """Return which rows (`axis` 1) or columns (0) hold NaR; None if there is none at all."""
        if not self.format.has_nan:
            return None
        found: npt.NDArray[np.bool_] = (self.codes == 1 << (self.format.bits - 1)).any(axis=axis)
        return found if found.any() else None

    def limits(self) -> Extent:
        """Return what the format alone says about the integers."""
        return Extent(top=_limit(self.format))

    def extent(self) -> Extent:
        """Return what the codes say about the integers."""
        rows, k = self.codes.shape
        limit = _limit(self.format)
        dropped = max(0, limit.bit_length() + k.bit_length() - _SUM_BITS)
        used, sums = np.empty((2, rows), dtype=np.int64)
        magnitudes = _magnitudes(self.format)
        run_items(
            lambda first, last: _kernels.survey(self.codes, magnitudes, dropped, used, sums, first, last), rows, k
        )
        bits = int(np.bitwise_or.reduce(used))
        top = min((1 << bits.bit_length()) - 1, limit)
        lost = k if dropped else 0  # less than one of the units that are summed up, for each term
        return Extent(top=top, zeros=trailing_zeros(bits), l1=(int(sums.max()) + lost) << dropped)

    def look_up(self, table: Floats, out: Floats, rows: slice = slice(None)) -> None:
        """Write the entries of some rows' codes to `out`, whose rows must be contiguous."""
        codes = self.codes[rows]
        run_items(lambda i, j: _kernels.look_up(codes, table, out, i, j), *codes.shape)


@lru_cache(maxsize=8)
def _limit(fmt: RealFormat) -> int:
    return max(abs(end) for end in fmt.integer_range)


@lru_cache(maxsize=8)
def _magnitudes(fmt: RealFormat) -> npt.NDArray[np.int64]:
    return np.abs(fmt.integers)
