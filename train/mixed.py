"""Formats layer by layer for PyTorch networks: what each costs and loses, the best choice, and the plan for it."""

__all__ = ["FormatChoice", "choose_formats", "format_plan"]

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tetrit.errors import InvalidValueError
from tetrit.estimators import FormatSTE
from tetrit.hls import assign_precision
from tetrit.train.precision import PER_OUTPUT, FormatPair
from tetrit.train.qat.passes import call, evaluating
from tetrit.train.qat.plan import Plan, Rule
from tetrit.train.qat.preparing import prepare
from tetrit.train.sensitivity.layers import layers_of, macs_of, seen
from tetrit.train.sensitivity.perturbation import divergence

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class FormatChoice:
    """The formats of a network's layers, and what they were chosen from.

    Attributes
    ----------
    pairs : dict of str to FormatPair
        By name of the layer.
    macs : dict of str to int
        Multiply-accumulates per example.
    losses : ndarray of float64, shape (layers, candidates)
        What each candidate loses with one layer alone in it.
    mean_bits : float
        Of a multiply-accumulate's lane, over all layers.
    """

    pairs: dict[str, FormatPair]
    macs: dict[str, int]
    losses: NDArray[np.float64]
    mean_bits: float


def format_plan(model: nn.Module, pairs: Mapping[str, FormatPair], example: Any) -> Plan:
    """Return the plan by which `prepare` gives layers their formats.

    Weights get powers of two, one for each output in FP4 and one a layer in other formats, see
    `tetrit.train.precision.PER_OUTPUT`; inputs get one each: the best, by squared error, for what `example` gives in
    the network as it is.

    Parameters
    ----------
    model : nn.Module
        Float.
    pairs : mapping of str to FormatPair
        By name of the layer, as in ``named_modules``; other layers stay in float.
    example : tensor, tuple or mapping
        A batch as the model takes it.

    Returns
    -------
    Plan

    Raises
    ------
    InvalidValueError
        No pairs, a name that is no linear or convolutional layer, or a layer that the example does not reach.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from tetrit.train.mixed import format_plan
    >>> from tetrit.train.precision import FormatPair
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> plan = format_plan(model, {"2": FormatPair(act="posit8_0", weight="fp4_e2m1")}, torch.ones(5, 4))
    >>> [(rule.match, rule.weight["format"]) for rule in plan.rules]
    [('2', 'fp4_e2m1')]
    """
    if not pairs:
        raise InvalidValueError("`pairs` must name at least one layer, got none")
    layers = layers_of(model)
    for name in pairs:
        if name not in layers:
            raise InvalidValueError(f"`pairs` names '{name}', which is no linear or convolutional layer of the model")
    inputs = seen(model, {name: layers[name] for name in pairs}, example)
    rules = []
    for name, pair in pairs.items():
        x = inputs[name][0].detach().cpu().double().numpy()
        scale = FormatSTE(format=pair.act).start(x)[0].scale
        per_output = {"axis": "output"} if pair.weight in PER_OUTPUT else {}
        rules.append(
            Rule(
                match=name,
                weight={"name": FormatSTE.name, "format": pair.weight} | per_output,
                activation={"name": FormatSTE.name, "format": pair.act, "scale": scale},
            )
        )
    return Plan(rules=tuple(rules))


def choose_formats(
    model: nn.Module,
    candidates: Sequence[FormatPair],
    example: Any,
    *,
    mean_bits: float,
    loss: Loss | None = None,
) -> FormatChoice:
    """Choose a pair of formats for every layer: the least sum of losses within a bound on a SIMD engine's steps.

    A loss is measured with one layer alone rounded, without training, against the network's own results in float; that
    they add up is an assumption. A step of the engine has 16 bits, so a multiply-accumulate in a pair whose wider
    format has b bits takes b / 16 of a step.

    Parameters
    ----------
    model : nn.Module
        Float, trained; it stays as it is. All its linear and convolutional layers get a pair.
    candidates : sequence of FormatPair
    example : tensor, tuple or mapping
        A batch as the model takes it, of training data; no labels are needed.
    mean_bits : float
        The bound: the mean of b over all multiply-accumulates.
    loss : callable, optional
        Takes the results and those in float; by default the mean Kullback-Leibler divergence of logits along their last
        axis. For regression: ``torch.nn.functional.mse_loss``.

    Returns
    -------
    FormatChoice

    Raises
    ------
    InvalidValueError
        No candidates or layers, or a bound below what the least candidates need.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from tetrit.train.mixed import choose_formats
    >>> from tetrit.train.precision import FormatPair
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    >>> four, eight = (FormatPair(act=name, weight=name) for name in ("fp4_e2m1", "posit8_0"))
    >>> choice = choose_formats(model, [four, eight], torch.rand(64, 16), mean_bits=5.0)
    >>> {name: str(pair) for name, pair in choice.pairs.items()}, choice.mean_bits
    ({'0': 'fp4_e2m1', '2': 'posit8_0'}, 4.8)
    """
    layers = layers_of(model)
    if not layers or not candidates:
        raise InvalidValueError("a choice needs at least one linear or convolutional layer and one candidate")
    measure = loss or divergence
    macs = {name: macs_of(layers[name], y) for name, (_, y) in seen(model, layers, example).items()}
    losses = np.empty((len(layers), len(candidates)))
    with torch.no_grad(), evaluating(model):
        wanted = call(model, example)
        for place, name in enumerate(layers):
            for number, pair in enumerate(candidates):
                rounded = prepare(copy.deepcopy(model), format_plan(model, {name: pair}, example))
                losses[place, number] = max(0.0, float(measure(call(rounded, example), wanted)))
    sizes = np.array([macs[name] for name in layers])
    costs = np.outer(sizes, [pair.bits for pair in candidates])
    chosen = [candidates[index] for index in assign_precision(costs, losses, mean_bits * float(sizes.sum()))]
    return FormatChoice(
        pairs=dict(zip(layers, chosen, strict=True)),
        macs=macs,
        losses=losses,
        mean_bits=float(sizes @ np.array([pair.bits for pair in chosen]) / sizes.sum()),
    )
