"""The SIMD engine in gates: area, critical path and energy of its element, of its baselines and of a shift element."""

__all__ = ["Figures", "figures", "to_markdown"]

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from amaranth.lib import wiring

from tetrit import formats, rtl
from tetrit.flow.simd_energy import step_energy
from tetrit.hardware import ShiftArray, SimdEngine
from tetrit.hardware.simd_engine import SIMD_FORMATS
from tetrit.rtl import SimdMac, SimdReadout, synthesize
from tetrit.rtl.simd import UnionMac, single_format

SHIFT_REFERENCE = ShiftArray(rows=8, cols=8, weight_format="szt", act_format="int8", acc_bits=24)
"""Whose element is set beside the SIMD engine's."""

_SHARED, _UNION, _SINGLE = "shared datapath", "naive union", "single format"
_TITLES = {"fp4_e2m1": "FP4", "posit4_1": "Posit(4,1)", "posit8_0": "Posit(8,0)", "posit16_1": "Posit(16,1)"}

_PUBLISHED = (
    ("XR-NPE SIMD MAC (arXiv 2508.13049)", "28 nm", "0.016 mm2", "1.72 GHz", '14 pJ ("arithmetic intensity")'),
    ("FP8 / 2 x FP4 PE (arXiv 2604.04507)", "28 nm", "0.00396 mm2", "1.94 GHz", "2.13 mW: 1.10 pJ a cycle"),
    ("SPADE, SIMD Posit(8/16/32) (arXiv 2601.17279)", "28 nm", "not stated", "1.38 GHz", "6.1 mW: 4.42 pJ a cycle"),
)
"""Name, node, area, clock, energy; energies per cycle are power over clock, our division."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One design, mapped.

    Attributes
    ----------
    name : str
        Of the design.
    gating : bool or None
        Whether it has gating; None where there is no choice.
    flat : bool
        Mapped as one module, so that logic is optimised across components; else component by component.
    area_um2, delay_ns : float
        Of its cells; its longest path.
    energy_pj : mapping of str to float
        By format of both operands: one step, at the clock of the machine.
    lanes : mapping of str to int
        Products of a step.
    assumptions : tuple of str
        Of the synthesis.
    library : str
        The cell library.
    """

    name: str
    gating: bool | None
    flat: bool
    area_um2: float
    delay_ns: float
    energy_pj: Mapping[str, float]
    lanes: Mapping[str, int]
    assumptions: tuple[str, ...]
    library: str


def figures(library: str = "sg13g2", liberty: Path | None = None) -> Iterator[Figures]:
    """Yield the figures of each design: elements, the read-out, and the shift array's element.

    Parameters
    ----------
    library : str
        An embedded cell library.
    liberty : Path, optional
        A liberty file in its place.
    """
    machine = SimdEngine(rows=1, cols=1)

    def mapped(
        name: str,
        component: wiring.Component,
        gating: bool | None,
        target: SimdEngine | None,
        *,
        flat: bool = False,
    ) -> Figures:
        result = synthesize(component, library, liberty, hierarchical=not flat)
        modes = () if target is None else target.formats
        return Figures(
            name=name,
            gating=gating,
            flat=flat,
            area_um2=result.area_um2,
            delay_ns=result.delay_ns,
            energy_pj={mode: step_energy(result, target, mode, mode) for mode in modes if target is not None},
            lanes={mode: machine.port_bits // formats.get(mode).bits for mode in modes},
            assumptions=result.assumptions,
            library=result.technology.name,
        )

    elements: tuple[tuple[str, Callable[[SimdEngine], SimdMac]], ...] = ((_SHARED, SimdMac), (_UNION, UnionMac))
    for name, make in elements:
        for flat in (False, True):
            for gating in (True, False):
                engine = machine.replace(gating=gating)
                yield mapped(name, make(engine), gating, engine, flat=flat)
    for mode in SIMD_FORMATS:
        for gating in (True, False):
            element = single_format(mode, gating=gating)
            yield mapped(f"{_SINGLE}, {_TITLES[mode]}", element, gating, element.machine, flat=True)
    yield mapped("read-out", SimdReadout(machine), None, None)
    for dataflow in ("output_stationary", "weight_stationary"):
        shift = rtl.build("ShiftPE", SHIFT_REFERENCE.replace(dataflow=dataflow))
        yield mapped(f"shift element, {dataflow.replace('_', ' ')}", shift, None, None)


def to_markdown(rows: list[Figures], command: str, parts: str = "") -> str:
    """Return the page: the table, the targets, what is published elsewhere, and what the figures rest on.

    Parameters
    ----------
    rows : list of Figures
        As `figures` yields them.
    command : str
        What writes it.
    parts : str
        A section to set behind the targets, as `tetrit.flow.simd_breakdown.to_section` returns it.
    """
    lines = [
        "# The SIMD engine in gates",
        "",
        f"Written by `{command}`; do not edit. Every figure but the published ones is `synthesised`.",
        "",
        "One processing element (`SimdMac`, 128 bits of quire), its two baselines, the read-out below each column, and",
        "the shift array's element. Energy is per multiply-accumulate: that of a step, in which all lanes work, over",
        "the number of lanes (FP4 and Posit(4,1): 4, Posit(8,0): 2, Posit(16,1): 1); both operands have the format.",
        "`by component` maps each component on its own, as the array is mapped, and keeps what isolates operands where",
        "it was put; `flat` lets the mapper move logic across components, isolation included.",
        "",
        *_table(rows),
        "",
        "## Targets",
        "",
        *_targets(rows),
        "",
        *([parts] if parts else []),
        "## Published, for comparison only",
        "",
        "Other nodes, other flows (placed and routed or not stated), and lanes, pipeline and accumulator that the",
        "papers do not state: no ratio to the table above means anything.",
        "",
        "| design | node | area | clock | energy |",
        "|---|---|---|---|---|",
        *("| " + " | ".join(row) + " |" for row in _PUBLISHED),
        "",
        "## What the figures rest on",
        "",
        "- operands: normally distributed, standard deviation 1, for FP4 1.5; sums of 64 words; formats held (our",
        "  assumption); 100 MHz; no glitches: toggles are those of settled values",
        *(f"- {line}" for line in rows[0].assumptions),
    ]
    return "\n".join(lines) + "\n"


def _table(rows: list[Figures]) -> Iterator[str]:
    yield (
        "| design | gating | mapped | area, um2 | path, ns | "
        + " | ".join(f"{title}, pJ/MAC" for title in _TITLES.values())
        + " |"
    )
    yield "|---|---|---|---:|---:|" + "---:|" * len(_TITLES)
    for row in rows:
        energies = [f"{row.energy_pj[mode] / row.lanes[mode]:.2f}" if mode in row.energy_pj else "" for mode in _TITLES]
        gating = {True: "yes", False: "no", None: ""}[row.gating]
        mapped = "flat" if row.flat else "by component"
        cells = (row.name, gating, mapped, f"{row.area_um2:,.0f}", f"{row.delay_ns:.2f}", *energies)
        yield f"| {' | '.join(cells)} |"


def _targets(rows: list[Figures]) -> Iterator[str]:
    """Yield what was aimed at, and what is reached."""
    chosen = {(row.name, row.gating, row.flat): row for row in rows}
    engine, plain = chosen[_SHARED, True, False], chosen[_SHARED, False, False]
    singles = {
        gating: sum(row.area_um2 for row in rows if row.name.startswith(_SINGLE) and row.gating is gating)
        for gating in (True, False)
    }
    what = "area over that of the four single-format elements together"
    yield _aim(f"{what}, with gating", engine.area_um2 / singles[True], 0.6)
    yield _aim(f"{what}, these without", engine.area_um2 / singles[False], 0.6)
    for flat, how in ((False, "by component"), (True, "flat")):
        share = chosen[_SHARED, True, flat].area_um2 / chosen[_UNION, True, flat].area_um2
        yield f"- area over that of the naive union, both {how}: {share:.2f}"
    least = chosen[_SHARED, False, True]
    for mode in ("fp4_e2m1", "posit4_1"):
        with_, without = engine.energy_pj[mode], plain.energy_pj[mode]
        yield _aim(f"{_TITLES[mode]}, energy with gating over without, mapped alike", with_ / without, 0.5) + (
            f"; both mapped flat: {chosen[_SHARED, True, True].energy_pj[mode] / least.energy_pj[mode]:.2f}"
        )
    for mode in ("posit8_0", "posit16_1"):
        share = engine.energy_pj[mode] / plain.energy_pj[mode]
        yield f"- {_TITLES[mode]}, energy with gating over without: {share:.2f}"
    for mode in _TITLES:
        shares = [
            chosen[_SHARED, True, flat].energy_pj[mode] / chosen[_UNION, True, flat].energy_pj[mode]
            for flat in (False, True)
        ]
        yield (
            f"- {_TITLES[mode]}, energy over that of the naive union, both with gating: {shares[0]:.2f} by component, "
            f"{shares[1]:.2f} flat"
        )
    lane = engine.area_um2 / engine.lanes["posit8_0"]
    for row in rows:
        if row.name.startswith("shift element"):
            yield _aim(f"{row.name}, SZT weights, area over that of a SIMD lane of 8 bits", row.area_um2 / lane, 0.25)


def _aim(what: str, reached: float, bound: float) -> str:
    return f"- {what}: {reached:.2f}, aimed at {bound:g} at most: {'met' if reached <= bound else 'missed'}"
