"""Golden kernels of groups: which n of m weights are the largest, and what happens to them and to the others.

Arrays are C-contiguous (outer, lines, width). The groups run across the lines: member i of a group is on its line i;
or, where their axis is the last one, along them, m neighbours each. Every kernel works on the tiles from `first` to
before `last`, which share nothing, so that threads can share the work.
"""

__all__ = [
    "clear_pruned",
    "columns",
    "kept_integers",
    "largest_of_groups",
    "pack_kept",
    "pruned_gradient",
    "spread_kept",
    "tile_at",
]

from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tetrit.estimators._kernels import BLOCK, LANES
from tetrit.estimators.integers._kernels import clipped_block

Floats: TypeAlias = NDArray[Any]
Flags: TypeAlias = NDArray[np.bool_]
Ranks: TypeAlias = NDArray[np.int32]
Tile: TypeAlias = tuple[int, int, int, int, int]

_TILE = 4 * BLOCK
"""Elements that are worked on together: with all that is noted of them, they stay in a near cache."""


@njit(cache=True, nogil=True)
def columns(m: int) -> int:
    """Return how many groups of m are worked on together."""
    return max(_TILE // m, LANES)


@njit(cache=True, nogil=True)
def tile_at(item: int, lines: int, width: int, m: int, along_line: bool) -> Tile:
    """Return where tile `item` of arrays (outer, lines, width) lies: outer index, first line, end, first column, end.

    A tile has groups side by side: m lines of `columns`, or one line of m times as many elements.
    """
    height, breadth = 1 if along_line else m, columns(m) * (m if along_line else 1)
    down, across = (lines + height - 1) // height, (width + breadth - 1) // breadth
    o, rest = item // (down * across), item % (down * across)
    top, left = rest // across * height, rest % across * breadth
    return o, top, min(lines, top + height), left, min(width, left + breadth)


@njit(cache=True, nogil=True)
def _scratch(x: Floats, m: int, along_line: bool) -> tuple[Floats, Ranks, Flags]:
    """Return the arrays that `_keep` needs: magnitudes and ranks of the groups of a tile, and where they are kept."""
    n = columns(m)
    kept = np.empty((1 if along_line else m, m * n if along_line else n), np.bool_)
    return np.empty((m, n), x.dtype), np.empty((m, n), np.int32), kept


@njit(cache=True, nogil=True)
def _compare(own: Floats, other: Floats, own_rank: Ranks, other_rank: Ranks) -> None:
    """Add 1 to the rank of the smaller one; of equals, to that of the other, which comes later."""
    for k in range(own.size):
        larger = np.int32(other[k] > own[k])
        own_rank[k] += larger
        other_rank[k] += 1 - larger


@njit(cache=True, nogil=True)
def _four_lines(a: Floats, b: Floats, c: Floats, d: Floats, n: int, kept: Flags) -> None:
    """Do `_keep` for groups of four across lines, whose ranks need not leave the registers."""
    kept_a, kept_b, kept_c, kept_d = kept[0], kept[1], kept[2], kept[3]
    for k in range(a.size):
        x, y, z, w = abs(a[k]), abs(b[k]), abs(c[k]), abs(d[k])
        xy, xz, xw = np.int32(y > x), np.int32(z > x), np.int32(w > x)
        yz, yw, zw = np.int32(z > y), np.int32(w > y), np.int32(w > z)
        kept_a[k] = xy + xz + xw < n
        kept_b[k] = 1 - xy + yz + yw < n
        kept_c[k] = 2 - xz - yz + zw < n
        kept_d[k] = 3 - xw - yw - zw < n


@njit(cache=True, nogil=True)
def _four_in_line(line: Floats, n: int, kept: Flags) -> None:
    """Do `_keep` for whole groups of four along a line."""
    for k in range(line.size // 4):
        x, y, z, w = abs(line[4 * k]), abs(line[4 * k + 1]), abs(line[4 * k + 2]), abs(line[4 * k + 3])
        xy, xz, xw = np.int32(y > x), np.int32(z > x), np.int32(w > x)
        yz, yw, zw = np.int32(z > y), np.int32(w > y), np.int32(w > z)
        kept[4 * k] = xy + xz + xw < n
        kept[4 * k + 1] = 1 - xy + yz + yw < n
        kept[4 * k + 2] = 2 - xz - yz + zw < n
        kept[4 * k + 3] = 3 - xw - yw - zw < n


@njit(cache=True, nogil=True)
def _keep(
    x: Floats,
    n: int,
    m: int,
    along_line: bool,
    tile: Tile,
    magnitudes: Floats,
    ranks: Ranks,
    kept: Flags,
) -> None:
    """Write where the n largest |x| of every group of a tile are; of equals, the earlier ones."""
    o, top, bottom, left, right = tile
    size = right - left
    if m == 4 and along_line and size % 4 == 0:
        _four_in_line(x[o, top, left:right], n, kept[0, :size])
        return
    if m == 4 and not along_line and bottom - top == 4:
        first, second = x[o, top, left:right], x[o, top + 1, left:right]
        _four_lines(first, second, x[o, top + 2, left:right], x[o, top + 3, left:right], n, kept)
        return
    members, groups = (m, (size + m - 1) // m) if along_line else (bottom - top, size)
    for i in range(members):
        magnitude = magnitudes[i]
        line = x[o, top, left:right] if along_line else x[o, top + i, left:right]
        if along_line:
            magnitude[groups - 1] = -1.0  # what the last group lacks is smaller than all
            for k in range((size - i + m - 1) // m):
                magnitude[k] = abs(line[k * m + i])
        else:
            for k in range(groups):
                magnitude[k] = abs(line[k])
    ranks[:members, :groups] = 0
    for i in range(members):
        for j in range(i + 1, members):
            _compare(magnitudes[i, :groups], magnitudes[j, :groups], ranks[i, :groups], ranks[j, :groups])
    for i in range(members):
        rank, line_kept = ranks[i], kept[0 if along_line else i]
        if along_line:
            for k in range((size - i + m - 1) // m):
                line_kept[k * m + i] = rank[k] < n
        else:
            for k in range(groups):
                line_kept[k] = rank[k] < n


@njit(cache=True, nogil=True)
def largest_of_groups(x: Floats, n: int, m: int, along_line: bool, kept: Flags, first: int, last: int) -> None:
    """Write whether x is among the n largest |x| of its m; of equals, the earlier ones are."""
    magnitudes, ranks, marks = _scratch(x, m, along_line)
    for item in range(first, last):
        tile = tile_at(item, x.shape[1], x.shape[2], m, along_line)
        o, top, bottom, left, right = tile
        _keep(x, n, m, along_line, tile, magnitudes, ranks, marks)
        for i in range(bottom - top):
            line, line_marks = kept[o, top + i, left:right], marks[i]
            for k in range(line.size):
                line[k] = line_marks[k]


@njit(cache=True, nogil=True)
def _pack_line(kept: Flags, source: Floats, packed: Floats) -> None:
    """Write the kept elements of whole groups, and of a last one."""
    # no branch on what nobody can predict: what is not kept is written, and then overwritten
    place, end = 0, packed.size - 1
    for k in range(kept.size):
        at = place if place < end else end
        packed[at] = source[k] if kept[k] or place < end else packed[at]
        place += kept[k]


@njit(cache=True, nogil=True)
def _spread_line(kept: Flags, packed: Floats, out: Floats) -> None:
    """Undo `_pack_line`."""
    place, end = 0, packed.size - 1
    for k in range(kept.size):
        value = packed[place if place < end else end]
        out[k] = value if kept[k] else out[k]
        place += kept[k]


@njit(cache=True, nogil=True)
def pack_kept(
    kept: Flags, n: int, m: int, along_line: bool, source: Floats, packed: Floats, first: int, last: int
) -> None:
    """Write the elements of `source` that are kept, in their order, after one another."""
    place = np.empty(columns(m), np.int32)
    for item in range(first, last):
        o, top, bottom, left, right = tile_at(item, kept.shape[1], kept.shape[2], m, along_line)
        if along_line:
            head = left // m * n
            slots = packed[o, top, head : head + columns(m) * n]
            _pack_line(kept[o, top, left:right], source[o, top, left:right], slots)
            continue
        head, filled = top // m * n, min(n, bottom - top)
        spare = bottom - top - filled
        place[:] = 0
        for i in range(bottom - top):
            line_kept, line = kept[o, top + i, left:right], source[o, top + i, left:right]
            for s in range(max(0, i - spare), min(i + 1, filled)):
                slot = packed[o, head + s, left:right]
                for k in range(line.size):
                    element, before = line[k], slot[k]
                    slot[k] = element if line_kept[k] & (place[k] == s) else before
            for k in range(line.size):
                place[k] += line_kept[k]


@njit(cache=True, nogil=True)
def spread_kept(
    kept: Flags, n: int, m: int, along_line: bool, packed: Floats, out: Floats, first: int, last: int
) -> None:
    """Undo `pack_kept`: write the packed elements to where they came from in `out`, and nothing elsewhere."""
    place = np.empty(columns(m), np.int32)
    for item in range(first, last):
        o, top, bottom, left, right = tile_at(item, kept.shape[1], kept.shape[2], m, along_line)
        if along_line:
            head = left // m * n
            slots = packed[o, top, head : head + columns(m) * n]
            _spread_line(kept[o, top, left:right], slots, out[o, top, left:right])
            continue
        head, filled = top // m * n, min(n, bottom - top)
        spare = bottom - top - filled
        place[:] = 0
        for i in range(bottom - top):
            line_kept, line = kept[o, top + i, left:right], out[o, top + i, left:right]
            for s in range(max(0, i - spare), min(i + 1, filled)):
                slot = packed[o, head + s, left:right]
                for k in range(line.size):
                    element, before = slot[k], line[k]
                    line[k] = element if line_kept[k] & (place[k] == s) else before
            for k in range(line.size):
                place[k] += line_kept[k]


@njit(cache=True, nogil=True)
def kept_integers(
    x: Floats, n: int, m: int, along_line: bool, scale: float, largest: float, out: Floats, first: int, last: int
) -> None:
    """Write the value of `tetrit.estimators.integers._kernels.clipped_block` where x is kept, and 0 elsewhere."""
    magnitudes, ranks, kept = _scratch(x, m, along_line)
    for item in range(first, last):
        tile = tile_at(item, x.shape[1], x.shape[2], m, along_line)
        o, top, bottom, left, right = tile
        _keep(x, n, m, along_line, tile, magnitudes, ranks, kept)
        for i in range(bottom - top):
            for start in range(left, right, BLOCK):
                stop = min(right, start + BLOCK)
                part_kept, part_out = kept[i, start - left : stop - left], out[o, top + i, start:stop]
                clipped_block(x[o, top + i, start:stop], scale, -largest, largest, scale, part_out)
                for k in range(part_out.size):
                    part_out[k] = part_out[k] if part_kept[k] else 0.0


@njit(cache=True, nogil=True)
def clear_pruned(x: Floats, n: int, m: int, along_line: bool, values: Floats, first: int, last: int) -> None:
    """Write 0 to the values of the x that are not kept."""
    magnitudes, ranks, kept = _scratch(x, m, along_line)
    for item in range(first, last):
        tile = tile_at(item, x.shape[1], x.shape[2], m, along_line)
        o, top, bottom, left, right = tile
        _keep(x, n, m, along_line, tile, magnitudes, ranks, kept)
        for i in range(bottom - top):
            line, line_kept = values[o, top + i, left:right], kept[i, : right - left]
            for k in range(line.size):
                line[k] = line[k] if line_kept[k] else 0.0


@njit(cache=True, nogil=True)
def pruned_gradient(
    x: Floats, n: int, m: int, along_line: bool, grad: Floats, decay: float, out: Floats, first: int, last: int
) -> None:
    """Write grad where x is kept, and grad + decay x elsewhere; `out` may be one of them."""
    magnitudes, ranks, kept = _scratch(x, m, along_line)
    for item in range(first, last):
        tile = tile_at(item, x.shape[1], x.shape[2], m, along_line)
        o, top, bottom, left, right = tile
        _keep(x, n, m, along_line, tile, magnitudes, ranks, kept)
        for i in range(bottom - top):
            line, line_grad = x[o, top + i, left:right], grad[o, top + i, left:right]
            line_out, line_kept = out[o, top + i, left:right], kept[i, : right - left]
            for k in range(line.size):
                g = np.float64(line_grad[k])
                line_out[k] = g if line_kept[k] else g + decay * np.float64(line[k])
