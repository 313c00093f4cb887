"""The layers that formats are chosen for: which they are, what passes through them, and their products as matrices."""

__all__ = ["LAYERS", "layers_of", "macs_of", "matrices", "seen", "vectors"]

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tetrit.errors import InvalidValueError
from tetrit.train.patches import Patches
from tetrit.train.qat.passes import call, evaluating

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers that a choice is made for, by their exact types."""


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers of `LAYERS`, by name, in the order of the model."""
    return {name: module for name, module in model.named_modules() if type(module) in LAYERS}


def macs_of(layer: nn.Module, y: Tensor) -> int:
    """Return the multiply-accumulates of one example, from what the layer gave for a batch."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.numel() * (y.numel() // (weight.shape[0] * y.shape[0]))


def seen(model: nn.Module, layers: Mapping[str, nn.Module], example: Any) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the input and the output of every layer for an example, in evaluation mode.

    Raises
    ------
    InvalidValueError
        If the example does not reach a layer.
    """
    found: dict[str, tuple[Tensor, Tensor]] = {}
    with torch.no_grad(), evaluating(model), _hooked(layers, found):
        call(model, example)
    missing = [name for name in layers if name not in found]
    if missing:
        raise InvalidValueError(f"`example` must reach every layer, it does not reach '{missing[0]}'")
    return {name: found[name] for name in layers}


@contextmanager
def _hooked(layers: Mapping[str, nn.Module], found: dict[str, tuple[Tensor, Tensor]]) -> Iterator[None]:
    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _, given, y: found.__setitem__(name, (given[0], y))

    handles = [module.register_forward_hook(hook(name)) for name, module in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def vectors(layer: nn.Module, x: Tensor) -> NDArray[Any]:
    """Return the inputs of a layer's products, shape (groups, vectors, n_in): what a convolution unfolds to.

    Parameters
    ----------
    layer : nn.Linear or nn.Conv2d
    x : tensor
        Its input, a batch.

    Raises
    ------
    InvalidValueError
        For other layers, and padding with anything but zeros.
    """
    if isinstance(layer, nn.Linear):
        return x.reshape(1, -1, layer.in_features).detach().cpu().numpy()
    if not isinstance(layer, nn.Conv2d) or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise InvalidValueError(f"a layer must be Linear or Conv2d with zeros for padding to be priced, got {layer}")
    down, across = layer.padding
    images = functional.pad(x.detach(), (across, across, down, down))
    groups = images.tensor_split(layer.groups, 1)
    shape = {"kernel": layer.kernel_size, "stride": layer.stride, "dilation": layer.dilation}
    return torch.stack([Patches(images=group, **shape).matrix() for group in groups]).cpu().numpy()


def matrices(layer: nn.Module, weight: NDArray[Any]) -> NDArray[Any]:
    """Return a layer's weights, or their codes, as the matrices of its products, shape (groups, n_in, n_out)."""
    groups: int = getattr(layer, "groups", 1)
    return np.ascontiguousarray(weight.reshape(groups, weight.shape[0] // groups, -1).transpose(0, 2, 1))
