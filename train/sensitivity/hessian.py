"""The trace of the loss's Hessian, layer by layer, by Hutchinson's estimator: with its standard error."""

__all__ = ["TraceEstimate", "hessian_traces"]

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.train.qat.passes import evaluating
from tetrit.train.sensitivity.layers import layers_of

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class TraceEstimate:
    """The trace of one layer's block of the Hessian.

    Attributes
    ----------
    trace : float
        The mean over probes.
    standard_error : float
        Of that mean: the probes' standard deviation by the root of their number.
    probes : int
        How many there were.
    parameters : int
        Weights of the layer.
    converged : bool
        Whether the standard error is within the tolerance.
    """

    trace: float
    standard_error: float
    probes: int
    parameters: int
    converged: bool

    @property
    def mean(self) -> float:
        """The trace by the number of weights: the mean of the Hessian's eigenvalues, as HAWQ-V2 and V3 use it."""
        return self.trace / self.parameters


def hessian_traces(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    loss: Loss = functional.cross_entropy,
    layers: Sequence[str] | None = None,
    seed: int = 0,
    tolerance: float = 0.05,
    least: int = 16,
    most: int = 256,
    chunk: int = 256,
) -> dict[str, TraceEstimate]:
    """Estimate the trace of the Hessian of the mean loss with respect to each layer's weights.

    Probes v have independent entries of -1 and +1 (Rademacher), so that the mean of v^T H v is tr H. One probe serves
    all layers: v_i^T (H v)_i has the mean tr H_ii, since the entries of different layers are independent.

    Contract: unbiased for a fixed number of probes, except for rounding; the same for the same seed and data. Probes go
    on, `least` at a time, until every layer's standard error is at most `tolerance` times its estimate, or there are
    `most`; stopping when the spread looks small makes the estimate slightly biased.

    Parameters
    ----------
    model : nn.Module
        Differentiable twice where it matters: second derivatives of ReLU and of maxima count as 0. It stays as it is
        and is used in evaluation mode.
    x, y : tensor
        Inputs and targets.
    loss : callable
        Takes outputs and targets to their mean loss.
    layers : sequence of str, optional
        Names; by default all linear and convolutional layers.
    seed : int, default 0
    tolerance : float, default 0.05
        Above 0.
    least, most : int
        Numbers of probes, `least` from 2.
    chunk : int
        Inputs at a time, so that memory does not grow with their number.

    Returns
    -------
    dict of str to TraceEstimate

    Raises
    ------
    InvalidValueError
        A number out of range, an unknown layer, no inputs, or a loss that is not finite.

    Notes
    -----
    Sources: Hutchinson, "A Stochastic Estimator of the Trace of the Influence Matrix for Laplacian Smoothing Splines",
    Communications in Statistics 19 (1990); used for layers of networks by Dong et al., HAWQ-V2, arXiv 1911.03852. The
    stopping rule, and one probe for all layers, are **ours**.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from tetrit.train.sensitivity import hessian_traces
    >>> model = nn.Linear(2, 1, bias=False)
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 3.0]])  # of the mean square: H = diag(1, 9)
    >>> found = hessian_traces(nn.Sequential(model), x, torch.zeros(2, 1), loss=nn.MSELoss())
    >>> found["0"].trace, found["0"].standard_error, found["0"].mean
    (10.0, 0.0, 5.0)
    """
    chosen = _weights(model, layers)
    checks.integer("seed", seed, minimum=0)
    checks.real("tolerance", tolerance, minimum=0.0, exclusive=True)
    checks.integer("least", least, minimum=2)
    checks.integer("most", most, minimum=least)
    checks.integer("chunk", chunk)
    if not len(x) or len(x) != len(y):
        raise InvalidValueError(f"`x` and `y` must have as many entries, at least one, got {len(x)} and {len(y)}")
    found = np.empty((0, len(chosen)))
    with evaluating(model), torch.enable_grad():
        while True:
            numbers = range(len(found), min(len(found) + least, most))
            found = np.concatenate([found, _probed(model, x, y, loss, list(chosen.values()), seed, numbers, chunk)])
            error = found.std(axis=0, ddof=1) / math.sqrt(len(found))
            close = error <= tolerance * np.abs(found.mean(axis=0))
            if close.all() or len(found) >= most:
                break
    return {
        name: TraceEstimate(
            trace=float(found[:, place].mean()),
            standard_error=float(error[place]),
            probes=len(found),
            parameters=weight.numel(),
            converged=bool(close[place]),
        )
        for place, (name, weight) in enumerate(chosen.items())
    }


def _weights(model: nn.Module, names: Sequence[str] | None) -> dict[str, nn.Parameter]:
    layers = layers_of(model)
    chosen = list(layers) if names is None else list(names)
    if not chosen:
        raise InvalidValueError("`model` must have a linear or convolutional layer, got none")
    weights: dict[str, nn.Parameter] = {}
    for name in chosen:
        checks.choice("layers", name, layers)
        weight = layers[name].weight
        assert isinstance(weight, nn.Parameter)
        weights[name] = weight
    return weights


def _probed(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    weights: list[nn.Parameter],
    seed: int,
    numbers: range,
    chunk: int,
) -> NDArray[np.float64]:
    """Return v^T H v of each probe and layer, shape (probes, layers)."""
    probes = [_rademacher(weights, seed, number) for number in numbers]
    found = np.zeros((len(probes), len(weights)))
    for begin in range(0, len(x), chunk):
        part = x[begin : begin + chunk], y[begin : begin + chunk]
        value = loss(model(part[0]), part[1])
        if not torch.isfinite(value):
            raise InvalidValueError(f"the loss must be finite, got {value.item()}")
        gradients = torch.autograd.grad(value, weights, create_graph=True)
        share = len(part[0]) / len(x)
        for row, probe in zip(found, probes, strict=True):
            product = _hessian_product(gradients, weights, probe)
            row += [share * float((v.double() * h.double()).sum()) for v, h in zip(probe, product, strict=True)]
    return found


def _hessian_product(
    gradients: Sequence[Tensor], weights: list[nn.Parameter], probe: list[Tensor]
) -> tuple[Tensor, ...]:
    """Return H v; zeros where a layer's weights do not occur in the gradients, as in a linear network's."""
    if not any(gradient.requires_grad for gradient in gradients):
        return tuple(torch.zeros_like(weight) for weight in weights)
    return torch.autograd.grad(
        gradients, weights, grad_outputs=probe, retain_graph=True, allow_unused=True, materialize_grads=True
    )


def _rademacher(weights: list[nn.Parameter], seed: int, number: int) -> list[Tensor]:
    """Return the signs of one probe, which depend on the seed and its number only."""
    rng = np.random.default_rng([seed, number])
    signs = []
    for weight in weights:
        drawn = rng.integers(0, 2, size=tuple(weight.shape), dtype=np.int8) * np.int8(2) - np.int8(1)
        signs.append(torch.from_numpy(drawn).to(weight.device, weight.dtype))
    return signs
