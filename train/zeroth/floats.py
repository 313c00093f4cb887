"""Zeroth-order descent of float parameters: the counterpart of `SPSA` for PyTorch."""

__all__ = ["ZerothOrder"]

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from tetrit import checks
from tetrit.estimators.zeroth import SPSA
from tetrit.train.zeroth._noise import add_noise
from tetrit.train.zeroth.base import TwoPoint


class ZerothOrder(TwoPoint):
    """Descent along a random direction by the difference of two losses (SPSA, MeZO), with O(1) memory.

    A step perturbs the parameters in place by +epsilon z and by -epsilon z, asks the closure for both losses, and moves
    them by -lr * (L+ - L-) / (2 epsilon) * z. The noise z is `tetrit.estimators.zeroth.SPSA.direction` of the seed
    ``step_seed(seed, steps taken)``, with the elements of all parameters numbered through; it is computed again in each
    pass.

    Contract: the same bits as `SPSA.step` for float32 and float64 parameters, through its kernels on the CPU and by
    tensor operations elsewhere, in float64, which the device must have (`torch.compile` may fuse them otherwise).
    float16 and bfloat16 are rounded through float32. Nothing waits for the device: losses stay tensors. Where the
    closure raises an error, the parameters return to where they were, up to the rounding that `restore` allows.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        As for every torch optimiser; floats. A group may have its own ``lr``, which schedulers change.
    lr : float, default 1e-3
        Non-negative.
    epsilon, distribution, restore
        As for `SPSA`.
    seed : int, default 0
        From 0 to 2^64 - 1. Seed and number of steps are in the `state_dict`.

    Raises
    ------
    TypeError
        If a parameter is no tensor of floats, or the closure returns anything but a tensor of one element.

    Notes
    -----
    Source: see `SPSA`. The closure must be a function of the parameters: dropout that draws anew for each loss adds its
    noise to the slope (evaluation mode, or `torch.manual_seed` in the closure, prevents it).

    Examples
    --------
    >>> import torch
    >>> from tetrit.train.zeroth import ZerothOrder
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = ZerothOrder([w], lr=0.1, epsilon=0.125)
    >>> losses = [float(optimizer.step(lambda: (w**2).sum())) for _ in range(100)]
    >>> losses[0], losses[-1] < 0.05  # each is the mean over two points, epsilon^2 for each weight too high
    (5.03125, True)
    """

    _dtypes: ClassVar = {torch.float16: False, torch.bfloat16: False, torch.float32: True, torch.float64: True}
    _kinds = "tensors of floats"

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float = 1e-3,
        epsilon: float = 1e-3,
        distribution: str = "rademacher",
        restore: str = "drift",
        seed: int = 0,
    ) -> None:
        self.spsa = SPSA(epsilon=epsilon, distribution=distribution, restore=restore)
        super().__init__(params, seed=seed, defaults={"lr": checks.real("lr", lr, minimum=0.0)})

    @property
    def _copies(self) -> bool:
        return self.spsa.restore == "copy"

    def _go(self, copies: list[Tensor] | None, place: int, to: int) -> None:
        factor = (to if copies else to - place) * self.spsa.epsilon
        self._add(copies, lambda group: factor)

    def _descend(self, copies: list[Tensor] | None, plus: Tensor, minus: Tensor) -> Tensor:
        slope = (plus.double() - minus.double()) / (2.0 * self.spsa.epsilon)
        back = 0.0 if copies else self.spsa.epsilon
        self._add(copies, lambda group: back - group["lr"] * slope)
        return 0.5 * (plus + minus)

    @torch.no_grad()
    def _add(self, copies: list[Tensor] | None, factor_of: Callable[[dict[str, Any]], Any]) -> None:
        """Set every parameter to what it starts from plus factor z, the factor being that of its group."""
        seed = self._step_seed
        for tensor, start, number, group in self._numbered(copies):
            factor = factor_of(group)
            if self._golden(tensor):
                array = tensor.detach().numpy()
                self.spsa.added(start.numpy(), float(factor), seed=seed, offset=number, out=array)
                torch.autograd.graph.increment_version(tensor)
            else:
                add_noise(tensor, start, factor, self.spsa.distribution, seed=seed, offset=number)
