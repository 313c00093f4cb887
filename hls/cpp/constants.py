"""Constants in C++: the authority for how weights are packed into words, and how arrays are written."""

__all__ = ["array", "columns", "packed", "signed_bits", "wide_words"]

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.hls.cpp.geometry import ceil_div

WORD_BITS = 64
"""Most bits of a word: what a literal can hold."""
_WIDTH = 116


def packed(codes: npt.NDArray[Any], bits: int, tile_k: int, tile_n: int) -> tuple[npt.NDArray[np.uint64], int]:
    """Pack weight codes, the codes of a step in one row.

    Parameters
    ----------
    codes : ndarray of unsigned int, shape (groups, k, n)
    bits : int
        Of a code.
    tile_k, tile_n : int
        Inputs and outputs of a step.

    Returns
    -------
    words : ndarray of uint64, shape (groups * steps_n * steps_k, words)
        Code ``n * tile_k + k`` of a step lies in word ``index // per_word``, from bit ``index % per_word * bits`` on;
        where a tile reaches beyond the matrix there are zeros.
    width : int
        Bits of a word: as many whole codes as 64 bits hold, or fewer where a step has fewer.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.hls.cpp.constants import packed
    >>> words, width = packed(np.array([[[1, 3], [2, 1]]]), 2, 2, 1)
    >>> [f"{word:04b}" for word in words[:, 0]], width
    (['1001', '0111'], 4)
    """
    groups, k, n = codes.shape
    steps_k, steps_n = ceil_div(k, tile_k), ceil_div(n, tile_n)
    full = np.zeros((groups, steps_k * tile_k, steps_n * tile_n), dtype=np.uint64)
    full[:, :k, :n] = codes
    steps = full.reshape(groups, steps_k, tile_k, steps_n, tile_n).transpose(0, 3, 1, 4, 2)
    rows = steps.reshape(groups * steps_n * steps_k, tile_n * tile_k)
    per_word = min(WORD_BITS // bits, tile_n * tile_k)
    n_words = ceil_div(tile_n * tile_k, per_word)
    filled = np.zeros((len(rows), n_words * per_word), dtype=np.uint64)
    filled[:, : tile_n * tile_k] = rows
    places = np.arange(per_word, dtype=np.uint64) * np.uint64(bits)
    words = np.bitwise_or.reduce(filled.reshape(len(rows), n_words, per_word) << places, axis=2)
    return words, per_word * bits


def columns(values: npt.NDArray[Any], groups: int, tile_n: int, fill: int) -> npt.NDArray[Any]:
    """Return what belongs to outputs, shape (groups * n, ...), as rows of a tile: (groups * steps_n, tile_n, ...)."""
    n = len(values) // groups
    steps = ceil_div(n, tile_n)
    full = np.full((groups, steps * tile_n, *values.shape[1:]), fill, dtype=values.dtype)
    full[:, :n] = values.reshape(groups, n, *values.shape[1:])
    return full.reshape(groups * steps, tile_n, *values.shape[1:])


def signed_bits(values: Sequence[int]) -> int:
    """Return the width of the narrowest two's complement integer that holds all values."""
    return max((value if value >= 0 else ~value).bit_length() for value in values) + 1


def wide_words(values: Sequence[int], bits: int) -> npt.NDArray[np.uint64]:
    """Return integers as rows of 64-bit words, lowest first, of two's complement."""
    n_words = ceil_div(bits, WORD_BITS)
    rows = [[(value >> WORD_BITS * word) % 2**WORD_BITS for word in range(n_words)] for value in values]
    return np.array(rows, dtype=np.uint64)


def array(kind: str, name: str, values: npt.NDArray[Any], *, hexadecimal: bool = False) -> str:
    """Return the definition of a constant array of one dimension or more, within the page."""
    shape = "".join(f"[{size}]" for size in values.shape)
    rows = [_braced(row, hexadecimal) for row in values]
    lines, line = [], ""
    for place, row in enumerate(rows):
        item = row + ("," if place < len(rows) - 1 else "")
        if line and len(line) + 1 + len(item) > _WIDTH:
            lines.append(line)
            line = ""
        line = f"{line} {item}" if line else item
    lines.append(line)
    body = "\n".join(f"    {text}" for text in lines)
    return f"static const {kind} {name}{shape} = {{\n{body}}};\n"


def _braced(value: Any, hexadecimal: bool) -> str:
    if isinstance(value, np.ndarray):
        inner = ", ".join(_braced(item, hexadecimal) for item in value)
        if len(inner) > _WIDTH:
            inner = "\n     ".join(textwrap.wrap(inner, _WIDTH - 2, break_long_words=False))
        return "{" + inner + "}"
    number = int(value)
    if hexadecimal:
        return f"0x{number:x}ULL"
    return f"{number}LL" if abs(number) >= 2**31 else str(number)
