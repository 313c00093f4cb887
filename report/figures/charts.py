"""The kinds of charts that figures are made of: rows of bars and stacked rows.

Colours that tell things apart come with the hatch of `style.HATCHES`, so that a figure needs no sense of colour.
"""

__all__ = ["bars", "beside", "margin", "numbered", "rows", "stack"]

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from tetrit.report import style
from tetrit.report.numbers import significant

_HEIGHT = 0.68
_SMALL = 8.5


def rows(axes: Axes, names: Sequence[str], limit: int = 24) -> None:
    """Give a horizontal chart one named row per entry, the first on top, and vertical grid lines only."""
    axes.set_yticks(range(len(names)), [style.label(name, limit) for name in names])
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(visible=False, axis="y")
    numbered(axes.xaxis)


def bars(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[float],
    colours: Sequence[str],
    texts: Sequence[str],
    room: float = 0.3,
) -> None:
    """Draw horizontal bars from zero, first on top, each with its text at its end; `room` for texts is relative."""
    drawn = axes.barh(range(len(names)), values, color=colours, height=_HEIGHT, edgecolor=style.SURFACE, linewidth=0)
    for bar, colour in zip(drawn, colours, strict=True):
        bar.set_hatch(style.HATCHES.get(colour, ""))
    rows(axes, names)
    axes.set_xlim(0, (max(values) or 1.0) * (1 + room))
    for place, (value, text) in enumerate(zip(values, texts, strict=True)):
        beside(axes, text, value, place)


def beside(axes: Axes, text: str, value: float, row: int) -> None:
    """Write `text` to the right of `value` in `row`, on a plate that hides grid lines."""
    plate = {"facecolor": style.SURFACE, "edgecolor": "none", "pad": 0.8}
    axes.annotate(text, (value, row), (4, 0), textcoords="offset points", va="center", fontsize=_SMALL, bbox=plate)


def margin(axes: Axes, text: str, row: int) -> None:
    """Write `text` in `row`, right of the chart."""
    where = ("axes fraction", "data")
    axes.annotate(text, (1, row), (5, 0), xycoords=where, textcoords="offset points", va="center", fontsize=_SMALL)


def numbered(axis: Axis, ticks: int = 4, *, logarithmic: bool = False) -> None:
    """Write the numbers of an axis as everywhere in the report; short logarithmic axes get theirs at 1, 2 and 5."""
    low, high = axis.get_view_interval()
    if logarithmic:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
    else:
        axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: significant(value)))
    axis.set_minor_locator(NullLocator())


def stack(axes: Axes, row: int, segments: Sequence[tuple[float, str, str]], width: float) -> None:
    """Stack (size, colour, text) segments in `row`; texts are left out where a segment is below 4 % of `width`."""
    left = 0.0
    for size, colour, text in segments:
        axes.barh(
            row,
            size,
            left=left,
            color=colour,
            height=_HEIGHT,
            edgecolor=style.SURFACE,
            linewidth=0.8,
            hatch=style.HATCHES.get(colour, ""),
        )
        if text and size >= 0.04 * width:
            where = (left + size / 2, row)
            axes.text(*where, text, ha="center", va="center", fontsize=_SMALL, **style.on(colour))
        left += size
