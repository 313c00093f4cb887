"""The standard alternative: noise kept in the graph, every step of the chain differentiated as far as it can be.

``"graph"`` does what the chip does, array by array and digit by digit; ``"injection"`` draws noisy weights and takes
one product of them for all arrays together, with the noise and the rounding of all conversions in one step (after Joshi
et al. 2020, who inject noise of weights). Both exist to be compared with; they save the noise for the backward pass, as
all of this kind do. Rounding lets gradients through, clipping stops them.
"""

__all__ = ["in_graph"]

from typing import Any

import torch
from torch import Tensor

from tetrit.train.noise.cells import looked_up
from tetrit.train.noise.geometry import Geometry
from tetrit.train.noise.panels import Panel
from tetrit.train.noise.product import Chip, factors, floor, steps
from tetrit.train.noise.simulation import Simulation, generator_of
from tetrit.train.patches import as_matrix

_KEY = 4  # which quantity a key draws; others are in `simulation`
_LEAST = 1e-12  # of a variance: the slope of a root ends there


def in_graph(layer: Any, x: Tensor, values: Tensor, bias: Tensor | None, mode: str, scale: float) -> Tensor:
    """Return the output of a noise-aware layer with all noise in the graph.

    Parameters
    ----------
    layer : NoiseAwareLayer
    x, values, bias
        Input, quantised weights and bias.
    mode : {"quantised", "noisy"}
    scale : float
        Of the noise.
    """
    simulation: Simulation = layer.simulation
    geometry, step = simulation.geometry, simulation.input_step(layer.input_limit)
    low, high = geometry.input_range
    integers = _rounded((x.float() / step).clamp(low, high))
    matrix = values.float().reshape(values.shape[0], -1)
    scales = simulation.scales(matrix.detach().contiguous())
    weights = matrix / scales[:, None]
    factor = layer.broadcast(scales * step)
    if mode == "quantised":
        y = layer.clean(integers, weights.reshape(values.shape), None) * factor
    else:
        if layer.kept_graph is None or layer.kept_graph.values is not values:
            layer.kept_graph = _Noisy(layer, values, weights, scale)
        noisy: _Noisy = layer.kept_graph
        noisy.learn(integers.detach())
        by_arrays = simulation.settings.noise == "graph"
        y = (noisy.by_arrays(integers, x) if by_arrays else noisy.at_once(integers, values.shape)) * factor
    return (y if bias is None else y + layer.broadcast(bias)).to(x.dtype)


def _rounded(x: Tensor) -> Tensor:
    return x + (x.round() - x).detach()


class _Noisy:
    """A layer's chip for one batch, as functions of the weights.

    Parameters
    ----------
    layer : NoiseAwareLayer
    values : Tensor
        Quantised weights.
    weights : Tensor, shape (n_out, n_in)
        Their integers.
    scale : float
        Of the noise.
    """

    def __init__(self, layer: Any, values: Tensor, weights: Tensor, scale: float) -> None:
        self.layer, self.values, self.scale = layer, values, scale
        self.simulation: Simulation = layer.simulation
        self.geometry: Geometry = self.simulation.geometry
        self.standing, self.converters = self.simulation.refresh(values.detach().float().flatten(1).contiguous())
        self.simulation.draws += 1
        self.generator = generator_of(weights.device, self.simulation.key(_KEY, self.simulation.draws))
        self.panel = self._panel(weights)

    def _normals(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator, device=like.device)

    def _panel(self, weights: Tensor) -> Panel:
        """Draw conductances whose mean and spread follow the weights; variances of read noise do not."""
        geometry = self.geometry
        tables = self.simulation.tables(weights.device, self.scale)
        at = tables.index(weights.detach().round())
        mean, sigma, quiet = tables.net
        shot = tables.weight["shot"].sum(1) if self.simulation.settings.machine.cell.shot else None
        slope = torch.gradient(sigma, dim=-1)[0] if sigma.shape[-1] > 1 else torch.zeros_like(sigma)
        moved = weights - weights.detach()
        found: dict[str, list[Tensor]] = {"weights": [], "flicker": [], "shot": []}
        for g, significance in enumerate(geometry.significance):
            clean = looked_up(mean[g], at) + moved / (geometry.groups * float(significance))
            column = clean + (looked_up(sigma[g], at) + moved * looked_up(slope[g], at)) * self._normals(clean)
            share: Tensor | float = 1.0
            if self.standing.wires is not None:
                wires = self.standing.wires.scaled(self.scale)
                share = wires.share[0][g]
                column = column * share + wires.rest[0][g]
            found["weights"].append(column if geometry.paired else column - tables.base)
            for name, variance in (("flicker", quiet if self.simulation.flickers else None), ("shot", shot)):
                if variance is not None:
                    found[name].append(looked_up(variance[g], at) * share * share)
        lines = {name: torch.cat(parts) if parts else None for name, parts in found.items()}
        assert lines["weights"] is not None
        return Panel(weights=lines["weights"], flicker=lines["flicker"], shot=lines["shot"])

    def _chip(self) -> Chip:
        quiet = Panel(weights=self.panel.weights.detach(), flicker=None, shot=None)
        return Chip(
            panel=quiet,
            scales=self.panel.weights.new_ones(self.geometry.n_out),
            thermal=self.standing.thermal,
            compensation=self.standing.compensation,
            converters=self.converters,
            scale=self.scale,
        )

    @torch.no_grad()
    def learn(self, integers: Tensor) -> None:
        """Let the converters' ranges follow, from clean currents, as the extended estimator does."""
        if self.layer.adc_limits is not None and self.simulation.learns_ranges:
            self.simulation.learn_ranges(self.layer.pieces(integers), self._chip(), self.layer.adc_limits)

    def by_arrays(self, integers: Tensor, x: Tensor) -> Tensor:
        """Return the sum of all arrays' and digits' results."""
        y: Tensor = self.layer.folded(self._chained(as_matrix(self.layer.vectors(integers))), x)
        return y

    def _chained(self, rows: Tensor) -> Tensor:
        geometry, panel, chip = self.geometry, self.panel, self._chip()
        digits = len(geometry.layout.digit_weights)
        out = rows.new_zeros(len(rows), geometry.n_out)
        for digit, count in enumerate(geometry.layout.digit_weights):
            v = geometry.input_digit(rows.detach(), digit)
            v = v + (rows - rows.detach()) / (digits * count)
            volt = geometry.step_volts(digit)
            step = None if geometry.codes is None else steps(geometry, self.layer.adc_limits, digit, rows.device)
            for i, part in enumerate(geometry.parts):
                currents = v[:, part] @ panel.weights[:, part].T
                variance = floor(geometry, chip, i, volt, step)
                if panel.flicker is not None:
                    found = v[:, part].square() @ panel.flicker[:, part].T
                    variance = found if variance is None else found + variance
                if panel.shot is not None:
                    found = (v[:, part].abs() / volt) @ panel.shot[:, part].T
                    variance = found if variance is None else found + variance
                if variance is not None:
                    spread = (variance + _LEAST).sqrt() * self.scale
                    currents = currents + spread * self._normals(currents)
                if geometry.codes is not None and step is not None:
                    currents = _rounded((currents / step[min(i, len(step) - 1)]).clamp(*geometry.codes))
                scaled = currents * factors(geometry, chip, i, count, step)
                out = out + scaled.reshape(len(rows), geometry.groups, geometry.n_out).sum(1)
        return out

    def at_once(self, integers: Tensor, shape: torch.Size) -> Tensor:
        """Return one product's result, with all noise and rounding of it at its end."""
        geometry, layer, chip = self.geometry, self.layer, self._chip()
        counts = geometry.constant("significance", integers.device).float()[:, None, None]
        gain = self._gain(counts.device)
        split = (geometry.groups, geometry.n_out, geometry.n_in)
        weights = (self.panel.weights.reshape(split) * counts).sum(0) * gain
        y: Tensor = layer.clean(integers, weights.reshape(shape), None)
        variance = layer.broadcast(self._floor(chip) * gain[:, 0].square() + _LEAST)
        squares, sizes = self._powers(integers)
        for panel, given in ((self.panel.flicker, squares), (self.panel.shot, sizes)):
            if panel is not None:
                summed = (panel.reshape(split) * counts.square()).sum(0) * gain.square()
                variance = variance + layer.clean(given, summed.reshape(shape), None)
        y = y + variance.sqrt() * self.scale * self._normals(y)
        if geometry.codes is None:
            return y
        step = layer.broadcast(self._step(integers.device) * gain[:, 0])
        return _rounded((y / step).clamp(*geometry.codes)) * step

    def _gain(self, device: torch.device) -> Tensor:
        """Return the factor of drift compensation by output, shape (n_out, 1), the mean over arrays."""
        if self.standing.compensation is None:
            return torch.ones(self.geometry.n_out, 1, device=device)
        return self.standing.compensation.mean(0)[: self.geometry.n_out, None]

    def _powers(self, integers: Tensor) -> tuple[Tensor, Tensor]:
        """Return what variances of 1/f and shot noise are multiplied with: squares and magnitudes of all digits."""
        geometry = self.geometry
        counts = geometry.layout.digit_weights
        volt = geometry.step_volts(0)
        if len(counts) == 1:
            return integers.square(), integers.abs() / volt
        given = integers.detach()
        digits = [(count, geometry.input_digit(given, digit)) for digit, count in enumerate(counts)]
        squares = torch.stack([count**2 * v.square() for count, v in digits]).sum(0)
        sizes = [count**2 * v.abs() / geometry.step_volts(digit) for digit, (count, v) in enumerate(digits)]
        return squares, torch.stack(sizes).sum(0)

    def _floor(self, chip: Chip) -> Tensor:
        """Return the variance of one product that does not depend on inputs, by output."""
        return self._summed(chip, lambda i, volt, step: floor(self.geometry, chip, i, volt, step))

    def _step(self, device: torch.device) -> Tensor:
        """Return a step whose rounding errs as much as all conversions of an output together."""
        chip = self._chip()

        def squared(i: int, volt: float, step: Tensor | None) -> Tensor | None:
            return None if step is None else step[min(i, len(step) - 1)].square()

        return self._summed(chip, squared).sqrt()

    def _summed(self, chip: Chip, of_part: Any) -> Tensor:
        geometry = self.geometry
        device = chip.scales.device
        significance = geometry.constant("significance", device).float()
        total = torch.zeros(geometry.n_out, device=device)
        for digit, count in enumerate(geometry.layout.digit_weights):
            step = None if geometry.codes is None else steps(geometry, self.layer.adc_limits, digit, device)
            for i in range(len(geometry.parts)):
                found = of_part(i, geometry.step_volts(digit), step)
                if found is not None:
                    each = found.expand(geometry.groups * geometry.n_out).reshape(geometry.groups, -1)
                    total = total + (each * (significance[:, None] * count) ** 2).sum(0)
        return total
