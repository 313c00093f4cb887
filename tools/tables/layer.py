"""The authority for the real data that arrays are measured with: a layer of a digits network, tile after tile."""

__all__ = ["IMAGES", "array_trace", "check_sums", "layer_codes", "network_layer"]

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from elements import Element
from measuring import Kept, text_of
from operands import SEED, to_codes

from tetrit import formats
from tetrit.errors import ToolError
from tetrit.rtl import Activity
from tetrit.rtl.baselines import MacArray

Ints = npt.NDArray[np.int64]

IMAGES = 32
"""Held-out digits of the workload: the second layer of a network 64-128-64-10."""


@cache
def network_layer(kept: Kept) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return activations (images, k) and weights (k, n) of the digits network's second layer, in float."""

    def made() -> list[Any]:
        from tetrit.train import digits, mlp

        data = digits.load()
        network = mlp.train_float(data, seed=SEED, config=mlp.Config(hidden=(128, 64))).network
        first, second = network.layers[:2]
        x = data.test_x[:IMAGES].astype(np.float32) * np.float32(data.in_scale)
        hidden = np.maximum(x @ first.weight() + first.bias, 0)
        return [hidden.astype(np.float64).tolist(), second.weight().astype(np.float64).tolist()]

    hidden, weight = kept.get(("digits, second layer", text_of(__file__)), made)
    return np.array(hidden), np.array(weight)


def layer_codes(kept: Kept, row: Element) -> tuple[Ints, Ints]:
    """Return both operands of the layer in a row's formats."""
    acts, weights = network_layer(kept)
    return (
        to_codes(row.act, acts.ravel()).reshape(acts.shape),
        to_codes(row.weight, weights.ravel()).reshape(weights.shape),
    )


def _packed(codes: Ints, bits: int) -> npt.NDArray[np.uint8]:
    """Return codes of shape (cycles, lanes) as bits of shape (cycles, lanes * bits)."""
    return ((codes[..., np.newaxis] >> np.arange(bits)) & 1).astype(np.uint8).reshape(len(codes), -1)


def array_trace(array: MacArray, acts: Ints, weights: Ints) -> dict[str, Any]:
    """Return what an array is fed: tile after tile, without a pause; and reads of each tile's sums, row by row."""
    k = len(weights)
    tiles = [(m, n) for m in range(0, len(acts), array.rows) for n in range(0, weights.shape[1], array.cols)]
    fed = [acts[m : m + array.rows].T for m, _ in tiles], [weights[:, n : n + array.cols] for _, n in tiles]
    busy = len(tiles) * k
    cycles = busy + array.latency + array.rows
    row = np.zeros(cycles, dtype=np.int64)
    for tile in range(len(tiles)):
        start = (tile + 1) * k - 1 + array.latency
        row[start : start + array.rows] = np.arange(array.rows)
    idle = cycles - busy
    still = [np.pad(np.concatenate(codes), ((0, idle), (0, 0)), mode="edge") for codes in fed]
    step = np.arange(cycles)
    return {
        "enable": np.ones(cycles, dtype=np.uint8),
        "acts": _packed(still[0], array.element.act_bits),
        "weights": _packed(still[1], array.element.weight_bits),
        "valid": (step < busy).astype(np.uint8),
        "last": ((step < busy) & (step % k == k - 1)).astype(np.uint8),
        "row": row,
    }


def check_sums(array: MacArray, row: Element, acts: Ints, weights: Ints, activity: Activity) -> None:
    """Raise ToolError unless the netlist's sums are those of the matrix product."""
    k = len(weights)
    wanted = formats.get(row.act).integers[acts] @ formats.get(row.weight).integers[weights]
    bits = array.element.acc_bits
    place = np.left_shift(1, np.arange(bits, dtype=np.int64))
    place[-1] *= -1
    read = activity.outputs["results"].reshape(-1, array.cols, bits).astype(np.int64) @ place
    tile = 0
    for m in range(0, len(acts), array.rows):
        for n in range(0, weights.shape[1], array.cols):
            start = (tile + 1) * k + array.latency
            found = read[start : start + array.rows]
            if not np.array_equal(found, wanted[m : m + array.rows, n : n + array.cols]):
                raise ToolError(f"the netlist of {row} is wrong in tile {tile}")
            tile += 1
