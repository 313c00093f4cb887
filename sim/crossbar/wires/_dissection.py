"""Nested dissection of a crossbar: blocks of cells reduced to the nodes on their border, joined until one is left.

Weights are conductances between nodes (see `_kernels`); a block knows its border as four groups of nodes, in this
order: left and right ends of its rows, top and bottom ends of its columns. Rows without resistance are one node each,
kept in the first group; columns without, in the last one.
"""

__all__ = ["Network", "transfer", "work_bytes"]

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tetrit.parallel import run_items, undivided

Floats = npt.NDArray[np.float64]
Sizes = tuple[int, int, int, int]

LEFT, RIGHT, TOP, BOTTOM = range(4)

_TILE = 16
"""Compiled joins up to blocks of this many rows and columns, BLAS beyond."""

_REGION = 128
"""Rows and columns of cells whose tiles are made at a time."""

_NODE_WORK = 128
"""Effort of condensing a cell, in the elements that `tetrit.parallel` splits over threads."""

_PANEL = 64
"""Nodes that the compiled factorisation eliminates before BLAS updates the rest."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A crossbar with its wires: cells of conductance `g`, and the weight of every wire; 0 is one of no resistance."""

    g: Floats
    w_row: float
    w_driver: float
    w_col: float
    w_sense: float
    two_sided: bool

    def sizes(self, rows: slice, cols: slice) -> Sizes:
        """Return the number of border nodes, in each group, of a block."""
        n_rows, n_cols = rows.stop - rows.start, cols.stop - cols.start
        right = self.w_row > 0 and (self.two_sided or cols.stop < self.g.shape[1])
        top = self.w_col > 0 and rows.start > 0
        return n_rows, n_rows if right else 0, n_cols if top else 0, n_cols

    def full_sizes(self, n_rows: int, n_cols: int) -> Sizes:
        """Return the same for a block with neighbours on all sides."""
        return n_rows, n_rows if self.w_row > 0 else 0, n_cols if self.w_col > 0 else 0, n_cols

    @property
    def shared_drivers(self) -> bool:
        """Whether rows are single nodes behind a driver's resistance."""
        return self.w_row == 0 and self.w_driver > 0

    @property
    def shared_senses(self) -> bool:
        """Whether columns are single nodes before a sense amplifier's resistance."""
        return self.w_col == 0 and self.w_sense > 0


class _Plan(NamedTuple):
    """How two neighbours become one: group by group of each, where it goes; the eliminated nodes come last."""

    sizes: Sizes
    n_between: int
    first: list[tuple[slice, slice]]
    second: list[tuple[slice, slice]]

    @property
    def n_kept(self) -> int:
        return sum(self.sizes)


def _group(sizes: Sizes, group: int) -> slice:
    start = sum(sizes[:group])
    return slice(start, start + sizes[group])


def _plan(net: Network, a: Sizes, b: Sizes, down: bool) -> _Plan:
    """Plan the join of `a` with `b`, its right neighbour or the one below it."""
    wires = net.w_col > 0 if down else net.w_row > 0
    if down:
        outer, inner, entry = (LEFT, RIGHT), BOTTOM, TOP
        ends = (a[TOP], b[BOTTOM])
        sizes = (a[LEFT] + b[LEFT], a[RIGHT] + b[RIGHT], *ends)
    else:
        outer, inner, entry = (TOP, BOTTOM), RIGHT, LEFT
        ends = (a[LEFT], b[RIGHT])
        sizes = (*ends, a[TOP] + b[TOP], a[BOTTOM] + b[BOTTOM])
    n_kept = sum(sizes)
    n_between = a[inner] if wires else 0
    between = slice(n_kept, n_kept + n_between)
    first, second = [], []
    for group in range(4):
        place = _group(sizes, group)
        if group in outer:
            middle = place.start + a[group]
            to_a, to_b = slice(place.start, middle), slice(middle, place.stop)
        else:
            to_a = between if wires and group == inner else place
            to_b = between if wires and group == entry else place
        if a[group]:
            first.append((_group(a, group), to_a))
        if b[group]:
            second.append((_group(b, group), to_b))
    return _Plan(sizes, n_between, first, second)


def _places(moves: list[tuple[slice, slice]]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.arange(to.start, to.stop) for _, to in moves])


def eliminated(between: Floats, outside: Floats) -> Floats:
    """Return X such that eliminating nodes adds ``X' X`` to the weights among those that stay.

    Parameters
    ----------
    between : array of float64, shape (e, e)
        Weights among the nodes to eliminate, symmetric; destroyed. The diagonal is ignored.
    outside : array of float64, shape (e, n)
        Weights from them to the nodes that stay; destroyed.

    Returns
    -------
    array of float64, shape (e, n)
        No number in it is negative, and each has full relative accuracy.
    """
    from tetrit.sim.crossbar.wires import _kernels

    n = len(between)
    sums = outside.sum(axis=1)
    result = np.empty_like(outside)
    for start in range(0, n, _PANEL):
        stop = min(start + _PANEL, n)
        m = stop - start
        panel, through, inverse = between[start:stop, start:], np.empty(m), np.empty((m, m))
        _kernels.factor_panel(panel, sums[start:stop], through, inverse)
        np.matmul(inverse, outside[start:stop], out=result[start:stop])
        if stop < n:
            factor = panel[:, m:].T
            between[stop:, stop:] += factor @ factor.T
            outside[stop:] += factor @ result[start:stop]
            sums[stop:] += factor @ through
    return result


def _join(plan: _Plan, a: Floats, b: Floats, *, last: bool = False) -> Floats:
    """Return the weights of the joined block; of the last one, only those from row ends to column ends."""
    n, e = plan.n_kept, plan.n_between
    parts = ((a, plan.first), (b, plan.second))
    ends = n - plan.sizes[BOTTOM]
    rows, cols = (slice(0, ends), slice(ends, n)) if last else (slice(0, n), slice(0, n))
    weights = np.zeros((rows.stop - rows.start, cols.stop - cols.start))
    if e:
        between, outside = np.zeros((e, e)), np.zeros((e, n))
        for part, moves in parts:
            inner = next(source for source, to in moves if to.start == n)
            between += part[inner, inner]
            for source, to in moves:
                if to.start < n:
                    outside[:, to] += part[inner, source]
        x = eliminated(between, outside)
        np.matmul(x[:, rows].T, x[:, cols], out=weights)
        if not last:
            np.fill_diagonal(weights, 0.0)
    for part, moves in parts:
        kept = [(source, to) for source, to in moves if to.start < n]
        for source_i, to_i in kept:
            for source_j, to_j in kept:
                if not last:
                    weights[to_i, to_j] += part[source_i, source_j]
                elif to_i.stop <= ends <= to_j.start:
                    weights[to_i, to_j.start - ends : to_j.stop - ends] += part[source_i, source_j]
    return weights


def _split(n: int) -> int:
    """Return how many of `n` lines go to the first part: whole tiles, or a power of two."""
    if n <= _TILE:
        return 1 << ((n - 1).bit_length() - 1)
    return _TILE * -(-(n // _TILE) // 2) if n >= 2 * _TILE else _TILE


def _is_tile(n: int) -> bool:
    return n <= _TILE and n & (n - 1) == 0


def _halves(rows: slice, cols: slice) -> tuple[bool, tuple[slice, slice], tuple[slice, slice]]:
    """Split a block that is no tile: whether downwards, and its two parts."""
    height, width = rows.stop - rows.start, cols.stop - cols.start
    if not _is_tile(height) and (height >= width or _is_tile(width)):
        middle = rows.start + _split(height)
        return True, (slice(rows.start, middle), cols), (slice(middle, rows.stop), cols)
    middle = cols.start + _split(width)
    return False, (rows, slice(cols.start, middle)), (rows, slice(middle, cols.stop))


def _segments(lines: slice) -> list[tuple[int, int, int]]:
    """Cut lines into runs of equal tiles: where each run starts, how large its tiles are, and how many."""
    n, start = lines.stop - lines.start, lines.start
    runs = []
    size = _TILE
    while size:
        count = n // size
        if count:
            runs.append((start, size, count))
        start, n, size = start + count * size, n - count * size, size // 2
    return runs


def _tiles(net: Network, rows: slice, cols: slice) -> dict[tuple[int, int], Floats]:
    """Return the tiles of a region by their first row and column, made by compiled joins of ever larger blocks."""
    from tetrit.sim.crossbar.wires import _kernels

    made: dict[tuple[int, int], Floats] = {}
    tasks = [
        (row + i * height, height, col, width, count)
        for row, height, n_rows in _segments(rows)
        for i in range(n_rows)
        for col, width, count in _segments(cols)
    ]
    n_cell = sum(net.full_sizes(1, 1))
    wires = net.w_row, net.w_driver, net.w_col, net.w_sense

    def work(first: int, last: int) -> None:
        for row, height, col, width, count in tasks[first:last]:
            blocks = np.empty((height, width * count, n_cell, n_cell))
            _kernels.cells(net.g, row, col, *wires, net.two_sided, blocks)
            a = b = 1
            while (a, b) != (height, width):
                down = b == width or (a < height and a <= b)
                sizes = net.full_sizes(a, b)
                plan = _plan(net, sizes, sizes, down)
                a, b = (2 * a, b) if down else (a, 2 * b)
                n = plan.n_kept
                joined = np.empty((height // a, width * count // b, n, n))
                places, others = _places(plan.first), _places(plan.second)
                _kernels.join(blocks, down, places, others, n + plan.n_between, joined)
                blocks = joined
            for k, block in enumerate(blocks[0]):
                made[row, col + k * width] = _closed(net, block, row, height, col + k * width, width)

    run_items(work, len(tasks), _NODE_WORK * _TILE * (cols.stop - cols.start))
    return made


def _closed(net: Network, block: Floats, row: int, height: int, col: int, width: int) -> Floats:
    """Return a tile's weights, both halves, without the open ends at the border of the array."""
    weights = block + block.T
    full = net.full_sizes(height, width)
    sizes = net.sizes(slice(row, row + height), slice(col, col + width))
    if sizes == full:
        return weights
    kept = np.concatenate([np.arange(sum(full[:k]), sum(full[:k]) + sizes[k]) for k in range(4)])
    return np.ascontiguousarray(weights[np.ix_(kept, kept)])


def _block(
    net: Network,
    rows: slice,
    cols: slice,
    tiles: dict[tuple[int, int], Floats] | None = None,
    *,
    threads: int = 1,
    last: bool = False,
) -> Floats:
    """Return the weights among the border nodes of a block; of the last one, only from row ends to column ends."""
    height, width = rows.stop - rows.start, cols.stop - cols.start
    if tiles is None and max(height, width) <= _REGION:
        with undivided(0 if last else net.g.size * _NODE_WORK):
            tiles = _tiles(net, rows, cols)
    if tiles is not None and _is_tile(height) and _is_tile(width):
        weights = tiles.pop((rows.start, cols.start))
        n_drivers = len(weights) - width
        return weights[:n_drivers, n_drivers:] if last else weights
    down, first, second = _halves(rows, cols)
    plan = _plan(net, net.sizes(*first), net.sizes(*second), down)
    if threads > 1 and tiles is None:
        with ThreadPoolExecutor(1) as helper:
            other = helper.submit(_block, net, *second, threads=threads // 2)
            one = _block(net, *first, threads=threads - threads // 2)
            return _join(plan, one, other.result(), last=last)
    return _join(plan, _block(net, *first, tiles), _block(net, *second, tiles), last=last)


def transfer(net: Network, threads: int) -> Floats:
    """Return the weight from each driver to each sense amplifier, shape (rows, cols)."""
    n_rows, n_cols = net.g.shape
    everything = slice(0, n_rows), slice(0, n_cols)
    if not (net.shared_drivers or net.shared_senses):
        ends = _block(net, *everything, threads=threads, last=True)
        return ends[:n_rows] + ends[n_rows:] if len(ends) > n_rows else ends
    weights = _block(net, *everything, threads=threads)
    n_drivers = len(weights) - n_cols
    if net.shared_drivers and net.shared_senses:
        between = weights
        to_drivers, to_senses = np.zeros((len(weights), n_rows)), np.zeros((len(weights), n_cols))
        np.fill_diagonal(to_drivers[:n_rows], net.w_driver)
        np.fill_diagonal(to_senses[n_rows:], net.w_sense)
    elif net.shared_drivers:
        between = weights[:n_rows, :n_rows].copy()
        to_drivers, to_senses = np.diag(np.full(n_rows, net.w_driver)), weights[:n_rows, n_rows:]
    else:
        between = weights[n_drivers:, n_drivers:].copy()
        to_drivers, to_senses = weights[n_drivers:, :n_rows], np.diag(np.full(n_cols, net.w_sense))
        if n_drivers > n_rows:  # two-sided: one driver has both ends of a row
            to_drivers = to_drivers + weights[n_drivers:, n_rows:n_drivers]
    x = eliminated(between, np.hstack((to_drivers, to_senses)))
    return x[:, :n_rows].T @ x[:, n_rows:]


def work_bytes(net: Network, threads: int) -> int:
    """Return about how much memory `transfer` takes at its peak, beyond its argument."""
    known: dict[tuple[int, int, bool, bool, int], tuple[int, int]] = {}

    def peak(rows: slice, cols: slice, threads: int) -> tuple[int, int]:
        """Return what a block takes when it is done, and at most before that, in numbers."""
        height, width = rows.stop - rows.start, cols.stop - cols.start
        key = height, width, rows.start == 0, cols.stop == net.g.shape[1], threads
        if key in known:
            return known[key]
        n = sum(net.sizes(rows, cols))
        if max(height, width) <= _REGION:
            answer = n * n, 64 * height * width + 6 * n * n
        else:
            down, first, second = _halves(rows, cols)
            plan = _plan(net, net.sizes(*first), net.sizes(*second), down)
            e = plan.n_between
            held, most = peak(*first, threads - threads // 2 if threads > 1 else 1)
            held_2, most_2 = peak(*second, max(threads // 2, 1))
            children = most + most_2 if threads > 1 else max(most, held + most_2)
            answer = n * n, max(children, held + held_2 + n * n + 2 * e * e + 3 * e * n)
        known[key] = answer
        return answer

    n_rows, n_cols = net.g.shape
    held, most = peak(slice(0, n_rows), slice(0, n_cols), threads)
    e = n_rows * net.shared_drivers + n_cols * net.shared_senses
    ends = held + 2 * e * e + 4 * e * (n_rows + n_cols) if e else 0
    numbers: int = max(most, ends) + n_rows * n_cols
    return 8 * numbers
