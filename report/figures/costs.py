"""Figures of what the machine needs: cycles and utilisation, energy, roofline."""

__all__ = ["energy", "layers", "roofline"]

import math
from collections.abc import Container, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.transforms import Bbox

from tetrit.report import style
from tetrit.report.figures import charts, treemap
from tetrit.report.figures.longest import SHOWN, fold_layers, longest
from tetrit.report.numbers import fold, fold_as, origin_of, significant, unit

_NAME_SIZE, _SHORT = 8.5, 4.0


def layers(report: Mapping[str, Any]) -> Figure:
    """Draw cycles (those that compute, and the rest) with their share, and utilisation of every layer."""
    table = fold_layers(report["layers"], longest(report["layers"]))
    names = [layer["name"] for layer in table]
    drawn = style.figure(1.9 + 0.56 * len(table))
    upper, lower = drawn.subplots(2, 1)
    whole = sum(layer["cycles"] for layer in table) or 1
    widest = max(layer["cycles"] for layer in table)
    for row, layer in enumerate(table):
        ideal = min(layer["ideal_cycles"], layer["cycles"])
        parts = [(ideal, style.BLUE, ""), (layer["cycles"] - ideal, style.ORANGE, "")]
        charts.stack(upper, row, parts, widest)
        charts.beside(upper, f"{layer['cycles']:,} ({100 * layer['cycles'] / whole:.0f} %)", layer["cycles"], row)
    charts.rows(upper, names)
    upper.set_xlim(0, 1.45 * widest)
    charts.numbered(upper.xaxis)
    upper.set_title("cycles, and share of all of them")
    handles = [Patch(facecolor=style.BLUE), Patch(facecolor=style.ORANGE, edgecolor=style.SURFACE, hatch="///")]
    texts = ["if all PEs computed", "filling, waiting, idle PEs"]
    drawn.legend(handles, texts, loc="outside lower center", ncols=2, fontsize=8.5)
    shares = [100 * layer["utilization"] for layer in table]
    texts = [f"{share:.1f}, bound by {layer['bound']}" for share, layer in zip(shares, table, strict=True)]
    charts.bars(lower, names, shares, [style.BLUE] * len(table), texts)
    lower.set_xlim(0, 150)
    lower.set_xticks(range(0, 101, 20))
    lower.set_title("utilisation of the PEs, %")
    return drawn


def energy(report: Mapping[str, Any]) -> Figure | None:
    """Draw energy by component, with each one's origin, and by layer, stacked from the same components."""
    if not report.get("energy_uj", {}).get("breakdown"):
        return None
    spent = report["energy_uj"]
    totals = fold(spent["breakdown"], len(style.PALETTE))
    colours = dict(zip(totals, style.PALETTE, strict=False))
    letters = dict(zip(totals, treemap.LETTERS, strict=False))
    priced = [layer for layer in report["layers"] if "breakdown" in layer]
    table = fold_layers(priced, longest(priced))
    heights = [0.75 + 0.28 * len(totals)] + ([0.75 + 0.33 * len(table)] if table else [])
    drawn = style.figure(sum(heights))
    panels = drawn.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    factor, name_of_unit = unit(max(totals.values()), "µJ")
    whole = math.fsum(totals.values()) or 1.0
    texts = [
        f"{significant(value * factor)} ({100 * value / whole:.0f} %, {origin_of(name, spent['sources'])})"
        for name, value in totals.items()
    ]
    charts.bars(
        panels[0],
        [f"{letters[name]}  {style.label(name)}" for name in totals],
        [value * factor for value in totals.values()],
        list(colours.values()),
        texts,
        room=0.8,
    )
    panels[0].set_title(f"by component, {name_of_unit}, all images")
    if table:
        _by_layer(panels[1], table, colours, letters)
    return drawn


def _by_layer(
    axes: Axes, table: Sequence[Mapping[str, Any]], colours: Mapping[str, str], letters: Mapping[str, str]
) -> None:
    rows_uj = [fold_as({name: pj * 1e-6 for name, pj in layer["breakdown"].items()}, list(colours)) for layer in table]
    widest = max(math.fsum(row.values()) for row in rows_uj)
    factor, name_of_unit = unit(widest, "µJ")
    width = (widest or 1.0) * factor
    for place, row in enumerate(rows_uj):
        charts.stack(
            axes, place, [(value * factor, colours[name], letters[name]) for name, value in row.items()], width
        )
        total = math.fsum(row.values()) * factor
        charts.beside(axes, significant(total), total, place)
    charts.rows(axes, [layer["name"] for layer in table])
    axes.set_xlim(0, width * 1.15)
    axes.set_title(f"by layer, {name_of_unit} (letters as above)")


def roofline(report: Mapping[str, Any]) -> Figure | None:
    """Draw the machine's limits, and every layer's speed against its arithmetic intensity."""
    if not report.get("roofline", {}).get("points"):
        return None
    roof = report["roofline"]
    peak, bandwidth = roof["peak_macs_per_cycle"], roof["bandwidth_bytes_per_cycle"]
    points = [(style.label(p["name"]), p["intensity_macs_per_byte"], p["macs_per_cycle"]) for p in roof["points"]]
    few = {name for name, *_ in points}
    if len(points) > SHOWN:
        few = {style.label(report["layers"][place]["name"]) for place in longest(report["layers"])}
    ridge = peak / bandwidth
    low = min(ridge, *(x for _, x, _ in points)) / 3
    high = max(ridge, *(x for _, x, _ in points)) * 4
    bottom = min(low * bandwidth, *(y for _, _, y in points)) / 1.6
    drawn = style.figure(3.4)
    axes = drawn.subplots()
    axes.plot([low, ridge, high], [low * bandwidth, peak, peak], color=style.INK, linewidth=1.8)
    axes.fill_between(
        [low, ridge, high], [low * bandwidth, peak, peak], bottom, color=style.MUTED, alpha=0.1, linewidth=0
    )
    axes.scatter([x for _, x, _ in points], [y for _, _, y in points], s=42, color=style.VERMILION, zorder=3)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(bottom, peak * 1.9)
    for axis in (axes.xaxis, axes.yaxis):
        charts.numbered(axis, logarithmic=True)
    axes.set_xlabel("arithmetic intensity, MAC per byte moved")
    axes.set_ylabel("MAC per cycle")
    axes.annotate(
        f"peak {significant(peak)} MAC/cycle",
        (high, peak),
        (-4, 5),
        textcoords="offset points",
        ha="right",
        fontsize=8.5,
    )
    axes.annotate(
        f"memory {significant(bandwidth)} bytes/cycle\nridge at {significant(ridge)} MAC/byte",
        (0, 1),
        (6, -4),
        xycoords="axes fraction",
        textcoords="offset points",
        va="top",
        fontsize=8.5,
        color=style.MUTED,
    )
    slope = [(low * (ridge / low) ** (step / 60), peak * (low / ridge) ** (1 - step / 60)) for step in range(60)]
    flat = [(ridge * (high / ridge) ** (step / 60), peak) for step in range(61)]
    _place_names(drawn, axes, points, few, [*slope, *flat])
    return drawn


def _place_names(
    drawn: Figure,
    axes: Axes,
    points: Sequence[tuple[str, float, float]],
    few: Container[str],
    line: Sequence[tuple[float, float]],
) -> None:
    """Write the names of a `few` points beside them, each at the first place free of points, names and the `line`."""
    drawn.draw_without_rendering()
    taken = [
        Bbox.from_extents(x - 5, y - 5, x + 5, y + 5) for x, y in axes.transData.transform([p[1:] for p in points])
    ]
    taken += [Bbox.from_extents(x - 2, y - 2, x + 2, y + 2) for x, y in axes.transData.transform(line)]
    places = [(7, -3, "left"), (-7, -3, "right")] + [
        (dx, dy, side)
        for step in range(1, 9)
        for dy in (-12 * step, 12 * step)
        for dx, side in ((4, "left"), (-4, "right"))
    ]
    inside, scale = axes.get_window_extent(), drawn.dpi / 72
    for name, x, y in points:
        if name not in few:
            continue
        at = axes.transData.transform((x, y))
        measured = axes.annotate(name, (x, y), (0, 0), textcoords="offset points", fontsize=_NAME_SIZE)
        size = measured.get_window_extent()
        measured.remove()
        for dx, dy, side in places:
            box = size.translated(dx * scale - (size.width if side == "right" else 0.0), dy * scale)
            free = inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1)
            if abs(dy) > 12:  # a line leads from the text's middle to the point, and ends short of it
                way = box.get_points().mean(axis=0) - at
                end = at + way * (_SHORT * scale / math.hypot(*way))
                box = Bbox.union([box, Bbox([end, end])])
            if not free or box.count_overlaps(taken):
                continue
            taken.append(box)
            axes.annotate(
                name,
                (x, y),
                (dx, dy),
                textcoords="offset points",
                ha=side,
                fontsize=_NAME_SIZE,
                arrowprops={"arrowstyle": "-", "color": style.MUTED, "linewidth": 0.6, "shrinkB": _SHORT}
                if abs(dy) > 12
                else None,
            )
            break
