"""Integer networks whose convolutions run by tiles: the same results, bit for bit."""

__all__ = ["WinogradProduct", "apply"]

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError
from tetrit.hls.integer import IntegerGraph, Product, Window
from tetrit.hls.integer.base import Tensors
from tetrit.hls.winograd.choice import Choice
from tetrit.hls.winograd.execute import conv2d_exact
from tetrit.hls.winograd.transform import Transform
from tetrit.hls.winograd.widths import widths

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class WinogradProduct(Product):
    """A convolution that is computed by tiles; everything else is as of `tetrit.hls.integer.Product`.

    Attributes
    ----------
    vertical, horizontal : Transform
        Along height and width.
    """

    vertical: Transform
    horizontal: Transform

    def _validate(self) -> None:
        super()._validate()
        window = self.window
        if window is None or window.stride != (1, 1) or window.dilation != (1, 1):
            raise InvalidValueError("`window` must be there, with a stride and a dilation of 1")
        if (self.vertical.r, self.horizontal.r) != window.kernel:
            raise InvalidValueError(
                f"`vertical` and `horizontal` must be for kernels of {window.kernel}, got {self.vertical.r} and "
                f"{self.horizontal.r} taps"
            )

    def check(self, tensors: Tensors) -> None:  # noqa: D102
        super().check(tensors)
        x = tensors[self.input]
        assert self.window is not None
        weight = (int(self.integers.min()), int(self.integers.max()))
        channels = self.window.channels // self.window.groups
        needed = widths(self.vertical, self.horizontal, act=(x.low, x.high), weight=weight, channels=channels)
        if max(needed.output_bits, needed.acc_bits) > 63:
            raise InvalidValueError(
                f"sums by tiles need {max(needed.output_bits, needed.acc_bits)} bits, 63 can be had"
            )

    def _convolve(self, x: npt.NDArray[Any], weight: npt.NDArray[Any], window: Window) -> Ints:
        rows, columns = window.kernel
        own = window.channels // window.groups
        taps = self.integers.reshape(window.groups, rows, columns, own, -1).transpose(0, 4, 3, 1, 2)
        sums = conv2d_exact(
            x.astype(np.int64).reshape(len(x), *window.in_shape).transpose(0, 3, 1, 2),
            taps.reshape(-1, own, rows, columns),
            self.vertical,
            self.horizontal,
            padding=window.padding,
            groups=window.groups,
        )
        return np.ascontiguousarray(sums.transpose(0, 2, 3, 1))


def apply(graph: IntegerGraph, decide: Callable[[Product, Window], Choice]) -> tuple[IntegerGraph, dict[str, Choice]]:
    """Return an integer network with convolutions by tiles where a choice says so, and all choices.

    Contract: the results are those of `graph`, bit for bit.

    Parameters
    ----------
    graph : IntegerGraph
    decide : callable
        Called with every convolution and its window; `choose` for its formats and a machine, for example.

    Returns
    -------
    IntegerGraph, dict of str to Choice
        By the names of the nodes.
    """
    nodes: list[Any] = []
    choices: dict[str, Choice] = {}
    for node in graph.nodes:
        if type(node) is not Product or node.window is None:
            nodes.append(node)
            continue
        choice = decide(node, node.window)
        choices[node.name] = choice
        if choice.schemes is None:
            nodes.append(node)
            continue
        values = {field.name: getattr(node, field.name) for field in fields(node)}
        nodes.append(WinogradProduct(**values, vertical=choice.schemes[0], horizontal=choice.schemes[1]))
    return replace(graph, nodes=tuple(nodes)), choices
