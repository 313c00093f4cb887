"""Constants of a float graph: their values, and the integers behind them where the network states those."""

__all__ = ["Constants", "Stated", "integer_range", "quant_range", "quant_rounding", "spread"]

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.hls.graph import Graph, Node
from tetrit.hls.integer.lowering.steps import Floats, UnsupportedError

Stated: TypeAlias = tuple[npt.NDArray[Any], Floats, str]
"""Codes, a scale that broadcasts against them, and their format."""


class Constants:
    """The constant values of a graph, by name.

    Parameters
    ----------
    graph : Graph
    stated : mapping of str to (codes, scale, format)
        Constants whose codes are known from elsewhere; `scale` broadcasts.
    """

    def __init__(self, graph: Graph, stated: Mapping[str, Stated]) -> None:
        self._graph = graph
        self._made: dict[str, npt.NDArray[Any]] = {}
        self._stated = dict(stated)
        self._wide: set[str] = set()
        self._quantized: dict[str, npt.NDArray[np.int64]] = {}

    def get(self, name: str) -> npt.NDArray[Any] | None:
        """Return the content of a value that needs no data, else None."""
        if name in self._made:
            return self._made[name]
        if name in self._graph.constants:
            return self._graph.constants[name]
        return self._graph.known(name) if name else None

    def need(self, node: Node, name: str, what: str) -> npt.NDArray[Any]:
        """Return the content of a value; UnsupportedError if it needs data."""
        found = self.get(name)
        if found is None:
            raise UnsupportedError(f"`{what}` must be a constant")
        return found

    def folds(self, node: Node) -> bool:
        """Return whether a node depends on no input, and then compute it; nodes that quantise are left alone."""
        outputs = [name for name in node.outputs if name]
        if node.op in ("QuantizeLinear", "DequantizeLinear", "Quant", "BipolarQuant", "Trunc"):
            return False
        if all(self.get(name) is not None for name in outputs):
            return True
        inputs = {name: self.get(name) for name in node.inputs if name}
        known = {name: array for name, array in inputs.items() if array is not None}
        if len(known) < len(inputs):
            return False
        alone = Graph(name=node.name, inputs=(), outputs=tuple(outputs), nodes=(node,), constants=known)
        self._made |= alone.run({})
        return True

    def stated(self, name: str) -> Stated | None:
        """Return codes, scale and format of a constant whose network states them."""
        if name in self._wide:
            raise UnsupportedError(f"its weights '{name}' must be integers of at most 16 bits")
        return self._stated.get(name)

    def dequantize(self, node: Node) -> bool:
        """Take a QuantizeLinear, DequantizeLinear, Quant or BipolarQuant of a constant; return whether it is one."""
        content = self.get(node.input(0))
        if content is None and node.input(0) not in self._quantized:
            return False
        out = node.output(0)
        if node.op in ("Quant", "BipolarQuant"):
            assert content is not None
            integers, scale, fmt = self._quant(node, content)
        elif node.op == "QuantizeLinear":
            assert content is not None
            scale, zero = self.scale(node, content)
            low, high, _ = integer_range(self.zero_dtype(node))
            self._quantized[out] = np.clip(np.rint(content / scale) + zero, low, high).astype(np.int64)
            return True
        else:
            codes = self._quantized[node.input(0)] if content is None else np.asarray(content)
            scale, zero = self.scale(node, codes)
            integers = codes.astype(np.int64) - zero.astype(np.int64)
            dtype = codes.dtype.name
            fmt = narrowest(integers, 8 if dtype == "int8" and not zero.any() else 2)
        self._made[out] = integers * scale
        if fmt in formats.names():
            self._stated[out] = formats.get(fmt).encode(integers), np.asarray(scale), fmt
        else:  # a bias
            self._wide.add(out)
        return True

    def _quant(self, node: Node, content: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], Floats, str]:
        scale = np.asarray(self.need(node, node.input(1), "scale"), dtype=np.float64)
        if node.op == "BipolarQuant":
            return np.where(content >= 0, 1, -1).astype(np.int64), scale, "int2"
        zero = np.asarray(self.need(node, node.input(2), "zeropt"), dtype=np.float64)
        low, high = quant_range(node, self)
        rounded = quant_rounding(node)(content / scale + zero)
        integers = (np.clip(rounded, low, high) - zero).astype(np.int64)
        return integers, scale, narrowest(integers, (high - low).bit_length() if low < 0 else 2)

    def scale(self, node: Node, like: npt.NDArray[Any]) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Return scale and zero point of a Q or DQ node, broadcasting against its constant."""
        scale = np.asarray(self.need(node, node.input(1), "scale"), dtype=np.float64)
        zero = np.asarray(0 if not node.input(2) else self.need(node, node.input(2), "zero_point")).astype(np.int64)
        if node.attributes.get("block_size", 0):
            raise UnsupportedError("`block_size` is not supported")
        axis = int(node.attributes.get("axis", 1))
        return spread(scale, axis, like.ndim), spread(zero, axis, like.ndim)

    def zero_dtype(self, node: Node) -> str:
        """Return the integer dtype of a QuantizeLinear: that of its zero point, uint8 without one."""
        if node.input(2):
            return self._graph.values[node.input(2)].dtype
        return self._graph.values[node.output(0)].dtype


def spread(array: npt.NDArray[Any], axis: int, ndim: int) -> npt.NDArray[Any]:
    """Return a scalar or a vector along an axis so that it broadcasts."""
    if array.size == 1:
        return array.reshape(())
    shape = [1] * ndim
    shape[axis] = array.size
    return array.reshape(shape)


def integer_range(dtype: str) -> tuple[int, int, bool]:
    """Return least, greatest, and whether signed, of an integer dtype by name."""
    signed = not dtype.startswith("u")
    bits = int(dtype.removeprefix("u").removeprefix("int"))
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, True) if signed else (0, 2**bits - 1, False)


def narrowest(integers: npt.NDArray[np.int64], least: int) -> str:
    """Return the narrowest two's complement format that holds them, of at least so many bits."""
    low, high = (int(integers.min()), int(integers.max())) if integers.size else (0, 0)
    bits = max((-low - 1).bit_length() if low < 0 else 0, high.bit_length()) + 1
    return f"int{max(bits, least, 2)}"


def quant_range(node: Node, constants: Constants) -> tuple[int, int]:
    """Return least and greatest integer of a QONNX Quant."""
    width = float(np.asarray(constants.need(node, node.input(3), "bitwidth")).reshape(-1)[0])
    if width != int(width) or not 1 <= width <= 16:
        raise UnsupportedError(f"`bitwidth` must be a whole number up to 16, got {width:g}")
    bits, narrow = int(width), int(node.attributes.get("narrow", 0))
    if node.attributes.get("signed", 1):
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow


def quant_rounding(node: Node) -> Any:
    """Return the rounding of a QONNX Quant."""
    mode = str(node.attributes.get("rounding_mode", "ROUND")).upper()
    known = {"ROUND": np.rint, "ROUND_TO_ZERO": np.trunc, "CEIL": np.ceil, "FLOOR": np.floor}
    if mode not in known:
        raise UnsupportedError(f"`rounding_mode` must be one of {', '.join(known)}, got {mode}")
    return known[mode]
