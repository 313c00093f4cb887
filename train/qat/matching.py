"""Matching: which layers of a network the rules of a plan take, checked before anything is changed."""

__all__ = ["Match", "matches"]

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from tetrit.errors import InvalidValueError
from tetrit.estimators import Estimator
from tetrit.estimators.tables import from_table
from tetrit.train.qat.attention import LowBitMultiheadAttention
from tetrit.train.qat.layers import LOW_BIT, LowBitEmbedding, LowBitLayer
from tetrit.train.qat.plan import FLOAT, Plan, Rule, Table, with_axes
from tetrit.train.quantizers import Quantizer

_LOW_BIT: dict[type[nn.Module], type[LowBitLayer]] = {**LOW_BIT, nn.MultiheadAttention: LowBitMultiheadAttention}

_INSTEAD: dict[type[object], str] = {
    nn.LSTM: "use tetrit.train.models.LSTM, whose projections are Linear layers",
    nn.LSTMCell: "use tetrit.train.models.LSTM, whose projections are Linear layers",
    nn.RNNBase: "write its projections as nn.Linear layers, as tetrit.train.models.LSTM does",
    nn.RNNCellBase: "write its projections as nn.Linear layers, as tetrit.train.models.LSTM does",
    nn.Bilinear: "write it with nn.Linear layers",
    nn.EmbeddingBag: "use nn.Embedding and sum its rows",
    nn.modules.lazy.LazyModuleMixin: "call the model once, so that the layer takes its shape",
}
"""What to do about layers with weights that cannot be quantised; the first that fits."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Match:
    """A layer and the estimators that its rule gives it, with axes in numbers; None for what stays in float."""

    name: str
    module: nn.Module
    low_bit: type[LowBitLayer]
    weight: dict[str, Any] | None
    activation: dict[str, Any] | None

    @property
    def device(self) -> torch.device:
        """Where the layer's parameters are."""
        return next(self.module.parameters()).device

    @property
    def dead_strength(self) -> float | None:
        """Share of dead weights that acts as a bias, None where the estimator has no such thing."""
        found = None if self.weight is None else from_table(self.weight)
        return float(found.strength) if found is not None and hasattr(found, "bias") else None  # type: ignore[attr-defined]


def matches(model: nn.Module, plan: Plan) -> list[Match]:
    """Return the layers to swap, in the order of the model.

    Raises
    ------
    InvalidValueError
        As `tetrit.train.qat.prepare` says.
    """
    modules = dict(model.named_modules())
    for name, module in modules.items():
        if isinstance(module, LowBitLayer):
            raise InvalidValueError(f"`model` must be a float model: layer '{name}' has been prepared already")
    layers = {name: module for name, module in modules.items() if type(module) in _LOW_BIT}
    rest = _unquantisable(modules)
    if not layers:
        first = next((f": {_said(name, modules[name], advice)}" for name, advice in rest.items()), "")
        raise InvalidValueError(f"`model` must have a layer that can be quantised, got none{first}")
    for rule in plan.rules:
        _check_rule(rule, modules, layers, rest)
    chosen = _chosen(plan, layers, rest)
    found = [
        _match(name, layers[name], rule) for name, rule in chosen.items() if rule is not None and not rule.leaves_float
    ]
    _warn(plan, modules, rest)
    found += _attentions_of_projections(found, layers)
    _check_shared(model, found)
    order = list(layers)
    return sorted(found, key=lambda match: order.index(match.name))


def _unquantisable(modules: dict[str, nn.Module]) -> dict[str, str]:
    """Return what to do about each layer that has weights which cannot be quantised, by its name."""
    return {name: advice for name, module in modules.items() if (advice := _advice(module))}


def _leaves(rule: Rule, rest: dict[str, str]) -> bool:
    """Return whether a rule leaves some of these in float, by its own words."""
    return rule.leaves_float and any(rule.takes(name) for name in rest)


def _said(name: str, module: nn.Module, advice: str) -> str:
    layer = f"layer '{name}'" if name else "it"
    return f"{layer} is a {type(module).__name__}, which cannot be quantised; {advice}"


def _warn(plan: Plan, modules: dict[str, nn.Module], rest: dict[str, str]) -> None:
    """Warn of layers that a pattern takes for quantising, and that stay in float."""
    left: dict[str, list[str]] = {}
    for name, advice in rest.items():
        rule = next((rule for rule in plan.rules if rule.takes(name)), None)
        if rule is not None and not rule.leaves_float:
            left.setdefault(f"{type(modules[name]).__name__}: {advice}", []).append(f"'{name}'")
    if left:
        layers = "; ".join(f"{', '.join(names)} ({kind})" for kind, names in left.items())
        warnings.warn(f"layers that cannot be quantised stay in float: {layers}", stacklevel=4)


def _chosen(plan: Plan, layers: dict[str, nn.Module], rest: dict[str, str]) -> dict[str, Rule | None]:
    """Return the rule of every layer, None for float; `rest` are those that stay in float anyway."""
    names = list(layers)
    kept = {names[0]} if plan.keep_first else set()
    if plan.keep_last:
        kept.add(names[-1])
    chosen: dict[str, Rule | None] = {}
    for name in names:
        if name in kept:
            chosen[name] = None
            continue
        places = {i: rule for i, rule in enumerate(plan.rules) if rule.takes(name)}
        parent = name.rpartition(".")[0]
        if isinstance(layers.get(parent), nn.MultiheadAttention):
            places |= {i: rule for i, rule in enumerate(plan.rules) if rule.takes(parent)}
        chosen[name] = places[min(places)] if places else None
    for rule in plan.rules:
        idle = not any(rule is other for other in chosen.values())
        if idle and not _leaves(rule, rest):
            taken = [name for name in names if rule.takes(name)]
            raise InvalidValueError(
                f"rule '{rule.match}' has no effect: an earlier rule, `keep_first` or `keep_last` takes "
                + ", ".join(f"'{name}'" for name in taken)
            )
    return chosen


def _check_rule(rule: Rule, modules: dict[str, nn.Module], layers: dict[str, nn.Module], rest: dict[str, str]) -> None:
    taken = [name for name in layers if rule.takes(name)]
    if taken:
        if rule.explicit and rule.activation not in (None, FLOAT) and isinstance(layers[rule.match], nn.Embedding):
            raise InvalidValueError(
                f"layer '{rule.match}' takes indices, which no activation estimator can quantise; "
                "leave out `activation`"
            )
        return
    if _leaves(rule, rest):
        return
    for name in filter(rule.takes, modules):
        if advice := rest.get(name) or _instead(name, modules[name]):
            raise InvalidValueError(_said(name, modules[name], advice))
    raise InvalidValueError(
        f"rule '{rule.match}' takes no layer; layers that can be quantised: "
        + ", ".join(f"'{name}'" if name else "'' (the model itself; match it with '*')" for name in layers)
    )


def _advice(module: nn.Module) -> str | None:
    """Return what to do about a layer that has weights which cannot be quantised; else None."""
    if type(module) in _LOW_BIT:
        return None
    if parametrize.is_parametrized(module):
        ours = any(isinstance(part, Quantizer) for part in module.modules())
        return None if ours else "remove its parametrisations first"
    for kind, advice in _INSTEAD.items():
        if isinstance(module, kind):
            return advice
    for kind in _LOW_BIT:
        if isinstance(module, kind):
            return f"it may have a forward pass of its own: use torch.nn.{kind.__name__} itself"
    return None


def _instead(name: str, module: nn.Module) -> str | None:
    """Return what to rather match than a module with parameters that is no layer with weights; else None."""
    if any(True for _ in module.children()):
        return f"match the layers in it, for instance with '{name}.*'"
    return "it has no weight matrix" if any(True for _ in module.parameters(recurse=False)) else None


def _match(name: str, module: nn.Module, rule: Rule) -> Match:
    low_bit = _LOW_BIT[type(module)]
    activation = rule.activation if rule.activation != FLOAT else None
    if low_bit is LowBitEmbedding:
        activation = None
    _check_module(name, module)
    match = Match(
        name=name,
        module=module,
        low_bit=low_bit,
        weight=_table(rule.weight, low_bit.axes),
        activation=_table(activation, {}),
    )
    if match.activation is not None:
        estimator = from_table(match.activation)
        if type(estimator).value_shape is not Estimator.value_shape:
            raise InvalidValueError(
                f"input of layer '{name}': the estimator '{estimator.name}' changes the shape of what it quantises"
            )
    if match.dead_strength is not None:
        _check_dead(match)
    return match


def _table(given: str | Table | None, axes: dict[str, int]) -> dict[str, Any] | None:
    return None if given is None or isinstance(given, str) else with_axes(given, axes)


def _check_module(name: str, module: nn.Module) -> None:
    for key in _LOW_BIT[type(module)].weights:
        if key not in module._parameters:
            raise InvalidValueError(
                f"layer '{name}': `{key}` is computed by a hook (weight_norm, pruning); remove it first"
            )
    if isinstance(module, nn.MultiheadAttention) and (module.bias_k is not None or module.add_zero_attn):
        raise InvalidValueError(f"layer '{name}' must not have `add_bias_kv` or `add_zero_attn` to be quantised")
    if isinstance(module, nn.Embedding) and (module.max_norm is not None or module.sparse):
        raise InvalidValueError(f"layer '{name}' must not have `max_norm` or `sparse` to be quantised")


def _check_dead(match: Match) -> None:
    assert match.weight is not None
    outputs = match.low_bit.axes["output"]
    if match.low_bit is LowBitEmbedding or (outputs and getattr(match.module, "groups", 1) > 1):
        raise InvalidValueError(
            f"layer '{match.name}' has no outputs that dead weights could add to: "
            f"'{match.weight['name']}' cannot be used"
        )
    if from_table(match.weight).outputs != outputs:  # type: ignore[attr-defined]
        raise InvalidValueError(f"layer '{match.name}': `outputs` of '{match.weight['name']}' must be {outputs}")


def _attentions_of_projections(found: list[Match], layers: dict[str, nn.Module]) -> list[Match]:
    """Return the attentions of which only `out_proj` is quantised: torch's own would not call it."""
    names = {match.name for match in found}
    parents = {name.rpartition(".")[0] for name in names if name.endswith("out_proj")}
    extra = []
    for name in parents - names:
        module = layers.get(name)
        if isinstance(module, nn.MultiheadAttention):
            _check_module(name, module)
            extra.append(
                Match(name=name, module=module, low_bit=LowBitMultiheadAttention, weight=None, activation=None)
            )
    return extra


def _check_shared(model: nn.Module, found: list[Match]) -> None:
    """Raise an error where layers share a weight and would not treat it alike."""
    by_module = {id(match.module): match for match in found}
    users: dict[int, tuple[str, Any]] = {}
    for name, module in model.named_modules():
        match = by_module.get(id(module))
        low_bit = _LOW_BIT.get(type(module))
        for key, parameter in module.named_parameters(recurse=False):
            quantised = match is not None and low_bit is not None and key in low_bit.weights
            table = match.weight if match is not None and quantised else None
            first, other = users.setdefault(id(parameter), (name, table))
            if other != table:
                raise InvalidValueError(
                    f"layers '{first}' and '{name}' share a weight, so the plan must treat it alike in both: "
                    f"{_words(other)} in '{first}', {_words(table)} in '{name}'"
                )


def _words(table: dict[str, Any] | None) -> str:
    return "float" if table is None else str(table)
