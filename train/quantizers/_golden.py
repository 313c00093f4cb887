"""The golden kernels on tensors of the CPU: what a quantiser computes there, forward and backward, bit for bit."""

__all__ = ["array", "backward", "current", "forward", "learned_names", "register", "registered"]

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tetrit.errors import InvalidValueError
from tetrit.estimators._kernels import held_numbers
from tetrit.estimators.base import Estimator, Pullback
from tetrit.parallel import undivided
from tetrit.train.threads import torch_team

_ESTIMATORS: dict[str, Estimator] = {}


def register(estimator: Estimator) -> str:
    """Return the key by which operators find the estimator; operators of torch take strings, not objects."""
    key = repr(estimator)
    _ESTIMATORS.setdefault(key, estimator)
    return key


def registered(key: str) -> Estimator:
    """Return the estimator of a key, as it was registered."""
    return _ESTIMATORS[key]


@lru_cache(maxsize=1024)
def _at(key: str, progress: float) -> Estimator:
    return _ESTIMATORS[key].at(progress)


def learned_names(e: Estimator) -> list[str]:
    """Return the learnable fields that have a value, in order: those that have a parameter in the module."""
    return [name for name in e.learnable if getattr(e, name) is not None]


def current(key: str, progress: Tensor, learned: Sequence[Tensor], *, passing: bool = False) -> Estimator:
    """Return the estimator at this point of the training, with the values that its learned fields have now.

    One that is `passing`, for one call of its own, may have arrays where others have tuples.
    """
    e = _ESTIMATORS[key]
    if type(e).at is not Estimator.at:
        e = _at(key, progress.item())
    if not learned:
        return e
    # a copy without the checks of the constructor, which take as long as a small kernel
    now = object.__new__(type(e))
    now.__dict__.update(e.__dict__)
    for name, value in zip(learned_names(e), learned, strict=True):
        least, greatest = e.learnable[name]
        if passing and e.takes_arrays and value.ndim:
            x, held = array(value), np.empty(value.shape)
            if x.dtype.char in "fd" and held_numbers(x, least, min(greatest, _MOST), held):
                now.__dict__[name] = held
                continue
        found = value.tolist()
        numbers = found if isinstance(found, list) else [found]
        if not math.isfinite(sum(numbers)):
            raise InvalidValueError(f"learned `{name}` of '{e.name}' must be finite, got {found}")
        if min(numbers, default=least) < least or max(numbers, default=greatest) > greatest:
            numbers = [min(max(number, least), greatest) for number in numbers]
        now.__dict__[name] = numbers[0] if value.ndim == 0 else tuple(numbers)
    return now


_MOST = np.finfo(np.float32).max.item()
_UNDIVIDED = 1 << 22
"""Up to this size the kernels stay on one thread: torch's own wait actively for their next operator meanwhile."""


def array(x: Tensor) -> NDArray[Any]:
    """Return the memory of a CPU tensor as an array; bfloat16, which numpy lacks, widens to float32."""
    plain = x.detach()
    return (plain.float() if x.dtype == torch.bfloat16 else plain).numpy(force=x.is_neg())


def _tensor(x: NDArray[Any], dtype: torch.dtype) -> Tensor:
    """Return the array as a tensor on its memory, or a narrower one of bfloat16."""
    values = torch.from_numpy(x)
    return values.to(dtype) if dtype == torch.bfloat16 else values


def forward(e: Estimator, w: Tensor, seed: int | None, hard: bool) -> tuple[Tensor, Pullback | None]:
    """Return the values: those of training or, if `hard`, those that the codes stand for, rounded to the dtype of `w`.

    With them comes the backward rule at `w`, if it shares something with the forward pass. bfloat16 values are rounded
    through float32.
    """
    x = array(w)
    into, pullback = np.empty(e.value_shape(x.shape), x.dtype), None
    with undivided(_UNDIVIDED, torch_team()):
        if hard:
            e(x).dequantize(into)
        elif e.draws:
            e.forward(x, out=into, rng=np.random.default_rng(seed))  # type: ignore[call-arg]
        elif x.dtype.char in "fd" and x.flags.c_contiguous:
            pullback = e.plain_vjp(x, into)
        else:
            _, pullback = e.vjp(x, out=into)
    return _tensor(into, w.dtype), pullback


def backward(
    e: Estimator,
    w: Tensor,
    grad: Tensor,
    learned: Sequence[torch.dtype],
    *,
    latent: bool = True,
    pullback: Pullback | None = None,
) -> list[Tensor]:
    """Return the gradients of the latent tensor, in the dtype of `grad`, and of learned fields, in the dtypes given.

    Unless it is asked for, the gradient of the latent tensor is `grad` in its place. `pullback` is what `forward` gave.
    """
    result = grad
    found: dict[str, NDArray[Any]] = {}
    latent = latent and not e.straight_through
    with undivided(_UNDIVIDED, torch_team()):
        if pullback is not None and (latent or learned):
            gradient, found = pullback(array(grad), None, latent)
            result = _tensor(gradient, grad.dtype) if latent else grad
        elif latent:
            g = array(grad)
            into = np.empty(w.shape, g.dtype)
            e.backward(array(w), g, out=into)
            result = _tensor(into, grad.dtype)
        if not learned:
            return [result]
        found = found or e.parameter_gradients(array(w), array(grad))
    fields = [_field(found[name], dtype) for name, dtype in zip(learned_names(e), learned, strict=True)]
    return [result, *fields]


def _field(gradient: NDArray[np.float64], dtype: torch.dtype) -> Tensor:
    if dtype != torch.float32:
        return torch.from_numpy(np.asarray(gradient)).to(dtype)
    with np.errstate(over="ignore"):  # in the midst of a training step torch's rounding takes ten times as long
        return torch.from_numpy(np.asarray(gradient, np.float32))
