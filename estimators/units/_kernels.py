"""Golden kernels of the stochastic units: the exact order of every floating-point operation is fixed here.

Arrays are C-contiguous float64, one row per sample. Every kernel runs in the calling thread and adds in index order.
The logistic function never subtracts from 1: `sigmoid(-a)` is the complement, exact where `1 - sigmoid(a)` is not.
"""

__all__ = [
    "affine",
    "bernoulli",
    "psa_through",
    "rectifier",
    "scores",
    "sigmoid",
    "sigmoids",
    "slopes",
    "smooth",
    "smooth_slopes",
]

import math
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

Doubles: TypeAlias = NDArray[np.float64]


@njit(cache=True, nogil=True)
def sigmoid(a: float) -> float:
    """Return 1 / (1 + exp(-a)) without overflow, accurate in relative terms at both ends."""
    if a >= 0.0:
        return 1.0 / (1.0 + math.exp(-a))
    e = math.exp(a)
    return e / (1.0 + e)


@njit(cache=True, nogil=True)
def _root(a: float) -> float:
    """Return the square root of sigmoid(a), not 0 before a = -1490."""
    if a >= 0.0:
        return math.sqrt(1.0 / (1.0 + math.exp(-a)))
    return math.exp(0.5 * a) / math.sqrt(1.0 + math.exp(a))


@njit(cache=True, nogil=True)
def sigmoids(a: Doubles, out: Doubles) -> None:
    """Write sigmoid(a)."""
    for s in range(a.shape[0]):
        for i in range(a.shape[1]):
            out[s, i] = sigmoid(a[s, i])


@njit(cache=True, nogil=True)
def slopes(a: Doubles, out: Doubles) -> None:
    """Write the derivative of sigmoid at a."""
    for s in range(a.shape[0]):
        for i in range(a.shape[1]):
            out[s, i] = sigmoid(a[s, i]) * sigmoid(-a[s, i])


@njit(cache=True, nogil=True)
def bernoulli(a: Doubles, u: Doubles, low: float, out: Doubles) -> None:
    """Write 1 where u < sigmoid(a), else `low`."""
    for s in range(a.shape[0]):
        for i in range(a.shape[1]):
            out[s, i] = 1.0 if u[s, i] < sigmoid(a[s, i]) else low


@njit(cache=True, nogil=True)
def scores(a: Doubles, h: Doubles, out: Doubles) -> None:
    """Write h - sigmoid(a) for h of 0 or 1."""
    for s in range(a.shape[0]):
        for i in range(a.shape[1]):
            out[s, i] = sigmoid(-a[s, i]) if h[s, i] > 0.0 else -sigmoid(a[s, i])


@njit(cache=True, nogil=True)
def smooth(a: Doubles, u: Doubles, out: Doubles) -> None:
    """Write sqrt(sigmoid(a)) where u lies below it, else 0."""
    for s in range(a.shape[0]):
        for i in range(a.shape[1]):
            root = _root(a[s, i])
            out[s, i] = root if u[s, i] < root else 0.0


@njit(cache=True, nogil=True)
def smooth_slopes(a: Doubles, h: Doubles, out: Doubles) -> None:
    """Write the derivative of sqrt(sigmoid(a)) where the unit fired, else 0."""
    for s in range(a.shape[0]):
        for i in range(a.shape[1]):
            out[s, i] = 0.5 * _root(a[s, i]) * sigmoid(-a[s, i]) if h[s, i] > 0.0 else 0.0


@njit(cache=True, nogil=True)
def rectifier(a: Doubles, z: Doubles, sigma: float, out: Doubles) -> None:
    """Write max(0, a + sigma z)."""
    for s in range(a.shape[0]):
        for i in range(a.shape[1]):
            noisy = a[s, i] + sigma * z[s, i]
            out[s, i] = noisy if noisy > 0.0 else 0.0


@njit(cache=True, nogil=True)
def affine(x: Doubles, weight: Doubles, bias: Doubles, out: Doubles) -> None:
    """Write x @ weight + bias, each sum begun with the bias and added input by input."""
    for s in range(x.shape[0]):
        for j in range(weight.shape[1]):
            out[s, j] = bias[j]
        for i in range(weight.shape[0]):
            for j in range(weight.shape[1]):
                out[s, j] += x[s, i] * weight[i, j]


@njit(cache=True, nogil=True)
def psa_through(weight: Doubles, x: Doubles, a: Doubles, h: Doubles, flips: Doubles, out: Doubles) -> None:
    """Write what a flip of every input changes: sum over j of -h_j (F(a_j - 2 w_ij x_i) - F(a_j)) flips_j.

    With d = -2 w x the difference is F(a + d) - F(a) = F(a + d) F(-a) (1 - exp(-d)), taken in the direction in which
    the exponential falls, so that neither small nor huge weights lose digits.
    """
    n_in, n_out = weight.shape
    up = np.empty(n_out)
    down = np.empty(n_out)
    pull = np.empty(n_out)
    for s in range(x.shape[0]):
        for j in range(n_out):
            up[j] = sigmoid(a[s, j])
            down[j] = sigmoid(-a[s, j])
            pull[j] = -h[s, j] * flips[s, j]
        for i in range(n_in):
            total = 0.0
            for j in range(n_out):
                d = -2.0 * weight[i, j] * x[s, i]
                z = a[s, j] + d
                change = -sigmoid(z) * down[j] * math.expm1(-d) if d >= 0.0 else up[j] * sigmoid(-z) * math.expm1(d)
                total += change * pull[j]
            out[s, i] = total
