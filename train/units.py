"""Stochastic binary units for PyTorch: the estimators of `tetrit.estimators.units` with autograd, on any device."""

__all__ = ["StochasticUnit", "leave_one_out_baseline", "psa_loss", "reinforce_loss"]

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators import units
from tetrit.estimators.units import PSA, NoiseInjection, Reinforce, SmoothTimesStochastic, STBernoulli

_AT_ONCE = 1 << 20
"""Elements of the largest temporary tensor of `psa_loss`: what a flip of every input does to every unit."""


def _sigmoid(a: Tensor) -> Tensor:
    """Return 1 / (1 + exp(-a)), accurate in relative terms at both ends."""
    e = torch.exp(-a.abs())
    return torch.where(a >= 0, 1.0, e) / (1.0 + e)


def _root(a: Tensor) -> Tensor:
    """Return the square root of sigmoid(a)."""
    e = torch.exp(-a.abs())
    return torch.where(a >= 0, 1.0, torch.exp(0.5 * a.clamp_max(0.0))) / torch.sqrt(1.0 + e)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, draws: Tensor, slope: bool) -> Tensor:
        ctx.slope = slope
        if slope:
            ctx.save_for_backward(a)
        return (draws < _sigmoid(a.double())).to(a.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if not ctx.slope:
            return grad, None, None
        a = ctx.saved_tensors[0].double()
        return (grad.double() * (_sigmoid(a) * _sigmoid(-a))).to(grad.dtype), None, None


class _SmoothTimesStochastic(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, draws: Tensor) -> Tensor:
        root = _root(a.double())
        h = torch.where(draws < root, root, 0.0).to(a.dtype)
        ctx.save_for_backward(a, h)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, h = ctx.saved_tensors
        wide = a.double()
        slope = torch.where(h > 0, 0.5 * _root(wide) * _sigmoid(-wide), 0.0)
        return (grad.double() * slope).to(grad.dtype), None


class StochasticUnit(nn.Module):
    """A layer of stochastic units: pre-activations in, sampled states out.

    States of ``st_bernoulli``, ``smooth_times_stochastic`` and ``noise_injection`` have a gradient by autograd, that of
    ``units.backward``. Those of ``reinforce`` and ``psa`` have none: their losses come from `reinforce_loss` and
    `psa_loss`. The module samples in training and in evaluation mode alike.

    Contract: given the same random numbers, states are those of ``units.sample`` (computed in float64, unless a draw
    falls on the last place of a probability) and gradients within float32 rounding of ``units.backward``. Nothing waits
    for the device; on the CPU, outside of `torch.compile`, a NaN or an infinity raises an error.

    Parameters
    ----------
    name : str
        One of ``tetrit.estimators.units.names()``.
    **params
        Fields of the units' class, e.g. ``slope=True``.

    Raises
    ------
    UnknownNameError
        If there is no such kind of units or no such parameter.
    TypeError
        If the pre-activations are no tensor of floats.
    InvalidValueError
        On the CPU, if they have a NaN or an infinity.

    Notes
    -----
    Draws come from `generator`, or else from torch's own of the device: one number per unit and sample.

    Examples
    --------
    >>> import torch
    >>> from tetrit.train.units import StochasticUnit
    >>> layer = StochasticUnit("st_bernoulli", slope=True)
    >>> a = torch.tensor([[-30.0, 0.0, 30.0]], requires_grad=True)
    >>> h = layer(a, generator=torch.Generator().manual_seed(1))
    >>> h.detach()[:, ::2]
    tensor([[0., 1.]])
    >>> h.sum().backward()
    >>> a.grad.round(decimals=4)
    tensor([[0.0000, 0.2500, 0.0000]])
    """

    def __init__(self, name: str, **params: Any) -> None:
        super().__init__()
        self.units = units.get(name, **params)

    def forward(self, a: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return states of the shape and dtype of `a`."""
        _check("a", a)
        sample = torch.randn if isinstance(self.units, NoiseInjection) else torch.rand
        return self._sampled(a, sample(a.shape, generator=generator, dtype=torch.float64, device=a.device))

    def _sampled(self, a: Tensor, draws: Tensor) -> Tensor:
        kind = self.units
        if isinstance(kind, NoiseInjection):
            return torch.relu((a.double() + kind.sigma * draws).to(a.dtype))
        if isinstance(kind, SmoothTimesStochastic):
            states: Tensor = _SmoothTimesStochastic.apply(a, draws)
        elif isinstance(kind, STBernoulli):
            states = _StraightThrough.apply(a, draws, kind.slope)
        else:
            assert isinstance(kind, Reinforce | PSA)
            fires = draws < _sigmoid(a.detach().double())
            states = torch.where(fires, 1.0, -1.0 if isinstance(kind, PSA) else 0.0).to(a.dtype)
        return states

    def extra_repr(self) -> str:
        """Return the units with their fields."""
        return repr(self.units)


def leave_one_out_baseline(a: Tensor, h: Tensor, loss: Tensor) -> Tensor:
    """Return the baseline of every unit and sample from the other samples of the batch, float64 (batch, n).

    As `tetrit.estimators.units.leave_one_out_baseline`; it carries no gradient.
    """
    scores = _scores(a.detach(), h)
    weight = scores * scores
    below = _others(weight)
    above = _others(weight * loss.detach().double()[:, None])
    return torch.where(below > 0, above / below, 0.0)


def _scores(a: Tensor, h: Tensor) -> Tensor:
    """Return h - sigmoid(a) in float64, for h of 0 or 1."""
    wide = a.double()
    return torch.where(h > 0, _sigmoid(-wide), -_sigmoid(wide))


def _others(x: Tensor) -> Tensor:
    """Return the sum over all rows but the own one."""
    none = torch.zeros_like(x[:1])
    before = torch.cat([none, x[:-1].cumsum(0)])
    after = torch.cat([x[1:].flip(0).cumsum(0).flip(0), none])
    return before[: len(x)] + after[: len(x)]


def reinforce_loss(a: Tensor, h: Tensor, loss: Tensor, *, baseline: Tensor | float | None = None) -> Tensor:
    """Return the loss of every sample, with the likelihood-ratio gradient for the pre-activations.

    The value is `loss`, and so is the gradient of whatever else `loss` depends on. The gradient of its sum by `a` is
    (h - sigmoid(a)) (loss - baseline), what ``Reinforce.backward`` returns.

    Parameters
    ----------
    a, h : Tensor, (batch, n)
        Pre-activations, and the states 0 or 1 that `StochasticUnit` ``"reinforce"`` sampled from them.
    loss : Tensor, (batch,)
        The loss of every sample.
    baseline : Tensor, float or None, default None
        In units of the loss, broadcast to (batch, n); an entry must not depend on the state it belongs to. None takes
        `leave_one_out_baseline`.

    Returns
    -------
    Tensor
        (batch,), in the dtype of `loss`. With several layers of units, hand the result on as the `loss` of the next
        call: each call adds the gradient of its own layer.

    Raises
    ------
    TypeError, InvalidValueError
        If a tensor is none of floats, or has the wrong shape; on the CPU also if it has a NaN or an infinity.

    Examples
    --------
    >>> import torch
    >>> from tetrit.train.units import reinforce_loss
    >>> a = torch.zeros(2, 2, requires_grad=True)
    >>> h = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    >>> loss = reinforce_loss(a, h, torch.tensor([3.0, 1.0]), baseline=2.0)
    >>> loss
    tensor([3., 1.], grad_fn=<AddBackward0>)
    >>> loss.sum().backward()
    >>> a.grad
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """
    _check("a", a, dims=2)
    _check("h", h, a.shape)
    _check("loss", loss, a.shape[:1])
    level = leave_one_out_baseline(a, h, loss) if baseline is None else baseline
    rise = loss.detach().double()[:, None] - level
    return _with_gradient(loss, a, _scores(a.detach(), h) * rise)


def _with_gradient(loss: Tensor, a: Tensor, grad: Tensor) -> Tensor:
    """Return `loss`, whose sum has the derivative `grad` by `a` on top of those that it has."""
    inner = (a.double() * grad.detach()).flatten(1).sum(1)
    return loss + (inner - inner.detach()).to(loss.dtype)


def psa_loss(
    x: Tensor,
    layers: Sequence[nn.Linear],
    loss: Callable[[Tensor], Tensor],
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Sample a layered network of PSA units once; return the loss of every sample, with the PSA gradients.

    The gradient of the sum by weights and biases is that of `tetrit.estimators.units.psa_gradients`; by `x`, which may
    be real, it follows by the chain rule. What `loss` itself depends on, a read-out layer for instance, has its usual
    gradient.

    Parameters
    ----------
    x : Tensor, (batch, n_0)
        Inputs of the first layer.
    layers : sequence of nn.Linear
        The layers; every one's outputs are the pre-activations of units of the states -1 and 1.
    loss : callable
        Takes states of the last layer, (batch, n), in the dtype of `x`, and returns the loss of every sample, (batch,);
        deterministic. It is called n + 1 times, always with all samples in their order.
    generator : torch.Generator, optional
        Source of the noise: one (batch, n) tensor of uniform numbers per layer, in their order.

    Returns
    -------
    Tensor
        (batch,), in the dtype of what `loss` returns.

    Raises
    ------
    TypeError, InvalidValueError
        If a tensor is none of floats or has the wrong shape, or there is no layer; on the CPU also if one has a NaN or
        an infinity.

    Examples
    --------
    >>> import torch
    >>> from tetrit.train.units import psa_loss
    >>> layer = torch.nn.Linear(1, 3)
    >>> with torch.no_grad():
    ...     _ = layer.weight.zero_(), layer.bias.copy_(torch.tensor([-2.0, 0.0, 2.0]))
    >>> psa_loss(torch.ones(1, 1), [layer], lambda h: h.sum(1)).sum().backward()
    >>> layer.bias.grad.round(decimals=4)
    tensor([0.2100, 0.5000, 0.2100])
    """
    _check("x", x, dims=2)
    draws = [
        torch.rand(len(x), layer.out_features, generator=generator, dtype=torch.float64, device=x.device)
        for layer in layers
    ]
    return _psa(x, layers, loss, draws)


def _psa(x: Tensor, layers: Sequence[nn.Linear], loss: Callable[[Tensor], Tensor], draws: Sequence[Tensor]) -> Tensor:
    if not layers:
        raise InvalidValueError("`layers` must hold at least one layer, got none")
    inputs, sampled = x, []
    for layer, u in zip(layers, draws, strict=True):
        bias = None if layer.bias is None else layer.bias.double()
        a = nn.functional.linear(inputs.double(), layer.weight.double(), bias)
        h = torch.where(u < _sigmoid(a.detach()), 1.0, -1.0).to(x.dtype)
        sampled.append((inputs, a, h))
        inputs = h
    result = loss(inputs)
    _check("loss(h)", result, x.shape[:1])
    rises = _flip_rises(loss, inputs, result)
    for k in reversed(range(len(layers))):
        below, a, h = sampled[k]
        pre, signs = a.detach(), h.double()
        slope = _sigmoid(pre) * _sigmoid(-pre)
        result = _with_gradient(result, a, -signs * slope * rises)
        if k:
            rises = _rises_of_inputs(layers[k].weight.detach().double(), below.double(), pre, signs, rises)
    return result


@torch.no_grad()
def _flip_rises(loss: Callable[[Tensor], Tensor], h: Tensor, here: Tensor) -> Tensor:
    """Return by how much the loss of each sample rises when one of its units is flipped, float64."""
    rises = []
    for i in range(h.shape[1]):
        flipped = h.clone()
        flipped[:, i].neg_()
        rises.append(loss(flipped).double() - here.double())
    return torch.stack(rises, 1) if rises else torch.zeros_like(h, dtype=torch.float64)


def _rises_of_inputs(weight: Tensor, x: Tensor, a: Tensor, h: Tensor, rises: Tensor) -> Tensor:
    """Return the rise of the loss when one input of a layer is flipped, (batch, n_in); `weight` is (n, n_in)."""
    pull, up, down = -h * rises, _sigmoid(a), _sigmoid(-a)
    parts = []
    size = max(1, _AT_ONCE // max(weight.numel(), 1))
    for s in range(0, len(x), size):
        rows = slice(s, s + size)
        d = -2.0 * weight.T * x[rows, :, None]
        z = a[rows, None, :] + d
        # the difference of two logistic functions, in the direction in which the exponential falls
        fall = torch.expm1(-d.abs())
        change = torch.where(d >= 0, -_sigmoid(z) * down[rows, None, :] * fall, up[rows, None, :] * _sigmoid(-z) * fall)
        parts.append((change * pull[rows, None, :]).sum(2))
    return torch.cat(parts) if parts else torch.zeros_like(x)


def _check(name: str, x: Tensor, shape: torch.Size | None = None, *, dims: int | None = None) -> None:
    """Refuse what is no tensor of floats of the shape; on the CPU also a NaN or an infinity, by its index."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"`{name}` must be a tensor of floats, got {got}")
    if shape is not None and x.shape != shape:
        raise InvalidValueError(f"`{name}` must have shape {tuple(shape)}, got {tuple(x.shape)}")
    if dims is not None and x.ndim != dims:
        raise InvalidValueError(f"`{name}` must have {dims} dimensions (batch, units), got shape {tuple(x.shape)}")
    if x.device.type == "cpu" and not torch.compiler.is_compiling() and not x.detach().isfinite().all():
        checks.finite(name, x.detach().double().numpy())
