"""Stream words as the benches carry them: little-endian bytes."""

__all__ = ["pack_fields", "to_words"]

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tetrit.sim.shift import words

Bytes = npt.NDArray[np.uint8]


def pack_fields(fields: Sequence[tuple[npt.ArrayLike, int]]) -> Bytes:
    """Return the payloads of a stream whose words are structures.

    Parameters
    ----------
    fields : sequence of (array_like of int, shape (n,), int)
        Values, in two's complement if negative, and width of each field, the one in the low bits first.

    Returns
    -------
    ndarray of uint8, shape (n, ceil(total width / 8))
        Little-endian.

    Examples
    --------
    >>> pack_fields([([1], 4), ([-1], 8)]).tolist()
    [[241, 15]]
    """
    bits = np.concatenate([_bits(np.asarray(values), width) for values, width in fields], axis=-1)
    return np.packbits(bits, axis=-1, bitorder="little")


def to_words(vectors: npt.ArrayLike, element_bits: int, word_bits: int, last: npt.ArrayLike) -> Bytes:
    """Return vectors as stream words.

    Parameters
    ----------
    vectors : array_like of int, shape (n, elements)
        Elements, in two's complement if negative.
    element_bits, word_bits : int
        Widths.
    last : array_like of bool, shape (n,)
        Set on the last word of these vectors.

    Returns
    -------
    ndarray of uint8, shape (n * words, ceil((word_bits + 1) / 8))
        Little-endian; bit `word_bits` is `last`.

    Examples
    --------
    >>> to_words([[1, -1]], 4, 8, [True]).tolist()
    [[241, 1]]
    """
    return np.packbits(words.to_words(vectors, element_bits, word_bits, last), axis=-1, bitorder="little")


def _bits(array: npt.NDArray[np.generic], bits: int) -> npt.NDArray[np.uint8]:
    """Return the low bits of integers, lowest first, on a new last axis."""
    planes = array.astype(np.int64)[..., np.newaxis] >> np.minimum(np.arange(bits, dtype=np.int64), 63)
    return (planes & 1).astype(np.uint8)
