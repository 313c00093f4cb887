"""Saliencies that need no data: SynFlow's flow of every weight."""

__all__ = ["synflow"]

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tetrit.train.qat.passes import evaluating
from tetrit.train.sensitivity.hessian import _weights


def synflow(model: nn.Module, shape: Sequence[int], *, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
    """Return the gradient of the network's flow with respect to the magnitude of every weight; no data is needed.

    The flow R is the sum of the outputs for an input of ones where all parameters are replaced by their magnitudes.
    SynFlow scores a weight by its magnitude times this gradient; here the change by a format takes the place of the
    magnitude, see `tetrit.train.sensitivity.scores`.

    Parameters
    ----------
    model : nn.Module
        It stays as it is. Computed on a copy in float64, since products of many layers grow large.
    shape : sequence of int
        Of one input, without the batch.
    layers : sequence of str, optional
        Names; by default all linear and convolutional layers.

    Returns
    -------
    dict of str to tensor
        float64, of the shape of the layer's weights; from 0.

    Notes
    -----
    Source of the saliency: Tanaka et al., "Pruning neural networks without any data by iteratively conserving synaptic
    flow", arXiv 2006.05467. The use for formats is **ours**.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from tetrit.train.sensitivity import synflow
    >>> model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False))
    >>> _, _ = model[0].weight.data.fill_(-2.0), model[2].weight.data.fill_(3.0)
    >>> {name: flow.item() for name, flow in synflow(model, (1,)).items()}  # R = |a| |b|
    {'0': 3.0, '2': 2.0}
    """
    positive = copy.deepcopy(model).double()
    with torch.no_grad():
        for parameter in positive.parameters():
            parameter.abs_()
    chosen = _weights(positive, layers)
    x = torch.ones(1, *shape, dtype=torch.float64, device=next(positive.parameters()).device)
    with evaluating(positive), torch.enable_grad():
        found = torch.autograd.grad(positive(x).sum(), list(chosen.values()))
    return {name: gradient.cpu() for name, gradient in zip(chosen, found, strict=True)}
