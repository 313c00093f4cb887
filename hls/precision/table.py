"""What each format costs and loses in each layer, and a choice of one for each: the types of the precision room."""

__all__ = ["PrecisionChoice", "PrecisionTable", "total_costs"]

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PrecisionTable:
    """What each format costs and loses in each layer.

    Parameters
    ----------
    layers, formats : sequence of str
        Names; each occurs once.
    losses : array_like of float, shape (layers, formats)
        What a layer in a format loses; losses of layers are taken to add up. Infinity for a format that a layer cannot
        have.
    costs : mapping of str to array_like of float, shape (layers, formats)
        By name of the resource (``"energy_pj"``, ``"cycles"``, ``"size_bits"``, ``"bops"``): what a layer in a format
        takes of it, from 0. They add up over layers.

    Raises
    ------
    TypeError, InvalidValueError
        If a name is no string or occurs twice, shapes differ, a cost is negative or not finite, a loss is NaN or
        -infinity, or a layer has no format with a finite loss.

    Examples
    --------
    >>> from tetrit.hls import PrecisionTable
    >>> table = PrecisionTable(
    ...     layers=["a", "b"], formats=["int4", "int8"], losses=[[2, 1], [5, 1]], costs={"size_bits": [[4, 8], [8, 16]]}
    ... )
    >>> table.costs["size_bits"].sum(axis=0)
    array([12., 24.])
    """

    layers: tuple[str, ...]
    formats: tuple[str, ...]
    losses: Floats
    costs: Mapping[str, Floats]

    def __post_init__(self) -> None:
        for name in ("layers", "formats"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        shape = len(self.layers), len(self.formats)
        losses = _array("losses", self.losses, shape)
        if np.isnan(losses).any() or (losses == -np.inf).any():
            raise InvalidValueError("`losses` must be numbers or infinity, got NaN or -inf")
        for layer, row in zip(self.layers, losses, strict=True):
            if np.isinf(row).all():
                raise InvalidValueError(f"`losses` must leave every layer a format, got infinity alone for '{layer}'")
        if not isinstance(self.costs, Mapping):
            raise TypeError(f"`costs` must be a mapping of names to arrays, got {self.costs!r}")
        costs: dict[str, Floats] = {}
        for name, given in self.costs.items():
            array = _array(f"costs['{name}']", given, shape)
            checks.finite(f"costs['{name}']", array)
            if (array < 0).any():
                raise InvalidValueError(f"`costs['{name}']` must be at least 0, got {array.min():g}")
            costs[name] = array
        object.__setattr__(self, "losses", losses)
        object.__setattr__(self, "costs", MappingProxyType(costs))

    def choice(self, formats: Ints, *, optimal: bool, bound: float | None = None) -> "PrecisionChoice":
        """Return the choice of these formats, indices, with its totals; without a `bound` it is its own loss."""
        rows = np.arange(len(self.layers))
        loss = math.fsum(self.losses[rows, formats])
        return PrecisionChoice(
            formats=MappingProxyType({layer: self.formats[f] for layer, f in zip(self.layers, formats, strict=True)}),
            loss=loss,
            costs=MappingProxyType(total_costs(self, formats)),
            optimal=optimal,
            gap=0.0 if optimal or bound is None else max(0.0, loss - bound),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PrecisionChoice:
    """A format for every layer.

    Attributes
    ----------
    formats : mapping of str to str
        By layer.
    loss : float
        The sum over layers.
    costs : mapping of str to float
        The sums over layers, by resource.
    optimal : bool
        Whether it is proven that no choice within the limits has a smaller loss; False after a time-out.
    gap : float
        How much smaller the loss of another choice within the limits can be at most; 0 where `optimal`.
    """

    formats: Mapping[str, str]
    loss: float
    costs: Mapping[str, float]
    optimal: bool
    gap: float


def total_costs(table: PrecisionTable, formats: Ints) -> dict[str, float]:
    """Return the sums of all costs for a format of each layer, by index."""
    rows = np.arange(len(table.layers))
    return {name: math.fsum(cost[rows, formats]) for name, cost in table.costs.items()}


def tied_groups(table: PrecisionTable, ties: Sequence[Sequence[str]]) -> list[list[int]]:
    """Return the layers, by index, in groups of one format; groups that share a layer become one.

    Raises
    ------
    InvalidValueError
        If `ties` names an unknown layer, or leaves a group no format that all its layers can have.
    """
    if isinstance(ties, str) or any(isinstance(group, str) for group in ties):
        raise TypeError(f"`ties` must be a sequence of groups of layer names, got {ties!r}")
    places = {name: place for place, name in enumerate(table.layers)}
    leader = list(range(len(places)))

    def find(place: int) -> int:
        while leader[place] != place:
            place = leader[place]
        return place

    for group in ties:
        for name in group:
            checks.choice("ties", name, table.layers)
            one, other = sorted((find(places[group[0]]), find(places[name])))
            leader[other] = one
    groups: dict[int, list[int]] = {}
    for place in range(len(leader)):
        groups.setdefault(find(place), []).append(place)
    for members in groups.values():
        if np.isinf(table.losses[members]).any(axis=0).all():
            names = ", ".join(table.layers[member] for member in members)
            raise InvalidValueError(f"`ties` must leave every group a common format of finite loss; {names} have none")
    return list(groups.values())


def _names(field: str, given: Any) -> tuple[str, ...]:
    if isinstance(given, str):
        raise TypeError(f"`{field}` must be a sequence of names, got {given!r}")
    names = tuple(given)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"`{field}` must hold strings, got {name!r}")
    if not names or len(set(names)) < len(names):
        raise InvalidValueError(f"`{field}` must be one or more different names, got {list(names)}")
    return names


def _array(field: str, given: Any, shape: tuple[int, int]) -> Floats:
    array = np.array(given, dtype=np.float64)
    if array.shape != shape:
        raise InvalidValueError(f"`{field}` must have shape {shape}, (layers, formats), got {array.shape}")
    array.flags.writeable = False
    return array
