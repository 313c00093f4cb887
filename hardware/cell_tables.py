"""The authority for the full tables of standard cells: delay, transition, energy and setup over load and slew."""

__all__ = ["CellTables", "PowerArc", "SetupArc", "Table", "TimingArc"]

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tetrit.errors import InvalidValueError

Sense = Literal["positive_unate", "negative_unate", "non_unate"]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Values at the crossings of two axes, linear between them and beyond.

    Attributes
    ----------
    x : tuple of float
        First axis, rising: the load in femtofarads; of a setup time the clock's transition in picoseconds.
    y : tuple of float
        Second axis, rising: the input's transition in picoseconds.
    values : tuple of tuple of float
        ``values[i][j]`` at ``x[i]`` and ``y[j]``: picoseconds, or femtojoules per transition. An axis on which a value
        does not depend has one point.

    Examples
    --------
    >>> Table(x=(1.0, 2.0), y=(50.0,), values=((7.0,), (9.0,))).values[1][0]
    9.0
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        for name in ("x", "y"):
            axis = getattr(self, name)
            if not axis or any(b <= a for a, b in pairwise(axis)):
                raise InvalidValueError(f"`{name}` must be rising numbers, got {axis}")
        if [len(row) for row in self.values] != [len(self.y)] * len(self.x):
            raise InvalidValueError(f"`values` must have {len(self.x)} rows of {len(self.y)} numbers")

    def __hash__(self) -> int:
        # a library is hashed often: a few of its numbers tell tables apart well enough
        return hash((self.x[0], self.values[0][0], self.values[-1][-1]))


@dataclass(frozen=True, kw_only=True)
class TimingArc:
    """How an output answers one input pin.

    Attributes
    ----------
    output, pin : str
        The output, and the pin that makes it change.
    sense : {"positive_unate", "negative_unate", "non_unate"}
        Which edge of the pin makes which edge of the output.
    delay_rise, delay_fall, slew_rise, slew_fall : Table or None
        Delay and transition of the output's rising and falling edge, over its load and the pin's transition.
    """

    output: str
    pin: str
    sense: Sense
    delay_rise: Table | None = None
    delay_fall: Table | None = None
    slew_rise: Table | None = None
    slew_fall: Table | None = None


@dataclass(frozen=True, kw_only=True)
class PowerArc:
    """What a cell dissipates inside when a pin changes; the load's own C V^2 / 2 comes on top.

    Attributes
    ----------
    pin : str
        The pin that changes: an output, or an input.
    related : str
        For an output the input pin that makes it change; empty where the library does not say, and for an input.
    rise, fall : Table or None
        Energy of the rising and falling edge.
    """

    pin: str
    related: str
    rise: Table | None = None
    fall: Table | None = None


@dataclass(frozen=True, kw_only=True)
class SetupArc:
    """How long before the clock edge a data pin must be stable, over the transitions of clock and data.

    Attributes
    ----------
    pin : str
        The data pin.
    rise, fall : Table or None
        For its rising and falling edge.
    """

    pin: str
    rise: Table | None = None
    fall: Table | None = None


@dataclass(frozen=True, kw_only=True)
class CellTables:
    """All tables of one cell.

    Attributes
    ----------
    timing : tuple of TimingArc
    power : tuple of PowerArc
    setup : tuple of SetupArc
    """

    timing: tuple[TimingArc, ...] = ()
    power: tuple[PowerArc, ...] = ()
    setup: tuple[SetupArc, ...] = ()
