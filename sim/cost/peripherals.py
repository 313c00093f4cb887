"""What surrounds the cells of a crossbar, and the cells: the authority for their cited energies and areas.

Every figure is of the technology node that it was published for. `Peripherals.at` moves them to another one by
`tetrit.sim.cost.scaling`, whose bounds and source the result then bears.
"""

__all__ = ["CellCosts", "Peripheral", "Peripherals", "cell_costs", "read_figure"]

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Self

from tetrit import checks
from tetrit.errors import InvalidValueError, unknown_name
from tetrit.sim.cost.figure import Figure
from tetrit.sim.cost.scaling import NodeTable, scale

_ROWS = ("dac", "integrator", "shift_add", "register")
_QUANTITIES = {"energy": "pJ", "area": "um2"}
_KEYS = ("bits", "node_nm", "bounds_nm", "origin", "source")
_CELL_QUANTITIES = {"area": "f2", "pulse": "pj", "pulses": ""}


@dataclass(frozen=True, kw_only=True)
class Peripheral:
    """A circuit at the edge of an array.

    Attributes
    ----------
    energy : Figure
        Of one act, in pJ.
    area : Figure
        In um2.
    node_nm : float
        Technology that both are of.
    bits : int
        Width that both are of.
    bounds_nm : tuple of float or None
        Technologies that the lower and the upper bounds are of, if others.
    """

    energy: Figure
    area: Figure
    node_nm: float
    bits: int = 1
    bounds_nm: tuple[float, float] | None = None

    def at(self, node_nm: float) -> Self:
        """Return the circuit at another node, value and bounds scaled each from its own; at its own as it is."""
        if node_nm == self.node_nm and self.bounds_nm is None:
            return self
        energy, area = (self._at(figure, node_nm) for figure in (self.energy, self.area))
        return replace(self, energy=energy, area=area, node_nm=node_nm, bounds_nm=None)

    def _at(self, figure: Figure, node_nm: float) -> Figure:
        if figure.low is None or figure.high is None:
            return scale(figure, self.node_nm, node_nm)
        found = scale(replace(figure, low=None, high=None), self.node_nm, node_nm)
        ends = self.bounds_nm or (self.node_nm, self.node_nm)
        low, high = (
            scale(replace(figure, value=edge, low=None, high=None), node, node_nm)
            for edge, node in zip((figure.low, figure.high), ends, strict=True)
        )
        return replace(
            found,
            low=min(x for x in (low.value, low.low, found.value, found.low) if x is not None),
            high=max(x for x in (high.value, high.high, found.value, found.high) if x is not None),
        )


@dataclass(frozen=True, kw_only=True)
class Peripherals:
    """All circuits at the edge of an array.

    Attributes
    ----------
    dac : Peripheral
        Of a row, driver included: an input digit of `bits` bits.
    integrator : Peripheral
        Of a column or a merged pair, for one conversion.
    shift_add : Peripheral
        One converted result shifted and added.
    register : Peripheral
        One bit of an input, read.
    wire_ff_per_um : Figure
        Capacitance of a row's wire.

    Examples
    --------
    >>> found = Peripherals.committed()
    >>> found.dac.energy.value, found.dac.node_nm
    (0.41667, 32.0)
    """

    dac: Peripheral
    integrator: Peripheral
    shift_add: Peripheral
    register: Peripheral
    wire_ff_per_um: Figure

    @classmethod
    def committed(cls) -> Self:
        """Return the figures of the committed ``peripherals.toml``."""
        return cls.from_dict(_table("peripherals.toml"), where="peripherals.toml")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a TOML file like the committed one.

        Raises
        ------
        InvalidValueError
            The file cannot be read; or rows or keys are missing, all of them listed, unknown or wrong.
        """
        return cls.from_dict(checks.read_toml("table of peripherals", Path(path)), where=str(path))

    @classmethod
    def from_dict(cls, table: Any, *, where: str = "peripherals") -> Self:
        """Return the figures of a table with a row for each circuit, and one for ``wire``."""
        rows = checks.keys(where, table, (*_ROWS, "wire"))
        if missing := [name for name in (*_ROWS, "wire") if name not in rows]:
            raise InvalidValueError(f"{where}: missing: {', '.join(missing)}")
        wire = rows["wire"]
        keys = ("ff_per_um", "ff_per_um_low", "ff_per_um_high", "origin", "source")
        wire = checks.keys(f"{where}: wire", wire, keys)
        return cls(
            **{name: _peripheral(f"{where}: {name}", rows[name]) for name in _ROWS},
            wire_ff_per_um=read_figure(f"{where}: wire", wire, "ff_per_um", "ff_per_um_{}", "fF/um"),
        )

    def at(self, node_nm: float) -> Self:
        """Return all circuits at a node; the wire's capacitance per length is the same at every node (assumption).

        Raises
        ------
        InvalidValueError
            A node beyond the table of `tetrit.sim.cost.scaling`.
        """
        nodes = NodeTable.modelled().nodes
        if not nodes[-1].nm <= checks.real("node_nm", node_nm) <= nodes[0].nm:
            raise InvalidValueError(
                f"`node_nm` must be from {nodes[-1].nm:g} to {nodes[0].nm:g}, where the table of nodes ends, "
                f"got {node_nm:g}"
            )
        return replace(self, **{name: getattr(self, name).at(node_nm) for name in _ROWS})


@dataclass(frozen=True, kw_only=True)
class CellCosts:
    """A cell's area, and what programming it takes.

    Attributes
    ----------
    area_f2 : Figure
        In squares of the feature size.
    pulse_pj : Figure
        One programming pulse.
    pulses : Figure
        Pulses behind one programming attempt of a device that does not verify by itself.
    """

    area_f2: Figure
    pulse_pj: Figure
    pulses: Figure

    def area_um2(self, node_nm: float) -> Figure:
        """Return the area at a node, with its name as the feature size."""
        square_um = (node_nm * 1e-3) ** 2
        low, high = self.area_f2.low, self.area_f2.high
        return Figure(
            value=self.area_f2.value * square_um,
            unit="um2",
            origin=self.area_f2.origin,
            source=f"{self.area_f2.source}; F = {node_nm:g} nm",
            low=None if low is None else low * square_um,
            high=None if high is None else high * square_um,
        )


def cell_costs(device: str, path: str | Path | None = None) -> CellCosts:
    """Return the costs of a device's cell.

    Parameters
    ----------
    device : str
        `Device.name`.
    path : str or Path, optional
        A TOML file like the committed ``cells.toml``, used in its place.

    Raises
    ------
    InvalidValueError
        The file cannot be read; the table has no such device, the message lists those that it has; or keys are missing,
        all of them listed, unknown or wrong.

    Examples
    --------
    >>> cell_costs("rram").area_f2.value
    53.0
    """
    where = "cells.toml" if path is None else str(path)
    table = _table(where) if path is None else checks.read_toml("table of cells", Path(path))
    if not isinstance(device, str):
        raise TypeError(f"`device` must be a string, got {device!r}")
    if device not in table:
        raise InvalidValueError(f"{where}: {unknown_name('device', device, tuple(table))}")
    stems = {name: f"{name}_{unit}" if unit else name for name, unit in _CELL_QUANTITIES.items()}
    bounds = {name: f"{name}_{{}}_{unit}" if unit else f"{name}_{{}}" for name, unit in _CELL_QUANTITIES.items()}
    texts = {name: (f"{name}_origin", f"{name}_source") for name in stems}
    known = [key for name in stems for key in (stems[name], *(bounds[name].format(x) for x in ("low", "high")))]
    known += [key for pair in texts.values() for key in pair]
    row = checks.keys(f"{where}: {device}", table[device], known)
    if missing := [key for name in stems for key in (stems[name], *texts[name]) if key not in row]:
        raise InvalidValueError(f"{where}: {device}: missing: {', '.join(missing)}")
    units = {"area": "F2", "pulse": "pJ", "pulses": "1"}
    area, pulse, pulses = (
        read_figure(f"{where}: {device}", row, stems[name], bounds[name], units[name], *texts[name]) for name in stems
    )
    return CellCosts(area_f2=area, pulse_pj=pulse, pulses=pulses)


def read_figure(
    where: str,
    row: Mapping[str, Any],
    key: str,
    bounds: str,
    unit: str,
    origin: str = "origin",
    source: str = "source",
) -> Figure:
    """Return the figure of a table's row; errors begin with `where`.

    Parameters
    ----------
    where : str
    row : mapping
    key, bounds : str
        Of the value, and of its bounds with ``{}`` for low and high.
    unit : str
    origin, source : str
        Keys of those.
    """
    if missing := [name for name in (key, origin, source) if name not in row]:
        raise InvalidValueError(f"{where}: missing: {', '.join(missing)}")
    low, high = (row.get(bounds.format(name)) for name in ("low", "high"))
    try:
        for name, value in ((key, row[key]), (bounds.format("low"), low), (bounds.format("high"), high)):
            if value is not None:
                checks.real(name, value, minimum=0.0)
        return Figure(value=row[key], unit=unit, origin=row[origin], source=row[source], low=low, high=high)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None


def _peripheral(where: str, row: Any) -> Peripheral:
    stems = {name: f"{name}_{unit.lower()}" for name, unit in _QUANTITIES.items()}
    bounds = {name: f"{name}_{{}}_{unit.lower()}" for name, unit in _QUANTITIES.items()}
    known = [*_KEYS, *stems.values(), *(b.format(edge) for b in bounds.values() for edge in ("low", "high"))]
    found = checks.keys(where, row, known)
    if missing := [key for key in ("node_nm", *stems.values(), "origin", "source") if key not in found]:
        raise InvalidValueError(f"{where}: missing: {', '.join(missing)}")
    energy, area = (read_figure(where, found, stems[name], bounds[name], unit) for name, unit in _QUANTITIES.items())
    try:
        bits = checks.integer("bits", found.get("bits", 1), maximum=64)
        node_nm = checks.real("node_nm", found["node_nm"], minimum=0.0, exclusive=True)
        bounds_nm = None
        if "bounds_nm" in found:
            given = found["bounds_nm"]
            if not isinstance(given, list | tuple) or len(given) != 2:
                raise InvalidValueError(f"`bounds_nm` must be two nodes, got {given!r}")
            low, high = (checks.real("bounds_nm", value, minimum=0.0, exclusive=True) for value in given)
            bounds_nm = (low, high)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None
    return Peripheral(energy=energy, area=area, node_nm=node_nm, bits=bits, bounds_nm=bounds_nm)


@cache
def _table(name: str) -> dict[str, Any]:
    return checks.parse_toml(name, (resources.files("tetrit.sim.cost") / name).read_text(encoding="utf-8"))
