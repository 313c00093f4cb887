"""Figures of a comparison of estimators, as functions of its `comparison.json`."""

__all__ = ["draw"]

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tetrit.report import style
from tetrit.report.figures import charts

_Comparison = Mapping[str, Any]
_Series = dict[str, list[tuple[int, float]]]

_TERNARY = 0.2
"""From this share of zero codes at the first look on, a rule counts as one with a dead zone."""

_SHOWN = len(style.PALETTE)
"""Lines in colour at most; the others are drawn in grey."""

_DPI = 120
"""Small enough for a page of a manual."""

_WORDS = {"accuracy": "test accuracy, %", "bits_per_character": "bits per character of the test text, lower is better"}


def draw(comparison: _Comparison) -> dict[str, bytes]:
    """Return the figures as PNG, by name: ``metric-<task>`` for each task, ``dead``, ``variance``, ``error``.

    A figure without anything to show is left out.
    """
    with style.themed():
        drawn: dict[str, Figure | None] = {f"metric-{task}": _metric(comparison, task) for task in comparison["tasks"]}
        drawn["dead"] = _over_time(comparison, "zero", "share of weights with the code zero, %", factor=100.0)
        drawn["variance"] = _over_time(comparison, "variance", "variance of |gradient|", logarithmic=True)
        drawn["error"] = _over_time(comparison, "error", "error e, root mean square per weight", logarithmic=True)
        return {name: style.png(figure, _DPI) for name, figure in drawn.items() if figure is not None}


def _metric(comparison: _Comparison, task: str) -> Figure | None:
    """Draw mean, interval and single seeds of every estimator, best first."""
    about = comparison["tasks"][task]
    lines = [line for line in comparison["summaries"] if line["task"] == task and line["mean"] is not None]
    if not lines:
        return None
    factor, digits = (100.0, 2) if about["metric"] == "accuracy" else (1.0, 3)
    lines.sort(key=lambda line: -line["mean"] if about["higher"] else line["mean"])
    baseline = comparison["config"]["baseline"]
    figure = style.figure(0.95 + 0.2 * len(lines))
    axes = figure.subplots()
    for row, line in enumerate(lines):
        colour = style.VERMILION if line["estimator"] == baseline else style.BLUE
        mean = factor * line["mean"]
        if line["half"] is not None:
            half = factor * line["half"]
            axes.plot([mean - half, mean + half], [row, row], color=colour, linewidth=2.2, alpha=0.55, zorder=2)
        axes.scatter([mean], [row], s=30, color=colour, zorder=3)
        seeds = [
            factor * cell["test"][about["metric"]]
            for cell in comparison["cells"]
            if (cell["task"], cell["estimator"], cell["status"]) == (task, line["estimator"], "finished")
        ]
        axes.scatter(seeds, [row] * len(seeds), s=7, color=style.INK, linewidths=0, zorder=4)
        of = f" ({line['n']} of {line['n'] + len(line['diverged'])} seeds)" if line["diverged"] else ""
        charts.margin(axes, f"{mean:.{digits}f}{of}", row)
        if line["estimator"] == baseline:
            axes.axvline(mean, color=style.MUTED, linestyle="--", linewidth=1, zorder=1)
    charts.rows(axes, [line["estimator"] for line in lines], limit=34)
    axes.set_xlim(*_view(comparison, task, lines, factor))
    charts.numbered(axes.xaxis, 6)
    text = f"{_WORDS[about['metric']]}; dots: single seeds\nbars: 95 % intervals of the mean, cut at the edge; "
    figure.supxlabel(f"{text}dashed: {style.label(baseline)}", fontsize=9, color=style.MUTED)
    return figure


def _view(comparison: _Comparison, task: str, lines: Sequence[Mapping[str, Any]], factor: float) -> tuple[float, float]:
    """Return the range of the axis: all seeds, whatever the width of the intervals."""
    metric = comparison["tasks"][task]["metric"]
    values = [factor * cell["test"][metric] for cell in comparison["cells"] if cell["task"] == task and "test" in cell]
    values += [factor * line["mean"] for line in lines]
    margin = 0.06 * (max(values) - min(values)) or 1.0
    return min(values) - margin, max(values) + margin


def _over_time(
    comparison: _Comparison, key: str, words: str, *, factor: float = 1.0, logarithmic: bool = False
) -> Figure | None:
    """Draw one panel for each task: the mean over seeds of `key` at every look, for some estimators in colour."""
    panels = {task: _series(comparison, task, key, factor) for task in comparison["tasks"]}
    if key == "zero":
        panels = {
            task: {name: line for name, line in found.items() if line[0][1] >= factor * _TERNARY}
            for task, found in panels.items()
        }
    panels = {task: found for task, found in panels.items() if found}
    if not panels:
        return None
    chosen = _chosen(panels, comparison)
    figure = style.figure(1.2 + 1.9 * len(panels) + 0.16 * len(chosen))
    all_axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, (task, found) in zip(all_axes, panels.items(), strict=True):
        for name, line in found.items():
            if name not in chosen:
                axes.plot(*zip(*line, strict=True), color=style.GRID, linewidth=1.0, zorder=1)
        for name in chosen:
            if name in found:
                place = chosen[name]
                axes.plot(
                    *zip(*found[name], strict=True),
                    color=style.PALETTE[place],
                    linestyle=("-", "--", "-.", ":")[place % 4],
                    linewidth=1.6,
                    zorder=2,
                )
        _finish(axes, task, logarithmic)
    others = any(name not in chosen for found in panels.values() for name in found)
    all_axes[-1].set_xlabel("step of the quantised phase" + ("; grey: the other estimators" if others else ""))
    figure.supylabel(words, fontsize=9, color=style.MUTED)
    handles = [
        all_axes[0].plot(
            [], [], color=style.PALETTE[place], linestyle=("-", "--", "-.", ":")[place % 4], linewidth=1.6
        )[0]
        for place in chosen.values()
    ]
    figure.legend(handles, [style.label(name, 34) for name in chosen], loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _finish(axes: Axes, task: str, logarithmic: bool) -> None:
    axes.set_title(style.label(task))
    if logarithmic:
        axes.set_yscale("log")
    charts.numbered(axes.xaxis, 6)
    charts.numbered(axes.yaxis, 4, logarithmic=logarithmic)
    if logarithmic:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}".replace("e-0", "e-")))


def _series(comparison: _Comparison, task: str, key: str, factor: float) -> _Series:
    """Return for each estimator the mean over its finished seeds at every step that all of them have."""
    found: _Series = {}
    for entry in comparison["config"]["estimator"]:
        label = entry["label"]
        histories = [
            {point["step"]: point[key] for point in cell["history"] if point.get(key) is not None}
            for cell in comparison["cells"]
            if (cell["task"], cell["estimator"], cell["status"]) == (task, label, "finished")
        ]
        common = sorted(set.intersection(*map(set, histories))) if histories else []
        line = [(step, factor * sum(h[step] for h in histories) / len(histories)) for step in common]
        if line:
            found[label] = line
    return found


def _chosen(panels: dict[str, _Series], comparison: _Comparison) -> dict[str, int]:
    """Return the estimators to draw in colour, and the places of their colours.

    They are those marked so, with the same colours in every figure, or a selection from the smallest value at the end
    to the largest.
    """
    shown = {name: line for found in reversed(panels.values()) for name, line in found.items()}
    marked = [entry["label"] for entry in comparison["config"]["estimator"] if entry["curve"]]
    if any(name in shown for name in marked):
        return {name: place for place, name in enumerate(marked[:_SHOWN]) if name in shown}
    order = sorted(shown, key=lambda name: shown[name][-1][1])
    if len(order) > _SHOWN:
        order = [order[round(place * (len(order) - 1) / (_SHOWN - 1))] for place in range(_SHOWN)]
    return {name: place for place, name in enumerate(order)}
