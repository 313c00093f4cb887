"""Two-point gradient estimates with regenerated noise: the authority for their perturbations, updates and losses."""

__all__ = ["SPSA", "two_point"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import from_rows, latent, to_rows
from tetrit.estimators.zeroth import _kernels
from tetrit.estimators.zeroth.counter import checked_offset, key_of, run_quietly

_DISTRIBUTIONS = ("rademacher", "normal")
_RESTORES = ("drift", "copy")

Loss = Callable[[list[NDArray[Any]]], float]
Features = Callable[[list[NDArray[Any]]], Any]
Head = Callable[[Any], tuple[float, list[NDArray[Any]]]]


def two_point(
    loss: Loss, params: Sequence[NDArray[Any]], directions: Sequence[NDArray[Any]], *, epsilon: float
) -> float:
    """Return (L(w + epsilon z) - L(w - epsilon z)) / (2 epsilon), the definition, for given directions z.

    Times z it estimates the gradient. Over all z in {-1, 1}^n with equal weights its mean is the gradient exactly where
    the loss is quadratic, and otherwise differs by epsilon^2 / 6 E[z D^3 L(z, z, z)] and higher even powers.

    Parameters
    ----------
    loss : callable
        From a list of arrays to a number.
    params, directions : sequence of ndarray
        Of the same shapes.
    epsilon : float
        Positive.

    Notes
    -----
    Source: Spall, "Multivariate Stochastic Approximation Using a Simultaneous Perturbation Gradient Approximation",
    IEEE Trans. Automatic Control 37 (1992), in the form g z of Malladi et al., arXiv 2305.17333 (MeZO), equal to
    Spall's g / z for signs.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.zeroth import two_point
    >>> two_point(lambda p: p[0] @ p[0], [np.array([1.0, 2.0])], [np.array([1.0, -1.0])], epsilon=0.5)
    -2.0
    """
    plus = loss([w + epsilon * z for w, z in zip(params, directions, strict=True)])
    minus = loss([w - epsilon * z for w, z in zip(params, directions, strict=True)])
    return float((plus - minus) / (2.0 * epsilon))


@dataclass(frozen=True, kw_only=True)
class SPSA:
    """The two-point estimator whose noise costs no memory: it is computed again wherever it is needed.

    The noise z of element number ``offset + i`` (i in C order) is a function of the seed and that number: a word of
    `counter_words`, and from it +1 or -1 (its top bit), or a standard normal (the quantile of its top 52 bits). A list
    of arrays counts through, array after array.

    Contract: bit-exact for float32 and float64, in float64 arithmetic with one rounding on the store; the same for any
    number of threads, with and without the compiler. The quantile is accurate to 1e-14; |z| <= 8.3.

    Parameters
    ----------
    epsilon : float, default 1e-3
        Positive; half of the distance between the two points, in units of the weights.
    distribution : {"rademacher", "normal"}, default "rademacher"
        Of every z. Signs give the lower variance, and the exact statement of `two_point`.
    restore : {"drift", "copy"}, default "drift"
        What `step` does to come back from the second point. ``drift``: it adds epsilon z again, in the pass of the
        update, so that no array is kept, and up to three roundings stay in every weight. It is exact where all of w,
        w + epsilon z and w - epsilon z are floats, e.g. for signs, weights and epsilon on a grid of 2^-k with
        |w| + epsilon < 2^(24-k) (float32). ``copy``: it keeps a copy of the weights: one rounding, twice the memory.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64 (float16 widens to float32).
    InvalidValueError
        If a seed is not from 0 to 2^64 - 1.

    Notes
    -----
    Source: MeZO, arXiv 2305.17333: perturbation in place, regenerated noise, g = (L+ - L-) / (2 epsilon), update
    -rate g z. The generator, its normal numbers (Wichura's algorithm AS 241, Applied Statistics 37, 1988) and the
    choice of `restore` are **ours**; MeZO accepts the drift.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.zeroth import SPSA, step_seed
    >>> spsa = SPSA(epsilon=0.125)
    >>> spsa.direction((2, 3), seed=5)
    array([[-1.,  1., -1.],
           [-1.,  1., -1.]])
    >>> w = np.ones((2, 3))
    >>> spsa.perturbed(w, 1, seed=5)  # the value: w + epsilon z
    array([[0.875, 1.125, 0.875],
           [0.875, 1.125, 0.875]])
    >>> loss = lambda params: float(np.sum(params[0] ** 2))
    >>> spsa.gradient(loss, [w], seed=5)[0]  # an estimate of 2 w: its part along z
    array([[ 4., -4.,  4.],
           [ 4., -4.,  4.]])
    >>> for step in range(100):
    ...     _ = spsa.step(loss, [w], rate=0.05, seed=step_seed(7, step))
    >>> loss([w]) < 1e-3
    True
    """

    epsilon: float = 1e-3
    distribution: str = "rademacher"
    restore: str = "drift"

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", checks.real("epsilon", self.epsilon, minimum=0.0, exclusive=True))
        checks.choice("distribution", self.distribution, _DISTRIBUTIONS)
        checks.choice("restore", self.restore, _RESTORES)

    def direction(self, shape: tuple[int, ...], *, seed: int, offset: int = 0) -> NDArray[np.float64]:
        """Return the noise z, float64 of the given shape."""
        z = np.empty(shape)
        run_quietly(_kernels.directions, z.reshape(1, -1), self._normal, *_stream(seed, offset))
        return z

    def added(
        self, w: ArrayLike, factor: float, *, seed: int, offset: int = 0, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Return ``w + factor * z``, or write it into `out`, which may be `w` itself; the other passes are this one."""
        x = latent(w)
        if out is not None:
            checks.output(out, x.shape, x.dtype, like="w", apart={"w": np.asarray(w)}, may_be_same=True)
        rows = to_rows(x, None)
        direct = out is not None and out.flags.c_contiguous
        into = out.reshape(rows.shape) if out is not None and direct else np.empty_like(rows)
        run_quietly(_kernels.added, rows, self._normal, *_stream(seed, offset), float(factor), into)
        if out is None:
            return from_rows(into, x.shape, None)
        if not direct:
            np.copyto(out, into.reshape(x.shape))
        return out

    def perturbed(
        self, w: ArrayLike, times: float, *, seed: int, offset: int = 0, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Return ``w + (times * epsilon) * z``, or write it into `out`, which may be `w` itself."""
        return self.added(w, times * self.epsilon, seed=seed, offset=offset, out=out)

    def updated(
        self,
        w: ArrayLike,
        projected: float,
        *,
        rate: float,
        seed: int,
        offset: int = 0,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Return ``w - (rate * projected) * z``, or write it into `out`, which may be `w` itself."""
        return self.added(w, -(rate * projected), seed=seed, offset=offset, out=out)

    def projected(self, plus: float, minus: float) -> float:
        """Return (L+ - L-) / (2 epsilon), the slope along z."""
        return float((plus - minus) / (2.0 * self.epsilon))

    def gradient(self, loss: Loss, params: Sequence[ArrayLike], *, seed: int) -> list[NDArray[np.float64]]:
        """Return the estimate g z for every array, float64; `params` stay as they are."""
        arrays = [np.asarray(w) for w in params]
        slope = self.projected(*(loss(self._moved(arrays, times, seed)) for times in (1, -1)))
        starts = _starts(arrays)
        return [slope * self.direction(w.shape, seed=seed, offset=at) for w, at in zip(arrays, starts, strict=True)]

    def step(self, loss: Loss, params: Sequence[NDArray[Any]], *, rate: float, seed: int) -> tuple[float, float]:
        """Move `params` (float32 or float64 arrays, in place) one step of descent; return (mean of both losses, slope).

        Passes over the weights: + epsilon z, - 2 epsilon z, and the update by ``(epsilon - rate * slope) * z``, or from
        the copies by ``-(rate * slope) * z``.
        """
        arrays = list(params)
        for i, w in enumerate(arrays):
            if not isinstance(w, np.ndarray) or w.dtype not in (np.float32, np.float64):
                raise TypeError(f"`params[{i}]` must be a float32 or float64 array, got {getattr(w, 'dtype', w)!r}")
        rate = checks.real("rate", rate, minimum=0.0)
        kept = [w.copy() for w in arrays] if self.restore == "copy" else arrays
        self._move(arrays, arrays, self.epsilon, seed)
        plus = float(loss(arrays))
        if kept is arrays:
            self._move(arrays, arrays, -2.0 * self.epsilon, seed)
        else:
            self._move(kept, arrays, -self.epsilon, seed)
        minus = float(loss(arrays))
        slope = self.projected(plus, minus)
        back = self.epsilon if kept is arrays else 0.0
        self._move(kept, arrays, back - rate * slope, seed)
        return 0.5 * (plus + minus), slope

    def elastic(
        self, features: Features, head: Head, params: Sequence[ArrayLike], *, seed: int
    ) -> tuple[float, float, list[NDArray[Any]]]:
        """Estimate for a network whose last layers are trained by backpropagation (ElasticZO).

        Parameters
        ----------
        features : callable
            From the arrays of the first layers to what they hand on.
        head : callable
            From that to the loss and the gradients of the last layers' arrays.
        params : sequence of array_like
            Arrays of the first layers; they stay as they are.
        seed : int

        Returns
        -------
        loss, slope, gradients
            Mean of the losses at both points; the slope of the first layers along z, for `updated`; the mean of the
            last layers' gradients at both points, which is their gradient up to order epsilon^2.

        Notes
        -----
        Source: Sugiura, Matsutani, "ElasticZO", arXiv 2501.04287, for the split. Where the last layers' gradient is
        taken was not at hand: both points, without a third forward pass, is **our reconstruction**.
        """
        arrays = [np.asarray(w) for w in params]
        plus, above = head(features(self._moved(arrays, 1, seed)))
        minus, below = head(features(self._moved(arrays, -1, seed)))
        mean = [0.5 * (a + b) for a, b in zip(above, below, strict=True)]
        return 0.5 * (plus + minus), self.projected(plus, minus), mean

    @property
    def _normal(self) -> bool:
        return self.distribution == "normal"

    def _moved(self, arrays: list[NDArray[Any]], times: int, seed: int) -> list[NDArray[Any]]:
        starts = _starts(arrays)
        return [self.perturbed(w, times, seed=seed, offset=at) for w, at in zip(arrays, starts, strict=True)]

    def _move(self, arrays: list[NDArray[Any]], into: list[NDArray[Any]], factor: float, seed: int) -> None:
        for w, out, at in zip(arrays, into, _starts(arrays), strict=True):
            self.added(w, factor, seed=seed, offset=at, out=out)


def _stream(seed: int, offset: int) -> tuple[np.uint64, int]:
    return np.uint64(key_of(seed)), checked_offset(offset)


def _starts(arrays: Sequence[NDArray[Any]]) -> list[int]:
    """Return the number of the first element of every array."""
    starts = [0]
    for w in arrays:
        starts.append(starts[-1] + w.size)
    if not arrays:
        raise InvalidValueError("`params` must have at least one array, got none")
    return starts[:-1]
