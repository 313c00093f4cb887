"""Figures of a run that rounds every layer to a format of its own."""

__all__ = ["formats"]

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from tetrit.report import style
from tetrit.report.figures import charts
from tetrit.report.numbers import significant


def formats(report: Mapping[str, Any]) -> Figure | None:
    """Draw the accuracy of every choice of formats, without and with training, and its mean bits."""
    if "formats" not in report:
        return None
    networks = report["formats"]["networks"]
    drawn = style.figure(1.15 + 0.3 * len(networks))
    axes = drawn.subplots()
    for row, network in enumerate(networks):
        colour = style.VERMILION if row == 0 else style.BLUE
        spots = [100 * network["post_training"], 100 * network["trained"]]
        axes.plot(spots, [row, row], color=colour, linewidth=1.2, alpha=0.5, zorder=2)
        axes.scatter(spots[:1], [row], s=46, facecolors=style.SURFACE, edgecolors=colour, linewidths=1.6, zorder=3)
        axes.scatter(spots[1:], [row], s=46, color=colour, zorder=3)
        charts.margin(axes, f"{significant(network['mean_bits'])} bits", row)
    values = [100 * network[key] for network in networks for key in ("post_training", "trained")]
    values.append(100 * report["accuracy"]["float"])
    room = max(0.3, 0.08 * (max(values) - min(values)))
    low = max(-1.0, min(values) - room)
    axes.set_xlim(low, min(101.0, max(values) + room))
    axes.axvline(100 * report["accuracy"]["float"], color=style.MUTED, linestyle="--", linewidth=1, zorder=1)
    charts.rows(axes, [network["name"] for network in networks], limit=34)
    charts.numbered(axes.xaxis, 6)
    start = f"; axis starts at {low:.1f}" if low > 0 else ""
    text = f"accuracy, %{start}\nring: rounded after training; dot: trained on with rounding; dashed: float"
    drawn.supxlabel(text, fontsize=9, color=style.MUTED)
    return drawn
