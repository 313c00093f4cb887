"""The schedule of quantisers as a callback of PyTorch Lightning (packages ``lightning`` and ``pytorch_lightning``)."""

__all__ = ["TetritCallback"]

import math
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tetrit.errors import InvalidValueError, ToolError

if TYPE_CHECKING:

    class TetritCallback:
        """Stands here for the class that `__getattr__` makes of Lightning's `Callback`."""

        def __init__(self, total_steps: int | None = None) -> None: ...


def _base() -> Any:
    for package in ("lightning.pytorch", "pytorch_lightning"):
        try:
            return import_module(package).Callback
        except ModuleNotFoundError as error:
            if error.name not in ("lightning", package):
                raise
    raise ToolError("the callback for Lightning needs the package lightning: pip install lightning")


def _made() -> Any:
    from tetrit.train.schedule import Schedule

    class TetritCallback(_base()):  # type: ignore[misc]
        """Steps a `tetrit.train.schedule.Schedule` with the trainer, once for each step of its optimiser.

        Prepare the module before ``trainer.fit``, or in its ``__init__``.

        Parameters
        ----------
        total_steps : int, optional
            Steps of the optimiser in the whole training; by default the trainer's ``estimated_stepping_batches``.

        Raises
        ------
        InvalidValueError
            When the training begins, if its length is not known or the module has no quantisers.

        Examples
        --------
        ``Trainer(max_epochs=10, callbacks=[TetritCallback()]).fit(module, data)``
        """

        def __init__(self, total_steps: int | None = None) -> None:
            super().__init__()
            self.total_steps = total_steps
            self.schedule: Schedule | None = None
            self._saved: dict[str, Any] | None = None
            self._seen = 0

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            """Make the schedule, or go on with the saved one."""
            total = self.total_steps or trainer.estimated_stepping_batches
            if not 0 < total < math.inf:
                raise InvalidValueError(f"`total_steps` must be given to a training without an end, got {total}")
            self.schedule = Schedule(pl_module, int(total))
            self._seen = trainer.global_step
            if self._saved is not None:
                self.schedule.load_state_dict(self._saved)
                self._saved = None

        def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
            """Step if the optimiser has: not for a batch whose gradients are only added up."""
            if self.schedule is not None and trainer.global_step > self._seen:
                self.schedule.step()
            self._seen = trainer.global_step

        def state_dict(self) -> dict[str, Any]:
            """Return the schedule's state, for the trainer's checkpoints."""
            return {} if self.schedule is None else self.schedule.state_dict()

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            """Keep a state until the training begins."""
            self._saved = state_dict or None

    TetritCallback.__module__ = __name__
    TetritCallback.__qualname__ = "TetritCallback"
    return TetritCallback


def __getattr__(name: str) -> Any:
    if name != "TetritCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, _made())
