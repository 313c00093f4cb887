"""Figures of a Monte-Carlo analysis, as functions of its `montecarlo.json`."""

__all__ = ["draw"]

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from tetrit.report import style
from tetrit.report.figures import charts
from tetrit.report.numbers import duration

_Analysis = Mapping[str, Any]

_DPI = 120
"""Small enough for a page of a manual."""

_SHOWN = len(style.PALETTE)
"""Corners in one figure at most; the others have their panels."""

_DASHES: tuple[Any, ...] = ("-", "--", "-.", ":")
_SMALL = 8


def draw(analysis: _Analysis) -> dict[str, bytes]:
    """Return the figures as PNG, by name.

    ``corners``: the mean accuracy of all corners over time, with its interval; ``spread``: for each corner mean, 5 to
    95 % of the chips and the worst one; ``yield``: for each corner and time, how many chips reach an accuracy.
    """
    with style.themed():
        drawn = {"corners": _corners(analysis), "spread": _spread(analysis), "yield": _yield(analysis)}
        return {name: style.png(figure, _DPI) for name, figure in drawn.items()}


def _lines(analysis: _Analysis, corner: str) -> list[Mapping[str, Any]]:
    return [line for line in analysis["summaries"] if line["corner"] == corner]


def _names(analysis: _Analysis) -> list[str]:
    return [corner["name"] for corner in analysis["corners"]]


def _places(times: Sequence[float]) -> list[float]:
    """Return where times are on a logarithmic axis; 0 is a decade before the first other one."""
    positive = [time for time in times if time > 0]
    start = math.log10(positive[0]) - 1 if positive else 0.0
    return [math.log10(time) if time > 0 else start for time in times]


def _time_axis(axis: Axis, times: Sequence[float], room: float) -> None:
    """Name the times on their axis, as many as there is room for between `room` of them in a row."""
    places = _places(times)
    least = (places[-1] - places[0]) / room
    shown: list[int] = []
    for number, place in enumerate(places):
        if not shown or place - places[shown[-1]] >= least:
            shown.append(number)
    axis.set_major_locator(FixedLocator([places[number] for number in shown]))
    texts = {places[number]: duration(times[number]) for number in shown}
    axis.set_major_formatter(FuncFormatter(lambda value, _: texts.get(value, "")))
    axis.set_minor_locator(NullLocator())


def _exact(axes: Axes, analysis: _Analysis) -> None:
    axes.axhline(
        100 * analysis["network"]["accuracy"]["exact"], color=style.MUTED, linestyle="--", linewidth=1, zorder=1
    )


def _marker(times: Sequence[float]) -> str:
    """Return the marker of a line: one time is no line."""
    return "o" if len(times) == 1 else ""


def _corners(analysis: _Analysis) -> Figure:
    """Draw the mean accuracy of every corner over time, with its interval."""
    times, names = analysis["config"]["times_s"], _names(analysis)[:_SHOWN]
    places = _places(times)
    figure = style.figure(3.3 + 0.17 * math.ceil(len(names) / 2))
    axes = figure.subplots()
    _exact(axes, analysis)
    handles = []
    for number, name in enumerate(names):
        colour = style.PALETTE[number]
        lines = [line["accuracy"] for line in _lines(analysis, name)]
        means, halves = ([100 * (line[key] or 0.0) for line in lines] for key in ("mean", "half"))
        low, high = ([m + sign * h for m, h in zip(means, halves, strict=True)] for sign in (-1, 1))
        axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0, zorder=2)
        if len(times) == 1:
            axes.errorbar(places, means, halves, color=colour, capsize=3, linewidth=1.2, zorder=3)
        handles += axes.plot(
            places,
            means,
            color=colour,
            linestyle=_DASHES[(number + number // 4) % 4],
            marker=_marker(times),
            markersize=4,
            zorder=4,
        )
    _time_axis(axes.xaxis, times, 9)
    charts.numbered(axes.yaxis, 6)
    axes.tick_params(labelsize=_SMALL)
    text = "time after programming\nbands: 95 % intervals of the mean; dashed, grey: exact arithmetic"
    axes.set_xlabel(text, fontsize=9)
    axes.set_ylabel("mean accuracy over the chips, %", fontsize=9)
    texts = [style.label(name, 34) for name in names]
    figure.legend(handles, texts, loc="outside lower center", ncols=2, fontsize=_SMALL)
    return figure


def _panels(analysis: _Analysis, legend: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each corner, two in a row, each with its name."""
    names = _names(analysis)
    cols = min(2, len(names))
    rows = math.ceil(len(names) / cols)
    figure = style.figure(0.6 + legend + 1.55 * rows)
    grid = figure.subplots(rows, cols, squeeze=False)
    panels = list(grid.flat)
    for axes in panels[len(names) :]:
        axes.remove()
    for axes, name in zip(panels, names, strict=False):
        axes.set_title(style.label(name, 30), fontsize=9)
        axes.tick_params(labelsize=_SMALL)
    return figure, panels[: len(names)]


def _spread(analysis: _Analysis) -> Figure:
    """Draw for every corner the mean with its interval, 5 to 95 % of the chips, and the worst one, over time."""
    times, names = analysis["config"]["times_s"], _names(analysis)
    places = _places(times)
    figure, panels = _panels(analysis, 0.35)
    first = [100 * line["accuracy"]["mean"] for line in _lines(analysis, names[0])]
    for axes, name in zip(panels, names, strict=True):
        lines = [line["accuracy"] for line in _lines(analysis, name)]
        means = [100 * line["mean"] for line in lines]
        halves = [100 * (line["half"] or 0.0) for line in lines]
        low, high = ([100 * line["quantiles"][place]["value"] for line in lines] for place in (0, -1))
        if len(times) == 1:
            axes.vlines(places, low, high, color=style.BLUE, alpha=0.3, linewidth=9, zorder=2)
            axes.errorbar(places, means, halves, color=style.BLUE, capsize=4, linewidth=1.2, zorder=4)
        axes.fill_between(places, low, high, color=style.BLUE, alpha=0.18, linewidth=0, zorder=2)
        inner = [m - h for m, h in zip(means, halves, strict=True)], [m + h for m, h in zip(means, halves, strict=True)]
        axes.fill_between(places, *inner, color=style.BLUE, alpha=0.4, linewidth=0, zorder=3)
        axes.plot(places, means, color=style.BLUE, marker=_marker(times), markersize=4, linewidth=1.4, zorder=4)
        worst = [100 * line["least"] for line in lines]
        axes.scatter(places, worst, s=9, color=style.VERMILION, linewidths=0, zorder=5)
        if name != names[0]:
            axes.plot(places, first, color=style.MUTED, marker=_marker(times), markersize=3, linewidth=1, zorder=3.5)
        _exact(axes, analysis)
        _time_axis(axes.xaxis, times, 5)
        charts.numbered(axes.yaxis, 4)
    figure.supylabel("accuracy, %; every panel has a scale of its own", fontsize=9, color=style.MUTED)
    handles: list[Any] = [
        Line2D([], [], color=style.BLUE, linewidth=1.4),
        Patch(color=style.BLUE, alpha=0.5, linewidth=0),
        Patch(color=style.BLUE, alpha=0.18, linewidth=0),
        Line2D([], [], color=style.VERMILION, marker="o", markersize=3, linewidth=0),
        Line2D([], [], color=style.MUTED, linestyle="--", linewidth=1),
    ]
    texts = ["mean", "its 95 % interval", "5 to 95 % of the chips", "worst chip", "exact arithmetic"]
    if len(names) > 1:
        handles.append(Line2D([], [], color=style.MUTED, linewidth=1))
        texts.append(f"mean of '{style.label(names[0], 20)}'")
    figure.legend(handles, texts, loc="outside lower center", ncols=3, fontsize=_SMALL)
    return figure


def _yield(analysis: _Analysis) -> Figure:
    """Draw for every corner and time the share of the chips that have an accuracy, or a higher one."""
    times, names = analysis["config"]["times_s"], _names(analysis)
    colours = matplotlib.colormaps["viridis"]
    figure, panels = _panels(analysis, 0.2 + 0.17 * math.ceil(len(times) / 4))
    shades = [colours(0.88 * place / max(len(times) - 1, 1)) for place in range(len(times))]
    for axes, name in zip(panels, names, strict=True):
        for place, shade in enumerate(shades):
            values = sorted(100 * chip["accuracy"][place] for chip in analysis["chips"] if chip["corner"] == name)
            n = len(values)
            steps = [100.0 * (n - k) / n for k in range(n)]
            # left of the least value all chips are good, right of the greatest none is
            axes.step(
                [values[0] - 1e-9, *values, values[-1]],
                [100.0, *steps, 0.0],
                where="pre",
                color=shade,
                linestyle=_DASHES[place % 4],
                linewidth=1.3,
                zorder=3,
            )
        low, high = axes.get_xlim()
        for wanted in analysis["config"]["yield_accuracy"]:
            if low <= 100 * wanted <= high:
                axes.axvline(100 * wanted, color=style.VERMILION, linestyle=":", linewidth=1, zorder=2)
        axes.set_ylim(-3, 103)
        charts.numbered(axes.xaxis, 4)
        charts.numbered(axes.yaxis, 3)
    figure.supylabel("chips that reach it, %", fontsize=9, color=style.MUTED)
    figure.supxlabel("accuracy, %; dotted: accuracies of the yield", fontsize=9, color=style.MUTED)
    handles = [
        Line2D([], [], color=shade, linestyle=_DASHES[place % 4], linewidth=1.3) for place, shade in enumerate(shades)
    ]
    texts = [duration(time) for time in times]
    figure.legend(handles, texts, loc="outside upper center", ncols=min(len(times), 6), fontsize=_SMALL)
    return figure
