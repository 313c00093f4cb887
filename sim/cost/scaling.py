"""Scaling of figures between CMOS nodes: the authority for the factors, where they come from, and how sure they are.

A factor is a ratio of two entries of ``nodes.toml``, or of a table of the user's: of relative areas, and of polynomials
of the supply for delay and for energy. Between two nodes of the table, logarithms are interpolated along the logarithm
of the node (our assumption); beyond them nothing is extrapolated. Bounds are the table's error of one step between
neighbouring nodes, raised to the root of the number of steps (independent steps: our assumption).
"""

__all__ = ["QUANTITIES", "Factor", "NodeTable", "scale"]

import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.sim.cost.figure import Figure

Quantity = Literal["area", "delay", "energy"]
QUANTITIES: dict[str, Quantity] = {
    **dict.fromkeys(("um2", "mm2"), "area"),
    **dict.fromkeys(("ps", "ns", "us", "ms"), "delay"),
    **dict.fromkeys(("fJ", "pJ", "nJ", "uJ", "mJ", "pJ/bit"), "energy"),
}
"""What a unit measures; figures in other units are not scaled."""

_PROCESSES = ("hp", "lp")
_SUPPLY = (0.8, 1.1)
"""Supplies, over a node's nominal one, that its polynomials are evaluated at: our limit."""


@dataclass(frozen=True, kw_only=True)
class Factor:
    """What a figure is multiplied by.

    Attributes
    ----------
    value, low, high : float
    steps : float
        Steps between neighbouring nodes that it spans.
    """

    value: float
    low: float
    high: float
    steps: float


@dataclass(frozen=True, kw_only=True)
class _Curves:
    voltage_v: float
    delay: tuple[float, ...]
    energy: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class _Node:
    nm: float
    area: float
    curves: dict[str, _Curves]

    def curve(self, process: str) -> _Curves:
        return self.curves.get(process, self.curves["hp"])


@dataclass(frozen=True, kw_only=True)
class NodeTable:
    """Nodes with their relative area, delay and energy.

    Attributes
    ----------
    source : str
        Where the figures come from.
    nodes : tuple
        From the largest to the smallest.
    error : dict
        Relative error of one step, for ``area``, ``delay`` and ``energy``.

    Examples
    --------
    >>> from tetrit.sim.cost.scaling import NodeTable
    >>> table = NodeTable.modelled()
    >>> round(table.factor("area", 130, 45).value, 3)
    0.155
    >>> table.factor("energy", 130, 28, from_voltage_v=1.2).value < 0.1
    True
    """

    source: str
    nodes: tuple[_Node, ...]
    error: dict[str, float]

    @classmethod
    def modelled(cls) -> "NodeTable":
        """Return the committed table."""
        return _committed()

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a TOML file like the committed table.

        Raises
        ------
        InvalidValueError
            The file cannot be read, or something in it is missing, unknown or wrong; the message begins with the file.
        """
        return cls.from_dict(checks.read_toml("node table", Path(path)), where=str(path))

    @classmethod
    def from_dict(cls, table: Any, *, where: str = "nodes") -> Self:
        """Return the table of a mapping with `source`, `error` and a list `node`, see ``nodes.toml``."""
        given = _all(where, table, ("source", "error", "node"))
        if not isinstance(given["source"], str) or not given["source"]:
            raise InvalidValueError(f"{where}: `source` must say where the figures come from, got {given['source']!r}")
        errors = _all(f"{where}: [error]", given["error"], ("area", "delay", "energy"))
        if not isinstance(given["node"], list) or len(given["node"]) < 2:
            raise InvalidValueError(f"{where}: `node` must be a list of two or more tables")
        try:
            error = {name: checks.real(name, value, minimum=0.0) for name, value in errors.items()}
        except (TypeError, ValueError) as wrong:
            raise InvalidValueError(f"{where}: [error]: {wrong}") from None
        nodes = [_node(f"{where}: node {place + 1}", node) for place, node in enumerate(given["node"])]
        if any(one.nm <= other.nm for one, other in pairwise(nodes)):
            raise InvalidValueError(f"{where}: nodes must come from the largest to the smallest, each once")
        return cls(source=given["source"], nodes=tuple(nodes), error=error)

    def nominal_v(self, node_nm: float, process: str = "hp") -> float:
        """Return the supply that is taken where none is given, interpolated between nodes."""
        checks.choice("process", process, _PROCESSES)
        above, below, share = self._around("node_nm", node_nm)
        ends = (above.curve(process).voltage_v, below.curve(process).voltage_v)
        return ends[0] + share * (ends[1] - ends[0])

    def supply_v(
        self, node_nm: float, voltage_v: float | None = None, process: str = "hp", *, name: str = "voltage_v"
    ) -> float:
        """Return a supply if polynomials hold there, the nominal one for None; errors call it `name`."""
        nominal = self.nominal_v(node_nm, process)
        if voltage_v is None:
            return nominal
        low, high = (round(nominal * bound, 3) for bound in _SUPPLY)
        if not low <= checks.real(name, voltage_v) <= high:
            raise InvalidValueError(
                f"`{name}` must be from {low:g} to {high:g} V at {node_nm:g} nm ({process}), got {voltage_v:g}"
            )
        return float(voltage_v)

    def factor(
        self,
        quantity: str,
        from_nm: float,
        to_nm: float,
        *,
        from_voltage_v: float | None = None,
        to_voltage_v: float | None = None,
        process: str = "hp",
    ) -> Factor:
        """Return what a quantity is multiplied by from one node to another.

        Parameters
        ----------
        quantity : {"area", "delay", "energy"}
        from_nm, to_nm : float
            Nodes within the table.
        from_voltage_v, to_voltage_v : float, optional
            Supplies, 0.8 to 1.1 of the node's nominal one, which is the default. They have no effect on areas.
        process : {"hp", "lp"}
            High-performance or low-power transistors, on nodes that have both.

        Raises
        ------
        InvalidValueError
            A node beyond the table, or a supply out of range.
        """
        checks.choice("quantity", quantity, ("area", "delay", "energy"))
        checks.choice("process", process, _PROCESSES)
        value = self._level(quantity, "to", to_nm, to_voltage_v, process) / self._level(
            quantity, "from", from_nm, from_voltage_v, process
        )
        steps = abs(self._place("to", to_nm) - self._place("from", from_nm))
        spread = (1.0 + self.error[quantity]) ** math.sqrt(steps)
        return Factor(value=value, low=value / spread, high=value * spread, steps=steps)

    def _around(self, name: str, node_nm: float) -> tuple[_Node, _Node, float]:
        """Return the nodes of the table on either side, and where between them a node lies, 0..1."""
        node_nm = checks.real(name, node_nm)
        largest, smallest = self.nodes[0].nm, self.nodes[-1].nm
        if not smallest <= node_nm <= largest:
            raise InvalidValueError(
                f"`{name}` must be from {smallest:g} to {largest:g} nm, where the table of nodes ends, got {node_nm:g}"
            )
        for above, below in pairwise(self.nodes):
            if node_nm >= below.nm:
                share = math.log(above.nm / node_nm) / math.log(above.nm / below.nm)
                return above, below, share
        raise AssertionError

    def _place(self, end: str, node_nm: float) -> float:
        above, _, share = self._around(f"{end}_nm", node_nm)
        return self.nodes.index(above) + share

    def _level(self, quantity: str, end: str, node_nm: float, voltage_v: float | None, process: str) -> float:
        above, below, share = self._around(f"{end}_nm", node_nm)
        if quantity == "area":
            return math.exp((1 - share) * math.log(above.area) + share * math.log(below.area))
        # between two nodes, both are taken at the same share of their nominal supply
        relative = self.supply_v(node_nm, voltage_v, process, name=f"{end}_voltage_v") / self.nominal_v(
            node_nm, process
        )
        values = [
            _polynomial(getattr(node.curve(process), quantity), node, process, relative) for node in (above, below)
        ]
        return math.exp((1 - share) * math.log(values[0]) + share * math.log(values[1]))


def scale(
    figure: Figure,
    from_node: float,
    to_node: float,
    *,
    table: NodeTable | None = None,
    from_voltage_v: float | None = None,
    to_voltage_v: float | None = None,
    process: str = "hp",
) -> Figure:
    """Return a figure scaled from one node to another; its source says how, and its bounds how sure it is.

    Parameters
    ----------
    figure : Figure
        Of an area, a delay or an energy, by its unit.
    from_node, to_node : float
        In nm.
    table : NodeTable, optional
        By default the committed one.
    from_voltage_v, to_voltage_v, process
        See `NodeTable.factor`.

    Returns
    -------
    Figure
        Modelled, or assumed if `figure` is. Its bounds contain those of `figure`, scaled. The figure itself if nodes
        and supplies are equal.

    Raises
    ------
    TypeError
        `figure` is none.
    InvalidValueError
        A unit that has no scaling (leakage, for one: no factor is published in the table's source), or what
        `NodeTable.factor` refuses.

    Examples
    --------
    >>> from tetrit.sim.cost import Figure
    >>> from tetrit.sim.cost.scaling import scale
    >>> cell = Figure(value=7.2576, unit="um2", origin="published", source="IHP SG13G2, NAND2")
    >>> scaled = scale(cell, 130, 45)
    >>> round(scaled.value, 2), scaled.origin, round(scaled.low, 2), round(scaled.high, 2)
    (1.12, 'modelled', 0.77, 1.63)
    """
    if not isinstance(figure, Figure):
        raise TypeError(f"`figure` must be a Figure, got {figure!r}")
    if figure.unit not in QUANTITIES:
        raise InvalidValueError(f"a figure in {figure.unit} is not scaled; units that are: {', '.join(QUANTITIES)}")
    table = NodeTable.modelled() if table is None else table
    found = table.factor(
        QUANTITIES[figure.unit],
        from_node,
        to_node,
        from_voltage_v=from_voltage_v,
        to_voltage_v=to_voltage_v,
        process=process,
    )
    if from_node == to_node and from_voltage_v == to_voltage_v:
        return figure
    low, high = (figure.value, figure.value) if figure.low is None or figure.high is None else (figure.low, figure.high)
    return Figure(
        value=figure.value * found.value,
        unit=figure.unit,
        origin="assumed" if figure.origin == "assumed" else "modelled",
        source=f"{figure.source}; scaled from {from_node:g} to {to_node:g} nm by {found.value:.3g} "
        f"({found.low:.3g} to {found.high:.3g}): {table.source}",
        low=low * found.low,
        high=high * found.high,
    )


def _polynomial(coefficients: tuple[float, ...], node: _Node, process: str, relative: float) -> float:
    value = 0.0
    for coefficient in coefficients:
        value = value * node.curve(process).voltage_v * relative + coefficient
    return value


def _all(where: str, table: Any, names: tuple[str, ...]) -> dict[str, Any]:
    given = checks.keys(where, table, names)
    for name in names:
        if name not in given:
            raise InvalidValueError(f"{where}: `{name}` is missing")
    return given


def _node(where: str, table: Any) -> _Node:
    given = checks.keys(where, table, ("nm", "area", *_PROCESSES))
    for name in ("nm", "area", "hp"):
        if name not in given:
            raise InvalidValueError(f"{where}: `{name}` is missing")
    try:
        node = _Node(
            nm=checks.real("nm", given["nm"], minimum=0.0, exclusive=True),
            area=checks.real("area", given["area"], minimum=0.0, exclusive=True),
            curves={name: _curves(name, given[name]) for name in _PROCESSES if name in given},
        )
        for process, curve in node.curves.items():
            for quantity in ("delay", "energy"):
                if (
                    min(_polynomial(getattr(curve, quantity), node, process, share) for share in (0.8, 0.9, 1, 1.1))
                    <= 0
                ):
                    raise InvalidValueError(f"[{process}] `{quantity}` must be above 0 at 0.8 to 1.1 of `voltage_v`")
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None
    return node


def _curves(process: str, table: Any) -> _Curves:
    given = _all(f"[{process}]", table, ("voltage_v", "delay", "energy"))
    values = {}
    for name in ("delay", "energy"):
        if not isinstance(given[name], list) or not 1 <= len(given[name]) <= 6:
            raise InvalidValueError(f"[{process}]: `{name}` must be a list of 1 to 6 coefficients, got {given[name]!r}")
        values[name] = tuple(checks.real(name, value) for value in given[name])
    voltage_v = checks.real("voltage_v", given["voltage_v"], minimum=0.0, exclusive=True)
    return _Curves(voltage_v=voltage_v, **values)


@cache
def _committed() -> NodeTable:
    text = (resources.files("tetrit.sim.cost") / "nodes.toml").read_text(encoding="utf-8")
    return NodeTable.from_dict(checks.parse_toml("nodes.toml", text), where="nodes.toml")
