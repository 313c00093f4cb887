"""Slow references for `effective_conductance`, written down from Kirchhoff's and Ohm's laws, node by node.

Three ways that share nothing but the list of wires: branch currents in float64, node voltages in float64, and rational
numbers. Nodes are ("v", i) for the source of row i, ("r", i, j) and ("c", i, j) for the two ends of a cell, and
("s", j) for the virtual ground of column j.
"""

__all__ = ["branch_currents", "node_voltages", "rational"]

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Node = tuple[Any, ...]


def _wires(
    shape: tuple[int, int], r_row: Any, r_col: Any, r_driver: Any, r_sense: Any, two_sided: bool
) -> Iterator[tuple[Node, Node, Any]]:
    """Yield both ends and the resistance of every wire."""
    rows, cols = shape
    for i in range(rows):
        yield ("v", i), ("r", i, 0), r_driver + r_row
        for j in range(cols - 1):
            yield ("r", i, j), ("r", i, j + 1), r_row
        if two_sided:
            yield ("v", i), ("r", i, cols - 1), r_driver + r_row
    for j in range(cols):
        for i in range(rows - 1):
            yield ("c", i, j), ("c", i + 1, j), r_col
        yield ("c", rows - 1, j), ("s", j), r_col + r_sense


def branch_currents(
    g: Floats, r_row: float, r_col: float, r_driver: float, r_sense: float, two_sided: bool = False
) -> Floats:
    """Solve modified nodal analysis, dense: wire currents are unknown too, so a wire may have no resistance.

    Two-sided rows need some resistance: between perfect wires, each driver's share of the current is undetermined.
    """
    rows, cols = g.shape
    wires = list(_wires((rows, cols), r_row, r_col, r_driver, r_sense, two_sided))
    nodes: list[Node] = [(kind, i, j) for kind in "rc" for i in range(rows) for j in range(cols)]
    numbers = {node: k for k, node in enumerate(nodes)}
    n = len(nodes) + len(wires)
    matrix, right = np.zeros((n, n)), np.zeros((n, rows))
    for i in range(rows):
        for j in range(cols):
            a, b = numbers["r", i, j], numbers["c", i, j]
            matrix[a, a] += g[i, j]
            matrix[b, b] += g[i, j]
            matrix[a, b] -= g[i, j]
            matrix[b, a] -= g[i, j]
    sensed = {}
    for k, (first, second, ohm) in enumerate(wires, start=len(nodes)):
        matrix[k, k] = -ohm  # v_a - v_b - R i = 0
        for node, sign in ((first, 1), (second, -1)):
            if node[0] == "v":
                right[k, node[1]] -= sign
            elif node[0] == "s":
                sensed[node[1]] = k
            else:
                matrix[k, numbers[node]] += sign
                matrix[numbers[node], k] += sign
    solution = np.linalg.solve(matrix, right)
    return np.array([solution[sensed[j]] for j in range(cols)]).T


def node_voltages(
    g: Floats, r_row: float, r_col: float, r_driver: float, r_sense: float, two_sided: bool = False
) -> Floats:
    """Solve plain nodal analysis, sparse; every wire needs some resistance."""
    from scipy import sparse
    from scipy.sparse.linalg import splu

    rows, cols = g.shape
    cells = [(("r", i, j), ("c", i, j), 1 / g[i, j]) for i in range(rows) for j in range(cols) if g[i, j]]
    right = np.zeros((2 * g.size, rows))
    entries: list[tuple[float, int, int]] = []

    def number(node: Node) -> int:
        return int(("rc".index(node[0]) * rows + node[1]) * cols + node[2])

    for a, b, ohm in [*_wires((rows, cols), r_row, r_col, r_driver, r_sense, two_sided), *cells]:
        for node, other in ((a, b), (b, a)):
            if node[0] in "rc":
                entries.append((1 / ohm, number(node), number(node)))
                if other[0] == "v":
                    right[number(node), other[1]] += 1 / ohm
                elif other[0] in "rc":
                    entries.append((-1 / ohm, number(node), number(other)))
    values, i, j = zip(*entries, strict=True)
    voltages = splu(sparse.csc_array((values, (i, j)), shape=(2 * g.size, 2 * g.size))).solve(right)
    return np.asarray(voltages[-cols:].T / (r_col + r_sense))


def rational(g: Floats, r_row: float, r_col: float, r_driver: float, r_sense: float, two_sided: bool = False) -> Floats:
    """Eliminate node after node with rational numbers, rounded once at the end: every digit is right."""
    rows, cols = g.shape
    row, col, driver, sense = map(Fraction, (r_row, r_col, r_driver, r_sense))
    wires = list(_wires((rows, cols), row, col, driver, sense, two_sided))
    leader: dict[Node, Node] = {}

    def find(node: Node) -> Node:
        while node in leader:
            node = leader[node]
        return node

    for a, b, ohm in wires:
        if ohm == 0 and find(a) != find(b):
            first, second = sorted((find(a), find(b)), key=lambda node: node[0] in "vs")  # sources and grounds stay
            leader[first] = second
    weights: dict[Node, dict[Node, Fraction]] = {}
    cells = [(("r", i, j), ("c", i, j), 1 / Fraction(g[i, j])) for i in range(rows) for j in range(cols) if g[i, j]]
    for a, b, ohm in [*wires, *cells]:
        x, y = find(a), find(b)
        if x != y:
            for node, other in ((x, y), (y, x)):
                star = weights.setdefault(node, {})
                star[other] = star.get(other, Fraction(0)) + 1 / ohm
    for node in [node for node in weights if node[0] in "rc"]:
        star = weights.pop(node)
        total = sum(star.values())
        for x in star:
            del weights[x][node]
            for y in star:
                if x != y:
                    weights[x][y] = weights[x].get(y, Fraction(0)) + star[x] * star[y] / total
    return np.array([[float(weights.get(("v", i), {}).get(("s", j), 0)) for j in range(cols)] for i in range(rows)])
