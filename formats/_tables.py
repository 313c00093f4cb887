"""Tables that let compiled loops round fast; each is derived from a format's `Steps`, none states a rule of its own.

If every cell begins at, or one bit pattern above, a float whose lowest bits are zero, these bits matter only as "some
of them set": the float rounded to odd decides. `encoder_tables` takes the first of three tables that fits:

- `Sticky`: one number of dropped bits for all floats; what is left indexes the codes. Formats of few bits.
- `Binades`: a number of dropped bits for each sign and exponent. Wide integers and posits.
- `Search`: bisection over the first keys of the cells. Any format: learned codebooks, powers of sqrt(2).
"""

__all__ = ["MANTISSA_BITS", "Binades", "Nearest", "Search", "Sticky", "encoder_tables", "nearest_tables"]

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tetrit.formats._steps import Steps

MANTISSA_BITS = {32: 23, 64: 52}
_MAX_STICKY = 1 << 18  # entries: larger tables leave the caches and are slower than a second look-up
_MAX_BINADES = 1 << 20


@dataclass(frozen=True, eq=False)
class Sticky:
    """Arguments of `encode_sticky`: number of dropped bits, and the codes by (kept bits, sticky bit)."""

    dropped: int
    table: NDArray[np.unsignedinteger]


@dataclass(frozen=True, eq=False)
class Binades:
    """Arguments of `encode_binades`: by sign and exponent, first entry << 6 | dropped bits; and the codes."""

    rows: NDArray[np.uint32]
    table: NDArray[np.unsignedinteger]


@dataclass(frozen=True, eq=False)
class Search:
    """Arguments of `encode_search`: first keys and codes of the cells; the cell at each change of the top 16 bits."""

    keys: NDArray[np.int64]
    codes: NDArray[np.unsignedinteger]
    starts: NDArray[np.int32]


Nearest: TypeAlias = tuple[int, int, NDArray[np.uint32], NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]
"""Arguments of `nearest`: which of the three tables, its fields, those of the others empty, and the values."""


def nearest_tables(found: Sticky | Binades | Search, values: NDArray[np.float64]) -> Nearest:
    """Return tables that lead from float64 to the value of its code, in one look-up."""
    rows, keys, starts = np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0, np.int32)
    if isinstance(found, Sticky):
        return 0, found.dropped, rows, keys, starts, values[found.table]
    if isinstance(found, Binades):
        return 1, 0, found.rows, keys, starts, values[found.table]
    return 2, 0, rows, found.keys, found.starts, values[found.codes]


def encoder_tables(steps: Steps, width: int, code_dtype: type[np.unsignedinteger]) -> Sticky | Binades | Search:
    """Derive the fastest table for floats of `width` (32 or 64) bits."""
    keys = steps.keys if width == 64 else steps.keys32()
    codes = steps.codes.astype(code_dtype)
    borders = np.where(keys < 0, -keys, keys)  # magnitudes at which the code changes, seen from zero
    droppable = np.maximum(_trailing_zeros(borders), _trailing_zeros(borders - 1))
    return (
        _sticky(keys, codes, width, droppable)
        or _binades(keys, codes, width, borders, droppable)
        or _search(keys, codes, width)
    )


def _trailing_zeros(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    lowest = np.where(numbers == 0, np.int64(1) << 62, numbers & -numbers)
    return np.log2(lowest.astype(np.float64)).astype(np.int64)


def _codes_at(
    keys: NDArray[np.int64], codes: NDArray[np.unsignedinteger], at: NDArray[np.int64]
) -> NDArray[np.unsignedinteger]:
    return codes[np.searchsorted(keys, at, side="right")]


def _sticky(
    keys: NDArray[np.int64], codes: NDArray[np.unsignedinteger], width: int, droppable: NDArray[np.int64]
) -> Sticky | None:
    dropped = int(droppable.min(initial=width - 2))
    half = 1 << (width - dropped)
    if 2 * half > _MAX_STICKY:
        return None
    index = np.arange(half, dtype=np.int64)
    magnitudes = ((index >> 1) << dropped) + (index & 1)  # the smallest of those that share an entry, and a code
    table = np.concatenate((_codes_at(keys, codes, magnitudes), _codes_at(keys, codes, ~magnitudes)))
    return Sticky(dropped=dropped, table=table)


def _binades(
    keys: NDArray[np.int64],
    codes: NDArray[np.unsignedinteger],
    width: int,
    borders: NDArray[np.int64],
    droppable: NDArray[np.int64],
) -> Binades | None:
    mantissa_bits = MANTISSA_BITS[width]
    n_rows = 1 << (width - mantissa_bits)
    inside = (borders & ((1 << mantissa_bits) - 1)) != 0
    border_rows = (borders >> mantissa_bits) + np.where(keys < 0, n_rows // 2, 0)
    dropped = np.full(n_rows, mantissa_bits, dtype=np.int64)
    np.minimum.at(dropped, border_rows[inside], droppable[inside])
    sizes = np.int64(2) << (mantissa_bits - dropped)
    firsts = np.cumsum(sizes) - sizes
    if sizes.sum() > _MAX_BINADES:
        return None
    row = np.repeat(np.arange(n_rows), sizes)
    index = np.arange(len(row)) - firsts[row]
    magnitudes = (row % (n_rows // 2) << mantissa_bits) + ((index >> 1) << dropped[row]) + (index & 1)
    table = _codes_at(keys, codes, np.where(row < n_rows // 2, magnitudes, ~magnitudes))
    return Binades(rows=(firsts << 6 | dropped).astype(np.uint32), table=table)


def _search(keys: NDArray[np.int64], codes: NDArray[np.unsignedinteger], width: int) -> Search:
    tops = np.arange(-(1 << 15), (1 << 15) + 1, dtype=np.int64)
    # the last one would overflow; no float is that large
    first_keys = np.append(tops[:-1] << (width - 16), np.iinfo(np.int64).max)
    return Search(keys=keys, codes=codes, starts=np.searchsorted(keys, first_keys, side="right").astype(np.int32))
