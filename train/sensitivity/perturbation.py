"""What one layer's format alone does to a network: measured, at the outputs and in the loss."""

__all__ = ["Perturbation", "divergence", "perturbations"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tetrit.errors import InvalidValueError
from tetrit.train.qat.passes import evaluating

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Perturbation:
    """What each option does in each layer, alone.

    Attributes
    ----------
    divergence : ndarray of float64, shape (layers, options)
        Mean Kullback-Leibler divergence, in nat, of the network's class probabilities from the float network's.
    loss_change : ndarray of float64, shape (layers, options)
        Mean loss less the float network's; negative where the format helps.
    accuracy_change : ndarray of float64, shape (layers, options)
        Share of right answers less the float network's.
    """

    divergence: NDArray[np.float64]
    loss_change: NDArray[np.float64]
    accuracy_change: NDArray[np.float64]


def perturbations(
    model: nn.Module,
    layers: Sequence[str],
    n_options: int,
    quantised: Callable[[str, int], nn.Module],
    x: Tensor,
    y: Tensor,
    *,
    loss: Loss = functional.cross_entropy,
    done: Callable[[], object] | None = None,
    chunk: int = 500,
) -> Perturbation:
    """Measure what each option does in each layer while all other layers stay in float.

    Parameters
    ----------
    model : nn.Module
        Float, from inputs to the scores of classes.
    layers : sequence of str
    n_options : int
    quantised : callable
        ``quantised(layer, option)`` returns another network with this one layer in this option, by index.
    x, y : tensor
        Inputs and classes.
    loss : callable
        Takes scores and classes to their mean loss.
    done : callable, optional
        Called after each network.
    chunk : int
        Inputs at a time.

    Returns
    -------
    Perturbation

    Raises
    ------
    InvalidValueError
        If the float network's loss is not finite.
    """
    wanted = _scores(model, x, chunk)
    base = float(loss(wanted, y))
    if not np.isfinite(base):
        raise InvalidValueError(f"the float network's loss must be finite, got {base}")
    right = _accuracy(wanted, y)
    found = np.empty((3, len(layers), n_options))
    for place, name in enumerate(layers):
        for option in range(n_options):
            scores = _scores(quantised(name, option), x, chunk)
            # never below 0 but for rounding
            found[0, place, option] = max(0.0, float(divergence(scores, wanted)))
            found[1, place, option] = float(loss(scores, y)) - base
            found[2, place, option] = _accuracy(scores, y) - right
            if done is not None:
                done()
    return Perturbation(divergence=found[0], loss_change=found[1], accuracy_change=found[2])


def divergence(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean Kullback-Leibler divergence, in nat, of logits from others."""
    log_p, log_q = (logits.double().log_softmax(-1) for logits in (wanted, found))
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean()


@torch.no_grad()
def _scores(model: nn.Module, x: Tensor, chunk: int) -> Tensor:
    with evaluating(model):
        return torch.cat([model(x[begin : begin + chunk]) for begin in range(0, len(x), chunk)])


def _accuracy(scores: Tensor, y: Tensor) -> float:
    return float((scores.argmax(-1) == y).double().mean())
