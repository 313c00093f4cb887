"""The least traffic by trying everything: all orders, all sets of stays that are kept, all ways to lay them out."""

from itertools import pairwise, product

from hypothesis import strategies as st

from tetrit.hls.memory import Op, TensorGraph


@st.composite
def graphs(draw, most_ops=5, most_bytes=6):
    """Draw a graph with several readers, siblings, inputs anywhere, outputs that are read, tensors without bytes."""
    ops, tensors, sizes, outputs = [], ["x"], {"x": draw(st.integers(1, most_bytes))}, []
    for n in range(draw(st.integers(1, most_ops))):
        reads = draw(st.lists(st.sampled_from(tensors[-5:]), min_size=1, max_size=3, unique=True))
        writes = [f"t{n}"] + [f"u{n}"] * draw(st.sampled_from([False, False, False, True]))
        for tensor in writes:
            sizes[tensor] = draw(st.integers(0, most_bytes))
        ops.append(Op(f"op{n}", reads, writes))
        tensors += writes
        if draw(st.sampled_from([False] * 5 + [True])):
            outputs.append(writes[0])
        if draw(st.sampled_from([False] * 5 + [True])):
            tensors.append(f"x{n}")
            sizes[tensors[-1]] = draw(st.integers(1, most_bytes))
    return TensorGraph(draw(st.permutations(ops)), sizes, outputs)


def orders(graph):
    """Yield every order of the operators' indices."""

    def further(done):
        if len(done) == len(graph.ops):
            yield tuple(done)
        for index, needed in enumerate(graph.needs):
            if index not in done and needed <= set(done):
                yield from further([*done, index])

    yield from further([])


def least_traffic(graph, budget):
    """Return the least traffic within the budget, or None if there is no plan."""
    best = None
    for order in orders(graph):
        uses = {
            t: [s for s, i in enumerate(order) if t in (*graph.ops[i].inputs, *graph.ops[i].outputs)]
            for t in graph.sizes
        }
        gaps = [(t, a, b) for t, steps in uses.items() for a, b in pairwise(steps) if graph.sizes[t]]
        for kept in product((True, False), repeat=len(gaps)):
            cut = [gap for gap, keep in zip(gaps, kept, strict=True) if not keep]
            cost = sum(graph.sizes[t] for t, _, _ in cut)
            cost += sum(graph.sizes[t] for t in {t for t, _, _ in cut} if t not in (*graph.inputs, *graph.outputs))
            if best is not None and cost >= best:
                continue
            stays = []
            for t, steps in uses.items():
                breaks = [a for name, a, _ in cut if name == t]
                first = steps[0] if steps else None
                for a, b in zip(steps, [*steps[1:], None], strict=True):
                    if b is None or a in breaks:
                        stays.append((first, a, graph.sizes[t]))
                        first = b
            if fits(stays, budget):
                best = cost
    return best


def fits(stays, budget):
    """Return whether some order of laying the stays at the lowest free place stays within the budget: all are tried."""
    steps = max(stop for _, stop, _ in stays) + 1
    stays = [stay for stay in stays if stay[2]]
    if any(sum(z for a, b, z in stays if a <= s <= b) > budget for s in range(steps)):
        return False
    tried = set()

    def further(placed):
        key = frozenset(placed.items())
        if len(placed) == len(stays) or key in tried:
            return len(placed) == len(stays)
        tried.add(key)
        for i, (start, stop, size) in enumerate(stays):
            if i in placed:
                continue
            taken = sorted(
                (placed[j], placed[j] + stays[j][2]) for j in placed if stays[j][0] <= stop and start <= stays[j][1]
            )
            place = 0
            for low, high in taken:
                if low - place >= size:
                    break
                place = max(place, high)
            if place + size <= budget and further({**placed, i: place}):
                return True
        return False

    return further({})


def least_peak(graph):
    """Return the least budget at which some order fits without traffic."""
    found = []
    for order in orders(graph):
        uses = {
            t: [s for s, i in enumerate(order) if t in (*graph.ops[i].inputs, *graph.ops[i].outputs)]
            for t in graph.sizes
        }
        stays = [(steps[0], steps[-1], graph.sizes[t]) for t, steps in uses.items() if steps]
        budget = graph.smallest_budget
        while not fits(stays, budget):
            budget += 1
        found.append(budget)
    return min(found)


FRAGMENTED = [(0, 0, 2), (0, 1, 2), (1, 3, 1), (1, 4, 1), (3, 4, 1), (4, 6, 2), (5, 5, 2)]
"""Stays (start, stop, bytes) of which at most 4 bytes meet at a time, and which yet have no addresses within 4."""


def fragmented_graph():
    """Return a graph with those stays in its only order: tensors without bytes chain the operators."""
    steps = max(stop for _, stop, _ in FRAGMENTED) + 1
    ops = []
    for step in range(steps):
        reads = [f"chain{step - 1}"] * (step > 0)
        reads += [f"t{i}" for i, (start, stop, _) in enumerate(FRAGMENTED) if stop == step > start]
        writes = [f"chain{step}", *(f"t{i}" for i, (start, _, _) in enumerate(FRAGMENTED) if start == step)]
        ops.append(Op(f"op{step}", reads, writes))
    return TensorGraph(
        ops, {f"chain{s}": 0 for s in range(steps)} | {f"t{i}": z for i, (_, _, z) in enumerate(FRAGMENTED)}
    )
