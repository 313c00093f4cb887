"""The chain on the CPU: compiled loops around batched products, equal to `product` but for rounding.

That is float32's, and for the variances of 1/f noise that of bfloat16: its standard deviation errs by 0.2 % at most.
Memory is taken from a pool, since what the system gives anew costs as much time as a product.
"""

__all__ = ["Drawn", "drawn", "fits", "multiply", "packed"]

import math
import threading
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tetrit import noise
from tetrit.train.noise import _kernels
from tetrit.train.noise.geometry import Geometry
from tetrit.train.noise.panels import Panel, Tables
from tetrit.train.noise.product import Chip, Ranges, factors, floor, steps
from tetrit.train.noise.refreshing import Converters, Wires

Singles = npt.NDArray[np.float32]

_NONE = np.empty((0, 0), np.float32)
_NO_BITS = np.empty((0, 0), np.uint16)


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """Columns ready for `multiply`.

    Attributes
    ----------
    weights : Tensor of float32, shape (n_columns, n_in)
        Conductances.
    flicker : Tensor of bfloat16, shape (n_columns, n_in), or None
        Variances of 1/f noise.
    """

    weights: Tensor
    flicker: Tensor | None

    def of_part(self, geometry: Geometry, i: int) -> Tensor:
        """Return the conductances of a part of the inputs, shape (n_columns, n_inputs)."""
        return self.weights[:, geometry.parts[i]]

    def give_back(self) -> None:
        """Let the memory be used again; the caller has no more use for the columns."""
        _POOL.give_back(self.weights)
        if self.flicker is not None:
            _POOL.give_back(self.flicker)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tables:
    """Figures of converters by input digit, part and column, as `_kernels.convert` takes them."""

    floor: Singles
    gain: Singles
    offset: Singles
    factor: Singles


def fits(geometry: Geometry, converters: Converters) -> bool:
    """Return whether the compiled chain can do it all."""
    even = converters.thresholds is None and all(table is None for table in converters.inputs)
    return even and geometry.n_references == 0 and not geometry.machine.cell.shot


class _Pool:
    """Memory to use again: what the system gives anew costs as much time as a product.

    Parameters
    ----------
    most : int
        Bytes to keep; when there would be more, all are let go.
    """

    def __init__(self, most: int) -> None:
        self.most, self.kept = most, 0
        self._lock = threading.Lock()
        self._free: dict[tuple[torch.dtype, int], list[Tensor]] = {}

    def take(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return memory of a shape, with anything in it."""
        with self._lock:
            free = self._free.get((dtype, math.prod(shape)))
            if free:
                memory = free.pop()
                self.kept -= memory.nbytes
                return memory.view(shape)
        return torch.empty(shape, dtype=dtype)

    def give_back(self, memory: Tensor) -> None:
        """Let memory be used again; the caller has no more use for it."""
        size = memory.nbytes
        with self._lock:
            if self.kept + size > self.most:
                self._free, self.kept = {}, 0
            if size <= self.most:
                self._free.setdefault((memory.dtype, memory.numel()), []).append(memory)
                self.kept += size


_POOL = _Pool(1 << 26)
"""64 MiB at most."""


def _bits(x: Tensor | None) -> npt.NDArray[np.uint16]:
    """Return the bits of bfloat16 numbers; nothing of none."""
    return _NO_BITS if x is None else x.view(torch.uint16).numpy()


@cache
def _fast_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16 by itself; elsewhere float32 is faster."""
    from llvmlite import binding  # type: ignore[import-untyped]

    features = binding.get_host_cpu_features()
    return bool(features.get("avx512bf16") or features.get("amx-bf16"))


def drawn(
    geometry: Geometry, tables: Tables, values: Tensor, top: int, wires: Wires | None, key: int, *, flicker: bool
) -> tuple[Drawn, Tensor]:
    """Draw columns as `panels.by_statistics` does; their normals are those of ``noise.key(key, group)``.

    Returns
    -------
    Drawn
    Tensor, shape (n_out,)
        What an integer of an output's weights counts, of which the largest is `top`.
    """
    n = geometry.n_out
    shape = geometry.n_columns, geometry.n_in
    found = Drawn(weights=_POOL.take(*shape), flicker=_POOL.take(*shape, dtype=torch.bfloat16) if flicker else None)
    weights, quiet = found.weights.numpy(), _bits(found.flicker)
    scales = torch.empty(n)
    means, sigmas, flickers = (table.numpy() for table in tables.net)
    base = np.float32(0.0 if geometry.paired else tables.base)
    for g in range(geometry.groups):
        _kernels.draw(
            values.numpy(),
            np.float32(top),
            scales.numpy(),
            tables.low,
            means[g],
            base,
            sigmas[g],
            flickers[g],
            _NONE if wires is None else wires.share[0][g].numpy(),
            _NONE if wires is None else wires.rest[0][g].numpy(),
            np.uint64(noise.key(key, g)),
            weights[g * n : (g + 1) * n],
            quiet[g * n : (g + 1) * n],
        )
    return found, scales


def packed(panel: Panel) -> Drawn:
    """Lay out columns that were drawn otherwise."""
    flicker = None if panel.flicker is None else panel.flicker.to(torch.bfloat16).contiguous()
    return Drawn(weights=panel.weights.contiguous(), flicker=flicker)


def multiply(
    geometry: Geometry,
    chip: Chip,
    x: Tensor,
    *,
    ranges: Ranges,
    key: int,
    scale: Tensor,
    bias: Tensor | None,
) -> Tensor:
    """Multiply a batch, and turn integer results into those of the layer.

    Parameters
    ----------
    geometry, ranges
        As in `product`.
    chip : Chip
        Its panel is a `Drawn`.
    x : Tensor of float32, shape (n, n_in)
        Integers of the activation format.
    key : int
        Of read noise.
    scale : Tensor, shape (n_out,)
        What an integer counts.
    bias : Tensor, shape (n_out,), or None
    """
    columns: Drawn = chip.panel
    n, parts = len(geometry.layout.digit_weights) * len(x), len(geometry.parts)
    inputs, currents = _POOL.take(n, geometry.n_in), _POOL.take(parts, n, geometry.n_columns)
    squares = variances = None
    if columns.flicker is not None:
        squares = _POOL.take(n, geometry.n_in, dtype=torch.bfloat16)
        variances = _POOL.take(parts, n, geometry.n_columns, dtype=torch.bfloat16)
    _kernels.split(x.contiguous().numpy(), geometry.digit_widths, inputs.numpy(), _bits(squares))
    _products(geometry, inputs, columns.weights, currents)
    if squares is not None and variances is not None and columns.flicker is not None:
        if _fast_bfloat16():
            _products(geometry, squares, columns.flicker, variances)
        else:
            exact = _POOL.take(parts, n, geometry.n_columns)
            _products(geometry, squares.float(), columns.flicker.float(), exact)
            variances.copy_(exact)
            _POOL.give_back(exact)
    tables = _tables(geometry, chip, ranges)
    out = torch.empty(len(x), geometry.n_out)
    low, high = (0, 0) if geometry.codes is None else geometry.codes
    _kernels.convert(
        currents.numpy(),
        np.empty((0, 0, 0), np.uint16) if variances is None else _bits(variances),
        np.float32(chip.scale),
        tables.floor,
        np.uint64(key),
        tables.gain,
        tables.offset,
        np.float32(low),
        np.float32(high),
        geometry.codes is not None,
        tables.factor,
        scale.numpy(),
        np.zeros(geometry.n_out, np.float32) if bias is None else bias.contiguous().numpy(),
        out.numpy(),
    )
    for memory in (inputs, currents, squares, variances):
        if memory is not None:
            _POOL.give_back(memory)
    return out


def _products(geometry: Geometry, given: Tensor, weights: Tensor, out: Tensor) -> None:
    """Multiply the parts of inputs, shape (n, n_in), and columns, (n_columns, n_in), each with its own."""
    rows, n_in = geometry.machine.rows, geometry.n_in
    whole = n_in // rows
    if whole:
        a, b = (
            matrix.as_strided((whole, matrix.shape[0], rows), (rows, n_in, 1), matrix.storage_offset())
            for matrix in (given, weights)
        )
        torch.bmm(a, b.transpose(1, 2), out=out[:whole])
    if n_in % rows:
        torch.mm(given[:, whole * rows :], weights[:, whole * rows :].T, out=out[whole])


def _tables(geometry: Geometry, chip: Chip, ranges: Ranges) -> _Tables:
    """Return the tables of a chip's converters, made anew when their ranges have changed."""
    kept, now = chip.converters.kept, (None if ranges is None else (ranges.data_ptr(), ranges._version))
    if "tables" not in kept or kept["now"] != now:
        kept.update(now=now, tables=_made(geometry, chip, ranges))
    found: _Tables = kept["tables"]
    return found


def _made(geometry: Geometry, chip: Chip, ranges: Ranges) -> _Tables:
    device = torch.device("cpu")
    shape = len(geometry.layout.digit_weights), len(geometry.parts), geometry.n_columns
    gain, factor = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    least: Singles | None = None
    for digit, weight in enumerate(geometry.layout.digit_weights):
        step = None if geometry.codes is None else steps(geometry, ranges, digit, device)
        for i in range(shape[1]):
            factor[digit, i] = factors(geometry, chip, i, weight, step).numpy()
            if step is not None:
                gain[digit, i] = (chip.converters.gain[i] / step[min(i, len(step) - 1)]).numpy()
            found = floor(geometry, chip, i, geometry.step_volts(digit), step)
            if found is not None:
                least = np.zeros(shape, np.float32) if least is None else least
                least[digit, i] = found.numpy()
    return _Tables(
        floor=np.zeros((*shape[:2], 0), np.float32) if least is None else least,
        gain=gain,
        offset=chip.converters.offset.numpy(),
        factor=factor,
    )
