"""What a torch rule is, with and without random draws, and the list of those that exist."""

__all__ = ["Drawing", "Rule", "field_gradients", "field_values", "register", "rule_of", "serves_cpu"]

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from tetrit.errors import InvalidValueError
from tetrit.estimators import Estimator
from tetrit.estimators.stochastic._shared import drawn_key
from tetrit.train.quantizers._golden import learned_names
from tetrit.train.quantizers.rules._tensors import numbers, random_words, rounded


class Rule(ABC):
    """An estimator in tensor operations.

    Every method takes the golden estimator for its plain fields and `learned`, the tensors of its learned fields in the
    order of `Estimator.learnable` (none where a field is fixed or has no value yet). `w` and `grad` may have any float
    dtype; forward values are float64, gradients have the dtype of `grad`. Nothing here may read a value of a tensor
    into Python, since that would wait for the device. Instead of an error, a NaN or an infinity in `w` gives a value
    that is not finite to that weight, and to all others that share a scale computed from it.
    """

    name: ClassVar[str]
    serves_cpu: ClassVar[bool] = False
    """Whether `backward` serves tensors of the CPU too: one of matrix products, for which torch is the faster."""

    @abstractmethod
    def values(self, e: Any, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        """Return the values that the codes stand for, in float64."""

    def forward(self, e: Any, w: Tensor, learned: Sequence[Tensor], seed: int | None) -> Tensor:
        """Return the values of the training, in float64; `seed`, by default its own, is for an estimator that draws."""
        return self.values(e, w, learned)

    @abstractmethod
    def backward(self, e: Any, w: Tensor, grad: Tensor, learned: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradient of the latent tensor (`grad` itself where it passes) and of every learned field."""

    def after_step(self, e: Any, w: Tensor, learned: Sequence[Tensor]) -> Tensor:
        """Return the latent tensor after the optimiser's step; the same tensor where the estimator leaves it."""
        assert type(e).after_step is Estimator.after_step, f"rule of {e.name} lacks after_step"
        return w


class Drawing(Rule):
    """A rule whose forward pass takes random bits for every weight; `drawn` is what it does with them."""

    def words(self, e: Any, w: Tensor, seed: int | None) -> Tensor:
        """Return 64 random bits as an int64 for every weight, those that the golden estimator takes from this seed."""
        key = int(drawn_key(None, e.seed if seed is None else seed))
        return random_words(w.numel(), key=key, device=w.device).reshape(w.shape)

    @abstractmethod
    def drawn(self, e: Any, w: Tensor, learned: Sequence[Tensor], words: Tensor) -> Tensor:
        """Return the values, in float64, that these bits give."""

    def forward(self, e: Any, w: Tensor, learned: Sequence[Tensor], seed: int | None) -> Tensor:
        """Return the values of the training for the bits of the seed."""
        return self.drawn(e, w, learned, self.words(e, w, seed))


def field_values(e: Any, name: str, learned: Sequence[Tensor], device: torch.device) -> Tensor:
    """Return a learnable field that has a value as a float64 vector: the learned one, held in its range, or the fixed.

    One number gives a vector of one.
    """
    if not learned:
        return numbers(getattr(e, name), device)
    return learned[learned_names(e).index(name)].double().clamp(*e.learnable[name]).reshape(-1)


def field_gradients(e: Any, learned: Sequence[Tensor], found: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the gradients of learned fields in their order, each of the dtype and shape of its tensor."""
    names = learned_names(e) if learned else []
    return [rounded(found[name], p.dtype).reshape(p.shape) for name, p in zip(names, learned, strict=True)]


_RULES: dict[str, Rule] = {}


def register(*rules: Rule) -> None:
    """Make `rule_of` know these rules."""
    _RULES.update((rule.name, rule) for rule in rules)


def serves_cpu(estimator: Estimator) -> bool:
    """Return whether the rule of the estimator's class, if it has one, is for tensors of the CPU too."""
    rule = _RULES.get(estimator.name)
    return rule is not None and rule.serves_cpu


def rule_of(estimator: Estimator) -> Rule:
    """Return the rule of the estimator's class; InvalidValueError if it has none."""
    rule = _RULES.get(estimator.name)
    if rule is None:
        raise InvalidValueError(f"estimator '{estimator.name}' has no rule for devices other than the CPU")
    return rule
