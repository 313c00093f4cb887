"""Numba kernels of the batch models: between integers, a row each, and words that hold one bit of 64 rows."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

_Array = npt.NDArray[Any]
_MASKS = np.array(
    [
        0x00000000FFFFFFFF,
        0x0000FFFF0000FFFF,
        0x00FF00FF00FF00FF,
        0x0F0F0F0F0F0F0F0F,
        0x3333333333333333,
        0x5555555555555555,
    ],
    dtype=np.uint64,
)


@njit(cache=True, nogil=True)
def _transpose(block: _Array) -> None:
    """Exchange rows and bits of 64 words: bit j of word i becomes bit i of word j."""
    width = 32
    for level in range(6):
        mask = _MASKS[level]
        shift = np.uint64(width)
        for start in range(0, 64, 2 * width):
            for i in range(start, start + width):
                swapped = ((block[i] >> shift) ^ block[i + width]) & mask
                block[i] ^= swapped << shift
                block[i + width] ^= swapped
        width //= 2


@njit(cache=True, nogil=True)
def to_words(values: _Array, words: _Array) -> None:
    """Fill words, shape (steps, bits), from values, shape (64, steps): bit i of a word is from row i of the values."""
    block = np.empty(64, dtype=np.uint64)
    for step in range(words.shape[0]):
        for lane in range(64):
            block[lane] = np.uint64(values[lane, step])
        _transpose(block)
        for bit in range(words.shape[1]):
            words[step, bit] = block[bit]


@njit(cache=True, nogil=True)
def to_values(words: _Array, values: _Array) -> None:
    """Fill values from words."""
    block = np.empty(64, dtype=np.uint64)
    for step in range(words.shape[0]):
        block[:] = np.uint64(0)
        for bit in range(words.shape[1]):
            block[bit] = words[step, bit]
        _transpose(block)
        for lane in range(64):
            values[lane, step] = block[lane]
