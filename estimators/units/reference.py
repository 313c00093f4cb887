"""Slow references of the stochastic units: plain Python loops over scalars, written from the formulas.

They share no code with the kernels and are the readable specification. Arrays are walked over index by index; networks
are enumerated state by state.
"""

__all__ = [
    "leave_one_out",
    "network_gradients",
    "network_states",
    "noise_injection_forward",
    "psa_backward",
    "psa_path",
    "psa_through",
    "reinforce_backward",
    "sample",
    "sigmoid",
    "smooth_backward",
    "smooth_forward",
    "st_backward",
]

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
State = tuple[float, ...]


def sigmoid(a: float) -> float:
    """Return the logistic function of `a`."""
    if a >= 0:
        return 1 / (1 + math.exp(-a))
    return math.exp(a) / (1 + math.exp(a))


def sample(a: NDArray[Any], u: NDArray[Any], low: float) -> Doubles:
    """Give the states 1 and `low` that uniform numbers `u` draw."""
    h = np.zeros(a.shape)
    for index in np.ndindex(*a.shape):
        h[index] = 1.0 if float(u[index]) < sigmoid(float(a[index])) else low
    return h


def st_backward(a: NDArray[Any], grad: NDArray[Any], *, slope: bool) -> Doubles:
    """Gradient of `STBernoulli`."""
    out = np.zeros(a.shape)
    for index in np.ndindex(*a.shape):
        x = float(a[index])
        out[index] = float(grad[index]) * (sigmoid(x) * sigmoid(-x) if slope else 1.0)
    return out


def reinforce_backward(a: NDArray[Any], h: NDArray[Any], loss: NDArray[Any], baseline: NDArray[Any]) -> Doubles:
    """Gradient of `Reinforce`, for a baseline of the shape of `a`."""
    out = np.zeros(a.shape)
    for s, i in np.ndindex(*a.shape):
        x = float(a[s, i])
        score = sigmoid(-x) if h[s, i] == 1 else -sigmoid(x)
        out[s, i] = score * (float(loss[s]) - float(baseline[s, i]))
    return out


def leave_one_out(a: NDArray[Any], h: NDArray[Any], loss: NDArray[Any]) -> Doubles:
    """Weighted mean of the losses of the other samples, unit by unit."""
    out = np.zeros(a.shape)
    for s, i in np.ndindex(*a.shape):
        above = below = 0.0
        for t in range(a.shape[0]):
            if t != s:
                x = float(a[t, i])
                weight = (sigmoid(-x) if h[t, i] == 1 else sigmoid(x)) ** 2
                above += weight * float(loss[t])
                below += weight
        out[s, i] = above / below if below > 0 else 0.0
    return out


def smooth_forward(a: NDArray[Any], u: NDArray[Any]) -> Doubles:
    """Give the outputs of `SmoothTimesStochastic` that uniform numbers `u` draw."""
    h = np.zeros(a.shape)
    for index in np.ndindex(*a.shape):
        root = math.sqrt(sigmoid(float(a[index])))
        h[index] = root if float(u[index]) < root else 0.0
    return h


def smooth_backward(a: NDArray[Any], h: NDArray[Any], grad: NDArray[Any]) -> Doubles:
    """Gradient of `SmoothTimesStochastic`: d sqrt(p) / da = p' / (2 sqrt(p))."""
    out = np.zeros(a.shape)
    for index in np.ndindex(*a.shape):
        x = float(a[index])
        p = sigmoid(x)
        if h[index] > 0:
            out[index] = float(grad[index]) * (p * sigmoid(-x)) / (2 * math.sqrt(p))
    return out


def noise_injection_forward(a: NDArray[Any], z: NDArray[Any], sigma: float) -> Doubles:
    """Give the outputs of `NoiseInjection` that standard normal numbers `z` draw."""
    h = np.zeros(a.shape)
    for index in np.ndindex(*a.shape):
        h[index] = max(0.0, float(a[index]) + sigma * float(z[index]))
    return h


def psa_backward(a: NDArray[Any], h: NDArray[Any], flips: NDArray[Any]) -> Doubles:
    """Gradient of `PSA`."""
    out = np.zeros(a.shape)
    for index in np.ndindex(*a.shape):
        x = float(a[index])
        out[index] = -float(h[index]) * sigmoid(x) * sigmoid(-x) * float(flips[index])
    return out


def psa_through(
    weight: NDArray[Any], x: NDArray[Any], a: NDArray[Any], h: NDArray[Any], flips: NDArray[Any]
) -> Doubles:
    """Rise of the loss when an input is flipped, by the plain difference of two logistic functions."""
    out = np.zeros(x.shape)
    for s, i in np.ndindex(*x.shape):
        total = 0.0
        for j in range(weight.shape[1]):
            here = float(a[s, j])
            there = here - 2 * float(weight[i, j]) * float(x[s, i])
            total += -float(h[s, j]) * (sigmoid(there) - sigmoid(here)) * float(flips[s, j])
        out[s, i] = total
    return out


def _layer(x: State, weight: NDArray[Any], bias: NDArray[Any]) -> State:
    """Pre-activations of one layer for one sample."""
    n_in, n_out = weight.shape
    return tuple(float(bias[j]) + sum(x[i] * float(weight[i, j]) for i in range(n_in)) for j in range(n_out))


def network_states(
    x: State, weights: Sequence[NDArray[Any]], biases: Sequence[NDArray[Any]]
) -> Iterator[tuple[float, list[State], list[State]]]:
    """Walk over all states of a network of units -1 and +1: probability, pre-activations and states per layer."""
    if not weights:
        yield 1.0, [], []
        return
    a = _layer(x, weights[0], biases[0])
    for h in itertools.product((-1.0, 1.0), repeat=len(a)):
        probability = math.prod(sigmoid(h[j] * a[j]) for j in range(len(a)))
        for above, pre, states in network_states(h, weights[1:], biases[1:]):
            yield probability * above, [a, *pre], [h, *states]


def network_gradients(
    x: State, weights: Sequence[NDArray[Any]], biases: Sequence[NDArray[Any]], loss: Callable[[State], float]
) -> list[list[float]]:
    """Exact derivative of the expected loss with respect to every bias, from the scores of all states."""
    total = [[0.0] * len(bias) for bias in biases]
    for probability, pre, states in network_states(x, weights, biases):
        value = loss(states[-1])
        for k, h in enumerate(states):
            for j in range(len(h)):
                total[k][j] += probability * value * h[j] * sigmoid(-h[j] * pre[k][j])
    return total


def psa_path(
    weights: Sequence[NDArray[Any]],
    pre: Sequence[State],
    states: Sequence[State],
    loss: Callable[[State], float],
    layer: int,
    unit: int,
) -> float:
    """PSA derivative for the bias of one unit, carried forward from that unit through the sampled states to the loss.

    The authors' recursion: q starts as -y F'(a) at the unit; a layer further up, q_j is the sum over i of
    -y_j (F(a_j with input i flipped) - F(a_j)) q_i; the loss adds (loss with j flipped - loss) q_j.
    """
    a = pre[layer][unit]
    q = [0.0] * len(states[layer])
    q[unit] = -states[layer][unit] * sigmoid(a) * (1 - sigmoid(a))
    for k in range(layer + 1, len(states)):
        below, here = states[k - 1], states[k]
        q = [
            sum(
                -here[j] * (sigmoid(pre[k][j] - 2 * float(weights[k][i, j]) * below[i]) - sigmoid(pre[k][j])) * q[i]
                for i in range(len(below))
            )
            for j in range(len(here))
        ]
    last = states[-1]
    result = 0.0
    for j in range(len(last)):
        flipped = (*last[:j], -last[j], *last[j + 1 :])
        result += (loss(flipped) - loss(last)) * q[j]
    return result
