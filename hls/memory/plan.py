"""What a memory plan says: the order of the operators, and when each tensor is where in the scratchpad."""

__all__ = ["MemoryPlan", "Move", "Stay", "plan_of", "rated"]

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tetrit.hls.memory.graph import TensorGraph


@dataclass(frozen=True, order=True)
class Stay:
    """A tensor lies in the scratchpad at one place from one step to another, both included.

    Parameters
    ----------
    tensor : str
    start, stop : int
        First and last step (place in the order) at which it is there.
    address : int
        Byte at which it begins.
    """

    tensor: str
    start: int
    stop: int
    address: int


@dataclass(frozen=True, order=True)
class Move:
    """A transfer that is not compulsory, just before a step begins.

    Parameters
    ----------
    step : int
        The step before which it happens.
    tensor : str
    n_bytes : int
    """

    step: int
    tensor: str
    n_bytes: int


@dataclass(frozen=True)
class MemoryPlan:
    """The order of the operators, and where their tensors are.

    Attributes
    ----------
    order : tuple of str
        Names of the operators, as they run; step t runs ``order[t]``.
    stays : tuple of Stay
        All of what the scratchpad holds. While a stay lasts its address does not change.
    addresses : dict of str to int
        Address of each tensor; of its first stay, if it comes back to another place.
    spills : tuple of Move
        Writes of tensors that are needed again and have no copy outside. Each tensor has one at most.
    fetches : tuple of Move
        Reads of what has been there before.
    traffic_bytes : int
        The bytes of all spills and fetches: the traffic that is not compulsory.
    peak_bytes : int
        The end of the highest tensor.
    optimal : bool
        Whether no plan within the budget has less traffic (with minimum peak: whether no plan without traffic needs
        less room), proven.
    bound : int
        What is proven: no plan has less traffic (with minimum peak: a lower peak).
    gap : float
        (value - bound) / value, 0 where both are equal.
    """

    order: tuple[str, ...]
    stays: tuple[Stay, ...]
    addresses: Mapping[str, int]
    spills: tuple[Move, ...]
    fetches: tuple[Move, ...]
    traffic_bytes: int
    peak_bytes: int
    optimal: bool
    bound: int
    gap: float


def plan_of(
    graph: TensorGraph, order: Sequence[int], stays: Iterable[Stay], bound: int, *, of_peak: bool = False
) -> MemoryPlan:
    """Return the plan that an order and the stays amount to; `bound` is the least possible traffic (or peak)."""
    kept = tuple(sorted(stays, key=lambda stay: (stay.start, stay.tensor)))
    inputs, outputs = set(graph.inputs), set(graph.outputs)
    last: dict[str, Stay] = {}
    addresses: dict[str, int] = {}
    spills, fetches = [], []
    spilled: set[str] = set()
    for stay in kept:
        size = graph.sizes[stay.tensor]
        before = last.get(stay.tensor)
        last[stay.tensor] = stay
        if before is None:
            addresses[stay.tensor] = stay.address
            continue
        fetches.append(Move(stay.start, stay.tensor, size))
        if stay.tensor not in inputs | outputs | spilled:
            spilled.add(stay.tensor)
            spills.append(Move(before.stop + 1, stay.tensor, size))
    traffic = sum(move.n_bytes for move in (*spills, *fetches))
    peak = max((stay.address + graph.sizes[stay.tensor] for stay in kept), default=0)
    plan = MemoryPlan(
        order=tuple(graph.ops[index].name for index in order),
        stays=kept,
        addresses=addresses,
        spills=tuple(sorted(spills)),
        fetches=tuple(sorted(fetches)),
        traffic_bytes=traffic,
        peak_bytes=peak,
        optimal=False,
        bound=0,
        gap=0.0,
    )
    return rated(plan, bound, of_peak=of_peak)


def rated(plan: MemoryPlan, bound: int, *, of_peak: bool = False) -> MemoryPlan:
    """Return the plan with what is proven of its traffic, or of its peak."""
    value = plan.peak_bytes if of_peak else plan.traffic_bytes
    gap = (value - bound) / value if value > bound else 0.0
    return replace(plan, bound=bound, optimal=value <= bound, gap=gap)
