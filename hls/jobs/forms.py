"""Nodes of integer graphs as matrix products: the authority for which ones the co-processor computes, and how."""

__all__ = ["Form", "Weights", "form"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray
from tetrit.hls.integer import AveragePool, IntegerNode, IntegerTensor, Product, Sum, Window

Codes = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Codes of small integers in a weight format, in units of its least significant bit.

    Attributes
    ----------
    codes : mapping of int to int
        Integer -> code; of several codes the least.
    """

    codes: Mapping[int, int]

    @classmethod
    def of(cls, format_name: str) -> "Weights":
        """Return the codes of a format."""
        known = formats.get(format_name)
        assert isinstance(known, formats.RealFormat)
        found: dict[int, int] = {}
        for code, value in enumerate(known.values):
            if np.isfinite(value):
                found.setdefault(int(known.integers[code]), code)
        return cls(codes=found)

    @property
    def zero(self) -> int | None:
        """The code of 0, if there is one."""
        return self.codes.get(0)

    @property
    def moves(self) -> bool:
        """Whether a product can copy: whether 0 and 1 are weights."""
        return 0 in self.codes and 1 in self.codes


@dataclass(frozen=True, kw_only=True, eq=False)
class Form:
    """A node as a product: windows over feature maps, times weights, requantised.

    Attributes
    ----------
    node : str
        Of the graph.
    sources : tuple of str
        The tensors under the window; several ones for a sum, whose channels then count one after the other.
    output : str
        What it gives.
    window : Window or None
        Over each source; None for a product of all of an image.
    weight : ndarray of codes, shape (k, n)
        Rows in the order (source, kernel row, kernel column, channel).
    bias, multiplier, shift : ndarray of int64, shape (n,)
        Parameters.
    relu : bool
        Whether negative results become 0.
    macs : int
        Multiply-accumulates that the node needs for an image.
    """

    node: str
    sources: tuple[str, ...]
    output: str
    window: Window | None
    weight: Codes
    bias: Ints
    multiplier: Ints
    shift: Ints
    relu: bool
    macs: int


def form(node: IntegerNode, tensors: Mapping[str, IntegerTensor], machine: ShiftArray) -> Form | None:
    """Return a node as a product on a machine, or None for one that is left to the host.

    Raises
    ------
    InvalidValueError
        A product that the machine cannot compute; the message names the node, and says what to do.
    """
    codes = Weights.of(machine.weight_format)
    if isinstance(node, Product):
        found: Form | None = _product(node, tensors, machine, codes)
    elif isinstance(node, Sum):
        found = _sum(node, tensors, codes)
    elif isinstance(node, AveragePool):
        found = _pool(node, codes)
    else:
        found = None
    if found is None or isinstance(node, Product):
        return found
    fits = all(tensors[name].format == machine.act_format for name in (*found.sources, found.output))
    small = found.multiplier.max() < 2**machine.multiplier_bits
    small &= found.shift.max() <= machine.acc_bits + machine.multiplier_bits
    return found if fits and small and _sums_fit(found, machine) else None


def _sums_fit(found: Form, machine: ShiftArray) -> bool:
    integers = machine.weights.integers[found.weight]
    reach = np.abs(integers).sum(axis=0).astype(object) * 2 ** (machine.activations.bits - 1) + np.abs(found.bias)
    return bool(reach.max() < 2 ** (machine.acc_bits - 1))


def _product(node: Product, tensors: Mapping[str, IntegerTensor], machine: ShiftArray, codes: Weights) -> Form:
    if node.weight_format != machine.weight_format:
        raise InvalidValueError(
            f"node '{node.name}': the machine takes {machine.weight_format} weights, got {node.weight_format}"
        )
    for name in (node.input, node.output):
        if tensors[name].format != machine.act_format:
            raise InvalidValueError(
                f"node '{node.name}': '{name}' must have the machine's format {machine.act_format}, got "
                f"{tensors[name].format}"
            )
    if node.multiplier is None or node.shift is None:
        raise InvalidValueError(
            f"node '{node.name}': results must be requantised to {machine.act_format}: give `multiplier` and `shift`"
        )
    most = machine.acc_bits + machine.multiplier_bits
    if node.multiplier.max() >= 2**machine.multiplier_bits or node.shift.max() > most:
        raise InvalidValueError(
            f"node '{node.name}': `multiplier` must be below 2**{machine.multiplier_bits} and `shift` at most {most}"
        )
    window, weight = node.window, node.weight
    if node.groups > 1:
        if codes.zero is None:
            raise InvalidValueError(
                f"node '{node.name}': groups need a weight of 0 for the channels of the others, which "
                f"{node.weight_format} lacks"
            )
        assert window is not None
        weight = _ungrouped(weight, window, codes.zero)
    shape = tensors[node.input].shape
    if window is None and len(shape) > 1:  # every vector on its own: a kernel of one pixel
        rows = int(np.prod(shape[:-1]))
        window = Window(in_shape=(1, rows, shape[-1]), kernel=(1, 1))
    found = Form(
        node=node.name,
        sources=(node.input,),
        output=node.output,
        window=window,
        weight=weight.reshape(-1, node.n),
        bias=node.bias,
        multiplier=node.multiplier,
        shift=node.shift,
        relu=node.relu,
        macs=(1 if window is None else window.positions) * node.k * node.n,
    )
    if not _sums_fit(found, machine):
        raise InvalidValueError(
            f"node '{node.name}': its sums can exceed the machine's accumulators; raise `acc_bits` above "
            f"{machine.acc_bits}"
        )
    return found


def _ungrouped(weight: Codes, window: Window, zero: int) -> Codes:
    """Return the weights of groups as one matrix with zeros between the groups."""
    groups, _, n = weight.shape
    (kh, kw), own = window.kernel, window.channels // groups
    dense = np.full((kh * kw, groups, own, groups, n), zero, dtype=weight.dtype)
    for group in range(groups):
        dense[:, group, :, group] = weight[group].reshape(kh * kw, own, n)
    return dense.reshape(kh * kw * window.channels, groups * n)


def _sum(node: Sum, tensors: Mapping[str, IntegerTensor], codes: Weights) -> Form | None:
    """Return a sum as a product with few weights, where its multipliers have a common factor that leaves weights."""
    if codes.zero is None or 0 in node.multipliers:
        return None
    first = abs(node.multipliers[0])
    for value in sorted(abs(value) for value in codes.codes if value):
        factor = first // value
        ratios = [multiplier // factor if factor else 0 for multiplier in node.multipliers]
        exact = all(ratio * factor == given for ratio, given in zip(ratios, node.multipliers, strict=True))
        if factor and exact and all(ratio in codes.codes for ratio in ratios):
            break
    else:
        return None
    shape = tensors[node.output].shape
    channels = shape[-1] if len(shape) > 1 else tensors[node.output].size
    pixels = tensors[node.output].size // channels
    weight = np.full((len(ratios), channels, channels), codes.zero, dtype=np.uint8)
    for place, ratio in enumerate(ratios):
        weight[place][np.diag_indices(channels)] = codes.codes[ratio]
    map_shape = shape if len(shape) == 3 else (1, pixels, channels)
    return Form(
        node=node.name,
        sources=node.inputs,
        output=node.output,
        window=Window(in_shape=map_shape, kernel=(1, 1)),
        weight=weight.reshape(-1, channels),
        bias=np.zeros(channels, np.int64),
        multiplier=np.full(channels, factor, np.int64),
        shift=np.full(channels, node.shift, np.int64),
        relu=node.relu,
        macs=pixels * channels * len(ratios),
    )


def _pool(node: AveragePool, codes: Weights) -> Form | None:
    """Return an average as a product with weights of 1, in units of the format."""
    if not codes.moves:
        return None
    window, channels = node.window, node.window.channels
    places = window.kernel[0] * window.kernel[1]
    one = np.full((channels, channels), codes.codes[0], dtype=np.uint8)
    one[np.diag_indices(channels)] = codes.codes[1]
    return Form(
        node=node.name,
        sources=(node.input,),
        output=node.output,
        window=window,
        weight=np.tile(one, (places, 1)),
        bias=np.zeros(channels, np.int64),
        multiplier=np.full(channels, node.multiplier, np.int64),
        shift=np.full(channels, node.shift, np.int64),
        relu=False,
        macs=window.positions * places * channels,
    )
