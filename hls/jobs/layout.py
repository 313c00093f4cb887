"""The borders and row lengths of feature maps: the least that every reader of a tensor can work with."""

__all__ = ["Choice", "Needs", "Way"]

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from tetrit.errors import InvalidValueError
from tetrit.hls.integer import Window

Way = Literal["direct", "strips", "patches", "whole", "pairs", "host"]
"""How a node is computed: see `tetrit.hls.jobs.compiler`."""

_MOST_WIDER = 4096


@dataclass(frozen=True)
class Choice:
    """How a node is computed, and whether each row of its output is a job of its own."""

    way: Way
    by_rows: bool = False

    def __str__(self) -> str:
        return f"{self.way}, row by row" if self.by_rows else self.way


@dataclass(kw_only=True)
class Needs:
    """What the readers of a tensor ask of its place.

    Attributes
    ----------
    size : (int, int)
        Height and width of the map.
    fits_height, fits_width : list of callables
        Whether a number of rows, or of cells of a row, will do.
    above, left : int
        Largest padding there.
    rows, columns : bool
        Whether the border below and above, or beside, must hold zeros.
    """

    size: tuple[int, int]
    fits_height: list[Callable[[int], bool]] = field(default_factory=list)
    fits_width: list[Callable[[int], bool]] = field(default_factory=list)
    above: int = 0
    left: int = 0
    rows: bool = False
    columns: bool = False

    def pad(self, window: Window) -> None:
        """Ask for the zeros that a window reads beyond the edges."""
        top, left, bottom, right = window.padding
        height, width = self.size
        self.above, self.left = max(self.above, top), max(self.left, left)
        self.rows |= bool(top or bottom)
        self.columns |= bool(left or right)
        self.fits_height.append(lambda rows: rows >= height + max(top, bottom))
        self.fits_width.append(lambda cells: cells >= width + max(left, right))

    def follow(self, window: Window, after: "Needs") -> None:
        """Ask that the results of windows that move from cell to cell lie as their own readers need it."""
        down, across = window.stride
        self.fits_height.append(lambda rows: rows % down == 0 and after.takes_height(rows // down))
        self.fits_width.append(lambda cells: cells % across == 0 and after.takes_width(down * cells // across))

    def takes_height(self, rows: int) -> bool:
        """Return whether so many rows will do."""
        return rows >= self.size[0] and all(fits(rows) for fits in self.fits_height)

    def takes_width(self, cells: int) -> bool:
        """Return whether rows of so many cells will do."""
        return cells >= self.size[1] and all(fits(cells) for fits in self.fits_width)

    def least(self) -> tuple[int, int]:
        """Return the fewest rows and cells of a row that will do; InvalidValueError if there are none."""
        found = []
        for size, takes in zip(self.size, (self.takes_height, self.takes_width), strict=True):
            for number in range(size, size + _MOST_WIDER):
                if takes(number):
                    found.append(number)
                    break
            else:
                raise InvalidValueError("no row length fits all that read a feature map")
        return found[0], found[1]

    def lead(self, width: int) -> int:
        """Return the cells before the first pixel that windows over its top left corner read."""
        return self.above * width + self.left
