"""Area of machines from committed tables and cited figures: the authority for what `tetrit explore` takes for mm2.

Digital arrays and their memories: `tetrit.sim.cost.area`, or, where asked for, the array itself mapped by Yosys.
Crossbars: `tetrit.sim.cost.crossbar_area` at 32 nm, the node of their energies.
"""

__all__ = ["Area", "crossbar", "shift", "simd"]

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar, ShiftArray, SimdEngine
from tetrit.sim.cost.area import machine_area
from tetrit.sim.cost.crossbar_area import crossbar_area
from tetrit.sim.cost.figure import Figure
from tetrit.sim.cost.memory import MEMORY_NAMES
from tetrit.sim.cost.peripherals import CellCosts, cell_costs

_CELL_PITCH_UM = 0.5
_NODE_NM = 32.0


@dataclass(frozen=True, kw_only=True)
class Area:
    """An area by component, each with its source.

    Attributes
    ----------
    um2, sources : dict
        By component.
    """

    um2: dict[str, float]
    sources: dict[str, str]

    @property
    def mm2(self) -> float:
        """All components together."""
        return sum(self.um2.values()) * 1e-6


def shift(machine: ShiftArray, mode: str = "table") -> Area:
    """Return the area of a shift array with its memories, ``table`` or ``synthesised``."""
    found = _table(machine)
    if mode == "table":
        return found
    array, requantizer = _synthesised_shift(machine)
    return _replaced(found, {"array": array, "requantisers": machine.cols * requantizer})


def simd(machine: SimdEngine, mode: str = "table") -> Area:
    """Return the area of a SIMD engine with its memories, ``table`` or ``synthesised``.

    The table has the element for all four formats; engines for fewer take the same (our assumption).
    """
    found = _table(machine)
    return found if mode == "table" else _replaced(found, {"array": _synthesised_simd(machine)})


def crossbar(machine: Crossbar, arrays: int) -> Area:
    """Return the area of `arrays` crossbars with their converters; requantisation and memories are left out.

    Raises
    ------
    InvalidValueError
        Converters of which the survey of ADCs knows nothing.
    """
    return _area(crossbar_area(machine, arrays=arrays, node_nm=_NODE_NM, cells=_cells(machine.cell.name)), 1e6)


def _cells(device: str) -> CellCosts:
    """Return what cells take: a device without a figure of its own has the pitch that the presets' wires assume."""
    try:
        return cell_costs(device)
    except InvalidValueError:
        text = f"cells {_CELL_PITCH_UM} um apart, as the presets' wires; device '{device}' has no figure of its own"
        none = Figure(value=0.0, unit="pJ", origin="assumed", source="not used for areas")
        area_f2 = (_CELL_PITCH_UM / _NODE_NM * 1e3) ** 2
        return CellCosts(
            area_f2=Figure(value=area_f2, unit="F2", origin="assumed", source=text),
            pulse_pj=none,
            pulses=replace(none, unit="1"),
        )


def _table(machine: ShiftArray | SimdEngine) -> Area:
    """Return the area from the committed table."""
    return _area(machine_area(machine))


def _area(found: Mapping[str, Figure], to_um2: float = 1.0) -> Area:
    return Area(
        um2={name: figure.value * to_um2 for name, figure in found.items()},
        sources={name: f"{figure.origin}: {figure.source}" for name, figure in found.items()},
    )


def _replaced(found: Area, made: dict[str, float]) -> Area:
    """Return an area with synthesised parts in place of all that is no memory."""
    memories = {name: um2 for name, um2 in found.um2.items() if name in MEMORY_NAMES.values()}
    return Area(
        um2=made | memories,
        sources=dict.fromkeys(made, "synthesised: Yosys, sg13g2, cell area without routing")
        | {name: found.sources[name] for name in memories},
    )


@lru_cache(maxsize=64)
def _synthesised_shift(machine: ShiftArray) -> tuple[float, float]:
    """Return the mapped area of the array, and of one requantiser."""
    from tetrit import rtl

    array, requantizer = (rtl.synthesize(rtl.build(name, machine)) for name in ("ShiftPEArray", "Requantizer"))
    return array.area_um2, requantizer.area_um2


@lru_cache(maxsize=64)
def _synthesised_simd(machine: SimdEngine) -> float:
    from tetrit import rtl

    return float(rtl.synthesize(rtl.build("SimdArray", machine)).area_um2)
