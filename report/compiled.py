"""Figures of a compiled network, as functions of its `compile.json`: roofline, and time by layer."""

__all__ = ["draw"]

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tetrit.report import style
from tetrit.report.figures import charts
from tetrit.report.numbers import in_unit, significant, unit

_Rows = Sequence[Mapping[str, Any]]

_NUMBERED = 8
"""Layers with a number in the roofline: those that take longest."""
_SHOWN = 24
"""Rows of the chart of layers; the others are drawn together."""
_COLOURS = {"compute": style.BLUE, "memory": style.ORANGE}
_SMALL = 8.5


def draw(result: Mapping[str, Any], rows: _Rows) -> dict[str, bytes | str]:
    """Return the figures as files: ``roofline.png``, ``roofline.svg``, ``layers.png`` and ``layers.svg``.

    Contract: equal results give equal bytes.

    Parameters
    ----------
    result : mapping
        Content of ``compile.json``.
    rows : sequence of mapping
        Its layers, equal ones drawn together, with ``times``.

    Returns
    -------
    dict of str to bytes or str
        No roofline without off-chip memory.
    """
    with style.themed():
        return style.files({"roofline": _roofline(result, rows), "layers": _layers(result, rows)})


def _by_time(rows: _Rows) -> list[Mapping[str, Any]]:
    return sorted(rows, key=lambda row: -row["cycles"] * row["times"])


def _roofline(result: Mapping[str, Any], rows: _Rows) -> Figure | None:
    """Draw the limits of array and off-chip memory, and each layer's speed against its arithmetic intensity."""
    bandwidth = result["totals"]["bandwidth_bytes_per_cycle"]
    if bandwidth is None:
        return None
    ranked = _by_time(rows)
    peak = max(row["peak_macs_per_cycle"] for row in rows)
    ridge = peak / bandwidth
    xs = [row["intensity_macs_per_byte"] for row in ranked]
    ys = [row["macs_per_cycle"] for row in ranked]
    low, high = min(*xs, ridge) / 2.5, max(*xs, ridge) * 2.5
    bottom = min(ys) / 2.5
    named = ranked[:_NUMBERED]
    figure = style.figure(3.5 + 0.17 * math.ceil(len(named) / 2))
    axes = figure.subplots()
    roof = [low * bandwidth, peak, peak]
    axes.plot([low, ridge, high], roof, color=style.INK, linewidth=1.8, zorder=2)
    axes.fill_between([low, ridge, high], roof, min(bottom, roof[0]), color=style.MUTED, alpha=0.08, linewidth=0)
    total = result["totals"]["cycles"]
    sizes = [22 + 420 * row["cycles"] * row["times"] / total for row in ranked]
    for bound, colour in _COLOURS.items():
        chosen = [place for place, row in enumerate(ranked) if row["bound"] == bound]
        axes.scatter(
            [xs[place] for place in chosen],
            [ys[place] for place in chosen],
            s=[sizes[place] for place in chosen],
            color=colour,
            alpha=0.75,
            edgecolors=style.SURFACE,
            linewidths=0.6,
            marker="o" if bound == "compute" else "D",
            zorder=3,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(bottom, peak * (peak / bottom) ** 0.5)  # a part of the height is for numbers above the roof
    for axis in (axes.xaxis, axes.yaxis):
        charts.numbered(axis, logarithmic=True)
    _numbers(figure, axes, list(zip(xs, ys, strict=True))[: len(named)])
    axes.set_xlabel("arithmetic intensity, MAC per off-chip byte")
    axes.set_ylabel("MAC per cycle")
    several = ", most of any layer" if len({row["peak_macs_per_cycle"] for row in rows}) > 1 else ""
    axes.annotate(
        f"peak {significant(peak)} MAC/cycle{several}; off-chip {significant(bandwidth)} bytes/cycle",
        (0, 1),
        (2, 3),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=_SMALL,
        color=style.MUTED,
    )
    handles = [Line2D([], [], marker="none", linewidth=0) for _ in named]
    share = [row["cycles"] * row["times"] / total for row in named]
    texts = [
        f"{place + 1}  {style.label(_title(row), 26)}  {100 * part:.0f} %"
        for place, (row, part) in enumerate(zip(named, share, strict=True))
    ]
    kinds = [
        Line2D([], [], marker=mark, color=_COLOURS[bound], linewidth=0, markersize=6)
        for bound, mark in (("compute", "o"), ("memory", "D"))
    ]
    axes.legend(kinds, ["compute-bound", "memory-bound"], loc="lower right", fontsize=_SMALL)
    figure.legend(handles, texts, loc="outside lower center", ncols=2, fontsize=_SMALL, handlelength=0, handletextpad=0)
    return figure


def _numbers(figure: Figure, axes: Any, points: Sequence[tuple[float, float]]) -> None:
    """Write the numbers 1, 2, ... above points, one above the other where points are near each other, with a line."""
    figure.draw_without_rendering()
    taken: list[tuple[float, float]] = []
    scale = figure.dpi / 72
    for place, point in enumerate(points):
        x, y = axes.transData.transform(point)
        rise = 15
        while any(abs(x - a) < 10 * scale and abs(y + rise * scale - b) < 11 * scale for a, b in taken):
            rise += 1
        taken.append((x, y + rise * scale))
        axes.annotate(
            str(place + 1),
            point,
            (0, rise),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=_SMALL,
            zorder=5 - 0.1 * place,  # later numbers' lines pass behind earlier numbers
            bbox={"facecolor": style.SURFACE, "edgecolor": "none", "pad": 0.6},
            arrowprops={"arrowstyle": "-", "color": style.MUTED, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 0},
        )


def _title(row: Mapping[str, Any]) -> str:
    return row["name"] if row["times"] == 1 else f"{row['name']} (x {row['times']})"


def _layers(result: Mapping[str, Any], rows: _Rows) -> Figure:
    """Draw the time of every layer, in order: of the array, and of off-chip memory where that takes longer."""
    clock = result["clock_mhz"]
    kept = list(rows)
    if len(rows) > _SHOWN:
        longest = {id(row) for row in _by_time(rows)[: _SHOWN - 1]}
        kept = [row for row in rows if id(row) in longest]
    times = [row["cycles"] * row["times"] / clock for row in kept]
    array = [row["array_cycles"] * row["times"] / clock for row in kept]
    names = [_title(row) for row in kept]
    texts = [f"{100 * row['utilization']:.0f} % busy" for row in kept]
    colours = [_COLOURS[row["bound"]] for row in kept]
    if len(rows) > len(kept):
        others = [row for row in rows if id(row) not in longest]
        times.append(sum(row["cycles"] * row["times"] for row in others) / clock)
        array.append(sum(row["array_cycles"] * row["times"] for row in others) / clock)
        names.append(f"{len(others)} other shapes")
        texts.append("")
        colours.append(style.MUTED)
    factor, name_of_unit = unit(max(times), "µs")
    figure = style.figure(1.35 + 0.21 * len(names))
    axes = figure.subplots()
    axes.set_title(
        f"{style.label(result['network']['name'], 30)}: {in_unit(result['totals']['latency_us'], 'µs')} in all"
    )
    charts.bars(axes, names, [time * factor for time in times], colours, texts, room=0.22)
    axes.barh(
        range(len(names)), [min(a, t) * factor for a, t in zip(array, times, strict=True)], color=style.INK, height=0.16
    )
    axes.set_xlabel(f"time by layer, {name_of_unit}")
    handles: list[Any] = [Patch(color=colour, linewidth=0) for colour in _COLOURS.values()]
    handles.append(Patch(color=style.INK, linewidth=0))
    figure.legend(
        handles, ["compute-bound", "memory-bound", "array alone"], loc="outside lower center", ncols=3, fontsize=_SMALL
    )
    return figure
