"""The golden kernels on tensors of the CPU: what a quantiser computes there, forward and backward, bit for bit."""

__all__ = ["array", "backward", "current", "forward", "learned_names", "register", "registered"]

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tetrit.estimators import Estimator
from tetrit.parallel import undivided

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


def current(key: str, progress: Tensor, learned: Sequence[Tensor]) -> Estimator:
    """Return the estimator at this point of the training, with the values that its learned fields have now."""
    e = _at(key, progress.item())
    if not learned:
        return e
    fields: dict[str, Any] = {}
    for name, value in zip(learned_names(e), learned, strict=True):
        least = e.learnable[name]
        fields[name] = max(value.item(), least) if value.ndim == 0 else tuple(value.clamp_min(least).tolist())
    return replace(e, **fields)


_UNDIVIDED = 1 << 22
"""Up to this size the kernels stay on one thread: torch's own wait actively for their next operator meanwhile."""


def array(x: Tensor) -> NDArray[Any]:
    """Return the memory of a CPU tensor as an array; bfloat16, which numpy lacks, widens to float32."""
    plain = x.detach()
    return (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()


def forward(w: Tensor, learned: Sequence[Tensor], progress: Tensor, seed: Tensor, hard: bool, key: str) -> Tensor:
    """Return the values: those of training or, if `hard`, those that the codes stand for, rounded to the dtype of `w`.

    bfloat16 values are rounded through float32.
    """
    e = current(key, progress, learned)
    x = array(w)
    values = torch.empty(e.value_shape(x.shape), dtype=torch.float32 if w.dtype == torch.bfloat16 else w.dtype)
    into = values.numpy()
    with undivided(_UNDIVIDED):
        if hard:
            e(x).dequantize(into)
        elif e.draws:
            e.forward(x, out=into, rng=np.random.default_rng(int(seed)))  # type: ignore[call-arg]
        else:
            e.forward(x, out=into)
    return values.to(w.dtype)


def backward(w: Tensor, grad: Tensor, learned: Sequence[Tensor], progress: Tensor, key: str) -> list[Tensor]:
    """Return the gradients of the latent tensor, in the dtype of `grad`, and of every learned field, in its own."""
    e = current(key, progress, learned)
    if e.straight_through and not learned:
        return [grad]
    x, g = array(w), array(grad)
    result = torch.empty(w.shape, dtype=torch.float32 if grad.dtype == torch.bfloat16 else grad.dtype)
    with undivided(_UNDIVIDED):
        e.backward(x, g, out=result.numpy())
        found = e.parameter_gradients(x, g) if learned else {}
    extra = [torch.as_tensor(found[name], dtype=p.dtype) for name, p in zip(learned_names(e), learned, strict=False)]
    return [result.to(grad.dtype), *extra]
