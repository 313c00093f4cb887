"""Area of digital machines from the committed table: the authority for what parts of an array take without synthesis.

Straight lines through arrays mapped to sg13g2 (``area_sg13g2.toml``, made by ``bench/explore_area.py``); scratchpads as
`tetrit.sim.cost.memory` has them.
"""

__all__ = ["machine_area", "shift_terms", "simd_terms"]

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from tetrit import checks
from tetrit.hardware import ShiftArray, SimdEngine
from tetrit.sim.cost.figure import Figure
from tetrit.sim.cost.memory import MEMORY_NAMES, memories, sram

_ARRAY, _REQUANTISERS = 0.06, 0.09
"""How far the lines were off on arrays, and on requantisers, that they were not made from."""


def shift_terms(machine: ShiftArray) -> list[float]:
    """Return what the area of a shift array outside of its elements is linear in: constant, vectors, skew triangles."""
    act, acc = machine.activations.bits, machine.acc_bits
    return [
        1.0,
        machine.act_vector_bits,
        machine.acc_vector_bits,
        machine.weight_vector_bits,
        act * machine.rows**2,
        acc * machine.cols**2,
    ]


def simd_terms(machine: SimdEngine) -> list[float]:
    """Return what the area of an element, and of a read-out, is linear in."""
    return [1.0, machine.quire_bits]


def machine_area(machine: ShiftArray | SimdEngine) -> dict[str, Figure]:
    """Return the area of a digital machine at 130 nm in um2, by component, scratchpads last.

    The table has the element of a SIMD engine for all four formats; engines for fewer take the same (our assumption).

    Examples
    --------
    >>> from tetrit import hardware
    >>> from tetrit.sim.cost.area import machine_area
    >>> area = machine_area(hardware.load("shift_16x16"))
    >>> round(area["processing elements"].value), area["weight memory"].origin
    (917980, 'published')
    """
    parts = _shift(machine) if isinstance(machine, ShiftArray) else _simd(machine)
    scratchpads = {
        MEMORY_NAMES[name]: sram(memory.size_bytes, word_bits, ports=ports).area
        for name, (memory, word_bits, ports) in memories(machine).items()
    }
    return parts | scratchpads


def _shift(machine: ShiftArray) -> dict[str, Figure]:
    wanted = machine.dataflow, machine.weight_format
    row = next(row for row in _table()["shift"] if (row["dataflow"], row["weight_format"]) == wanted)
    source = _table()["source"]
    element = _line(row["element"], [1.0, machine.activations.bits, machine.acc_bits])
    terms = [1.0, machine.acc_bits, machine.acc_bits * machine.multiplier_bits]
    return {
        "processing elements": _modelled(machine.rows * machine.cols * element, source, _ARRAY),
        "skew, decoders and gearboxes": _modelled(_line(row["rest"], shift_terms(machine)), source, _ARRAY),
        "requantisers": _modelled(machine.cols * _line(_table()["requantizer"], terms), source, _REQUANTISERS),
    }


def _simd(machine: SimdEngine) -> dict[str, Figure]:
    row = next(row for row in _table()["simd"] if row["gating"] == machine.gating)
    source = f"{_table()['source']}; skew and control of the array left out"
    element, readout = (_line(row[name], simd_terms(machine)) for name in ("element", "readout"))
    return {
        "elements": _modelled(machine.rows * machine.cols * element, source, None),
        "read-outs": _modelled(machine.cols * readout, source, None),
    }


def _modelled(um2: float, source: str, error: float | None) -> Figure:
    low, high = (None, None) if error is None else (um2 * (1 - error), um2 * (1 + error))
    return Figure(value=um2, unit="um2", origin="modelled", source=source, low=low, high=high)


def _line(coefficients: Sequence[float], terms: Sequence[float]) -> float:
    return float(sum(c * term for c, term in zip(coefficients, terms, strict=True)))


@cache
def _table() -> dict[str, Any]:
    text = (resources.files("tetrit.sim.cost") / "area_sg13g2.toml").read_text(encoding="utf-8")
    return checks.parse_toml("area_sg13g2.toml", text)
