"""The choice of one format for every layer within several limits at once, as an integer program: proven, or a gap."""

__all__ = ["checked_limits", "choose_precision", "refuse_impossible"]

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hls.precision._ilp import SLACK, Ilp
from tetrit.hls.precision.table import PrecisionChoice, PrecisionTable, tied_groups


def choose_precision(
    table: PrecisionTable,
    limits: Mapping[str, float],
    *,
    ties: Sequence[Sequence[str]] = (),
    time_limit_s: float = 60.0,
) -> PrecisionChoice:
    """Choose a format for every layer: the least sum of losses within all limits.

    Contract: where `optimal` is set, HiGHS has proven that no choice within the limits loses less, up to 1e-12 of the
    largest loss; which of equal ones it finds is the same every time. Sums are within the limits up to 1e-12 of these.
    After a time-out the best choice so far, with the `gap` to the bound that has been proven.

    Parameters
    ----------
    table : PrecisionTable
    limits : mapping of str to float
        By name of the resource, the greatest sum over layers, from 0 to infinity; any number of the table's resources,
        also none.
    ties : sequence of sequences of str
        Groups of layers that must have the same format, such as those whose results a residual connection adds.
    time_limit_s : float, default 60
        Above 0; infinity for no limit.

    Returns
    -------
    PrecisionChoice

    Raises
    ------
    InvalidValueError
        An unknown resource or layer; no choice within the limits (the message names the smallest limit that would do);
        or a time-out before any choice was found.
    ToolError
        If highspy is not installed.

    Notes
    -----
    The integer program is that of HAWQ-V3 (Yao et al., arXiv 2011.10680): a binary variable for each layer and format,
    one format a layer, limits on sums, equal formats in residual branches; there it has two formats, 4 and 8 bits, and
    one of the limits at a time.

    Examples
    --------
    >>> from tetrit.hls import PrecisionTable, choose_precision
    >>> table = PrecisionTable(
    ...     layers=["a", "b", "c"],
    ...     formats=["int4", "int8"],
    ...     losses=[[2, 1], [5, 1], [4, 3]],
    ...     costs={"size_bits": [[4, 8], [4, 8], [8, 16]], "cycles": [[1, 2], [5, 10], [2, 4]]},
    ... )
    >>> dict(choose_precision(table, {"size_bits": 20, "cycles": 15}).formats)
    {'a': 'int4', 'b': 'int8', 'c': 'int4'}
    >>> choose_precision(table, {"size_bits": 24}, ties=[["a", "c"]]).loss
    7.0
    """
    groups = tied_groups(table, ties)
    given = checked_limits(table, limits)
    seconds = checks.real("time_limit_s", time_limit_s, minimum=0.0, exclusive=True, infinite=True)
    caps = [(table.costs[name], limit) for name, limit in given.items()]
    found = Ilp(table.losses, groups, caps).solve(table.losses, time_limit_s=seconds)
    if found is None:
        refuse_impossible(table, given, groups)
        raise InvalidValueError("`limits` allow no choice")
    if not found.formats.size:
        raise InvalidValueError(f"`time_limit_s` of {seconds:g} s was over before any choice was found")
    return table.choice(found.formats, optimal=found.optimal, bound=found.bound)


def checked_limits(table: PrecisionTable, limits: Any) -> dict[str, float]:
    """Return limits by name, after checking them."""
    if not isinstance(limits, Mapping):
        raise TypeError(f"`limits` must be a mapping of resources to numbers, got {limits!r}")
    for name in limits:
        checks.choice("limits", name, table.costs)
    return {name: checks.real(f"limits['{name}']", limit, minimum=0.0, infinite=True) for name, limit in limits.items()}


def refuse_impossible(table: PrecisionTable, limits: Mapping[str, float], groups: Sequence[Sequence[int]]) -> None:
    """Raise InvalidValueError if no choice is within the limits, with the smallest limit that would do."""
    for name, limit in limits.items():
        least = _least(table, name, groups)
        if limit < least - SLACK * abs(least):
            raise InvalidValueError(
                f"`limits`: {name} must be at least {_shown(least)}, the least that the layers need, got {limit:g}"
            )
    caps = {name: (table.costs[name], limit) for name, limit in limits.items()}
    if Ilp(table.losses, groups, list(caps.values())).solve(np.zeros_like(table.losses)) is not None:
        return
    for name, limit in limits.items():
        others = [cap for other, cap in caps.items() if other != name]
        found = Ilp(table.losses, groups, others).solve(table.costs[name])
        if found is not None and found.formats.size:
            needed = table.choice(found.formats, optimal=True).costs[name]
            raise InvalidValueError(
                f"`limits`: no choice is within all of them; {name} must be at least {_shown(needed)} where the others "
                f"stay, got {limit:g}"
            )
    raise InvalidValueError(f"`limits`: no choice is within all of them, nor within all but one: {dict(limits)}")


def _least(table: PrecisionTable, name: str, groups: Sequence[Sequence[int]]) -> float:
    possible = np.where(np.isinf(table.losses), np.inf, table.costs[name])
    return math.fsum(possible[group].sum(axis=0).min() for group in groups)


def _shown(value: float) -> str:
    """Return a number with enough digits that a limit typed from it is not too small."""
    text = f"{value:.6g}"
    return text if float(text) >= value else f"{value:.17g}"
