"""Where a NaN or an infinity of a training step came from: the batch is run again, with every module watched."""

__all__ = ["finite", "locate"]

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tetrit.errors import TetritError


def finite(tensor: Tensor) -> bool:
    """Return whether a tensor has neither NaN nor infinities; one that is not of floats has none."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def locate(model: nn.Module, inputs: Tensor, loss_of: Callable[[Tensor], Tensor]) -> str | None:
    """Run one batch again and name the first thing in it that is not finite.

    In this order: a parameter, the inputs, the output of a module (in the order in which modules finish), the loss,
    a gradient (in the order in which the backward pass makes them). The gradients of the model are lost.

    Parameters
    ----------
    model : nn.Module
        In the mode and with the parameters of the step that went wrong.
    inputs : Tensor
        Of the batch.
    loss_of : callable
        Outputs of the model -> loss.

    Returns
    -------
    str or None
        E.g. ``"the output of 'layers.2' (Linear), which has inf at index (0, 3)"``; None if all is finite this time.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from tetrit.train.loop.guard import locate
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> _ = nn.init.constant_(model[0].weight, 3e38)
    >>> locate(model, torch.ones(1, 2), torch.sum)
    "the output of '0' (Linear), which has inf at index (0, 0)"
    """
    for name, parameter in model.named_parameters():
        if not finite(parameter):
            return f"the parameter '{name}', {_which(parameter)}"
    if not finite(inputs):
        return f"the input, {_which(inputs)}"
    found: list[str] = []
    handles: list[Any] = []

    def watch_gradient(what: str, tensor: Tensor) -> None:
        def see(gradient: Tensor) -> None:
            if not found and not finite(gradient):
                found.append(f"the gradient of {what}, {_which(gradient)}")

        tensor.register_hook(see)

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def see(module: nn.Module, inputs: Any, outputs: Any) -> None:
            for output in _tensors(outputs):
                what = f"the output of '{name}' ({type(module).__name__})"
                if not found and not finite(output):
                    found.append(f"{what}, {_which(output)}")
                if output.requires_grad:
                    watch_gradient(what, output)

        return see

    for name, module in model.named_modules():
        if name:
            handles.append(module.register_forward_hook(watch(name)))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            handles.append(parameter.register_post_accumulate_grad_hook(_watch_parameter(name, found)))
    model.zero_grad()
    try:
        loss = loss_of(model(inputs))
        if not found and not finite(loss):
            found.append("the loss of finite outputs")
        if not found:
            loss.backward()
    except TetritError:
        # an estimator refuses what is not finite; what made it has been seen by then
        if not found:
            raise
    finally:
        for handle in handles:
            handle.remove()
        model.zero_grad()
    return found[0] if found else None


def _watch_parameter(name: str, found: list[str]) -> Callable[[Tensor], None]:
    def see(parameter: Tensor) -> None:
        if not found and parameter.grad is not None and not finite(parameter.grad):
            found.append(f"the gradient of the parameter '{name}', {_which(parameter.grad)}")

    return see


def _tensors(outputs: Any) -> Iterator[Tensor]:
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, tuple | list):
        for output in outputs:
            yield from _tensors(output)
    elif isinstance(outputs, dict):
        yield from _tensors(list(outputs.values()))


def _which(tensor: Tensor) -> str:
    """Say what the first value that is not finite is, and where."""
    index = tuple(torch.nonzero(~torch.isfinite(tensor.detach()))[0].tolist())
    return f"which has {tensor[index].item()} at index {index}"
