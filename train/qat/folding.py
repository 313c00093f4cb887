"""Folding of batch normalisation: the authority for which one goes into which layer, and for the folded numbers."""

__all__ = ["fold_batchnorm"]

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd
from torch.utils._pytree import tree_leaves

from tetrit.errors import InvalidValueError
from tetrit.train.qat.layers import LOW_BIT
from tetrit.train.qat.passes import call, evaluating
from tetrit.train.qat.sequence import before

_LAYERS = tuple(kind for kind in LOW_BIT if kind is not nn.Embedding)
_OF_DIMENSIONS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def fold_batchnorm(model: nn.Module, *, example: Any = None) -> nn.Module:
    """Fold every batch normalisation into the layer before it, in place.

    With the factor f = gamma / sqrt(variance + eps) of an output, its weights become f w and its bias
    f (bias - mean) + beta, computed in float64 and rounded once; an Identity takes the place of the normalisation.

    Contract: in evaluation mode the network computes the same but for the rounding of weights and biases. In training
    mode it now does what it did in evaluation mode: the statistics of the batch are gone.

    Parameters
    ----------
    model : nn.Module
        One that `torch.fx` can trace: this finds the layer before a normalisation.
    example : tensor, tuple or mapping, optional
        A batch as the model takes it, as for `tetrit.train.qat.prepare`. With it, the folded network must compute in
        evaluation mode what the network did, or all is undone.

    Returns
    -------
    nn.Module
        `model`, the same object.

    Raises
    ------
    InvalidValueError
        If the model cannot be traced, one of the normalisations cannot be folded (the message names it and says why),
        or the example shows that the network became another one. Nothing is changed then.

    Notes
    -----
    Which axis BatchNorm1d works on shows only when it runs. After a Linear layer it is folded for inputs (batch,
    features); for inputs (batch, length, features) it normalises along the length, which the folded network would not:
    give an `example`, and that is an error.

    The results for the example may differ by the cube root of the machine epsilon of their dtype, as a share of the
    greatest of them: **our choice**, wide enough for the rounding of deep networks.

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
    if not norms:
        return model
    pairs = _pairs(model, norms)
    if example is None:
        _replace(model, pairs)
        return model
    expected = _results(model, example)
    with _undone_on_error(model, pairs):
        _replace(model, pairs)
        for old, new in zip(expected, _results(model, example), strict=True):
            _check_same(old, new)
    return model


def _pairs(model: nn.Module, norms: dict[str, _BatchNorm]) -> list[tuple[Any, _BatchNorm]]:
    """Return every normalisation after the layer that it goes into."""
    with evaluating(model):
        sources = before(model)
    if sources is None:
        raise InvalidValueError(
            f"batch normalisation '{next(iter(norms))}' cannot be folded: torch.fx cannot trace the model, so which "
            "layer comes before it is not known"
        )
    links, read = sources
    users: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            users[id(parameter)] = users.get(id(parameter), 0) + 1
    pairs: list[tuple[Any, _BatchNorm]] = []
    for name, norm in norms.items():
        layer = links.get(norm)
        reason = _obstacle(norm, layer, users, read)
        if reason:
            raise InvalidValueError(f"batch normalisation '{name}' cannot be folded: {reason}")
        pairs.append((layer, norm))
    return pairs


def _obstacle(norm: _BatchNorm, layer: Any, users: dict[int, int], read: set[int]) -> str | None:
    if layer is None or type(layer) not in _LAYERS:
        return "no Linear or convolution alone comes right before it"
    if norm.running_mean is None or norm.running_var is None:
        return "it keeps no statistics (`track_running_stats`)"
    if "weight" not in layer._parameters or "bias" not in layer._parameters:
        return "a parameter of the layer before it is computed by a hook (weight_norm, pruning); remove that first"
    for module, which in ((layer, "the layer before it"), (norm, "the normalisation")):
        if module._forward_hooks or module._forward_pre_hooks:
            return f"{which} has forward hooks; remove them first"
        if any(id(tensor) in read for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False))):
            return f"the network reads a tensor of {which} by itself"
    if any(users[id(parameter)] > 1 for parameter in layer.parameters(recurse=False)):
        return "the layer before it shares its parameters"
    kind = _OF_DIMENSIONS[1 if isinstance(layer, nn.Linear) else len(layer.kernel_size)]
    if type(norm) not in (kind, nn.SyncBatchNorm):
        return f"after a {type(layer).__name__} it must be a {kind.__name__}, not a {type(norm).__name__}"
    outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    if norm.num_features != outputs:
        return f"it has {norm.num_features} features, the layer before it {outputs} outputs"
    return None


def _replace(model: nn.Module, pairs: list[tuple[Any, _BatchNorm]]) -> None:
    for layer, norm in pairs:
        _fold(layer, norm)
    for parent, name, norm in _places(model):
        setattr(parent, name, nn.Identity().train(norm.training))


def _places(model: nn.Module) -> list[tuple[nn.Module, str, _BatchNorm]]:
    """Return parent and name of every normalisation, one that has several names with each."""
    return [
        (parent, name, module)
        for parent in model.modules()
        for name, module in parent._modules.items()
        if isinstance(module, _BatchNorm)
    ]


@contextmanager
def _undone_on_error(model: nn.Module, pairs: list[tuple[Any, _BatchNorm]]) -> Iterator[None]:
    """Give the layers their parameters and the network its normalisations back if the block raises an error."""
    places = _places(model)
    kept = [(p, p.detach().clone()) for layer, _ in pairs for p in layer.parameters(recurse=False)]
    without = [layer for layer, _ in pairs if layer.bias is None]
    try:
        yield
    except BaseException:
        for parameter, value in kept:
            parameter.data.copy_(value)
        for layer in without:
            layer.bias = None
        for parent, name, norm in places:
            setattr(parent, name, norm)
        raise


@torch.no_grad()
def _results(model: nn.Module, example: Any) -> list[Tensor]:
    """Return the tensors of floats in what the network gives in evaluation mode."""
    with evaluating(model):
        result = tree_leaves(call(model, example))
    # a network may give what it was given, or write into it
    return [x.clone() for x in result if isinstance(x, Tensor) and x.is_floating_point()]


def _check_same(old: Tensor, new: Tensor) -> None:
    known = old[old.isfinite()].abs()
    scale = known.max().item() if known.numel() else 0.0
    if old.shape != new.shape or not torch.allclose(
        old, new, rtol=0.0, atol=scale * torch.finfo(old.dtype).eps ** (1 / 3), equal_nan=True
    ):
        raise InvalidValueError(
            "batch normalisations cannot be folded: for the `example` the folded network computes something else, as "
            "it does where one after a Linear works on another axis than the outputs"
        )


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
