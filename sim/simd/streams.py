"""The words that cross the SIMD array's ports for a product, in order: what benches send, and what they expect."""

__all__ = ["Streams", "pack", "streams"]

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.hardware.simd_engine import SimdEngine
from tetrit.sim.program import Workload
from tetrit.sim.simd import cycles
from tetrit.sim.simd.operands import Codes, Operand

Words = npt.NDArray[np.uint16]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Streams:
    """All vectors of a run. Rows, columns and lanes that a tile leaves empty carry code 0.

    Attributes
    ----------
    activations : ndarray of uint16, shape (n_steps, rows)
        One word of each row a step.
    weights : ndarray of uint16, shape (n_steps, cols)
        One word of each column a step.
    last : ndarray of bool, shape (n_steps,)
        The last step of a tile.
    first_columns : ndarray of int64, shape (n_tiles,)
        Which output column is each tile's first, for its bias.
    results : ndarray of uint16, shape (n_results, cols)
        Codes of each drained row; in empty columns 0, where the array may give anything.
    results_last : ndarray of bool, shape (n_results,)
        The last row of a tile.
    """

    activations: Words
    weights: Words
    last: Flags
    first_columns: npt.NDArray[np.int64]
    results: Words
    results_last: Flags


def pack(codes: npt.NDArray[Any], lanes: int, port_bits: int = 16) -> Words:
    """Pack the codes of each row into words: code k in word ``k // lanes``, lane ``k % lanes``, low lane first.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.sim.simd.streams import pack
    >>> [hex(word) for word in pack(np.array([[1, 2, 3, 4, 5]]), 4)[0]]
    ['0x4321', '0x5']
    """
    m, k = codes.shape
    padded = np.zeros((m, -(-k // lanes) * lanes), dtype=np.uint16)
    padded[:, :k] = codes
    places = (np.arange(lanes) * (port_bits // lanes)).astype(np.uint16)
    words: Words = np.bitwise_or.reduce(padded.reshape(m, -1, lanes) << places, axis=2)
    return words


def streams(acts: Operand, weight: Operand, output: Codes, machine: SimdEngine) -> Streams:
    """Return the streams of a product whose result is `output`."""
    (m, k), n = acts.codes.shape, weight.codes.shape[1]
    rows, cols = machine.rows, machine.cols
    lanes = machine.mode(acts.format.name, weight.format.name).lanes
    row_words, column_words = pack(acts.codes, lanes), pack(weight.codes.T, lanes)
    n_steps = row_words.shape[1]
    starts = [(row, column) for row in range(0, m, rows) for column in range(0, n, cols)]
    activations = np.zeros((len(starts), n_steps, rows), dtype=np.uint16)
    weights = np.zeros((len(starts), n_steps, cols), dtype=np.uint16)
    results = []
    for tile, (row, column) in enumerate(starts):
        left, above = row_words[row : row + rows], column_words[column : column + cols]
        activations[tile, :, : len(left)] = left.T
        weights[tile, :, : len(above)] = above.T
        block = output[row : row + rows, column : column + cols]
        results.append(np.pad(block.astype(np.uint16), ((0, 0), (0, cols - block.shape[1]))))
    assert len(starts) == cycles.tiles(Workload(m=m, k=k, n=n), machine)
    return Streams(
        activations=activations.reshape(-1, rows),
        weights=weights.reshape(-1, cols),
        last=np.tile(np.arange(n_steps) == n_steps - 1, len(starts)),
        first_columns=np.array([column for _, column in starts], dtype=np.int64),
        results=np.concatenate(results),
        results_last=np.concatenate([np.arange(len(block)) == len(block) - 1 for block in results]),
    )
