"""Energy per event, fitted to netlists: what a table of coefficients holds, how it is read, and how it is applied."""

__all__ = ["Coefficients"]

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from tetrit import checks
from tetrit.errors import InvalidValueError

_KEYS = ("netlist", "worst_fit", "pj")


@dataclass(frozen=True, kw_only=True)
class Coefficients:
    """Energy of each of the things that a machine can be seen to do, for one of its variants.

    Attributes
    ----------
    pj : mapping of str to float
        Energy in pJ, by event: a bit that changes, a bit that is clocked, a cycle.
    netlist : str
        Fingerprint of the netlists that it was fitted to.
    worst_fit : float
        Largest error of the fit on the operands that it was made from, as a share of the energy.
    source : str
        Where the figures come from.

    Examples
    --------
    >>> from tetrit.sim.cost.coefficients import Coefficients
    >>> table = {
    ...     "source": "by hand",
    ...     "coefficients": [{"mode": "a", "netlist": "0", "worst_fit": 0.0, "pj": {"cycle": 0.5, "sum": 0.25}}],
    ... }
    >>> Coefficients.from_dict(table, {"mode": "a"}).energy_pj({"cycle": 4, "sum": 8})
    4.0
    """

    pj: Mapping[str, float]
    netlist: str
    worst_fit: float
    source: str

    def __post_init__(self) -> None:
        for name in ("netlist", "source"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"`{name}` must be a string, got {getattr(self, name)!r}")
        if not isinstance(self.pj, Mapping):
            raise TypeError(f"`pj` must be a table, got {self.pj!r}")
        prices = {str(name): checks.real(str(name), value, minimum=0.0) for name, value in self.pj.items()}
        object.__setattr__(self, "pj", MappingProxyType(prices))
        object.__setattr__(self, "worst_fit", checks.real("worst_fit", self.worst_fit, minimum=0.0))

    def energy_pj(self, counts: Mapping[str, float]) -> float:
        """Return the energy of what was counted.

        Raises
        ------
        InvalidValueError
            Something was counted that has no price; the message lists all such events.
        """
        missing = [f"`{name}`" for name, count in counts.items() if count and name not in self.pj]
        if missing:
            raise InvalidValueError(f"events without a price: {', '.join(missing)}")
        return float(sum(count * self.pj[name] for name, count in counts.items() if count))

    @classmethod
    def committed(cls, file: str, variant: Mapping[str, Any]) -> Self:
        """Return a variant's coefficients of one of this package's tables."""
        return cls.from_dict(_committed(file), variant, where=file)

    @classmethod
    def load(cls, path: str | Path, variant: Mapping[str, Any]) -> Self:
        """Read a variant's coefficients from a file that `tetrit characterise` wrote.

        Raises
        ------
        InvalidValueError
            The file cannot be read, is no such table, or lacks the variant; the message begins with the file.
        """
        return cls.from_dict(checks.read_toml("price table", Path(path)), variant, where=str(path))

    @classmethod
    def from_dict(cls, table: Any, variant: Mapping[str, Any], *, where: str = "prices") -> Self:
        """Return a variant's coefficients of a table; `variant` holds the keys that tell it, and their values."""
        told = ", ".join(f"{name} {_shown(value)}" for name, value in variant.items())
        if not isinstance(table, Mapping) or not isinstance(table.get("coefficients"), list):
            raise InvalidValueError(
                f"{where}: `coefficients` must be a list of tables, as `tetrit characterise` writes"
            )
        for place, row in enumerate(table["coefficients"], 1):
            at = f"{where}: coefficients {place}"
            checks.keys(at, row, (*variant, *_KEYS))
            _needed(at, row, (*variant, *_KEYS))
            if all(row[name] == value for name, value in variant.items()):
                try:
                    return cls(**{name: row[name] for name in _KEYS}, source=table.get("source", where))
                except (TypeError, ValueError) as error:
                    raise InvalidValueError(f"{at}: {error}") from None
        raise InvalidValueError(f"{where}: there are no coefficients for {told}")


def _needed(where: str, row: Mapping[str, Any], names: Iterable[str]) -> None:
    missing = [f"`{name}`" for name in names if name not in row]
    if missing:
        raise InvalidValueError(f"{where}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@cache
def _committed(file: str) -> dict[str, Any]:
    return checks.parse_toml(file, (resources.files("tetrit.sim.cost") / file).read_text(encoding="utf-8"))
