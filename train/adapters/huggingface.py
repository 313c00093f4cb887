"""The schedule of quantisers as a callback of the Trainer of Hugging Face (package ``transformers``)."""

__all__ = ["TetritCallback"]

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tetrit.errors import ToolError

if TYPE_CHECKING:

    class TetritCallback:
        """Stands here for the class that `__getattr__` makes of the `TrainerCallback` of transformers."""


def _base() -> Any:
    try:
        return import_module("transformers").TrainerCallback
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
        raise ToolError("the callback for Hugging Face needs transformers: pip install transformers") from None


def _made() -> Any:
    from tetrit.train.schedule import Schedule

    class TetritCallback(_base()):  # type: ignore[misc]
        """Steps a `tetrit.train.schedule.Schedule` with the Trainer, once for each step of its optimiser.

        Prepare the model before the Trainer is made. A training that goes on from a checkpoint goes on at its step;
        AdaPT's windows of gradients then begin anew.

        Raises
        ------
        InvalidValueError
            When the training begins, if the model has no quantisers.

        Examples
        --------
        ``Trainer(model=model, args=arguments, train_dataset=data, callbacks=[TetritCallback()]).train()``
        """

        def __init__(self) -> None:
            super().__init__()
            self.schedule: Schedule | None = None

        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            """Make the schedule for as many steps as the Trainer plans, at the step where it begins."""
            self.schedule = Schedule(model, state.max_steps)
            self.schedule.resume(state.global_step)

        def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Step; the Trainer calls this after its optimiser and before it clears the gradients."""
            assert self.schedule is not None
            self.schedule.step()

    TetritCallback.__module__ = __name__
    TetritCallback.__qualname__ = "TetritCallback"
    return TetritCallback


def __getattr__(name: str) -> Any:
    if name != "TetritCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, _made())
