"""Addresses for stays of known times and sizes: heuristics, then an exhaustive search that can prove there are none."""

__all__ = ["Box", "lowest", "pack", "pack_together"]

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_MOST_BOXES = 500
"""Beyond it the search, one call deep for each box, is not tried."""


@dataclass(frozen=True)
class Box:
    """A size that is held from step `start` to step `stop`, both included."""

    start: int
    stop: int
    size: int


def lowest(taken: Iterable[tuple[int, int]], size: int, start: int = 0) -> int:
    """Return the lowest address from `start` on with `size` free bytes, where stretches (low, high) are taken.

    Examples
    --------
    >>> lowest([(8, 12), (0, 4)], 4), lowest([(8, 12), (0, 4)], 5), lowest([(8, 12)], 4, 2)
    (4, 12, 2)
    """
    address = start
    for low, high in sorted(taken):
        if low - address >= size:
            break
        address = max(address, high)
    return address


def pack(boxes: Sequence[Box], height: int, deadline: float, tries: int = 200) -> tuple[list[int] | None, bool]:
    """Find addresses at which boxes that meet in time do not meet in memory, all of it below `height`.

    Parameters
    ----------
    boxes : sequence of Box
    height : int
        Bytes of the scratchpad.
    deadline : float
        When to give up, on the clock of `time.monotonic`.
    tries : int
        How many orders the heuristic goes through before the exhaustive search.

    Returns
    -------
    addresses : list of int, or None
        One for each box; None if none were found.
    proven : bool
        Whether there are none, if none were found.

    Notes
    -----
    The heuristic puts boxes one after another at the lowest place that is free, and begins again with the one that did
    not fit in front. The search is that of MiniMalloc (Moffitt, ASPLOS 2023) in its main idea: a packing that cannot
    slide down has an order of rising addresses in which every box stands on one before it or on the floor, so it is
    enough to try such orders. What it prunes is **our reconstruction**: a step whose boxes that are still to come do
    not fit above the current address, and a box above which another one would fit under.

    Examples
    --------
    >>> pack([Box(0, 1, 4), Box(1, 2, 4), Box(2, 3, 2), Box(2, 3, 2)], 8, float("inf"))
    ([0, 4, 0, 2], True)
    """
    if any(box.size > height for box in boxes):
        return None, True
    solid = [index for index, box in enumerate(boxes) if box.size]
    if len(solid) < len(boxes):
        some, proven = pack([boxes[index] for index in solid], height, deadline, tries)
        place = dict(zip(solid, some or (), strict=False))
        return (None, proven) if some is None else ([place.get(index, 0) for index in range(len(boxes))], True)
    n = len(boxes)
    meets = [
        [j for j in range(n) if j != i and boxes[j].start <= boxes[i].stop and boxes[i].start <= boxes[j].stop]
        for i in range(n)
    ]
    length = max((box.stop for box in boxes), default=-1) + 1
    load = [0] * length
    for box in boxes:
        for step in range(box.start, box.stop + 1):
            load[step] += box.size
    if any(total > height for total in load):
        return None, True
    found = _heuristic(boxes, height, meets, load, tries, deadline)
    if found is not None:
        return found, True
    return _exhaustive(boxes, height, meets, load, deadline)


def pack_together(groups: Sequence[Sequence[Box]], height: int, deadline: float, tries: int = 50) -> list[int] | None:
    """Find one address for each group of boxes of one size, as `pack` does for boxes; None proves nothing.

    Parameters
    ----------
    groups : sequence of sequence of Box
        The boxes of a group do not meet in time.
    height : int
        Bytes of the scratchpad.
    deadline : float
        When to give up, on the clock of `time.monotonic`.
    tries : int
        How many orders are gone through.
    """
    n = len(groups)
    meets: list[list[int]] = [[] for _ in groups]
    load = [0] * (max((box.stop for group in groups for box in group), default=-1) + 1)
    for i, group in enumerate(groups):
        for box in group:
            for step in range(box.start, box.stop + 1):
                load[step] += box.size
        for j in range(i):
            if any(a.start <= b.stop and b.start <= a.stop for a in group for b in groups[j]):
                meets[i].append(j)
                meets[j].append(i)
    if any(total > height for total in load) or n == 0:
        return None
    hulls = [Box(group[0].start, group[-1].stop, group[0].size) for group in groups]
    return _heuristic(hulls, height, meets, load, tries, deadline)


def _heuristic(
    boxes: Sequence[Box], height: int, meets: list[list[int]], load: list[int], tries: int, deadline: float
) -> list[int] | None:
    crowd = [max(load[box.start : box.stop + 1]) for box in boxes]
    rules = [
        lambda i: (-boxes[i].size, boxes[i].start),
        lambda i: (-crowd[i], -boxes[i].size),
        lambda i: (boxes[i].start - boxes[i].stop, -boxes[i].size),
        lambda i: (boxes[i].size * (boxes[i].start - boxes[i].stop - 1), boxes[i].start),
        lambda i: (boxes[i].start, -boxes[i].stop),
    ]
    rng = random.Random(0)
    for rule in rules:
        order = sorted(range(len(boxes)), key=rule)
        for _ in range(max(1, tries // len(rules))):
            addresses = [-1] * len(boxes)
            for place, i in enumerate(order):
                taken = ((addresses[j], addresses[j] + boxes[j].size) for j in meets[i] if addresses[j] >= 0)
                address = lowest(taken, boxes[i].size)
                if address + boxes[i].size > height:
                    order.insert(rng.randrange(place // 2 + 1), order.pop(place))
                    break
                addresses[i] = address
            else:
                return addresses
            if time.monotonic() > deadline:
                return None
    return None


def _exhaustive(
    boxes: Sequence[Box], height: int, meets: list[list[int]], load: list[int], deadline: float
) -> tuple[list[int] | None, bool]:
    n = len(boxes)
    if n > _MOST_BOXES:
        return None, False
    addresses = [-1] * n
    floors = [0] * n
    coming = list(load)  # bytes that are still to be placed at each step
    tops = [0] * len(load)
    nodes = 0

    def place(count: int, level: int) -> bool:
        nonlocal nodes
        if count == n:
            return True
        nodes += 1
        if nodes % 64 == 0 and time.monotonic() > deadline:
            raise TimeoutError
        waiting = [i for i in range(n) if addresses[i] < 0]
        lid = min(floors[i] + boxes[i].size for i in waiting)
        tried = set()
        for i in sorted((i for i in waiting if level <= floors[i] < lid), key=lambda i: (floors[i], -boxes[i].size)):
            box, address = boxes[i], floors[i]
            if (alike := (box, address)) in tried or address + box.size > height:
                continue
            tried.add(alike)
            span = range(box.start, box.stop + 1)
            old_tops = [tops[step] for step in span]
            old_floors = [(j, floors[j]) for j in meets[i] if addresses[j] < 0]
            addresses[i] = address
            for step in span:
                tops[step] = address + box.size
                coming[step] -= box.size
            for j, floor in old_floors:
                floors[j] = max(floor, address + box.size)
            fits = all(
                not coming[step] or max(tops[step], address) + coming[step] <= height for step in range(len(load))
            )
            if fits and place(count + 1, address):
                return True
            addresses[i] = -1
            for step, top in zip(span, old_tops, strict=True):
                tops[step] = top
                coming[step] += box.size
            for j, floor in old_floors:
                floors[j] = floor
        return False

    try:
        return (addresses, True) if place(0, 0) else (None, True)
    except TimeoutError:
        return None, False
