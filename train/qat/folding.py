"""Folding of batch normalisation: the authority for which one goes into which layer, and for the folded numbers."""

__all__ = ["fold_batchnorm"]

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd

from tetrit.errors import InvalidValueError
from tetrit.train.qat.layers import LOW_BIT
from tetrit.train.qat.sequence import before

_LAYERS = tuple(kind for kind in LOW_BIT if kind is not nn.Embedding)


def fold_batchnorm(model: nn.Module) -> nn.Module:
    """Fold every batch normalisation into the layer before it, in place.

    With the factor f = gamma / sqrt(variance + eps) of an output, its weights become f w and its bias
    f (bias - mean) + beta, computed in float64 and rounded once; an Identity takes the place of the normalisation.

    Contract: in evaluation mode the network computes the same but for the rounding of weights and biases. In training
    mode it now does what it did in evaluation mode: the statistics of the batch are gone.

    Parameters
    ----------
    model : nn.Module
        The layer before a normalisation is found by `torch.fx`; where that cannot trace the model, only within an
        ``nn.Sequential``.

    Returns
    -------
    nn.Module
        `model`, the same object.

    Raises
    ------
    InvalidValueError
        If one of the normalisations cannot be folded; the message names it and says why. Nothing is changed then.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from tetrit.train.qat import fold_batchnorm
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.ReLU())
    >>> _ = model(torch.randn(50, 3))
    >>> x = torch.randn(5, 3)
    >>> before = model.eval()(x)
    >>> fold_batchnorm(model)
    Sequential(
      (0): Linear(in_features=3, out_features=2, bias=True)
      (1): Identity()
      (2): ReLU()
    )
    >>> torch.allclose(model(x), before, atol=1e-6)
    True
    """
    norms = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    sources = before(model)
    users: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            users[id(parameter)] = users.get(id(parameter), 0) + 1
    pairs: list[tuple[Any, _BatchNorm]] = []
    for name, norm in norms.items():
        layer = sources.get(norm)
        reason = _obstacle(norm, layer, users)
        if reason:
            raise InvalidValueError(f"batch normalisation '{name}' cannot be folded: {reason}")
        pairs.append((layer, norm))
    for layer, norm in pairs:
        _fold(layer, norm)
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, _BatchNorm):
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, nn.Identity())
    return model


def _obstacle(norm: _BatchNorm, layer: Any, users: dict[int, int]) -> str | None:
    if layer is None or type(layer) not in _LAYERS:
        return "no Linear or convolution alone comes right before it"
    if norm.running_mean is None or norm.running_var is None:
        return "it keeps no statistics (`track_running_stats`)"
    if any(users[id(parameter)] > 1 for parameter in layer.parameters(recurse=False)):
        return "the layer before it shares its parameters"
    outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    if norm.num_features != outputs:
        return f"it has {norm.num_features} features, the layer before it {outputs} outputs"
    return None


@torch.no_grad()
def _fold(layer: Any, norm: _BatchNorm) -> None:
    weight, bias = layer.weight, layer.bias
    assert norm.running_mean is not None and norm.running_var is not None
    factor = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        factor *= norm.weight.double()
    offset = -norm.running_mean.double() if bias is None else bias.double() - norm.running_mean.double()
    offset = offset * factor
    if norm.affine:
        offset += norm.bias.double()
    weight.copy_(_scaled(layer, weight.double(), factor))
    if bias is None:
        layer.bias = nn.Parameter(offset.to(weight.dtype), requires_grad=weight.requires_grad)
    else:
        bias.copy_(offset)


def _scaled(layer: Any, weight: Tensor, factor: Tensor) -> Tensor:
    """Return the weight with every output times its factor."""
    if not isinstance(layer, _ConvTransposeNd):
        return weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    # (inputs, outputs of a group, ...): the inputs tell the group
    grouped = weight.unflatten(0, (layer.groups, -1))
    factors = factor.reshape(layer.groups, 1, -1, *(1,) * (weight.ndim - 2))
    return (grouped * factors).flatten(0, 1)
