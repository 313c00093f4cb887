"""A space of machines: the authority for which points there are, and which figures and limits are asked for."""

__all__ = ["FIGURES", "Axis", "Constraint", "MachineSpace", "Point", "Sampling", "Space"]

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tetrit import hardware
from tetrit.explore.workload import Workloads
from tetrit.hardware import Machine

FIGURES: dict[str, int] = {
    "latency_us": 1,
    "energy_uj": 1,
    "area_mm2": 1,
    "accuracy": -1,
    "cycles": 1,
    "utilization": -1,
}
"""What a point is judged by; 1 where less is better, -1 where more is."""

OPERATORS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
METHODS = ("grid", "random", "successive")
AREAS = ("table", "synthesised")
MOST_POINTS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One parameter of a machine, or several that change together.

    Attributes
    ----------
    names : tuple of str
        Fields of the machine, those of its parts with dots: ``weight_memory.width_bits``.
    values : tuple of tuple
        One entry for each place on the axis, with a value for each name.
    """

    names: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, kw_only=True)
class MachineSpace:
    """All variants of one machine.

    Attributes
    ----------
    name : str
    base : Machine
        What the parameters change.
    axes : tuple of Axis
    """

    name: str
    base: Machine
    axes: tuple[Axis, ...]

    @property
    def size(self) -> int:
        """Number of points."""
        n = 1
        for axis in self.axes:
            n *= len(axis.values)
        return n

    def places(self, index: int) -> list[int]:
        """Return the places on the axes of a point, the last axis running fastest."""
        places = []
        for axis in reversed(self.axes):
            index, place = divmod(index, len(axis.values))
            places.append(place)
        return places[::-1]

    def index(self, places: list[int]) -> int:
        """Return the number of the point at places on the axes."""
        index = 0
        for axis, place in zip(self.axes, places, strict=True):
            index = index * len(axis.values) + place
        return index


@dataclass(frozen=True, kw_only=True)
class Point:
    """One machine of a space.

    Attributes
    ----------
    number : int
        Its identity: the place in the grid of all machines, one after the other.
    machine : str
        Name of its `MachineSpace`.
    parameters : dict
        Name and value of every parameter.
    """

    number: int
    machine: str
    parameters: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """A limit on a figure, such as ``area_mm2 <= 2``."""

    figure: str
    relation: str
    limit: float

    def met(self, value: float) -> bool:
        """Whether a value is within the limit."""
        return bool(OPERATORS[self.relation](value, self.limit))

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{self.figure} {self.relation} {self.limit:g}"


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which points are evaluated.

    Attributes
    ----------
    method : {"grid", "random", "successive"}
        All; some, drawn evenly without repetition; or some in rounds, from the second on near the best so far.
    points : int or None
        How many; None: all of them.
    rounds : int
        Of the successive method.
    """

    method: str = "grid"
    points: int | None = None
    rounds: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Space:
    """All that an exploration needs to know.

    Attributes
    ----------
    name : str
        Title.
    path : Path
        The file it comes from, for messages.
    seed : int
        Of sampling, training and chips.
    sampling : Sampling
    machines : tuple of MachineSpace
    workload : Workloads
    objectives : tuple of str
        Figures of the Pareto front.
    constraints : tuple of Constraint
    area : {"table", "synthesised"}
        Where the area of digital arrays comes from.
    """

    name: str
    path: Path
    seed: int
    sampling: Sampling
    machines: tuple[MachineSpace, ...]
    workload: Workloads
    objectives: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    area: str

    @property
    def size(self) -> int:
        """Number of points of the grid."""
        return sum(machine.size for machine in self.machines)

    def locate(self, number: int) -> tuple[MachineSpace, int]:
        """Return the machine of a point, and the point's index in it."""
        for machine in self.machines:
            if number < machine.size:
                return machine, number
            number -= machine.size
        raise IndexError(number)

    def start(self, wanted: MachineSpace) -> int:
        """Return the number of a machine's first point."""
        number = 0
        for machine in self.machines:
            if machine is wanted:
                return number
            number += machine.size
        raise KeyError(wanted.name)

    def point(self, number: int) -> Point:
        """Return a point of the grid."""
        machine, index = self.locate(number)
        parameters: dict[str, Any] = {}
        for axis, place in zip(machine.axes, machine.places(index), strict=True):
            parameters |= dict(zip(axis.names, axis.values[place], strict=True))
        return Point(number=number, machine=machine.name, parameters=parameters)

    def base(self, name: str) -> Machine:
        """Return the machine that the parameters of a `MachineSpace` change."""
        return next(machine.base for machine in self.machines if machine.name == name)

    def feasible(self, figures: Mapping[str, Any]) -> bool:
        """Whether figures meet all constraints."""
        return all(constraint.met(figures[constraint.figure]) for constraint in self.constraints)

    def table(self) -> dict[str, Any]:
        """Return what the figures of points depend on, as plain numbers, texts, lists and dicts.

        Objectives and constraints are part of it only where they decide which points are evaluated.
        """
        about: dict[str, Any] = {
            "seed": self.seed,
            "sampling": vars(self.sampling),
            "machines": [
                {
                    "name": machine.name,
                    "base": hardware.to_dict(machine.base),
                    "axes": [{"names": axis.names, "values": axis.values} for axis in machine.axes],
                }
                for machine in self.machines
            ],
            "workload": self.workload.table(),
            "area": self.area,
        }
        if self.sampling.method == "successive":
            about |= {"objectives": self.objectives, "constraints": [str(limit) for limit in self.constraints]}
        return about
