"""Products of a batch with the matrix of a panel, which are the same bits in any batch and on any threads.

Variances of columns, from squared inputs, are summed in 16-bit integers: twice as fast as in float32.

Squares of inputs are exact up to digits from -128 to 127, and have 14 bits beyond. Variances of cells have 11 bits, of
the largest in a column among 64 inputs: an error of at most 1/4094 of that. A variance is wrong by no more than
that share of what it would be if all cells of a block were its largest; over many inputs the errors cancel, to about
1e-5. Where few inputs meet small cells, it can be wrong by all that there is: who multiplies looks at the bound, and
adds up again what may be wrong by 1 % (`tetrit.sim.crossbar._kernels.mend`).
"""

__all__ = ["ROWS", "WIDTH", "PackedMatrix", "PackedVariances", "filled", "input_scale"]

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.sim.crossbar.products._kernels import BLOCK, CELL_TOP, INPUT_TOP, ROWS, WIDTH, multiply, multiply_counts

Matrix = npt.NDArray[Any]


def input_scale(largest: float) -> float:
    """Return the power of two that takes numbers up to `largest` to the integers that are multiplied."""
    return 1.0 if largest == 0 else 2.0 ** math.floor(math.log2(INPUT_TOP / largest))


class PackedMatrix:
    """A matrix ready for products.

    Parameters
    ----------
    matrix : array of float, shape (depth, n_columns)
        The number of columns is a multiple of 32.
    dtype : {np.float32, np.float64}
        With the second, products of integers below 2^53 are exact.

    Attributes
    ----------
    tiles : array, shape (n_columns / 32, depth, 32)
    """

    def __init__(self, matrix: Matrix, dtype: npt.DTypeLike = np.float32) -> None:
        depth, n = matrix.shape
        self.tiles: Matrix = np.ascontiguousarray(matrix.reshape(depth, n // WIDTH, WIDTH).transpose(1, 0, 2), dtype)

    def product(self, x: Matrix) -> Matrix:
        """Return ``x @ matrix``; x has shape (n, depth) and the matrix's dtype, and n is a multiple of 6."""
        out = np.empty((len(x), len(self.tiles) * WIDTH), self.tiles.dtype)
        multiply(x, self.tiles, out, 0, len(x) // ROWS)
        return out


class PackedVariances:
    """Variances of cells, ready for products.

    Parameters
    ----------
    variances : array of float, shape (depth, n_columns)
        Non-negative; both dimensions multiples of 64.

    Attributes
    ----------
    counts : array of int16, shape (n_columns / 32, depth / 2, 32, 2)
    """

    def __init__(self, variances: Matrix) -> None:
        depth, n = variances.shape
        blocks = variances.reshape(depth // BLOCK, BLOCK, n)
        step = blocks.max(axis=1, keepdims=True) / CELL_TOP
        counts = np.rint(np.divide(blocks, step, out=np.zeros_like(blocks), where=step > 0)).astype(np.int16)
        pairs = counts.reshape(depth // 2, 2, n // WIDTH, WIDTH)
        self.counts = np.ascontiguousarray(pairs.transpose(2, 0, 3, 1))
        self._step = np.ascontiguousarray(step[:, 0].reshape(-1, n // WIDTH, WIDTH).transpose(1, 0, 2), np.float32)

    def scale(self, factors: npt.ArrayLike) -> Matrix:
        """Return what compiled products need to multiply each block of 64 inputs by one of `factors`."""
        return self._step * np.asarray(factors, np.float32)[None, : self._step.shape[1], None]

    def product(self, x: Matrix, factors: npt.ArrayLike) -> Matrix:
        """Return ``(x * factors) @ variances``, float32.

        Parameters
        ----------
        x : array of int16, shape (n, depth)
            From 0 to 2^14; n a multiple of 6.
        factors : array_like of float, shape (depth / 64,)
            For each block of 64 inputs.
        """
        out = np.empty((len(x), len(self.counts) * WIDTH), np.float32)
        multiply_counts(x, self.counts, self.scale(factors), out, 0, len(x) // ROWS)
        return out


def filled(n: int) -> int:
    """Return `n` rounded up to the rows that are multiplied at a time."""
    return -(-n // ROWS) * ROWS
