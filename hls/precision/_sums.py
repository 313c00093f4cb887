"""All sums of cost and loss over layers that no other sum beats in both: exact, layer after layer."""

__all__ = ["Sums", "least_costs", "nondominated"]

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sums:
    """The sums, cheapest first, so that losses fall from each to the next.

    Attributes
    ----------
    costs, losses : ndarray of float64
        Of each sum.
    steps : list of (ndarray, ndarray)
        For each layer, for each sum that was kept there: the sum of the layers before that it continues, and the
        layer's format.
    """

    costs: Floats
    losses: Floats
    steps: list[tuple[Ints, Ints]]

    def formats(self, place: int) -> Ints:
        """Return the format of each layer in the sum at `place`."""
        chosen = np.empty(len(self.steps), dtype=np.int64)
        for layer in reversed(range(len(self.steps))):
            parents, formats = self.steps[layer]
            chosen[layer] = formats[place]
            place = int(parents[place])
        return chosen


def least_costs(costs: Floats, losses: Floats) -> Floats:
    """Return what the layers from each one on, and from beyond the last, cost at least in formats of finite loss."""
    return np.append(np.cumsum(np.where(np.isinf(losses), np.inf, costs).min(axis=1)[::-1])[::-1], 0.0)


def nondominated(costs: Floats, losses: Floats, limit: float) -> Sums | None:
    """Return the sums whose costs are within `limit`, None if there is none.

    Costs and losses are added layer by layer in float64. Of sums with the same cost and loss the first is kept, in the
    order of the sums before and of the formats.
    """
    total_cost, total_loss = np.zeros(1), np.zeros(1)
    steps: list[tuple[Ints, Ints]] = []
    # what the layers to come need at least, so that sums beyond the limit are dropped at once
    least = least_costs(costs, losses)
    for layer, (own_cost, own_loss) in enumerate(zip(costs, losses, strict=True)):
        grown_cost = np.add.outer(total_cost, own_cost).ravel()
        grown_loss = np.add.outer(total_loss, own_loss).ravel()
        possible = np.flatnonzero(np.isfinite(grown_loss) & (grown_cost + least[layer + 1] <= limit))
        order = possible[np.lexsort((possible, grown_loss[possible], grown_cost[possible]))]
        before = np.minimum.accumulate(np.append(np.inf, grown_loss[order]))[:-1]
        kept = order[grown_loss[order] < before]
        if kept.size == 0:
            return None
        total_cost, total_loss = grown_cost[kept], grown_loss[kept]
        steps.append((kept // len(own_cost), kept % len(own_cost)))
    return Sums(costs=total_cost, losses=total_loss, steps=steps)
