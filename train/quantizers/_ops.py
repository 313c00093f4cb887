"""The operators behind every quantiser module: the golden kernels on the CPU, the torch rules elsewhere, autograd.

`torch.compile` sees them as opaque operators, which also keeps its fusions from changing a bit. Under `torch.func.vmap`
a quantiser is called for one sample after the other, so that each has scales of its own.
"""

__all__ = ["quantize", "values"]

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tetrit.estimators.base import Estimator, Pullback
from tetrit.train.quantizers import _golden
from tetrit.train.quantizers.rules import rounded, rule_of, serves_cpu


def _forward(
    e: Estimator, w: Tensor, learned: Sequence[Tensor], seed: int | None, hard: bool
) -> tuple[Tensor, Pullback | None]:
    if w.is_cpu:
        return _golden.forward(e, w, seed, hard)
    rule = rule_of(e)
    if hard:
        return rounded(rule.values(e, w, learned), w.dtype), None
    return rounded(rule.forward(e, w, learned, seed), w.dtype), None


def _backward(
    e: Estimator,
    w: Tensor,
    grad: Tensor,
    learned: Sequence[Tensor],
    *,
    latent: bool = True,
    pullback: Pullback | None = None,
) -> list[Tensor]:
    if w.is_cpu and not serves_cpu(e):
        return _golden.backward(e, w, grad, [p.dtype for p in learned], latent=latent, pullback=pullback)
    return rule_of(e).backward(e, w, grad, learned)


def _drawn(e: Estimator, seed: Tensor) -> int | None:
    """Return the seed, which is on the CPU, for an estimator that draws."""
    return int(seed) if e.draws else None


def _current(w: Tensor, learned: Sequence[Tensor], progress: Tensor, key: str) -> Estimator:
    """Return the estimator of now; on a device without the learned values, which to read would be to wait for it."""
    return _golden.current(key, progress, learned if w.is_cpu else (), passing=True)


@torch.library.custom_op("tetrit::quantize", mutates_args=())
def _forward_op(w: Tensor, learned: list[Tensor], progress: Tensor, seed: Tensor, hard: bool, key: str) -> Tensor:
    return values(w, learned, progress, seed, hard, key)


@_forward_op.register_fake
def _(w: Tensor, learned: list[Tensor], progress: Tensor, seed: Tensor, hard: bool, key: str) -> Tensor:
    return w.new_empty(_golden.registered(key).value_shape(tuple(w.shape)))


@_forward_op.register_vmap
def _(info: Any, dims: Sequence[Any], *args: Any) -> tuple[Tensor, int]:
    return _by_sample(_forward_op, info.batch_size, dims, args)[0], 0


@torch.library.custom_op("tetrit::quantize_backward", mutates_args=())
def _backward_op(w: Tensor, grad: Tensor, learned: list[Tensor], progress: Tensor, key: str) -> list[Tensor]:
    first, *extra = _backward(_current(w, learned, progress, key), w, grad, learned)
    return [first.clone() if first is grad else first, *extra]  # results of an operator must be new tensors


@_backward_op.register_fake
def _(w: Tensor, grad: Tensor, learned: list[Tensor], progress: Tensor, key: str) -> list[Tensor]:
    return [w.new_empty(w.shape, dtype=grad.dtype), *(torch.empty_like(p) for p in learned)]


@_backward_op.register_vmap
def _(info: Any, dims: Sequence[Any], *args: Any) -> tuple[list[Tensor], list[int]]:
    found = _by_sample(_backward_op, info.batch_size, dims, args)
    return found, [0] * len(found)


def _by_sample(function: Callable[..., Any], size: int, dims: Sequence[Any], args: Sequence[Any]) -> list[Tensor]:
    """Return the results of a function for every sample of a batch, stacked; none has the shapes of a sample of zeros.

    For each tensor, and each in a list of them, `dims` has the axis of the samples, or None.
    """

    def of(sample: int, dim: Any, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [of(sample, *each) for each in zip(dim, value, strict=True)]
        if dim is None:
            return value
        return value.select(dim, sample) if size else value.new_zeros(value.sum(dim).shape)

    found = [function(*(of(k, *each) for each in zip(dims, args, strict=True))) for k in range(max(size, 1))]
    results = [(one,) if isinstance(one, Tensor) else one for one in found]
    return [torch.stack(each)[:size] for each in zip(*results, strict=True)]


class _Quantize(torch.autograd.Function):
    """Saves the latent tensor itself, which the parameter holds anyway, and nothing else of its size.

    Second derivatives raise an error: those of a surrogate gradient would mean nothing.
    """

    @staticmethod
    def forward(ctx: Any, w: Tensor, e: Estimator, seed: int | None, hard: bool, *learned: Tensor) -> Tensor:
        ctx.save_for_backward(w, *learned)
        ctx.estimator = e
        values, ctx.pullback = _forward(e, w, learned, seed, hard)
        return values

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # what marks the gradients for good takes as long as a small layer: only a second derivative needs it
        return _once(ctx, grad) if torch.is_grad_enabled() else _gradients(ctx, grad)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients of the arguments of `_Quantize`."""
    w, *learned = ctx.saved_tensors
    latent = ctx.needs_input_grad[0]
    first, *extra = _backward(ctx.estimator, w, grad, learned, latent=latent, pullback=ctx.pullback)
    return (first if latent else None, None, None, None, *extra)


_once = once_differentiable(_gradients)


class _Operator(torch.autograd.Function):
    """The same by way of the operators, for compilers, which take them as they are, and for `torch.func`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(w: Tensor, progress: Tensor, seed: Tensor, hard: bool, key: str, *learned: Tensor) -> Tensor:
        return _forward_op(w, list(learned), progress, seed, hard, key)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        w, progress, _, _, ctx.key, *learned = inputs
        # a copy: the module may have moved on when the backward pass comes
        ctx.save_for_backward(w, *learned, progress.clone())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        w, *learned, progress = ctx.saved_tensors
        found = _Pulled.apply if torch._C._are_functorch_transforms_active() else _pulled
        first, *extra = found(w, grad, progress, ctx.key, *learned)
        return (first if ctx.needs_input_grad[0] else None, None, None, None, None, *extra)


def _pulled(w: Tensor, grad: Tensor, progress: Tensor, key: str, *learned: Tensor) -> tuple[Tensor, ...]:
    return tuple(_backward_op(w, grad, list(learned), progress, key))


class _Pulled(torch.autograd.Function):
    """The gradients within a transform of `torch.func`, where `once_differentiable` lets their derivatives be 0."""

    generate_vmap_rule = True
    forward = staticmethod(_pulled)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        raise RuntimeError("a quantiser has no second derivatives: those of a surrogate gradient would mean nothing")


def quantize(w: Tensor, learned: Sequence[Tensor], progress: Tensor, seed: Tensor, hard: bool, key: str) -> Tensor:
    """Return the values of the estimator registered as `key`, with its backward rule for `w` and `learned`."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        operated: Tensor = _Operator.apply(w, progress, seed, hard, key, *learned)
        return operated
    if not (torch.is_grad_enabled() and (w.requires_grad or learned)):
        return values(w, learned, progress, seed, hard, key)
    e = _current(w, learned, progress, key)  # the dispatcher of operators costs as much as a small layer
    result: Tensor = _Quantize.apply(w, e, _drawn(e, seed), hard, *learned)
    return result


def values(w: Tensor, learned: Sequence[Tensor], progress: Tensor, seed: Tensor, hard: bool, key: str) -> Tensor:
    """Return what `quantize` does without a graph, in less time; not for `torch.compile`."""
    learned = [p.detach() for p in learned]
    e = _current(w, learned, progress, key)
    return _forward(e, w.detach(), learned, _drawn(e, seed), hard)[0]
