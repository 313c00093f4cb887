"""How vectors become memory words: low word first, element 0 in the low bits, `last` on top of a tile's last word."""

__all__ = ["to_words"]

import numpy as np
import numpy.typing as npt


def to_words(vectors: npt.ArrayLike, element_bits: int, word_bits: int, last: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Return vectors as the bits of stream words.

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
    ndarray of uint8, shape (n * words, word_bits + 1)
        Bits, lowest first; bit `word_bits` is `last`.

    Examples
    --------
    >>> to_words([[1, -1]], 2, 3, [True]).tolist()
    [[1, 0, 1, 0], [1, 0, 0, 1]]
    """
    array = np.asarray(vectors).astype(np.int64)
    n_vectors, n_elements = array.shape
    n_words = -(-n_elements * element_bits // word_bits)
    bits = (array[:, :, np.newaxis] >> np.arange(element_bits, dtype=np.int64)) & 1
    padded = np.zeros((n_vectors, n_words * word_bits), dtype=np.uint8)
    padded[:, : n_elements * element_bits] = bits.reshape(n_vectors, -1)
    words = np.zeros((n_vectors, n_words, word_bits + 1), dtype=np.uint8)
    words[:, :, :word_bits] = padded.reshape(n_vectors, n_words, word_bits)
    words[:, -1, word_bits] = np.asarray(last)
    return words.reshape(-1, word_bits + 1)
