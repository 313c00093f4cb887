"""The chain on the CPU: compiled loops around batched products, equal to `product` but for rounding.

That is float32's; for the variances of 1/f noise that of bfloat16: their standard deviation errs by 0.2 % at most; and
for the losses in wires that of 16 bits: at most 1/131,070 of the range of shares and of what is added.
"""

__all__ = ["Drawn", "Law", "drawn", "fits", "multiply", "packed"]

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tetrit.train.noise import tasks
from tetrit.train.noise.geometry import Geometry
from tetrit.train.noise.panels import Panel, Tables
from tetrit.train.noise.pool import POOL
from tetrit.train.noise.product import Chip, Ranges, factors, floor, steps
from tetrit.train.noise.refreshing import Converters
from tetrit.train.noise.wires import Wires
from tetrit.train.patches import Patches

Singles = npt.NDArray[np.float32]
Key = tuple[int, int]

_NO_LOSSES = np.empty((0, 0, 0), np.uint32), np.zeros(4, np.float32)


@dataclass(frozen=True, eq=False)
class _Parts:
    """A matrix with a number of inputs a row, by rows of arrays.

    Attributes
    ----------
    whole : Tensor, shape (parts, n, rows), or None
        The parts of all rows.
    rest : Tensor, shape (n, inputs), or None
        The last part, where it has fewer.
    """

    whole: Tensor | None
    rest: Tensor | None

    @classmethod
    def within(cls, matrix: Tensor, rows: int) -> "_Parts":
        """Return the parts of a matrix, which stays as it lies."""
        n, n_in = matrix.shape
        parts = n_in // rows
        whole = matrix.as_strided((parts, n, rows), (rows, n_in, 1)) if parts else None
        return cls(whole, matrix[:, parts * rows :] if n_in % rows else None)

    @classmethod
    def blocks(cls, memory: Tensor, n_in: int, rows: int) -> "_Parts":
        """Return parts that lie one after another, which products of bfloat16 are fastest with."""
        n, parts = len(memory) // n_in, n_in // rows
        some = parts * n * rows
        whole = memory[:some].view(parts, n, rows) if parts else None
        return cls(whole, memory[some:].view(n, n_in % rows) if n_in % rows else None)

    @cached_property
    def turned(self) -> "_Parts":
        """The parts with their axes exchanged."""
        return _Parts(*(None if x is None else x.mT for x in (self.whole, self.rest)))

    @classmethod
    def results(cls, out: Tensor, n_in: int, rows: int) -> "_Parts":
        """Return the places of the parts' products within `out`, shape (parts, n, n_columns)."""
        parts = n_in // rows
        return cls(out[:parts] if parts else None, out[parts] if n_in % rows else None)

    @cached_property
    def each(self) -> tuple[Tensor, ...]:
        """The parts of all rows, one by one."""
        return () if self.whole is None else self.whole.unbind()

    def float(self) -> "_Parts":
        """Return the parts in float32."""
        return _Parts(*(None if x is None else x.float() for x in (self.whole, self.rest)))


class Drawn:
    """Columns ready for `multiply`.

    Parameters
    ----------
    geometry : Geometry
    weights : Tensor of float32, shape (n_columns, n_in)
        Conductances.
    flicker : bool
        Whether there is 1/f noise.

    Attributes
    ----------
    weight_parts, flicker_parts : _Parts
        Conductances, and variances of 1/f noise in bfloat16, if there is any.
    words : tuple of tuple of int
        What `tasks.DRAW` takes: where it writes the scales, and the rest.
    scales : Tensor, shape (n_out,)
        What an integer of an output's weights counts; filled by `drawn`.
    """

    def __init__(self, geometry: Geometry, weights: Tensor, flicker: bool) -> None:
        rows, n_in = geometry.machine.rows, geometry.n_in
        self.weights = weights
        self.weight_parts = _Parts.within(weights, rows)
        quiet = torch.empty(weights.numel() if flicker else 0, dtype=torch.bfloat16)
        self.flicker_parts = _Parts.blocks(quiet, n_in, rows) if flicker else None
        self.scales = torch.empty(geometry.n_out)
        self.words = _words(self.scales), (*_words(weights), *_words(quiet))
        self.nbytes = weights.nbytes + quiet.nbytes

    def of_part(self, geometry: Geometry, i: int) -> Tensor:
        """Return the conductances of a part of the inputs, shape (n_columns, n_inputs)."""
        return self.weights[:, geometry.parts[i]]

    def give_back(self, geometry: Geometry) -> None:
        """Let the memory be used again; the caller has no more use for the columns."""
        POOL.give_back(_drawn_key(geometry, self.flicker_parts is not None), self)


class _Room:
    """What a product of so many inputs writes on its way, with its views.

    Parameters
    ----------
    geometry : Geometry
    n : int
        Inputs, times their digits.
    flicker : bool
        Whether there is 1/f noise.
    """

    def __init__(self, geometry: Geometry, n: int, flicker: bool) -> None:
        rows, n_in = geometry.machine.rows, geometry.n_in
        shape = len(geometry.parts), n, geometry.n_columns
        inputs, self.currents = torch.empty(n, n_in), torch.empty(shape)
        squares = torch.empty(n * n_in if flicker else 0, dtype=torch.bfloat16)
        self.variances = torch.empty(shape if flicker else (0, 0, 0), dtype=torch.bfloat16)
        self.inputs = _Parts.within(inputs, rows)
        self.squares = _Parts.blocks(squares, n_in, rows) if flicker else None
        self.results = tuple(_Parts.results(x, n_in, rows) for x in (self.currents, self.variances) if len(x))
        self.entered = *_words(inputs), *_words(squares)
        self.found = *_words(self.currents), *_words(self.variances)
        self.nbytes = sum(x.nbytes for x in (inputs, self.currents, squares, self.variances))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tables:
    """Figures of converters by input digit, part and column, and codes with whether there are any.

    They are those of `_kernels.convert`.
    """

    floor: Singles
    gain: Singles
    offset: Singles
    factor: Singles
    no_bias: Singles
    codes: tuple[int, int, bool]

    @cached_property
    def words(self) -> tuple[tuple[float, ...], ...]:
        """What `tasks.CONVERT` takes before and after its key, and for no bias."""
        after = *_words(self.gain), *_words(self.offset), *self.codes, *_words(self.factor)
        return _words(self.floor), after, _words(self.no_bias)


@dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """What columns are drawn by, see `_kernels.draw`."""

    low: int
    by_integer: npt.NDArray[np.complex128]
    base: np.float32
    losses: npt.NDArray[np.uint32]
    ends: Singles

    @cached_property
    def words(self) -> tuple[float, ...]:
        """What `tasks.DRAW` takes of it."""
        return self.low, *_words(self.by_integer), float(self.base), *_words(self.losses), *_words(self.ends)

    @classmethod
    def of(cls, geometry: Geometry, tables: Tables, wires: Wires | None) -> "Law":
        """Lay out the tables of a machine and the losses in its wires."""
        found = [table.numpy() for table in tables.net]
        losses, ends = _NO_LOSSES if wires is None else _halves(wires.share[0].numpy(), wires.rest[0].numpy())
        return cls(
            low=tables.low,
            by_integer=np.stack([*found, np.zeros_like(found[0])], axis=-1).view(np.complex128)[..., 0],
            base=np.float32(0.0 if geometry.paired else tables.base),
            losses=losses,
            ends=ends,
        )


def _halves(share: Singles, rest: Singles) -> tuple[npt.NDArray[np.uint32], Singles]:
    """Return two tables as halves of one of whole numbers, in 65535 steps of their ranges; least and step of each.

    A batch reads all of it, and it is this that takes time.
    """
    ends, words = [], []
    for table in (share, rest):
        least, most = table.min(), table.max()
        step = np.float32((most - least) / np.float32(0xFFFF))
        ends += [least, step]
        words.append(np.rint((table - least) / (step if step > 0 else np.float32(1))).astype(np.uint32))
    return words[0] << np.uint32(16) | words[1], np.array(ends, np.float32)


def fits(geometry: Geometry, converters: Converters) -> bool:
    """Return whether the compiled chain can do it all."""
    kept = converters.kept
    if "fits" not in kept:
        kept["fits"] = _fits(geometry, converters)
    found: bool = kept["fits"]
    return found


def _fits(geometry: Geometry, converters: Converters) -> bool:
    even = converters.thresholds is None and all(table is None for table in converters.inputs)
    return even and geometry.n_references == 0 and not geometry.machine.cell.shot


def _drawn_key(geometry: Geometry, flicker: bool) -> Hashable:
    return geometry.n_columns, geometry.n_out, geometry.n_in, geometry.machine.rows, flicker


def _words(x: Tensor | npt.NDArray[Any]) -> tuple[int, ...]:
    """Return what a task takes for an array: address and lengths."""
    return (x.data_ptr() if isinstance(x, Tensor) else x.ctypes.data), *x.shape


@cache
def _fast_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16 by itself; elsewhere float32 is faster."""
    from llvmlite import binding  # type: ignore[import-untyped]

    features = binding.get_host_cpu_features()
    return bool(features.get("avx512bf16") or features.get("amx-bf16"))


def drawn(geometry: Geometry, law: Law, values: Tensor, top: int, key: Key, *, flicker: bool) -> Drawn:
    """Draw columns as `panels.by_statistics` does, with the normals of the key ``noise.key(*key)``.

    The largest integer of an output's weights is `top`.
    """
    shape = geometry.n_columns, geometry.n_in
    found: Drawn = POOL.take(_drawn_key(geometry, flicker), lambda: Drawn(geometry, torch.empty(shape), flicker))
    n_out, n_in = values.shape
    size, values = geometry.groups * n_in, values.contiguous()
    scales, rest = found.words
    tasks.DRAW(n_out, size, *_words(values), top, *scales, *law.words, *key, geometry.machine.rows, *rest)
    return found


def packed(geometry: Geometry, panel: Panel) -> Drawn:
    """Lay out columns that were drawn otherwise."""
    found = Drawn(geometry, panel.weights.contiguous(), panel.flicker is not None)
    if panel.flicker is not None and found.flicker_parts is not None:
        given = _Parts.within(panel.flicker.contiguous(), geometry.machine.rows)
        for to, values in ((found.flicker_parts.whole, given.whole), (found.flicker_parts.rest, given.rest)):
            if to is not None and values is not None:
                to.copy_(values)
    return found


def multiply(
    geometry: Geometry,
    chip: Chip,
    x: Tensor | Patches,
    *,
    ranges: Ranges,
    key: Key,
    step: float,
    bias: Tensor | None,
    given: bool = False,
) -> Tensor:
    """Multiply a batch, and turn integer results into those of the layer.

    Parameters
    ----------
    geometry, ranges
        As in `product`.
    chip : Chip
        Its panel is a `Drawn`.
    x : Tensor of float32, shape (n, n_in), or Patches of such
        Integers of the activation format.
    key : tuple of int
        The key of read noise is ``noise.key(*key)``.
    step : float
        What an integer of `x` counts, a float32.
    bias : Tensor, shape (n_out,), or None
    given : bool
        `x` is a matrix of the layer's inputs, to be made integers.
    """
    columns: Drawn = chip.panel
    n, flicker = len(geometry.digit_widths) * len(x), columns.flicker_parts is not None
    place = n, geometry.n_columns, geometry.n_in, geometry.machine.rows, flicker
    room: _Room = POOL.take(place, lambda: _Room(geometry, n, flicker))
    end = *geometry.digits_at, geometry.machine.rows, *room.entered
    if isinstance(x, Patches):
        images = x.images.contiguous() if len(x.kernel) == 2 else x.images[:, :, None].contiguous()
        fields = ((1,) * (2 - len(field)) + field for field in (x.kernel, x.stride, x.dilation, x.places))
        tasks.PATCHES(len(x), geometry.n_in, *_words(images), *chain(*fields), *end)
    else:
        x = x.contiguous()
        tasks.ENTER(len(x), geometry.n_in, *_words(x), step if given else 1.0, *geometry.input_range, *end)
    _products(room.inputs, columns.weight_parts.turned, room.results[0])
    if room.squares is not None and columns.flicker_parts is not None:
        if _fast_bfloat16():
            _products(room.squares, columns.flicker_parts.turned, room.results[1])
        else:
            exact = torch.empty(room.variances.shape)
            results = _Parts.results(exact, geometry.n_in, geometry.machine.rows)
            _products(room.squares.float(), columns.flicker_parts.float().turned, results)
            room.variances.copy_(exact)
    tables = _tables(geometry, chip, ranges)
    out = torch.empty(len(x), geometry.n_out)
    before, after, no_bias = tables.words
    added = no_bias if bias is None else _words(bias)
    tasks.CONVERT(
        len(x),
        geometry.n_columns * len(geometry.parts) * len(geometry.digit_widths),
        *room.found,
        chip.scale,
        *before,
        *key,
        *after,
        *_words(chip.scales),
        step,
        *added,
        *_words(out),
    )
    POOL.give_back(place, room)
    return out


def _products(given: _Parts, weights: _Parts, out: _Parts) -> None:
    """Multiply the parts of inputs, n x inputs, and of columns, inputs x n_columns, each with its own, to `out`."""
    if given.whole is not None and weights.whole is not None:
        if given.whole.dtype == torch.float32 and len(given.whole) % torch.get_num_threads():
            for x, w, y in zip(given.each, weights.each, out.each, strict=True):  # BLAS has whole parts for a thread
                torch.mm(x, w, out=y)
        else:
            torch.bmm(given.whole, weights.whole, out=out.whole)
    if given.rest is not None and weights.rest is not None:
        torch.mm(given.rest, weights.rest, out=out.rest)


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
    low, high = (0, 0) if geometry.codes is None else geometry.codes
    return _Tables(
        floor=np.zeros((*shape[:2], 0), np.float32) if least is None else least,
        gain=gain,
        offset=chip.converters.offset.numpy(),
        factor=factor,
        no_bias=np.zeros(geometry.n_out, np.float32),
        codes=(low, high, geometry.codes is not None),
    )
