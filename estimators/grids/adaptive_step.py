"""The small network of ASQ that gives every sample its factor beta, with its gradients."""

__all__ = ["AdaptiveStep"]

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import gradient, latent
from tetrit.estimators._run import chunk_count, run, sum_chunks
from tetrit.estimators.grids import _kernels

_FLOOR = 1e-8

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class AdaptiveStep:
    """From activations (samples, channels, ...) to one positive beta per sample: pool, linear, ReLU, linear, ReLU.

    Forward, with p the mean of every channel of a sample: h = max(hidden_weight p + hidden_bias, 0),
    o = out_weight . h + out_bias, beta = max(o, 0, 1e-8). Backward: the true gradient, 0 at the kinks h = 0 and
    o < 1e-8. A sample whose o is below 1e-8 teaches the network nothing: begin with a positive `out_bias`.

    Contract: float64, all sums in a fixed order (a channel's in the lanes of `tetrit.estimators`, those of the linear
    layers from left to right): the same bits for any number of threads, with and without the compiler.

    Parameters
    ----------
    hidden_weight : array_like (hidden, channels)
    hidden_bias : array_like (hidden,)
    out_weight : array_like (hidden,)
    out_bias : array_like ()
        Finite real numbers; kept as read-only float64 copies.

    Raises
    ------
    InvalidValueError
        If the shapes do not fit each other or something is not finite.

    Notes
    -----
    Source: the released code of arXiv 2504.17263 (github.com/SENGEL13/ASQ-POST), as summarised by third parties: global
    average pooling, two linear layers with a ReLU after each, a quarter of the channels hidden, a clamp at 1e-8.
    **Our reconstruction**: the start of `initial`, the gradient at the kinks, and one beta per sample.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.grids import ASQ, AdaptiveStep
    >>> net = AdaptiveStep(hidden_weight=[[1.0, -1.0]], hidden_bias=[0.0], out_weight=[0.5], out_bias=1.0)
    >>> x = np.array([[[2.0, 4.0], [0.0, 2.0]], [[0.0, 0.0], [1.0, 1.0]]])
    >>> beta = net(x)
    >>> beta
    array([2., 1.])
    >>> e = ASQ(step=0.25, beta=tuple(beta))
    >>> by_beta = e.parameter_gradients(x, np.ones(x.shape))["beta"]
    >>> net.backward(x, by_beta)["out_weight"]
    array([-4.])
    """

    hidden_weight: Doubles
    hidden_bias: Doubles
    out_weight: Doubles
    out_bias: Doubles

    def __post_init__(self) -> None:
        for field in fields(self):
            try:
                array = np.array(getattr(self, field.name), np.float64)
            except (TypeError, ValueError):
                raise TypeError(f"`{field.name}` must be an array of real numbers") from None
            checks.finite(field.name, array)
            array.flags.writeable = False
            object.__setattr__(self, field.name, array)
        if self.hidden_weight.ndim != 2:
            raise InvalidValueError(
                f"`hidden_weight` must have shape (hidden, channels), got {self.hidden_weight.shape}"
            )
        hidden = self.hidden_weight.shape[0]
        for name, shape in (("hidden_bias", (hidden,)), ("out_weight", (hidden,)), ("out_bias", ())):
            if getattr(self, name).shape != shape:
                raise InvalidValueError(f"`{name}` must have shape {shape}, got {getattr(self, name).shape}")

    @classmethod
    def initial(cls, channels: int, rng: np.random.Generator) -> Self:
        """Return the network to begin with: a quarter of the channels hidden (one at least), beta near 1.

        Weights and the hidden bias are uniform within 1 / sqrt(inputs of their layer); the last bias is 1.
        """
        channels = checks.integer("channels", channels)
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"`rng` must be a numpy.random.Generator, got {rng!r}")
        hidden = max(channels // 4, 1)
        inner, outer = channels**-0.5, hidden**-0.5
        return cls(
            hidden_weight=rng.uniform(-inner, inner, (hidden, channels)),
            hidden_bias=rng.uniform(-inner, inner, hidden),
            out_weight=rng.uniform(-outer, outer, hidden),
            out_bias=np.array(1.0),
        )

    def __call__(self, x: ArrayLike) -> Doubles:
        """Return beta, float64 of shape (samples,)."""
        return np.maximum(self._layers(self._checked(x))[2], _FLOOR)

    def backward(self, x: ArrayLike, grad_beta: ArrayLike) -> dict[str, Doubles]:
        """Return the gradients of the four fields and, as ``"x"``, of the activations, from that of beta (samples,)."""
        array = self._checked(x)
        pooled, hidden, out = self._layers(array)
        g = gradient(grad_beta, out.shape).astype(np.float64)
        by_out = np.where(out >= _FLOOR, g, 0.0)
        by_hidden = np.where(hidden > 0, by_out[:, None] * self.out_weight, 0.0)
        by_pooled = _product(by_hidden, self.hidden_weight)
        spread = by_pooled / max(array[0, 0].size if array.size else 0, 1)
        ones = np.ones((1, len(out)))
        return {
            "hidden_weight": _product(by_hidden.T, pooled),
            "hidden_bias": _product(ones, by_hidden)[0],
            "out_weight": _product(by_out[None], hidden)[0],
            "out_bias": np.array(_product(ones, by_out[:, None])[0, 0]),
            "x": np.broadcast_to(spread.reshape(*spread.shape, *(1,) * (array.ndim - 2)), array.shape).copy(),
        }

    def _checked(self, x: ArrayLike) -> NDArray[Any]:
        array = latent(x)
        channels = self.hidden_weight.shape[1]
        if array.ndim < 2 or array.shape[1] != channels:
            raise InvalidValueError(f"`x` must have shape (samples, {channels}, ...), got {array.shape}")
        return array

    def _layers(self, x: NDArray[Any]) -> tuple[Doubles, Doubles, Doubles]:
        """Return the means of the channels, the hidden layer after its ReLU, and the output before its own."""
        samples, channels = x.shape[:2]
        places = int(np.prod(x.shape[2:]))
        rows = np.ascontiguousarray(x).reshape(samples * channels, places)
        parts = np.empty((rows.shape[0], chunk_count(places)))
        run(_kernels.row_sums, rows, parts)
        pooled = (sum_chunks(parts) / max(places, 1)).reshape(samples, channels)
        if not np.isfinite(pooled).all():
            checks.finite("x", x)
            raise InvalidValueError("`x` must have sums that float64 can hold, got an overflow")
        hidden = np.maximum(_product(pooled, self.hidden_weight.T) + self.hidden_bias, 0.0)
        out = _product(hidden, self.out_weight[:, None])[:, 0] + self.out_bias
        return pooled, hidden, out


def _product(a: Doubles, b: Doubles) -> Doubles:
    out = np.empty((a.shape[0], b.shape[1]))
    _kernels.product(np.ascontiguousarray(a), np.ascontiguousarray(b), out)
    return out
