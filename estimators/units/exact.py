"""Exact expectations over all states of one small layer: gradients, baselines, and the measure of every bias."""

__all__ = ["MAX_UNITS", "all_states", "expected_gradient", "minimum_variance_baseline", "probabilities"]

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators.units import _kernels
from tetrit.estimators.units._arrays import finite_floats

Doubles = NDArray[np.float64]
Loss: TypeAlias = Callable[[Doubles], NDArray[Any]]

MAX_UNITS = 20
"""The largest layer that is enumerated."""


def all_states(n: int, *, low: float = 0.0) -> Doubles:
    """Return all states of `n` units, (2**n, n); unit i of row r is bit i of r: `low` for 0, else 1.

    Examples
    --------
    >>> from tetrit.estimators.units import exact
    >>> exact.all_states(2, low=-1.0)
    array([[-1., -1.],
           [ 1., -1.],
           [-1.,  1.],
           [ 1.,  1.]])
    """
    n = checks.integer("n", n, minimum=0, maximum=MAX_UNITS)
    bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
    return np.where(bits == 1, 1.0, checks.real("low", low))


def probabilities(a: ArrayLike) -> Doubles:
    """Return the probability of every row of `all_states`, (2**n,), for units that are 1 with probability sigmoid(a).

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.units import exact
    >>> exact.probabilities(np.array([0.0, np.log(3.0)])).round(4)
    array([0.125, 0.125, 0.375, 0.375])
    """
    return np.asarray(np.prod(_factors(_layer(a)), axis=1))


def expected_gradient(a: ArrayLike, loss: Loss, *, low: float = 0.0) -> Doubles:
    """Return the exact derivative of the expected loss with respect to the pre-activations of one layer.

    It is sigmoid'(a_i) (E[L | unit i is 1] - E[L | unit i is low]), with the expectations over all other units.

    Parameters
    ----------
    a : array of float, (n,)
        Pre-activations of one sample, n at most `MAX_UNITS`.
    loss : callable
        Takes states of shape (2**n, n) and returns their losses, float of shape (2**n,).
    low : float, default 0.0
        The lower state: 0 for `STBernoulli` and `Reinforce`, -1 for `PSA`.

    Returns
    -------
    ndarray of float64, (n,)

    Raises
    ------
    TypeError, InvalidValueError
        If `a`, or what `loss` returns, is of the wrong dtype or shape, or not finite, or if there are too many units.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.units import exact
    >>> exact.expected_gradient(np.zeros(2), lambda h: 2 * h[:, 0] + h[:, 0] * h[:, 1])
    array([0.625, 0.125])
    """
    x = _layer(a)
    high_loss, low_loss = _conditional_losses(x, loss, low)
    return _on_layer(_kernels.slopes, x) * (high_loss - low_loss)


def minimum_variance_baseline(a: ArrayLike, loss: Loss) -> Doubles:
    """Return the baseline of every unit that minimises the variance of `Reinforce`, exactly.

    b_i = (1 - p_i) E[L | h_i = 1] + p_i E[L | h_i = 0], which is E[(h_i - p_i)^2 L] / E[(h_i - p_i)^2] written without
    the division.

    Parameters
    ----------
    a : array of float, (n,)
        Pre-activations of one sample.
    loss : callable
        As in `expected_gradient`, of states 0 and 1.

    Returns
    -------
    ndarray of float64, (n,)
        In units of the loss.

    Raises
    ------
    TypeError, InvalidValueError
        As in `expected_gradient`.

    Notes
    -----
    Source: Bengio, Leonard, Courville, arXiv 1308.3432.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.units import exact
    >>> exact.minimum_variance_baseline(np.array([0.0, np.log(3.0)]), lambda h: h[:, 0] + h[:, 1]).round(4)
    array([1.25, 0.75])
    """
    x = _layer(a)
    high_loss, low_loss = _conditional_losses(x, loss, 0.0)
    return _on_layer(_kernels.sigmoids, -x) * high_loss + _on_layer(_kernels.sigmoids, x) * low_loss


def _layer(a: ArrayLike) -> Doubles:
    x, _ = finite_floats("a", a)
    if x.ndim != 1:
        raise InvalidValueError(f"`a` must have 1 dimension (units), got shape {x.shape}")
    if x.size > MAX_UNITS:
        raise InvalidValueError(f"`a` must have at most {MAX_UNITS} units to be enumerated, got {x.size}")
    return x


def _on_layer(kernel: Callable[[Doubles, Doubles], None], x: Doubles) -> Doubles:
    """Run an elementwise kernel on one sample."""
    out = np.empty((1, x.size))
    kernel(x.reshape(1, -1), out)
    row: Doubles = out[0]
    return row


def _factors(x: Doubles) -> Doubles:
    """Return the probability of every unit's state in every row of `all_states`."""
    return np.where(all_states(x.size) == 1, _on_layer(_kernels.sigmoids, x), _on_layer(_kernels.sigmoids, -x))


def _conditional_losses(x: Doubles, loss: Loss, low: float) -> tuple[Doubles, Doubles]:
    """Return the expected loss given that unit i is 1, and given that it is `low`, for every i."""
    rows = all_states(x.size, low=low)
    losses, _ = finite_floats("loss(h)", loss(rows), (len(rows),))
    factors = _factors(x)
    is_high = all_states(x.size) == 1
    high_loss, low_loss = np.empty(x.size), np.empty(x.size)
    for i in range(x.size):
        weighted = np.prod(np.delete(factors, i, axis=1), axis=1) * losses
        high_loss[i] = weighted[is_high[:, i]].sum()
        low_loss[i] = weighted[~is_high[:, i]].sum()
    return high_loss, low_loss
