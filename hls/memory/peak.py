"""The least room in which a graph runs without any traffic that is not compulsory."""

__all__ = ["minimum_peak"]

import random
import time

from tetrit import checks
from tetrit.hls.memory._bits import BitGraph, bit_graph
from tetrit.hls.memory._peak import least_peak
from tetrit.hls.memory._search import parts_of
from tetrit.hls.memory.baselines import arena
from tetrit.hls.memory.graph import TensorGraph
from tetrit.hls.memory.greedy import list_order
from tetrit.hls.memory.packing import Box, pack
from tetrit.hls.memory.plan import MemoryPlan, Stay, plan_of, rated
from tetrit.hls.memory.require import METHODS
from tetrit.hls.memory.schedule import stays_of, with_addresses

_BEAM_WIDTH = 512
_RETRIES = 16
_PACK_SECONDS = 2.0
_ILP_OPS = 14


def minimum_peak(graph: TensorGraph, method: str = "optimal", *, seconds: float = 60.0) -> MemoryPlan:
    """Return a plan without spills and fetches in the least room: its `peak_bytes` is COSMA's budget M_P.

    Contract: with ``method="optimal"`` the peak is proven to be the least of all orders and addresses if `optimal` says
    so. It is unless the time ends first, or no addresses were found within the least sum of bytes that an order allows,
    which is the bound.

    Parameters
    ----------
    graph : TensorGraph
    method : {"optimal", "divide", "greedy", "ilp"}
        ``"divide"`` follows a beam of states, ``"greedy"`` takes the operator next that leaves the fewest bytes,
        ``"ilp"`` solves the joint program (small graphs).
    seconds : float
        Time limit.

    Returns
    -------
    MemoryPlan
        `bound` and `gap` are those of the peak.

    Examples
    --------
    >>> from tetrit.hls.memory import Op, TensorGraph
    >>> ops = [Op("a", ["x"], ["p"]), Op("b", ["p"], ["q"]), Op("c", ["p"], ["r"]), Op("d", ["q", "r"], ["y"])]
    >>> plan = minimum_peak(TensorGraph(ops, {"x": 1, "p": 4, "q": 2, "r": 3, "y": 1}))
    >>> plan.peak_bytes, plan.traffic_bytes, plan.optimal
    (9, 0, True)
    """
    checks.choice("method", method, METHODS)
    if not isinstance(graph, TensorGraph):
        raise TypeError(f"`graph` must be a TensorGraph, got {type(graph).__name__}")
    deadline = time.monotonic() + checks.real("seconds", seconds, minimum=0.0, exclusive=True)
    table = bit_graph(graph)
    if method == "ilp":
        return joint_peak(graph, table, 0, None, deadline)
    if method == "greedy":
        return _lowest(graph, table, [list_order(table)], 0, deadline)
    orders = []
    bound = 0
    rng = None
    for attempt in range(_RETRIES):
        began = time.monotonic()
        ops, peak, bound_now = _order(table, graph.smallest_budget, deadline, method == "optimal", rng)
        bound = bound_now if attempt == 0 else bound
        orders.append(ops)
        inside = _inside(table, ops)
        stays, _ = with_addresses(
            table, stays_of(table, ops, inside), peak, min(deadline, time.monotonic() + _PACK_SECONDS)
        )
        if stays is not None:
            return plan_of(graph, [table.ops[op] for op in ops], stays, bound, of_peak=True)
        rng = random.Random(attempt)
        if time.monotonic() + 4 * (time.monotonic() - began) > deadline:
            break
    best = _lowest(graph, table, orders, bound, deadline)
    if method == "optimal" and not best.optimal and len(graph.ops) <= _ILP_OPS:
        best = joint_peak(graph, table, bound, best, deadline)
    return best


def joint_peak(graph: TensorGraph, table: BitGraph, bound: int, best: MemoryPlan | None, deadline: float) -> MemoryPlan:
    """Return the joint program's plan, or the best one so far, with the better of both bounds."""
    from tetrit.hls.memory.ilp import solve

    found = solve(table, None, bound, max(1.0, deadline - time.monotonic()))
    bound = max(bound, found.bound)
    best = arena(graph) if best is None else best
    if found.ops:
        stays, _ = with_addresses(
            table, stays_of(table, found.ops, found.resident), found.height, time.monotonic() + 5 * _PACK_SECONDS
        )
        if stays is not None and found.height <= best.peak_bytes:
            return plan_of(graph, [table.ops[op] for op in found.ops], stays, bound, of_peak=True)
    return rated(best, bound, of_peak=True)


def _order(
    table: BitGraph, floor: int, deadline: float, exact: bool, rng: random.Random | None
) -> tuple[list[int], int, int]:
    """Return an order of all parts, its peak, and a peak that no order is below."""
    ops: list[int] = []
    bound = peak = floor
    for part in parts_of(table):
        now = time.monotonic()
        found, least = least_peak(table, part, peak, now + (deadline - now) / 2, rng=rng) if exact else (None, peak)
        if least > peak:  # what is not above the peak so far says nothing of this part
            bound = max(bound, least)
        if found is None:
            found, least = least_peak(table, part, peak, deadline, width=_BEAM_WIDTH, rng=rng)
            assert found is not None
        peak = max(peak, least)
        ops += found
    return ops, peak, bound


def _inside(table: BitGraph, ops: list[int]) -> list[int]:
    """Return what is in the scratchpad while each operator runs if nothing leaves early."""
    inside, live, done = [], 0, 0
    for op in ops:
        done |= 1 << op
        live |= table.needed[op]
        inside.append(live)
        live = table.live(done) & live
    return inside


def _lowest(graph: TensorGraph, table: BitGraph, orders: list[list[int]], bound: int, deadline: float) -> MemoryPlan:
    """Return the plan of the least height for which addresses are found in any of the orders."""
    best: MemoryPlan | None = None
    for ops in orders:
        times = stays_of(table, ops, _inside(table, ops))
        boxes = [Box(first, last, table.size[tensor]) for tensor, first, last in times]
        plan = arena(graph, [table.ops[op] for op in ops])
        low, high = max(bound, 1), plan.peak_bytes if best is None else min(best.peak_bytes, plan.peak_bytes)
        if best is None or plan.peak_bytes < best.peak_bytes:
            best = plan
        while low < high:
            middle = (low + high) // 2
            addresses, _ = pack(boxes, middle, min(deadline, time.monotonic() + 0.3))
            if addresses is None:
                low = middle + 1
                continue
            stays = [
                Stay(table.names[tensor], first, last, address)
                for (tensor, first, last), address in zip(times, addresses, strict=True)
            ]
            best = plan_of(graph, [table.ops[op] for op in ops], stays, bound, of_peak=True)
            high = best.peak_bytes
    assert best is not None
    return rated(best, bound, of_peak=True)
