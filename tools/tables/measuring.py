"""The authority for how a design of the tables is measured: mapped, simulated, priced; kept until something changes."""

__all__ = ["PERIOD_NS", "Kept", "Measured", "figure", "gate_equivalents", "measure", "text_of"]

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy.typing as npt
from amaranth.lib import wiring

from tetrit.files import write_atomic
from tetrit.rtl import Synthesis, simulate, synthesize
from tetrit.rtl.hierarchy import lower
from tetrit.sim.cost.figure import Figure

ROOT = Path(__file__).parents[2]
LIBRARY, GATE = "sg13g2", "sg13g2_nand2_1"
PERIOD_NS = 30.0
"""Clock period of all designs: one that every element meets."""
WARMUP = 8

_SOURCES = (
    "rtl/**/*.py",
    "hardware/*.py",
    "hardware/libraries/*",
    "formats/*.py",
    *map("tools/tables/{}.py".format, ("measuring", "operands")),
)
_TOOLS = ("amaranth", "pyosys", "numpy")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Figures of a mapped design.

    Attributes
    ----------
    area_um2, register_um2 : float
        All cells; flip-flops and clock gates among them.
    delay_ns : float
        Longest path.
    energy_pj : mapping of str to float
        Per cycle, by stimulus.
    """

    area_um2: float
    register_um2: float
    delay_ns: float
    energy_pj: Mapping[str, float]


class Kept:
    """Results by what they are of: kept in a folder, and made anew when the design, our code or the tools change."""

    def __init__(self, folder: Path = ROOT / "build" / "tables") -> None:
        self.folder = folder

    def get(self, parts: tuple[str, ...], make: Callable[[], Any]) -> Any:
        """Return what is kept for `parts`, or make it; JSON either way."""
        digest = hashlib.sha256("\0".join((*parts, _state())).encode()).hexdigest()
        path = self.folder / f"{digest}.json"
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        made = make()
        write_atomic(path, json.dumps(made))
        return made


@cache
def _state() -> str:
    """Return a digest of all that figures depend on besides the design."""
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file():
                digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    for tool in _TOOLS:
        digest.update(f"{tool} {version(tool)}".encode())
    return digest.hexdigest()


def text_of(path: str | Path) -> str:
    """Return the text of a module that results depend on."""
    return Path(path).read_text(encoding="utf-8")


def measure(
    kept: Kept,
    component: wiring.Component,
    stimuli: Callable[[Synthesis], Mapping[str, Mapping[str, npt.ArrayLike]]],
    *,
    hierarchical: bool = False,
    inputs_from: str = "",
    check: Callable[[str, Any], None] | None = None,
) -> Measured:
    """Map a component to cells, and count what switches with each stimulus.

    Parameters
    ----------
    kept : Kept
        Where results are kept.
    component : Component
        The design.
    stimuli : callable
        Of the mapped design: by name, the inputs for `tetrit.rtl.simulate`. A function of the design and of our code
        alone, and of what `inputs_from` names.
    hierarchical : bool
        As of `tetrit.rtl.synthesize`.
    inputs_from : str
        What else the inputs depend on: formats, and the text of the module that makes them.
    check : callable, optional
        Of a stimulus' name and the `Activity`: raises if the netlist computed something wrong.
    """

    def made() -> dict[str, Any]:
        result = synthesize(component, LIBRARY, hierarchical=hierarchical)
        energy = {}
        for name, inputs in stimuli(result).items():
            activity = simulate(result.structure, inputs, n_warmup=WARMUP)
            if check is not None:
                check(name, activity)
            energy[name] = activity.energy(PERIOD_NS).total_pj
        cells = result.technology.cells
        registers = {cell.name: cell.area_um2 for cell in cells if cell.role != "logic"}
        return asdict(
            Measured(
                area_um2=result.area_um2,
                register_um2=sum(registers.get(kind, 0.0) * count for kind, count in result.cells.items()),
                delay_ns=result.delay_ns,
                energy_pj=energy,
            )
        )

    design = lower(component, "design")
    return Measured(**kept.get((design.rtlil, str(hierarchical), inputs_from), made))


@cache
def _gate_um2() -> float:
    from tetrit.rtl import load_technology

    return load_technology(LIBRARY).cell(GATE).area_um2


def gate_equivalents(area_um2: float) -> float:
    """Return an area in units of the smallest NAND gate of two inputs."""
    return area_um2 / _gate_um2()


def figure(value: float, unit: str) -> Figure:
    """Return a figure that synthesis gave, at the corner and with the assumptions of `tetrit.rtl.synthesize`."""
    source = f"{LIBRARY}, typical 1.20 V 25 C, cells only"
    return Figure(value=value, unit=unit, origin="synthesised", source=source)
