"""Figures of the hardware as synthesised and verified: area, signed-zero against plain ternary, test benches."""

__all__ = ["area", "szt_vs_ternary", "verify"]

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from tetrit.report import style
from tetrit.report.figures import charts, treemap
from tetrit.report.numbers import fold, in_unit, origin_of, unit

_MAX_ROWS = 12


def area(report: Mapping[str, Any]) -> Figure | None:
    """Draw area by component, with each one's origin, and by module for the largest synthesised component."""
    parts = fold(report.get("area_mm2", {}).get("breakdown", {}), len(style.PALETTE))
    nothing = {"area_um2": 0.0, "modules": []}
    largest: Mapping[str, Any] = max([nothing, *report.get("synthesis", [])], key=lambda result: result["area_um2"])
    modules = sorted(largest["modules"], key=lambda module: (-module["total_area_um2"], module["name"]))[:_MAX_ROWS]
    panels_of = [rows for rows in (parts, modules) if rows]
    if not panels_of:
        return None
    heights = [0.75 + 0.3 * len(rows) for rows in panels_of]
    drawn = style.figure(sum(heights))
    panels = list(drawn.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
    if parts:
        axes = panels.pop(0)
        factor, name_of_unit = unit(max(parts.values()), "mm²")
        sources = report["area_mm2"]["sources"]
        texts = [f"{in_unit(value, 'mm²', 3)} ({origin_of(name, sources)})" for name, value in parts.items()]
        names = [f"{letter}  {style.label(name)}" for letter, name in zip(treemap.LETTERS, parts, strict=False)]
        charts.bars(axes, names, [v * factor for v in parts.values()], style.PALETTE[: len(parts)], texts, room=0.5)
        axes.set_title(f"by component, {name_of_unit}")
    if modules:
        axes = panels.pop(0)
        factor, name_of_unit = unit(max(module["total_area_um2"] for module in modules), "µm²")
        totals = [in_unit(module["total_area_um2"], "µm²", 3) for module in modules]
        singles = [f"{module['instances']:,} × {in_unit(module['area_um2'], 'µm²', 3)}" for module in modules]
        texts = [f"{total} ({single})" for total, single in zip(totals, singles, strict=True)]
        values = [module["total_area_um2"] * factor for module in modules]
        charts.bars(axes, [module["name"] for module in modules], values, [style.BLUE] * len(modules), texts, room=0.85)
        axes.set_title(f"{style.label(largest['component'], 20)} by module, {name_of_unit}")
    return drawn


def szt_vs_ternary(report: Mapping[str, Any]) -> Figure | None:
    """Draw the area of the array for either weight code, the decoders apart from the datapath."""
    if "szt_vs_ternary" not in report:
        return None
    table = report["szt_vs_ternary"]
    rows = [
        ("signed-zero ternary", table["datapath_szt_um2"], table["szt_array_um2"]),
        ("two's-complement ternary", table["datapath_ternary_um2"], table["ternary_array_um2"]),
    ]
    width = max(array for *_, array in rows) or 1.0
    factor, name_of_unit = unit(width, "µm²")
    drawn = style.figure(1.55)
    axes = drawn.subplots()
    for place, (_, datapath, array) in enumerate(rows):
        decoders = max(0.0, array - datapath)
        charts.stack(
            axes,
            place,
            [
                (datapath * factor, style.BLUE, f"datapath {in_unit(datapath, 'µm²')}"),
                (decoders * factor, style.ORANGE, ""),
            ],
            width * factor,
        )
        text = f"decoders {in_unit(decoders, 'µm²', 3)}"
        charts.beside(axes, text, array * factor, place)
    charts.rows(axes, [name for name, *_ in rows])
    axes.set_xlim(0, width * factor * 1.3)
    axes.set_xlabel(f"cell area of the array, {name_of_unit}")
    return drawn


def verify(report: Mapping[str, Any]) -> Figure | None:
    """Draw, for every test bench that counts cycles, those of the RTL and those of the model."""
    benches = [
        bench
        for bench in report.get("verify", {}).get("testbenches", [])
        if bench.get("cycles_rtl") is not None and bench.get("cycles_model") is not None
    ]
    if not benches:
        return None
    drawn = style.figure(1.05 + 0.3 * len(benches))
    axes = drawn.subplots()
    places = range(len(benches))
    axes.scatter(
        [b["cycles_model"] for b in benches],
        places,
        s=95,
        facecolors="none",
        edgecolors=style.BLUE,
        linewidths=1.8,
        zorder=3,
    )
    axes.scatter([b["cycles_rtl"] for b in benches], places, s=24, color=style.VERMILION, zorder=4)
    counts = [count for b in benches for count in (b["cycles_rtl"], b["cycles_model"])]
    axes.set_xscale("log")
    axes.set_xlim(min(counts) / 2, max(counts) * 2)
    charts.rows(axes, [f"{b['name']} (gates)" if b.get("level") == "gates" else b["name"] for b in benches])
    charts.numbered(axes.xaxis, logarithmic=True)
    for place, bench in enumerate(benches):
        charts.margin(axes, f"{bench['vectors']:,} outputs, {bench['mismatches']:,} wrong", place)
    axes.set_xlabel("cycles, all cases together: ring = model, dot = hardware")
    return drawn
