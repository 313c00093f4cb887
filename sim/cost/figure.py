"""What a figure of cost is: a value with its unit, where it comes from, and how sure it is."""

__all__ = ["ORIGINS", "Figure"]

from dataclasses import dataclass
from typing import Literal, get_args

from tetrit import checks
from tetrit.errors import InvalidValueError, unknown_name

Origin = Literal["synthesised", "modelled", "published", "assumed"]
ORIGINS: tuple[Origin, ...] = get_args(Origin)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a table or report.

    Attributes
    ----------
    value : float
        Finite, not negative.
    unit : str
        E.g. ``"um2"`` or ``"pJ"``.
    origin : {"synthesised", "modelled", "published", "assumed"}
        Mapped to cells by synthesis; computed from events, sizes and coefficients; a paper's own figure; nobody's but
        ours.
    source : str
        The library, the formula or the paper; for assumptions the reason.
    low, high : float or None
        Bounds between which the value may lie; both or neither.

    Examples
    --------
    >>> Figure(value=5.0, unit="pJ", origin="published", source="M. Horowitz, ISSCC 2014, 45 nm").unit
    'pJ'
    """

    value: float
    unit: str
    origin: Origin
    source: str
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", checks.real("value", self.value, minimum=0.0))
        for name in ("unit", "source"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"`{name}` must be a string, got {getattr(self, name)!r}")
        if self.origin not in ORIGINS:
            raise unknown_name("origin", self.origin, ORIGINS)
        if not self.source:
            raise InvalidValueError("`source` must say where the figure comes from")
        if (self.low is None) != (self.high is None):
            raise InvalidValueError("`low` and `high` must be given together")
        if self.low is not None and self.high is not None:
            object.__setattr__(self, "low", checks.real("low", self.low, minimum=0.0))
            object.__setattr__(self, "high", checks.real("high", self.high, minimum=0.0))
            if not self.low <= self.value <= self.high:
                raise InvalidValueError(
                    f"`value` must lie between `low` and `high`, got {self.value} outside {self.low} to {self.high}"
                )
