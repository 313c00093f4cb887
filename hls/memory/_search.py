"""Order and residency without addresses: which operator runs next, what leaves the scratchpad for it.

A state says which operators are done, which tensors are in the scratchpad, and which of those have a copy outside
although they are neither inputs nor outputs. A tensor leaves only when room is needed; then its way out (if it has no
copy outside) and its way back are charged at once, since it is needed again. So the price of a state is all that is
needed to know of the past, and the cheapest path to the last state is the optimum.
"""

__all__ = ["Budgeted", "Found", "Part", "State", "best_path", "cheapest", "parts_of"]

import heapq
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tetrit.hls.memory._bits import BitGraph, bits

State = tuple[int, int, int]
"""Operators that are done, tensors in the scratchpad, and those of them that were fetched again."""

_MOST_PUSHED = 3_000_000
"""After so many steps looked at, a search gives up as if the time were over: each takes some hundred bytes."""

_CLOSED = -(1 << 60)
"""Rank of a path that is complete, before all others of its price."""


@dataclass(frozen=True)
class Part:
    """A stretch of the order between two states that no plan can avoid."""

    begin: int
    end: int
    resident: int


@dataclass(frozen=True)
class Found:
    """A path through a part: operators, what is in the scratchpad while each runs, its price, and the least price."""

    ops: list[int]
    resident: list[int]
    cost: int
    bound: int


def parts_of(graph: BitGraph) -> list[Part]:
    """Cut the graph behind each operator that all others must precede or follow, where all that lives on was in use.

    What is done then is the same in every order, and so is what the scratchpad holds: nothing but what the operator
    read and wrote. Whether a tensor was fetched again, and so has a copy outside, may differ from plan to plan, so only
    tensors that the operator wrote, or that never need to be written, may cross.
    """
    n = len(graph.ops)
    every = (1 << n) - 1
    ancestors = [0] * n
    for op in range(n):  # in an order of execution
        for other in bits(graph.before[op]):
            ancestors[op] |= ancestors[other] | 1 << other
    descendants = [0] * n
    for op in range(n):
        for other in bits(ancestors[op]):
            descendants[other] |= 1 << op
    parts = []
    begin, resident = 0, 0
    for op in range(n):
        if ancestors[op] | descendants[op] | 1 << op != every:
            continue
        end = ancestors[op] | 1 << op
        live = graph.live(end)
        if live & ~(graph.writes[op] | graph.reads[op] & graph.kept_outside):
            continue
        parts.append(Part(begin, end, resident))
        begin, resident = end, live
    if begin != every:
        parts.append(Part(begin, every, resident))
    return parts


class Budgeted:
    """The steps that a budget allows from each state."""

    def __init__(self, graph: BitGraph, budget: int) -> None:
        self.graph = graph
        self.budget = budget

    def steps(self, state: State, end: int) -> Iterator[tuple[int, State, int, int]]:
        """Yield operator, next state, price and what is in the scratchpad meanwhile, for all that may be best."""
        graph, size = self.graph, self.graph.size
        done, resident, clean = state
        used = sum(size[t] for t in bits(resident))
        ready = [op for op in bits(end & ~done) if not graph.before[op] & ~done]
        found = []
        for op in ready:
            needed = graph.needed[op]
            base = resident & ~needed
            short = graph.need_size[op] + used - sum(size[t] for t in bits(resident & needed)) - self.budget
            after = done | 1 << op
            dying = sum(1 << t for t in bits(needed) if not graph.readers[t] & ~after)
            if short <= 0 and not graph.reads[op] & ~resident and self._safe(op, dying, clean):
                inside = base | needed
                yield op, (after, inside & ~dying, clean & ~dying), 0, inside
                return
            found.append((op, needed, base, short, after, dying))
        for op, needed, base, short, after, dying in found:
            fetched = graph.reads[op] & ~resident & ~graph.kept_outside
            for gone, price in self._evictions(base, short, clean):
                inside = base & ~gone | needed
                rest = inside & ~dying
                yield op, (after, rest, (clean | fetched) & rest), price, inside

    def _safe(self, op: int, dying: int, clean: int) -> bool:
        """Whether running it at once can only make room: no plan is then better that runs it later.

        It may replace the tensors that it frees, each of which is as large as all that it leaves, and costs as much to
        evict: whatever another plan does with those until it runs the operator, this one can do with what is left.
        """
        graph = self.graph
        left = sum(graph.size[t] for t in bits(graph.writes[op] & ~dying))
        if left == 0:
            return True
        freed = graph.reads[op] & dying
        if not freed:
            return False
        left_loss = sum(graph.loss[t] for t in bits(graph.writes[op] & ~dying))
        freed_loss = sum(graph.size[t] if clean >> t & 1 else graph.loss[t] for t in bits(freed))
        return left <= min(graph.size[t] for t in bits(freed)) and left_loss <= freed_loss

    def _evictions(self, base: int, short: int, clean: int) -> Iterator[tuple[int, int]]:
        """Yield the sets of tensors, and their price, that make room and of which none could stay."""
        if short <= 0:
            yield 0, 0
            return
        size, loss = self.graph.size, self.graph.loss
        tensors = sorted((t for t in bits(base) if size[t]), key=lambda t: -size[t])
        rest = [0] * (len(tensors) + 1)
        for index in reversed(range(len(tensors))):
            rest[index] = rest[index + 1] + size[tensors[index]]
        # the largest first, so that the last one that is taken is the one that must not be in vain
        stack = [(0, 0, short, 0)]
        while stack:
            index, gone, lacking, price = stack.pop()
            if rest[index] < lacking:
                continue
            tensor = tensors[index]
            stack.append((index + 1, gone, lacking, price))
            gone |= 1 << tensor
            lacking -= size[tensor]
            price += size[tensor] if clean >> tensor & 1 else loss[tensor]
            if lacking <= 0:
                yield gone, price
            else:
                stack.append((index + 1, gone, lacking, price))


def best_path(
    graph: BitGraph,
    part: Part,
    budget: int,
    deadline: float,
    rng: random.Random | None = None,
    *,
    most_states: int | None = None,
    most_cost: int | None = None,
) -> tuple[Found | None, int]:
    """Return the cheapest path through a part, or None, and a price that none is below; see `cheapest`."""
    return cheapest(
        Budgeted(graph, budget),
        (part.begin, part.resident, 0),
        part.end,
        deadline,
        rng=rng,
        most_states=most_states,
        most_cost=most_cost,
    )


def cheapest(
    steps: Budgeted,
    start: State,
    end: int,
    deadline: float,
    *,
    rng: random.Random | None = None,
    most_states: int | None = None,
    closing: Callable[[State], int] | None = None,
    most_cost: int | None = None,
) -> tuple[Found | None, int]:
    """Return the cheapest path from a state until all operators of `end` are done, and the least price that is left.

    Parameters
    ----------
    steps : Budgeted
    start : State
    end : int
        The operators that are done behind the last one.
    deadline : float
        When to give up, on the clock of `time.monotonic`.
    rng : random.Random, optional
        Chooses among paths of one price; without it the state with the fewest bytes goes first.
    most_states : int, optional
        How many states are looked at before giving up.
    closing : callable, optional
        What is added to the price of a last state.
    most_cost : int, optional
        Only paths up to this price are of interest.

    Returns
    -------
    found : Found or None
        None if there is none, or not in time.
    bound : int
        No path is cheaper.
    """
    size = steps.graph.size
    parents: dict[State, tuple[State, int, int]] = {}
    price_of = {start: 0}
    heap: list[tuple[int, int, float, State]] = [(0, 0, 0.0, start)]
    settled: set[State] = set()
    pushed = 0
    while heap:
        price, rank, _, state = heapq.heappop(heap)
        if rank == _CLOSED:
            return _walk(parents, start, state, price), price
        if state in settled:
            continue
        settled.add(state)
        if (len(settled) % 256 == 0 and time.monotonic() > deadline) or len(settled) == most_states:
            return None, price
        if state[0] == end:
            heapq.heappush(heap, (price + (closing(state) if closing else 0), _CLOSED, 0.0, state))
            continue
        for op, following, more, inside in steps.steps(state, end):
            pushed += 1
            if pushed == _MOST_PUSHED or (pushed % 1024 == 0 and time.monotonic() > deadline):
                return None, price
            total = price + more
            if most_cost is not None and total > most_cost:
                continue
            if following in settled or price_of.get(following, total + 1) <= total:
                continue
            price_of[following] = total
            parents[following] = (state, op, inside)
            left = sum(size[t] for t in bits(following[1])) if rng is None else rng.random()
            heapq.heappush(heap, (total, -following[0].bit_count(), left, following))
    return None, most_cost + 1 if most_cost is not None else 0


def _walk(parents: dict[State, tuple[State, int, int]], start: State, state: State, cost: int) -> Found:
    ops, resident = [], []
    while state != start:
        state, op, inside = parents[state]
        ops.append(op)
        resident.append(inside)
    return Found(ops[::-1], resident[::-1], cost, cost)
