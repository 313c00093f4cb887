"""BiPer: binary weights as the sign of a sine, trained on the sine itself before the sign is taken."""

__all__ = ["BiPer", "biper_penalty"]

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import gradient, gradient_out, latent, to_rows
from tetrit.estimators._run import largest_magnitudes, run, sums_of_magnitudes
from tetrit.estimators._values import in_one_pass
from tetrit.estimators.base import Estimator, Pullback, Quantized
from tetrit.estimators.deterministic import _kernels
from tetrit.estimators.deterministic._means import mean_magnitudes
from tetrit.estimators.elementary._kernels import LARGEST_PHASE


def _phases(w: ArrayLike, frequency: float) -> NDArray[Any]:
    """Return `w` as an array whose products with `frequency` are within the range of the sine."""
    x = latent(w)
    largest = largest_magnitudes(to_rows(x, None))[0]
    if not np.isfinite(largest):
        checks.finite("w", x)
    if not float(largest) * frequency <= LARGEST_PHASE:
        raise InvalidValueError(
            f"`w` times the frequency {frequency:g} must be at most 2^20 in magnitude, got a weight of {largest:g}"
        )
    return x


@dataclass(frozen=True, kw_only=True)
class BiPer(Estimator):
    """Binary weights by a periodic function: codes sign(sin(frequency * w)), gradient by the sine's own derivative.

    Codes (both stages): 1 for +1 and 3 for -1 of the format ``int2_symmetric`` (no 1-bit format exists; its zero is
    never used, so bit 1 of a code alone is the weight), by the sign *bit* of sin(frequency * w): +0.0 gives +, -0.0
    gives -. Forward in stage 1: scale * sin(frequency * w), a real number; in stage 2: the values of the codes, a
    square wave. Backward, both stages: grad_w = grad_out * scale * frequency * cos(frequency * w), which is the true
    gradient in stage 1 and passes straight through the sign in stage 2. `at` takes stage 1 until the share `switch` of
    the training is done.

    Contract: bit-exact. Sine and cosine are those of `tetrit.estimators.elementary`, within 2.5 units in the last place
    of float64 (none is so near to 0 that its sign depends on that); one rounding on the store.

    Parameters
    ----------
    frequency : float, default 20
        Positive; w0 in radians per unit of `w`. A code has a half period of pi / frequency in `w`.
    scale : float, default 1
        Positive; fixed. `start` chooses it for given float weights.
    stage : {2, 1}, default 2
        2 for binary, 1 for the sine in the forward pass.
    switch : float, default 2/3
        From 0 to 1; the share of the training that `at` leaves to stage 1.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If `w` has a NaN or an infinity (the message names its index), if ``frequency * w`` is above 2^20 in magnitude,
        or if `grad_out` has another shape than `w`.

    Notes
    -----
    Source: Vargas, Correa, Hinojosa, Arguello, "BiPer: Binary Neural Networks using a Periodic Function",
    arXiv 2404.01278, CVPR 2024, and its released code (github.com/edmav4/BiPer): frequency 20, and 600 epochs of
    stage 1 before 300 of stage 2 for CIFAR-10, whence ``switch``. There the scale is a factor per output channel that
    the layer learns, begun at random; a fixed `scale`, begun at mean |w|, is **our reconstruction**, and a learned
    factor can multiply the layer's output as there.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.deterministic import BiPer
    >>> e = BiPer(frequency=2.0, scale=0.5)
    >>> w = np.array([-0.5, 0.0, 0.5, 1.0, 2.0])
    >>> e(w).values
    array([-0.5,  0.5,  0.5,  0.5, -0.5])
    >>> e.at(0.1).forward(w).round(3)
    array([-0.421,  0.   ,  0.421,  0.455, -0.378])
    >>> e.backward(w, np.ones(5)).round(3)
    array([ 0.54 ,  1.   ,  0.54 , -0.416, -0.654])
    """

    name: ClassVar[str] = "biper"

    frequency: float = 20.0
    scale: float = 1.0
    stage: int = 2
    switch: float = 2 / 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "frequency", checks.real("frequency", self.frequency, minimum=0.0, exclusive=True))
        object.__setattr__(self, "scale", checks.real("scale", self.scale, minimum=0.0, exclusive=True))
        object.__setattr__(self, "stage", checks.integer("stage", self.stage, maximum=2))
        object.__setattr__(self, "switch", checks.real("switch", self.switch, minimum=0.0))
        if self.switch > 1:
            raise InvalidValueError(f"`switch` must be from 0 to 1, got {self.switch:g}")

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are uint8 of the same shape."""
        x = _phases(w, self.frequency)
        rows = to_rows(x, None)
        codes = np.empty(rows.shape, np.uint8)
        run(_kernels.sine_codes, rows, self.frequency, codes)
        return Quantized(codes=codes.reshape(x.shape), scale=np.array(self.scale), format="int2_symmetric")

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return ``scale * sin(frequency * w)`` in stage 1, the values of the codes in stage 2."""
        return self.vjp(w, out=out)[0]

    def vjp(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> tuple[NDArray[Any], Pullback]:
        """Return the values and the backward rule, which share the checks."""
        x = _phases(w, self.frequency)
        return in_one_pass(x, None, out, self._kernel, self.scale, self.frequency), partial(self._gradients, x)

    def plain_vjp(self, x: NDArray[Any], out: NDArray[Any]) -> Pullback | None:
        """Do what `vjp` does, and let the kernel find out whether phases are in range: one pass over `x` less."""
        rows = x.reshape(1, -1)
        if not run(self._kernel, rows, self.scale, self.frequency, out.reshape(rows.shape)):
            _phases(x, self.frequency)
        return partial(self._gradients, x)

    @property
    def _kernel(self) -> Callable[..., bool]:
        return _kernels.sine_signs if self.stage == 2 else _kernels.sine_values

    def _gradients(
        self, x: NDArray[Any], grad_out: ArrayLike, out: NDArray[Any] | None, _: bool = True
    ) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        g = gradient(grad_out, x.shape)
        rows = to_rows(x, None)
        factor = self.scale * self.frequency
        result = gradient_out(
            g, None, out, lambda grad, into: run(_kernels.sine_backward, rows, grad, factor, self.frequency, into), w=x
        )
        return result, {}

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return ``grad_out * scale * frequency * cos(frequency * w)``."""
        return self._gradients(_phases(w, self.frequency), grad_out, out)[0]

    def start(self, w: ArrayLike) -> tuple[Self, NDArray[Any]]:
        """Return the estimator with scale mean |w| (1 where that is 0), and a copy of `w` to start from."""
        x = latent(w)
        mean = float(mean_magnitudes(x, to_rows(x, None))[0])
        return replace(self, scale=mean or 1.0), np.array(w)

    def at(self, progress: float) -> Self:
        """Return the estimator in stage 1 before `switch`, and as it is from then on."""
        return replace(self, stage=1) if float(progress) < self.switch else self


def biper_penalty(w: ArrayLike, *, frequency: float = 20.0, tau: float = 0.037) -> tuple[float, NDArray[np.float64]]:
    """Return BiPer's regulariser and its gradient: tau * mean(1/2 - cos(2 frequency w) / 2) = tau * mean sin^2.

    As released it is *added* to the loss with a positive `tau`, and so pulls every sine towards 0, as a weight decay
    with a period would; a negative `tau` pulls towards +-1.

    Parameters
    ----------
    w : array_like of float
        Finite, of any shape: the latent weights.
    frequency : float, default 20
        Positive; that of `BiPer`.
    tau : float, default 0.037
        Strength: 0.037 in stage 1 and 0.0468 in stage 2 of the released CIFAR-10 scripts.

    Returns
    -------
    value : float
        The penalty; 0 for an empty array.
    gradient : ndarray of float64
        tau * frequency * sin(2 frequency w) / w.size, of the shape of `w`.

    Raises
    ------
    InvalidValueError
        If `w` is not finite, or ``2 * frequency * w`` is above 2^20 in magnitude.

    Notes
    -----
    Source: the released code of arXiv 2404.01278 (github.com/edmav4/BiPer).

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.deterministic import biper_penalty
    >>> value, gradient = biper_penalty(np.array([0.0, np.pi / 4, np.pi / 2]), frequency=1.0, tau=3.0)
    >>> round(value, 6), gradient.round(6)
    (1.5, array([0., 1., 0.]))
    """
    frequency = checks.real("frequency", frequency, minimum=0.0, exclusive=True)
    tau = checks.real("tau", tau)
    x = _phases(w, 2.0 * frequency)
    rows = to_rows(x, None)
    count = max(x.size, 1)
    values = np.empty(rows.shape)
    run(_kernels.sine_values, rows, 1.0, frequency, values)
    value = tau * float(sums_of_magnitudes(np.square(values))[0]) / count
    run(_kernels.sine_values, rows, tau * frequency / count, 2.0 * frequency, values)
    return value, values.reshape(x.shape)
