"""Quick plans: an order by list scheduling, Belady's rule within it, and addresses for what comes out."""

__all__ = ["in_order", "list_order"]

import time
from collections.abc import Sequence

from tetrit.hls.memory._bits import BitGraph, bits
from tetrit.hls.memory.baselines import belady, by_replacement
from tetrit.hls.memory.graph import TensorGraph
from tetrit.hls.memory.plan import MemoryPlan, plan_of, rated
from tetrit.hls.memory.schedule import stays_of, with_addresses

_PACK_SECONDS = 1.0


def list_order(graph: BitGraph) -> list[int]:
    """Return an order in which the operator comes next that leaves the fewest bytes behind."""
    done, live = 0, 0
    order = []
    waiting = list(range(len(graph.ops)))
    while waiting:
        best: tuple[int, int] | None = None
        for op in waiting:
            if graph.before[op] & ~done:
                continue
            after = done | 1 << op
            left = 0
            for tensor in bits(graph.needed[op]):
                lives = bool(graph.readers[tensor] & ~after)
                left += graph.size[tensor] * (lives - (live >> tensor & 1))
            if best is None or left < best[0]:
                best = (left, op)
        assert best is not None
        op = best[1]
        waiting.remove(op)
        order.append(op)
        done |= 1 << op
        live |= graph.needed[op]
        live &= ~sum(1 << t for t in bits(graph.needed[op]) if not graph.readers[t] & ~done)
    return order


def in_order(
    graph: TensorGraph, table: BitGraph, budget: int, ops: Sequence[int], bound: int, deadline: float
) -> MemoryPlan:
    """Return the best plan of Belady's rule in an order, with as little of the budget kept free as addresses need.

    Where no addresses are found for what the whole budget would hold, less of it is used; the linear allocator, which
    always finds addresses, is the last resort.
    """
    order = [table.ops[op] for op in ops]
    best = by_replacement(graph, budget, order)
    for percent in (0, 1, 2, 4, 7, 11, 16, 22):
        less = budget - budget * percent // 100
        if less < graph.smallest_budget:
            break
        resident, prices = belady(table, less, ops)
        if sum(prices) >= best.traffic_bytes:
            break
        stays, _ = with_addresses(
            table, stays_of(table, ops, resident), budget, min(deadline, time.monotonic() + _PACK_SECONDS)
        )
        if stays is not None:
            best = plan_of(graph, order, stays, bound)
            break
    return rated(best, bound)
