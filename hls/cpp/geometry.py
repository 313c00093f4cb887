"""Sizes of loops: the authority for how a layer's products, windows and pools are counted."""

__all__ = ["Map", "PoolSize", "ProductSize", "ceil_div", "pool_size", "product_size"]

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tetrit.hls.cpp.source import CodesProduct, Signal
from tetrit.hls.integer import AveragePool, MaxPool, Product, Window


def ceil_div(a: int, b: int) -> int:
    """Return a / b, rounded up."""
    return -(-a // b)


@dataclass(frozen=True, kw_only=True)
class Map:
    """A window in the terms of ``tetrit::slide``; fields as `Window` has them.

    A map of one column is turned into one of one row: the same pixels in the same order.
    """

    height: int
    width: int
    channels: int
    kernel_y: int
    kernel_x: int
    stride_y: int
    stride_x: int
    top: int
    left: int
    bottom: int
    right: int
    dilation_y: int
    dilation_x: int
    groups: int

    @classmethod
    def of(cls, window: Window) -> "Map":
        """Return the map of a window."""
        height, width, channels = window.in_shape
        pairs = list(zip(window.kernel, window.stride, window.dilation, strict=True))
        top, left, bottom, right = window.padding
        if left + width + right == 1:
            height, width, pairs = width, height, pairs[::-1]
            top, left, bottom, right = left, top, right, bottom
        (kernel_y, stride_y, dilation_y), (kernel_x, stride_x, dilation_x) = pairs
        return cls(
            height=height,
            width=width,
            channels=channels,
            kernel_y=kernel_y,
            kernel_x=kernel_x,
            stride_y=stride_y,
            stride_x=stride_x,
            top=top,
            left=left,
            bottom=bottom,
            right=right,
            dilation_y=dilation_y,
            dilation_x=dilation_x,
            groups=window.groups,
        )

    @property
    def rows(self) -> int:
        """Rows of the padded map."""
        return self.top + self.height + self.bottom

    @property
    def columns(self) -> int:
        """Columns of the padded map."""
        return self.left + self.width + self.right

    @property
    def pixels(self) -> int:
        """Pixels of the padded map."""
        return self.rows * self.columns

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns that the kernel spans."""
        return (self.kernel_y - 1) * self.dilation_y + 1, (self.kernel_x - 1) * self.dilation_x + 1

    @property
    def positions(self) -> int:
        """Places of the kernel."""
        down, right = self.reach
        return ((self.rows - down) // self.stride_y + 1) * ((self.columns - right) // self.stride_x + 1)

    @property
    def k(self) -> int:
        """Values under the kernel, per group."""
        return self.kernel_y * self.kernel_x * self.channels // self.groups

    def interval(self, lanes_in: int, lanes_out: int) -> int:
        """Return the cycles from a pixel to the next."""
        return max(ceil_div(self.channels, lanes_in), self.groups * ceil_div(self.k, lanes_out))


@dataclass(frozen=True, kw_only=True)
class ProductSize:
    """A layer's products.

    Attributes
    ----------
    vectors : int
        How many vectors are multiplied with the weights: the pixels of the output.
    groups, k, n : int
        Groups, and each group's inputs and outputs.
    map : Map or None
        What cuts the vectors out of the input; None where the input has them as they are.
    """

    vectors: int
    groups: int
    k: int
    n: int
    map: Map | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input of the network."""
        return self.vectors * self.groups * self.k * self.n

    def cycles(self, tile_k: int, tile_n: int) -> int:
        """Return the steps that tiles of that size take."""
        return self.vectors * self.groups * ceil_div(self.k, tile_k) * ceil_div(self.n, tile_n)


@dataclass(frozen=True, kw_only=True)
class PoolSize:
    """A pool's windows: their number, places in each, channels, and what cuts them out, if anything must."""

    positions: int
    places: int
    channels: int
    map: Map | None


def product_size(node: Product | CodesProduct, signals: Mapping[str, Signal]) -> ProductSize:
    """Return the size of a layer."""
    if isinstance(node, CodesProduct):
        k, n = node.layer.weight.shape
        return ProductSize(vectors=1, groups=1, k=k, n=n)
    window = node.window
    n = node.n // node.groups
    if window is None:
        return ProductSize(vectors=math.prod(signals[node.input].shape[:-1]), groups=1, k=node.k, n=n)
    plain = window.kernel == (1, 1) == window.stride and not any(window.padding) and window.groups == 1
    return ProductSize(
        vectors=window.positions, groups=node.groups, k=node.k, n=n, map=None if plain else Map.of(window)
    )


def pool_size(node: MaxPool | AveragePool) -> PoolSize:
    """Return the size of a pool; one over the whole map needs nothing in front."""
    window = node.window
    whole = window.kernel == window.in_shape[:2] and not any(window.padding) and window.dilation == (1, 1)
    return PoolSize(
        positions=window.positions,
        places=window.kernel[0] * window.kernel[1],
        channels=window.channels,
        map=None if whole else Map.of(window),
    )
