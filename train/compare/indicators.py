"""Gradient indicators of quantised weights: how far a gradient is from the truth, and how unsteady it is."""

__all__ = ["followed", "indicators"]

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tetrit.estimators import SZT, BiPer, Estimator, ReSTE, Surrogate
from tetrit.estimators.deterministic import gradient_variance, rectified
from tetrit.train.qat import low_bit_layers


def indicators(model: nn.Module) -> dict[str, Any]:
    """Return the indicators of every quantised weight of a prepared model whose parameters have gradients.

    Parameters
    ----------
    model : nn.Module

    Returns
    -------
    dict
        Under each parameter's name: ``weights``, their number n; ``error``, the estimating error
        ``e = ||Q(w) - f(w)||_2``, where Q(w) are the values of the codes and f is `followed`, or None where there is no
        f; ``variance``, the variance s of the magnitudes of the latent weights' gradients in the last batch. Under
        ``"all"``: ``weights``; ``error``, the root mean square ``sqrt(sum e^2 / sum n)`` over the layers that have one,
        in units of the weights; ``variance``, the mean of s weighted by n.

    Notes
    -----
    Source: the indicators of ReSTE (arXiv 2308.06689), there for binary activations and weights, and
    ``f(w) = sign(w) |w|^(1/o)``. Taking them for any quantiser with the function that its backward rule
    differentiates, and the averages over layers, are **our generalisation**.
    """
    found: dict[str, Any] = {}
    squares, measured, spread, total = 0.0, 0, 0.0, 0
    seen: set[int] = set()
    for prefix, layer in low_bit_layers(model).items():
        for name, latent, quantizer in layer.latents():
            if id(latent) in seen or latent.grad is None:
                continue
            seen.add(id(latent))
            w = latent.detach().cpu().double().numpy()
            estimator, values = quantizer.estimator, quantizer.codes(latent.detach()).values
            towards = followed(estimator, w, values)
            error = None if towards is None else float(np.linalg.norm(values - towards))
            variance = gradient_variance(latent.grad.detach().cpu().double().numpy())
            found[f"{prefix}.{name}" if prefix else name] = {
                "weights": values.size,
                "error": error,
                "variance": variance,
            }
            if error is not None:
                squares += error**2
                measured += values.size
            spread += values.size * variance
            total += values.size
    if not found:
        return {}
    mean = math.sqrt(squares / measured) if measured else None
    return found | {"all": {"weights": total, "error": mean, "variance": spread / total}}


def followed(estimator: Estimator, w: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return f(w), the function whose derivative the backward rule multiplies the gradient with.

    Parameters
    ----------
    estimator : Estimator
    w : ndarray of float64
        The latent weights.
    values : ndarray of float64
        Q(w), the values of their codes.

    Returns
    -------
    ndarray of float64 or None
        - ``reste``: scale * sign(w) |w|^(1/o), as in its paper before truncation;
        - ``biper``: scale * sin(frequency * w);
        - ``szt``: w where the surrogate passes the gradient; with the share `gain` in the dead zone of half-width D,
          sign(w) (gain * min(|w|, D) + max(|w| - D, 0)), and constant beyond the clip. Its tilt and its drift, which
          are no slopes, do not count;
        - else: w where the rule passes the gradient, and Q(w) where it ends since Q saturates there (``lsq``,
          ``ste_clipped``). A factor that is the same for all weights (``pot``) and what a rule adds to the gradient
          (the decay of ``sr_ste``, the penalty of ``lotion``) do not count;
        - None where the latent has another shape than the values (``denseshift``): there is no such function.
    """
    if w.shape != values.shape:
        return None
    if isinstance(estimator, ReSTE):
        return np.abs(values) * rectified(w, power=estimator.power)
    if isinstance(estimator, BiPer):
        return estimator.scale * np.sin(estimator.frequency * w)
    if isinstance(estimator, SZT):
        return _followed_by_szt(estimator, w)
    if estimator.straight_through:
        return w
    passing = estimator.backward(w, np.ones(values.shape)) != 0
    return np.where(passing, w, values)


def _followed_by_szt(estimator: SZT, w: NDArray[np.float64]) -> NDArray[np.float64]:
    surrogate = estimator.surrogate
    assert isinstance(surrogate, Surrogate)
    dead = estimator(w).values == 0
    size = np.abs(w)
    others = None if estimator.axis is None else tuple(i for i in range(w.ndim) if i != estimator.axis)
    # the largest dead weight stands for the threshold, which lies between it and the smallest live one
    edge = np.where(dead, size, 0.0).max(axis=others, keepdims=True, initial=0.0)
    end = np.maximum(surrogate.clip * size.mean(axis=others, keepdims=True), edge)
    live = np.minimum(size, end) - edge
    result: NDArray[np.float64] = np.where(dead, surrogate.gain * size, surrogate.gain * edge + live)
    return np.copysign(result, w)
