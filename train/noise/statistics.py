"""What a cell of each level is on average: mean and variance of its conductance and of its noise, by quadrature.

A chip that is drawn anew for every batch needs no more than these: a column's current is a sum over many cells, so that
its law depends on the cells' means and variances and on hardly anything else.
"""

__all__ = ["LevelStatistics", "level_statistics"]

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tetrit.hardware import Crossbar
from tetrit.hardware.device import BOLTZMANN, CHARGE, Device

Floats = npt.NDArray[np.float64]

_REACH = 8.0
"""Standard deviations that the grids of normals cover; beyond lie 1e-15 of all."""

_FINE, _COARSE = 1.0 / 16, 0.25
"""Steps of these grids: where a clip makes a kink, and where nothing does."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LevelStatistics:
    """Of a cell programmed to each level, when it is read; conductances count from the window's lower end, in levels.

    Attributes
    ----------
    mean, variance : array of float64, shape (levels,)
        Of the conductance.
    fresh : array of float64, shape (levels,)
        Its mean right after programming.
    flicker, shot, thermal : array of float64, shape (levels,)
        Mean variances of read noise, counted as in `tetrit.sim.crossbar.noise.CellNoise`; zeros where there is none.
    """

    mean: Floats
    variance: Floats
    fresh: Floats
    flicker: Floats
    shot: Floats
    thermal: Floats


@lru_cache(maxsize=64)
def level_statistics(machine: Crossbar) -> LevelStatistics:
    """Return the statistics of every level of a machine's cells, without stuck ones.

    Parameters
    ----------
    machine : Crossbar

    Notes
    -----
    The law is that of `tetrit.sim.crossbar.cells`: the programming error, clipped at 0, times the factors of cycle and
    device, verified or not; then drift. All four normals are integrated over grids, whose sums differ from the
    integrals by 1e-4 of a standard deviation or less; where a write is verified, the last attempt counts as the law has
    it.

    Examples
    --------
    >>> from tetrit.hardware import load
    >>> found = level_statistics(load("crossbar_256_pcm"))
    >>> found.mean[[0, 255]].round(2)  # never below 0, so the lowest level is above it on average
    array([  1.07, 255.  ])
    """
    cell, (low, high) = machine.cell, machine.window
    share = np.arange(2**machine.bits_per_cell) / (2**machine.bits_per_cell - 1)
    targets = low * (1.0 - share) + high * share
    sigmas = cell.program_sigma(targets)
    exponents = zip(*cell.drift_statistics(targets), strict=True)
    rows = [_level(machine, *level) for level in zip(targets, sigmas, exponents, strict=True)]
    found = np.array(rows).T
    unit = machine.level_siemens
    for row in (0, 2):
        found[row] = (found[row] - low) / unit
    found[1] = np.maximum(found[1], 0.0) / unit**2
    found[3:] /= unit**2
    names = ("mean", "variance", "fresh", "flicker", "shot", "thermal")
    return LevelStatistics(**dict(zip(names, found, strict=True)))


def _level(machine: Crossbar, target: float, sigma: float, exponent: tuple[float, float]) -> tuple[float, ...]:
    cell = machine.cell
    g, weight = _programmed(cell, target, sigma)
    now = machine.temperature_k
    hot = cell.at_temperature(g, now)
    fresh = float(weight @ hot)
    factors, shares = np.ones(1), np.ones(1)
    mean, spread = exponent
    if machine.time_s > 0 and (mean or spread):
        z, shares = _normal(_FINE if spread else math.inf)
        factors = np.exp(-np.log1p(machine.time_s / cell.drift_start_s) * np.abs(mean + spread * z))
    read = cell.at_temperature(np.multiply.outer(g, factors), now)
    both = np.multiply.outer(weight, shares)
    programmed = np.broadcast_to(g[:, None], read.shape)
    average = float((both * read).sum())
    flicker = cell.flicker_sigma(read, programmed, machine.time_s, machine.read_time_s) ** 2
    thermal = 0.0
    if cell.thermal and cell.capacitance_farad is not None:
        thermal = BOLTZMANN * now * cell.capacitance_farad / machine.read_time_s**2
    elif cell.thermal:
        thermal = 4 * BOLTZMANN * now * average / (2 * machine.read_time_s)
    shot = 2 * CHARGE / (2 * machine.read_time_s) * average if cell.shot else 0.0
    variance = float((both * (read - average) ** 2).sum())
    return average, variance, fresh, float((both * flicker).sum()), shot, thermal


def _programmed(cell: Device, target: float, sigma: float) -> tuple[Floats, Floats]:
    """Return what programming may leave, and how likely each is."""
    errors, of_error = _normal(_FINE if sigma else math.inf)
    cycles, of_cycle = _factor(cell.cycle_spread, cell.cycle_distribution)
    devices, of_device = _factor(cell.device_spread, cell.device_distribution)
    attempt = np.multiply.outer(target + sigma * errors, cycles)
    weight = np.multiply.outer(of_error, of_cycle)
    found, likely = [], []
    for device, share in zip(devices, of_device, strict=True):
        g = np.maximum(attempt * device, 0.0)
        chance = weight
        if cell.write_tolerance_siemens is not None:
            good = np.abs(g - target) <= cell.write_tolerance_siemens
            chance = weight * _verified(good, float(weight[good].sum()), cell.write_cycles)
        found.append(g.ravel())
        likely.append(share * chance.ravel())
    return np.concatenate(found), np.concatenate(likely)


def _verified(good: npt.NDArray[np.bool_], accepted: float, attempts: int) -> Floats:
    """Return how much more likely a result is after several attempts than after one."""
    missed = 1.0 - accepted
    some = (1.0 - missed**attempts) / accepted if accepted > 0 else 0.0
    return np.where(good, some, missed ** (attempts - 1))


def _factor(spread: float, distribution: str) -> tuple[Floats, Floats]:
    z, weight = _normal(_COARSE if spread else math.inf)
    return np.exp(spread * z) if distribution == "lognormal" else 1.0 + spread * z, weight


def _normal(step: float) -> tuple[Floats, Floats]:
    """Return a grid of standard normals and their shares; of the mean alone where the step is infinite."""
    if step == math.inf:
        return np.zeros(1), np.ones(1)
    z = np.arange(-_REACH, _REACH + step / 2, step)
    weight = np.exp(-(z**2) / 2)
    return z, weight / weight.sum()
