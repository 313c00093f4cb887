"""The diagonal of the empirical Fisher information: the mean of squared gradients, example by example."""

__all__ = ["empirical_fisher", "mean_gradients"]

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.train.qat.passes import evaluating
from tetrit.train.sensitivity.hessian import Loss, _weights


def empirical_fisher(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    loss: Loss = functional.cross_entropy,
    layers: Sequence[str] | None = None,
    chunk: int = 64,
) -> dict[str, Tensor]:
    """Return the mean over examples of the squared gradient of each example's loss, for every weight.

    Contract: exact but for rounding, in float64 sums; no randomness.

    Parameters
    ----------
    model : nn.Module
        Of operations that `torch.func.vmap` knows; it stays as it is and is used in evaluation mode.
    x, y : tensor
        Inputs and targets, the true ones: the Fisher information proper would draw them from the network's own
        distribution.
    loss : callable
        Takes outputs and targets to their mean loss; the negative log-likelihood, for a Fisher information.
    layers : sequence of str, optional
        Names; by default all linear and convolutional layers.
    chunk : int
        Examples at a time.

    Returns
    -------
    dict of str to tensor
        float64, of the shape of the layer's weights; the sum is the trace.

    Raises
    ------
    InvalidValueError
        An unknown layer, no inputs, or a number out of range.

    Notes
    -----
    As a second-order sensitivity: Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", arXiv
    1801.05787; that it is no good stand-in for the Fisher information away from a good fit: Kunstner et al., arXiv
    1905.12558.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from tetrit.train.sensitivity import empirical_fisher
    >>> model = nn.Sequential(nn.Linear(1, 1, bias=False))
    >>> _ = model[0].weight.data.fill_(1.0)
    >>> x = torch.tensor([[1.0], [2.0]])  # gradients of x^2 w^2 at w = 1: 2 and 8
    >>> empirical_fisher(model, x, torch.zeros(2, 1), loss=nn.MSELoss())["0"]
    tensor([[34.]], dtype=torch.float64)
    """
    chosen = _weights(model, layers)
    checks.integer("chunk", chunk)
    if not len(x) or len(x) != len(y):
        raise InvalidValueError(f"`x` and `y` must have as many entries, at least one, got {len(x)} and {len(y)}")
    free = {f"{name}.weight" if name else "weight": weight.detach() for name, weight in chosen.items()}
    fixed = {
        name: tensor.detach()
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
        if name not in free
    }

    def of_one(weights: dict[str, Tensor], one: Tensor, target: Tensor) -> Tensor:
        return loss(functional_call(model, (weights, fixed), (one[None],)), target[None])

    each = vmap(grad(of_one), in_dims=(None, 0, 0))
    sums = {name: torch.zeros(weight.shape, dtype=torch.float64) for name, weight in free.items()}
    with evaluating(model):
        for begin in range(0, len(x), chunk):
            for name, found in each(free, x[begin : begin + chunk], y[begin : begin + chunk]).items():
                sums[name] += found.double().square().sum(0).cpu()
    return {layer: total / len(x) for layer, total in zip(chosen, sums.values(), strict=True)}


def mean_gradients(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    loss: Loss = functional.cross_entropy,
    layers: Sequence[str] | None = None,
) -> dict[str, Tensor]:
    """Return the gradient of the mean loss with respect to each layer's weights, in evaluation mode."""
    chosen = _weights(model, layers)
    with evaluating(model), torch.enable_grad():
        found = torch.autograd.grad(loss(model(x), y), list(chosen.values()))
    return {name: gradient.double().cpu() for name, gradient in zip(chosen, found, strict=True)}
