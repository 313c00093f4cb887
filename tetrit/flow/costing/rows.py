"""One row of a table of costs, and arithmetic on figures that keeps origin, source and bounds."""

__all__ = ["Row", "Target", "added", "by_origin", "converted", "off_chip_rows", "times"]

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tetrit.errors import InvalidValueError
from tetrit.hardware import Memory
from tetrit.hls.mapping import NetworkMapping
from tetrit.sim.cost.figure import ORIGINS, Figure
from tetrit.sim.cost.offchip import OffChip
from tetrit.sim.cost.scaling import NodeTable, scale

_CERTAIN = ("synthesised", "published", "modelled", "assumed")
"""Origins, the most certain first; a sum has the last of its parts."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The node that figures are scaled to.

    Attributes
    ----------
    node_nm : float or None
        None: nothing is scaled.
    voltage_v : float or None
        Supply there; by default the node's nominal one.
    table : NodeTable
    process : {"hp", "lp"}
    """

    node_nm: float | None = None
    voltage_v: float | None = None
    table: NodeTable = field(default_factory=NodeTable.modelled)
    process: str = "hp"

    def __post_init__(self) -> None:
        if self.node_nm is None and self.voltage_v is not None:
            raise InvalidValueError("`voltage_v` is the supply of another node: give `node_nm` too")
        if self.node_nm is not None:
            self.table.supply_v(self.node_nm, self.voltage_v, self.process)

    @property
    def supply_v(self) -> float:
        """The supply, given or nominal; 0 without a node."""
        return 0.0 if self.node_nm is None else self.table.supply_v(self.node_nm, self.voltage_v, self.process)

    def scaled(self, figure: Figure, from_nm: float, from_v: float) -> Figure | None:
        """Return a figure at the node; None if there is none, or it is the figure's own."""
        if self.node_nm is None or self.node_nm == from_nm:
            return None
        return scale(
            figure,
            from_nm,
            self.node_nm,
            table=self.table,
            from_voltage_v=from_v,
            to_voltage_v=self.voltage_v,
            process=self.process,
        )

    def table_entry(self) -> dict[str, Any]:
        """Return what a report says of it."""
        return {
            "node_nm": self.node_nm,
            "voltage_v": self.supply_v,
            "process": self.process,
            "source": self.table.source,
        }


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one component costs.

    Attributes
    ----------
    quantity : str
        What is measured: ``area``, ``event``, ``time``, ``leakage``, ``latency``, ``energy``, ``off-chip``.
    component : str
    own : Figure
        At the machine's own node.
    scaled : Figure or None
        At another one; None where there is none, or no way there is known.
    """

    quantity: str
    component: str
    own: Figure
    scaled: Figure | None = None


def times(figure: Figure, factor: float, unit: str | None = None) -> Figure:
    """Return a figure times a number, in another unit if need be."""
    return replace(
        figure,
        value=figure.value * factor,
        unit=figure.unit if unit is None else unit,
        low=None if figure.low is None else figure.low * factor,
        high=None if figure.high is None else figure.high * factor,
    )


def converted(figure: Figure, unit: str) -> Figure:
    """Return a figure in a larger unit of the same kind."""
    factors = {("um2", "mm2"): 1e-6, ("pJ", "uJ"): 1e-6, ("ns", "us"): 1e-3}
    return times(figure, factors[figure.unit, unit], unit)


def added(figures: Sequence[Figure], source: str | None = None) -> Figure:
    """Return the sum of figures of one unit: of their least certain origin, with all bounds added.

    Figures without bounds count as they are.
    """
    bounded = any(figure.low is not None for figure in figures)
    return Figure(
        value=sum(figure.value for figure in figures),
        unit=figures[0].unit,
        origin=max((figure.origin for figure in figures), key=_CERTAIN.index),
        source=source or f"sum of {len(figures)} figures",
        low=sum(figure.value if figure.low is None else figure.low for figure in figures) if bounded else None,
        high=sum(figure.value if figure.high is None else figure.high for figure in figures) if bounded else None,
    )


def by_origin(figures: Iterable[Figure]) -> dict[str, float]:
    """Return how much of a total each kind of origin makes up."""
    found = list(figures)
    return {
        origin: sum(figure.value for figure in found if figure.origin == origin)
        for origin in ORIGINS
        if any(figure.origin == origin for figure in found)
    }


def off_chip_rows(mapped: NetworkMapping | None, off_chip: OffChip | Memory | None) -> list[Row]:
    """Return what off-chip memory takes, which no node of the chip changes."""
    if off_chip is None:
        return []
    if isinstance(off_chip, OffChip):
        bit = off_chip.energy
        rows = [Row(quantity="off-chip", component=f"{off_chip.kind}, peak", own=off_chip.bandwidth)]
    else:
        bit = Figure(value=off_chip.read_pj_per_bit, unit="pJ/bit", origin="published", source=off_chip.energy_source)
        rows = []
    rows = [Row(quantity="off-chip", component="a bit", own=bit, scaled=bit), *rows]
    if mapped is None:
        return rows
    moved = mapped.traffic["off-chip memory"]
    energy = times(bit, 8e-6 * (moved.read_bytes + moved.write_bytes), "uJ")
    return [*rows, Row(quantity="energy", component="off-chip memory", own=energy, scaled=energy)]
