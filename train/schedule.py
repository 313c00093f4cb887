"""The schedule of quantisers: the authority for what happens to a prepared network after every step of an optimiser."""

__all__ = ["Schedule"]

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators import Estimator
from tetrit.estimators.adaptive import AdaPT, SwitchRule, gradient_diversity, next_lookback, switch
from tetrit.train.qat.layers import LowBitLayer
from tetrit.train.quantizers import Quantizer


class Schedule:
    """Moves all quantisers of a network along with its training: one call after every step of the optimiser.

    `step` sets the progress of every quantiser to steps done over `total_steps` (0 before the first), moves the latent
    weights of estimators that ask for it (`Estimator.after_step`), puts learned fields that left their range back to
    its end, and lets AdaPT choose its word lengths anew from the gradients since the last time.

    Parameters
    ----------
    model : nn.Module
        Prepared, or with `Quantizer` modules of your own, parametrisations included; may be wrapped (DistributedData-
        Parallel, `torch.compile`). Make the schedule after `prepare`.
    total_steps : int
        Steps of the optimiser in the whole training; beyond it the progress stays 1.
    rule : SwitchRule, optional
        The constants of AdaPT's switches.

    Raises
    ------
    TypeError
        If `model` is no module.
    InvalidValueError
        If `total_steps` is not positive or `model` has no quantiser.

    Notes
    -----
    For AdaPT, call `step` before the gradients are cleared. It keeps every gradient of a weight since the last switch,
    ``SwitchRule.max_lookback`` of them at most, in float32 on the CPU. A step without gradients leaves them out, and so
    does one whose gradient is not finite, as a GradScaler leaves it (whose ``step`` has unscaled the others). That the
    first window has ``max_lookback`` gradients is **our choice**.

    Frozen weights (``requires_grad`` False) stay where they are.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from tetrit.train.qat import Plan, Rule, prepare
    >>> from tetrit.train.schedule import Schedule
    >>> model = prepare(nn.Sequential(nn.Linear(4, 2)), Plan(rules=(Rule(match="*", weight="reste"),)))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> schedule = Schedule(model, total_steps=10)
    >>> for _ in range(5):
    ...     optimizer.zero_grad()
    ...     model(torch.ones(3, 4)).square().mean().backward()
    ...     optimizer.step()
    ...     schedule.step()
    >>> model[0].weight_quantizer.progress
    0.5
    """

    def __init__(self, model: nn.Module, total_steps: int, *, rule: SwitchRule | None = None) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"`model` must be an nn.Module, got {type(model).__name__}")
        self.total_steps = checks.integer("total_steps", total_steps)
        self.rule = rule or SwitchRule()
        self.steps = 0
        self._quantizers = [module for module in model.modules() if isinstance(module, Quantizer)]
        if not self._quantizers:
            raise InvalidValueError("`model` must have quantisers, got none; prepare it before")
        self._learning = [(q, type(e)) for q in self._quantizers if (e := q.estimator).learnable]
        weights = list(_weights(model))
        self._moving = [w for w in weights if type(w[2].estimator).after_step is not Estimator.after_step]
        self._switching = {
            f"{name}.{key}" if name else key: _Window(owner, key, quantizer, self.rule)
            for (owner, key, quantizer), name in zip(weights, _names(model, weights), strict=True)
            if isinstance(quantizer.estimator, AdaPT)
        }
        self._follow()

    @property
    def progress(self) -> float:
        """Share of the training that is done, from 0 to 1."""
        return min(self.steps / self.total_steps, 1.0)

    def step(self) -> None:
        """Do what is due after a step of the optimiser."""
        self.steps += 1
        self._follow()
        if self._learning or self._moving or self._switching:
            self._change()

    @torch.no_grad()
    def _change(self) -> None:
        """Hold learned fields in their ranges, move latent weights, switch word lengths."""
        for quantizer, estimator in self._learning:
            for name, ends in estimator.learnable.items():
                value = getattr(quantizer, name, None)
                if value is not None:
                    value.clamp_(*ends)
        for owner, key, quantizer in self._moving:
            latent = getattr(owner, key)
            if latent.requires_grad:
                quantizer.after_step(latent)
        for window in self._switching.values():
            window.look()

    def resume(self, steps: int) -> None:
        """Go to the moment after so many steps; AdaPT's windows of gradients begin anew."""
        self.load_state_dict({"steps": steps})

    def state_dict(self) -> dict[str, Any]:
        """Return the steps done and AdaPT's windows, as numbers, texts, lists, dicts and tensors."""
        return {"steps": self.steps, "switches": {name: w.state_dict() for name, w in self._switching.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` gave; a state without its keys raises InvalidValueError and changes nothing."""
        saved = state.get("switches", {})
        if "steps" not in state:
            raise InvalidValueError("`state` must be what `state_dict` gave, `steps` is missing")
        for name in self._switching:
            for key in ("lookback", "gradients"):
                if name in saved and key not in saved[name]:
                    raise InvalidValueError(f"`state` must be what `state_dict` gave, `{key}` of '{name}' is missing")
        self.steps = checks.integer("steps", state["steps"], minimum=0)
        for name, window in self._switching.items():
            window.load_state_dict(saved.get(name))
        self._follow()

    def _follow(self) -> None:
        progress = self.progress
        for quantizer in self._quantizers:
            quantizer.follow(progress)


class _Window:
    """The gradients of one AdaPT weight since its last switch."""

    def __init__(self, owner: nn.Module, key: str, quantizer: Quantizer, rule: SwitchRule) -> None:
        self.owner, self.key, self.quantizer, self.rule = owner, key, quantizer, rule
        self.lookback = rule.max_lookback
        self.gradients: list[Tensor] = []

    def look(self) -> None:
        """Take the gradient of this step; switch when there are enough."""
        latent: Tensor = getattr(self.owner, self.key)
        if latent.grad is None:
            return
        gradient = latent.grad.detach().to("cpu", torch.float32, copy=True)
        if not torch.isfinite(gradient).all():
            return
        self.gradients.append(gradient)
        if len(self.gradients) < self.lookback:
            return
        old = self.quantizer.estimator
        assert isinstance(old, AdaPT)
        weight: NDArray[Any] = latent.detach().to("cpu", torch.float32).numpy()
        gradients: list[NDArray[np.float32]] = [gradient.numpy() for gradient in self.gradients]
        new = switch(old, weight, gradients, rule=self.rule)
        self.quantizer.exchange(new)
        self.lookback = next_lookback(self.lookback, gradient_diversity(gradients), rule=self.rule)
        self.gradients = []

    def state_dict(self) -> dict[str, Any]:
        return {"lookback": self.lookback, "gradients": list(self.gradients)}

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        self.lookback = self.rule.max_lookback if state is None else state["lookback"]
        self.gradients = [] if state is None else list(state["gradients"])


def _weights(model: nn.Module) -> Iterator[tuple[nn.Module, str, Quantizer]]:
    """Yield owner, name and quantiser of every quantised weight, a shared one once."""
    seen: set[int] = set()
    for module in model.modules():
        found: list[tuple[str, nn.Parameter, Quantizer]] = []
        if isinstance(module, LowBitLayer):
            found = list(module.latents())
        elif isinstance(module, ParametrizationList) and len(module) == 1 and isinstance(module[0], Quantizer):
            assert isinstance(module.original, nn.Parameter)
            found = [("original", module.original, module[0])]
        for name, latent, quantizer in found:
            if id(latent) not in seen:
                seen.add(id(latent))
                yield module, name, quantizer


def _names(model: nn.Module, weights: list[tuple[nn.Module, str, Quantizer]]) -> list[str]:
    names = {module: name for name, module in model.named_modules()}
    return [names[owner] for owner, _, _ in weights]
