"""Windows over feature maps: the authority for how a convolution or a pool becomes a table of positions."""

__all__ = ["Window"]

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError

Ints = npt.NDArray[np.int64]

_MOST = 2**40
"""Entries of a feature map or of a table of positions beyond which a window is refused."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A kernel that moves over a feature map of height x width x channels.

    Attributes
    ----------
    in_shape : (int, int, int)
        Height, width and channels of the input; a signal in one dimension has height 1.
    kernel : (int, int)
        Height and width.
    stride : (int, int), default (1, 1)
        Steps down and to the right.
    padding : (int, int, int, int), default (0, 0, 0, 0)
        Rows and columns beyond the edges: top, left, bottom, right. Sums take them as zeros, a maximum leaves them out.
    dilation : (int, int), default (1, 1)
        Distance of neighbours in the kernel.
    groups : int, default 1
        Into how many groups the channels are cut, each with outputs of its own; a divisor of the channels. A depthwise
        convolution has as many groups as channels. Pools have 1.

    Raises
    ------
    TypeError, InvalidValueError
        If a field is of the wrong kind or value, or the kernel is larger than the padded map; the message names it.

    Examples
    --------
    >>> from tetrit.hls.integer import Window
    >>> window = Window(in_shape=(2, 3, 1), kernel=(2, 2), padding=(0, 1, 0, 0))
    >>> window.out_shape_hw, window.k
    ((1, 3), 4)
    >>> window.indices()[0]
    array([[-1,  0, -1,  3],
           [ 0,  1,  3,  4],
           [ 1,  2,  4,  5]])
    """

    in_shape: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        for name, length, minimum in (
            ("in_shape", 3, 1),
            ("kernel", 2, 1),
            ("stride", 2, 1),
            ("padding", 4, 0),
            ("dilation", 2, 1),
        ):
            object.__setattr__(self, name, _integers(name, getattr(self, name), length, minimum))
        object.__setattr__(self, "groups", checks.integer("groups", self.groups))
        if self.channels % self.groups:
            raise InvalidValueError(
                f"`groups` must be a divisor of the {self.channels} channels of `in_shape`, got {self.groups}"
            )
        for axis, (size, reach) in enumerate(zip(self._padded, self._reach, strict=True)):
            if reach > size:
                side = ("rows", "columns")[axis]
                raise InvalidValueError(
                    f"`kernel` with its `dilation` must fit the padded input, got {reach} {side} over {size}"
                )
        if self.positions * self.k * self.groups >= _MOST or self.in_size >= _MOST:
            raise InvalidValueError(
                f"`in_shape` {self.in_shape} with `kernel` {self.kernel} is beyond what can be tabulated"
            )

    @property
    def channels(self) -> int:
        """Channels of the input."""
        return self.in_shape[2]

    @property
    def in_size(self) -> int:
        """Numbers in the input."""
        return self.in_shape[0] * self.in_shape[1] * self.in_shape[2]

    @property
    def out_shape_hw(self) -> tuple[int, int]:
        """Height and width of the output."""
        height, width = (
            (size - reach) // stride + 1
            for size, reach, stride in zip(self._padded, self._reach, self.stride, strict=True)
        )
        return height, width

    @property
    def positions(self) -> int:
        """Places of the kernel, which are those of the output, row by row."""
        height, width = self.out_shape_hw
        return height * width

    @property
    def k(self) -> int:
        """Inputs under the kernel, per group: kernel height x kernel width x channels / groups."""
        return self.kernel[0] * self.kernel[1] * self.channels // self.groups

    @property
    def _padded(self) -> tuple[int, int]:
        top, left, bottom, right = self.padding
        return self.in_shape[0] + top + bottom, self.in_shape[1] + left + right

    @property
    def _reach(self) -> tuple[int, int]:
        (kh, kw), (dy, dx) = self.kernel, self.dilation
        return (kh - 1) * dy + 1, (kw - 1) * dx + 1

    def indices(self) -> Ints:
        """Return which inputs lie under the kernel at each position.

        Returns
        -------
        ndarray of int64, shape (groups, positions, k)
            Places in the flat input (row by row, the channels of a pixel side by side), -1 for padding. The order
            along k is (kernel row, kernel column, channel of the group).
        """
        pixels, inside = self._pixels()
        own = self.channels // self.groups
        channels = np.arange(self.channels, dtype=np.int64).reshape(self.groups, 1, 1, own)
        table = pixels[None, :, :, None] * self.channels + channels
        table = np.where(inside[None, :, :, None], table, -1)
        return table.reshape(self.groups, self.positions, self.k)

    def counts(self) -> Ints:
        """Return how many pixels of the input, padding left out, lie under the kernel: int64 (positions,)."""
        counts: Ints = self._pixels()[1].sum(axis=1, dtype=np.int64)
        return counts

    def _pixels(self) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Return the pixel under each place of the kernel at each position, and whether it is in the map."""
        out, first = self.out_shape_hw, self.padding[:2]
        places, inside = [], []
        for axis in range(2):
            start = np.arange(out[axis], dtype=np.int64) * self.stride[axis] - first[axis]
            place = start[:, None] + np.arange(self.kernel[axis], dtype=np.int64) * self.dilation[axis]
            places.append(place)
            inside.append((place >= 0) & (place < self.in_shape[axis]))
        pixels = places[0][:, None, :, None] * self.in_shape[1] + places[1][None, :, None, :]
        found = inside[0][:, None, :, None] & inside[1][None, :, None, :]
        shape = (self.positions, self.kernel[0] * self.kernel[1])
        return pixels.reshape(shape), found.reshape(shape)


def _integers(name: str, value: Any, length: int, minimum: int) -> tuple[int, ...]:
    if not isinstance(value, tuple | list) or len(value) != length:
        raise TypeError(f"`{name}` must be {length} integers, got {value!r}")
    return tuple(checks.integer(name, item, minimum=minimum, maximum=_MOST) for item in value)
