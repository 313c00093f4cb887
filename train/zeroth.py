"""Zeroth-order optimisers for PyTorch: gradients from two losses, without a backward pass and without kept noise."""

__all__ = ["ElasticZO", "ZerothOrder"]

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from tetrit import checks
from tetrit.estimators.zeroth import SPSA, _quantile, step_seed
from tetrit.estimators.zeroth.counter import key_of
from tetrit.train.quantizers.rules._tensors import random_words, shifted

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_GOLDEN = (torch.float32, torch.float64)
_PIECE = 1 << 20
"""Elements that are worked on at once where the kernels do not run: what bounds the memory of a step."""


class ZerothOrder(Optimizer):
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
        key_of(seed)  # checks it
        rate = checks.real("lr", lr, minimum=0.0)
        super().__init__(params, {"lr": rate, "seed": int(seed), "steps": 0})
        for tensor in chain.from_iterable(group["params"] for group in self.param_groups):
            if tensor.dtype not in _FLOATS:
                raise TypeError(f"`params` must be tensors of floats, got {tensor.dtype}")

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """Take one step; `closure` returns the loss, and is called twice; return the mean of both, on its device."""
        return self._step(lambda: _loss(closure()))

    def _step(self, loss: Callable[[], Tensor]) -> Tensor:
        epsilon = self.spsa.epsilon
        copies = [w.detach().clone() for w in self._tensors()] if self.spsa.restore == "copy" else None
        place = 0.0  # how far along z the parameters are
        try:
            self._move(epsilon, copies)
            place = epsilon
            plus = loss()
            self._move(-epsilon if copies else -2.0 * epsilon, copies)
            place = -epsilon
            minus = loss()
        except BaseException:
            if copies:
                with torch.no_grad():
                    for tensor, copy in zip(self._tensors(), copies, strict=True):
                        tensor.copy_(copy)
            else:
                self._move(-place, None)
            raise
        slope = (plus.double() - minus.double()) / (2.0 * epsilon)
        self._descend(slope, 0.0 if copies else epsilon, copies)
        for group in self.param_groups:
            group["steps"] += 1
        return 0.5 * (plus + minus)

    def _tensors(self) -> list[Tensor]:
        return [tensor for group in self.param_groups for tensor in group["params"]]

    @property
    def _step_seed(self) -> int:
        return step_seed(self.param_groups[0]["seed"], self.param_groups[0]["steps"])

    def _move(self, factor: float, copies: list[Tensor] | None) -> None:
        """Set every parameter to itself, or to its copy, plus factor z."""
        self._add([factor] * len(self._tensors()), copies)

    def _descend(self, slope: Tensor, back: float, copies: list[Tensor] | None) -> None:
        factors = [back - group["lr"] * slope for group in self.param_groups for _ in group["params"]]
        self._add(factors, copies)

    @torch.no_grad()
    def _add(self, factors: list[Any], copies: list[Tensor] | None) -> None:
        seed, offset = self._step_seed, 0
        tensors = self._tensors()
        for tensor, start, factor in zip(tensors, copies or tensors, factors, strict=True):
            if tensor.device.type == "cpu" and tensor.dtype in _GOLDEN:
                array = tensor.detach().numpy()
                self.spsa.added(start.detach().numpy(), float(factor), seed=seed, offset=offset, out=array)
                torch.autograd.graph.increment_version(tensor)
            else:
                add_noise(tensor, start, factor, self.spsa.distribution, seed=seed, offset=offset)
            offset += tensor.numel()


class ElasticZO:
    """A network trained without backpropagation up to its last layers, and with it in those.

    A step evaluates the first layers at both points of `zeroth`, without a graph, and the last layers on what comes
    out, with one. So the graph, and the memory of its activations, ends at the border. The last layers' gradient is the
    mean of those at both points; then both optimisers step.

    Parameters
    ----------
    zeroth : ZerothOrder
        Of the first layers.
    optimizer : torch.optim.Optimizer
        Of the last layers.

    Notes
    -----
    Source: ElasticZO, arXiv 2501.04287, for the split; taking the last layers' gradient at both points is **our
    reconstruction** (see `SPSA.elastic`, the golden form).

    Examples
    --------
    >>> import torch
    >>> from tetrit.train.zeroth import ElasticZO, ZerothOrder
    >>> _ = torch.manual_seed(0)
    >>> x, y = torch.randn(64, 4), torch.randn(64, 1)
    >>> first, last = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh()), torch.nn.Linear(8, 1)
    >>> trainer = ElasticZO(
    ...     ZerothOrder(first.parameters(), lr=1e-2), torch.optim.SGD(last.parameters(), lr=0.1)
    ... )
    >>> head = lambda h: torch.nn.functional.mse_loss(last(h), y)
    >>> losses = [float(trainer.step(lambda: first(x), head)) for _ in range(50)]
    >>> losses[-1] < losses[0]
    True
    """

    def __init__(self, zeroth: ZerothOrder, optimizer: Optimizer) -> None:
        if not isinstance(zeroth, ZerothOrder):
            raise TypeError(f"`zeroth` must be a ZerothOrder, got {type(zeroth).__name__}")
        self.zeroth = zeroth
        self.optimizer = optimizer

    def step(self, features: Callable[[], Any], head: Callable[[Any], Tensor]) -> Tensor:
        """Take one step; `features` returns what the last layers read, `head` makes the loss of it; return its mean."""

        def loss() -> Tensor:
            with torch.no_grad():
                hidden = features()
            with torch.enable_grad():
                value = _loss(head(hidden))
                (0.5 * value).backward()
            return value.detach()

        self.optimizer.zero_grad()
        mean = self.zeroth._step(loss)
        self.optimizer.step()
        return mean


def _loss(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"the closure must return a tensor of one element, got {shape}")
    return value.reshape(())


def add_noise(tensor: Tensor, start: Tensor, factor: Any, distribution: str, *, seed: int, offset: int = 0) -> None:
    """Write ``start + factor * z`` into `tensor`, by tensor operations: the rule of `SPSA.added` on any device.

    Parameters
    ----------
    tensor, start : Tensor
        Of one shape, dtype and device; may be the same.
    factor : float or Tensor
        A number, or a float64 tensor of one element.
    distribution : {"rademacher", "normal"}
    seed, offset : int
        As for `SPSA.direction`.
    """
    key = key_of(seed)
    if isinstance(factor, Tensor):
        factor = factor.to(tensor.device, non_blocking=True)
    source = start.detach().reshape(-1)
    contiguous = tensor.is_contiguous()
    target = tensor.detach().view(-1) if contiguous else torch.empty_like(source)
    for first in range(0, source.numel(), _PIECE):
        piece = source[first : first + _PIECE]
        z = noise(piece.numel(), distribution, key=key, offset=offset + first, device=piece.device)
        moved = piece.double() + factor * z
        target[first : first + _PIECE] = moved if tensor.dtype == torch.float64 else moved.float()
    if not contiguous:
        tensor.detach().copy_(target.view(tensor.shape))


def noise(n: int, distribution: str, *, key: int, offset: int, device: torch.device | str) -> Tensor:
    """Return z as a float64 tensor of `n` elements."""
    x = random_words(n, key=key, offset=offset, device=device)
    if distribution == "rademacher":
        return 1.0 - 2.0 * (x < 0).double()
    return _normal((shifted(x, 12).double() * 2.0 + 1.0) * 2.0**-53)


def _series(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """Polynomial by Horner's rule, highest power first, one rounding for each product and each sum."""
    value = torch.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        value = value * x + c
    return value


def _log(x: Tensor) -> Tensor:
    m, e = torch.frexp(x)
    low = m < _quantile.ROOT_HALF
    m = torch.where(low, m * 2.0, m)
    e = torch.where(low, e - 1, e)
    s = (m - 1.0) / (m + 1.0)
    t = _series(s * s, _quantile.AREA_TANGENT)
    return e.double() * _quantile.LN2 + 2.0 * s * t


def _root(x: Tensor) -> Tensor:
    y = (x + 9.0) / 6.0
    for _ in range(5):
        y = 0.5 * (y + x / y)
    return y


def _normal(p: Tensor) -> Tensor:
    """Return the standard normal quantile, operation for operation that of the golden kernel."""
    q = p - 0.5
    r = 0.180625 - q * q
    middle = _series(r, _quantile.MIDDLE_ABOVE) * q / _series(r, _quantile.MIDDLE_BELOW)
    r = _root(-_log(torch.where(q < 0.0, p, 1.0 - p)))
    near, far = r - 1.6, r - 5.0
    tail = torch.where(
        r <= 5.0,
        _series(near, _quantile.NEAR_ABOVE) / _series(near, _quantile.NEAR_BELOW),
        _series(far, _quantile.FAR_ABOVE) / _series(far, _quantile.FAR_BELOW),
    )
    return torch.where(q.abs() <= 0.425, middle, torch.where(q < 0.0, -tail, tail))
