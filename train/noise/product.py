"""A batch through the chain of a crossbar in tensor operations: currents, noise, codes, and their sum.

This is the rule, for any device; nothing in it waits for it. `compiled` gives the same on the CPU.
"""

__all__ = ["Chip", "Normals", "Ranges", "factors", "floor", "largest_currents", "product", "steps"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tetrit.train.noise.geometry import Geometry
from tetrit.train.noise.panels import Panel
from tetrit.train.noise.refreshing import Converters, volts

Normals = Callable[[int, int, tuple[int, int]], Tensor]
"""Standard normals of a part, an input digit and a shape."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Chip:
    """All that a product needs of a chip.

    Attributes
    ----------
    panel : Panel, or compiled.Drawn
    scales : Tensor, shape (n_out,)
        What an integer of an output's weights counts.
    thermal, compensation : Tensor, shape (parts, n_columns), or None
    converters : Converters
    scale : float
        Of the noise of reads and conversions.
    """

    panel: Any
    scales: Tensor
    thermal: Tensor | None
    compensation: Tensor | None
    converters: Converters
    scale: float = 1.0


Ranges = Tensor | None
"""Full scales of calibrated converters in units, see `Geometry.range_shape`; None where there is nothing to learn."""


def steps(geometry: Geometry, ranges: Ranges, digit: int, device: torch.device) -> Tensor:
    """Return the converters' steps in units, of a shape that broadcasts over (parts, n_converted)."""
    assert geometry.codes is not None
    if ranges is None:
        return torch.full((1, 1), geometry.step(digit), device=device)
    return (ranges[digit] / geometry.codes[1]).clamp_min(1.0)


def product(
    geometry: Geometry,
    chip: Chip,
    x: Tensor,
    *,
    ranges: Ranges,
    normals: Normals | None = None,
) -> Tensor:
    """Multiply a batch.

    Parameters
    ----------
    geometry : Geometry
    chip : Chip
    x : Tensor of float32, shape (n, n_in)
        Integers of the activation format.
    ranges : Tensor or None
    normals : callable, optional
        Gives the normals of read noise; none without.

    Returns
    -------
    Tensor of float32, shape (n, n_out)
        In units of the exact integer product.
    """
    panel: Panel = chip.panel
    out = x.new_zeros(len(x), geometry.n_out)
    for digit, weight in enumerate(geometry.layout.digit_weights):
        v = volts(geometry, chip.converters.inputs, x, digit)
        squares = None if panel.flicker is None else v.square()
        volt = geometry.step_volts(digit)
        step = None if geometry.codes is None else steps(geometry, ranges, digit, x.device)
        for i, part in enumerate(geometry.parts):
            currents = v[:, part] @ panel.weights[:, part].T
            variance = None
            if squares is not None and panel.flicker is not None:
                variance = squares[:, part] @ panel.flicker[:, part].T
            if panel.shot is not None:
                shot = (v[:, part].abs() / volt) @ panel.shot[:, part].T
                variance = shot if variance is None else variance.add_(shot)
            least = floor(geometry, chip, i, volt, step)
            factor = factors(geometry, chip, i, weight, step)
            if least is not None or variance is not None:
                total = least if variance is None else variance if least is None else variance + least
                if normals is not None and total is not None:
                    drawn = normals(i, digit, (len(x), geometry.n_columns))
                    currents = currents + total.sqrt() * drawn * chip.scale
            if geometry.merged_references:
                currents = _merged(geometry, currents)
            if step is not None:
                currents = _converted(geometry, chip.converters, i, currents, step)
            out += _summed(geometry, currents, factor)
    return out


def largest_currents(geometry: Geometry, chip: Chip, x: Tensor) -> Tensor:
    """Return the full scales that a batch asks for, without read noise: `Adc.calibration_quantile` of the magnitudes.

    Of many currents, a share spread evenly over them is looked at.
    """
    quantile = geometry.machine.adc.calibration_quantile
    each = geometry.machine.adc.range == "calibrated_per_column"
    found = []
    for digit in range(len(geometry.layout.digit_weights)):
        v = volts(geometry, chip.converters.inputs, x, digit)
        parts = []
        for i, part in enumerate(geometry.parts):
            currents = v[:, part] @ chip.panel.of_part(geometry, i).T
            if geometry.merged_references:
                currents = _merged(geometry, currents)
            parts.append(currents.abs())
        whole = torch.stack(parts)  # (parts, n, n_converted)
        if not each:
            whole = whole.reshape(1, -1, 1)
        if quantile < 1:
            stride = -(-whole.shape[1] // _MOST_OBSERVED)
            found.append(torch.quantile(whole[:, ::stride], quantile, dim=1))
        else:
            found.append(whole.amax(1))
    return torch.stack(found)


_MOST_OBSERVED = 1 << 16


def _merged(geometry: Geometry, currents: Tensor) -> Tensor:
    """Subtract the reference currents."""
    own = geometry.groups * geometry.n_out
    return currents[:, :own] - currents[:, geometry.constant("reference_of", currents.device)]


def floor(geometry: Geometry, chip: Chip, i: int, volt: float, step: Tensor | None) -> Tensor | None:
    """Return the variance that does not depend on the inputs, in square units, by column."""
    thermal = None if chip.thermal is None else chip.thermal[i] / volt**2
    sigma = geometry.machine.adc.noise_sigma_lsb
    if step is None or not sigma:
        return thermal
    own = (sigma * step[min(i, len(step) - 1)] / chip.converters.gain[i]).square()
    if geometry.merged_references:  # references have no converter
        own = torch.cat([own, own.new_zeros(geometry.n_references)])
    return own if thermal is None else thermal + own


def factors(geometry: Geometry, chip: Chip, i: int, weight: int, step: Tensor | None) -> Tensor:
    """Return what a code of each column counts, shape (n_converted,)."""
    factor = geometry.constant("significances", chip.converters.offset.device) * float(weight)
    if chip.compensation is not None:
        factor = factor * chip.compensation[i][: len(factor)]
    return factor if step is None else factor * step[min(i, len(step) - 1)]


def _converted(geometry: Geometry, converters: Converters, i: int, currents: Tensor, step: Tensor) -> Tensor:
    assert geometry.codes is not None and geometry.machine.adc_bits is not None
    low, high = geometry.codes
    level = currents * (converters.gain[i] / step[min(i, len(step) - 1)]) + converters.offset[i]
    if converters.thresholds is None:
        return level.floor().clamp(low, high)
    table = converters.thresholds[i]
    columns = torch.arange(table.shape[0], device=currents.device)
    code = torch.zeros(level.shape, dtype=torch.int64, device=currents.device)
    for bit in reversed(range(geometry.machine.adc_bits)):
        trial = code | (1 << bit)
        code = torch.where(level >= table[columns, trial] + low, trial, code)
    return torch.where(level.isnan(), level, (code + low).to(level.dtype))


def _summed(geometry: Geometry, codes: Tensor, factor: Tensor) -> Tensor:
    own = geometry.groups * geometry.n_out
    scaled = codes * factor
    if geometry.n_references and not geometry.merged_references:
        scaled = scaled[:, :own] - scaled[:, geometry.constant("reference_of", codes.device)]
    return scaled[:, :own].reshape(len(codes), geometry.groups, geometry.n_out).sum(1)
