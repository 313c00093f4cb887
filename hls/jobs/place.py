"""Tensors in the co-processor's memory: the authority for where each integer of a batch of feature maps lies."""

__all__ = ["Place", "aligned"]

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tetrit.hls.integer import Window

Ints = npt.NDArray[np.int64]
Memory = npt.NDArray[np.uint8]


def aligned(n_bytes: int, step: int) -> int:
    """Return `n_bytes` rounded up to a multiple of `step`."""
    return -(-n_bytes // step) * step


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the feature maps of a batch lie: cells in one line, a pixel each, row after row and image after image.

    Pixel (y, x) of image b is cell ``lead + (b * height + y) * width + x``. What is right of and below a map is its
    border, which the next row and the next image share as theirs on the left and above; `lead` is that of the first
    image. So a window that moves by one cell moves by one pixel, and a whole batch is one sequence of windows; those
    that lie over an edge give results that nothing uses.

    Attributes
    ----------
    shape : (int, int, int)
        Height, width and channels of the map.
    height, width : int
        Rows of an image and cells of a row, with the border.
    lead : int
        Cells before the first pixel.
    batch : int
        Images.
    cell : int
        Bytes from a pixel to the next.
    skip : int
        Bytes of a cell before its channels.
    base : int
        Address of the first cell.
    bits : int
        Width of an integer; it lies in a byte of its own.
    """

    shape: tuple[int, int, int]
    height: int
    width: int
    lead: int
    batch: int
    cell: int
    skip: int = 0
    base: int = 0
    bits: int = 8

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    @property
    def image_bytes(self) -> int:
        """Bytes from an image to the next."""
        return self.height * self.width * self.cell

    @property
    def n_bytes(self) -> int:
        """Bytes of all cells."""
        return (self.lead + self.batch * self.height * self.width) * self.cell

    @property
    def last(self) -> int:
        """The last pixel's cell, counted from the first pixel's."""
        rows, columns, _ = self.shape
        return ((self.batch - 1) * self.height + rows - 1) * self.width + columns - 1

    def last_window(self, window: Window) -> int:
        """Return the last cell, counted likewise, in the top row of the last window over the batch."""
        (rows, columns), (down, across) = window.out_shape_hw, window.stride
        reach = (window.kernel[1] - 1) * window.dilation[1] - window.padding[1]
        first = ((self.batch - 1) * self.height + (rows - 1) * down) * self.width
        return first + (columns - 1) * across + reach

    def at(self, cell: int) -> int:
        """Return the offset from `base` of the channels in a cell counted from the first pixel's."""
        return (self.lead + cell) * self.cell + self.skip

    def offsets(self) -> Ints:
        """Return the offset from `base` of each integer of the first image, in the order of the flat tensor."""
        rows, columns, channels = (np.arange(n, dtype=np.int64) for n in self.shape)
        cells = rows[:, np.newaxis] * self.width + columns
        found: Ints = self.at(0) + cells[:, :, np.newaxis] * self.cell + channels
        return found.ravel()

    def addresses(self) -> Ints:
        """Return the address of each integer of the batch, shape (batch, integers of an image)."""
        images = self.base + self.image_bytes * np.arange(self.batch, dtype=np.int64)
        found: Ints = images[:, np.newaxis] + self.offsets()
        return found

    def read(self, memory: Memory) -> Ints:
        """Return the integers, shape (batch, height, width, channels)."""
        codes = memory[self.addresses()].astype(np.int64) & ((1 << self.bits) - 1)
        values = codes - ((codes >> (self.bits - 1)) << self.bits)
        return values.reshape(self.batch, *self.shape)

    def write(self, memory: Memory, values: Ints) -> None:
        """Write integers of shape (batch, ...) in place."""
        memory[self.addresses()] = (values.reshape(self.batch, -1) & ((1 << self.bits) - 1)).astype(np.uint8)
