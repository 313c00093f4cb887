"""Which points of a space are evaluated, round by round; the same for the same space and the same results so far."""

__all__ = ["rounds", "sample"]

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tetrit.explore.pareto import front
from tetrit.explore.space import FIGURES, Space

_EXPLORED = 4
"""Every so many points of a later round are drawn from the whole space instead of near the best."""

_TRIES = 64
"""Draws for a neighbour that is new, before any new point is taken."""

Results = Sequence[tuple[int, Mapping[str, Any]]]
"""Number and figures of the points that were evaluated without an error."""


def rounds(space: Space) -> int:
    """Return how many rounds there are; only the successive method has more than one."""
    return space.sampling.rounds


def sample(space: Space, number: int, taken: Sequence[int], results: Callable[[], Results]) -> list[int]:
    """Return the points of a round, in the order in which they are to be evaluated.

    Parameters
    ----------
    space : Space
    number : int
        Of the round, from 0.
    taken : sequence of int
        Points of the rounds before.
    results : callable
        Returns what these rounds gave; called from round 1 on.

    Notes
    -----
    The successive method is a plain evolutionary search of our own: from round 1 on, three of four points are
    neighbours of points of the front so far (of the feasible points, or where none is feasible, of all), one or two of
    whose parameters move to a value near theirs, or, where the values are texts, to any other; the fourth is drawn
    from the whole space.
    """
    sampling = space.sampling
    if sampling.method == "grid":
        return list(range(space.size))
    assert sampling.points is not None
    rng = random.Random(f"tetrit-explore {space.seed} {number}")
    if sampling.method == "random":
        return rng.sample(range(space.size), sampling.points)
    share = [sampling.points * place // sampling.rounds for place in (number, number + 1)]
    wanted = share[1] - share[0]
    if number == 0:
        return rng.sample(range(space.size), wanted)
    known = set(taken)
    parents = _parents(space, results())
    chosen: list[int] = []
    for place in range(wanted):
        new = None
        if parents and place % _EXPLORED != _EXPLORED - 1:
            new = next((p for p in _neighbours(space, rng, parents) if p not in known), None)
        if new is None:
            new = _new(space, rng, known)
        known.add(new)
        chosen.append(new)
    return chosen


def _parents(space: Space, results: Results) -> list[int]:
    """Return the front of what meets the constraints, or of everything if nothing does."""
    good = [(number, figures) for number, figures in results if space.feasible(figures)]
    considered = good or list(results)
    if not considered:
        return []
    costs = np.array([[FIGURES[name] * figures[name] for name in space.objectives] for _, figures in considered])
    return [considered[place][0] for place in np.flatnonzero(front(costs))]


def _neighbours(space: Space, rng: random.Random, parents: list[int]) -> Iterator[int]:
    """Yield points near the parents."""
    for _ in range(_TRIES):
        machine, index = space.locate(rng.choice(parents))
        places = machine.places(index)
        movable = [n for n, axis in enumerate(machine.axes) if len(axis.values) > 1]
        if not movable:
            continue
        for axis in rng.sample(movable, min(len(movable), rng.choice((1, 1, 2)))):
            values = machine.axes[axis].values
            if isinstance(values[0][0], str):
                places[axis] = rng.choice([place for place in range(len(values)) if place != places[axis]])
            else:
                step = rng.choice((1, 1, 1 + len(values) // 16, 1 + len(values) // 6))
                near = [place for place in (places[axis] - step, places[axis] + step) if 0 <= place < len(values)]
                places[axis] = rng.choice(near or [rng.randrange(len(values))])
        yield space.start(machine) + machine.index(places)


def _new(space: Space, rng: random.Random, known: set[int]) -> int:
    """Return any point that is not known; there is one, since no more points are asked for than there are."""
    for _ in range(_TRIES):
        drawn = rng.randrange(space.size)
        if drawn not in known:
            return drawn
    rest = [number for number in range(min(space.size, len(known) + _TRIES)) if number not in known]
    return rng.choice(rest)
