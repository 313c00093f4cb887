"""Elimination of nodes without a subtraction: small blocks of cells, panels of large ones, and single lines.

A network is a matrix of weights: the conductance between each pair of nodes, nothing on the diagonal. Eliminating node
k adds ``w_ik w_kj / sum of w_k`` to every other pair (star to mesh). Sums, products and quotients of numbers that are
never negative lose no digits, so each weight keeps its relative accuracy, however small it is.
"""

from typing import Any

import numpy as np
from numba import njit

__all__ = ["cells", "corrected", "each_line", "factor_panel", "join", "lines"]

_WIDTH = 64  # lines side by side: what is known of them stays in a near cache


@njit(cache=True, nogil=True)
def _eliminate(weights: Any, n_kept: int, n: int) -> None:
    """Eliminate nodes n-1 .. n_kept; below the diagonal only."""
    for k in range(n - 1, n_kept - 1, -1):
        total = 0.0
        for j in range(k):
            total += weights[k, j]
        if total == 0.0:  # an open end
            continue
        for i in range(1, k):
            share = weights[k, i] / total
            if share > 0.0:
                for j in range(i):
                    weights[i, j] += share * weights[k, j]


@njit(cache=True, nogil=True)
def cells(
    g: Any,
    row_begin: int,
    col_begin: int,
    w_row: float,
    w_driver: float,
    w_col: float,
    w_sense: float,
    two_sided: bool,
    out: Any,
) -> None:
    """Write the blocks of single cells, out[i, j] for the cell at (row_begin + i, col_begin + j).

    A cell carries the wires to its left and below it. Its nodes are, where the wires have resistance, left, right, top
    and bottom end; a wire without resistance is one node. The rightmost and the top cells have no neighbour there, so
    their own nodes are eliminated at once.
    """
    rows, cols = g.shape
    row_wires, col_wires = w_row > 0.0, w_col > 0.0
    top = 2 if row_wires else 1
    n_kept = top + (2 if col_wires else 1)
    bottom = n_kept - 1
    weights = np.zeros((n_kept + 2, n_kept + 2))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            row, col = row_begin + i, col_begin + j
            out[i, j] = 0.0
            weights[:] = 0.0
            here, below = 0, bottom  # the cell's own nodes
            if row_wires:
                here = 1
                if col == cols - 1:
                    here = n_kept
                    if two_sided:
                        weights[here, 1] = w_driver
                weights[here, 0] = w_driver if col == 0 else w_row
            if col_wires:
                below = top if row > 0 else n_kept + 1
                weights[max(below, bottom), min(below, bottom)] = w_sense if row == rows - 1 else w_col
            weights[max(here, below), min(here, below)] = g[row, col]
            _eliminate(weights, n_kept, n_kept + 2)
            for k in range(n_kept):
                for m in range(k):
                    out[i, j, k, m] = weights[k, m]


@njit(cache=True, nogil=True)
def join(blocks: Any, down: bool, places_a: Any, places_b: Any, n: int, out: Any) -> None:
    """Join neighbours, below each other or side by side, and eliminate the nodes between them.

    Node k of the first goes to `places_a[k]` of `n` nodes, of which the first stay, as many as `out` has; `places_b`
    likewise.
    """
    n_kept = out.shape[2]
    weights = np.zeros((n, n))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            weights[:] = 0.0
            for part in range(2):
                places = places_a if part == 0 else places_b
                block = blocks[2 * i + part, j] if down else blocks[i, 2 * j + part]
                for k in range(len(places)):
                    for m in range(k):
                        x, y = places[k], places[m]
                        weights[max(x, y), min(x, y)] += block[k, m]
            _eliminate(weights, n_kept, n)
            for k in range(n_kept):
                for m in range(n_kept):
                    out[i, j, k, m] = weights[k, m] if m < k else 0.0


@njit(cache=True, nogil=True)
def factor_panel(panel: Any, outside: Any, through: Any, inverse: Any) -> None:
    """Factor the first rows of a matrix of weights among nodes to be eliminated, in place.

    With D the sums of all weights of each node, ``D - W = L L'``, L lower triangular with no positive number off its
    diagonal. The pivots are sums over what is not yet eliminated, and no differences.

    Parameters
    ----------
    panel : array of float64, shape (m, n)
        Rows of W from the diagonal on; they become the rows of L', signs dropped.
    outside : array of float64, shape (m,)
        Summed weights to nodes that stay; changed.
    through : array of float64, shape (m,)
        Receives the inverse of L's leading block times `outside`.
    inverse : array of float64, shape (m, m)
        Receives the inverse of L's leading block; no number in it is negative.
    """
    m, n = panel.shape
    for k in range(m):
        total = outside[k]
        for j in range(k + 1, n):
            total += panel[k, j]
        root = np.sqrt(total) if total > 0.0 else 1.0  # a node without weights meets only zeros
        panel[k, k] = root
        for j in range(k + 1, n):
            panel[k, j] /= root
        through[k] = outside[k] / root
        for i in range(k + 1, m):
            share = panel[k, i]
            outside[i] += share * through[k]
            for j in range(i + 1, n):
                panel[i, j] += share * panel[k, j]
    inverse[:] = 0.0
    for k in range(m):
        inverse[k, k] = 1.0
        for i in range(k):
            share = panel[i, k]
            for j in range(i + 1):
                inverse[k, j] += share * inverse[i, j]
        for j in range(k + 1):
            inverse[k, j] /= panel[k, k]


# Python's check for division by 0 would keep these loops from vectorising, and so would one that has it all
@njit(cache=True, nogil=True, error_model="numpy")
def _away(loads: Any, r: float, behind: Any, pushed: Any, voltage: Any, seen: Any) -> None:
    """Take the lines over a node, away from the source."""
    for i in range(loads.size):
        before, push = behind[i], pushed[i]
        seen[i] = before
        voltage[i] = push * before
        total = before + loads[i]
        pushed[i] = push * (before / total)
        behind[i] = total / (1.0 + r * total)


@njit(cache=True, nogil=True, error_model="numpy")
def _back(loads: Any, r: float, behind: Any, pushed: Any, voltage: Any, seen: Any) -> None:
    """Take the lines over a node, towards the source."""
    for i in range(loads.size):
        before, push = behind[i], pushed[i]
        total = seen[i] + before
        voltage[i] = (voltage[i] + push * before) / total
        seen[i] = 1.0 / total
        total = before + loads[i]
        share = before / total
        pushed[i] = push * share if total > 0.0 else push
        behind[i] = total / (1.0 + r * total)


@njit(cache=True, nogil=True)
def lines(loads: Any, r: float, r_end: float, two_sided: bool) -> Any:
    """Return what lines side by side are at each of their nodes, of which `loads` are the conductances to ground.

    Parameters
    ----------
    loads : array of float64, shape (nodes, lines)
    r : float
        Resistance between nodes.
    r_end : float
        Resistance between the first node and the source; not 0 unless `r` is.
    two_sided : bool
        Whether the last node is connected to the source as the first one is.

    Returns
    -------
    array of float64, shape (nodes, lines)
        Voltage without the node's own load, for a source of 1.
    array of float64, shape (nodes, lines)
        Resistance at which the node sees the line, without its own load.
    """
    n, width = loads.shape
    voltage, seen = np.ones((n, width)), np.zeros((n, width))
    if r_end == 0.0:
        return voltage, seen
    # conductance that a node sees behind it, and voltage that it would have from there alone
    behind, pushed = np.full(width, 1.0 / r_end), np.ones(width)
    for k in range(n):
        _away(loads[k], r, behind, pushed, voltage[k], seen[k])
    behind[:] = 1.0 / r_end if two_sided else 0.0
    pushed[:] = 1.0
    for k in range(n - 1, -1, -1):
        _back(loads[k], r, behind, pushed, voltage[k], seen[k])
    return voltage, seen


@njit(cache=True, nogil=True, error_model="numpy")
def _through(g: Any, driven: Any, by_row: Any, by_col: Any, out: Any) -> None:
    """Turn what a column lets through into the effective conductances of some cells of a row."""
    for i in range(g.size):
        out[i] = g[i] * driven[i] * out[i] / (1.0 + g[i] * (by_row[i] + by_col[i]))


@njit(cache=True, nogil=True)
def each_line(g: Any, rows: Any, cols: Any, two_sided: bool, out: Any) -> None:
    """Write effective conductances of cells whose lines know nothing of each other.

    A cell passes on its share of a row's voltage, what its column's wire lets through, and its own conductance in
    series with the resistances at which it sees its row and its column.

    Parameters
    ----------
    g : array of float64, shape (rows, cols)
    rows, cols : tuple of float
        `r` and `r_end` of `lines`; columns end below their last row.
    two_sided : bool
        Of the rows.
    out : array of float64, shape (rows, cols)
        Is filled.
    """
    height, width = g.shape
    by_col = np.empty((height, width))
    for first in range(0, width, _WIDTH):
        last = min(first + _WIDTH, width)
        passed, seen = lines(g[::-1, first:last].copy(), cols[0], cols[1], False)
        out[:, first:last] = passed[::-1]
        by_col[:, first:last] = seen[::-1]
    for first in range(0, height, _WIDTH):
        last = min(first + _WIDTH, height)
        driven, seen = lines(g[first:last].T.copy(), rows[0], rows[1], two_sided)
        by_row, voltage = seen.T.copy(), driven.T.copy()
        for k in range(first, last):
            _through(g[k], voltage[k - first], by_row[k - first], by_col[k], out[k])


@njit(cache=True, nogil=True, error_model="numpy")
def corrected(first: Any, share: Any, together: Any, alone: Any, out: Any) -> None:
    """Multiply values by the ratio of two others, which are given for blocks of rows; where they are 0, it is 1.

    Parameters
    ----------
    first, share : array of int64 and of float64, shape (rows,)
        After which block a row lies, and how far on the way to the next one. Rows and blocks count from the last row.
    together, alone : array of float64, shape (blocks, cols)
        What is divided by what, linearly between blocks.
    out : array of float64, shape (rows, cols)
        Is changed.
    """
    rows, blocks = out.shape[0], together.shape[0]
    for k in range(rows):
        one = blocks - 1 - first[k]
        other = max(one - 1, 0)
        row, more, less = out[rows - 1 - k], share[k], 1.0 - share[k]
        above, beyond, under, past = together[one], together[other], alone[one], alone[other]
        for i in range(row.size):
            base = less * under[i] + more * past[i]
            ratio = (less * above[i] + more * beyond[i]) / base
            row[i] *= ratio if base > 0.0 else 1.0
