"""The noise of zeroth-order training by tensor operations, on any device: bit for bit that of the golden kernels."""

__all__ = ["add_integer_noise", "add_noise", "integer_noise", "noise"]

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tetrit.estimators.zeroth import _quantile
from tetrit.estimators.zeroth.counter import key_of
from tetrit.train.quantizers.rules._tensors import random_words, shifted

_PIECE = 1 << 20
"""Elements that are worked on at once: what bounds the memory of a step."""


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
    if isinstance(factor, Tensor):
        factor = factor.to(tensor.device, non_blocking=True)

    def moved(piece: Tensor, number: int) -> Tensor:
        z = noise(piece.numel(), distribution, key=key_of(seed), offset=number, device=piece.device)
        wide = piece.double() + factor * z
        return wide if tensor.dtype == torch.float64 else wide.float()

    _in_pieces(tensor, start, offset, moved)


def add_integer_noise(
    tensor: Tensor, start: Tensor, times: Any, *, reach: int, rest: int, shift: int, seed: int, offset: int = 0
) -> None:
    """Write ``start + times * (z shifted right)`` into `tensor`: the rule of `IntegerSPSA` on any device.

    Parameters
    ----------
    tensor, start : Tensor
        int8, of one shape and device; may be the same.
    times : int or Tensor
        1, 0 or -1, or an int64 tensor of one element.
    reach, rest : int
        As for `integer_noise`.
    shift : int
        By how many bits the magnitudes are shifted, halves away from 0.
    seed, offset : int
        As for `IntegerSPSA.direction`.
    """
    if isinstance(times, Tensor):
        times = times.to(tensor.device, non_blocking=True)

    def moved(piece: Tensor, number: int) -> Tensor:
        z = integer_noise(piece.numel(), reach, rest, key=key_of(seed), offset=number, device=piece.device)
        size = (z.abs() + ((1 << shift) >> 1)) >> shift
        return (piece + times * z.sign() * size).clamp(-127, 127).to(torch.int8)

    _in_pieces(tensor, start, offset, moved)


def _in_pieces(tensor: Tensor, start: Tensor, offset: int, moved: Callable[[Tensor, int], Tensor]) -> None:
    """Write what ``moved(piece, number of its first element)`` makes of the elements of `start`, in C order."""
    source = start.detach().reshape(-1)
    contiguous = tensor.is_contiguous()
    target = tensor.detach().view(-1) if contiguous else torch.empty_like(source)
    for first in range(0, source.numel(), _PIECE):
        target[first : first + _PIECE] = moved(source[first : first + _PIECE], offset + first)
    if not contiguous:
        tensor.detach().copy_(target.view(tensor.shape))


def noise(n: int, distribution: str, *, key: int, offset: int, device: torch.device | str) -> Tensor:
    """Return z as a float64 tensor of `n` elements."""
    x = random_words(n, key=key, offset=offset, device=device)
    if distribution == "rademacher":
        return 1.0 - 2.0 * (x < 0).double()
    return _normal((shifted(x, 12).double() * 2.0 + 1.0) * 2.0**-53)


def integer_noise(n: int, reach: int, rest: int, *, key: int, offset: int, device: torch.device | str) -> Tensor:
    """Return integer noise as an int64 tensor of `n` elements: 0 if the high half of a word is below `rest`."""
    x = random_words(n, key=key, offset=offset, device=device)
    z = ((x & 0xFFFFFFFF) * (2 * reach + 1) >> 32) - reach
    return torch.where(shifted(x, 32) < rest, 0, z)


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
