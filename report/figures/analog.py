"""Figures of the network on an analog crossbar: accuracy, drift, effective weights, cycles and energy."""

__all__ = ["accuracy", "area_map", "drift", "energy", "energy_map", "layers", "weights"]

from collections.abc import Mapping
from typing import Any, Literal

import matplotlib.colors
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from tetrit.report import style
from tetrit.report.figures import charts, costs, treemap
from tetrit.report.figures.longest import fold_layers, longest
from tetrit.report.numbers import area_parts, duration, significant
from tetrit.report.words import COMPENSATIONS, NETWORKS, row_title

_COLOURS = {"plain": style.BLUE, "control": style.GREEN, "noise_aware": style.PURPLE}
_MARKERS = {"plain": "o", "control": "s", "noise_aware": "^"}
_MAPS = 6
"""Layers whose weights are drawn: those with the greatest errors."""
_DASHES: dict[str, Literal["--", "-"]] = {"none": "--", "global": "-"}


def accuracy(report: Mapping[str, Any]) -> Figure | None:
    """Draw the accuracy of the digital run, and of the crossbar as one thing after the other becomes real."""
    if "crossbar" not in report:
        return None
    block, digital = report["crossbar"], report["accuracy"]["per_seed"][0]
    table: list[tuple[str, float, list[float], str]] = [
        ("float network", digital["float"], [], style.MUTED),
        ("quantised, float arithmetic", digital["quantized"], [], style.MUTED),
        ("digital machine, integers", digital["machine"], [], style.VERMILION),
    ]
    for row in block["accuracy"]:
        single = row["per_chip"] if row["name"] == "chips" else []
        table.append((row_title(row["name"], row["network"]), row["mean"], single, _COLOURS[row["network"]]))
    drawn = style.figure(1.05 + 0.3 * len(table))
    axes = drawn.subplots()
    for place, (_, mean, single, colour) in enumerate(table):
        axes.scatter([100 * mean], [place], s=52, color=colour, marker="D" if place < 3 else "o", zorder=3)
        axes.scatter([100 * s for s in single], [place] * len(single), s=11, color=style.INK, linewidths=0, zorder=4)
        charts.margin(axes, f"{100 * mean:.2f}", place)
    values = [100 * value for _, mean, single, _ in table for value in (mean, *single)]
    margin = max(0.3, 0.08 * (max(values) - min(values)))
    low = max(-1.0, min(values) - margin)
    axes.set_xlim(low, min(101.0, max(values) + margin))
    axes.axvline(100 * digital["machine"], color=style.MUTED, linestyle="--", linewidth=1, zorder=1)
    axes.axhline(2.5, color=style.MUTED, linewidth=0.8)
    charts.rows(axes, [text for text, *_ in table], limit=34)
    charts.numbered(axes.xaxis, 6)
    text = f"accuracy of seed {digital['seed']} on {report['accuracy']['n_test']:,} held-out images, %"
    text += f"; axis starts at {low:.1f}\nsmall: single chips; dashed: digital machine"
    drawn.supxlabel(text, fontsize=9, color=style.MUTED)
    return drawn


def drift(report: Mapping[str, Any]) -> Figure | None:
    """Draw the mean accuracy of the chips over time, with a band of one standard deviation to each side."""
    lines = [line for line in report.get("crossbar", {}).get("drift", []) if line["points"]]
    if not lines:
        return None
    drawn = style.figure(3.5)
    axes = drawn.subplots()
    places = range(len(lines[0]["points"]))  # evenly spread, each named: times of many orders of magnitude, 0 included
    for line in lines:
        colour, dashes = _COLOURS[line["network"]], _DASHES[line["compensation"]]
        means = [100 * point["mean"] for point in line["points"]]
        spread = [100 * point["std"] for point in line["points"]]
        low = [mean - std for mean, std in zip(means, spread, strict=True)]
        high = [min(mean + std, 100.0) for mean, std in zip(means, spread, strict=True)]
        axes.fill_between(places, low, high, color=colour, alpha=0.16, linewidth=0)
        marker = _MARKERS[line["network"]]
        axes.plot(places, means, color=colour, linestyle=dashes, marker=marker, markersize=4)
    digital = 100 * report["accuracy"]["per_seed"][0]["machine"]
    axes.axhline(digital, color=style.MUTED, linestyle=":", linewidth=1.2)
    axes.set_xticks(places, [duration(point["time_s"]) for point in lines[0]["points"]])
    axes.xaxis.set_minor_locator(NullLocator())
    charts.numbered(axes.yaxis, 6)
    axes.set_xlabel("time from programming to reading")
    axes.set_ylabel("accuracy, %")
    networks = list(dict.fromkeys(line["network"] for line in lines))
    handles = [Line2D([], [], color=_COLOURS[name], marker=_MARKERS[name], markersize=4) for name in networks]
    handles += [Line2D([], [], color=style.MUTED, linestyle=dashes) for dashes in _DASHES.values()]
    handles += [Line2D([], [], color=style.MUTED, linestyle=":", linewidth=1.2)]
    texts = [*(NETWORKS[name] for name in networks), *(COMPENSATIONS[name] for name in _DASHES), "digital machine"]
    drawn.legend(handles, texts, loc="outside lower center", ncols=3, fontsize=8.5, handlelength=2.6)
    return drawn


def weights(report: Mapping[str, Any]) -> Figure | None:
    """Draw what wires do to the weights: the mean magnitude of their error, block by block, for every layer."""
    maps = report.get("crossbar", {}).get("weights", [])
    worst = sorted((layer["wires_rms"] for layer in maps), reverse=True)[:_MAPS]
    maps = [layer for layer in maps if layer["wires_rms"] >= worst[-1]][:_MAPS]
    top = max((value for layer in maps for row in layer["map"] for value in row), default=0.0)
    if top == 0:
        return None
    drawn = style.figure(0.9 + 1.75 * -(-len(maps) // 2))
    panels = drawn.subplots(-(-len(maps) // 2), 2, squeeze=False)
    red, green, blue = matplotlib.colors.to_rgb(style.VERMILION)
    shades = matplotlib.colors.LinearSegmentedColormap.from_list(
        "error", [(red, green, blue, 0.0), (red, green, blue, 1.0)], N=64
    )
    for axes, layer in zip(panels.flat, maps, strict=False):
        mesh = axes.pcolormesh(
            [[100 * value for value in row] for row in layer["map"]], cmap=shades, vmin=0, vmax=100 * top, linewidth=0
        )
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(style.label(layer["name"]))
        axes.set_xlabel("outputs", fontsize=8.5)
        axes.set_ylabel("inputs", fontsize=8.5)
    for axes in list(panels.flat)[len(maps) :]:
        axes.set_visible(False)
    bar = drawn.colorbar(mesh, ax=panels, shrink=0.9, aspect=30)
    assert bar.solids is not None
    bar.solids.set_rasterized(False)  # one pixel image would not follow the page's colours
    bar.set_label("mean error, % of the largest weight", color=style.MUTED, fontsize=8.5)
    bar.outline.set_edgecolor(style.MUTED)
    return drawn


def layers(report: Mapping[str, Any]) -> Figure | None:
    """Draw the time of every layer per image on both machines."""
    if "crossbar" not in report:
        return None
    images = report["images"]
    names, values, colours, texts = [], [], [], []
    pairs = (("digital", report, style.VERMILION), ("crossbar", report["crossbar"], style.BLUE))
    kept = longest(report["crossbar"]["layers"])
    both = (fold_layers(block["layers"], kept) for block in (report, report["crossbar"]))
    for digital, analog in zip(*both, strict=True):
        for (kind, block, colour), layer in zip(pairs, (digital, analog), strict=True):
            time_us = layer["cycles"] / images / block["clock_mhz"]
            names.append(f"{layer['name']}, {kind}")
            values.append(time_us)
            colours.append(colour)
            texts.append(f"{significant(time_us)} ({significant(layer['cycles'] / images, 4)} cycles)")
    drawn = style.figure(0.8 + 0.3 * len(names))
    axes = drawn.subplots()
    charts.bars(axes, names, values, colours, texts, room=0.55)
    axes.set_title("time per image, µs")
    return drawn


def energy(report: Mapping[str, Any]) -> Figure | None:
    """Draw the crossbar's energy by component and layer, as that of the digital machine is drawn."""
    return costs.energy(report["crossbar"]) if "crossbar" in report else None


def energy_map(report: Mapping[str, Any]) -> Figure | None:
    """Draw the crossbar's energy as a treemap of components and layers."""
    return treemap.energy(report["crossbar"]) if "crossbar" in report else None


def area_map(report: Mapping[str, Any]) -> Figure | None:
    """Draw the crossbar's area as a treemap of components, where the report has it."""
    return treemap.areas(area_parts(report.get("crossbar", {})))
