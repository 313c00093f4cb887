"""Surrogates of signed-zero ternary: what the backward pass does with a gradient, zone by zone."""

__all__ = ["SURROGATES", "Surrogate", "identity", "signed_zero_bias", "signed_zero_slope", "vanishing"]

import math
from collections.abc import Callable
from dataclasses import dataclass

from tetrit import checks


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """A reconstruction of the gradient of a ternary quantiser, piecewise affine in the incoming gradient ``g``.

    With the threshold D, the mean magnitude M of the tensor or channel, and s = +1 or -1 the sign bit of the latent
    weight (in the dead zone: the sign of its zero):

    - dead zone, |w| <= D: ``gain * g - s * (tilt * |g| + drift)``
    - live zone, D < |w| <= clip * M: ``g``
    - beyond (only where |w| > D): 0

    The minus makes the step of a gradient *descent* point along s: away from zero, on the side that the zero remembers.
    Build one from these fields, or take one of the named forms in this module.

    Parameters
    ----------
    gain : float, default 1
        Share of the gradient that passes in the dead zone: 1 is straight-through, 0 the vanishing gradient.
    tilt : float, default 0
        Non-negative; outward pull in the dead zone as a share of the gradient's magnitude.
    drift : float, default 0
        Non-negative; constant outward pull in the dead zone, in units of the gradient.
    clip : float, default infinity
        Positive; where the live zone ends, in mean magnitudes of the tensor or channel.

    Notes
    -----
    arXiv 2508.05905 says that the sign of zero adds one bit of gradient information in the dead zone and that the
    backward pass stays deterministic; it gives no formula that we could find. All of these forms are **our
    reconstruction**, none is claimed to be the paper's.

    Examples
    --------
    >>> from tetrit.estimators import Surrogate
    >>> Surrogate(tilt=0.25, clip=4.0)
    Surrogate(gain=1.0, tilt=0.25, drift=0.0, clip=4.0)
    """

    gain: float = 1.0
    tilt: float = 0.0
    drift: float = 0.0
    clip: float = math.inf

    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", checks.real("gain", self.gain))
        object.__setattr__(self, "tilt", checks.real("tilt", self.tilt, minimum=0.0))
        object.__setattr__(self, "drift", checks.real("drift", self.drift, minimum=0.0))
        clip = checks.real("clip", self.clip, minimum=0.0, exclusive=True, infinite=True)
        object.__setattr__(self, "clip", clip)


def identity(*, clip: float = math.inf) -> Surrogate:
    """Straight-through estimator, clipped at `clip` mean magnitudes; blind to the sign of zero."""
    return Surrogate(clip=clip)


def signed_zero_slope(*, epsilon: float = 0.02, clip: float = math.inf) -> Surrogate:
    """Slope form: in the dead zone ``g - epsilon * s * |g|``.

    A gradient whose descent step leads outward has slope 1 + epsilon, one that leads back through zero 1 - epsilon.
    Free of units; the default 0.02 is our choice. Noise in the gradient turns into an outward pull of epsilon times its
    mean magnitude, so a large epsilon empties the dead zone.
    """
    return Surrogate(tilt=epsilon, clip=clip)


def signed_zero_bias(*, epsilon: float = 1e-4, clip: float = math.inf) -> Surrogate:
    """Bias form: in the dead zone ``g - epsilon * s``, a constant outward drift.

    With no other gradient it leaves a zone of half-width D within about D / (learning rate * epsilon) steps of gradient
    descent, where zero-mean noise alone would have to walk at random. `epsilon` is in units of the gradient; the
    default 1e-4 is our choice.
    """
    return Surrogate(drift=epsilon, clip=clip)


def vanishing(*, clip: float = math.inf) -> Surrogate:
    """Pass no gradient at all in the dead zone: the baseline that signed zero argues against."""
    return Surrogate(gain=0.0, clip=clip)


SURROGATES: dict[str, Callable[[], Surrogate]] = {
    "identity": identity,
    "signed_zero_bias": signed_zero_bias,
    "signed_zero_slope": signed_zero_slope,
    "vanishing": vanishing,
}
"""The surrogates that can be asked for by name, with their default parameters."""
