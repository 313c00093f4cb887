"""The replay of a memory plan: written apart from all planners, it trusts nothing that a plan says about itself."""

__all__ = ["check_plan"]

from collections import defaultdict

from tetrit.errors import InvalidValueError
from tetrit.hls.memory.graph import TensorGraph
from tetrit.hls.memory.plan import MemoryPlan, Move, Stay


def check_plan(graph: TensorGraph, plan: MemoryPlan, budget_bytes: int | None = None) -> int:
    """Replay a plan step by step on a scratchpad, and count its traffic anew.

    Parameters
    ----------
    graph : TensorGraph
    plan : MemoryPlan
    budget_bytes : int, optional
        Bytes of the scratchpad; the plan's own peak if it is not given.

    Returns
    -------
    int
        Bytes of traffic that is not compulsory.

    Raises
    ------
    InvalidValueError
        If an operator is missing, unknown, runs twice or too early; a tensor is used while it is absent, is there
        before it is made, lies over another one or outside the budget; or the plan's addresses, spills, fetches,
        traffic or peak are not those of the replay.

    Examples
    --------
    >>> from tetrit.hls.memory import Op, plan_memory
    >>> graph = TensorGraph([Op("a", ["x"], ["y"]), Op("b", ["y"], ["z"])], {"x": 2, "y": 3, "z": 1})
    >>> check_plan(graph, plan_memory(graph, 5), 5)
    0
    """
    budget = plan.peak_bytes if budget_bytes is None else budget_bytes
    ops = {op.name: op for op in graph.ops}
    for name in plan.order:
        if name not in ops:
            raise InvalidValueError(f"the plan runs '{name}', which is no operator of the graph")
    if len(set(plan.order)) < len(plan.order):
        twice = next(name for name in plan.order if plan.order.count(name) > 1)
        raise InvalidValueError(f"the plan runs '{twice}' twice")
    missing = [name for name in ops if name not in set(plan.order)]
    if missing:
        raise InvalidValueError(f"the plan never runs '{missing[0]}'")

    begins: dict[int, list[Stay]] = defaultdict(list)
    for stay in plan.stays:
        if stay.tensor not in graph.sizes:
            raise InvalidValueError(f"the plan keeps '{stay.tensor}', which is no tensor of the graph")
        if not 0 <= stay.start <= stay.stop < len(plan.order):
            raise InvalidValueError(f"the plan keeps '{stay.tensor}' from step {stay.start} to step {stay.stop}")
        if stay.address < 0 or stay.address + graph.sizes[stay.tensor] > budget:
            raise InvalidValueError(
                f"the plan keeps '{stay.tensor}' at bytes {stay.address} to "
                f"{stay.address + graph.sizes[stay.tensor] - 1}, outside the {budget} of the scratchpad"
            )
        begins[stay.start].append(stay)

    outside = set(graph.inputs)  # what has a copy outside
    seen: set[str] = set()  # what has been in the scratchpad
    spills: list[Move] = []
    fetches: list[Move] = []
    left: dict[str, int] = {}  # when each tensor was last thrown out
    scratchpad: dict[str, Stay] = {}
    for step, name in enumerate(plan.order):
        for tensor, stay in list(scratchpad.items()):
            if stay.stop < step:
                del scratchpad[tensor]
                left[tensor] = step
        for stay in begins[step]:
            if stay.tensor in scratchpad:
                raise InvalidValueError(f"step {step}: the plan keeps '{stay.tensor}' twice at a time")
            for other in scratchpad.values():
                apart = (
                    stay.address + graph.sizes[stay.tensor] <= other.address
                    or other.address + graph.sizes[other.tensor] <= stay.address
                )
                if not apart and graph.sizes[stay.tensor] and graph.sizes[other.tensor]:
                    raise InvalidValueError(f"step {step}: '{stay.tensor}' lies over '{other.tensor}'")
            scratchpad[stay.tensor] = stay
            size = graph.sizes[stay.tensor]
            if stay.tensor in seen:
                if stay.tensor not in outside:
                    outside.add(stay.tensor)
                    spills.append(Move(left[stay.tensor], stay.tensor, size))
                fetches.append(Move(step, stay.tensor, size))
            elif stay.tensor not in outside and stay.tensor not in ops[name].outputs:
                raise InvalidValueError(f"step {step}: the plan keeps '{stay.tensor}' before it is made")
            seen.add(stay.tensor)
        for tensor in (*ops[name].inputs, *ops[name].outputs):
            if tensor not in scratchpad:
                raise InvalidValueError(f"step {step}: '{name}' needs '{tensor}', which is absent")
        for tensor in ops[name].outputs:
            if scratchpad[tensor].start != step:
                raise InvalidValueError(f"step {step}: the plan keeps '{tensor}' before it is made")
            if tensor in graph.outputs:  # it goes outside in any case, which is compulsory
                outside.add(tensor)

    traffic = sum(move.n_bytes for move in (*spills, *fetches))
    first = {stay.tensor: stay.address for stay in sorted(plan.stays, key=lambda stay: stay.start, reverse=True)}
    peak = max((stay.address + graph.sizes[stay.tensor] for stay in plan.stays), default=0)
    for what, said, found in (
        ("addresses", dict(plan.addresses), first),
        ("spills", sorted(plan.spills), sorted(spills)),
        ("fetches", sorted(plan.fetches), sorted(fetches)),
        ("traffic_bytes", plan.traffic_bytes, traffic),
        ("peak_bytes", plan.peak_bytes, peak),
    ):
        if said != found:
            raise InvalidValueError(f"the plan's `{what}` are not those of its stays: {said} instead of {found}")
    return traffic
