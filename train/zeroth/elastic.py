"""Training without backpropagation but for the last layers: zeroth order below, gradients above."""

__all__ = ["ElasticZO"]

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from tetrit.train.zeroth.base import TwoPoint, one_number


class ElasticZO:
    """A network trained without backpropagation up to its last layers, and with it in those.

    A step evaluates the first layers at both points of `zeroth`, without a graph, and the last layers on what comes
    out, with one. So the graph, and the memory of its activations, ends at the border. The last layers' gradient is the
    mean of those at both points; then both optimisers step.

    Parameters
    ----------
    zeroth : ZerothOrder or IntegerZerothOrder
        Of the first layers; with integers there, the last layers turn what they hand on into floats.
    optimizer : torch.optim.Optimizer
        Of the last layers.

    Notes
    -----
    Source: ElasticZO, arXiv 2501.04287, for the split; taking the last layers' gradient at both points is **our
    reconstruction** (see `SPSA.elastic`, the golden form). The paper's ElasticZO-INT8 trains the last layers with
    integer gradients too; here they are trained in floats.

    Examples
    --------
    >>> import torch
    >>> from tetrit.train.zeroth import ElasticZO, ZerothOrder
    >>> _ = torch.manual_seed(0)
    >>> x, y = torch.randn(64, 4), torch.randn(64, 1)
    >>> first, last = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh()), torch.nn.Linear(8, 1)
    >>> trainer = ElasticZO(
    ...     ZerothOrder(first.parameters(), lr=1e-2), torch.optim.SGD(last.parameters(), lr=0.1)
    ... )
    >>> head = lambda h: torch.nn.functional.mse_loss(last(h), y)
    >>> losses = [float(trainer.step(lambda: first(x), head)) for _ in range(50)]
    >>> losses[-1] < losses[0]
    True
    """

    def __init__(self, zeroth: TwoPoint, optimizer: Optimizer) -> None:
        if not isinstance(zeroth, TwoPoint):
            raise TypeError(f"`zeroth` must be a ZerothOrder or an IntegerZerothOrder, got {type(zeroth).__name__}")
        self.zeroth = zeroth
        self.optimizer = optimizer

    def step(self, features: Callable[[], Any], head: Callable[[Any], Tensor]) -> Tensor:
        """Take one step; `features` returns what the last layers read, `head` makes the loss of it; return its mean."""

        def loss() -> Tensor:
            with torch.no_grad():
                hidden = features()
            with torch.enable_grad():
                value = one_number(head(hidden))
                (0.5 * value).backward()
            return value.detach()

        self.optimizer.zero_grad()
        mean = self.zeroth.take_step(loss)
        self.optimizer.step()
        return mean
