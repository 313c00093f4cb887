"""The steps of a training: phases, optimiser, evaluation, stopping, and a state to save between any two steps."""

__all__ = ["DivergedError", "Trainer"]

import copy
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from tetrit.errors import Interrupted, InvalidValueError, TetritError
from tetrit.train.loop import generators, guard, interrupt
from tetrit.train.loop.batches import Batches
from tetrit.train.loop.config import Quantization
from tetrit.train.loop.settings import Settings, rate_factor
from tetrit.train.loop.weights import CodeWatch
from tetrit.train.qat import prepare
from tetrit.train.quantizers import Quantizer
from tetrit.train.schedule import Schedule


class DivergedError(InvalidValueError):
    """The training has met a NaN, an infinity, or weights that an estimator refuses.

    Attributes
    ----------
    what : str
        The first part of the message, which does not depend on folders.
    """

    def __init__(self, what: str, last: str = "") -> None:
        super().__init__(f"{what}; {last}" if last else what)
        self.what = what


class Trainer:
    """One training.

    Parameters
    ----------
    phases : sequence of (str, Settings)
        Names and settings of its parts; one named ``"quantized"`` begins by preparing the model.
    model : nn.Module
        The float network.
    batches : Batches
    quantization : Quantization or None
        What ``"quantized"`` prepares the model with.
    save : callable
        Writes a checkpoint of `state_dict`.
    kept : Path
        Where it writes, for messages.
    progress : bool
        Draw a bar for each phase.
    observe : callable, optional
        Called with the quantised model at every evaluation, while the gradients of the last step are still there; what
        it returns joins the history.

    Attributes
    ----------
    model : nn.Module
        As it is now.
    finished : bool
        Whether everything is done and written.
    """

    def __init__(
        self,
        phases: Sequence[tuple[str, Settings]],
        model: nn.Module,
        batches: Batches,
        quantization: Quantization | None,
        *,
        save: Callable[[], None],
        kept: Path,
        progress: bool = False,
        observe: Callable[[nn.Module], dict[str, Any]] | None = None,
    ) -> None:
        self.phases = phases
        self.model = model
        self.batches = batches
        self.quantization = quantization
        self.save = save
        self.kept = kept
        self.progress = progress
        self.observe = observe
        self.finished = False
        self.phase = 0
        self.step = 0
        self.ended = False
        self.history: list[dict[str, Any]] = []
        self.results: dict[str, dict[str, Any]] = {}
        self.timings: list[dict[str, Any]] = []
        self.losses = [0.0, 0.0]  # sum and number since the last evaluation
        self.best: dict[str, Any] | None = None
        self.stale = 0
        self.saved: tuple[int, int] | None = None
        self._began = time.perf_counter()
        self._check_plan()
        self._prepare()

    # --- what each phase has of its own ---

    @property
    def name(self) -> str:
        """Name of the phase."""
        return self.phases[self.phase][0]

    @property
    def settings(self) -> Settings:
        """Settings of the phase."""
        return self.phases[self.phase][1]

    @property
    def total(self) -> int:
        """Steps of the phase."""
        if self.settings.steps is not None:
            return self.settings.steps
        return (self.settings.epochs or 0) * self.batches.per_epoch

    def _check_plan(self) -> None:
        """Prepare a copy, so that a plan that does not fit is found before the float phase and not after it."""
        if self.quantization is not None and self.name != "quantized":
            self._prepared(copy.deepcopy(self.model), self.quantization)

    def _prepared(self, model: nn.Module, chosen: Quantization) -> nn.Module:
        try:
            return prepare(model, chosen.plan, example=self.batches.example, fold_batchnorm=chosen.fold_batchnorm)
        except InvalidValueError as error:
            raise InvalidValueError(f"[quantize]: {error}") from None

    def _prepare(self) -> None:
        """Make the model, the optimiser and the quantisers' schedule ready for the first step of the phase."""
        self.watch: CodeWatch | None = None
        self.schedule: Schedule | None = None
        if self.name == "quantized" and self.quantization is not None:
            self.model = self._prepared(self.model, self.quantization)
            if any(isinstance(module, Quantizer) for module in self.model.modules()):
                self.schedule = Schedule(self.model, self.total)
            self.watch = CodeWatch(self.model)
        self.optimizer = self._optimizer()

    def _optimizer(self) -> torch.optim.Optimizer:
        settings = self.settings
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        if settings.optimizer == "sgd":
            nesterov = settings.momentum > 0
            return torch.optim.SGD(groups, lr=settings.rate, momentum=settings.momentum, nesterov=nesterov)
        kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
        return kind(groups, lr=settings.rate)

    # --- the loop ---

    def train(self, after_step: Callable[[str, int], None] | None = None) -> None:
        """Do all steps that are left; see `tetrit.train.loop.run` for what is raised."""
        with interrupt.deferred() as request:
            while True:
                self._train_phase(after_step, request)
                if self.phase + 1 == len(self.phases):
                    return
                self.phase += 1
                self.step, self.ended, self.best, self.stale = 0, False, None, 0
                self._prepare()

    def _train_phase(self, after_step: Callable[[str, int], None] | None, request: interrupt.Request) -> None:
        if self.name in self.results:  # of another run, whose state was taken over
            return
        self._began = time.perf_counter()
        with tqdm(total=self.total, initial=self.step, desc=self.name, unit="step", disable=not self.progress) as bar:
            while self.step < self.total and not self.ended:
                self._step()
                bar.update()
                if self._due(self.settings.evaluate_every or self.batches.per_epoch):
                    self._evaluate()
                    bar.set_postfix(validation=f"{self.history[-1]['validation']['loss']:.4f}")
                if self._due(self.settings.checkpoint_every or self.settings.evaluate_every or self.batches.per_epoch):
                    self._checkpoint()
                if after_step is not None:
                    after_step(self.name, self.step)
                if request.asked:
                    self._checkpoint()
                    raise Interrupted(
                        f"interrupted at step {self.step} of {self.total} of the {self.name} phase; "
                        f"its checkpoint is '{self.kept}'"
                    )
        if self.best is not None:
            self.model.load_state_dict(self.best["model"])
        self.results[self.name] = {
            "steps": self.step,
            "stopped_early": self.step < self.total,
            "kept_step": self.step if self.best is None else self.best["step"],
            "validation": self._measure("validation"),
            "test": self._measure("test"),
        }

    def _due(self, every: int) -> bool:
        """Return whether something that happens `every` steps, and at the end of the phase, happens now."""
        return self.step % every == 0 or self.step == self.total or self.ended

    def _step(self) -> None:
        settings = self.settings
        x, y = self.batches.train(self.phase, self.step)
        state = torch.get_rng_state()
        factor = rate_factor(self.step, total=self.total, warmup=settings.warmup, schedule=settings.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.rate * factor
        self.model.train()
        self.optimizer.zero_grad()
        try:
            loss = _loss(self.model(x), y)
            if guard.finite(loss):
                loss.backward()
        except InvalidValueError as error:  # an estimator refuses NaN and infinities
            raise self._diverged(x, y, state, error) from None
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if not (guard.finite(loss) and guard.finite(norm)):
            raise self._diverged(x, y, state)
        if settings.clip:
            nn.utils.clip_grads_with_norm_(self.model.parameters(), settings.clip, norm)
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        self.step += 1
        self.losses[0] += loss.item()
        self.losses[1] += 1

    def _diverged(self, x: Tensor, y: Tensor, state: Tensor, error: InvalidValueError | None = None) -> TetritError:
        """Find out what was not finite in a step, by running it again from the same state of torch's generator."""
        torch.set_rng_state(state)
        try:
            where = guard.locate(self.model, x, lambda outputs: _loss(outputs, y))
        except InvalidValueError:  # refused again, though everything before it is finite
            where = None
        if where is None and error is not None:
            return DivergedError(str(error))
        where = where or "the norm of all gradients together, which overflows"
        return self._error(f"at step {self.step + 1} of {self.total}, where this was not finite: {where}")

    def _error(self, what: str) -> DivergedError:
        if self.saved is None:
            last = "there is no checkpoint yet"
        else:
            phase, step = self.saved
            last = f"the checkpoint of step {step} of the {self.phases[phase][0]} phase is kept in '{self.kept}'"
        return DivergedError(f"the training diverged in the {self.name} phase {what}", last)

    # --- evaluation ---

    @torch.no_grad()
    def _measure(self, part: str) -> dict[str, float]:
        """Return the metrics of one part of the data."""
        self.model.eval()
        loss, right, items = 0.0, 0, 0
        for x, y in self.batches.evaluation(part):
            try:
                outputs = self.model(x)
            except InvalidValueError as error:  # an estimator refuses NaN and infinities
                raise self._error(f"after step {self.step} of {self.total}: {error}") from None
            loss += functional.cross_entropy(outputs.flatten(0, -2), y.flatten(), reduction="sum").item()
            right += int((outputs.argmax(-1) == y).sum())
            items += y.numel()
        if not math.isfinite(loss):
            raise self._error(f"after step {self.step} of {self.total}: the {part} loss is {loss}")
        return self.batches.metrics(loss / items, right / items)

    def _evaluate(self) -> None:
        """Add a line to the history, and decide whether to stop."""
        validation = self._measure("validation")
        line: dict[str, Any] = {
            "phase": self.name,
            "step": self.step,
            "epoch": round(self.step / self.batches.per_epoch, 6),
            "rate": self.optimizer.param_groups[0]["lr"],
            "train": {"loss": self.losses[0] / self.losses[1]},
            "validation": validation,
        }
        if self.watch is not None:
            line["weights"] = self.watch.look(self.model)
            if self.observe is not None:
                line["indicators"] = self.observe(self.model)
        self.losses = [0.0, 0.0]
        self.history.append(line)
        now = time.perf_counter()
        self.timings.append({"phase": self.name, "step": self.step, "seconds": round(now - self._began, 3)})
        self._began = now
        if not self.settings.patience:
            return
        if self.best is None or validation["loss"] < self.best["loss"]:
            model = copy.deepcopy(self.model.state_dict())
            self.best = {"loss": validation["loss"], "step": self.step, "model": model}
            self.stale = 0
        else:
            self.stale += 1
            self.ended = self.stale >= self.settings.patience

    # --- state ---

    def _checkpoint(self) -> None:
        """Save, unless a parameter or buffer is not finite."""
        for name, tensor in (*self.model.named_parameters(), *self.model.named_buffers()):
            if not guard.finite(tensor):
                raise self._error(f"after step {self.step} of {self.total}: '{name}' is not finite")
        self.save()
        self.saved = self.phase, self.step

    def metrics(self) -> dict[str, Any]:
        """Return history and results so far."""
        return {"history": self.history, "results": self.results, "finished": self.finished}

    def state_dict(self) -> dict[str, Any]:
        """Return all that the steps to come depend on, as tensors, numbers, texts, lists and dicts."""
        return {
            "finished": self.finished,
            "phase": self.phase,
            "step": self.step,
            "ended": self.ended,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "watch": None if self.watch is None else self.watch.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "best": self.best,
            "stale": self.stale,
            "losses": self.losses,
            "history": self.history,
            "results": self.results,
            "timings": self.timings,
            "generators": generators.get_states(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to what `state_dict` gave; raises InvalidValueError if it does not fit."""
        try:
            self.phase = state["phase"]
            if self.phase:
                self._prepare()
            self.model.load_state_dict(state["model"])
            self.optimizer = self._optimizer()  # loading may have replaced parameters
            self.optimizer.load_state_dict(state["optimizer"])
            if self.watch is not None:
                self.watch.load_state_dict(state["watch"])
            if self.schedule is not None:
                self.schedule.load_state_dict(state["schedule"])
            for name in ("finished", "step", "ended", "best", "stale", "losses", "history", "results", "timings"):
                setattr(self, name, state[name])
            generators.set_states(state["generators"])
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            first = (str(error).splitlines() or [""])[0]
            raise InvalidValueError(f"checkpoint '{self.kept}' does not fit: {type(error).__name__}: {first}") from None
        self.saved = self.phase, self.step


def _loss(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the mean cross entropy over all targets, in nats."""
    return functional.cross_entropy(outputs.flatten(0, -2), y.flatten())
