"""Slow references of this family: plain Python loops over scalars, written from the formulas."""

__all__ = ["fairy_forward", "qkr_backward", "qkr_product"]

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.estimators._loops import ordered_sum


def fairy_forward(
    w: NDArray[Any], *, axis: int | None = None
) -> tuple[NDArray[np.int64], dict[int | None, tuple[float, float]]]:
    """Codes of `Fairy`, and by channel both scales; `axis` is that of one part, not negative."""
    re, im = w
    codes = np.zeros(re.shape, np.int64)
    scales: dict[int | None, tuple[float, float]] = {}
    for channel in [None] if axis is None else range(re.shape[axis]):
        members = [i for i in np.ndindex(*re.shape) if axis is None or i[axis] == channel]
        on_real, on_imaginary, landed = [], [], [0, 0]
        for i in members:
            x, y = float(re[i]), float(im[i])
            if abs(x) >= abs(y):
                codes[i] = 2 if x < 0 else 0
            else:
                codes[i] = 3 if y < 0 else 1
            across = int(codes[i]) % 2
            landed[across] += 1
            on_real.append(0.0 if across else abs(x))
            on_imaginary.append(abs(y) if across else 0.0)
        means = [
            ordered_sum(terms) / max(n, 1) or 1.0 for terms, n in zip((on_real, on_imaginary), landed, strict=True)
        ]
        scales[channel] = (means[0], means[1])
    return codes, scales


def qkr_product(w: NDArray[Any]) -> NDArray[np.float64]:
    """Product of `QKR`, the terms added in the order of d_head."""
    _, heads, d_head, n = w.shape
    out = np.zeros((heads, n, n))
    for h, i, j in np.ndindex(*out.shape):
        total = 0.0
        for d in range(d_head):
            total += float(w[0, h, d, i]) * float(w[1, h, d, j])
        out[h, i, j] = total
    return out


def qkr_backward(w: NDArray[Any], grad: NDArray[Any]) -> NDArray[np.float64]:
    """Gradient of sum(grad * product) by both projections, the terms added in index order."""
    out = np.zeros(w.shape)
    n = w.shape[3]
    for h, d, i in np.ndindex(*w.shape[1:]):
        query = key = 0.0
        for j in range(n):
            query += float(w[1, h, d, j]) * float(grad[h, i, j])
            key += float(w[0, h, d, j]) * float(grad[h, j, i])
        out[0, h, d, i], out[1, h, d, i] = query, key
    return out
