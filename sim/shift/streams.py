"""The vectors that cross the array's four streams for a workload, in order."""

__all__ = ["Streams", "streams"]

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tetrit.hardware import ShiftArray
from tetrit.sim.program import Mapping, Workload
from tetrit.sim.shift.tiles import check, tile_list

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Streams:
    """All vectors of a run. Unused lanes carry code 0 and value 0; what they sum to is part of `results`.

    Attributes
    ----------
    weights : ndarray of uint8, shape (n_weight_vectors, cols)
        Weight codes.
    weights_last, activations_last, partials_last : ndarray of bool
        End of a tile on that stream.
    activations : ndarray of int64, shape (n_activation_vectors, rows)
        Activations.
    partials : ndarray of int64, shape (n_results, cols)
        Bias, where a sum starts; 0 where it continues.
    partials_from : ndarray of int64, shape (n_results,)
        Index of the result vector that this partial sum is, or -1 for the bias.
    results : ndarray of int64, shape (n_results, cols)
        Exact results, in order.
    """

    weights: npt.NDArray[np.uint8]
    weights_last: Flags
    activations: Ints
    activations_last: Flags
    partials: Ints
    partials_from: Ints
    partials_last: Flags
    results: Ints


def streams(
    x: npt.NDArray[np.int64],
    weight: npt.NDArray[np.uint8],
    bias: npt.NDArray[np.int64],
    mapping: Mapping,
    machine: ShiftArray,
) -> Streams:
    """Return the streams of ``x @ weight + bias``.

    Parameters
    ----------
    x : ndarray of int64, shape (m, k)
        Activations.
    weight : ndarray of uint8, shape (k, n)
        Weight codes.
    bias : ndarray of int64, shape (n,)
        Start of every sum.
    mapping : Mapping
        Tiles; must fit the machine.
    machine : ShiftArray
        The array.

    Returns
    -------
    Streams
    """
    workload = Workload(m=x.shape[0], k=x.shape[1], n=weight.shape[1])
    check(workload, mapping, machine)
    tiles = tile_list(workload, mapping)
    stationary = machine.dataflow == "weight_stationary"
    weight_rows, act_vectors, partial_rows, sources = [], [], [], []
    weight_ends, act_ends, result_ends = [], [], []
    result_rows: list[Ints] = []
    first_result: list[int] = []
    done = 0
    for tile in range(len(tiles)):
        ms = slice(tiles.m_start[tile], tiles.m_start[tile] + tiles.m_size[tile])
        ks = slice(tiles.k_start[tile], tiles.k_start[tile] + tiles.k_size[tile])
        ns = slice(tiles.n_start[tile], tiles.n_start[tile] + tiles.n_size[tile])
        n_rows, n_cols, n_terms = int(tiles.m_size[tile]), int(tiles.n_size[tile]), int(tiles.k_size[tile])
        codes = np.zeros((n_terms, machine.cols), dtype=np.uint8)
        codes[:, :n_cols] = weight[ks, ns]
        block = x[ms, ks]
        vectors = np.zeros((n_rows if stationary else n_terms, machine.rows), dtype=np.int64)
        vectors[:, : n_terms if stationary else n_rows] = block if stationary else block.T
        previous = int(tiles.previous[tile])
        partial = np.zeros((n_rows, machine.cols), dtype=np.int64)
        source = np.full(n_rows, -1, dtype=np.int64)
        if previous >= 0:
            source = first_result[previous] + np.arange(n_rows, dtype=np.int64)
        else:
            partial[:, :n_cols] = bias[ns]
        start = result_rows[previous] if previous >= 0 else partial
        result = start + block @ machine.weights.integers[codes]
        weight_rows.append(codes)
        act_vectors.append(vectors)
        partial_rows.append(partial)
        sources.append(source)
        result_rows.append(result)
        weight_ends.append(_end(len(codes)))
        act_ends.append(_end(len(vectors)))
        result_ends.append(_end(n_rows))
        first_result.append(done)
        done += n_rows
    return Streams(
        weights=np.concatenate(weight_rows),
        weights_last=np.concatenate(weight_ends),
        activations=np.concatenate(act_vectors),
        activations_last=np.concatenate(act_ends),
        partials=np.concatenate(partial_rows),
        partials_from=np.concatenate(sources),
        partials_last=np.concatenate(result_ends),
        results=np.concatenate(result_rows),
    )


def _end(count: int) -> Flags:
    flags = np.zeros(count, dtype=np.bool_)
    flags[-1] = True
    return flags
