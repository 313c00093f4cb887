"""A layer's chip in training and evaluation: when it is drawn, what its converters have learned, what it computes."""

__all__ = ["Simulation", "generator_of"]

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tetrit import checks, noise
from tetrit.hardware import Crossbar, Device
from tetrit.train.noise import _kernels, compiled
from tetrit.train.noise.cells import Cells, ChipSamples, FreshSamples
from tetrit.train.noise.geometry import Geometry, geometry
from tetrit.train.noise.panels import Panel, Tables, by_cells, by_statistics, golden
from tetrit.train.noise.product import Chip, Normals, largest_currents, product
from tetrit.train.noise.refreshing import Converters, Standing, converters, standing
from tetrit.train.noise.settings import Mode, Settings
from tetrit.train.patches import Patches, as_matrix

_CHIP, _DRAW, _READ = range(1, 4)  # which quantity a key draws; `graph` has its own
_OBSERVE_EVERY = 16
_INPUT_MOMENTUM, _RANGE_MOMENTUM = 0.1, 0.25
_TINY = torch.finfo(torch.float32).tiny
_PIECE_CPU, _PIECE, _LEAST = 1 << 20, 1 << 25, 128
"""Floats that a piece of a batch may take on its way, which should stay in a cache, or fill a device; but that many
vectors at least, since with few of them a product only waits for the weights."""


class Simulation:
    """The state of a layer's chip.

    Parameters
    ----------
    settings : Settings
    number : int
        Of the layer.
    n_in, n_out : int
    top : int
        The integer that the largest magnitude of an output's weights has.

    Attributes
    ----------
    chip : int
        Number of the chip.
    mode : Mode or None
        What the layer computes; None: what the ramp says in training, ``"noisy"`` in evaluation.
    ready, ranged : bool
        Whether the range of the inputs is known, and that of the converters.
    draws, reads : int
        Chips drawn and products read so far in training, which number the random numbers.
    """

    def __init__(self, settings: Settings, number: int, n_in: int, n_out: int, top: int) -> None:
        self.settings, self.number, self.top = settings, number, top
        self.shape = n_in, n_out
        self.chip = 0
        self.mode: Mode | None = None
        self.ready = False
        self.geometry: Geometry = geometry(settings.machine, n_in, n_out)
        self.ranged = not self.geometry.calibrated
        self.calibrating = False
        self.draws = 0
        self.reads = 0
        self._calibrated: set[str] = set()
        self.forget()

    def forget(self) -> None:
        """Drop what is kept between calls: the chip is drawn anew from its number."""
        self._prefixes: dict[int, int] = {}
        self._standing: Standing | None = None
        self._cells: Cells | None = None
        self._tables: tuple[float, Tables] | None = None
        self._law: tuple[float, Standing, compiled.Law] | None = None
        self._converters: Converters | None = None
        self._current: Chip | None = None
        self._golden: tuple[np.ndarray[Any, Any], Chip] | None = None
        self._device: torch.device | None = None

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        for name in ("_standing", "_cells", "_tables", "_law", "_converters", "_current", "_golden", "_device"):
            state[name] = None
        return state

    def key(self, quantity: int, count: int) -> int:
        """Return the key of the next numbers of a training; processes that share a batch read with other noise."""
        return noise.key(*self.key_parts(quantity, count))

    def key_parts(self, quantity: int, count: int) -> tuple[int, int]:
        """Return the numbers of which `key` is made."""
        if quantity not in self._prefixes:
            rank = (_rank(),) if quantity == _READ else ()
            self._prefixes[quantity] = noise.key(self.settings.seed, self.number, quantity, *rank)
        return self._prefixes[quantity], count

    @property
    def chip_seed(self) -> int:
        """The seed with which `tetrit.sim` builds the same chip."""
        return noise.key(self.settings.seed, _CHIP, self.number, self.chip)

    def take_chip(self, number: int) -> None:
        """Change to another chip."""
        self.chip = checks.integer("chip", number, minimum=0)
        self.forget()

    def use(self, machine: Crossbar) -> None:
        """Change the machine, for instance its time."""
        self.settings = replace(self.settings, machine=machine)
        self.geometry = geometry(machine, *self.shape)
        self.forget()

    def calibrate(self, begins: bool) -> None:
        """Begin or end a time in which ranges are those of what is seen, and not moved along with it."""
        self.calibrating = begins
        self._calibrated.clear()

    def new_batch(self) -> None:
        """Let the next call draw what `redraw` says."""
        if self._current is not None and isinstance(self._current.panel, compiled.Drawn):
            self._current.panel.give_back(self.geometry)
        self._current = None

    def scales(self, values: Tensor) -> Tensor:
        """Return what an integer counts in each output of quantised weights, shape (n_out, n_in); 1 where all are 0."""
        if values.is_cpu:
            out = np.empty(len(values), np.float32)
            _kernels.row_scales(values.numpy(), np.float32(self.top), out)
            return torch.from_numpy(out)
        found = values.abs().amax(1) / self.top
        return torch.where(found > 0, found, 1.0)

    def integers(self, values: Tensor, scales: Tensor) -> Tensor:
        """Return the integers of quantised weights."""
        return (values * (1.0 / scales)[:, None]).round()

    def prepare(self, values: Tensor, scale: float, *, training: bool) -> Chip:
        """Return the chip that a batch sees, drawn if it is due.

        Parameters
        ----------
        values : Tensor of float32, shape (n_out, n_in)
            Quantised weights.
        scale : float
            Of the noise.
        training : bool
            Whether the chip is one of training, or that of evaluation.
        """
        self._move_to(values.device)
        if not training:
            return self._evaluated(values)
        if self._current is None or self._current.scale != scale:
            self.refresh(values)
            self.draws += 1
            self._current = self._drawn(values, scale)
        return self._current

    def refresh(self, values: Tensor) -> tuple[Standing, Converters]:
        """Return what stands for some batches: the losses in wires and the like, and the converters; anew if due."""
        self._move_to(values.device)
        if self._standing is None or self._converters is None or self.draws % self.settings.refresh_every == 0:
            machine, device = self.settings.machine, values.device
            integers = None
            if machine.has_wires or machine.cell.thermal or machine.drift_compensation == "global":
                integers = self.integers(values, self.scales(values)).cpu().numpy().astype(np.int64)
            self._standing = standing(self.geometry, integers, device, self.settings.wires)
            seed = self.chip_seed
            if self.settings.redraw == "batch":
                seed = noise.key(seed, _DRAW, self.draws // self.settings.refresh_every)
            self._converters = converters(self.geometry, seed, device)
        return self._standing, self._converters

    def tables(self, device: torch.device, scale: float) -> Tables:
        """Return the statistics of cells for a scale of the noise."""
        if self._tables is None or self._tables[0] != scale:
            self._tables = scale, Tables.of(self.geometry, device, scale)
        return self._tables[1]

    def _move_to(self, device: torch.device) -> None:
        if self._device != device:
            self.forget()
            self._device = device

    def _drawn(self, values: Tensor, scale: float) -> Chip:
        assert self._standing is not None and self._converters is not None
        device = values.device
        key = self.key_parts(_DRAW, self.draws)
        fits = values.is_cpu and compiled.fits(self.geometry, self._converters)
        panel: Panel | compiled.Drawn
        if self.settings.cells == "statistics" and fits:
            law = self._law_of(self._standing, scale)
            panel = compiled.drawn(self.geometry, law, values, self.top, key, flicker=self.flickers)
            scales = panel.scales
        elif self.settings.cells == "statistics":
            scales = self.scales(values)
            generator = generator_of(device, noise.key(*key))
            panel = by_statistics(
                self.geometry,
                self.tables(device, scale),
                self.integers(values, scales),
                self._standing.wires_at(scale),
                lambda *shape: torch.randn(shape, generator=generator, device=device),
                flicker=self.flickers,
                shot=self.settings.machine.cell.shot,
            )
        else:
            scales = self.scales(values)
            cells = self._chip_cells(noise.key(*key), device)
            wires = self._standing.wires_at(scale)
            panel = by_cells(self.geometry, cells, self.integers(values, scales), wires, scale)
            panel = compiled.packed(self.geometry, panel) if fits else panel
        return Chip(
            panel=panel,
            scales=scales,
            thermal=self._standing.thermal,
            compensation=self._standing.compensation,
            converters=self._converters,
            scale=scale,
        )

    def _law_of(self, standing: Standing, scale: float) -> compiled.Law:
        """Return what the compiled loops draw columns by, laid out anew when something has changed."""
        if self._law is None or self._law[0] != scale or self._law[1] is not standing:
            tables = self.tables(torch.device("cpu"), scale)
            self._law = scale, standing, compiled.Law.of(self.geometry, tables, standing.wires_at(scale))
        return self._law[2]

    @property
    def flickers(self) -> bool:
        """Whether cells have 1/f noise."""
        cell = self.settings.machine.cell
        return cell.flicker is not None or type(cell).flicker_sigma is not Device.flicker_sigma

    def _chip_cells(self, key: int, device: torch.device) -> Cells:
        if self._cells is None:
            self._cells = Cells(self.geometry, ChipSamples(self.geometry, self.chip_seed, device), device)
        if self.settings.redraw == "batch":
            self._cells.samples = FreshSamples(self.geometry, generator_of(device, key), device)
        return self._cells

    def _evaluated(self, values: Tensor) -> Chip:
        scales = self.scales(values)
        integers = self.integers(values, scales).cpu().numpy().astype(np.int64)
        if self._golden is None or not np.array_equal(self._golden[0], integers):
            found = golden(self.geometry, self.settings.machine, integers, self.chip_seed, values.device)
            chip = Chip(
                panel=found.panel,
                scales=scales,
                thermal=found.thermal,
                compensation=found.compensation,
                converters=converters(self.geometry, self.chip_seed, values.device, found.places),
            )
            self._golden = integers, chip
        return replace(self._golden[1], scales=scales)

    def multiply(
        self,
        x: Tensor | Patches,
        chip: Chip,
        ranges: Tensor | None,
        step: Tensor,
        bias: Tensor | None,
        normals: Normals | None = None,
    ) -> Tensor:
        """Return the result of the chip for integers `x`, of which one counts `step`; `bias` in float32."""
        self.reads += 1
        key = self.key_parts(_READ, self.reads)
        if isinstance(chip.panel, compiled.Drawn) and normals is None:
            return compiled.multiply(self.geometry, chip, x, ranges=ranges, key=key, step=step.item(), bias=bias)
        x = as_matrix(x)
        if normals is None:
            generator = generator_of(x.device, noise.key(*key))

            def normals(i: int, digit: int, shape: tuple[int, int]) -> Tensor:
                return torch.randn(shape, generator=generator, device=x.device)

        y = product(self.geometry, chip, x, ranges=ranges, normals=normals)
        factor = chip.scales * step
        return y.mul_(factor) if bias is None else torch.addcmul(bias, y, factor)

    def quick(
        self, x: Tensor, values: Tensor, bias: Tensor | None, limit: Tensor, ranges: Tensor | None, scale: float
    ) -> Tensor | None:
        """Return what the long way gives for a batch of training, in fewer calls; None where it must be gone.

        Calls of Python and PyTorch take as long as the loops of a small layer. This way is for vectors that lie in one
        piece, on chips that compiled loops draw.
        """
        plain = x.ndim == values.ndim == 2 and _is_plain(x) and _is_plain(values) and x.shape[1] == self.shape[0]
        if not plain or len(x) > self.largest_piece(x.device):
            return None
        chip = self.prepare(values, scale, training=True)
        if not isinstance(chip.panel, compiled.Drawn) or (ranges is not None and self.learns_ranges):
            return None
        self.reads += 1
        key = self.key_parts(_READ, self.reads)
        step = float(np.float32(max(limit.item(), _TINY)) / np.float32(self.geometry.input_range[1]))
        return compiled.multiply(self.geometry, chip, x, ranges=ranges, key=key, step=step, bias=bias, given=True)

    def largest_piece(self, device: torch.device) -> int:
        """Return how many vectors at a time make a piece of a batch."""
        most = _PIECE_CPU if device.type == "cpu" else _PIECE
        return max(_LEAST, most // self.geometry.floats_per_vector)

    def learn_input(self, x: Tensor, limit: Tensor) -> None:
        """Let the range of the inputs follow a batch, or be that of it while calibrating."""
        if x.numel() == 0:
            return
        pace, again = self._pace("inputs", _INPUT_MOMENTUM, known=self.ready)
        x = x.detach()
        if _is_plain(x):
            _kernels.follow(x.numpy().reshape(-1), np.float32(pace), again, limit.numpy())
        else:
            _follow(x.abs().amax().float(), pace, again, limit)
        self.ready = True

    @property
    def learns_ranges(self) -> bool:
        """Whether this batch's currents are looked at."""
        due = self.draws <= _OBSERVE_EVERY or self.draws % _OBSERVE_EVERY == 0
        return due or self.calibrating or not self.ranged

    def learn_ranges(self, pieces: Iterable[Tensor | Patches], chip: Chip, ranges: Tensor) -> None:
        """Let the ranges of the converters follow a batch, or be those of it while calibrating."""
        found: Tensor | None = None
        for piece in pieces:
            if len(piece) == 0:
                continue
            largest = largest_currents(self.geometry, chip, as_matrix(piece))
            found = largest if found is None else torch.maximum(found, largest)
        if found is not None:
            _follow(found, *self._pace("ranges", _RANGE_MOMENTUM, known=self.ranged), ranges)
            self.ranged = True

    def _pace(self, what: str, momentum: float, *, known: bool) -> tuple[float, bool]:
        """Return how far a range goes to what is found, 1 all the way; and whether not below what it was."""
        if known and not self.calibrating:
            return momentum, False
        again = self.calibrating and what in self._calibrated
        self._calibrated.add(what)
        return 1.0, again

    def input_step(self, limit: Tensor) -> Tensor:
        """Return what an input step counts."""
        return limit.clamp_min(_TINY).div_(self.geometry.input_range[1])

    def input_integers(self, x: Tensor, step: Tensor) -> Tensor:
        """Return inputs as integers of the activation format, in float32."""
        low, high = self.geometry.input_range
        if _is_plain(x):
            flat = x.numpy()
            out = np.empty_like(flat)
            _kernels.integers(flat.reshape(-1), step.numpy()[()], np.float32(low), np.float32(high), out.reshape(-1))
            return torch.from_numpy(out)
        return (x.float() * (1.0 / step)).round_().clamp_(low, high)


def _is_plain(x: Tensor) -> bool:
    """Return whether compiled loops take a tensor as it is."""
    return x.is_cpu and x.dtype == torch.float32 and x.is_contiguous()


@torch.no_grad()
def _follow(found: Tensor, pace: float, again: bool, kept: Tensor) -> None:
    """Do what `_kernels.follow` does, for what was found."""
    found = torch.maximum(found, kept) if again else found
    kept.lerp_(torch.where(found < torch.inf, found, kept), pace)  # neither infinite nor NaN; none is negative


def generator_of(device: torch.device, key: int) -> torch.Generator:
    """Return a generator in the state of a key; a device without values has that of the CPU."""
    return torch.Generator(device="cpu" if device.type == "meta" else device).manual_seed(key >> 1)


def _rank() -> int:
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if ready else 0
