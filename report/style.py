"""How every figure of a report looks, and how it becomes PNG (light) and SVG (follows the page's colours).

Colours are those of Okabe and Ito ("Color Universal Design", 2008), adjusted so that bars stand out on white and text
on bars has a contrast of 4.5; no figure relies on colour alone. A figure is a function of the report only: a user's
matplotlibrc, the date and the order of calls change nothing.
"""

__all__ = [
    "BLUE", "BROWN", "GREEN", "GREY", "GRID", "HATCHES", "INK", "MUTED", "ORANGE", "PALETTE", "PURPLE", "SKY",
    "SURFACE", "VERMILION", "WIDTH_INCH", "alone", "figure", "files", "ink_on", "label", "on", "png", "svg", "themed",
]  # fmt: skip

import contextlib
import io
import re
from collections.abc import Iterator, Mapping
from typing import Any

import matplotlib
import matplotlib.colors
import matplotlib.font_manager
import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

INK = "#1d2330"
MUTED = "#5a6373"
GRID = "#d6dae1"
SURFACE = "#ffffff"
BLUE = "#0072b2"
ORANGE = "#e08e0b"
GREEN = "#009e73"
VERMILION = "#e06a10"
PURPLE = "#c06fa0"
SKY = "#4ba9dd"
BROWN = "#9c6b3c"
GREY = "#8a919e"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, BROWN, GREY)
HATCHES = {
    BLUE: "", ORANGE: "///", GREEN: "\\\\\\", PURPLE: "xx", SKY: "---", VERMILION: "|||", BROWN: "++", GREY: "//"
}  # fmt: skip
"""The hatch of each colour where colours tell things apart."""

WIDTH_INCH = 5.0
"""Of every figure of a report."""
_WHITE, _BLACK = "#fefefe", "#1d2331"  # text on a coloured bar: the same in both themes, so none of the names above
_FONT = "DejaVu Sans"  # ships with matplotlib
_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", SURFACE: "var(--surface)"}
_STYLE: dict[str, Any] = {
    "font.family": [_FONT],
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.facecolor": SURFACE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "hatch.linewidth": 0.5,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "figure.facecolor": SURFACE,
    "savefig.facecolor": SURFACE,
    "text.color": INK,
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "path",
    "svg.hashsalt": "tetrit",
}


@contextlib.contextmanager
def themed() -> Iterator[None]:
    """Set the style of reports for the figures drawn, and written, inside the block."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def figure(height_inch: float) -> Figure:
    """Return an empty figure of the common width."""
    return Figure(figsize=(WIDTH_INCH, height_inch), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))


def label(text: object, limit: int = 26) -> str:
    """Return `text` for a figure: one line, at most `limit` characters, only what the font can draw."""
    glyphs = matplotlib.font_manager.get_font(matplotlib.font_manager.findfont(_FONT))
    line = " ".join(str(text).split())
    drawn = "".join(char if glyphs.get_char_index(ord(char)) else "\N{WHITE SQUARE}" for char in line)
    if len(drawn) > limit:
        tail = limit // 3
        drawn = f"{drawn[: limit - tail - 1]}\N{HORIZONTAL ELLIPSIS}{drawn[-tail:]}"
    return drawn


def ink_on(colour: str) -> str:
    """Return the text colour, white or ink, that stands out on `colour` in either theme."""
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in matplotlib.colors.to_rgb(colour)
    )
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue  # WCAG 2
    return _WHITE if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.067 else _BLACK


def on(colour: str) -> dict[str, Any]:
    """Return what makes text readable on a hatched area of `colour`: its ink, and a plate that hides the hatch."""
    return {"color": ink_on(colour), "bbox": {"facecolor": colour, "edgecolor": "none", "pad": 0.7}}


def png(drawn: Figure, dpi: int = 200) -> bytes:
    """Return the figure as a PNG without date or version, and freeze its layout."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    drawn.set_layout_engine("none")
    return buffer.getvalue()


def svg(drawn: Figure, prefix: str) -> str:
    """Return the figure as an SVG element for use inside HTML: own ids, no metadata, the page's colours."""
    buffer = io.StringIO()
    drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(
        r"<defs>\s*<style type=\"text/css\">[^<]*</style>\s*</defs>\s*", "", text, count=1
    )  # speaks of the whole page
    text = re.sub(r"(<svg\b[^>]*?) width=\"[^\"]*\"", r"\1", text, count=1)
    text = re.sub(r"(<svg\b[^>]*?) height=\"[^\"]*\"", r"\1", text, count=1)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{prefix}-", text)
    return re.sub(r"#[0-9a-f]{6}\b", lambda match: _VARIABLES.get(match[0], match[0]), text)


def files(figures: Mapping[str, Figure | None], dpi: int = 200) -> dict[str, str | bytes]:
    """Return figures as files of their own, ``NAME.png`` and ``NAME.svg``, without a date; None is left out."""
    written: dict[str, str | bytes] = {}
    for name, drawn in figures.items():
        if drawn is not None:
            written[f"{name}.png"] = png(drawn, dpi)
            buffer = io.StringIO()
            drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
            written[f"{name}.svg"] = buffer.getvalue()
    return written


def alone(element: str) -> str:
    """Return what `svg` gave as a file of its own, in the colours of the light theme."""
    for colour, variable in _VARIABLES.items():
        element = element.replace(variable, colour)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{element}'
