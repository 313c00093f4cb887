"""Where the energy of the SIMD element's 4-bit modes goes: by part and kind, by borders of digits, by operands."""

__all__ = ["KINDS", "PARTS", "Breakdown", "breakdown", "energy_by_part", "to_section"]

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tetrit.flow.simd_energy import step_activity, step_energy
from tetrit.hardware import SimdEngine
from tetrit.rtl import Activity, SimdMac, synthesize
from tetrit.rtl.energy import cell_energies_fj
from tetrit.rtl.simd.accumulator import BORDERS

PARTS: Mapping[str, tuple[str, ...]] = {
    "operands, results, control": ("SimdMac",),
    "decoders, 4-bit and choice": ("OperandDecoder",),
    "decoders, posits of 8 and 16 bits": ("PositDecoder",),
    "multiplier": ("SignificandMultiplier", "BlockJoiner"),
    "exponent adders": ("ExponentUnit",),
    "product registers": ("SimdDatapath",),
    "alignment, four lanes and choice": ("Aligner", "NarrowAligner"),
    "alignment, one or two lanes": ("WideAligner",),
    "quires": ("QuireAccumulator", "QuireDigit"),
}
"""Modules of the element by what they are for."""

KINDS = ("logic", "registers", "clock", "leakage and inputs")
"""As in `tetrit.rtl.Energy`, the last two together."""

_MODES = {"fp4_e2m1": "FP4", "posit4_1": "Posit(4,1)"}
_WIDE = {"posit8_0": "Posit(8,0)", "posit16_1": "Posit(16,1)"}
_ENGINE = SimdEngine(rows=1, cols=1)
_TRIED = ((8, 16), (10, 17), (6, 16), (4, 10, 17))
"""Borders of digits beside those that are built; the first were before them."""

_SPREADS = (0.25, 0.5, 1.0, 2.0, 4.0)
_LEAST = 0.005
"""Energy in pJ a step below which a row is left out."""


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """An element with some borders of digits, mapped by component with gating and without.

    Attributes
    ----------
    borders : tuple of int
        Of a 4-bit lane's upper digits.
    area_um2, delay_ns : float
        With gating.
    parts : mapping of (str, bool) to mapping of (str, str) to float
        By format of both operands and gating: pJ a step by part and kind.
    steps : mapping of (str, float) to tuple of float
        By format and spread of the operands: pJ a step with gating and without; of wider formats for a spread of 1.
    """

    borders: tuple[int, ...]
    area_um2: float
    delay_ns: float
    parts: Mapping[tuple[str, bool], Mapping[tuple[str, str], float]]
    steps: Mapping[tuple[str, float], tuple[float, float]]

    def ratio(self, mode: str, spread: float = 1.0) -> float:
        """Return the energy with gating over that without."""
        gated, plain = self.steps[mode, spread]
        return gated / plain


def breakdown(library: str = "sg13g2", liberty: Path | None = None) -> Iterator[Breakdown]:
    """Yield the element as it is built, then with other borders of its digits.

    Parameters
    ----------
    library : str
        An embedded cell library.
    liberty : Path, optional
        A liberty file in its place.
    """
    for borders in (BORDERS, *_TRIED):
        machines = {gating: _ENGINE.replace(gating=gating) for gating in (True, False)}
        mapped = {
            gating: synthesize(SimdMac(machine, borders=borders), library, liberty)
            for gating, machine in machines.items()
        }
        yield Breakdown(
            borders=borders,
            area_um2=mapped[True].area_um2,
            delay_ns=mapped[True].delay_ns,
            parts={
                (mode, gating): energy_by_part(step_activity(mapped[gating], machine, mode, mode), machine)
                for mode in _MODES
                for gating, machine in machines.items()
            },
            steps={
                (mode, spread): (
                    step_energy(mapped[True], machines[True], mode, mode, spread=spread),
                    step_energy(mapped[False], machines[False], mode, mode, spread=spread),
                )
                for mode in (*_MODES, *_WIDE)
                for spread in (_SPREADS if mode in _MODES else (1.0,))
            },
        )


def energy_by_part(activity: Activity, machine: SimdEngine) -> dict[tuple[str, str], float]:
    """Return pJ a cycle of an element that is mapped by component, by part and kind."""
    flat = activity.flat
    switched, clocked = cell_energies_fj(flat, activity.toggles, activity.ticks, activity.clock_of)
    is_flop = flat.gather([cell.role == "flop" for cell in flat.technology.cells])
    by_kind = (np.where(is_flop, 0.0, switched), np.where(is_flop, switched, 0.0), clocked)
    modules = len(flat.module_names)
    per_module = [np.bincount(flat.owner, weights=fj, minlength=modules) / activity.n_cycles / 1000 for fj in by_kind]
    total = activity.energy(1000.0 / machine.clock_mhz).by_module
    part_of = {module: part for part, members in PARTS.items() for module in members}
    found = {(part, kind): 0.0 for part in PARTS for kind in KINDS}
    for index, name in enumerate(flat.module_names):
        part = part_of[re.sub(r"_\d+$", "", name)]
        known = [float(of_kind[index]) for of_kind in per_module]
        for kind, pj in zip(KINDS, (*known, total[name] - sum(known)), strict=True):
            found[part, kind] += pj
    return found


def to_section(rows: list[Breakdown]) -> str:
    """Return the section of the page: rows as `breakdown` yields them."""
    built = rows[0]
    lines = [
        "## Where the energy of the 4-bit modes goes",
        "",
        "Picojoules a step by part and kind, mapped by component, with gating and without.",
        "",
        *_by_part(built),
        "",
        "Gating stops the decoder of long posits, the wide shifter, and the quires' digits that no bit of a product",
        "lies in. It leaves operand registers, small decoders and narrow shifter, and adds gates that isolate.",
        "Posit(4,1) needs no multiplier, its values being powers of two, but its products lie anywhere in 17 bits,",
        "those of FP4 in 8: exponent adders, narrow shifter and upper digits move more often, and gating saves less.",
        "The digits' borders decide: with one at bit 8, amid Posit(4,1)'s products, steps go to either side of it in",
        "turn, and carries across; with one on each side of it, two products of three are in a digit of 4 bits.",
        "",
        "The ratio with other borders, and what they cost, wider formats included:",
        "",
        *_by_borders(rows),
        "",
        "The ratio over the operands' spread, in multiples of that in the table above:",
        "",
        *_by_spread(rows[:2]),
    ]
    return "\n".join(lines) + "\n"


def _by_part(built: Breakdown) -> Iterator[str]:
    columns = [(mode, gating) for mode in _MODES for gating in (True, False)]
    heads = [f"{_MODES[mode]}, {'with' if gating else 'without'}" for mode, gating in columns]
    yield f"| part | kind | {' | '.join(heads)} |"
    yield "|---|---|" + "---:|" * len(columns)
    for part in PARTS:
        for kind in KINDS[:-1]:
            values = [built.parts[column][part, kind] for column in columns]
            if max(values) >= _LEAST:
                yield f"| {part} | {kind} | {' | '.join(f'{pj:.2f}' for pj in values)} |"
    rest = [sum(built.parts[column][part, KINDS[-1]] for part in PARTS) for column in columns]
    yield f"| all | {KINDS[-1]} | {' | '.join(f'{pj:.2f}' for pj in rest)} |"
    totals = [sum(built.parts[column].values()) for column in columns]
    yield f"| all | all | {' | '.join(f'{pj:.2f}' for pj in totals)} |"


def _by_borders(rows: list[Breakdown]) -> Iterator[str]:
    heads = [f"{title}, {what}" for title in _MODES.values() for what in ("with, pJ", "over without")]
    heads += [f"{title}, with, pJ" for title in _WIDE.values()]
    yield f"| upper digits of a lane begin at | area, um2 | path, ns | {' | '.join(heads)} |"
    yield "|---|---:|---:|" + "---:|" * len(heads)
    for row in rows:
        cells = [f"{row.area_um2:,.0f}", f"{row.delay_ns:.2f}"]
        for mode in _MODES:
            cells += [f"{row.steps[mode, 1.0][0]:.2f}", f"{row.ratio(mode):.3f}"]
        cells += [f"{row.steps[mode, 1.0][0]:.2f}" for mode in _WIDE]
        built = ", built" if row is rows[0] else ""
        yield f"| {', '.join(map(str, row.borders))}{built} | {' | '.join(cells)} |"


def _by_spread(rows: list[Breakdown]) -> Iterator[str]:
    heads = [f"{title}, digits at {', '.join(map(str, row.borders))}" for title in _MODES.values() for row in rows]
    yield f"| spread | {' | '.join(heads)} |"
    yield "|---:|" + "---:|" * len(heads)
    for spread in _SPREADS:
        ratios = [f"{row.ratio(mode, spread):.3f}" for mode in _MODES for row in rows]
        yield f"| {spread:g} | {' | '.join(ratios)} |"
