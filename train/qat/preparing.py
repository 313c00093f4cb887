"""Preparation: the swap of a network's layers for quantised ones, and the start of their estimators."""

__all__ = ["call", "evaluating", "prepare"]

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tetrit.errors import InvalidValueError
from tetrit.estimators import LSQ, Estimator
from tetrit.estimators.tables import from_table
from tetrit.train.qat.attention import avoid_fast_paths
from tetrit.train.qat.folding import fold_batchnorm as fold
from tetrit.train.qat.layers import LowBitLayer, low_bit_layers
from tetrit.train.qat.matching import Match, matches
from tetrit.train.qat.passes import call, evaluating
from tetrit.train.qat.plan import Plan, Table
from tetrit.train.quantizers import Quantizer


def prepare(model: nn.Module, plan: Plan, *, example: Any = None, fold_batchnorm: bool = False) -> nn.Module:
    """Swap the layers of a network for quantised ones, in place, as a plan says.

    A layer stays the same object with the same parameters and becomes one of a `LowBitLayer` class, so optimisers,
    hooks, tied weights, `copy.deepcopy`, pickles, state dicts, `torch.compile`, autocast and DistributedDataParallel go
    on working. Where an estimator trains on a latent of another shape than the weights, the parameter is a new one:
    make the optimiser after this call.

    Weights that layers share (an embedding tied to the output layer) get one quantiser and stay shared.

    Parameters
    ----------
    model : nn.Module
        Float; on its device already. Linear, Conv1d to 3d, ConvTranspose1d to 3d, Embedding and MultiheadAttention
        layers can be quantised; a rule for a MultiheadAttention holds for its `out_proj` too, unless an earlier rule
        takes that.
    plan : Plan
    example : tensor, tuple or mapping, optional
        A batch as the model takes it: one tensor, a tuple of positional or a mapping of keyword arguments. Activation
        estimators that learn a field (``lsq``) start from what it gives them, in one pass without gradients, in
        evaluation mode and with the other activations in float.
    fold_batchnorm : bool, default False
        Whether `tetrit.train.qat.fold_batchnorm` runs before.

    Returns
    -------
    nn.Module
        `model`, the same object.

    Raises
    ------
    TypeError
        If `model` is no module or `plan` no Plan.
    InvalidValueError
        If the model has been prepared before, a rule takes no layer or one that cannot be quantised, shared weights
        would be treated differently, an estimator refuses a weight, an example is needed and there is none, or the
        example does not reach a layer, or gives it a NaN or a shape that its estimator is not for.

    After any error, those of the model's own code on the example included, its layers and weights are as before, except
    that batch normalisation may have been folded.

    Warns
    -----
    UserWarning
        Of layers with weights that cannot be quantised, an LSTM for instance, where a rule with a pattern takes them
        for that: they stay in float. A rule before it that takes them and leaves them in float keeps it quiet.

    Notes
    -----
    `axis` of a weight estimator counts the axes of torch's weight: 0 is the output of Linear and Conv and the row (the
    symbol) of Embedding, but the input of ConvTranspose; ``"output"`` in a rule means 0, 0, 0 and 1. With groups,
    axis 1 of a ConvTranspose counts the outputs of one group, so each scale serves all groups.

    A stochastic estimator of shared weights draws anew for each use.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from tetrit.train.qat import Plan, Rule, prepare
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> plan = Plan(rules=(Rule(match="*", weight={"name": "szt", "axis": "output"}, activation="lsq"),))
    >>> x = torch.ones(5, 4)
    >>> model = prepare(model, plan, example=x)
    >>> model[0].input_quantizer
    Quantizer(LSQ(format='int4', axis=None, step=0.7559289460184544, batched=True))
    >>> loss = model(x).square().sum()
    >>> loss.backward()
    >>> model[0].weight.grad.shape, model[0].input_quantizer.step.grad.shape
    (torch.Size([3, 4]), torch.Size([]))
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"`model` must be an nn.Module, got {type(model).__name__}")
    if not isinstance(plan, Plan):
        raise TypeError(f"`plan` must be a Plan, got {type(plan).__name__}")
    found = matches(model, plan)
    waiting = [m.name for m in found if m.activation is not None and from_table(m.activation).learnable]
    if waiting and example is None:
        raise InvalidValueError(
            f"`example` must be a batch of inputs, from which the activation quantiser of layer '{waiting[0]}' starts"
        )
    if fold_batchnorm:
        fold(model, example=example)
    begun = _begun(found)
    with _undone_on_error(model, found):
        for match in found:
            _swap(match, begun)
        avoid_fast_paths(model)
        if example is not None:
            _start_inputs(model, example)
    for name, module in model.named_modules():
        if isinstance(module, Quantizer):
            module.label = f"'{name}'"
    return model


@contextmanager
def _undone_on_error(model: nn.Module, found: list[Match]) -> Iterator[None]:
    """Give all that the swap touches its class, attributes and weights back if the block raises an error."""
    touched = [match.module for match in found]
    touched += [m for m in model.modules() if isinstance(m, nn.TransformerEncoder | nn.TransformerEncoderLayer)]
    kept = [(m, type(m), dict(vars(m)), dict(m._parameters), dict(m._modules)) for m in touched]
    weights = {p: p.detach().clone() for m in found for p in m.module.parameters(recurse=False)}
    try:
        yield
    except BaseException:
        for module, kind, attributes, parameters, modules in kept:
            module.__class__ = kind
            vars(module).clear()
            vars(module).update(attributes)
            for own, old in ((module._parameters, parameters), (module._modules, modules)):
                own.clear()
                own.update(old)  # type: ignore[arg-type]
        for parameter, value in weights.items():
            parameter.data.copy_(value)
        raise


def _begun(found: list[Match]) -> dict[int, tuple[Quantizer, Tensor]]:
    """Return quantiser and first latent of every weight to quantise, by the parameter's identity."""
    begun: dict[int, tuple[Quantizer, Tensor]] = {}
    for match in found:
        if match.weight is None:
            continue
        for name in match.low_bit.weights:
            weight = getattr(match.module, name)
            if weight is None or id(weight) in begun:
                continue
            quantizer = Quantizer(from_table(match.weight)).to(weight.device)
            try:
                latent = quantizer.start(weight.detach())
                if quantizer.codes(latent).codes.shape != weight.shape:
                    raise InvalidValueError(f"the estimator '{match.weight['name']}' is not for a single real matrix")
            except InvalidValueError as error:
                raise InvalidValueError(f"layer '{match.name}': {error}") from None
            begun[id(weight)] = quantizer, latent
    return begun


def _swap(match: Match, begun: dict[int, tuple[Quantizer, Any]]) -> None:
    """Give a layer its class and its quantisers; once a weight has its latent, `begun` has the parameter."""
    layer = match.module
    layer.__class__ = match.low_bit
    assert isinstance(layer, LowBitLayer)
    layer.dead_strengths = {}
    for name in match.low_bit.weights:
        weight = getattr(layer, name)
        layer.register_module(f"{name}_quantizer", None)
        if match.weight is None or weight is None:
            continue
        quantizer, latent = begun[id(weight)]
        if not isinstance(latent, nn.Parameter):
            begun[id(weight)] = quantizer, _placed(latent, weight)
        setattr(layer, name, begun[id(weight)][1])
        setattr(layer, f"{name}_quantizer", quantizer.train(layer.training))
        strength = match.dead_strength
        if strength is not None:
            layer.dead_strengths[name] = strength
    activation = None if match.activation is None else Quantizer(_of_batches(match.activation))
    if activation is not None:
        activation.to(match.device).train(layer.training)
    layer.register_module("input_quantizer", activation)


def _of_batches(table: Table) -> Estimator:
    """Return the estimator of an activation, whose first axis is a batch: LSQ must not count its length."""
    batched = {"batched": True} if table["name"] == LSQ.name else {}
    return from_table(batched | dict(table))


def _placed(latent: Tensor, weight: nn.Parameter) -> nn.Parameter:
    """Return the parameter that holds a latent: the weight's own wherever its shape lets it be."""
    if latent.shape == weight.shape:
        weight.data.copy_(latent)
        return weight
    return nn.Parameter(latent, requires_grad=weight.requires_grad)


@torch.no_grad()
def _start_inputs(model: nn.Module, example: Any) -> None:
    """Start the activation quantisers at what one pass of the example gives them."""
    started: dict[Quantizer, Tensor] = {}

    def watching(quantizer: Quantizer) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            started.setdefault(quantizer, x)
            return x

        return forward

    layers = low_bit_layers(model)
    quantizers = {name: layer.input_quantizer for name, layer in layers.items() if layer.input_quantizer is not None}
    for quantizer in quantizers.values():
        vars(quantizer)["forward"] = watching(quantizer)  # of this one object, for one pass
    try:
        with evaluating(model):
            call(model, example)
    finally:
        for quantizer in quantizers.values():
            del vars(quantizer)["forward"]
    for name, quantizer in quantizers.items():
        if quantizer in started:
            x = started[quantizer]
            try:
                quantizer.start(x)
                with evaluating(quantizer):
                    shape = quantizer(x).shape
                if shape != x.shape:
                    raise InvalidValueError(f"the estimator changes the shape from {tuple(x.shape)} to {tuple(shape)}")
            except InvalidValueError as error:
                raise InvalidValueError(f"input of layer '{name}' for the `example`: {error}") from None
        elif quantizer.estimator.learnable:
            raise InvalidValueError(f"`example` must reach every layer, it does not reach '{name}'")
