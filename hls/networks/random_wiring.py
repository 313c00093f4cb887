"""A randomly wired network: RandWire of the small regime, drawn from Watts and Strogatz' graphs."""

__all__ = ["randwire_small", "watts_strogatz"]

import numpy as np

from tetrit.hls.graph import Graph
from tetrit.hls.graph.build import Builder
from tetrit.hls.networks._blocks import conv_unit, head

NODES, NEIGHBOURS, REWIRED, CHANNELS = 32, 4, 0.75, 78


def watts_strogatz(nodes: int, neighbours: int, rewired: float, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return the edges (lower, higher) of a ring in which each edge is rewired at its far end with a probability."""
    edges = {
        tuple(sorted((node, (node + hop) % nodes))) for hop in range(1, neighbours // 2 + 1) for node in range(nodes)
    }
    for hop in range(1, neighbours // 2 + 1):
        for node in range(nodes):
            edge = tuple(sorted((node, (node + hop) % nodes)))
            if edge not in edges or rng.random() >= rewired:
                continue
            free = [other for other in range(nodes) if other != node and tuple(sorted((node, other))) not in edges]
            edges.remove(edge)
            edges.add(tuple(sorted((node, int(rng.choice(free))))))
    return sorted((low, high) for low, high in edges)


def randwire_small(seed: int = 0) -> Graph:
    """Return RandWire-WS(4, 0.75) of the small regime (Xie et al., arXiv 1904.01569), C = 78, 224 x 224.

    The paper draws several networks; this is one of them, drawn with `seed`.
    """
    rng = np.random.default_rng(seed)
    b = Builder("randwire_small")
    x = conv_unit(b, b.input("image", (1, 3, 224, 224)), CHANNELS // 2, 3, 2)
    x = conv_unit(b, x, CHANNELS, 3, 2, activation=None)
    for stage in range(3):
        x = _stage(b, x, CHANNELS << stage, watts_strogatz(NODES, NEIGHBOURS, REWIRED, rng))
    return b.build([head(b, conv_unit(b, b.relu(x), 1280, 1))])


def _stage(b: Builder, x: str, channels: int, edges: list[tuple[int, int]]) -> str:
    made: list[str] = []
    for node in range(NODES):
        sources = [made[low] for low, high in edges if high == node]
        # a node sums what comes in, each with a learned weight between 0 and 1
        weighted = [b.node("Mul", [source, b.constant(np.full((1,), 0.5, np.float32))]) for source in sources]
        total = x if not sources else b.node("Sum", weighted) if len(weighted) > 1 else weighted[0]
        stride = 1 if sources else 2
        y = b.conv(b.relu(total), b.shape(total)[1], 3, stride, 1, b.shape(total)[1])
        made.append(b.batch_norm(b.conv(y, channels, 1)))
    last = [made[node] for node in range(NODES) if all(low != node for low, _ in edges)]
    return str(b.node("Mean", last)) if len(last) > 1 else last[0]
