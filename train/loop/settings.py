"""How a network is trained: optimiser, schedule, length, when to evaluate, save and stop."""

__all__ = ["OPTIMIZERS", "SCHEDULES", "Settings", "rate_factor"]

import math
from dataclasses import dataclass

from tetrit import checks
from tetrit.errors import InvalidValueError

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The table ``[train]`` of a configuration.

    Parameters
    ----------
    epochs : int or None
        Passes over the training data.
    steps : int or None
        Batches; in the place of `epochs`, of which there must be exactly one.
    batch : int
        Images, or stretches of text, per step.
    optimizer : str
        ``"adamw"`` (decoupled weight decay), ``"adam"`` or ``"sgd"``.
    rate : float
        Peak learning rate.
    momentum : float
        Of SGD, with Nesterov's rule; the others do not use it.
    decay : float
        Weight decay, of parameters with two dimensions or more only: not of offsets, normalisations and learned scales.
    schedule : str
        ``"cosine"``: falls to zero along a half cosine; or ``"constant"``.
    warmup : int
        Steps of linear rise before that.
    clip : float
        Largest norm of all gradients together; larger ones are scaled down to it. 0: no limit.
    patience : int
        Stop when so many evaluations in a row have not lowered the validation loss, and return to the best one's
        parameters. 0: never.
    evaluate_every : int
        Steps between evaluations; 0: one pass over the data.
    checkpoint_every : int
        Steps between checkpoints; 0: at every evaluation.
    """

    epochs: int | None = None
    steps: int | None = None
    batch: int = 64
    optimizer: str = "adamw"
    rate: float = 1e-3
    momentum: float = 0.9
    decay: float = 0.01
    schedule: str = "cosine"
    warmup: int = 0
    clip: float = 0.0
    patience: int = 0
    evaluate_every: int = 0
    checkpoint_every: int = 0

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            both = "neither" if self.epochs is None else "both"
            raise InvalidValueError(f"exactly one of `epochs` and `steps` must be given, got {both}")
        for name in ("epochs", "steps"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checks.integer(name, getattr(self, name)))
        object.__setattr__(self, "batch", checks.integer("batch", self.batch))
        for name in ("warmup", "patience", "evaluate_every", "checkpoint_every"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), minimum=0))
        checks.choice("optimizer", self.optimizer, OPTIMIZERS)
        checks.choice("schedule", self.schedule, SCHEDULES)
        object.__setattr__(self, "rate", checks.real("rate", self.rate, minimum=0.0, exclusive=True))
        for name in ("momentum", "decay", "clip"):
            object.__setattr__(self, name, checks.real(name, getattr(self, name), minimum=0.0))
        if self.momentum >= 1:
            raise InvalidValueError(f"`momentum` must be at least 0 and below 1, got {self.momentum:g}")


def rate_factor(step: int, *, total: int, warmup: int, schedule: str) -> float:
    """Return the learning rate of one step as a share of its peak.

    Parameters
    ----------
    step : int
        From 0 to `total` - 1.
    total : int
        Steps of the whole training.
    warmup : int
        Steps of linear rise; the last of them has the peak rate.
    schedule : str
        What follows, see `Settings`.

    Returns
    -------
    float
        Above 0, up to 1.

    Examples
    --------
    >>> from tetrit.train.loop.settings import rate_factor
    >>> [rate_factor(step, total=6, warmup=2, schedule="cosine") for step in (0, 1, 2, 4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / (total - warmup)))
