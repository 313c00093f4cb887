"""The types that carry a network to a machine: trained layers, workloads, mappings and compiled programs."""

__all__ = ["CompiledLayer", "Mapping", "Program", "QuantizedLinear", "Workload"]

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar, Machine, ShiftArray

LoopOrder = Literal["mnk", "mkn"]
LOOP_ORDERS: tuple[LoopOrder, ...] = ("mnk", "mkn")


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One matrix product (m, k) x (k, n); a fully connected layer over a batch of m vectors, or a lowered convolution.

    Attributes
    ----------
    m, k, n : int
        Number of activation vectors, length of each, number of outputs.
    """

    m: int
    k: int
    n: int

    def __post_init__(self) -> None:
        for name in ("m", "k", "n"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name)))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the product, m·k·n."""
        return self.m * self.k * self.n


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """How a workload is cut into tiles, and in which order the tiles run.

    Attributes
    ----------
    tile_m, tile_k, tile_n : int
        Size of a tile. On a weight-stationary array tile_k <= rows and tile_n <= cols; on an output-stationary one
        tile_m <= rows and tile_n <= cols.
    order : {"mnk", "mkn"}
        Loop nest over the tiles, outermost first. ``mnk`` keeps the partial sums of one (m, n) tile in the accumulator
        memory, ``mkn`` those of all n tiles of an m tile.
    """

    tile_m: int
    tile_k: int
    tile_n: int
    order: LoopOrder = "mnk"

    def __post_init__(self) -> None:
        for name in ("tile_m", "tile_k", "tile_n"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name)))
        checks.choice("order", self.order, LOOP_ORDERS)


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantizedLinear:
    """A trained fully connected layer, quantised: what training hands to the compiler.

    The real output is ``in_scale * x @ (decode(weight) * weight_scale) + bias``, then ReLU if asked, then rounded to
    integers of `out_format` in units of `out_scale`.

    Attributes
    ----------
    name : str
        Unique within the network.
    weight : ndarray of uint8, shape (n_in, n_out)
        Weight codes of `weight_format`.
    weight_format : str
        A scalar format of `tetrit.formats`.
    weight_scale : ndarray of float64, shape (n_out,)
        Positive; real weight = scale x decoded value.
    bias : ndarray of float64, shape (n_out,)
        In real units.
    in_format, out_format : str
        Integer formats of the activations before and after.
    in_scale, out_scale : float
        Real value of one activation unit.
    relu : bool
        Whether negative outputs become zero.
    """

    name: str
    weight: npt.NDArray[np.uint8]
    weight_format: str
    weight_scale: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    in_format: str
    in_scale: float
    out_format: str
    out_scale: float
    relu: bool

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.weight.size == 0:
            raise InvalidValueError(f"`weight` of layer '{self.name}' must be a matrix, got shape {self.weight.shape}")
        for field in ("weight_scale", "bias"):
            array = getattr(self, field)
            if array.shape != (self.weight.shape[1],):
                raise InvalidValueError(
                    f"`{field}` of layer '{self.name}' must have shape ({self.weight.shape[1]},), got {array.shape}"
                )
            checks.finite(f"{field}` of layer `{self.name}", array)
        if (self.weight >= 2 ** formats.get(self.weight_format).bits).any():
            raise InvalidValueError(f"`weight` of layer '{self.name}' has codes beyond those of {self.weight_format}")
        if not (self.weight_scale > 0).all():
            raise InvalidValueError(f"`weight_scale` of layer '{self.name}' must be positive")
        for field in ("in_scale", "out_scale"):
            checks.real(field, getattr(self, field), minimum=0.0, exclusive=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledLayer:
    """A layer in integers, for a machine.

    Attributes
    ----------
    name : str
        As in the network.
    weight : ndarray of uint8, shape (k, n)
        Weight codes.
    bias : ndarray of int64, shape (n,)
        In units of the accumulator, which are those of the exact integer product.
    multiplier, shift : ndarray of int64, shape (n,)
        Dyadic requantisation per output channel, see `tetrit.sim.requantize`.
    relu : bool
        Whether negative results are clipped to zero.
    out_format : str
        Integer format of the outputs.
    mapping : Mapping or None
        Tiles and their order on a digital array; None on a crossbar, where the weights stay.
    """

    name: str
    weight: npt.NDArray[np.uint8]
    bias: npt.NDArray[np.int64]
    multiplier: npt.NDArray[np.int64]
    shift: npt.NDArray[np.int64]
    relu: bool
    out_format: str
    mapping: Mapping | None

    @property
    def tiling(self) -> Mapping:
        """The mapping, for what needs one; InvalidValueError where there is none."""
        if self.mapping is None:
            raise InvalidValueError(f"layer '{self.name}' has no mapping onto a digital array")
        return self.mapping


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """Layers compiled for one machine, run in order.

    Attributes
    ----------
    machine : ShiftArray or Crossbar
        The machine that the layers were compiled for.
    layers : tuple of CompiledLayer
        In order of execution.
    batch : int
        Number of activation vectors that the mappings were made for.
    """

    machine: Machine
    layers: tuple[CompiledLayer, ...]
    batch: int

    @property
    def shift_array(self) -> ShiftArray:
        """The machine, for what only a shift array can do; any other is an InvalidValueError."""
        if not isinstance(self.machine, ShiftArray):
            raise InvalidValueError(
                f"a program for a ShiftArray is needed, got one for a {type(self.machine).__name__}"
            )
        return self.machine

    @property
    def crossbar(self) -> Crossbar:
        """The machine, for what only a crossbar can do; any other is an InvalidValueError."""
        if not isinstance(self.machine, Crossbar):
            raise InvalidValueError(f"a program for a Crossbar is needed, got one for a {type(self.machine).__name__}")
        return self.machine
