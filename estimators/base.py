"""What every estimator is: a frozen quantiser with a forward rule to codes and a backward rule to latent gradients."""

__all__ = ["Estimator", "Pullback", "Quantized"]

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import formats
from tetrit.estimators._values import decoded

Pullback: TypeAlias = Callable[[ArrayLike, NDArray[Any] | None, bool], tuple[NDArray[Any], dict[str, NDArray[Any]]]]
"""Takes a gradient of the values, optionally an array to write into, and whether the latent array's gradient is wanted,
to that gradient (without meaning where it is not) and to those of the learned fields."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantized:
    """A quantised tensor: codes of one format and the real scale that belongs to them.

    Attributes
    ----------
    codes : ndarray of unsigned int
        Codes of `format`.
    scale : ndarray of float64
        Positive; of shape ``()`` for one scale per tensor, or of the rank of the values with every axis but the channel
        axes of length 1, so that it broadcasts against them. Where `block` is given: one for every block, of the shape
        of the codes but with the number of blocks for the length of the last axis, or ``()`` for codes without axes.
    format : str
        Name of a scalar format of `tetrit.formats`.
    block : int or None
        How many neighbours along the last axis share a scale; the last block may be shorter. None where `scale`
        broadcasts.

    Notes
    -----
    Codes of complex values (`fairy2`) stand for two real numbers each: the values have a leading axis of length 2, the
    real parts and the imaginary parts, and `scale` broadcasts against that.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators import Quantized
    >>> codes = np.array([1, 2, 3, 4], np.uint8)
    >>> Quantized(codes=codes, scale=np.array([1.0, 10.0]), format="int4", block=3).values
    array([ 1.,  2.,  3., 40.])
    >>> Quantized(codes=codes - 1, scale=np.array([[1.0], [0.5]]), format="fairy2").values
    array([[ 1. ,  0. , -1. , -0. ],
           [ 0. ,  0.5,  0. , -0.5]])
    """

    codes: NDArray[Any]
    scale: NDArray[np.float64]
    format: str
    block: int | None = None

    @property
    def values(self) -> NDArray[np.float64]:
        """Real values, ``decode(codes) * scale``, in float64: of the shape of `codes`, or (2, ...) for complex ones."""
        return decoded(formats.get(self.format), self.codes, self.scale, None, self.block)

    def dequantize(self, out: NDArray[Any]) -> NDArray[Any]:
        """Write `values` into `out`, of their shape, rounded once to its float dtype, and return it."""
        return decoded(formats.get(self.format), self.codes, self.scale, out, self.block)


@dataclass(frozen=True, kw_only=True)
class Estimator(ABC):
    """A quantiser with a backward rule; frozen, stateless, and the same for any number of threads.

    Contract: ``e(w)`` gives the codes that hardware stores, ``e.forward(w)`` the real values that the training loss
    sees (they are the same values unless the class says otherwise), and ``e.backward(w, grad_out)`` the gradient with
    respect to the latent `w`, where `grad_out` is the gradient with respect to ``e.forward(w)``. A scale that is
    computed from `w` counts as a constant in every backward rule. `w` is a float16, bfloat16 (of `ml_dtypes`), float32
    or float64 array of any shape and memory order, and must be finite; the result does not depend on its dtype beyond
    the values that it holds.

    Attributes
    ----------
    name : str
        By which `tetrit.estimators.get` knows the class.
    learnable : dict of str to (float, float)
        Fields (a number, or a tuple with one per channel or table entry) that training learns with the weights, each
        with the least and the greatest value it may take; a learned value beyond counts as the nearer one. `start`
        gives them their first values, `parameter_gradients` their gradients.
    draws : bool
        Whether calls and `forward` take the keyword `rng`, a `numpy.random.Generator`, for what they draw.
    takes_arrays : bool
        Whether a learned field may be a float64 array in place of a tuple, in an estimator that serves one call.
    """

    name: ClassVar[str]
    learnable: ClassVar[dict[str, tuple[float, float]]] = {}
    draws: ClassVar[bool] = False
    takes_arrays: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise the latent `w` to codes and scale."""

    @abstractmethod
    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the gradient with respect to the latent `w`, or write it into `out`.

        In the dtype of `grad_out`, in the byte order of the machine; a bfloat16 gradient gives float32.
        """

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the real values that the network computes with while it is trained.

        In float64, or written into `out`, an array of their shape, and rounded once to its dtype.
        """
        q = self(w)
        return q.values if out is None else q.dequantize(out)

    def vjp(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> tuple[NDArray[Any], Pullback]:
        """Return ``forward(w, out=out)``, and a function of (grad_out, out or None, latent): all gradients at this `w`.

        It gives what `backward`, if `latent` is true, and `parameter_gradients` do. For callers that need values and
        gradients: what they share is computed once. `w` must stay as it is up to the function's last call. Estimators
        that draw have no use for it.
        """
        return self.forward(w, out=out), partial(self._pull, w)

    def plain_vjp(self, x: NDArray[Any], out: NDArray[Any]) -> Pullback | None:
        """Do what `vjp` does, without its checks; return the backward rule, None where the gradient passes as it is.

        `x` and `out` are C-contiguous, both float32 or both float64, of the shapes that belong together, and share no
        memory. A small array takes less time than the checks.
        """
        return self.vjp(x, out=out)[1]

    def _pull(
        self, w: ArrayLike, grad_out: ArrayLike, out: NDArray[Any] | None, latent: bool
    ) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        found = self.backward(w, grad_out, out=out) if latent else np.asarray(grad_out)
        return found, self.parameter_gradients(w, grad_out)

    def parameter_gradients(self, w: ArrayLike, grad_out: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Return the gradient of every field named in `learnable`: float64, of shape () or (channels,)."""
        return {}

    @property
    def straight_through(self) -> bool:
        """Whether `backward` returns `grad_out` as it is, for every latent."""
        return False

    def start(self, w: ArrayLike) -> tuple[Self, NDArray[Any]]:
        """Return the estimator and the latent array from which training starts at the float weights `w`."""
        return self, np.array(w)

    def value_shape(self, latent_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the values that belong to a latent array of the given shape; by default the same."""
        return latent_shape

    def at(self, progress: float) -> Self:
        """Return the estimator for the moment when the share `progress` of the training is done; by default itself."""
        return self

    def after_step(self, w: ArrayLike) -> NDArray[Any]:
        """Return the latent array that the optimiser's next step starts from, given the one that it arrived at."""
        return np.array(w)
