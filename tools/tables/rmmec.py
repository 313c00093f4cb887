"""The SIMD engine's shared datapath against its baselines, and what is published of its relatives."""

__all__ = ["STEPS", "build", "build_published"]

from collections.abc import Callable
from dataclasses import asdict

from measuring import LIBRARY, ROOT, Kept, figure, text_of
from writing import Column, Row, Table

from tetrit.flow.simd_synthesis import Figures, figures
from tetrit.sim.cost.figure import Figure

STEPS = 19
"""Designs that `tetrit.flow.simd_synthesis.figures` yields."""

_MODES = {"fp4_e2m1": "FP4", "posit4_1": "Posit(4,1)", "posit8_0": "Posit(8,0)", "posit16_1": "Posit(16,1)"}

_XR_NPE, _FP8_FP4, _SPADE = "arXiv 2508.13049", "arXiv 2604.04507", "arXiv 2601.17279"
_PUBLISHED = (
    ("XR-NPE, SIMD MAC", "28 nm", {"area": 0.016, "clock": 1720.0, "energy": 14.0}, _XR_NPE),
    ("FP8 / 2 x FP4 MAC", "28 nm", {"area": 0.00396, "clock": 1940.0, "power": 2.13}, _FP8_FP4),
    ("SPADE, SIMD Posit(8/16/32)", "28 nm", {"clock": 1380.0, "power": 6.1}, _SPADE),
)
"""Name, node, figures, source; all from the papers' abstracts."""
_UNITS = {"area": "mm2", "clock": "MHz", "power": "mW", "energy": "pJ"}


def build(kept: Kept, step: Callable[[], None]) -> list[Table]:
    """Return area and energy of the shared datapath over its baselines; `step` is called after each design."""

    def made() -> list[object]:
        found = []
        for row in figures(LIBRARY):
            found.append(asdict(row))
            step()
        return found

    rows = [
        Figures(**entry)
        for entry in kept.get(
            ("SIMD elements", *map(text_of, sorted((ROOT / "tetrit" / "flow").glob("simd_*.py")))), made
        )
    ]
    shared = {row.gating: row for row in rows if row.name == "shared datapath" and not row.flat}
    union = {row.gating: row for row in rows if row.name == "naive union" and not row.flat}
    singles = {
        gating: [row for row in rows if row.name.startswith("single format") and row.gating is gating]
        for gating in (True, False)
    }
    made_rows = []
    for gating, word in ((True, "gated"), (False, "not gated")):
        mine = shared[gating]
        alone = {mode: next(row for row in singles[gating] if mode in row.energy_pj) for mode in _MODES}
        for title, area, energy in (
            ("naive union, by component", union[gating].area_um2, union[gating].energy_pj),
            (
                "four elements, one a format",
                sum(row.area_um2 for row in singles[gating]),
                {mode: row.energy_pj[mode] for mode, row in alone.items()},
            ),
        ):
            ratios = {mode: figure(mine.energy_pj[mode] / energy[mode], "") for mode in _MODES}
            made_rows.append(Row(names=(title, word), figures={"area": figure(mine.area_um2 / area, ""), **ratios}))
    columns = (
        Column(key="area", title="area ratio", form=".2f"),
        *(Column(key=mode, title=f"energy ratio, {title}", form=".2f") for mode, title in _MODES.items()),
    )
    return [Table(name="rmmec", heads=("shared datapath over", "clocks"), columns=columns, rows=made_rows)]


def build_published(kept: Kept, step: Callable[[], None]) -> list[Table]:
    """Return what papers state of XR-NPE and its relatives."""
    rows = []
    for name, node, values, source in _PUBLISHED:
        rows.append(
            Row(
                names=(name, node, source),
                figures={
                    key: Figure(value=value, unit=_UNITS[key], origin="published", source=source)
                    for key, value in values.items()
                },
            )
        )
    step()
    columns = (
        Column(key="area", title="area, mm2", form="g"),
        Column(key="clock", title="clock, MHz", form=",.0f"),
        Column(key="power", title="power, mW", form="g"),
        Column(key="energy", title='"arithmetic intensity", pJ', form="g"),
    )
    return [Table(name="published", heads=("design", "node", "published in"), columns=columns, rows=rows)]
