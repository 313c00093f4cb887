"""All choices of formats that are best for some limit on one cost: the exact Pareto front of loss against it."""

__all__ = ["pareto_front"]

from collections.abc import Mapping, Sequence

import numpy as np

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hls.precision._ilp import Ilp
from tetrit.hls.precision._sums import nondominated
from tetrit.hls.precision.limits import checked_limits, refuse_impossible
from tetrit.hls.precision.table import PrecisionChoice, PrecisionTable, tied_groups

_APART = 1e-11
"""Costs that differ by less than this share count as one where an integer program finds the front."""


def pareto_front(
    table: PrecisionTable,
    cost: str,
    *,
    limits: Mapping[str, float] | None = None,
    ties: Sequence[Sequence[str]] = (),
) -> tuple[PrecisionChoice, ...]:
    """Return every choice whose loss no choice of the same or a smaller cost undercuts: all breakpoints, exactly.

    Contract: without `limits` all sums of cost and loss are followed layer after layer, as `assign_precision` does it,
    so that nothing is left out; the number of sums that no other beats can grow fast with layers whose costs have no
    common unit. With `limits`, two integer programs for each breakpoint (epsilon constraint, then the least cost at
    that loss); breakpoints whose costs differ by less than 1e-11 of them count as one.

    Parameters
    ----------
    table : PrecisionTable
    cost : str
        The resource, one of the table's.
    limits : mapping of str to float, optional
        On this resource or others, as in `choose_precision`.
    ties : sequence of sequences of str
        As in `choose_precision`.

    Returns
    -------
    tuple of PrecisionChoice
        Cheapest first; losses fall.

    Raises
    ------
    InvalidValueError
        Unknown names, or no choice is within the limits.

    Notes
    -----
    Epsilon constraint: Haimes, Lasdon, Wismer, "On a Bicriterion Formulation of the Problems of Integrated System
    Identification and System Optimization", IEEE Transactions on Systems, Man, and Cybernetics 1 (1971).

    Examples
    --------
    >>> from tetrit.hls import PrecisionTable, pareto_front
    >>> table = PrecisionTable(
    ...     layers=["a", "b"], formats=["int4", "int8"], losses=[[2, 1], [5, 1]], costs={"bits": [[4, 8], [4, 8]]}
    ... )
    >>> [(choice.costs["bits"], choice.loss) for choice in pareto_front(table, "bits")]
    [(8.0, 7.0), (12.0, 3.0), (16.0, 2.0)]
    """
    checks.choice("cost", cost, table.costs)
    groups = tied_groups(table, ties)
    given = checked_limits(table, limits or {})
    if given:
        return _by_programs(table, cost, given, groups)
    # layers that are tied count as one
    costs = np.stack([table.costs[cost][group].sum(axis=0) for group in groups])
    losses = np.stack([table.losses[group].sum(axis=0) for group in groups])
    sums = nondominated(costs, losses, np.inf)
    if sums is None:
        raise InvalidValueError("`ties` must leave every group a common format of finite loss")
    found = []
    for place in range(len(sums.costs)):
        formats = np.empty(len(table.layers), dtype=np.int64)
        for group, chosen in zip(groups, sums.formats(place), strict=True):
            formats[group] = chosen
        found.append(table.choice(formats, optimal=True))
    return tuple(found)


def _by_programs(
    table: PrecisionTable, cost: str, limits: dict[str, float], groups: list[list[int]]
) -> tuple[PrecisionChoice, ...]:
    refuse_impossible(table, limits, groups)
    others = [(table.costs[name], limit) for name, limit in limits.items() if name != cost]
    room = limits.get(cost, float(table.costs[cost].max(axis=1).sum()))
    found: list[PrecisionChoice] = []
    while True:
        caps = [*others, (table.costs[cost], room)]
        best = Ilp(table.losses, groups, caps).solve(table.losses)
        if best is None:
            return tuple(found[::-1])
        loss = table.choice(best.formats, optimal=True).loss
        cheapest = Ilp(table.losses, groups, [*caps, (table.losses, loss)]).solve(table.costs[cost])
        formats = best.formats if cheapest is None else cheapest.formats
        found.append(table.choice(formats, optimal=True))
        room = found[-1].costs[cost] * (1.0 - _APART)
        if found[-1].costs[cost] == 0.0:
            return tuple(found[::-1])
