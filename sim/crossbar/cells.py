"""The life of one array's cells: programmed, drifted, stuck, read.

Every random number belongs to a cell and to what it decides: the same chip is the same cells, in whatever order arrays
are programmed and read. The functions take an array's *key*, made of the chip's seed and the array's place. What a cell
is made with (its factor of device-to-device spread, the draw of its drift exponent) depends on that key alone; what a
write draws depends on the key, the *generation* (how often the array was written before) and the attempt.
"""

__all__ = ["Cells", "Programmed", "ReadNoise", "drift_factor", "drifted", "program", "read_variance"]

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from tetrit import checks, noise
from tetrit.errors import InvalidValueError
from tetrit.hardware.device import BOLTZMANN, CHARGE, REFERENCE_K, Device
from tetrit.sim.crossbar.faults import Faults, checked_faults, checked_targets, with_faults

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_DEVICE, _PROGRAM, _CYCLE, _DRIFT = range(1, 5)  # which quantity a key draws; `faults` has its own


@dataclass(frozen=True, kw_only=True, eq=False)
class Programmed:
    """What programming an array left.

    Attributes
    ----------
    g_siemens : array of float64, shape (rows, cols)
        Conductances at 300 K.
    attempts : array of int64, shape (rows, cols)
        Attempts that every cell took.
    """

    g_siemens: Floats
    attempts: Ints


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadNoise:
    """Noise of a read, cell by cell, all independent and Gaussian.

    A cell under the voltage V (or, between wire resistances, with V across it) adds current noise of the variance
    ``flicker V**2 + shot |V| g + thermal`` in A**2.

    Attributes
    ----------
    flicker : array of float64, shape (rows, cols)
        Variance of the conductance in S**2.
    shot : float
        In A: ``2 q B`` with the bandwidth ``B = 1 / (2 read_time)``; 0 for cells without.
    thermal : array of float64, shape (rows, cols)
        Variance of the current in A**2: ``4 k T g B``, or, of a charge-domain cell whatever it holds, that of a charge
        of variance ``k T C`` in a read time; 0 for cells without.
    """

    flicker: Floats
    shot: float
    thermal: Floats


def program(
    targets_siemens: npt.ArrayLike, device: Device, window: tuple[float, float], *, key: int, generation: int = 0
) -> Programmed:
    """Program an array's cells.

    An attempt at a target g leaves ``max(0, (g + sigma(g) z) cycle device)``: z standard normal and the cycle's factor
    drawn at every attempt, the device's factor once a chip. A device with `write_cycles` above 1 tries until the error
    is within `write_tolerance_siemens`; a cell that never gets there keeps its last attempt.

    Parameters
    ----------
    targets_siemens : array_like of float, shape (rows, cols)
        Within `window`.
    device : Device
    window : tuple of float
        Smallest and largest conductance in use.
    key : int
        Of the array, see `tetrit.noise.key`.
    generation : int, default 0
        How often the array was written before.

    Raises
    ------
    InvalidValueError
        Targets that are no matrix, not finite or outside the window; the message names row and column.

    Examples
    --------
    >>> from tetrit import noise
    >>> from tetrit.hardware import Device
    >>> pcm = Device.load("pcm")
    >>> done = program([[0.0, 25e-6]] * 10_000, pcm, (0.0, 25e-6), key=noise.key(1))
    >>> [f"{s * 1e6:.2f} uS" for s in done.g_siemens.std(axis=0)]  # conductances are never negative
    ['0.15 uS', '1.05 uS']
    """
    targets = checked_targets(targets_siemens, window)
    generation = checks.integer("generation", generation, minimum=0)
    sigma = device.program_sigma(targets)
    made = _factor(device.device_spread, device.device_distribution, noise.key(key, _DEVICE), targets.shape)
    g = np.empty_like(targets)
    attempts = np.zeros(targets.shape, np.int64)
    tolerance = device.write_tolerance_siemens
    busy = np.ones(targets.shape, bool)
    for attempt in range(device.write_cycles):
        tried = targets
        if sigma.any():
            tried = targets + sigma * _normals(noise.key(key, _PROGRAM, generation, attempt), targets.shape)
        of_cycle = noise.key(key, _CYCLE, generation, attempt)
        tried = tried * _factor(device.cycle_spread, device.cycle_distribution, of_cycle, targets.shape) * made
        np.copyto(g, np.maximum(tried, 0.0), where=busy)
        attempts += busy
        if tolerance is not None:
            busy = np.abs(g - targets) > tolerance
            if not busy.any():
                break
    return Programmed(g_siemens=g, attempts=attempts)


def drifted(programmed: Floats, targets: Floats, device: Device, time_s: float, *, key: int) -> Floats:
    """Return conductances `time_s` after programming, at 300 K.

    ``g ((t + t0) / t0)**-nu`` with ``nu = |mean + sigma z|``; mean and sigma are `Device.drift_statistics` of the
    targets, and z belongs to the cell: it is the same for all times and generations.

    Parameters
    ----------
    programmed, targets : array of float64, shape (rows, cols)
        As programmed, and as it was meant, in siemens.
    device : Device
    time_s : float
        Non-negative.
    key : int
        Of the array.
    """
    time_s = checks.real("time_s", time_s, minimum=0.0)
    mean, sigma = device.drift_statistics(targets)
    if time_s == 0 or not (mean.any() or sigma.any()):
        return programmed.copy()
    exponents = np.abs(mean + sigma * _normals(noise.key(key, _DRIFT), targets.shape))
    return np.asarray(programmed * np.exp(-np.log1p(time_s / device.drift_start_s) * exponents))


def read_variance(
    g_siemens: Floats,
    device: Device,
    time_s: float,
    read_time_s: float,
    temperature_k: float,
    *,
    programmed: Floats | None = None,
) -> ReadNoise:
    """Return the variances of one read.

    Parameters
    ----------
    g_siemens : array of float64, shape (rows, cols)
        Conductances at the time and temperature of the read.
    device : Device
    time_s, read_time_s : float
        Since programming, and of integration.
    temperature_k : float
    programmed : array of float64, optional
        Conductances as programmed, on which the strength of 1/f noise depends; by default `g_siemens`.
    """
    origin = g_siemens if programmed is None else programmed
    thermal = np.zeros_like(g_siemens)
    if device.thermal and device.capacitance_farad is not None:
        thermal[...] = BOLTZMANN * temperature_k * device.capacitance_farad / read_time_s**2
    elif device.thermal:
        thermal = 4 * BOLTZMANN * temperature_k * g_siemens / (2 * read_time_s)
    return ReadNoise(
        flicker=device.flicker_sigma(g_siemens, origin, time_s, read_time_s) ** 2,
        shot=2 * CHARGE / (2 * read_time_s) if device.shot else 0.0,
        thermal=thermal,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """One array after programming: what its cells are at any later time and temperature.

    Attributes
    ----------
    device : Device
    window : tuple of float
    key : int
        Of the array.
    targets, programmed : array of float64, shape (rows, cols)
        In siemens at 300 K; stuck cells are already at the ends of the window in `programmed`.
    attempts : array of int64, shape (rows, cols)
        Programming attempts, for the energy; stuck cells take as many as they would if they were healthy.
    faults : array of int8, shape (rows, cols)
    """

    device: Device
    window: tuple[float, float]
    key: int
    targets: Floats
    programmed: Floats
    attempts: Ints
    faults: Faults

    @classmethod
    def written(
        cls,
        targets_siemens: npt.ArrayLike,
        device: Device,
        window: tuple[float, float],
        *,
        key: int,
        generation: int = 0,
        faults: Faults | None = None,
    ) -> Self:
        """Program an array, see `program`; without `faults` all cells are healthy."""
        targets = checked_targets(targets_siemens, window)
        done = program(targets, device, window, key=key, generation=generation)
        stuck = np.zeros(targets.shape, np.int8) if faults is None else checked_faults(faults, targets.shape)
        return cls(
            device=device,
            window=window,
            key=key,
            targets=targets,
            programmed=with_faults(done.g_siemens, stuck, window),
            attempts=done.attempts,
            faults=stuck,
        )

    def conductance(self, time_s: float = 0.0, temperature_k: float = REFERENCE_K) -> Floats:
        """Return the conductances in siemens; stuck cells do not drift, and follow the temperature as all do."""
        g = drifted(self.programmed, self.targets, self.device, time_s, key=self.key)
        return self.device.at_temperature(with_faults(g, self.faults, self.window), temperature_k)

    def read_noise(self, g_siemens: Floats, time_s: float, read_time_s: float, temperature_k: float) -> ReadNoise:
        """Return the noise of a read at conductances `g_siemens`, which `conductance` gave."""
        return read_variance(g_siemens, self.device, time_s, read_time_s, temperature_k, programmed=self.programmed)


def drift_factor(programmed: Floats, now: Floats) -> float:
    """Return what results are multiplied with for global drift compensation (Le Gallo et al. 2018).

    The ratio of the summed currents of all columns with all inputs on, just after programming and now. Give effective
    conductances where wires have a resistance.

    Raises
    ------
    InvalidValueError
        No current is left now.
    """
    before, after = float(programmed.sum()), float(now.sum())
    if before == after:
        return 1.0
    if after <= 0:
        raise InvalidValueError("drift cannot be compensated: no cell of the array conducts any more")
    return before / after


def _normals(key: int, shape: tuple[int, ...]) -> Floats:
    return np.asarray(noise.normals(key, shape[0] * shape[1]), np.float64).reshape(shape)


def _factor(spread: float, distribution: str, key: int, shape: tuple[int, ...]) -> Floats | float:
    """Draw factors ``1 + s z`` or ``exp(s z)``."""
    if spread == 0:
        return 1.0
    factor = spread * _normals(key, shape)
    return np.exp(factor) if distribution == "lognormal" else 1.0 + factor
