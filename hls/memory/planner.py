"""Memory plans: the least traffic within a budget, or the least room without traffic."""

__all__ = ["plan_memory"]

import math
import random
import time

from tetrit import checks
from tetrit.hls.memory._bits import BitGraph, bit_graph, bits
from tetrit.hls.memory._peak import least_peak
from tetrit.hls.memory._search import Found, Part, best_path, parts_of
from tetrit.hls.memory.baselines import by_replacement
from tetrit.hls.memory.divide import improved, quick_path
from tetrit.hls.memory.graph import TensorGraph
from tetrit.hls.memory.greedy import in_order, list_order
from tetrit.hls.memory.peak import minimum_peak
from tetrit.hls.memory.plan import MemoryPlan, plan_of, rated
from tetrit.hls.memory.require import METHODS, budget_for
from tetrit.hls.memory.schedule import stays_of, with_addresses

_QUICK_STATES = 5000
_RETRIES = 24
_PACK_SECONDS = 2.0
_MOST_SUMS = 1 << 16
_ILP_OPS = 14
"""Up to so many operators the joint program is tried when the separate search leaves a doubt."""


def plan_memory(
    graph: TensorGraph, budget_bytes: int | None, method: str = "optimal", *, seconds: float = 60.0
) -> MemoryPlan:
    """Order the operators, give their tensors addresses, and choose what goes out and comes back.

    One operator runs per step. All that it reads and writes is in the scratchpad while it runs, at addresses that do
    not overlap (nothing is computed in place), and no tensor moves within the scratchpad. Nothing is computed twice.

    Compulsory, and therefore not counted, are the first read of each input of the graph and the one write of each
    output. An input takes room from its first use on. Everything else is counted in bytes:

    - an intermediate tensor that leaves before its last use is written once (it keeps its copy outside from then on)
      and read each time it comes back;
    - an input that leaves before its last use is read again each time it comes back;
    - an output that operators read too is read each time it comes back; its write is the compulsory one.

    Contract: with ``method="optimal"`` the traffic is proven to be the least that any order and any addresses allow,
    unless the time ends first or the proof fails over fragmentation: then the best plan found is returned with
    ``optimal`` False and its gap to the bound. Every plan is one that `check_plan` accepts. Same arguments, same plan,
    as long as the time does not end first.

    Parameters
    ----------
    graph : TensorGraph
    budget_bytes : int or None
        Bytes of the scratchpad. None: the least room without any traffic, as `minimum_peak`.
    method : {"optimal", "divide", "greedy", "ilp"}
        ``"optimal"``: exact search over order and residency, then exact addresses. ``"divide"``: for large irregular
        graphs, a beam of states through each part between unavoidable states, then addresses. ``"greedy"``: the
        operator that leaves the fewest bytes next, then Belady's rule. ``"ilp"``: the joint program of order,
        residency and addresses, solved by HiGHS; for small graphs.
    seconds : float
        Time limit.

    Returns
    -------
    MemoryPlan

    Raises
    ------
    InvalidValueError
        If no plan exists within the budget: the error names the smallest one, `TensorGraph.smallest_budget`.

    Notes
    -----
    The problem, the meaning of spill and retrieve, and the budgets M_R, M_P and M_H are those of COSMA (Li, Gupta,
    Malik, arXiv 2311.18246), which solves it as one integer program. That inputs lie outside to begin with and that
    outputs have their write for free is **our reading** of "non-compulsory". The search, and that it separates
    residency from addresses, is **ours**: the least traffic without regard to addresses is a bound for the traffic
    with them, so a packing of the stays that reach it proves both.

    Examples
    --------
    >>> from tetrit.hls.memory import Op, TensorGraph
    >>> ops = [Op("a", ["x"], ["p"]), Op("b", ["p"], ["q"]), Op("c", ["q"], ["r"]), Op("d", ["p", "r"], ["y"])]
    >>> graph = TensorGraph(ops, {"x": 1, "p": 2, "q": 4, "r": 4, "y": 1})
    >>> plan = plan_memory(graph, 8)
    >>> plan.traffic_bytes, plan.spills, plan.optimal
    (4, (Move(step=2, tensor='p', n_bytes=2),), True)
    >>> plan_memory(graph, 10).traffic_bytes
    0
    """
    checks.choice("method", method, METHODS)
    limit = checks.real("seconds", seconds, minimum=0.0, exclusive=True)
    if budget_bytes is None:
        return minimum_peak(graph, method, seconds=limit)
    budget = budget_for(graph, budget_bytes)
    deadline = time.monotonic() + limit
    table = bit_graph(graph)
    if method == "ilp":
        return _joint(graph, table, budget, 0, None, deadline)
    if method == "greedy":
        return in_order(graph, table, budget, list_order(table), 0, deadline)
    exact = method == "optimal"
    plan, path, bound = _separate(graph, table, budget, deadline, exact)
    if plan is not None and (plan.optimal or not exact):
        return plan
    others = [in_order(graph, table, budget, ops, bound, deadline) for ops in (path, list_order(table))]
    others += _with_less(graph, table, budget, bound, deadline, exact)
    best = min([*([plan] if plan else []), *others], key=lambda other: other.traffic_bytes)
    if exact and not best.optimal and len(graph.ops) <= _ILP_OPS:
        best = _joint(graph, table, budget, bound, best, deadline)
    return best


def _paths(
    table: BitGraph, budget: int, deadline: float, exact: bool, rng: random.Random | None = None
) -> tuple[list[int], list[int], int, int]:
    """Return operators, what is in the scratchpad, the price and the bound of a path through all parts."""
    ops: list[int] = []
    resident: list[int] = []
    cost = bound = 0
    orders = [list(range(len(table.ops))), list_order(table)]
    parts = parts_of(table)
    for index, part in enumerate(parts):
        now = time.monotonic()
        share = (deadline - now) / (2 if index < len(parts) - 1 else 1.25)
        found, least = best_path(table, part, budget, now + share / 8, rng, most_states=_QUICK_STATES)
        if found is None:
            found, least = _by_windows(table, part, budget, orders, least, now + share * (0.6 if exact else 1))
        if exact and found.cost > least:  # is there a cheaper path? if not, that is the proof
            better, bound_now = best_path(table, part, budget, now + share, rng, most_cost=found.cost - 1)
            found, least = better or found, max(least, bound_now)
        ops += found.ops
        resident += found.resident
        cost += found.cost
        bound += least
    return ops, resident, cost, bound


def _by_windows(
    table: BitGraph, part: Part, budget: int, orders: list[list[int]], least: int, deadline: float
) -> tuple[Found, int]:
    """Return the cheapest of some quick paths through a part, improved, and a price that no path is below."""
    within = part.end & ~part.begin
    starts = [quick_path(table, part, budget, [op for op in order if within >> op & 1]) for order in orders]
    low, peak = least_peak(table, part, 0, time.monotonic() + (deadline - time.monotonic()) / 4)
    least = max(least, _price_of_peak(table, part, peak - budget))
    if low is not None:
        starts.append(quick_path(table, part, budget, low))
    starts.sort(key=lambda path: path.cost)
    best = starts[0]
    for turn, path in enumerate(starts):
        now = time.monotonic()
        best = min(
            best,
            improved(table, part, budget, path, now + (deadline - now) / (len(starts) - turn), least=least),
            key=lambda found: found.cost,
        )
    return best, least


def _price_of_peak(table: BitGraph, part: Part, lacking: int) -> int:
    """Return what the eviction of so many bytes costs at least, if tensors leave as a whole.

    Where no order needs less room than the peak, as many bytes as the budget lacks have left at that moment.
    """
    if lacking <= 0:
        return 0
    tensors = part.resident
    for op in bits(part.end & ~part.begin):
        tensors |= table.needed[op]
    sizes = [table.size[t] for t in bits(tensors) if table.size[t]]
    unit = math.gcd(*sizes)
    least = lacking
    if sum(sizes) // unit <= _MOST_SUMS:
        sums = 1  # bit n: some tensors have n units together
        for size in sizes:
            sums |= sums << size // unit
        enough = sums >> -(-lacking // unit)
        least = unit * (-(-lacking // unit) + (enough & -enough).bit_length() - 1)
    return least * (1 if tensors & table.kept_outside else 2)


def _separate(
    graph: TensorGraph, table: BitGraph, budget: int, deadline: float, exact: bool
) -> tuple[MemoryPlan | None, list[int], int]:
    """Return the first path of the least price that has addresses, its operators, and the bound."""
    rng = None
    for attempt in range(_RETRIES):
        began = time.monotonic()
        ops, resident, _, bound = _paths(table, budget, deadline, exact, rng)
        if attempt == 0:
            first, least = ops, bound
        stays, _ = with_addresses(
            table, stays_of(table, ops, resident), budget, min(deadline, time.monotonic() + _PACK_SECONDS)
        )
        if stays is not None:
            return plan_of(graph, [table.ops[op] for op in ops], stays, least), first, least
        rng = random.Random(attempt)  # paths of one price are many: another one may have addresses
        if not exact or time.monotonic() + 4 * (time.monotonic() - began) > deadline:
            break
    return None, first, least


def _with_less(
    graph: TensorGraph, table: BitGraph, budget: int, bound: int, deadline: float, exact: bool
) -> list[MemoryPlan]:
    """Return a plan whose path was searched with less room than there is, so that its stays are easier to place."""
    for percent in (1, 2, 4, 7, 11, 16):
        less = budget - budget * percent // 100
        if less < graph.smallest_budget or time.monotonic() > deadline:
            break
        ops, resident, _, _ = _paths(table, less, min(deadline, time.monotonic() + 10), exact)
        stays, _ = with_addresses(
            table, stays_of(table, ops, resident), budget, min(deadline, time.monotonic() + _PACK_SECONDS)
        )
        if stays is not None:
            return [plan_of(graph, [table.ops[op] for op in ops], stays, bound)]
    return []


def _joint(
    graph: TensorGraph, table: BitGraph, budget: int, bound: int, best: MemoryPlan | None, deadline: float
) -> MemoryPlan:
    """Return the joint program's plan, or the best one so far, with the better of both bounds."""
    from tetrit.hls.memory.ilp import solve

    found = solve(table, budget, bound, max(1.0, deadline - time.monotonic()))
    bound = max(bound, found.bound)
    best = by_replacement(graph, budget) if best is None else best
    if found.ops:
        stays, _ = with_addresses(
            table, stays_of(table, found.ops, found.resident), budget, time.monotonic() + 5 * _PACK_SECONDS
        )
        if stays is not None:
            plan = plan_of(graph, [table.ops[op] for op in found.ops], stays, bound)
            best = min(plan, best, key=lambda other: other.traffic_bytes)
    return rated(best, bound)
