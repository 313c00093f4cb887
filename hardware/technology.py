"""The authority for standard-cell technologies: cells, supply, and our assumptions where the tables are silent."""

__all__ = ["Cell", "CellOutput", "Technology", "technologies"]

import csv
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from tetrit.checks import choice, integer, real
from tetrit.errors import InvalidValueError
from tetrit.hardware.cell_tables import CellTables

Role = Literal["logic", "flop", "latch", "clock_gate"]
_LIBRARIES = Path(__file__).parent / "libraries"


@dataclass(frozen=True, kw_only=True)
class CellOutput:
    """One output pin of a cell, with its straight-line delay and its energy.

    Attributes
    ----------
    pin : str
        Name of the pin.
    function : str
        Liberty boolean function of the input pins; of a flip-flop or latch, of its state ``IQ`` (``IQN`` is its
        inverse).
    delay_ps, delay_worst_ps : float
        Delay without load: mean over arcs and edges, and of the slowest arc.
    delay_ps_per_ff : float
        Additional delay per femtofarad of load.
    transition_ps, transition_ps_per_ff : float
        Output transition time without load, and its slope.
    energy_fj : float
        Energy dissipated inside the cell per output transition; the load's own C V^2 / 2 comes on top.
    """

    pin: str
    function: str
    delay_ps: float = 0.0
    delay_worst_ps: float = 0.0
    delay_ps_per_ff: float = 0.0
    transition_ps: float = 0.0
    transition_ps_per_ff: float = 0.0
    energy_fj: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One standard cell.

    Attributes
    ----------
    name : str
        Name in the library.
    area_um2, leakage_nw : float
        Area and leakage power.
    inputs : tuple of (str, float)
        Input pins and their capacitance in femtofarads.
    outputs : tuple of CellOutput
        Output pins.
    role : {"logic", "flop", "latch", "clock_gate"}
        What the cell is; the fields below are empty for logic.
    clock : str
        Clock pin of a flip-flop or clock gate, enable pin of a latch; a leading ``!`` means falling edge or active low.
    data : str
        Liberty function of the next state: of a clock gate, of its enable.
    clear, preset : str
        Liberty functions that force the state to 0 or 1 at once; empty where there is none.
    input_energy_fj : tuple of (str, float)
        Energy dissipated inside the cell per transition of an input pin, whatever the outputs do; pins without such
        a figure are not in it.
    """

    name: str
    area_um2: float
    leakage_nw: float
    inputs: tuple[tuple[str, float], ...]
    outputs: tuple[CellOutput, ...]
    role: Role = "logic"
    clock: str = ""
    data: str = ""
    clear: str = ""
    preset: str = ""
    input_energy_fj: tuple[tuple[str, float], ...] = ()

    @property
    def pins(self) -> tuple[str, ...]:
        """Names of the input pins."""
        return tuple(pin for pin, _ in self.inputs)

    @property
    def clock_pin(self) -> str:
        """Name of the clock or enable pin, without its polarity."""
        return self.clock.lstrip("!")

    def cap_ff(self, pin: str) -> float:
        """Return the capacitance of an input pin in femtofarads."""
        return dict(self.inputs)[pin]


@dataclass(frozen=True, kw_only=True)
class Technology:
    """A standard-cell library at one corner, with our assumptions about what its tables do not hold.

    Attributes
    ----------
    name, description, source : str
        What it is and where its figures come from.
    node_nm : int
        Feature size in nanometres; 0 where unknown.
    voltage_v, temperature_c : float
        Corner.
    cells : tuple of Cell
        The cells, by name.
    wire_cap_ff_per_fanout : float
        Assumption: capacitance of a net's wire per input pin that it feeds.
    setup_ps : float
        Assumption: time that data must be stable before the clock edge.
    tables : tuple of CellTables
        Full tables of each of `cells`, which timing and energy then use in place of the straight lines; empty where
        there are only these.
    unpriced : tuple of str
        Cells whose energy or leakage the library does not state.

    Examples
    --------
    >>> technology = Technology.load("sg13g2")
    >>> technology.cell("sg13g2_nand2_1").area_um2
    7.2576
    """

    name: str
    description: str = ""
    source: str = ""
    node_nm: int
    voltage_v: float
    temperature_c: float
    cells: tuple[Cell, ...]
    wire_cap_ff_per_fanout: float
    setup_ps: float
    tables: tuple[CellTables, ...] = ()
    unpriced: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        integer("node_nm", self.node_nm, minimum=0)
        real("voltage_v", self.voltage_v, minimum=0, exclusive=True)
        real("temperature_c", self.temperature_c, minimum=-273.15)
        real("wire_cap_ff_per_fanout", self.wire_cap_ff_per_fanout, minimum=0)
        real("setup_ps", self.setup_ps, minimum=0)
        if self.tables and len(self.tables) != len(self.cells):
            raise InvalidValueError(f"`tables` must be those of {len(self.cells)} cells, got {len(self.tables)}")

    @classmethod
    def load(cls, name: str) -> "Technology":
        """Return an embedded technology by its name.

        Raises
        ------
        UnknownNameError
            If there is no such technology; the text suggests the nearest name.
        """
        return _load(choice("library", name, technologies()))

    def cell(self, name: str) -> Cell:
        """Return a cell by its name.

        Raises
        ------
        UnknownNameError
            If the library has no such cell.
        """
        found = _by_name(self).get(name)
        if found is None:
            choice("cell", name, _by_name(self))
            raise AssertionError
        return found

    def of_role(self, role: Role) -> tuple[Cell, ...]:
        """Return the cells of one role, smallest first."""
        return tuple(sorted((c for c in self.cells if c.role == role), key=lambda c: (c.area_um2, c.name)))

    def replace(self, **changes: Any) -> "Technology":
        """Return a copy with some fields changed."""
        return replace(self, **changes)


def technologies() -> tuple[str, ...]:
    """Return the names of the embedded technologies."""
    return tuple(sorted(path.stem for path in _LIBRARIES.glob("*.toml")))


@cache
def _by_name(technology: Technology) -> dict[str, Cell]:
    return {cell.name: cell for cell in technology.cells}


@cache
def _load(name: str) -> Technology:
    """Read the description and the table of an embedded technology."""
    facts = tomllib.loads((_LIBRARIES / f"{name}.toml").read_text(encoding="utf-8"))
    with (_LIBRARIES / facts["table"]).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return Technology(
        **{key: facts[key] for key in ("name", "description", "source", "node_nm", "voltage_v", "temperature_c")},
        cells=tuple(_cells(rows, facts["sequential"])),
        **facts["assumptions"],
    )


def _cells(rows: Iterable[Mapping[str, str]], sequential: Mapping[str, Mapping[str, Any]]) -> Iterable[Cell]:
    """Build the cells of a table; rows without a function are internal state pins."""
    for row in rows:
        if not row["function"]:
            continue
        pins = (item.split("=") for item in row["input_caps_ff"].split(";") if item)
        yield Cell(
            name=row["cell"],
            area_um2=float(row["area_um2"]),
            leakage_nw=float(row["leakage_pw"]) / 1000,
            inputs=tuple((pin, float(cap)) for pin, cap in pins),
            outputs=(
                CellOutput(
                    pin=row["output"],
                    function=row["function"],
                    delay_ps=float(row["delay_intrinsic_ps"] or 0),
                    delay_worst_ps=float(row["delay_intrinsic_worst_ps"] or 0),
                    delay_ps_per_ff=float(row["delay_slope_ps_per_ff"] or 0),
                    transition_ps=float(row["transition_intrinsic_ps"] or 0),
                    transition_ps_per_ff=float(row["transition_slope_ps_per_ff"] or 0),
                    energy_fj=float(row["internal_energy_fj_per_toggle"] or 0),
                ),
            ),
            **sequential.get(row["cell"], {}),
        )
