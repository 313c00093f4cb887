"""Patterns of processes: the authority for when each kind of loop reads and writes, step by step."""

__all__ = ["concatenate", "narrow", "pool", "product", "slide", "through", "widen"]

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tetrit.hls.cpp.geometry import Map, ProductSize, ceil_div
from tetrit.hls.cpp.processes import Pattern, Patterns

Ints = npt.NDArray[np.int64]


def through(steps: int, n_in: int, n_out: int) -> Callable[[], Patterns]:
    """Return: one beat of each stream in each step."""
    return lambda: ([_every(steps)] * n_in, [_every(steps)] * n_out)


def product(size: ProductSize, tile_k: int, tile_n: int) -> Callable[[], Patterns]:
    """Return: inputs in the steps of the first output tile, an output after all inputs."""

    def made() -> Patterns:
        steps_k, steps_n = ceil_div(size.k, tile_k), ceil_div(size.n, tile_n)
        first = np.arange(size.vectors * size.groups, dtype=np.int64)[:, None] * (steps_k * steps_n)
        read = (first + np.arange(steps_k)).reshape(-1)
        written = (first + np.arange(1, steps_n + 1) * steps_k - 1).reshape(-1)
        return [_at(read)], [_at(written)]

    return made


def slide(found: Map, lanes_in: int, lanes_out: int) -> Callable[[], Patterns]:
    """Return: beats of a pixel one after the other in its step, and so those of a window."""

    def made() -> Patterns:
        pixels = np.arange(found.pixels, dtype=np.int64).reshape(found.rows, found.columns)
        inner = pixels[found.top : found.top + found.height, found.left : found.left + found.width].reshape(-1)
        down, right = found.reach
        last = pixels[down - 1 :: found.stride_y, right - 1 :: found.stride_x].reshape(-1)
        return (
            [_burst(inner, ceil_div(found.channels, lanes_in))],
            [_burst(last, found.groups * ceil_div(found.k, lanes_out))],
        )

    return made


def pool(positions: int, places: int, beats: int) -> Callable[[], Patterns]:
    """Return: all places of a window in, the last one's steps out."""

    def made() -> Patterns:
        steps = np.arange(positions * places * beats, dtype=np.int64)
        return [_at(steps)], [_at(steps.reshape(positions, places, beats)[:, -1].reshape(-1))]

    return made


def narrow(groups: int, count: int, wide: int, lanes: int) -> Callable[[], Patterns]:
    """Return: a wide beat in where one begins."""

    def made() -> Patterns:
        beats = ceil_div(count, lanes)
        steps = np.arange(groups * beats, dtype=np.int64)
        return [_at(steps[steps % beats % (wide // lanes) == 0])], [_at(steps)]

    return made


def widen(groups: int, count: int, lanes: int, wide: int) -> Callable[[], Patterns]:
    """Return: a wide beat out where one is full, or its group ends."""

    def made() -> Patterns:
        beats, ratio = ceil_div(count, lanes), wide // lanes
        steps = np.arange(groups * beats, dtype=np.int64)
        beat = steps % beats
        return [_at(steps)], [_at(steps[(beat % ratio == ratio - 1) | (beat == beats - 1)])]

    return made


def concatenate(groups: int, first: int, second: int) -> Callable[[], Patterns]:
    """Return: the beats of one stream, then those of the other, in each group."""

    def made() -> Patterns:
        steps = np.arange(groups * (first + second), dtype=np.int64)
        of_first = steps % (first + second) < first
        return [_at(steps[of_first]), _at(steps[~of_first])], [_at(steps)]

    return made


def _every(count: int) -> Pattern:
    """One beat in each step."""
    return _at(np.arange(count, dtype=np.int64))


def _at(step: Ints) -> Pattern:
    """Beats at the first cycle of the given steps."""
    return Pattern(step=step, offset=np.zeros(len(step), dtype=np.int64))


def _burst(steps: Ints, beats: int) -> Pattern:
    return Pattern(step=np.repeat(steps, beats), offset=np.tile(np.arange(beats, dtype=np.int64), len(steps)))
