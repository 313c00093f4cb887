"""What moves in a shift array: bits of registers and adders that change in a product, counted on values, not on gates.

A sample of a product's tiles is followed register by register: what each holds for one vector, and what it holds for
the next one. This is the level of P. Landman and J. Rabaey, "Architectural power analysis: the dual bit type method",
IEEE Trans. VLSI Systems 3(2), 1995, which prices a block by the bits that change at its ports; the choice of what is
counted is ours, and follows `tetrit.rtl.ShiftPE` and `tetrit.rtl.ShiftPEArray` register by register.
"""

__all__ = ["MOVEMENTS", "movement", "resting"]

from collections.abc import Mapping as MappingType

import numpy as np
import numpy.typing as npt

from tetrit.hardware import ShiftArray
from tetrit.sim.cost.following import FIELDS, Followed, Ints, Keep, State, decoded_bits, sampled_lanes
from tetrit.sim.program import Mapping, Workload
from tetrit.sim.shift import cycles
from tetrit.sim.shift.tiles import tile_list

MOVEMENTS: MappingType[str, str] = {
    "pe_clock": "bits of registers of processing elements that are clocked",
    "act": "bits of activations that change in processing elements",
    "shifted": "bits of shifted activations that change, at the adder's side",
    "addend": "bits of masked and negated activations that change",
    "sum": "bits of the adders' sums that change",
    "carry": "bits of the adders' carries that change",
    "held": "bits of accumulators that change (output stationary)",
    "kept": "bits of finished sums that change (output stationary)",
    "weight": "bits of decoded weights that change on their way through the array",
    "load": "weights stored in an element (weight stationary)",
    "stored": "bits of stored weights that change (weight stationary)",
    "edge_cycle": "cycles of the array's control",
    "edge_clock": "bits of skew registers that are clocked",
    "edge": "bits of skew registers that change",
    "gearbox": "bits of vectors taken and handed out",
    "drained": "bits of finished sums that change on their way out (output stationary)",
}
"""What is counted in a product, and what it is."""

_VECTORS, _RUN = 64, 8
_STEPS = 512
_ELEMENTS = 1 << 17
_PE_FLAGS = {"weight_stationary": 3, "output_stationary": 2}
"""One-bit registers of an element beside its data: bank and load flags; valid and last."""


def movement(
    x: npt.NDArray[np.int64],
    weight: npt.NDArray[np.uint8],
    bias: npt.NDArray[np.int64],
    mapping: Mapping,
    machine: ShiftArray,
) -> dict[str, float]:
    """Return what moves in the array for ``x @ weight + bias``, by name as in `MOVEMENTS`.

    Contract: clocked bits are exact; bits that change are exact where the product is small, and else the mean of at
    most 32 tiles, spread over all, of 8 of the columns in use and of up to 64 vectors of each (output stationary: of 12
    tiles, 8 columns, 8 rows, and up to 1024 steps), times what there is. Words are taken to be there in time: what a
    register holds between two vectors is not followed. Deterministic.

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
    dict of str to float
        Only what the dataflow has.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.hardware import ShiftArray
    >>> from tetrit.sim import Mapping
    >>> from tetrit.sim.cost.switching import movement
    >>> machine = ShiftArray(rows=2, cols=2)
    >>> still = np.full((4, 2), 5), np.ones((2, 2), np.uint8), np.zeros(2, np.int64)
    >>> moved = movement(*still, Mapping(tile_m=4, tile_k=2, tile_n=2), machine)
    >>> moved["act"], moved["sum"], moved["load"]
    (0.0, 0.0, 4.0)
    """
    tiles = tile_list(Workload(m=x.shape[0], k=x.shape[1], n=weight.shape[1]), mapping)
    follow = _WeightStationary if machine.dataflow == "weight_stationary" else _OutputStationary
    return follow(x, weight, bias, tiles, machine).movement(cycles.count_tiles(tiles, machine))


def resting(machine: ShiftArray) -> dict[str, float]:
    """Return what is clocked in a cycle in which the array has nothing to do, by name as in `MOVEMENTS`."""
    rows, cols = machine.rows, machine.cols
    of_element = machine.activations.bits + _PE_FLAGS[machine.dataflow]
    skew = 2 * machine.acc_bits + decoded_bits(machine)
    edge = machine.activations.bits * rows * (rows - 1) // 2 + skew * cols * (cols - 1) // 2
    if machine.dataflow == "weight_stationary":
        of_element += machine.acc_bits
    else:  # accumulators rest; each column has a register for the sum that leaves
        of_element += decoded_bits(machine)
        edge += machine.acc_vector_bits
    return {"pe_clock": float(rows * cols * of_element), "edge_cycle": 1.0, "edge_clock": float(edge)}


class _WeightStationary(Followed):
    """Vectors pass a tile of weights; sums pass down the rows."""

    def movement(self, n_cycles: int) -> dict[str, float]:
        """Follow the sampled tiles."""
        machine, tiles = self.machine, self.tiles
        for tile in self.chosen.tolist():
            self.look(tile)
            self._within(tile)
            if tile:
                self._between(tile)
        vectors, weights, n_tiles = int(tiles.m_size.sum()), int(tiles.k_size.sum()), len(tiles)
        moved = {name: self.mean(name, vectors, n_tiles) for name in ("act", "shifted", "addend", "sum", "carry")}
        clocked = {name: n_cycles * bits for name, bits in resting(machine).items()}
        loads = weights * machine.cols
        return {
            **clocked,
            "pe_clock": clocked["pe_clock"] + loads * decoded_bits(machine),
            **moved,
            "weight": machine.rows * self.mean("weight", weights, n_tiles),
            "load": float(loads),
            "stored": float(np.mean(self.within["stored"])) * weights,
            **self.edge(vectors, weights, vectors),
        }

    def _vectors(self, tile: int) -> Ints:
        """Return some of a tile's vectors, in runs of neighbours that are spread over the tile."""
        size = int(self.tiles.m_size[tile])
        most = max(2, min(_VECTORS, _ELEMENTS // (self.machine.rows * len(self.columns))))
        chosen = np.arange(size)
        if size > most:
            run = min(_RUN, most)
            starts = np.linspace(0, size - run, most // run).round().astype(np.int64)
            chosen = np.unique(starts[:, np.newaxis] + np.arange(run))
        return int(self.tiles.m_start[tile]) + chosen

    def _state(self, tile: int, rows: Ints) -> tuple[State, Ints, Ints, Ints]:
        """Return what elements hold for vectors `rows`, (vectors, rows, columns), and what the streams carry."""
        machine, tiles = self.machine, self.tiles
        k_start, k_size = int(tiles.k_start[tile]), int(tiles.k_size[tile])
        acts = np.zeros((len(rows), machine.rows), dtype=np.int64)
        acts[:, :k_size] = self.x[rows, k_start : k_start + k_size]
        weights = np.zeros((machine.rows, len(self.columns)), dtype=np.int64)
        weights[:k_size] = self.weights(tile)
        state, products = self.products(acts[:, :, np.newaxis], weights[np.newaxis])
        partial = self.partials(tile, rows)
        sums = partial[:, np.newaxis] + np.cumsum(products, axis=1)
        above = np.concatenate([partial[:, np.newaxis], sums[:, :-1]], axis=1)
        state |= {"sum": sums, "carry": above ^ state["addend"] ^ sums}
        return state, acts, partial, sums[:, -1]

    def _sides(
        self, acts: Ints, partial: Ints, result: Ints, *, between: bool = False, keep: Keep = slice(None)
    ) -> None:
        machine = self.machine
        self.note_acts(acts, between=between, keep=keep)
        for name, states, depth in (
            ("edge_partial", partial, self.columns + 1),
            ("edge_result", result, machine.cols - self.columns),
        ):
            self.note_columns(name, states, machine.acc_bits, depth, between=between, keep=keep)

    def _weights(self, fields: Ints, *, between: bool = False) -> None:
        self.note("weight", fields, between=between)
        self.note_columns("edge_weight", fields, FIELDS, self.columns + 1, between=between)

    def _within(self, tile: int) -> None:
        vectors = self._vectors(tile)
        neighbours = np.diff(vectors) == 1
        state, *sides = self._state(tile, vectors)
        for name, states in state.items():
            self.note(name, states, keep=neighbours)
        self._sides(*sides, keep=neighbours)
        fields = self.fields(self.weights(tile))
        self._weights(fields)
        before = np.zeros_like(fields)  # the bank's weights before: those of two tiles ago
        if tile > 1:
            known = self.fields(self.weights(tile - 2))[: len(fields)]
            before[: len(known)] = known
        self._kept("stored", np.bitwise_count(fields ^ before) @ self.stands_for, between=False)

    def _between(self, tile: int) -> None:
        last = int(self.tiles.m_start[tile - 1] + self.tiles.m_size[tile - 1]) - 1
        one = self._state(tile - 1, np.array([last]))
        other = self._state(tile, np.array([int(self.tiles.m_start[tile])]))
        for name, states in one[0].items():
            self.note(name, np.concatenate([states, other[0][name]]), between=True)
        fields = np.stack([self.fields(self.weights(tile - 1))[-1], self.fields(self.weights(tile))[0]])
        acts, partial, result = (np.concatenate(pair) for pair in zip(one[1:], other[1:], strict=True))
        self._sides(acts, partial, result, between=True)
        self._weights(fields, between=True)


class _OutputStationary(Followed):
    """Sums stay; activations pass to the right, weights down, finished sums out row by row."""

    def movement(self, n_cycles: int) -> dict[str, float]:
        """Follow the sampled tiles."""
        machine, tiles = self.machine, self.tiles
        for tile in self.chosen.tolist():
            self.look(tile)
            self.rows, self.per_row = sampled_lanes(int(tiles.m_size[tile]), machine.rows)
            self._within(tile)
            if tile:
                self._between(tile)
        steps, results, n_tiles = int(tiles.k_size.sum()), int(tiles.m_size.sum()), len(tiles)
        names = ("act", "shifted", "addend", "sum", "carry", "held")
        moved = {name: self.mean(name, steps, n_tiles) for name in names}
        clocked = {name: n_cycles * bits for name, bits in resting(machine).items()}
        sums = machine.rows * machine.cols * (steps + n_tiles)
        return {
            **clocked,
            "pe_clock": clocked["pe_clock"] + sums * machine.acc_bits,
            **moved,
            "kept": float(np.mean(self.within["kept"])) * n_tiles,
            "weight": machine.rows * self.mean("weight", steps, n_tiles),
            **self.edge(steps, steps, results),
            "drained": self.mean("result", results, n_tiles),
        }

    def _acts(self, tile: int, lanes: Ints) -> Ints:
        """Return the activations of rows `lanes` of a tile, shape (k_size, lanes)."""
        tiles = self.tiles
        k_start, k_size = int(tiles.k_start[tile]), int(tiles.k_size[tile])
        found = np.zeros((k_size, len(lanes)), dtype=np.int64)
        used = lanes < tiles.m_size[tile]
        found[:, used] = self.x[tiles.m_start[tile] + lanes[used], k_start : k_start + k_size].T
        return found

    def _state(self, tile: int, steps: slice) -> State:
        """Return what elements hold in some of a tile's steps, shape (steps, rows, columns)."""
        acts, weights = self._acts(tile, self.rows), self.weights(tile)
        start = acts[: steps.start].T @ weights[: steps.start]
        state, products = self.products(acts[steps, :, np.newaxis], weights[steps, np.newaxis])
        sums = start + np.cumsum(products, axis=0)
        before = np.concatenate([start[np.newaxis], sums[:-1]])
        held = sums.copy()
        if steps.stop == len(acts):
            held[-1] = 0
        return state | {"sum": sums, "carry": before ^ state["addend"] ^ sums, "held": held}

    def _results(self, tile: int) -> tuple[Ints, Ints]:
        """Return partial sums and results of a tile's drained rows in the sampled columns, shape (m_size, columns)."""
        rows = self.tiles.m_start[tile] + np.arange(int(self.tiles.m_size[tile]))
        partial = self.partials(tile, rows)
        return partial, partial + self._acts(tile, np.arange(len(rows))).T @ self.weights(tile)

    def _finished(self, tile: int) -> Ints:
        """Return the sums that a tile leaves in the sampled elements."""
        return self._acts(tile, self.rows).T @ self.weights(tile)

    def _sides(self, acts: Ints, fields: Ints, partial: Ints, result: Ints, *, between: bool = False) -> None:
        machine = self.machine
        self.note_acts(acts, between=between)
        for name, states, bits, depth in (
            ("edge_weight", fields, FIELDS, self.columns + 1),
            ("edge_partial", partial, machine.acc_bits, self.columns + 1),
            ("edge_result", result, machine.acc_bits, machine.cols - self.columns),
        ):
            self.note_columns(name, states, bits, depth, between=between)
        self.note("weight", fields, between=between)
        self.note("result", result, between=between)

    def _within(self, tile: int) -> None:
        size = int(self.tiles.k_size[tile])
        parts = [slice(0, size)] if size <= 2 * _STEPS else [slice(0, _STEPS), slice(size - _STEPS, size)]
        for part in parts:
            for name, states in self._state(tile, part).items():
                self.note(name, states, rows=self.per_row)
        before = self._finished(tile - 1) if tile else np.zeros((len(self.rows), len(self.columns)), dtype=np.int64)
        self.note("kept", np.stack([before, self._finished(tile)]), rows=self.per_row)
        acts = self._acts(tile, np.arange(self.machine.rows))
        self._sides(acts, self.fields(self.weights(tile)), *self._results(tile))

    def _between(self, tile: int) -> None:
        size = int(self.tiles.k_size[tile - 1])
        one, other = self._state(tile - 1, slice(size - 1, size)), self._state(tile, slice(0, 1))
        for name, states in one.items():
            self.note(name, np.concatenate([states, other[name]]), rows=self.per_row, between=True)
        all_rows = np.arange(self.machine.rows)
        pairs = [
            (self._acts(tile - 1, all_rows)[-1:], self._acts(tile, all_rows)[:1]),
            (self.fields(self.weights(tile - 1))[-1:], self.fields(self.weights(tile))[:1]),
        ]
        ended, begun = self._results(tile - 1), self._results(tile)
        pairs += [(before[-1:], after[:1]) for before, after in zip(ended, begun, strict=True)]
        acts, fields, partial, result = (np.concatenate(pair) for pair in pairs)
        self._sides(acts, fields, partial, result, between=True)
