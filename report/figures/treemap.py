"""Treemaps: areas within areas, as large as the amounts that they stand for, of energy and of area.

The layout is the squarified one of Bruls, Huizing and van Wijk, "Squarified Treemaps" (2000), written from its
description: rows of tiles are filled along the shorter side for as long as that makes their worst aspect ratio better.
"""

__all__ = ["LETTERS", "area", "areas", "energy", "squarify"]

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tetrit.report import style
from tetrit.report.numbers import fold, percent, significant, unit

_WIDTH_PT = 72 * style.WIDTH_INCH - 14
_HEIGHT_PT = 200.0
_SMALL = 8.0
_CHARACTER = 0.62 * _SMALL
"""Width of a character in points, on the safe side."""
_LINE = 1.25 * _SMALL
_PARTS = 12
"""Parts of a component at most; the small ones are drawn together."""
_LEAST = 1e-3
"""Smaller shares have no tile that could be seen."""

LETTERS = "ABCDEFGH"
"""Of components, largest first: the same in every figure of them."""

Box = tuple[float, float, float, float]
"""Left, bottom, width, height."""


def squarify(sizes: Sequence[float], box: Box) -> list[Box]:
    """Divide `box` into one part for each of `sizes`, with areas in proportion and sides as equal as can be.

    Parameters
    ----------
    sizes : sequence of float
        Positive, largest first.
    box : tuple of float
        What to divide.

    Returns
    -------
    list of tuple of float
        In the order of `sizes`.

    Examples
    --------
    >>> squarify([2.0, 1.0, 1.0], (0.0, 0.0, 2.0, 2.0))
    [(0.0, 0.0, 1.0, 2.0), (1.0, 0.0, 1.0, 1.0), (1.0, 1.0, 1.0, 1.0)]
    """
    x, y, width, height = box
    left = math.fsum(sizes)
    parts: list[Box] = []
    while len(parts) < len(sizes):
        side = min(width, height)
        scale = width * height / left  # area for a unit of size
        row = [sizes[len(parts)]]
        for size in sizes[len(parts) + 1 :]:
            if _worst([*row, size], side, scale) > _worst(row, side, scale):
                break
            row.append(size)
        taken = math.fsum(row)
        depth = taken * scale / side
        along = 0.0
        for size in row:
            length = side * size / taken
            parts.append((x, y + along, depth, length) if height <= width else (x + along, y, length, depth))
            along += length
        if height <= width:
            x, width = x + depth, width - depth
        else:
            y, height = y + depth, height - depth
        left -= taken
    return parts


def _worst(row: Sequence[float], side: float, scale: float) -> float:
    """Return the largest aspect ratio of a row of tiles along `side`."""
    depth = math.fsum(row) * scale / side
    lengths = [size * scale / depth for size in row]
    return max(max(length / depth, depth / length) for length in lengths)


def energy(report: Mapping[str, Any]) -> Figure | None:
    """Draw the energy of every component, divided into that of the layers."""
    layers = [layer for layer in report["layers"] if "breakdown" in layer]
    spent = report.get("energy_uj", {}).get("breakdown", {})
    if not layers:
        return None
    parts = {name: {layer["name"]: layer["breakdown"].get(name, 0.0) * 1e-6 for layer in layers} for name in spent}
    return _draw(spent, parts, "µJ")


def area(report: Mapping[str, Any]) -> Figure | None:
    """Draw the area of every component, divided into that of its modules where the report has them."""
    block = report.get("area_mm2", {})
    return _draw(block.get("breakdown", {}), block.get("parts", {}), "mm²")


def areas(parts_mm2: Mapping[str, float]) -> Figure | None:
    """Draw areas that have no parts."""
    return _draw(parts_mm2, {}, "mm²")


def _draw(totals: Mapping[str, float], parts: Mapping[str, Mapping[str, float]], base: str) -> Figure | None:
    whole = math.fsum(totals.values())
    groups = fold(totals, len(style.PALETTE))
    shown = {name: value for name, value in groups.items() if whole > 0 and value >= _LEAST * whole}
    if not shown:
        return None
    factor, name_of_unit = unit(max(totals.values()), base)
    drawn = style.figure((_HEIGHT_PT + 44) / 72)
    axes = drawn.subplots()
    axes.set_axis_off()
    axes.set_xlim(0, _WIDTH_PT)
    axes.set_ylim(_HEIGHT_PT, 0)
    unnamed = [name for name in groups if name not in shown]
    boxes = squarify(list(shown.values()), (0.0, 0.0, _WIDTH_PT, _HEIGHT_PT))
    for number, ((name, value), box) in enumerate(zip(shown.items(), boxes, strict=True)):
        amount = f"{significant(value * factor)} {name_of_unit}, {percent(value / whole, 1)}"
        titles = [[f"{LETTERS[number]}  {name}", amount], [f"{LETTERS[number]}  {name}"], [LETTERS[number]]]
        inner = {part: size for part, size in parts.get(name, {}).items() if size > 0}
        if not _group(axes, titles, style.PALETTE[number], box, fold(inner, _PARTS), factor):
            unnamed.append(name)
    note = f"areas in proportion; all: {significant(whole * factor)} {name_of_unit}"
    if unnamed:
        letters = dict(zip(groups, LETTERS, strict=False))
        order = [name for name in groups if name in unnamed]
        texts = [f"{letters[name]} {style.label(name, 22)} {_share(groups[name] / whole)}" for name in order]
        note += "\nnot named above: " + ",\n".join(", ".join(texts[i : i + 2]) for i in range(0, len(texts), 2))
    drawn.supxlabel(note, fontsize=9, color=style.MUTED)
    return drawn


def _group(
    axes: Axes,
    titles: Sequence[Sequence[str]],
    colour: str,
    box: Box,
    parts: Mapping[str, float],
    factor: float,
) -> bool:
    """Draw a component with its parts and the longest of `titles` that fits; return whether its name is there."""
    x, y, width, height = box
    hatch = style.HATCHES[colour]
    axes.add_patch(
        Rectangle((x, y), width, height, facecolor=colour, edgecolor=style.SURFACE, linewidth=2.2, hatch=hatch)
    )
    title = next((t for t in titles if _fits(t, width) and height >= _LINE * len(t) + 5), [])
    if title:
        text = "\n".join(map(style.label, title))
        axes.text(x + 5, y + 4, text, fontsize=_SMALL, va="top", **style.on(colour))
    head = _LINE * len(title) + 7
    if len(parts) > 1 and width > 12 and height > head + 12:
        inside = (x + 2.5, y + head, width - 5, height - head - 2.5)
        for (name, size), tile in zip(parts.items(), squarify(list(parts.values()), inside), strict=True):
            _tile(axes, name, significant(size * factor), colour, tile)
    return title in titles[:2]


def _tile(axes: Axes, name: str, amount: str, colour: str, box: Box) -> None:
    x, y, width, height = box
    axes.add_patch(Rectangle((x, y), width, height, facecolor="none", edgecolor=style.SURFACE, linewidth=0.9))
    for lines in ([f"{name} {amount}"], [name, amount], [name]):
        if _fits(lines, width) and height >= _LINE * len(lines) + 2:
            text = "\n".join(map(style.label, lines))
            where = (x + width / 2, y + height / 2)
            axes.text(*where, text, fontsize=_SMALL, ha="center", va="center", **style.on(colour))
            return


def _share(fraction: float) -> str:
    return f"< {percent(_LEAST, 1)}" if 0 < fraction < _LEAST else percent(fraction, 1)


def _fits(lines: Sequence[str], width: float) -> bool:
    return all(len(style.label(line)) * _CHARACTER + 6 <= width for line in lines)
