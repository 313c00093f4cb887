"""Nodes of integer networks: the authority for what each computes, exactly, and what hardware must hold for it."""

__all__ = ["AveragePool", "Concat", "IntegerNode", "Lookup", "MaxPool", "Product", "Reshape", "Sum"]

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.hls.integer._shared import (
    boolean,
    check_map,
    check_pool,
    check_shape,
    check_stored,
    exact_dtype,
    frozen_copy,
    gathered,
    int_vector,
    pooled,
    tensor_names,
)
from tetrit.hls.integer.base import IntegerNode, Ints, OneInput, Tensors
from tetrit.hls.integer.window import Window
from tetrit.sim.requantize import requantize


@dataclass(frozen=True, kw_only=True, eq=False)
class Product(OneInput):
    """A fully connected layer or a convolution: ``out = requantize(x @ weight + bias)``, then ReLU.

    The sums are exact. Their unit is the product of the input's scale, the weight's and ``2**lsb_exponent`` of the
    weight format; `multiplier` and `shift` take them to the output's scale, one pair for each output channel, see
    `tetrit.sim.requantize.requantize`.

    Attributes
    ----------
    input : str
        Without `window` (..., k): every vector along the last axis is multiplied. Else a feature map.
    weight : ndarray of uint8 or uint16, shape (k, n) or (groups, k, n / groups)
        Codes of `weight_format`; rows in the order of `Window.indices`.
    weight_format : str
        A scalar format with exact integers: ``szt``, ``pot*``, ``posit4_1``, ``fp4_e2m1``, ``int2`` .. ``int16`` ...
    bias : ndarray of int64, shape (n,)
        In accumulator units. Output n belongs to group ``n // (n / groups)``.
    multiplier, shift : ndarray of int64, shape (n,), or None
        None where the output is the accumulator itself: then the format of the output must hold it.
    relu : bool
        Whether negative results become 0.
    window : Window or None
        Of a convolution.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.hls.integer import IntegerGraph, IntegerTensor, Product
    >>> one = np.ones(2, np.int64)
    >>> layer = Product(
    ...     name="fc", input="x", output="y", weight=np.array([[1, 3], [2, 1]], np.uint8), weight_format="szt",
    ...     bias=np.array([0, 9]), multiplier=one, shift=one, relu=False,
    ... )
    >>> tensors = [IntegerTensor(name=n, shape=(2,), format="int8", scale=1.0) for n in "xy"]
    >>> IntegerGraph(name="net", inputs=("x",), outputs=("y",), nodes=(layer,), tensors=tensors).run([[5, 7]])
    {'y': array([[3, 6]])}
    """

    weight: npt.NDArray[Any]
    weight_format: str
    bias: Ints
    multiplier: Ints | None
    shift: Ints | None
    relu: bool
    window: Window | None = None

    def _validate(self) -> None:
        weight = np.asarray(self.weight)
        if weight.dtype not in (np.uint8, np.uint16):
            raise TypeError(f"`weight` must be codes of uint8 or uint16, got {weight.dtype}")
        if weight.size == 0 or weight.ndim not in (2, 3):
            raise InvalidValueError(
                f"`weight` must have shape (k, n) or (groups, k, n / groups), got shape {weight.shape}"
            )
        known = formats.get(self.weight_format)
        if not isinstance(known, formats.RealFormat):
            raise InvalidValueError(f"`weight_format` must have exact integers, got {self.weight_format}")
        bad = weight >= len(known.values)
        if not bad.any():
            bad = ~np.isfinite(known.values)[weight]
        if bad.any():
            where = tuple(int(i) for i in np.argwhere(bad)[0])
            raise InvalidValueError(f"weight code {int(weight[where])} at {where} is no number of {self.weight_format}")
        known.integers  # noqa: B018 - raises where there are none that fit
        object.__setattr__(self, "weight", frozen_copy(weight))
        wide = [name for name in ("multiplier", "shift") if getattr(self, name) is None]
        if len(wide) == 1:
            raise InvalidValueError(f"`multiplier` and `shift` must both be given, or both be None; {wide[0]} is None")
        for name, minimum, maximum in (("bias", -(2**62), 2**62), ("multiplier", 0, 2**31 - 1), ("shift", 1, 2**7)):
            if name not in wide and not (wide and name != "bias"):
                array = int_vector(name, getattr(self, name), self.n, minimum, maximum)
                object.__setattr__(self, name, array)
        boolean("relu", self.relu)
        if self.window is not None and not isinstance(self.window, Window):
            raise TypeError(f"`window` must be a Window or None, got {self.window!r}")
        if self.groups > 1 and self.window is None:
            raise InvalidValueError(f"`weight` with {self.groups} groups needs a `window`")
        if self.window is not None and (self.window.groups, self.window.k) != (self.groups, self.k):
            raise InvalidValueError(
                f"`window` has {self.window.groups} groups with k = {self.window.k}, `weight` has {self.groups} "
                f"with {self.k}"
            )

    @property
    def groups(self) -> int:
        """Groups of the convolution, 1 for all else."""
        return int(self.weight.shape[0]) if self.weight.ndim == 3 else 1

    @property
    def k(self) -> int:
        """Terms of a sum."""
        return int(self.weight.shape[-2])

    @property
    def n(self) -> int:
        """Outputs of all groups."""
        return self.groups * int(self.weight.shape[-1])

    @cached_property
    def integers(self) -> Ints:
        """Integers of the weights, int64 (groups, k, n / groups): in units of ``2**lsb_exponent`` of their format."""
        known = formats.get(self.weight_format)
        integers: Ints = known.integers[self.weight.reshape(self.groups, self.k, -1)]
        return integers

    @cached_property
    def _magnitudes(self) -> npt.NDArray[Any]:
        """Sum of the weights' magnitudes for each output: int64, or Python's integers where that may overflow."""
        sizes = np.abs(self.integers)
        if float(sizes.max()) * self.k >= 2.0**62:
            sizes = sizes.astype(object)
        return np.asarray(sizes.sum(axis=1).reshape(-1))

    def reach(self, tensors: Tensors) -> int:  # noqa: D102
        largest = -tensors[self.input].low
        return max(int(m) * largest + abs(int(b)) for m, b in zip(self._magnitudes, self.bias, strict=True))

    def check(self, tensors: Tensors) -> None:  # noqa: D102
        x, out = tensors[self.input], tensors[self.output]
        if self.window is None:
            if not x.shape or x.shape[-1] != self.k:
                raise InvalidValueError(f"'{x.name}' must have shape (..., {self.k}), got {x.shape}")
            shape = (*x.shape[:-1], self.n)
        else:
            check_map(self.window, x)
            shape = (*self.window.out_shape_hw, self.n)
        check_shape(out, shape)
        if self.multiplier is not None:
            check_stored(out)
        elif (reach := self.reach(tensors)) > out.high:
            raise InvalidValueError(f"'{out.name}' of {out.format} cannot hold sums that can reach {reach}")

    def compute(self, inputs: Sequence[Ints], tensors: Tensors) -> Ints:  # noqa: D102
        kind = exact_dtype(self.reach(tensors))
        weight = self.integers.astype(kind)
        if self.window is None:
            acc = (inputs[0].astype(kind) @ weight[0]).astype(np.int64)
        else:
            acc = self._convolve(inputs[0].astype(kind), weight, self.window)
        acc += self.bias
        out = tensors[self.output]
        if self.multiplier is None or self.shift is None:
            return np.asarray(np.maximum(acc, 0)) if self.relu else acc
        return requantize(acc, self.multiplier, self.shift, out_format=out.format, relu=self.relu)

    def _convolve(self, x: npt.NDArray[Any], weight: npt.NDArray[Any], window: Window) -> Ints:
        table = window.indices()
        sums = np.empty((len(x), window.positions, self.n), dtype=np.int64)
        for part, under in gathered(x, table, 0):
            product = under @ weight  # (batch, groups, positions, n / groups)
            sums[part] = product.transpose(0, 2, 1, 3).reshape(len(product), window.positions, self.n)
        return sums.reshape(len(x), *window.out_shape_hw, self.n)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sum(IntegerNode):
    """Branches that meet: ``out = clip(floor((sum_i m_i x_i + 2**(shift - 1)) / 2**shift))``, then ReLU.

    Every branch is brought to the output's scale by its own multiplier, the sum is exact, and it is rounded once.

    Attributes
    ----------
    inputs : tuple of str
        Two or more, of the output's shape; a tensor may occur more than once.
    multipliers : tuple of int
        One an input; negative for what is subtracted.
    shift : int
        At least 1.
    relu : bool
        Whether negative results become 0.
    """

    inputs: tuple[str, ...]
    multipliers: tuple[int, ...]
    shift: int
    relu: bool

    def _validate(self) -> None:
        object.__setattr__(self, "inputs", tensor_names(self.inputs))
        if not isinstance(self.multipliers, tuple | list | np.ndarray) or len(self.multipliers) != len(self.inputs):
            raise InvalidValueError(f"`multipliers` must be {len(self.inputs)} integers, got {self.multipliers!r}")
        limit = 2**31 - 1
        found = tuple(checks.integer("multipliers", m, minimum=-limit, maximum=limit) for m in self.multipliers)
        object.__setattr__(self, "multipliers", found)
        object.__setattr__(self, "shift", checks.integer("shift", self.shift, maximum=2**7))
        boolean("relu", self.relu)

    @property
    def sources(self) -> tuple[str, ...]:  # noqa: D102
        return self.inputs

    def reach(self, tensors: Tensors) -> int:  # noqa: D102
        return sum(abs(m) * -tensors[x].low for m, x in zip(self.multipliers, self.inputs, strict=True))

    def check(self, tensors: Tensors) -> None:  # noqa: D102
        self.same(tensors, "shape")
        check_stored(tensors[self.output])

    def compute(self, inputs: Sequence[Ints], tensors: Tensors) -> Ints:  # noqa: D102
        total = sum((m * x for m, x in zip(self.multipliers, inputs, strict=True)), np.zeros((), np.int64))
        return requantize(np.asarray(total), 1, self.shift, out_format=tensors[self.output].format, relu=self.relu)


@dataclass(frozen=True, kw_only=True, eq=False)
class MaxPool(OneInput):
    """The greatest integer under a window, channel by channel; padding never wins.

    Attributes
    ----------
    input : str
        A feature map, of the output's format and scale.
    window : Window
        With 1 group; it always lies over at least one pixel.
    """

    window: Window

    def _validate(self) -> None:
        check_pool(self.window)

    def check(self, tensors: Tensors) -> None:  # noqa: D102
        check_map(self.window, tensors[self.input])
        check_shape(tensors[self.output], (*self.window.out_shape_hw, self.window.channels))
        self.same(tensors, "format", "scale")

    def compute(self, inputs: Sequence[Ints], tensors: Tensors) -> Ints:  # noqa: D102
        return pooled(inputs[0], self.window, tensors[self.input].low, np.max)


@dataclass(frozen=True, kw_only=True, eq=False)
class AveragePool(OneInput):
    """The mean under a window, channel by channel: the exact sum, padding as zeros, then requantised.

    Attributes
    ----------
    input : str
        A feature map.
    window : Window
        With 1 group; over the whole map for a global pool.
    multiplier, shift : int
        Dyadic: ``multiplier / 2**shift`` is about the input's scale over the output's, divided by the kernel's places.
    """

    window: Window
    multiplier: int
    shift: int

    def _validate(self) -> None:
        check_pool(self.window)
        object.__setattr__(self, "multiplier", checks.integer("multiplier", self.multiplier, maximum=2**31 - 1))
        object.__setattr__(self, "shift", checks.integer("shift", self.shift, maximum=2**7))

    def reach(self, tensors: Tensors) -> int:  # noqa: D102
        return self.window.kernel[0] * self.window.kernel[1] * -tensors[self.input].low

    def check(self, tensors: Tensors) -> None:  # noqa: D102
        check_map(self.window, tensors[self.input])
        check_shape(tensors[self.output], (*self.window.out_shape_hw, self.window.channels))
        check_stored(tensors[self.output])

    def compute(self, inputs: Sequence[Ints], tensors: Tensors) -> Ints:  # noqa: D102
        sums = pooled(inputs[0], self.window, 0, np.sum)
        return requantize(sums, self.multiplier, self.shift, out_format=tensors[self.output].format)


@dataclass(frozen=True, kw_only=True, eq=False)
class Concat(IntegerNode):
    """Tensors of one format and scale side by side.

    Attributes
    ----------
    inputs : tuple of str
        Two or more.
    axis : int
        Of their shapes, not counting the batch; may be negative. The channels of feature maps are the last.
    """

    inputs: tuple[str, ...]
    axis: int = -1

    def _validate(self) -> None:
        object.__setattr__(self, "inputs", tensor_names(self.inputs))
        object.__setattr__(self, "axis", checks.integer("axis", self.axis, minimum=-8, maximum=7))

    @property
    def sources(self) -> tuple[str, ...]:  # noqa: D102
        return self.inputs

    def check(self, tensors: Tensors) -> None:  # noqa: D102
        out = tensors[self.output]
        if not -len(out.shape) <= self.axis < len(out.shape):
            raise InvalidValueError(f"`axis` must be one of the {len(out.shape)} of '{out.name}', got {self.axis}")
        axis, total = self.axis % len(out.shape), 0
        for source in self.inputs:
            shape = tensors[source].shape
            if (*shape[:axis], *shape[axis + 1 :]) != (*out.shape[:axis], *out.shape[axis + 1 :]):
                raise InvalidValueError(f"'{source}' of shape {shape} does not fit into '{out.name}' of {out.shape}")
            total += shape[axis]
        if total != out.shape[axis]:
            raise InvalidValueError(f"'{out.name}' has {out.shape[axis]} along axis {axis}, its parts have {total}")
        self.same(tensors, "format", "scale")

    def compute(self, inputs: Sequence[Ints], tensors: Tensors) -> Ints:  # noqa: D102
        axis = self.axis % len(tensors[self.output].shape)
        return np.concatenate(inputs, axis=axis + 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reshape(OneInput):
    """The same integers, in the same order, in another shape.

    Attributes
    ----------
    input : str
        Of the output's size, format and scale.
    """

    def _validate(self) -> None:
        pass

    def check(self, tensors: Tensors) -> None:  # noqa: D102
        self.same(tensors, "size", "format", "scale")

    def compute(self, inputs: Sequence[Ints], tensors: Tensors) -> Ints:  # noqa: D102
        return inputs[0].reshape(len(inputs[0]), *tensors[self.output].shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lookup(OneInput):
    """A function of one integer, by table.

    Attributes
    ----------
    input : str
        Of at most 16 bits.
    table : ndarray of int64, shape (2**bits,)
        The output for each integer of the input's format, the least first.
    """

    table: Ints

    def _validate(self) -> None:
        size = np.asarray(self.table).size
        object.__setattr__(self, "table", int_vector("table", self.table, max(size, 1), -(2**15), 2**15 - 1))

    def check(self, tensors: Tensors) -> None:  # noqa: D102
        x, out = tensors[self.input], tensors[self.output]
        if len(self.table) != 2**x.bits:
            raise InvalidValueError(f"`table` must have {2**x.bits} entries for {x.format}, got {len(self.table)}")
        check_stored(out)
        if self.table.min() < out.low or self.table.max() > out.high:
            raise InvalidValueError(f"`table` must be within {out.low}..{out.high} ({out.format})")
        self.same(tensors, "shape")

    def compute(self, inputs: Sequence[Ints], tensors: Tensors) -> Ints:  # noqa: D102
        return self.table[inputs[0] - tensors[self.input].low]
