"""What every kind of stochastic unit is: a rule that samples states and a rule that estimates gradients from them."""

__all__ = ["Feedback", "StochasticUnits"]

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Feedback: TypeAlias = Literal["gradient", "loss", "flips"]


@dataclass(frozen=True, kw_only=True)
class StochasticUnits(ABC):
    """A layer of stochastic units that are independent given their pre-activations; frozen and stateless.

    Contract: the caller has the pre-activations `a` of a batch and the rest of the network; the units have the noise.

    1. ``h = units.sample(a, rng=rng)`` draws one state per unit and sample. It takes exactly one array of random
       numbers, of the shape of `a`, from `rng`, so a generator in the same state gives the same states.
    2. The caller computes the loss of every sample from `h`, and hands back what the class attribute `feedback` names.
    3. ``units.backward(a, h, feedback)`` returns, per sample and unit, an estimate of the derivative of the *expected*
       loss of that sample with respect to `a`. Gradients of weights follow by the chain rule through
       ``a = x @ weight + bias`` with `x` held as sampled.

    ============  ===========  ==================================================================================
    `feedback`    shape        what the caller supplies
    ============  ===========  ==================================================================================
    ``gradient``  (batch, n)   the derivative of each sample's loss with respect to its `h`
    ``loss``      (batch,)     the loss of each sample; no derivative is needed
    ``flips``     (batch, n)   by how much each sample's loss would rise if that one unit had the other state
    ============  ===========  ==================================================================================

    Arrays are float16, float32 or float64, of any memory order, and finite. `h` is float64; gradients are computed in
    float64 and rounded once to the dtype of the feedback. The results do not depend on the number of threads.

    Attributes
    ----------
    name : str
        The name under which `tetrit.estimators.units.get` finds the class.
    feedback : {"gradient", "loss", "flips"}
        What `backward` needs to be told about the loss.
    """

    name: ClassVar[str]
    feedback: ClassVar[Feedback]

    @abstractmethod
    def sample(self, a: ArrayLike, *, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw the states of all units, of the shape (batch, n) of `a`."""

    @abstractmethod
    def backward(self, a: ArrayLike, h: ArrayLike, feedback: ArrayLike) -> NDArray[Any]:
        """Estimate the gradient with respect to `a`, of its shape and of the dtype of `feedback`."""
