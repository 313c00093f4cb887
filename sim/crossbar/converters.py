"""The errors of one chip's converters: what a row's DAC really puts out, and where a column's ADC changes its code.

A DAC's curve is a table of its output for every digit; an ADC has a step, a gain and an offset, and where its steps are
unequal, a table of thresholds that it searches as a successive-approximation converter does, bit by bit.
"""

__all__ = ["AdcErrors", "adc_errors", "adc_range", "dac_table", "step_for"]

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tetrit import noise
from tetrit.errors import InvalidValueError
from tetrit.hardware.converters import Adc, Dac

Floats = npt.NDArray[np.float64]

_OFFSET, _GAIN, _STEPS, _CAPACITORS = range(1, 5)  # which quantity a key draws


@dataclass(frozen=True, kw_only=True, eq=False)
class AdcErrors:
    """Converters of a chip, each with its own errors.

    Attributes
    ----------
    gain, offset : array of float64, shape (n,)
        Relative gain (1 is right) and offset in steps.
    thresholds : array of float64, shape (n, codes) or None
        Lowest input, in steps above the lowest code and raised by one half, that the converter takes for each code or
        more; entry 0 is not used. None where all steps are equal: then code c begins at c.
    """

    gain: Floats
    offset: Floats
    thresholds: Floats | None


def dac_table(dac: Dac, low: int, high: int, n_rows: int, *, key: int) -> Floats | None:
    """Return what the converters of a chip's rows put out.

    Parameters
    ----------
    dac : Dac
    low, high : int
        Range of the digit.
    n_rows : int
    key : int
        Of the chip and the rows.

    Returns
    -------
    array of float64, shape (n_rows, high - low + 1), or None
        In steps, for the digits from `low` to `high`; None for perfect converters.
    """
    if not (dac.offset_sigma_lsb or dac.gain_sigma or dac.dnl_sigma_lsb or dac.inl_lsb):
        return None
    n = high - low + 1
    digits = np.arange(low, high + 1, dtype=np.float64)
    gain = 1.0 + dac.gain_sigma * noise.normals(noise.key(key, _GAIN), n_rows)
    offset = dac.offset_sigma_lsb * noise.normals(noise.key(key, _OFFSET), n_rows)
    curve = _curve(dac.inl_lsb, n) + _walks(dac.dnl_sigma_lsb, n_rows, n, noise.key(key, _STEPS))
    return np.asarray(digits * gain[:, None] + offset[:, None] + curve)


def adc_range(bits: int, *, signed: bool) -> tuple[int, int]:
    """Return the lowest and the highest code: two's complement for currents of either sign, else from 0.

    Raises
    ------
    InvalidValueError
        One bit for currents of either sign.
    """
    if signed and bits < 2:
        raise InvalidValueError("`adc_bits` must be at least 2 where column currents may have either sign, got 1")
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def step_for(full_scale: float, top: int, *, power_of_two: bool = False) -> float:
    """Return the step in units with which code `top` reaches `full_scale` units; never finer than a unit."""
    step = max(full_scale / top, 1.0)
    if power_of_two:
        mantissa, exponent = math.frexp(step)
        return math.ldexp(1.0, exponent - 1 if mantissa == 0.5 else exponent)
    return step


def adc_errors(adc: Adc, bits: int, n: int, *, key: int) -> AdcErrors:
    """Draw the errors of the `n` converters of an array.

    Parameters
    ----------
    adc : Adc
    bits, n : int
    key : int
        Of the array.

    Notes
    -----
    Capacitor mismatch: bit b is ``2**b + sigma sqrt(2**b) z`` unit capacitors, and one unit more terminates the array;
    the level of a code is its share of the sum of all. Errors of several kinds add. These choices are **ours**.
    """
    gain = 1.0 + adc.gain_sigma * noise.normals(noise.key(key, _GAIN), n)
    offset = adc.offset_sigma_lsb * noise.normals(noise.key(key, _OFFSET), n)
    if not (adc.dnl_sigma_lsb or adc.inl_lsb or adc.capacitor_sigma):
        return AdcErrors(gain=gain, offset=offset, thresholds=None)
    codes = 2**bits
    thresholds = np.zeros((n, codes))
    thresholds += np.arange(codes)
    thresholds += _curve(adc.inl_lsb, codes)
    thresholds += _walks(adc.dnl_sigma_lsb, n, codes, noise.key(key, _STEPS))
    if adc.capacitor_sigma:
        thresholds += _capacitor_levels(adc.capacitor_sigma, bits, n, noise.key(key, _CAPACITORS)) - np.arange(codes)
    return AdcErrors(gain=gain, offset=offset, thresholds=thresholds)


def _capacitor_levels(sigma: float, bits: int, n: int, key: int) -> Floats:
    weights = 2.0 ** np.arange(bits)
    draws = noise.normals(key, n * (bits + 1)).reshape(n, bits + 1)
    capacitors = np.maximum(weights + sigma * np.sqrt(weights) * draws[:, :bits], 0.0)
    rest = np.maximum(1.0 + sigma * draws[:, bits], 0.0)
    total = capacitors.sum(axis=1) + rest
    result = np.zeros((n, 1))
    for b in range(bits):
        result = np.concatenate([result, result + capacitors[:, b : b + 1]], axis=1)
    return np.asarray(result * (2.0**bits / total)[:, None])


def _curve(points: tuple[float, ...], n: int) -> Floats:
    """Errors of `n` codes from a curve given at evenly spread points, linear in between."""
    if not points:
        return np.zeros(n)
    return np.interp(np.linspace(0.0, 1.0, n), np.linspace(0.0, 1.0, len(points)), points)


def _walks(sigma: float, n: int, codes: int, key: int) -> Floats | float:
    """Sum up random step errors, corrected so that the first and the last code are right."""
    if not sigma or codes < 3:
        return 0.0
    steps = sigma * noise.normals(key, n * (codes - 1)).reshape(n, codes - 1)
    walk = np.concatenate([np.zeros((n, 1)), np.cumsum(steps, axis=1)], axis=1)
    return np.asarray(walk - walk[:, -1:] * (np.arange(codes) / (codes - 1)))
