"""What the plans are measured against: a given order, and replacement step by step on a linear allocator."""

__all__ = ["RULES", "arena", "belady", "by_replacement", "replacement_traffic"]

from collections.abc import Sequence

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hls.memory._bits import BitGraph, bit_graph, bits
from tetrit.hls.memory.graph import TensorGraph
from tetrit.hls.memory.packing import lowest
from tetrit.hls.memory.plan import MemoryPlan, Stay, plan_of
from tetrit.hls.memory.require import budget_for

RULES = ("belady", "fewest_bytes")
"""Who leaves: whoever is needed again last (Belady), or at each step those that cost the fewest bytes."""


def by_replacement(
    graph: TensorGraph, budget_bytes: int, order: Sequence[int] | None = None, rule: str = "belady"
) -> MemoryPlan:
    """Plan as a run-time system would: in a given order, each tensor at the lowest address that is free.

    Contract: always finds a plan; proves nothing (`bound` is 0).

    Parameters
    ----------
    graph : TensorGraph
    budget_bytes : int
    order : sequence of int, optional
        Indices of the operators; the graph's default order if not given.
    rule : {"belady", "fewest_bytes"}
        Which tensors leave while there is no free stretch that is large enough: again and again the one whose next use
        is furthest, or the neighbours in memory that cost the fewest bytes to move out and back and leave a stretch
        large enough between them.

    Returns
    -------
    MemoryPlan

    Raises
    ------
    InvalidValueError
        If the budget is less than the graph's smallest, the order is not one, or the rule is unknown.

    Notes
    -----
    An operator's own tensors never leave for each other as long as something else can. If nothing else is left and the
    free bytes are in pieces, they are moved together: those that were in the scratchpad go out and come back, which is
    counted like any other spill and fetch, and all are laid side by side from address 0.
    """
    budget = budget_for(graph, budget_bytes)
    checks.choice("rule", rule, RULES)
    bits_of = bit_graph(graph)
    ops = _numbers(graph, bits_of, order)
    arena = _Arena(bits_of, budget, ops, rule)
    for step in range(len(ops)):
        arena.run(step)
    stays = arena.stays()
    return plan_of(graph, [bits_of.ops[op] for op in ops], stays, 0)


def _numbers(graph: TensorGraph, table: BitGraph, order: Sequence[int] | None) -> list[int]:
    """Return the numbers of the operators in a given order of their indices, if it is one."""
    if order is None:
        return list(range(len(table.ops)))
    if sorted(order) != list(range(len(graph.ops))):
        raise InvalidValueError(f"`order` must have the index of each of the {len(graph.ops)} operators once")
    done: set[int] = set()
    for index in order:
        if not graph.needs[index] <= done:
            raise InvalidValueError(f"`order` must have '{graph.ops[index].name}' behind what it needs")
        done.add(index)
    number = {index: n for n, index in enumerate(table.ops)}
    return [number[index] for index in order]


class _Arena:
    """The scratchpad of a run-time system that is told of one operator after another."""

    def __init__(self, graph: BitGraph, budget: int, ops: list[int], rule: str) -> None:
        self.graph, self.budget, self.ops, self.rule = graph, budget, ops, rule
        self.place: dict[int, tuple[int, int]] = {}  # tensor -> address, first step
        self.clean = graph.kept_outside
        self.uses: list[list[int]] = [[] for _ in graph.size]
        for step, op in enumerate(ops):
            for tensor in bits(graph.needed[op]):
                self.uses[tensor].append(step)
        self.past: list[Stay] = []

    def stays(self) -> list[Stay]:
        for tensor in list(self.place):
            self._leave(tensor, len(self.ops))
        return self.past

    def run(self, step: int) -> None:
        op = self.ops[step]
        for tensor in list(self.place):
            if self.uses[tensor][-1] < step:
                self._leave(tensor, step)
        needed = set(bits(self.graph.needed[op]))
        coming = sorted(needed - set(self.place), key=lambda t: (-self.graph.size[t], t))
        for tensor in coming:
            address = self._address(tensor, step, needed)
            if address is None:
                self._together(step, needed)
                return
            self.place[tensor] = (address, step)

    def _address(self, tensor: int, step: int, needed: set[int]) -> int | None:
        size = self.graph.size[tensor]
        while True:
            address = lowest(((low, low + self.graph.size[t]) for t, (low, _) in self.place.items()), size)
            if self.budget - address >= size:
                return address
            others = [t for t in self.place if t not in needed]
            if not others:
                return None
            if self.rule == "belady":
                self._leave(max(others, key=lambda t: (self._next(t, step), self.graph.size[t], t)), step)
            else:
                gone = self._cheapest(size, needed)
                if gone is None:
                    return None
                for other in gone:
                    self._leave(other, step)

    def _cheapest(self, size: int, needed: set[int]) -> list[int] | None:
        """Return the tensors between two walls (needed ones, or the ends) that free enough for the fewest bytes."""
        best: tuple[int, list[int]] | None = None
        lying = sorted(self.place, key=lambda t: self.place[t][0])
        for first in range(len(lying) + 1):
            low = 0
            for t in lying[:first]:
                low = max(low, self.place[t][0] + self.graph.size[t])
            gone: list[int] = []
            price = 0
            for last in range(first, len(lying) + 1):
                high = self.place[lying[last]][0] if last < len(lying) else self.budget
                if high - low >= size:
                    if best is None or price < best[0]:
                        best = (price, gone)
                    break
                if last == len(lying) or lying[last] in needed:
                    break
                gone = [*gone, lying[last]]
                price += self._loss(lying[last])
        return None if best is None else best[1]

    def _together(self, step: int, needed: set[int]) -> None:
        """Lay what the operator needs side by side from address 0; what was there or lies in the way goes out."""
        old = {tensor: place for tensor, place in self.place.items() if place[1] < step}
        self.place = dict(old)
        address = 0
        new: dict[int, tuple[int, int]] = {}
        for tensor in sorted(needed, key=lambda t: (t not in old, old.get(t, (0, 0))[0], t)):
            if tensor in old and old[tensor][0] == address:
                new[tensor] = old[tensor]
            else:
                new[tensor] = (address, step)
            address += self.graph.size[tensor]
        for tensor in old:
            if new.get(tensor) != old[tensor] and (tensor in needed or old[tensor][0] < address):
                self._leave(tensor, step)
        self.place |= new

    def _loss(self, tensor: int) -> int:
        return self.graph.size[tensor] * (1 if self.clean >> tensor & 1 else 2)

    def _next(self, tensor: int, step: int) -> int:
        return next(use for use in self.uses[tensor] if use >= step)

    def _leave(self, tensor: int, step: int) -> None:
        address, first = self.place.pop(tensor)
        last = max(use for use in self.uses[tensor] if use < step)
        self.past.append(Stay(self.graph.names[tensor], first, last, address))
        self.clean |= 1 << tensor


def replacement_traffic(graph: TensorGraph, budget_bytes: int, order: Sequence[int] | None = None) -> int:
    """Return the traffic of Belady's rule if memory never were in pieces: a limit on what its allocator could save.

    Parameters
    ----------
    graph : TensorGraph
    budget_bytes : int
    order : sequence of int, optional
        Indices of the operators; the graph's default order if not given.

    Raises
    ------
    InvalidValueError
        If the budget is less than the graph's smallest, or the order is not one.
    """
    budget = budget_for(graph, budget_bytes)
    bits_of = bit_graph(graph)
    ops = _numbers(graph, bits_of, order)
    return sum(belady(bits_of, budget, ops)[1])


def belady(graph: BitGraph, budget: int, ops: Sequence[int], resident: int = 0) -> tuple[list[int], list[int]]:
    """Return what is in the scratchpad while each operator runs, and the price of what leaves for it.

    Whatever is needed again last leaves first; `resident` is there to begin with.
    """
    uses: list[list[int]] = [[] for _ in graph.size]
    for step in reversed(range(len(ops))):
        for tensor in bits(graph.needed[ops[step]]):
            uses[tensor].append(step)
    inside, prices = [], []
    clean = 0
    for op in ops:
        needed = graph.needed[op]
        base = resident & ~needed
        room = budget - graph.need_size[op]
        price = 0
        clean |= graph.reads[op] & ~resident
        for tensor in sorted(bits(base), key=lambda t: (-uses[t][-1], -graph.size[t], t)):
            if graph.bytes_of(base) <= room:
                break
            if graph.size[tensor]:
                base &= ~(1 << tensor)
                price += graph.size[tensor] if clean >> tensor & 1 else graph.loss[tensor]
        inside.append(base | needed)
        prices.append(price)
        resident = base | needed
        for tensor in bits(needed):
            uses[tensor].pop()
            if not uses[tensor]:
                resident &= ~(1 << tensor)
    return inside, prices


def arena(graph: TensorGraph, order: Sequence[int] | None = None) -> MemoryPlan:
    """Plan without any traffic as TFLite's arena does: greedy by size, each tensor at the lowest place that is free.

    Parameters
    ----------
    graph : TensorGraph
    order : sequence of int, optional
        Indices of the operators; the graph's default order if not given.

    Returns
    -------
    MemoryPlan
        `peak_bytes` is the size of the arena. Nothing is proven.

    Raises
    ------
    InvalidValueError
        If the order is not one.
    """
    bits_of = bit_graph(graph)
    ops = _numbers(graph, bits_of, order)
    span: dict[int, tuple[int, int]] = {}
    for step, op in enumerate(ops):
        for tensor in bits(bits_of.needed[op]):
            span[tensor] = (span.get(tensor, (step, step))[0], step)
    stays: list[Stay] = []
    for tensor in sorted(span, key=lambda t: (-bits_of.size[t], span[t])):
        first, last = span[tensor]
        address = 0
        meeting = sorted(
            (s.address, s.address + graph.sizes[s.tensor]) for s in stays if s.start <= last and first <= s.stop
        )
        for low, high in meeting:
            if low - address >= bits_of.size[tensor]:
                break
            address = max(address, high)
        stays.append(Stay(bits_of.names[tensor], first, last, address))
    return plan_of(graph, [bits_of.ops[op] for op in ops], stays, 0, of_peak=True)
