"""Slow references of the stochastic estimators: plain Python loops over scalars, written from the formulas.

They share no code with the kernels and are the readable specification; tests hold the kernels to them bit by bit.

Every function takes an array and walks over it index by index. Codes come back as an int64 array of the same shape,
scales as a dict from channel index (None for the whole tensor) to float. `values` is a format's list of values by code.
"""

__all__ = [
    "absmax_scales",
    "clipped_backward",
    "clipped_forward",
    "double_rounding_backward",
    "lotion_backward",
    "lotion_variance",
    "lsq_step_gradient",
    "lsq_steps",
    "narrowed",
    "noise_draws",
    "noisy",
    "random_rounding",
    "random_words",
    "round_up_probability",
    "uniform_draws",
]

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.estimators._loops import Scales, channels, is_negative, ordered_sum


def absmax_scales(w: NDArray[Any], *, max_value: float, limit: float | None = None, axis: int | None = None) -> Scales:
    """Return (limit or largest |w|) / max_value of every channel, 1 where that is 0."""
    scales: Scales = {}
    for channel, members in channels(w.shape, axis).items():
        reach = max([abs(float(w[index])) for index in members], default=0.0) if limit is None else limit
        scales[channel] = reach / max_value or 1.0
    return scales


def _neighbours(v: float, values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the largest value at or below v, and the smallest above; None where there is none. Looks at all values."""
    below: float | None = None
    above: float | None = None
    for value in values:
        if not math.isfinite(value):
            continue
        if value <= v and (below is None or value > below):
            below = value
        if value > v and (above is None or value < above):
            above = value
    return below, above


def round_up_probability(v: float, values: Sequence[float]) -> float:
    """Return the float64 probability with which v goes to its upper neighbour; 0 where it has none, or saturates."""
    below, above = _neighbours(v, values)
    if below is None or above is None:
        return 0.0
    return (v - below) / (above - below)


def random_rounding(
    w: NDArray[Any], draws: NDArray[np.float64], *, values: Sequence[float], scales: Scales, axis: int | None = None
) -> NDArray[np.int64]:
    """Codes of `StochasticRounding` for the given draws."""
    codes = np.zeros(w.shape, np.int64)
    for channel, members in channels(w.shape, axis).items():
        for index in members:
            v = float(w[index]) / scales[channel]
            below, above = _neighbours(v, values)
            if below is None:
                chosen = above
            elif above is None or not float(draws[index]) < round_up_probability(v, values):
                chosen = below
            else:
                chosen = above
            same = [code for code, value in enumerate(values) if value == chosen]
            if chosen == 0.0:  # of two zeros, the one with the sign of v
                same = [code for code in same if is_negative(values[code]) == is_negative(v)] or same
            codes[index] = same[0]
    return codes


def lotion_variance(
    w: NDArray[Any], *, values: Sequence[float], scales: Scales, axis: int | None = None
) -> NDArray[np.float64]:
    """Variance of the randomised rounding of every weight; 0 where it saturates."""
    variance = np.zeros(w.shape)
    for channel, members in channels(w.shape, axis).items():
        s = scales[channel]
        for index in members:
            v = float(w[index]) / s
            below, above = _neighbours(v, values)
            if below is not None and above is not None:
                d, gap = v - below, above - below
                variance[index] = (s * s) * (d * (gap - d))
    return variance


def lotion_backward(
    w: NDArray[Any],
    grad_out: NDArray[Any],
    *,
    curvature: NDArray[np.float64] | None,
    weight: float,
    values: Sequence[float],
    scales: Scales,
    axis: int | None = None,
) -> NDArray[Any]:
    """Gradient of `LOTION`, in the dtype of `grad_out`."""
    grad = np.zeros_like(grad_out, order="C")
    for channel, members in channels(w.shape, axis).items():
        s = scales[channel]
        for index in members:
            g = float(grad_out[index])
            h = g * g if curvature is None else float(curvature[index])
            v = float(w[index]) / s
            below, above = _neighbours(v, values)
            slope = 0.0
            if below is not None and above is not None:
                slope = 0.5 * s * ((above - below) - 2.0 * (v - below))
            grad[index] = g + weight * h * slope
    return grad


def random_words(rng: np.random.Generator, n: int) -> list[int]:
    """Return the n words of a call: the first outputs of SplitMix64 in the state that `rng` gives."""
    state, words = int(rng.integers(2**64, dtype=np.uint64)), []
    for _ in range(n):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        x = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        words.append(x ^ (x >> 31))
    return words


def uniform_draws(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the draws of `StochasticRounding`: the top 53 bits of every word."""
    words = random_words(rng, math.prod(shape))
    return np.array([(word >> 11) / 2**53 for word in words]).reshape(shape)


def noise_draws(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the noise R of `GaussWS`: the top 52 bits of every word against the tails of the normal distribution."""
    noise = []
    for word in random_words(rng, math.prod(shape)):
        t, size = (word >> 12) / 2**52, 0
        while t < math.erfc((2 * size + 1) / math.sqrt(2.0)):
            size += 1
        noise.append(float(-size if word % 2 else size))
    return np.array(noise).reshape(shape)


def noisy(w: NDArray[Any], noises: NDArray[np.float64], *, bits: float, block: int) -> NDArray[np.float64]:
    """Forward values of `GaussWS` for the given noise R: every weight looks up the largest of its own block."""
    values = np.zeros(w.shape)
    for index in np.ndindex(*w.shape):
        members = [
            other
            for other in np.ndindex(*w.shape)
            if other[:-2] == index[:-2]
            and all(a // block == b // block for a, b in zip(other[-2:], index[-2:], strict=True))
        ]
        step = max(abs(float(w[other])) for other in members) * 2.0 ** (1.0 - bits)
        noise = float(noises[index])
        values[index] = float(w[index]) if noise == 0 else float(w[index]) + noise * step
    return values


def clipped_forward(
    w: NDArray[Any], *, low: int, high: int, bits: int, scales: Scales, axis: int | None = None
) -> NDArray[np.int64]:
    """Codes of clip(round(w / scale), low, high) in two's complement: `LSQ`, and what `DoubleRounding` stores."""
    codes = np.zeros(w.shape, np.int64)
    for channel, members in channels(w.shape, axis).items():
        for index in members:
            z = float(w[index]) / scales[channel]
            q = high if z >= high else low if z <= low else round(z)
            codes[index] = q if q >= 0 else q + 2**bits
    return codes


def clipped_backward(
    w: NDArray[Any], grad_out: NDArray[Any], *, low: int, high: int, scales: Scales, axis: int | None = None
) -> NDArray[Any]:
    """Gradient of `LSQ` by w."""
    grad = np.zeros_like(grad_out, order="C")
    for channel, members in channels(w.shape, axis).items():
        for index in members:
            if low < float(w[index]) / scales[channel] < high:
                grad[index] = grad_out[index]
    return grad


def lsq_steps(w: NDArray[Any], *, high: int, axis: int | None = None) -> Scales:
    """Step of `LSQ` at the start: 2 mean |w| / sqrt(Q_P), 1 where that is 0."""
    steps: Scales = {}
    for channel, members in channels(w.shape, axis).items():
        mean = ordered_sum([abs(float(w[index])) for index in members]) / max(len(members), 1)
        steps[channel] = 2.0 * mean / math.sqrt(float(high)) or 1.0
    return steps


def lsq_step_gradient(
    w: NDArray[Any], grad_out: NDArray[Any], *, low: int, high: int, scales: Scales, axis: int | None = None
) -> Scales:
    """Gradient of `LSQ` by the step of every channel, factor included."""
    gradients: Scales = {}
    for channel, members in channels(w.shape, axis).items():
        terms = []
        for index in members:
            z = float(w[index]) / scales[channel]
            slope = float(low) if z <= low else float(high) if z >= high else round(z) - z
            terms.append(float(grad_out[index]) * slope)
        gradients[channel] = ordered_sum(terms) * (1.0 / math.sqrt(max(len(terms), 1) * float(high)))
    return gradients


def narrowed(integer: int, bits: int) -> int:
    """Integer of `bits` bits for a stored 8-bit integer, by integer arithmetic alone: round half to even, then clip."""
    unit, half = 1 << (8 - bits), 1 << (bits - 1)
    down, rest = divmod(integer, unit)
    up = 2 * rest > unit or (2 * rest == unit and down % 2 == 1)
    return min(max(down + up, -half), half - 1)


def double_rounding_backward(
    w: NDArray[Any], grad_out: NDArray[Any], *, bits: int, scales: Scales, axis: int | None = None
) -> NDArray[Any]:
    """Gradient of `DoubleRounding`: 0 where the wide or the narrow rounding is beyond its range."""
    grad = np.zeros_like(grad_out, order="C")
    for channel, members in channels(w.shape, axis).items():
        for index in members:
            z = float(w[index]) / scales[channel]
            if not abs(z) < 1000.0:
                continue
            wide = round(z)
            narrow = round(wide / 2 ** (8 - bits))
            if -128 <= wide <= 127 and -(2 ** (bits - 1)) <= narrow <= 2 ** (bits - 1) - 1:
                grad[index] = grad_out[index]
    return grad
