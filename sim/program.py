"""The types that carry a network to a machine: trained layers, workloads, mappings and compiled programs."""

__all__ = ["CompiledLayer", "CompiledSimdLayer", "Mapping", "Program", "QuantizedLinear", "SimdProgram", "Workload"]

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar, ShiftArray, SimdEngine

if TYPE_CHECKING:
    import os

    from tetrit.hls.cpp import CppOptions, CppProject

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
    `out_format` in units of `out_scale`.

    Attributes
    ----------
    name : str
        Unique within the network.
    weight : ndarray of uint8 or uint16, shape (n_in, n_out)
        Weight codes of `weight_format`.
    weight_format : str
        A scalar format of `tetrit.formats`.
    weight_scale : ndarray of float64, shape (n_out,)
        Positive; real weight = scale x decoded value.
    bias : ndarray of float64, shape (n_out,)
        In real units.
    in_format, out_format : str
        Formats of the activations before and after: integers for a shift array and a crossbar, those of
        `tetrit.hardware.SIMD_FORMATS` for a SIMD engine.
    in_scale, out_scale : float
        Real value of one activation unit.
    relu : bool
        Whether negative outputs become zero.
    """

    name: str
    weight: npt.NDArray[Any]
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

    machine: ShiftArray | Crossbar
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

    def to_hls_cpp(
        self, folder: "str | os.PathLike[str]", *, inputs: Any = None, options: "CppOptions | None" = None
    ) -> "CppProject":
        """Write a shift array's program as C++ for high-level synthesis; see `tetrit.hls.cpp.to_hls_cpp`."""
        from tetrit.hls.cpp import to_hls_cpp

        return to_hls_cpp(self, folder, inputs=inputs, options=options)


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledSimdLayer:
    """A layer in codes, for a SIMD engine: ``code = encode(f(2**shift * (sum_k x[k] w[k, n] + bias[n])))``.

    All scales are powers of two, so that they are nothing but `shift`. A tile has one shift: columns that have the same
    one run together, as one product of their own.

    Attributes
    ----------
    name : str
        As in the network.
    weight : ndarray of uint8 or uint16, shape (k, n)
        Weight codes of `weight_format`.
    act_format, weight_format, out_format : str
        Formats of inputs, weights and outputs, in which order they name the mode of the array.
    act_scale, out_scale : float
        Real value of an input of value 1, and of an output of value 1; powers of two.
    bias : ndarray of object, shape (n,)
        Python's integers, in units of the quire.
    shift : ndarray of int64, shape (n,)
        Power of two that each column's sums are scaled by.
    relu : bool
        Whether negative sums become zero.
    """

    name: str
    weight: npt.NDArray[Any]
    act_format: str
    weight_format: str
    out_format: str
    act_scale: float
    out_scale: float
    bias: npt.NDArray[np.object_]
    shift: npt.NDArray[np.int64]
    relu: bool

    @property
    def pair(self) -> tuple[str, str]:
        """Formats of inputs and weights."""
        return self.act_format, self.weight_format

    def groups(self) -> list[tuple[int, npt.NDArray[np.intp]]]:
        """Return the products that the layer takes: a shift and its columns, ascending."""
        return [(int(shift), np.flatnonzero(self.shift == shift)) for shift in np.unique(self.shift)]


@dataclass(frozen=True, kw_only=True, eq=False)
class SimdProgram:
    """Layers compiled for a SIMD engine, run in order; inputs are encoded before the first, outputs are codes.

    Attributes
    ----------
    machine : SimdEngine
        The machine that the layers were compiled for.
    layers : tuple of CompiledSimdLayer
        In order of execution.
    """

    machine: SimdEngine
    layers: tuple[CompiledSimdLayer, ...]

    def encode(self, x: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return the codes of real inputs, shape (batch, n_in), that the first layer takes."""
        first = self.layers[0]
        return formats.get(first.act_format).encode(np.asarray(x, dtype=np.float64) / first.act_scale)

    def decode(self, codes: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the real values of the last layer's codes."""
        last = self.layers[-1]
        values: npt.NDArray[np.float64] = formats.get(last.out_format).decode(codes) * last.out_scale
        return values

    def to_hls_cpp(
        self, folder: "str | os.PathLike[str]", *, inputs: Any = None, options: "CppOptions | None" = None
    ) -> "CppProject":
        """Write the program as C++ for high-level synthesis; see `tetrit.hls.cpp.to_hls_cpp`."""
        from tetrit.hls.cpp import to_hls_cpp

        return to_hls_cpp(self, folder, inputs=inputs, options=options)
