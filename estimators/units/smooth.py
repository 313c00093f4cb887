"""Units that one can differentiate once their noise is fixed: smooth times stochastic, and the noisy rectifier."""

__all__ = ["NoiseInjection", "SmoothTimesStochastic"]

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators.units import _kernels
from tetrit.estimators.units._arrays import finite_floats, generator, pre_activations, rounded
from tetrit.estimators.units.base import Feedback, StochasticUnits


def _outputs(h: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    x, _ = finite_floats("h", h, shape)
    if (x < 0).any():
        where = tuple(int(i) for i in np.argwhere(x < 0)[0])
        raise InvalidValueError(f"`h` must not be negative, got {x[where]:g} at index {where}")
    return x


@dataclass(frozen=True, kw_only=True)
class SmoothTimesStochastic(StochasticUnits):
    """Units whose probability is split between a random gate and a smooth amplitude, which carries the gradient.

    Forward: with p = sigmoid(a), h = sqrt(p) with probability sqrt(p), else 0; so E[h] = p. Backward: the derivative of
    the amplitude where the unit fired, grad_a = grad_h sqrt(p) (1 - p) / 2 where h > 0, else 0. Feedback: ``gradient``.

    Bias: the gate's own dependence on `a` is dropped. For a loss that is linear in h the enumeration gives an
    expectation of exactly half the true derivative: p (1 - p) / 2 of p (1 - p).

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64, or `rng` no Generator.
    InvalidValueError
        If an array has a NaN or an infinity (the message names its index) or another shape than `a`, or if `h` has a
        negative value.

    Notes
    -----
    Source: Bengio, Leonard, Courville, arXiv 1308.3432 (STS units). The figure of the bias is our derivation.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators import units
    >>> layer = units.get("smooth_times_stochastic")
    >>> a = np.array([[-2.0, 0.0, 2.0]])
    >>> h = layer.sample(a, rng=np.random.default_rng(2))
    >>> h.round(4)
    array([[0.3453, 0.7071, 0.9385]])
    >>> layer.backward(a, h, np.ones((1, 3))).round(4)
    array([[0.1521, 0.1768, 0.0559]])
    """

    name: ClassVar[str] = "smooth_times_stochastic"
    feedback: ClassVar[Feedback] = "gradient"

    def sample(self, a: ArrayLike, *, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw h = sqrt(sigmoid(a)) with that same probability, else 0; (batch, n), one uniform number each."""
        x = pre_activations(a)
        h = np.empty(x.shape)
        _kernels.smooth(x, generator(rng).random(x.shape), h)
        return h

    def backward(self, a: ArrayLike, h: ArrayLike, feedback: ArrayLike) -> NDArray[Any]:
        """Return the gradient with respect to `h` times the derivative of sqrt(sigmoid(a)), 0 where h is 0."""
        x = pre_activations(a)
        outputs = _outputs(h, x.shape)
        grad, dtype = finite_floats("feedback", feedback, x.shape)
        out = np.empty(x.shape)
        _kernels.smooth_slopes(x, outputs, out)
        return rounded(grad * out, dtype)


@dataclass(frozen=True, kw_only=True)
class NoiseInjection(StochasticUnits):
    """Noisy rectifier: Gaussian noise before a rectifier, and the gradient of that rectifier.

    Forward: h = max(0, a + sigma z) with z standard normal. Backward: grad_a = grad_h where h > 0, else 0 (also where
    a + sigma z is exactly 0). Feedback: ``gradient``.

    Unbiased for every loss that is continuous and piecewise differentiable in h, because the noise does not depend on
    `a`: for L = h the expectation is the normal distribution function at a / sigma, the derivative of E[h].
    Note that h is not binary; only its being 0 is a hard decision.

    Parameters
    ----------
    sigma : float, default 1.0
        Standard deviation of the noise, in units of `a`; 0 makes a plain rectifier.

    Raises
    ------
    TypeError, InvalidValueError
        As in `SmoothTimesStochastic`; also if `sigma` is not a number of at least 0.

    Notes
    -----
    Source: Bengio, Leonard, Courville, arXiv 1308.3432 (noisy rectifier). Gaussian noise of one `sigma` for all units
    is our assumption.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators import units
    >>> layer = units.get("noise_injection", sigma=0.5)
    >>> a = np.array([[-2.0, 0.0, 2.0]])
    >>> h = layer.sample(a, rng=np.random.default_rng(1))
    >>> h.round(4)
    array([[0.    , 0.4108, 2.1652]])
    >>> layer.backward(a, h, np.array([[1.0, 2.0, 3.0]]))
    array([[0., 2., 3.]])
    """

    name: ClassVar[str] = "noise_injection"
    feedback: ClassVar[Feedback] = "gradient"

    sigma: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", checks.real("sigma", self.sigma, minimum=0.0))

    def sample(self, a: ArrayLike, *, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw h = max(0, a + sigma z); (batch, n), one standard normal number each."""
        x = pre_activations(a)
        h = np.empty(x.shape)
        _kernels.rectifier(x, generator(rng).standard_normal(x.shape), self.sigma, h)
        return h

    def backward(self, a: ArrayLike, h: ArrayLike, feedback: ArrayLike) -> NDArray[Any]:
        """Return the gradient with respect to `h` where h > 0, else 0."""
        x = pre_activations(a)
        outputs = _outputs(h, x.shape)
        grad, dtype = finite_floats("feedback", feedback, x.shape)
        return rounded(np.where(outputs > 0, grad, 0.0), dtype)
