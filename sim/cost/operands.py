"""The authority for operands that stand for those of a network where nothing is known of them (our assumption)."""

__all__ = ["SIMD_SPREAD", "has_zeros", "normal_weights", "rectified", "typical", "typical_simd"]

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.formats import RealFormat
from tetrit.hardware import ShiftArray
from tetrit.sim.program import Mapping

Ints = npt.NDArray[np.int64]

SEED = 0
VECTORS, TILES = 32, 4
ZEROS, SPREAD = 0.5, 0.25
_WIDTH = {"posit4_1": 1.0}
"""Standard deviation of normal weights: a posit is finest at 1; other formats reach to three standard deviations."""

SIMD_SPREAD = {"fp4_e2m1": 1.5}
"""Standard deviation of a SIMD engine's operands: a quarter of FP4's largest value; 1 for posits, finest there."""


def has_zeros(weight_format: RealFormat) -> bool:
    """Return whether a weight can be zero."""
    return bool((weight_format.integers[~np.isnan(weight_format.values)] == 0).any())


def rectified(values: npt.NDArray[np.float64], spread: float, act_format: RealFormat) -> Ints:
    """Return values of standard deviation 1 as activations of a standard deviation of `spread` of the range."""
    integers = act_format.integers
    top, bottom = int(integers.max()), int(integers.min())
    return np.clip(np.rint(values * spread * top), bottom, top).astype(np.int64)


def normal_weights(weight_format: RealFormat, shape: tuple[int, ...], rng: np.random.Generator) -> Ints:
    """Return codes of normal weights."""
    width = _WIDTH.get(weight_format.name, weight_format.max_value / 3.0)
    return weight_format.encode(rng.normal(0.0, width, shape)).astype(np.int64)


def typical(machine: ShiftArray, weight_zeros: float) -> tuple[Ints, npt.NDArray[np.uint8], Ints, Mapping]:
    """Return activations, weight codes, bias and tiles that stand for those of a network.

    Activations as after a ReLU: half of them 0, the others half-normal with a standard deviation of a quarter of the
    range. Weights normal, with that share of zeros where the format has any. As many vectors as
    there are rows, at least 32 where weights are stationary, and 4 full tiles along the sums (output stationary: 128
    terms).
    """
    rng = np.random.default_rng(SEED)
    stationary = machine.dataflow == "weight_stationary"
    m, k = (max(VECTORS, machine.rows), TILES * machine.rows) if stationary else (machine.rows, VECTORS * TILES)
    acts = rectified(np.abs(rng.normal(size=(m, k))) * (rng.random((m, k)) >= ZEROS), SPREAD, machine.activations)
    fmt = machine.weights
    codes = normal_weights(fmt, (k, machine.cols), rng)
    integers, usable = fmt.integers, np.flatnonzero(~np.isnan(fmt.values))
    zeros = usable[integers[usable] == 0]
    if len(zeros):
        least = np.array(
            [usable[integers[usable] == sign * np.abs(integers[integers != 0]).min()][0] for sign in (1, -1)]
        )
        others = np.where(integers[codes] == 0, rng.choice(least, size=codes.shape), codes)
        codes = np.where(rng.random(codes.shape) < weight_zeros, zeros[0], others)
    bias = np.rint(rng.normal(0.0, int(machine.activations.integers.max()) * SPREAD, machine.cols)).astype(np.int64)
    tiling = Mapping(tile_m=m, tile_k=machine.rows if stationary else k, tile_n=machine.cols)
    return acts, codes.astype(np.uint8), bias, tiling


def typical_simd(act_format: str, weight_format: str) -> tuple[Ints, Ints]:
    """Return codes of activations (32, 256) and weights (256, 16) that stand for those of a network.

    Activations as after a ReLU, half of them 0 and the others half-normal, weights normal, both with the standard
    deviations of `SIMD_SPREAD`.
    """
    rng = np.random.default_rng(SEED)
    terms = 256
    acts = np.abs(rng.normal(0.0, SIMD_SPREAD.get(act_format, 1.0), (VECTORS, terms)))
    acts *= rng.random(acts.shape) >= ZEROS
    weights = rng.normal(0.0, SIMD_SPREAD.get(weight_format, 1.0), (terms, 16))
    return (
        formats.get(act_format).encode(acts).astype(np.int64),
        formats.get(weight_format).encode(weights).astype(np.int64),
    )
