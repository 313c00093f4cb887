"""Slow references of the adaptive estimators: plain Python loops over scalars, written from the formulas.

They share no code with the kernels and are the readable specification; tests hold the kernels to them bit by bit.
"""

__all__ = [
    "adapt_forward",
    "gradient_diversity",
    "histogram_divergence",
    "push_down",
    "push_up",
    "tequila_backward",
    "tequila_bias",
    "tequila_forward",
]

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.estimators._loops import channels, ordered_sum


def tequila_forward(
    w: NDArray[Any], *, ratio: float, scale: str, axis: int | None = None
) -> tuple[NDArray[np.int64], dict[int | None, float]]:
    """Codes (0, 1, 3) and scales of `Tequila`."""
    codes = np.zeros(w.shape, np.int64)
    scales: dict[int | None, float] = {}
    for channel, members in channels(w.shape, axis).items():
        magnitudes = [abs(float(w[index])) for index in members]
        mean = ordered_sum(magnitudes) / len(members) if members else 0.0
        kept = [m if m > ratio * mean else 0.0 for m in magnitudes]
        n_kept = sum(m > ratio * mean for m in magnitudes)
        for index, magnitude in zip(members, magnitudes, strict=True):
            if magnitude > ratio * mean:
                codes[index] = 1 if float(w[index]) > 0.0 else 3
        chosen = ordered_sum(kept) / n_kept if scale == "kept" and n_kept else mean
        scales[channel] = chosen if n_kept and chosen > 0.0 else 1.0
    return codes, scales


def tequila_bias(w: NDArray[Any], codes: NDArray[np.int64], *, strength: float, outputs: int) -> list[float]:
    """Bias of every output of `Tequila`, given the codes."""
    return [
        strength * ordered_sum([0.0 if codes[index] else float(w[index]) for index in members])
        for members in channels(w.shape, outputs).values()
    ]


def tequila_backward(
    codes: NDArray[np.int64], grad_out: NDArray[Any], grad_bias: NDArray[Any], *, strength: float, outputs: int
) -> NDArray[Any]:
    """Gradient of `Tequila`, in the dtype of `grad_out`."""
    grad = np.zeros_like(grad_out, order="C")
    for index in np.ndindex(*codes.shape):
        g = float(grad_out[index])
        grad[index] = g if codes[index] else g + strength * float(grad_bias[index[outputs]])
    return grad


def adapt_forward(
    w: NDArray[Any], *, word: int, fraction: int, draws: NDArray[np.float64] | None = None
) -> NDArray[np.int64]:
    """Codes of `AdaPT` in exact rational arithmetic; with `draws` by stochastic rounding, probabilities in float64."""
    codes = np.zeros(w.shape, np.int64)
    for index in np.ndindex(*w.shape):
        exact = Fraction(float(w[index])) * Fraction(2) ** fraction
        if draws is None:
            integer = round(exact)
        else:
            integer = math.floor(exact)
            integer += bool(draws[index] < float(exact - integer))
        integer = min(max(integer, -(2 ** (word - 1))), 2 ** (word - 1) - 1)
        codes[index] = integer % 2**word
    return codes


def histogram_divergence(w: NDArray[Any], values: NDArray[Any], *, bins: int) -> float:
    """KL(values || w) of the histograms over the range of `w`, bin by bin."""
    reach = max([abs(float(v)) for v in w.reshape(-1)], default=0.0) or 1.0
    counts = [[0] * bins, [0] * bins]
    for count, array in zip(counts, (values, w), strict=True):
        for v in array.reshape(-1):
            place = (float(v) / reach + 1.0) * (0.5 * bins)
            count[bins - 1 if place >= bins - 1 else 0 if place < 0 else math.floor(place)] += 1
    divergence = 0.0
    for q, p in zip(*counts, strict=True):
        if q > 0 and p == 0:
            return math.inf
        if q > 0:
            divergence += q / w.size * math.log(q / p)
    return max(divergence, 0.0)


def push_down(w: NDArray[Any], *, bins: int, threshold: float, low: int, high: int) -> tuple[int, int]:
    """Return the first word length, from `low` up, whose rounding keeps the histogram."""
    whole = 0
    largest = max([abs(float(v)) for v in w.reshape(-1)], default=0.0)
    if largest > 0.0:
        whole = math.floor(math.log2(largest)) + 1
    for word in range(low, high):
        fraction = word - 1 - whole
        codes = adapt_forward(w, word=word, fraction=fraction)
        signed = np.where(codes >= 2 ** (word - 1), codes - 2**word, codes)
        if histogram_divergence(w, signed * 2.0**-fraction, bins=bins) <= threshold:
            return word, fraction
    return high, high - 1 - whole


def push_up(word: int, fraction: int, diversity: float, *, strategy: str, high: int, buffer: int) -> tuple[int, int]:
    """Return word and fraction length after one bit at a time as long as there is room in `high` bits."""
    front = word - fraction  # sign included; negative where the word begins behind the point
    behind = word - max(front, 1)  # bits of the word that are behind the point
    wanted = 1
    if math.e < diversity < math.inf:
        square = (math.log(diversity) - 1) ** 2
        first, second = max(math.ceil(1 / square), 1), max(min(math.ceil(high * square), high) - behind, 0)
        wanted = {"min": min(first, second), "mean": math.ceil((first + second) / 2), "max": max(first, second)}[
            strategy
        ]
    room = front + max(0, buffer - max(front, 1))
    new = fraction
    while wanted > 0 and new + 1 + room <= high and new < 1022:
        new, wanted = new + 1, wanted - 1
    grown = max(word, behind + new - fraction) + 1
    return min(max(grown, new + room), high), new


def gradient_diversity(gradients: Sequence[NDArray[Any]]) -> float:
    """Sum of norms over the norm of the sum, by `math.fsum`."""
    norms = math.fsum(math.sqrt(math.fsum(float(v) ** 2 for v in g.reshape(-1))) for g in gradients)
    places = range(gradients[0].size)
    sums = [math.fsum(float(g.reshape(-1)[k]) for g in gradients) for k in places]
    norm = math.sqrt(math.fsum(v * v for v in sums))
    return norms / norm if norm else math.inf
