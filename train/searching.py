"""One-shot search of formats: a policy draws a format for every layer while the shared weights are trained."""

__all__ = ["Searched", "one_shot"]

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.train.loop.generators import seeded
from tetrit.train.qat.passes import evaluating
from tetrit.train.qat.preparing import prepare
from tetrit.train.sensitivity.layers import layers_of
from tetrit.train.sensitivity.machines import Target

Batch = Callable[[int], tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Searched:
    """What a search has learned.

    Attributes
    ----------
    probabilities : ndarray of float64, shape (layers, options)
        Of the policy, at the end.
    rewards : ndarray of float64, shape (steps,)
        Of each step of the policy.
    costs : ndarray of float64, shape (steps,)
        Of the choices that were drawn, by the limit.
    """

    probabilities: NDArray[np.float64]
    rewards: NDArray[np.float64]
    costs: NDArray[np.float64]


class _OneOf(nn.Module):
    """A layer in several options that share their weights; `index` says which one computes."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        first, *others = layers
        for other in others:
            for name, parameter in first.named_parameters(recurse=False):
                if getattr(other, name).shape != parameter.shape:
                    raise InvalidValueError(f"options must train the same weights, `{name}` has several shapes")
                setattr(other, name, parameter)
        self.layers = nn.ModuleList(layers)
        self.index = 0

    def forward(self, x: Tensor) -> Tensor:
        """Return what the chosen option gives."""
        y: Tensor = self.layers[self.index](x)
        return y


def one_shot(
    model: nn.Module,
    target: Target,
    costs: NDArray[np.float64],
    limit: float,
    train: Batch,
    reward: Batch,
    example: Tensor,
    *,
    steps: int,
    warmup: float = 0.25,
    rate: float = 1e-3,
    policy_rate: float = 1.0,
    penalty: float = 2.0,
    entropy: float = 0.05,
    momentum: float = 0.9,
    seed: int = 0,
    done: Callable[[], object] | None = None,
) -> Searched:
    """Train a network's weights and a policy over its layers' formats in turn.

    Each step draws a format for every layer from the policy, a softmax for each layer, and takes one step of Adam on
    the loss of a training batch with these. Then it draws anew, and the policy follows the gradient of REINFORCE: the
    reward is the accuracy on another batch, without training, less ``penalty * max(0, cost / limit - 1)``; its baseline
    is a running mean. An entropy bonus, which falls to zero along a half cosine, keeps the policy open at first. During
    the warm-up the formats are drawn evenly and the policy stays.

    Contract: the same for the same seed and batches. The limit is a penalty only: take the formats of the result by
    `tetrit.hls.choose_precision` with ``-log(probabilities)`` for losses, which is the likeliest choice within it.

    Parameters
    ----------
    model : nn.Module
        Float; it stays as it is.
    target : Target
        Of a shift array or a SIMD engine: all that the machine does must be in its `plan`.
    costs : ndarray of float64, shape (layers, options)
        Of one resource.
    limit : float
        Above 0.
    train, reward : callable
        Take the number of a step to inputs and classes.
    example : tensor
        Inputs that scales of activations come from.
    steps : int
    warmup : float
        Share of the steps, below 1.
    rate : float
        Of Adam, falling to zero along a half cosine.
    policy_rate : float
        By which logits follow the gradient.
    penalty, entropy : float
        Weights of the two terms.
    momentum : float
        Of the baseline, from 0 to below 1.
    seed : int
    done : callable, optional
        Called after each step.

    Returns
    -------
    Searched

    Notes
    -----
    After FLIQS (Dotzel et al., arXiv 2308.03290), whose abstract gives the idea: one training in which a policy, taught
    by reinforcement with an entropy term on a cosine schedule, draws the formats, with no retraining after the search.
    Reward, penalty, baseline, warm-up, all constants, and what is drawn when are **our reconstruction**; the paper's
    were not at hand.
    """
    checks.integer("steps", steps)
    checks.real("limit", limit, minimum=0.0, exclusive=True)
    with seeded(seed):
        searched, layers = _supernet(model, target, example)
        if costs.shape != (len(layers), len(target.options)):
            raise InvalidValueError(f"`costs` must have shape {(len(layers), len(target.options))}, got {costs.shape}")
        rng = np.random.default_rng(seed)
        logits = np.zeros(costs.shape)
        optimizer = torch.optim.Adam([p for p in searched.parameters() if p.requires_grad], lr=rate)
        rewards, drawn = np.full(steps, np.nan), np.full(steps, np.nan)
        baseline = None
        begin = math.floor(warmup * steps)
        rows = np.arange(len(layers))
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate * 0.5 * (1.0 + math.cos(math.pi * step / steps))
            _draw(rng, logits, layers)
            searched.train()
            x, y = train(step)
            optimizer.zero_grad()
            functional.cross_entropy(searched(x), y).backward()
            optimizer.step()
            if step >= begin:
                chosen = _draw(rng, logits, layers)
                x, y = reward(step)
                with torch.no_grad(), evaluating(searched):
                    right = float((searched(x).argmax(-1) == y).double().mean())
                drawn[step] = float(costs[rows, chosen].sum()) / limit
                rewards[step] = right - penalty * max(0.0, drawn[step] - 1.0)
                baseline = rewards[step] if baseline is None else baseline
                open_yet = entropy * 0.5 * (1.0 + math.cos(math.pi * (step - begin) / (steps - begin)))
                logits += policy_rate * _ascent(logits, chosen, rewards[step] - baseline, open_yet)
                baseline = momentum * baseline + (1.0 - momentum) * rewards[step]
            if done is not None:
                done()
    return Searched(probabilities=_softmax(logits), rewards=rewards[begin:], costs=drawn[begin:])


def _supernet(model: nn.Module, target: Target, example: Tensor) -> tuple[nn.Module, list[_OneOf]]:
    """Return a copy of the network whose layers have all options."""
    names = list(layers_of(model))
    if not names or names == [""]:
        raise InvalidValueError("`model` must be a network of linear or convolutional layers, got none or a single one")
    each = [
        prepare(copy.deepcopy(model), target.plan(model, dict.fromkeys(names, label), example))
        for label in target.options
    ]
    searched = copy.deepcopy(model)
    layers = []
    for name in names:
        layers.append(_OneOf([prepared.get_submodule(name) for prepared in each]))
        searched.set_submodule(name, layers[-1])
    return searched, layers


def _draw(rng: np.random.Generator, logits: NDArray[np.float64], layers: list[_OneOf]) -> NDArray[np.int64]:
    """Draw an option for each layer, and set the layers to it."""
    chosen = np.array([rng.choice(len(p), p=p) for p in _softmax(logits)], dtype=np.int64)
    for layer, index in zip(layers, chosen.tolist(), strict=True):
        layer.index = index
    return chosen


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return result


def _ascent(
    logits: NDArray[np.float64], chosen: NDArray[np.int64], advantage: float, entropy: float
) -> NDArray[np.float64]:
    """Return the gradient of ``advantage * log p(chosen) + entropy * (entropies of all layers)``."""
    p = _softmax(logits)
    towards = -p
    towards[np.arange(len(p)), chosen] += 1.0
    log_p = np.log(np.maximum(p, np.finfo(np.float64).tiny))
    surprise = -(p * log_p).sum(axis=1, keepdims=True)
    result: NDArray[np.float64] = advantage * towards - entropy * p * (log_p + surprise)
    return result
