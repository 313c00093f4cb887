"""From an order of operators and what stays in between to the times of all stays, and from those to a plan."""

__all__ = ["stays_of", "with_addresses"]

from collections.abc import Sequence

from tetrit.hls.memory._bits import BitGraph, bits
from tetrit.hls.memory.packing import Box, pack, pack_together
from tetrit.hls.memory.plan import Stay


def stays_of(graph: BitGraph, ops: Sequence[int], resident: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (tensor, first step, last step) of every stay, each cut down to its uses.

    Parameters
    ----------
    graph : BitGraph
    ops : sequence of int
        Operators in their order.
    resident : sequence of int
        What is in the scratchpad while each of them runs.
    """
    stays: list[tuple[int, int, int]] = []
    begun: dict[int, tuple[int, int]] = {}  # tensor -> first step, last use so far
    for step, (op, inside) in enumerate(zip(ops, resident, strict=True)):
        for tensor in [t for t in begun if not inside >> t & 1]:
            first, last = begun.pop(tensor)
            stays.append((tensor, first, last))
        for tensor in bits(graph.needed[op]):
            begun[tensor] = (begun[tensor][0] if tensor in begun else step, step)
    stays += [(tensor, first, last) for tensor, (first, last) in begun.items()]
    return sorted(stays, key=lambda stay: (stay[1], stay[0]))


def with_addresses(
    graph: BitGraph, stays: Sequence[tuple[int, int, int]], height: int, deadline: float
) -> tuple[list[Stay] | None, bool]:
    """Return the stays with addresses below `height`, or None and whether there are proven to be none.

    All stays of a tensor get one address if such addresses are found easily.
    """
    boxes = [Box(first, last, graph.size[tensor]) for tensor, first, last in stays]
    groups: dict[int, list[Box]] = {}
    for (tensor, _, _), box in zip(stays, boxes, strict=True):
        groups.setdefault(tensor, []).append(box)
    proven = True
    together = pack_together(list(groups.values()), height, deadline) if len(groups) < len(stays) else None
    if together is None:
        addresses, proven = pack(boxes, height, deadline)
    else:
        place = dict(zip(groups, together, strict=True))
        addresses = [place[tensor] for tensor, _, _ in stays]
    if addresses is None:
        return None, proven
    placed = zip(stays, addresses, strict=True)
    return [Stay(graph.names[tensor], first, last, address) for (tensor, first, last), address in placed], True
