"""Following the tiles of a product through a shift array: which tiles and lanes, and what their changes add up to."""

__all__ = ["FIELDS", "Followed", "Ints", "Keep", "State", "changed_bits", "decoded_bits", "sampled_lanes"]

from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.hardware import ShiftArray
from tetrit.sim.shift.tiles import TileList

Ints = npt.NDArray[np.int64]
State = dict[str, Ints]
Keep = slice | npt.NDArray[np.bool_]

FIELDS = 16
"""At least the bits of a decoded weight."""
_TILES = {"weight_stationary": 32, "output_stationary": 12}
_LANES = 8
_GOLDEN = (5**0.5 - 1) / 2
_ONE = np.ones(1)


def decoded_bits(machine: ShiftArray) -> int:
    """Return the bits of a decoded weight: sign, nonzero where there are zeros, shift where there are any."""
    return 1 + int(_masks(machine)) + _shift_bits(machine).bit_length()


def _masks(machine: ShiftArray) -> bool:
    """Return whether decoded weights tell zeros from others: reserved codes decode to zero too."""
    return bool((machine.weights.integers == 0).any())


def _shift_bits(machine: ShiftArray) -> int:
    """Return the largest shift."""
    return int(np.abs(machine.weights.integers).max()).bit_length() - 1


def changed_bits(states: Ints, bits: int) -> npt.NDArray[np.int64]:
    """Return the bits that change between neighbours along the first axis, shape (n - 1, ...)."""
    different = (states[1:] ^ states[:-1]) & np.int64((1 << bits) - 1)
    count: Ints = np.bitwise_count(different).astype(np.int64)
    return count


def _lanes(count: int) -> Ints:
    """Return some of `count` lanes, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, _LANES)).round().astype(np.int64))


def sampled_lanes(used: int, count: int) -> tuple[Ints, npt.NDArray[np.float64]]:
    """Return some of the lanes in use, and one of the others, which are all alike; and how many each stands for."""
    lanes = _lanes(used)
    stands_for = np.full(len(lanes), used / len(lanes))
    if used < count:
        lanes, stands_for = np.append(lanes, used), np.append(stands_for, count - used)
    return lanes, stands_for


def _some(count: int, most: int) -> Ints:
    """Return some of `count` tiles, spread without a period, since tiles have periods."""
    if count <= most:
        return np.arange(count)
    return np.unique((np.arange(1, most + 1) * _GOLDEN % 1.0 * count).astype(np.int64))


class Followed:
    """A product whose sampled tiles are followed."""

    def __init__(
        self,
        x: npt.NDArray[np.int64],
        weight: npt.NDArray[np.uint8],
        bias: npt.NDArray[np.int64],
        tiles: TileList,
        machine: ShiftArray,
    ) -> None:
        self.x, self.tiles, self.machine, self.bias = x, tiles, machine, bias
        integers = machine.weights.integers
        self.integers = integers[weight]
        self.empty = int(integers[0])  # the weight of a column that a tile leaves empty
        self.shift = _shift_bits(machine)
        self.chosen = _some(len(tiles), _TILES[machine.dataflow])
        product_bits = machine.activations.bits + self.shift
        self.bits = {
            "act": machine.activations.bits,
            "shifted": product_bits,
            "addend": product_bits,
            **dict.fromkeys(("sum", "carry", "held", "kept", "partial", "result"), machine.acc_bits),
            "weight": FIELDS,
        }
        self.within: dict[str, list[float]] = {}
        self.between: dict[str, list[float]] = {}

    def look(self, tile: int) -> None:
        """Choose the columns to follow in a tile, and how many columns each stands for."""
        self.columns, self.stands_for = sampled_lanes(int(self.tiles.n_size[tile]), self.machine.cols)

    def note(
        self,
        name: str,
        states: Ints,
        *,
        rows: npt.NDArray[np.float64] = _ONE,
        between: bool = False,
        keep: Keep = slice(None),
    ) -> None:
        """Note the mean number of bits that change from one of `states`, (n, rows, columns), to the next.

        Without rows: (n, columns). `rows` tells how many rows each stands for, `keep` which pairs are neighbours.
        """
        changed = changed_bits(states, self.bits[name])[keep]
        if changed.ndim == 2:
            changed = changed[:, np.newaxis]
        of_rows = np.broadcast_to(rows, changed.shape[1:2])
        self._kept(name, np.einsum("nrc,r,c->n", changed, of_rows, self.stands_for), between)

    def _kept(self, name: str, changed: npt.NDArray[Any], between: bool) -> None:
        if len(changed):
            (self.between if between else self.within).setdefault(name, []).append(float(changed.mean()))

    def mean(self, name: str, steps: int, groups: int) -> float:
        """Return the bits that change in `steps` states that form `groups` of neighbours."""
        inside, outside = self.within.get(name, []), self.between.get(name, [])
        per_step = float(np.mean(inside)) if inside else 0.0
        per_group = float(np.mean(outside)) if outside else per_step
        return per_step * (steps - groups) + per_group * (groups - 1)

    def weights(self, tile: int) -> Ints:
        """Return the integers of a tile's weights in the sampled columns, shape (k_size, columns)."""
        tiles = self.tiles
        k_start, k_size = int(tiles.k_start[tile]), int(tiles.k_size[tile])
        found = np.full((k_size, len(self.columns)), self.empty, dtype=np.int64)
        used = self.columns < tiles.n_size[tile]
        found[:, used] = self.integers[k_start : k_start + k_size, tiles.n_start[tile] + self.columns[used]]
        return found

    def partials(self, tile: int, rows: Ints) -> Ints:
        """Return the partial sums or biases that vectors `rows` of `x` start from in a tile."""
        tiles = self.tiles
        found = np.zeros((len(rows), len(self.columns)), dtype=np.int64)
        used = self.columns < tiles.n_size[tile]
        at = tiles.n_start[tile] + self.columns[used]
        before = int(tiles.k_start[tile])
        found[:, used] = self.bias[at] + self.x[rows, :before] @ self.integers[:before, at]
        return found

    def fields(self, weights: Ints) -> Ints:
        """Return decoded weights: sign, nonzero where the format has zeros, shift."""
        magnitude = np.abs(weights)
        shift = np.where(magnitude > 0, np.frexp(np.maximum(magnitude, 1).astype(np.float64))[1] - 1, 0)
        zeros = (magnitude > 0).astype(np.int64) << 1 if _masks(self.machine) else np.int64(0)
        return (weights < 0).astype(np.int64) | zeros | shift.astype(np.int64) << 2

    def products(self, acts: Ints, weights: Ints) -> tuple[State, Ints]:
        """Return what elements form of broadcast activations and weights, and the products."""
        magnitude = np.maximum(np.abs(weights), 1)
        shifted = acts * magnitude
        masked = np.where(weights == 0, 0, shifted)
        addend = masked ^ -(weights < 0).astype(np.int64)
        return {"act": np.broadcast_to(acts, shifted.shape), "shifted": shifted, "addend": addend}, np.where(
            weights < 0, -masked, masked
        )

    def edge(self, vectors: int, weights: int, results: int) -> dict[str, float]:
        """Return what the array's edge takes, from the mean changes of its streams."""
        machine, n_tiles = self.machine, len(self.tiles)
        words = vectors * machine.act_vector_bits + 2 * results * machine.acc_vector_bits
        sides = ("edge_act", vectors), ("edge_weight", weights), ("edge_partial", results), ("edge_result", results)
        return {
            "edge": sum(self.mean(name, count, n_tiles) for name, count in sides),
            "gearbox": float(words + weights * machine.weight_vector_bits),
        }

    def note_acts(self, acts: Ints, *, between: bool, keep: Keep = slice(None)) -> None:
        """Note the changes of all rows' activations, each times the registers of its row's skew."""
        changed = changed_bits(acts, self.machine.activations.bits)[keep]
        self._kept("edge_act", changed @ np.arange(1, self.machine.rows + 1), between)

    def note_columns(
        self, name: str, states: Ints, bits: int, depth: Ints, *, between: bool, keep: Keep = slice(None)
    ) -> None:
        """Note the changes of a stream of the columns, each times the registers of its column's skew."""
        self._kept(name, changed_bits(states, bits)[keep] @ (self.stands_for * depth), between)
