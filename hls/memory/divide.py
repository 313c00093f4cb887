"""Large parts piece by piece: a quick path first, then windows of it that are searched anew, exactly, one at a time."""

__all__ = ["improved", "quick_path"]

import random
import time
from collections.abc import Sequence

from tetrit.hls.memory._bits import BitGraph, bits
from tetrit.hls.memory._search import Budgeted, Found, Part, State, cheapest
from tetrit.hls.memory.baselines import belady

_MOST_STATES = 4000
_WIDTHS = (12, 18, 26, 36, 48, 64)
"""How many operators a window has, the narrow ones first."""


def quick_path(graph: BitGraph, part: Part, budget: int, ops: Sequence[int]) -> Found:
    """Return a path in a given order, in which whatever is needed again last leaves first (Belady)."""
    inside, prices = belady(graph, budget, ops, part.resident)
    return Found(list(ops), inside, sum(prices), 0)


def improved(
    graph: BitGraph, part: Part, budget: int, path: Found, deadline: float, seed: int = 0, least: int = 0
) -> Found:
    """Return a path that is no dearer, after searching windows of it again and again.

    A window begins and ends where the path is; in between, all orders and all evictions are open. What the new piece
    leaves behind may differ from what the old one left: what it keeps and the rest does not expect is evicted, at its
    price, and what it has evicted although the rest expects it comes back when it is next read, which is paid.
    Windows lie about the steps at which something is evicted. It ends when no window of any width helps, when the
    price is the `least` one, or at the deadline.
    """
    rng = random.Random(seed)
    steps = Budgeted(graph, budget)
    ops, inside = list(path.ops), list(path.resident)
    prices, states = _replayed(graph, part, ops, inside)
    level = 0
    while level < len(_WIDTHS) and sum(prices) > least:
        width = _WIDTHS[level]
        spots = [step for step, price in enumerate(prices) if price]
        begins = sorted({max(0, spot - shift) for spot in spots for shift in (width // 4, width // 2, width * 3 // 4)})
        rng.shuffle(begins)
        before = sum(prices)
        for begin in begins:
            if time.monotonic() > deadline:
                return Found(ops, inside, sum(prices), least)
            end = min(len(ops), begin + width)
            if not sum(prices[begin:end]):
                continue
            wanted = states[end]

            def closing(state: State, wanted: State = wanted) -> int:
                extra = state[1] & ~wanted[1]
                soiled = state[1] & wanted[2] & ~state[2]
                price = sum(graph.size[t] if state[2] >> t & 1 else graph.loss[t] for t in bits(extra))
                return price + sum(graph.size[t] for t in bits(soiled))

            found, _ = cheapest(
                steps,
                states[begin],
                wanted[0],
                deadline,
                rng=rng,
                most_states=_MOST_STATES,
                closing=closing,
                most_cost=sum(prices[begin:end]),
            )
            if found is None:
                continue
            new_ops = ops[:begin] + found.ops + ops[end:]
            new_inside = inside[:begin] + found.resident + inside[end:]
            new_prices, new_states = _replayed(graph, part, new_ops, new_inside)
            if sum(new_prices) <= sum(prices):
                ops, inside, prices, states = new_ops, new_inside, new_prices, new_states
        level = 0 if sum(prices) < before else level + 1
    return Found(ops, inside, sum(prices), least)


def _after(graph: BitGraph, state: State, op: int, base: int) -> State:
    """Return the state behind an operator if `base` is what else stays."""
    done = state[0] | 1 << op
    fetched = graph.reads[op] & ~state[1] & ~graph.kept_outside
    inside = base | graph.needed[op]
    rest = inside & ~sum(1 << t for t in bits(graph.needed[op]) if not graph.readers[t] & ~done)
    return done, rest, (state[2] | fetched) & rest


def _replayed(graph: BitGraph, part: Part, ops: Sequence[int], inside: list[int]) -> tuple[list[int], list[State]]:
    """Return the price of each step and the state before it; `inside` loses what is not there until it is read."""
    state: State = (part.begin, part.resident, 0)
    states, prices = [state], []
    for step, op in enumerate(ops):
        base = state[1] & ~graph.needed[op]
        kept = base & inside[step]
        gone = base & ~kept
        prices.append(sum(graph.size[t] if state[2] >> t & 1 else graph.loss[t] for t in bits(gone)))
        inside[step] = kept | graph.needed[op]
        state = _after(graph, state, op, kept)
        states.append(state)
    return prices, states
