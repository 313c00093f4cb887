"""Order, residency and addresses as one integer linear program, solved by HiGHS."""

__all__ = ["Solution", "solve"]

import math
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from tetrit.hls.highs import solver
from tetrit.hls.memory._bits import BitGraph, bits


@dataclass(frozen=True)
class Solution:
    """What the program found: operators in order, what is in the scratchpad meanwhile, the height, and the bound."""

    ops: list[int]
    resident: list[int]
    height: int
    bound: int


@dataclass
class _Program:
    """Columns and rows of a linear program, in the form that HiGHS takes them."""

    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    integer: list[bool] = field(default_factory=list)
    rows: list[tuple[float, dict[int, float], float]] = field(default_factory=list)

    def column(self, high: float = 1.0, *, cost: float = 0.0, integer: bool = True) -> int:
        self.low.append(0.0)
        self.high.append(high)
        self.cost.append(cost)
        self.integer.append(integer)
        return len(self.low) - 1

    def row(self, terms: list[tuple[float, int]], high: float, low: float = -math.inf) -> None:
        """Add low <= sum of factor * column <= high."""
        sums: dict[int, float] = {}
        for factor, column in terms:
            sums[column] = sums.get(column, 0.0) + factor
        self.rows.append((low, sums, high))


def solve(graph: BitGraph, budget: int | None, bound: int, seconds: float) -> Solution:
    """Minimise the traffic within a budget, or without one the height that no traffic needs.

    Parameters
    ----------
    graph : BitGraph
    budget : int or None
    bound : int
        What the value is known not to be below.
    seconds : float
        Time limit of the solver.

    Returns
    -------
    Solution
        Without operators if none was found in time.

    Notes
    -----
    The program is COSMA's (Li, Gupta, Malik, arXiv 2311.18246) as far as it is published: create, preserve, spill and
    retrieve for each tensor and step, addresses, and pairs above or below each other. **Ours**: one operator runs per
    step and is a variable of its own, in the window of steps that its ancestors and descendants leave it (without this
    two tensors that do not belong together could be made in one step); nothing is preserved or spilled at the first
    step; an input is read for the first time for free, an output is written for free; what is in the scratchpad must
    fit by its bytes too, which the addresses imply, but the relaxation does not know.
    """
    unit = math.gcd(*graph.size) or 1
    size = [bytes_ // unit for bytes_ in graph.size]
    n, m = len(graph.ops), len(size)
    steps = range(n)
    height = sum(size) if budget is None else budget // unit
    program = _Program()
    top = program.column(height, cost=1.0, integer=False) if budget is None else -1

    earliest, latest = _windows(graph)
    run: list[dict[int, int]] = [{t: program.column() for t in range(earliest[o], latest[o] + 1)} for o in range(n)]
    for op in range(n):
        program.row([(1.0, column) for column in run[op].values()], 1.0, 1.0)
    for step in steps:
        program.row([(1.0, run[op][step]) for op in range(n) if step in run[op]], 1.0, 1.0)

    writer = {tensor: op for op in range(n) for tensor in bits(graph.writes[op])}
    create: list[dict[int, int]] = [{} for _ in range(m)]
    preserve: list[dict[int, int]] = [{} for _ in range(m)]
    spill: list[dict[int, int]] = [{} for _ in range(m)]
    retrieve: list[dict[int, int]] = [{} for _ in range(m)]
    address = [[0] * 0 for _ in range(m)]
    span: list[range] = []
    for a in range(m):
        readers = list(bits(graph.readers[a]))
        ends = [latest[op] for op in readers] or [latest[writer[a]] if a in writer else -1]
        starts = earliest[writer[a]] if a in writer else min((earliest[op] for op in readers), default=0)
        span.append(range(starts, max(ends) + 1))
        if a in writer:
            create[a] = {t: run[writer[a]][t] for t in span[a] if t in run[writer[a]]}
        else:
            create[a] = {t: program.column() for t in span[a]}
            program.row([(1.0, column) for column in create[a].values()], 1.0)
        outside = bool(graph.kept_outside >> a & 1)
        for t in span[a][1:]:
            preserve[a][t] = program.column()
            if budget is not None:
                retrieve[a][t] = program.column(cost=size[a])
                if not outside:
                    spill[a][t] = program.column(cost=size[a])
    held = [
        {t: [(1.0, part[a][t]) for part in (create, preserve, retrieve) if t in part[a]] for t in span[a]}
        for a in range(m)
    ]
    for a in range(m):
        for t in span[a]:
            program.row([*held[a][t], *([(1.0, spill[a][t])] if t in spill[a] else [])], 1.0)
            if t == span[a].start:
                continue
            program.row([(1.0, preserve[a][t]), *((-1.0, column) for _, column in held[a][t - 1])], 0.0)
            if t in spill[a]:
                before = [part[a][t - 1] for part in (create, preserve) if t - 1 in part[a]]
                program.row([(1.0, spill[a][t]), *((-1.0, column) for column in before)], 0.0)
            if t in retrieve[a]:
                stored = spill[a] if spill[a] else create[a]
                copies = [(-1.0, column) for k, column in stored.items() if k < t]
                program.row([(1.0, retrieve[a][t]), *copies], 0.0)
        if spill[a]:
            program.row([(1.0, column) for column in spill[a].values()], 1.0)
    for op in range(n):
        for t, column in run[op].items():
            for b in bits(graph.reads[op]):
                program.row([(1.0, column), *((-1.0, other) for _, other in held[b][t])], 0.0)
    for t in steps:
        load = [(size[a] * f, column) for a in range(m) if t in held[a] for f, column in held[a][t]]
        if budget is None:
            program.row([*load, (-1.0, top)], 0.0)
        else:
            program.row(load, height)

    # addresses
    for a in range(m):
        address[a] = [program.column(max(0, height - size[a]), integer=False) for _ in span[a]]
        for k, t in enumerate(span[a]):
            if budget is None:
                program.row([(1.0, address[a][k]), (-1.0, top)], -size[a])
            if t in preserve[a]:
                for sign in (1.0, -1.0):
                    pair = [(sign, address[a][k]), (-sign, address[a][k - 1]), (height, preserve[a][t])]
                    program.row(pair, height)
    for a, b in combinations((a for a in range(m) if size[a]), 2):
        for t in range(max(span[a].start, span[b].start), min(span[a].stop, span[b].stop)):
            above, below = program.column(), program.column()
            program.row([*held[a][t], *held[b][t], (-1.0, above), (-1.0, below)], 1.0)
            at_a, at_b = address[a][t - span[a].start], address[b][t - span[b].start]
            program.row([(1.0, at_b), (-1.0, at_a), (height, above)], height - size[b])
            program.row([(1.0, at_a), (-1.0, at_b), (height, below)], height - size[a])
    least = math.ceil(bound / unit)
    program.row([(cost, column) for column, cost in enumerate(program.cost) if cost], math.inf, least)

    values, dual = _highs(program, seconds)
    proven = max(bound, unit * math.ceil(dual - 1e-6)) if math.isfinite(dual) else bound
    if values is None:
        return Solution([], [], 0, proven)
    ops = [next(op for op in range(n) if values[run[op].get(t, -1)] > 0.5 and t in run[op]) for t in steps]
    inside = [
        sum(1 << a for a in range(m) if t in held[a] and sum(values[column] for _, column in held[a][t]) > 0.5)
        for t in steps
    ]
    found = unit * round(values[top]) if budget is None else budget
    return Solution(ops, inside, found, proven)


def _windows(graph: BitGraph) -> tuple[list[int], list[int]]:
    """Return the first and the last step of each operator that its ancestors and descendants leave it."""
    n = len(graph.ops)
    ancestors = [0] * n
    for op in range(n):
        for other in bits(graph.before[op]):
            ancestors[op] |= ancestors[other] | 1 << other
    behind = [0] * n
    for op in range(n):
        for other in bits(ancestors[op]):
            behind[other] += 1
    return [mask.bit_count() for mask in ancestors], [n - 1 - count for count in behind]


def _highs(program: _Program, seconds: float) -> tuple[Any, float]:
    """Return the values of the columns, or None, and the bound of the value."""
    highs = solver(time_limit=float(seconds), mip_abs_gap=0.5, threads=1)
    import highspy
    import numpy as np

    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = len(program.low), len(program.rows)
    model.col_cost_ = np.array(program.cost)
    model.col_lower_, model.col_upper_ = np.array(program.low), np.array(program.high)
    model.row_lower_ = np.array([low for low, _, _ in program.rows])
    model.row_upper_ = np.array([high for _, _, high in program.rows])
    model.integrality_ = [
        highspy.HighsVarType.kInteger if whole else highspy.HighsVarType.kContinuous for whole in program.integer
    ]
    counts = [len(terms) for _, terms, _ in program.rows]
    matrix = model.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kRowwise
    matrix.start_ = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    matrix.index_ = np.array([column for _, terms, _ in program.rows for column in terms], dtype=np.int32)
    matrix.value_ = np.array([factor for _, terms, _ in program.rows for factor in terms.values()], dtype=np.float64)
    highs.passModel(model)
    highs.run()
    info = highs.getInfo()
    found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    values = np.array(highs.getSolution().col_value) if found else None
    return values, float(info.mip_dual_bound)
