"""Figures of an exploration: the Pareto front over pairs of objectives, and what each parameter does."""

__all__ = ["draw"]

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tetrit.explore.pareto import front
from tetrit.explore.space import FIGURES, Space
from tetrit.explore.tables import LABELS, chosen
from tetrit.report import style

Rows = Sequence[Mapping[str, Any]]

_DPI = 120
_PERCENT = ("accuracy", "utilization")
_MARKERS = "osD^vP*X"
_COLUMNS = 3
_PANELS = 24
"""Parameters times objectives in one figure, at most."""

_VALUES = 12
"""Values of a parameter that are named on its axis, at most."""


def draw(space: Space, rows: Rows) -> dict[str, str | bytes]:
    """Return the figures by file name, PNG and SVG; none where nothing was evaluated.

    ``pareto``: every pair of objectives, with the points of the front marked; the line is the front of that pair alone.
    ``effects``: for each parameter and objective the range and the median over all points with a value.
    """
    done = [row for row in rows if row["state"] == "done"]
    if not done:
        return {}
    with style.themed():
        return style.files({"pareto": _pareto(space, done), "effects": _effects(space, done)}, _DPI)


def _values(rows: Rows, figure: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = np.array([row[figure] for row in rows], np.float64)
    return 100 * values if figure in _PERCENT else values


def _panels(n: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    lines = -(-n // columns)
    figure = Figure(
        figsize=(width * min(n, columns), height * lines + 0.6),
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
    )
    axes = list(np.atleast_1d(figure.subplots(lines, min(n, columns), squeeze=False)).ravel())
    for unused in axes[n:]:
        unused.set_visible(False)
    return figure, axes[:n]


def _scale(axes: Axes, axis: str, figure: str, values: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    """Use a logarithmic axis where the values reach over more than a decade."""
    if figure not in _PERCENT and values.min() > 0 and values.max() > 8 * values.min():
        getattr(axes, f"set_{axis}scale")("log")
        one = axes.xaxis if axis == "x" else axes.yaxis
        steps = (1.0,) if values.max() > 300 * values.min() else (1.0, 3.0) if axis == "x" else (1.0, 2.0, 5.0)
        one.set_major_locator(LogLocator(subs=steps, numticks=12))
        one.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        one.set_minor_formatter(NullFormatter())


def _pareto(space: Space, rows: Rows) -> Figure:
    """Draw every pair of objectives; a single one is drawn against the points' numbers."""
    names = space.objectives
    pairs = [(x, y) for place, x in enumerate(names) for y in names[place + 1 :]]
    if not pairs:
        pairs = [("number", names[0])]
    figure, panels = _panels(len(pairs), min(_COLUMNS, len(pairs)), 4.0 if len(pairs) > 1 else 5.2, 3.3)
    machines = [machine.name for machine in space.machines]
    for axes, (x, y) in zip(panels, pairs, strict=True):
        xs = np.array([row["number"] for row in rows], float) if x == "number" else _values(rows, x)
        ys = _values(rows, y)
        feasible = np.array([bool(row["feasible"]) for row in rows])
        best = np.array([bool(row["front"]) for row in rows])
        axes.scatter(xs[~feasible], ys[~feasible], s=9, facecolor="none", edgecolor=style.MUTED, lw=0.5, zorder=2)
        if x != "number":
            _line(axes, x, y, xs[feasible], ys[feasible])
        for place, machine in enumerate(machines):
            mine = np.array([row["machine"] == machine for row in rows])
            colour, marker = style.PALETTE[place % len(style.PALETTE)], _MARKERS[place % len(_MARKERS)]
            inside = mine & feasible & ~best
            axes.scatter(xs[inside], ys[inside], s=11, color=colour, alpha=0.35, marker=marker, lw=0, zorder=3)
            top = mine & best
            axes.scatter(xs[top], ys[top], s=34, color=colour, marker=marker, edgecolor=style.INK, lw=0.8, zorder=5)
        _limits(axes, space, x, y)
        axes.set_xlabel("point" if x == "number" else LABELS[x])
        axes.set_ylabel(LABELS[y])
        if x != "number":
            _scale(axes, "x", x, xs)
        _scale(axes, "y", y, ys)
    handles = [
        Line2D([], [], color=style.PALETTE[n % len(style.PALETTE)], marker=_MARKERS[n % len(_MARKERS)], linestyle="")
        for n in range(len(machines))
    ]
    texts = [style.label(name, 34) for name in machines]
    handles.append(Line2D([], [], color=style.INK, marker="o", markerfacecolor="none", linestyle=""))
    texts.append("in the front of all objectives")
    if not all(row["feasible"] for row in rows):
        handles.append(
            Line2D([], [], color=style.MUTED, marker="o", markerfacecolor="none", markersize=3, linestyle="")
        )
        texts.append("outside of the constraints, which are dotted")
    figure.legend(handles, texts, loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _limits(axes: Axes, space: Space, x: str, y: str) -> None:
    """Draw the constraints on the figures of a panel."""
    for constraint in space.constraints:
        limit = 100 * constraint.limit if constraint.figure in _PERCENT else constraint.limit
        look: dict[str, Any] = {"color": style.VERMILION, "lw": 1, "ls": ":", "zorder": 1}
        if constraint.figure == x:
            axes.axvline(limit, **look)
        if constraint.figure == y:
            axes.axhline(limit, **look)


def _line(axes: Axes, x: str, y: str, xs: Any, ys: Any) -> None:
    """Draw the front of two objectives alone, as steps: what lies beyond it is dominated in these two."""
    if not len(xs):
        return
    chosen_points = front(np.stack([FIGURES[x] * xs, FIGURES[y] * ys], axis=1))
    order = np.argsort(FIGURES[x] * xs[chosen_points], kind="stable")
    where: Any = "post" if FIGURES[x] > 0 else "pre"
    axes.step(
        xs[chosen_points][order], ys[chosen_points][order], where=where, color=style.MUTED, lw=1, zorder=4, ls="--"
    )


def _effects(space: Space, rows: Rows) -> Figure | None:
    """Draw every objective over every parameter that differs; None where none does."""
    names = chosen(space, rows)
    if len(space.machines) > 1:
        names = ["machine", *names]
    names = names[: max(1, _PANELS // len(space.objectives))]
    if not names:
        return None
    n = len(names) * len(space.objectives)
    figure, panels = _panels(n, len(space.objectives), 3.2, 2.4)
    places = [(name, objective) for name in names for objective in space.objectives]
    for axes, (name, objective) in zip(panels, places, strict=True):
        _effect(axes, rows, name, objective)
    text = "line: from the least to the greatest of all evaluated points; bar: quartiles; dot: median"
    figure.supxlabel(text, fontsize=8, color=style.MUTED)
    return figure


def _effect(axes: Axes, rows: Rows, name: str, objective: str) -> None:
    """Draw one panel: for each value of a parameter, where the points with that value are."""
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        value = row["machine"] if name == "machine" else row["parameters"].get(name)
        if value is not None:
            groups.setdefault(str(value) if isinstance(value, list) else value, []).append(row)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in groups)
    values = sorted(groups) if numbers else list(groups)
    for place, value in enumerate(values):
        found = _values(groups[value], objective)
        low, first, middle, third, high = np.quantile(found, [0, 0.25, 0.5, 0.75, 1])
        axes.plot([place, place], [low, high], color=style.MUTED, lw=1, zorder=2)
        axes.plot([place, place], [first, third], color=style.BLUE, lw=4, alpha=0.5, solid_capstyle="butt", zorder=3)
        axes.plot([place], [middle], color=style.INK, marker="o", markersize=3.5, zorder=4)
    step = -(-len(values) // _VALUES)
    ticks = list(range(0, len(values), step))
    axes.set_xticks(ticks, [style.label(values[tick], 18) for tick in ticks], fontsize=7.5)
    if max(len(str(value)) for value in values) * len(ticks) > 26:
        axes.tick_params(axis="x", rotation=20)
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.set_xlabel(style.label(name, 34), fontsize=8.5)
    axes.set_ylabel(LABELS[objective], fontsize=8.5)
    _scale(axes, "y", objective, _values(rows, objective))
