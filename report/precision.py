"""Figures of a study of precision, as functions of its `precision.json`."""

__all__ = ["draw"]

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from tetrit.report import style

_Study = Mapping[str, Any]

_DPI = 140
_MARKERS = "osD^vP*X<>hd"
_COLOURS = (style.BLUE, style.VERMILION, style.GREEN, style.PURPLE, style.SKY, style.BROWN)
_AXES = {
    "energy_pj": ("energy of an image, nJ", 1e3),
    "cycles": ("cycles of an image, thousands", 1e3),
    "size_bits": ("weights, kbit", 1e3),
    "bops": ("bit operations of an image, millions", 1e6),
}
_SMALL = 8
_LEAST = 1e-4
"""Share of errors that is drawn for none, on a logarithmic axis."""

_FAR = 4
"""Costs so many times apart are drawn on a logarithmic axis."""


def draw(study: _Study) -> dict[str, str | bytes]:
    """Return the figures, by file name, each as PNG and SVG.

    For each machine ``accuracy-NAME``: test error of all choices over the limited resource, untrained and after
    training; ``front-NAME``: the exact Pareto front of the summed losses of the first seed's network, with the uniform
    choices; and ``ranks``: how well each sensitivity ranks the measured change of loss.
    """
    with style.themed():
        drawn = {}
        for machine in study["machines"]:
            drawn[f"accuracy-{machine['name']}"] = _accuracy(study, machine)
            drawn[f"front-{machine['name']}"] = _front(machine)
        drawn["ranks"] = _ranks(study)
        return style.files(drawn, _DPI)


def _figure(height_inch: float, columns: int) -> tuple[Figure, Any]:
    figure = Figure(figsize=(7.6, height_inch), layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
    return figure, figure.subplots(1, columns, squeeze=False, sharey=columns > 1)[0]


def _accuracy(study: _Study, machine: Mapping[str, Any]) -> Figure:
    label, unit = _AXES[machine["cost"]]
    stages = [("untrained", "without training")]
    if any(row["tuned"] for row in machine["rows"]):
        stages.append(("tuned", "after training"))
    figure, panels = _figure(4.2, len(stages))
    for axes, (stage, title) in zip(panels, stages, strict=True):
        axes.axhline(100 * (1 - study["float"]["mean"]), color=style.MUTED, linestyle="--", linewidth=1, label="float")
        uniform = [row for row in machine["rows"] if row["kind"] == "uniform"]
        for number, row in enumerate(uniform):
            style_of = {
                "marker": _MARKERS[number % len(_MARKERS)],
                "color": style.SURFACE,
                "markeredgecolor": style.INK,
                "markeredgewidth": 1.1,
                "markersize": 6.5,
                "linestyle": "none",
                "zorder": 4,
            }
            _points(axes, [row], stage, machine["cost"], unit, label=f"all {style.label(row['label'])}", **style_of)
        mixed = [row for row in machine["rows"] if row["kind"] != "uniform"]
        methods = list(dict.fromkeys(row["method"] for row in mixed))
        for number, method in enumerate(methods):
            own = [row for row in mixed if row["method"] == method]
            rows = sorted(own, key=lambda row: row["costs"][machine["cost"]]["mean"])
            colour = _COLOURS[number % len(_COLOURS)]
            name = "one-shot search" if method == "search" else f"mixed by {method.replace('_', ' ')}"
            _points(
                axes,
                rows,
                stage,
                machine["cost"],
                unit,
                label=name,
                color=colour,
                marker="oD^sv"[number % 5],
                markersize=6.5 - 2 * (number % 2),
                zorder=5,
            )
        axes.set_title(title)
        axes.set_xlabel(label)
    means = [row[stage]["mean"] for stage, _ in stages for row in machine["rows"] if row[stage]]
    errors = [100 * max(1 - mean, _LEAST) for mean in (*means, study["float"]["mean"])]
    # the means say what is shown: intervals of few seeds may be wide
    _wide(panels[0].yaxis, min(errors) / 1.3, 1.3 * max(errors))
    panels[0].set_ylabel("test error, %")
    costs = [row["costs"][machine["cost"]]["mean"] / unit for row in machine["rows"]]
    if max(costs) > _FAR * min(costs):
        for axes in panels:
            _wide(axes.xaxis, min(costs) / 1.2, 1.2 * max(costs))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=_SMALL)
    title = f"{machine['name']}: {machine['kind']}, means of {len(study['seeds'])} seeds, 95 % intervals"
    figure.suptitle(title, fontsize=9.5, x=0.01, ha="left", color=style.INK)
    return figure


def _points(axes: Axes, rows: Sequence[Mapping[str, Any]], stage: str, cost: str, unit: float, **looks: Any) -> None:
    shown = [row for row in rows if row[stage]]
    x = [row["costs"][cost]["mean"] / unit for row in shown]
    y = [100 * max(1 - row[stage]["mean"], _LEAST) for row in shown]
    halves = [100 * (row[stage]["half"] or 0.0) for row in shown]
    edge = looks.get("markeredgecolor", looks["color"])
    axes.errorbar(x, y, yerr=halves, ecolor=edge, elinewidth=0.8, capsize=2, **looks)


def _wide(axis: Axis, low: float, high: float) -> None:
    """Make an axis logarithmic, with plain numbers: the more in each decade, the fewer decades there are."""
    axes = axis.axes
    assert axes is not None
    (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
    (axes.set_xlim if axis is axes.xaxis else axes.set_ylim)(low, high)
    digits = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0) if high < 10 * low else (1.0, 2.0, 5.0) if high < 1e3 * low else (1.0,)
    axis.set_major_locator(LogLocator(subs=digits, numticks=30))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _front(machine: Mapping[str, Any]) -> Figure:
    front = machine["front"]
    label, unit = _AXES[machine["cost"]]
    figure, (axes,) = _figure(3.6, 1)
    costs, losses = [cost / unit for cost in front["costs"]], front["losses"]
    axes.step(costs, losses, where="post", color=style.BLUE, label=f"Pareto front, {len(costs)} breakpoints")
    axes.plot(costs, losses, linestyle="none", marker=".", markersize=4, color=style.BLUE)
    for number, point in enumerate(front["uniform"]):
        axes.plot(
            [point["cost"] / unit],
            [point["loss"]],
            linestyle="none",
            marker=_MARKERS[number % len(_MARKERS)],
            color=style.SURFACE,
            markeredgecolor=style.INK,
            markersize=6.5,
            label=f"all {style.label(point['label'])}",
        )
    positive = [loss for loss in (*losses, *(p["loss"] for p in front["uniform"])) if loss > 0]
    if positive and max(positive) > 20 * min(positive) and len(positive) == len(losses) + len(front["uniform"]):
        _wide(axes.yaxis, min(positive) / 2, 2 * max(positive))
    axes.set_xlabel(label)
    unit_text = ", nat" if front["method"] in ("divergence", "loss_change") else ""
    axes.set_ylabel(f"sum of {front['method'].replace('_', ' ')}{unit_text}")
    axes.set_title(f"{machine['name']}: all best mixes by {front['method'].replace('_', ' ')}, seed {front['seed']}")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize=_SMALL)
    return figure


def _ranks(study: _Study) -> Figure:
    machines = study["machines"]
    methods = list(machines[0]["ranks"])
    figure, (axes,) = _figure(0.9 + 0.38 * len(methods), 1)
    step = 0.7 / max(len(machines), 1)
    lines = [machine["ranks"][method] for machine in machines for method in methods]
    found = [line["mean"] - (line["half"] or 0.0) for line in lines if line is not None]
    for number, machine in enumerate(machines):
        places, means, halves = [], [], []
        for place, method in enumerate(methods):
            line = machine["ranks"][method]
            if line is not None:
                places.append(place + (number - (len(machines) - 1) / 2) * step)
                means.append(line["mean"])
                halves.append(line["half"] or 0.0)
        axes.errorbar(
            means,
            places,
            xerr=halves,
            linestyle="none",
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=6,
            color=_COLOURS[number % len(_COLOURS)],
            elinewidth=0.9,
            capsize=2,
            label=style.label(machine["name"]),
        )
    axes.axvline(0, color=style.MUTED, linewidth=0.8)
    axes.set_yticks(range(len(methods)), [method.replace("_", " ") for method in methods])
    axes.invert_yaxis()
    axes.set_xlim(min(0.0, *found) - 0.05, 1.03)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("Spearman's rank correlation with the measured change of loss, 95 % intervals over seeds")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize=_SMALL)
    return figure
