"""Fully connected layers with ReLU between them."""

__all__ = ["MLP", "dense"]

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


def dense(widths: Sequence[int], *, dropout: float = 0.0) -> nn.Sequential:
    """Return linear layers from each of `widths` to the next, with ReLU (and dropout) before all but the first."""
    layers: list[nn.Module] = []
    for place, (n_in, n_out) in enumerate(pairwise(widths)):
        if place:
            layers.append(nn.ReLU())
            if dropout:
                layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear(n_in, n_out))
    return nn.Sequential(*layers)


class MLP(nn.Module):
    """A multilayer perceptron.

    Parameters
    ----------
    n_in : int
        Numbers in an input, whatever its shape.
    hidden : sequence of int
        Widths of the hidden layers.
    classes : int

    Examples
    --------
    >>> import torch
    >>> from tetrit.train.models.mlp import MLP
    >>> MLP(n_in=64, hidden=(32,), classes=10)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(self, *, n_in: int, hidden: Sequence[int], classes: int) -> None:
        super().__init__()
        self.layers = dense((n_in, *hidden, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, shape (batch, classes), of inputs, shape (batch, ...)."""
        y: Tensor = self.layers(x.flatten(1))
        return y
