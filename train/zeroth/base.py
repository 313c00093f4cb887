"""What zeroth-order optimisers share: two losses a step, the numbering of elements, and the way back from an error."""

__all__ = ["TwoPoint", "one_number"]

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from tetrit.estimators.zeroth import step_seed
from tetrit.estimators.zeroth.counter import key_of


class TwoPoint(Optimizer):
    """An optimiser that asks for the loss at two points along the noise of a step.

    Places along the noise are counted in steps of a perturbation: 0 is where the parameters are kept, 1 and -1 are the
    two points.
    """

    _dtypes: ClassVar[dict[torch.dtype, bool]]
    """Those of parameters, and whether the golden kernels take them."""

    _kinds: ClassVar[str]
    """The same for a message."""

    def __init__(self, params: Iterable[Any], *, seed: int, defaults: dict[str, Any]) -> None:
        key_of(seed)  # checks it
        super().__init__(params, defaults | {"seed": int(seed), "steps": 0})
        for tensor in self._tensors():
            if tensor.dtype not in self._dtypes:
                raise TypeError(f"`params` must be {self._kinds}, got {tensor.dtype}")

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """Take one step; `closure` returns the loss, and is called twice; return the mean of both, on its device."""
        return self.take_step(lambda: one_number(closure()))

    def take_step(self, loss: Callable[[], Tensor]) -> Tensor:
        """Take one step, with gradients recorded or not as they are here."""
        copies = [tensor.detach().clone() for tensor in self._tensors()] if self._copies else None
        place = 0
        try:
            self._go(copies, place, 1)
            place = 1
            plus = loss()
            self._go(copies, place, -1)
            place = -1
            minus = loss()
        except BaseException:
            if copies is None:
                self._go(None, place, 0)
            else:
                with torch.no_grad():
                    for tensor, copy in zip(self._tensors(), copies, strict=True):
                        tensor.copy_(copy)
            raise
        mean = self._descend(copies, plus, minus)
        for group in self.param_groups:
            group["steps"] += 1
        return mean

    @property
    @abstractmethod
    def _copies(self) -> bool:
        """Whether a step keeps a copy of the parameters."""

    @abstractmethod
    def _go(self, copies: list[Tensor] | None, place: int, to: int) -> None:
        """Move the parameters, or set them from their copies, from one place along the noise to another."""

    @abstractmethod
    def _descend(self, copies: list[Tensor] | None, plus: Tensor, minus: Tensor) -> Tensor:
        """Come back from place -1, or begin at the copies, and update; return the mean of the losses."""

    def _tensors(self) -> list[Tensor]:
        return list(chain.from_iterable(group["params"] for group in self.param_groups))

    def _numbered(self, copies: list[Tensor] | None) -> Iterator[tuple[Tensor, Tensor, int, dict[str, Any]]]:
        """Yield every parameter, its copy or itself, the number of its first element, and its group."""
        starts = iter(copies or self._tensors())
        number = 0
        for group in self.param_groups:
            for tensor in group["params"]:
                yield tensor, next(starts).detach(), number, group
                number += tensor.numel()

    def _golden(self, tensor: Tensor) -> bool:
        """Return whether the golden kernels work on a parameter; tensor operations do it elsewhere."""
        return tensor.device.type == "cpu" and self._dtypes[tensor.dtype]

    @property
    def _step_seed(self) -> int:
        return step_seed(self.param_groups[0]["seed"], self.param_groups[0]["steps"])


def one_number(value: Any) -> Tensor:
    """Return a loss as a tensor without axes."""
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"the closure must return a tensor of one element, got {shape}")
    return value.reshape(())
