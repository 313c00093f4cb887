"""Folding: the authority for how many values each layer works on in a cycle, so that all take about as long."""

__all__ = ["Folding", "fold"]

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tetrit.errors import InvalidValueError, unknown_name
from tetrit.hls.cpp.geometry import Map, ProductSize, ceil_div, pool_size, product_size
from tetrit.hls.cpp.options import CppOptions
from tetrit.hls.cpp.source import CodesProduct, Source
from tetrit.hls.integer import AveragePool, MaxPool, Product

PRODUCTS = 64
"""Products a cycle of the largest layer, where the user names no interval: a choice of ours."""


@dataclass(frozen=True, kw_only=True)
class Folding:
    """How a network is folded.

    Attributes
    ----------
    interval : int
        Cycles per input that everything was folded to.
    tiles : mapping of str to (int, int)
        Inputs and outputs of a cycle, for every product by its name.
    """

    interval: int
    tiles: Mapping[str, tuple[int, int]]

    def lanes(self, groups: int, count: int, *, within: int | None = None) -> int:
        """Return the fewest lanes, of the divisors of `within`, that move groups of `count` values in time.

        `within` is `count` by default. If none does, they are all.
        """
        return _least(within or count, lambda lanes: groups * ceil_div(count, lanes) <= self.interval)

    def map_lanes(self, found: Map) -> int:
        """Return the lanes in which a window takes its pixels."""
        return self.lanes(found.pixels, found.channels)

    def pool_lanes(self, node: MaxPool | AveragePool) -> int:
        """Return the lanes of a pool."""
        size = pool_size(node)
        pixels = size.positions if size.map is None else max(size.map.pixels, size.positions)
        return _least(size.channels, lambda lanes: pixels * size.places * (size.channels // lanes) <= self.interval)


def fold(source: Source, options: CppOptions) -> Folding:
    """Choose the tiles of all products.

    Every layer gets the fewest multiplications a cycle, among tiles that divide its inputs and outputs, with which it
    and the window before it take no longer than the interval. No layer can be faster than one step for each of its
    vectors and padded pixels, so the interval is at least what the slowest of them takes.

    Raises
    ------
    InvalidValueError
        `unroll` names a layer that there is not, or tiles larger than it.
    """
    sizes = {
        node.name: product_size(node, source.signals)
        for node in source.nodes
        if isinstance(node, Product | CodesProduct)
    }
    interval = options.interval
    if interval is None:
        interval = max([ceil_div(size.macs, PRODUCTS) for size in sizes.values()], default=1)
    interval = max(interval, _floor(source, sizes))
    for name, (tile_k, tile_n) in options.unroll.items():
        if name not in sizes:
            raise unknown_name("unroll", name, tuple(sizes)) if sizes else _no_products(name)
        size = sizes[name]
        if tile_k > size.k or tile_n > size.n:
            raise InvalidValueError(
                f"`unroll` of layer '{name}' must be at most ({size.k}, {size.n}), got ({tile_k}, {tile_n})"
            )
    tiles = {name: options.unroll.get(name) or _tile(size, interval) for name, size in sizes.items()}
    return Folding(interval=interval, tiles=tiles)


def _floor(source: Source, sizes: Mapping[str, ProductSize]) -> int:
    """Return the cycles that the slowest part takes, unrolled as far as can be."""
    steps = [source.signals[name].groups for name in (*source.inputs, *source.outputs)]
    for size in sizes.values():
        steps.append(size.vectors * size.groups)
        if size.map is not None:
            steps.append(size.map.pixels * size.groups)
    for node in source.nodes:
        steps.append(source.signals[node.output].groups)
        if isinstance(node, MaxPool | AveragePool):
            pool = pool_size(node)
            pixels = pool.positions if pool.map is None else max(pool.map.pixels, pool.positions)
            steps.append(pixels * pool.places)
    return max(steps)


def _tile(size: ProductSize, interval: int) -> tuple[int, int]:
    best: tuple[tuple[int, int, int], tuple[int, int]] | None = None
    for tile_n in _divisors(size.n):
        for tile_k in _divisors(size.k):
            if size.cycles(tile_k, tile_n) > interval:
                continue
            if size.map is not None and size.map.pixels * size.groups * ceil_div(size.k, tile_k) > interval:
                continue
            rank = (tile_k * tile_n, max(tile_k, tile_n), tile_k)
            if best is None or rank < best[0]:
                best = rank, (tile_k, tile_n)
    assert best is not None  # all at once fits: the interval is at least the floor
    return best[1]


def _divisors(n: int) -> list[int]:
    low = [d for d in range(1, math.isqrt(n) + 1) if n % d == 0]
    return sorted({*low, *(n // d for d in low)})


def _least(count: int, fits: Callable[[int], bool]) -> int:
    return next((lanes for lanes in _divisors(count) if fits(lanes)), count)


def _no_products(name: str) -> InvalidValueError:
    return InvalidValueError(f"`unroll` names layer '{name}', and the network has no products")
