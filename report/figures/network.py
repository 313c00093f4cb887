"""Figures of the trained network: accuracy, training curves, weight codes."""

__all__ = ["accuracy", "training", "weight_codes"]

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tetrit.report import style
from tetrit.report.figures import charts
from tetrit.report.figures.longest import SHOWN, longest
from tetrit.report.numbers import code_order, estimator_label

_CODES = {"-1": style.BLUE, "-0": "#a6d3ef", "+0": "#f7d9a8", "+1": style.ORANGE}


def accuracy(report: Mapping[str, Any]) -> Figure:
    """Draw the accuracy of this run's three arithmetics and of every estimator: means, and one dot per seed."""
    measured = report["accuracy"]
    own = (
        ("float", "float", style.MUTED),
        ("quantized", "quantised, float arithmetic", style.BLUE),
        ("machine", f"on the machine, {'codes' if 'formats' in report else 'integers'}", style.VERMILION),
    )
    table = [(text, measured[key], [seed[key] for seed in measured["per_seed"]], colour) for key, text, colour in own]
    table += [(estimator_label(e), e["accuracy"], e["per_seed"], style.GREEN) for e in measured["by_estimator"]]
    drawn = style.figure(1.05 + 0.3 * len(table))
    axes = drawn.subplots()
    for row, (_, mean, seeds, colour) in enumerate(table):
        marker = "D" if row < len(own) else "o"
        axes.scatter([100 * mean], [row], s=52, color=colour, marker=marker, zorder=3)
        axes.scatter([100 * seed for seed in seeds], [row] * len(seeds), s=11, color=style.INK, linewidths=0, zorder=4)
        charts.margin(axes, f"{100 * mean:.2f}", row)
    values = [100 * value for _, mean, seeds, _ in table for value in (mean, *seeds)]
    margin = max(0.3, 0.08 * (max(values) - min(values)))
    low = max(-1.0, min(values) - margin)
    axes.set_xlim(low, min(101.0, max(values) + margin))
    axes.axvline(100 * measured["float"], color=style.MUTED, linestyle="--", linewidth=1, zorder=1)
    charts.rows(axes, [text for text, *_ in table], limit=34)
    charts.numbered(axes.xaxis, 6)
    if measured["by_estimator"]:
        axes.axhline(len(own) - 0.5, color=style.MUTED, linewidth=0.8)
    start = f"; axis starts at {low:.1f}" if low > 0 else ""
    text = f"accuracy on {measured['n_test']:,} held-out images, %{start}"
    text += "\nlarge: mean; small: single seeds; dashed: mean of float"
    drawn.supxlabel(text, fontsize=9, color=style.MUTED)
    return drawn


def training(report: Mapping[str, Any]) -> Figure | None:
    """Draw loss and accuracies over the epochs."""
    history = report["training"]["history"]
    if not history:
        return None
    accuracies = sorted({key for entry in history for key in entry if key.endswith("accuracy")})
    drawn = style.figure(4.2 if accuracies else 2.3)
    panels = drawn.subplots(2 if accuracies else 1, 1, sharex=True, squeeze=False)[:, 0]
    _curves(panels[0], history, ["loss"], 1.0)
    several = ", one line per seed" if len({entry.get("seed") for entry in history}) > 1 else ""
    panels[0].set_title(f"loss{several}")
    if accuracies:
        _curves(panels[1], history, accuracies, 100.0)
        panels[1].set_title(
            "accuracy, %" if len(accuracies) > 1 else f"{style.label(accuracies[0].replace('_', ' '))}, %"
        )
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    return drawn


def _curves(axes: Axes, history: Sequence[Mapping[str, float]], keys: Sequence[str], factor: float) -> None:
    """Draw one line per key and seed; keys differ in colour and dash, the seeds of one key look alike."""
    handles = []
    for place, key in enumerate(keys):
        entries = [entry for entry in history if key in entry]
        for seed in sorted({entry.get("seed", 0) for entry in entries}):
            points = sorted((entry["epoch"], factor * entry[key]) for entry in entries if entry.get("seed", 0) == seed)
            (line,) = axes.plot(
                [epoch for epoch, _ in points],
                [value for _, value in points],
                color=style.PALETTE[place % len(style.PALETTE)],
                linestyle=("-", "--", ":", "-.")[place % 4],
                marker="o" if len(points) == 1 else None,
                linewidth=1.4,
            )
        handles.append(line)
    if len(keys) > 1:
        axes.legend(handles, [style.label(key.replace("_", " ")).strip() for key in keys], loc="lower right")


def weight_codes(report: Mapping[str, Any]) -> Figure | None:
    """Draw the share of every weight code in every layer, the two zeros apart."""
    layers: Mapping[str, Mapping[str, float]] = report["training"]["weight_codes"]
    codes = {code for shares in layers.values() for code in shares}
    if not codes:
        return None
    order = code_order(codes)
    colours = {code: style.PALETTE[place % len(style.PALETTE)] for place, code in enumerate(order)} | _CODES
    held = [layer for layer in report["layers"] if layer["name"] in layers]
    names = [held[place]["name"] for place in longest(held)] or list(layers)[:SHOWN]
    drawn = style.figure(0.85 + 0.36 * len(names))
    axes = drawn.subplots()
    for row, name in enumerate(names):
        segments = []
        for code in order:
            share = 100 * layers[name].get(code, 0.0)
            text = style.label(code, 6)
            segments.append((share, colours[code], f"{text}: {share:.0f} %" if share >= 14 else text))
        charts.stack(axes, row, segments, 100)
    charts.rows(axes, names)
    axes.set_xlim(0, 100)
    some = f"; the {len(names)} layers that take longest" if len(names) < len(layers) else ""
    axes.set_xlabel(f"share of the layer's weights, %{some}")
    return drawn
