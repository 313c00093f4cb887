"""Slow references of the estimators of this family: plain Python loops over scalars, written from the formulas.

They share no code with the kernels; tests hold the kernels to them, codes and scales bit by bit. Conventions are those
of `tetrit.estimators.reference`: int64 codes, scales as a dict from channel index (None for the tensor) to float.
"""

__all__ = [
    "adaptive_step",
    "adaptive_step_backward",
    "asq_backward",
    "asq_codes",
    "asq_gradients",
    "kmeans_step",
    "nearest_code",
    "nupes_codes",
    "nupes_levels",
    "nupes_power_gradient",
    "post_backward",
    "post_forward",
    "proximal",
    "quantile_magnitude",
    "table_codes",
    "table_gradient",
]

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.estimators._loops import Scales, channels, left_to_right, ordered_sum

Doubles = NDArray[np.float64]


def nearest_code(v: float, levels: Sequence[float]) -> int:
    """Code of the level nearest to v, in exact arithmetic; of two, the even code; of equal parity, the lower one.

    Of equal levels only the lowest code counts; NaN levels are reserved codes.
    """
    best: tuple[Fraction, int, int] | None = None
    for code, level in enumerate(levels):
        if math.isnan(level) or level in levels[:code]:
            continue
        candidate = (abs(Fraction(v) - Fraction(level)), code % 2, code)
        if best is None or candidate < best:
            best = candidate
    assert best is not None
    return best[2]


def quantile_magnitude(magnitudes: Sequence[float], quantile: float) -> float:
    """Smallest magnitude with at least max(1, ceil(quantile n)) of the n magnitudes at or below it; 0 for none."""
    wanted = max(1, math.ceil(quantile * len(magnitudes)))
    for magnitude in sorted(magnitudes):
        if sum(other <= magnitude for other in magnitudes) >= wanted:
            return magnitude
    return 0.0


def post_forward(
    w: NDArray[Any], *, levels: Sequence[float], quantile: float, axis: int | None = None
) -> tuple[NDArray[np.int64], Scales]:
    """Codes and scales of `POST`."""
    codes = np.zeros(w.shape, np.int64)
    scales: Scales = {}
    top = max(level for level in levels if not math.isnan(level))
    for channel, members in channels(w.shape, axis).items():
        magnitudes = [abs(float(w[index])) for index in members]
        alpha = quantile_magnitude(magnitudes, quantile) or max(magnitudes, default=0.0)
        scales[channel] = alpha / top or 1.0
        for index in members:
            codes[index] = nearest_code(float(w[index]) / scales[channel], levels)
    return codes, scales


def post_backward(w: NDArray[Any], grad_out: NDArray[Any], *, quantile: float, axis: int | None = None) -> NDArray[Any]:
    """Clipped gradient of `POST`."""
    grad = np.zeros_like(grad_out, order="C")
    for members in channels(w.shape, axis).values():
        magnitudes = [abs(float(w[index])) for index in members]
        alpha = quantile_magnitude(magnitudes, quantile) or max(magnitudes, default=0.0)
        for index in members:
            if abs(float(w[index])) <= alpha:
                grad[index] = grad_out[index]
    return grad


def asq_codes(
    x: NDArray[Any], *, low: int, high: int, bits: int, step: float, betas: Scales, axis: int | None
) -> NDArray[np.int64]:
    """Codes of `ASQ`."""
    codes = np.zeros(x.shape, np.int64)
    for sample, members in channels(x.shape, axis).items():
        for index in members:
            z = float(x[index]) / (step * betas[sample])
            q = high if z >= high else low if z <= low else round(z)
            codes[index] = q % 2**bits
    return codes


def asq_backward(
    x: NDArray[Any], grad_out: NDArray[Any], *, low: int, high: int, step: float, betas: Scales, axis: int | None
) -> NDArray[Any]:
    """Gradient of `ASQ` by x."""
    grad = np.zeros_like(grad_out, order="C")
    for sample, members in channels(x.shape, axis).items():
        for index in members:
            if low < float(x[index]) / (step * betas[sample]) < high:
                grad[index] = float(grad_out[index]) * (1.0 / betas[sample])
    return grad


def asq_gradients(
    x: NDArray[Any], grad_out: NDArray[Any], *, low: int, high: int, step: float, betas: Scales, axis: int | None
) -> tuple[float, list[float]]:
    """Gradients of `ASQ` by the step, factor included, and by the beta of every sample."""
    by_step, by_beta = [], []
    n = 0
    for sample, members in channels(x.shape, axis).items():
        rounds, slopes = [], []
        n = len(members)
        for index in members:
            z = float(x[index]) / (step * betas[sample])
            g = float(grad_out[index])
            inside = low < z < high
            rounds.append(g * (round(z) - z if inside else float(low) if z <= low else float(high)))
            slopes.append(g * z if inside else 0.0)
        by_step.append(ordered_sum(rounds))
        by_beta.append(-ordered_sum(slopes) * (step / betas[sample]))
    return left_to_right(by_step) * (1.0 / math.sqrt(max(n, 1) * float(high))), by_beta


def adaptive_step(x: NDArray[Any], parameters: Mapping[str, Doubles]) -> tuple[Doubles, Doubles, Doubles]:
    """Beta of `AdaptiveStep`, the means of the channels and the hidden layer, number by number."""
    weight, bias = parameters["hidden_weight"], parameters["hidden_bias"]
    samples, n_channels = x.shape[:2]
    betas, means, hidden = np.zeros(samples), np.zeros((samples, n_channels)), np.zeros((samples, len(bias)))
    for i in range(samples):
        for c in range(n_channels):
            places = [float(v) for v in x[i, c].reshape(-1)]
            means[i, c] = ordered_sum(places) / max(len(places), 1)
        for h in range(len(bias)):
            total = left_to_right([float(means[i, c]) * float(weight[h, c]) for c in range(n_channels)])
            hidden[i, h] = max(total + float(bias[h]), 0.0)
        out = left_to_right([float(hidden[i, h]) * float(parameters["out_weight"][h]) for h in range(len(bias))])
        betas[i] = max(out + float(parameters["out_bias"]), 0.0, 1e-8)
    return betas, means, hidden


def adaptive_step_backward(
    x: NDArray[Any], grad_beta: Doubles, parameters: Mapping[str, Doubles]
) -> dict[str, Doubles]:
    """Gradients of `AdaptiveStep` by the chain rule, path by path."""
    weight, out_weight = parameters["hidden_weight"], parameters["out_weight"]
    betas, means, hidden = adaptive_step(x, parameters)
    grads = {name: np.zeros(np.shape(array)) for name, array in parameters.items()}
    grads["x"] = np.zeros(x.shape)
    for i in range(len(betas)):
        if betas[i] <= 1e-8:
            continue
        g = float(grad_beta[i])
        grads["out_bias"] += g
        for h in range(len(out_weight)):
            grads["out_weight"][h] += g * hidden[i, h]
            if hidden[i, h] > 0:
                grads["hidden_bias"][h] += g * out_weight[h]
                for c in range(x.shape[1]):
                    grads["hidden_weight"][h, c] += g * out_weight[h] * means[i, c]
                    grads["x"][i, c] += g * out_weight[h] * weight[h, c] / max(x[i, c].size, 1)
    return grads


def nupes_levels(bits: int, power: float) -> list[float]:
    """Value by two's-complement code, scale 1; 0 for the code that is not used."""
    top = 2 ** (bits - 1) - 1
    levels = [0.0] * 2**bits
    for q in range(1, top + 1):
        levels[q] = (q / top) ** (1.0 / power)
        levels[-q] = -levels[q]
    return levels


def nupes_codes(
    w: NDArray[Any], *, bits: int, power: float, axis: int | None = None
) -> tuple[NDArray[np.int64], Scales]:
    """Codes and scales of `NUPES`: count up while w lies beyond the next border."""
    top = 2 ** (bits - 1) - 1
    codes = np.zeros(w.shape, np.int64)
    scales: Scales = {}
    for channel, members in channels(w.shape, axis).items():
        scales[channel] = max((abs(float(w[index])) for index in members), default=0.0) or 1.0
        for index in members:
            u = float(w[index]) / scales[channel]
            q = 0
            while q < top:
                border = ((q + 0.5) / top) ** (1.0 / power)
                if abs(u) > border or (abs(u) == border and q % 2 == 1):
                    q += 1
                else:
                    break
            codes[index] = (-q if u < 0 else q) % 2**bits
    return codes, scales


def nupes_power_gradient(
    w: NDArray[Any], grad_out: NDArray[Any], *, bits: int, power: float, axis: int | None = None
) -> float:
    """Gradient of `NUPES` by the exponent: decode(q, a) by a at fixed q, plus its slope by q times that of q by a."""
    top = 2 ** (bits - 1) - 1
    codes, scales = nupes_codes(w, bits=bits, power=power, axis=axis)
    terms = []
    for channel, members in channels(w.shape, axis).items():
        for index in members:
            q = int(codes[index])
            q = 2**bits - q if q > top else q
            if q == 0:
                continue
            u, t = abs(float(w[index])) / scales[channel], q / top
            decoded_by_power = -(t ** (1 / power)) * math.log(t) / power**2
            decoded_by_q = t ** (1 / power - 1) / (power * top)
            q_by_power = top * u**power * math.log(u)
            slope = math.copysign(scales[channel], float(w[index])) * (decoded_by_power + decoded_by_q * q_by_power)
            terms.append(float(grad_out[index]) * slope)
    return math.fsum(terms)


def table_codes(w: NDArray[Any], *, table: Sequence[float]) -> NDArray[np.int64]:
    """Codes of `LearnedTable`."""
    codes = np.zeros(w.shape, np.int64)
    for index in np.ndindex(*w.shape):
        codes[index] = nearest_code(float(w[index]), table)
    return codes


def table_gradient(w: NDArray[Any], grad_out: NDArray[Any], *, table: Sequence[float]) -> list[float]:
    """Gradient of `LearnedTable` by every entry; eight lanes by the place in the array."""
    codes = table_codes(w, table=table).reshape(-1)
    grads = [float(g) for g in grad_out.reshape(-1)]
    return [
        ordered_sum([g if code == entry else 0.0 for g, code in zip(grads, codes, strict=True)], lanes=8)
        for entry in range(len(table))
    ]


def proximal(w: NDArray[Any], *, table: Sequence[float], strength: float, quadratic: bool) -> NDArray[Any]:
    """Proximal update of `LearnedTable`, in the dtype of `w`."""
    moved = np.zeros_like(w, order="C")
    for index in np.ndindex(*w.shape):
        v = float(w[index])
        level = table[nearest_code(v, table)]
        if quadratic:
            moved[index] = (v + strength * level) / (1.0 + strength)
        elif v - level > strength:
            moved[index] = v - strength
        elif level - v > strength:
            moved[index] = v + strength
        else:
            moved[index] = level
    return moved


def kmeans_step(w: NDArray[Any], *, table: Sequence[float]) -> list[float]:
    """Table after one round of k-means; an entry without members stays."""
    codes = table_codes(w, table=table).reshape(-1).tolist()
    sums = table_gradient(w, w, table=table)
    return [sums[k] / codes.count(k) if k in codes else level for k, level in enumerate(table)]
