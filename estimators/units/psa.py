"""Path sample-analytic (PSA) gradients of layered networks of units of the states -1 and +1 with logistic noise."""

__all__ = ["PSA", "LayerSample", "flip_losses", "psa_gradients"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit.errors import InvalidValueError
from tetrit.estimators.units import _kernels
from tetrit.estimators.units._arrays import finite_floats, generator, pre_activations, rounded, states
from tetrit.estimators.units.base import Feedback, StochasticUnits

Doubles = NDArray[np.float64]
Loss: TypeAlias = Callable[[Doubles], NDArray[Any]]

_STATES = (-1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class PSA(StochasticUnits):
    """Binary units of the states -1 and +1 whose gradients come from flips of one unit at a time.

    Forward: h = sign(a - z) with standard logistic noise z, that is +1 with probability F(a), F the logistic function.
    Backward: grad_a = -h F'(a) D, where D is the rise of the expected loss when this unit is flipped.
    Feedback: ``flips``, the D of every unit: from `flip_losses` for the last layer, and for the inputs x of a layer
    with a = x W + b from its own D by `flips_of_inputs`,

        D_i = sum over j of -h_j (F(a_j - 2 W_ij x_i) - F(a_j)) D_j.

    Why. (1) Units of a layer are independent given `a`, so the derivative of E[L] with respect to a_j is
    F'(a_j) (E[L | h_j = +1] - E[L | h_j = -1]); seen from the state that was sampled, that is -h_j F'(a_j) times the
    rise of the loss on a flip, and both states say the same. The unit's own noise is thus integrated out. (2) In the
    last layer the rise is two evaluations of the loss. (3) Further down, a flip of x_i changes the probabilities of all
    units above at once, and D_i is a difference of two products of probabilities, weighted by the loss expected further
    up. PSA keeps of it the sum of the terms in which one factor j changes, by -+(F(a_j^(i)) - F(a_j)), and the others
    stay; each of them is again a flip of one unit, seen from the sampled state.

    Exact in expectation, therefore: in the last layer for every loss (and without variance if a flip's rise does not
    depend on the other units, as for a linear loss); in the layer before it for a loss linear in h; in every layer if
    the layers above hold one unit each. Otherwise the terms that are dropped, of second order in the changes of
    probability, are the bias.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64, or `rng` no Generator.
    InvalidValueError
        If an array has a NaN or an infinity (the message names its index) or the wrong shape, or if `h` or `x` holds
        anything but -1 and 1.

    Notes
    -----
    Source: Shekhovtsov, Yanush, Flach, "Path Sample-Analytic Gradient Estimators for Stochastic Binary Networks",
    NeurIPS 2020, arXiv 2006.03143, and the formulas of the authors' code (github.com/shekhovt/PSA-Neurips2020). They
    carry derivatives forward through the layers; going backward through the same sum is **our reconstruction**, as is
    the list of cases in which it is exact.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators import units
    >>> layer = units.get("psa")
    >>> a = np.array([[-2.0, 0.0, 2.0]])
    >>> h = layer.sample(a, rng=np.random.default_rng(1))
    >>> h
    array([[-1., -1.,  1.]])
    >>> rises = units.flip_losses(lambda h: h.sum(axis=1), h)
    >>> rises
    array([[ 2.,  2., -2.]])
    >>> layer.backward(a, h, rises).round(4)
    array([[0.21, 0.5 , 0.21]])
    """

    name: ClassVar[str] = "psa"
    feedback: ClassVar[Feedback] = "flips"

    def sample(self, a: ArrayLike, *, rng: np.random.Generator) -> Doubles:
        """Draw h = +1 with the probability sigmoid(a), else -1; (batch, n), one uniform number each."""
        x = pre_activations(a)
        h = np.empty(x.shape)
        _kernels.bernoulli(x, generator(rng).random(x.shape), -1.0, h)
        return h

    def backward(self, a: ArrayLike, h: ArrayLike, feedback: ArrayLike) -> NDArray[Any]:
        """Return -h F'(a) times the rise of the loss when the unit is flipped."""
        pre = pre_activations(a)
        signs = states(h, pre.shape, _STATES)
        rises, dtype = finite_floats("feedback", feedback, pre.shape)
        out = np.empty(pre.shape)
        _kernels.slopes(pre, out)
        return rounded(-signs * out * rises, dtype)

    def flips_of_inputs(
        self, weight: ArrayLike, x: ArrayLike, a: ArrayLike, h: ArrayLike, feedback: ArrayLike
    ) -> NDArray[Any]:
        """Return the rise of the loss when one input of the layer is flipped: the feedback for the layer below.

        Parameters
        ----------
        weight : array of float, (n_in, n)
            Of this layer, ``a = x @ weight + bias``.
        x : array of float, (batch, n_in)
            Sampled inputs, -1 or 1.
        a, h : array of float, (batch, n)
            Pre-activations of this layer and the states sampled from them.
        feedback : array of float, (batch, n)
            The rise of the loss when one unit of this layer is flipped.

        Returns
        -------
        ndarray
            (batch, n_in), in the dtype of `feedback`. The work is batch * n_in * n evaluations of F.
        """
        pre = pre_activations(a)
        signs = states(h, pre.shape, _STATES)
        rises, dtype = finite_floats("feedback", feedback, pre.shape)
        matrix = _matrix("weight", weight, n_out=pre.shape[1])
        inputs = states(x, (pre.shape[0], matrix.shape[0]), _STATES, name="x")
        out = np.empty(inputs.shape)
        with np.errstate(over="ignore"):
            _kernels.psa_through(matrix, inputs, pre, signs, rises, out)
        return rounded(out, dtype)


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerSample:
    """One layer of a sampled network: what went in, what came out, and the gradient.

    Attributes
    ----------
    x : ndarray of float64, (batch, n_in)
        Inputs of the layer.
    a : ndarray of float64, (batch, n)
        Pre-activations ``x @ weight + bias``.
    h : ndarray of float64, (batch, n)
        States, -1 or 1.
    grad_a : ndarray of float64, (batch, n)
        Estimated derivative of the expected loss of every sample with respect to `a`.
    """

    x: Doubles
    a: Doubles
    h: Doubles
    grad_a: Doubles

    @property
    def grad_weight(self) -> Doubles:
        """Gradient of the summed loss of the batch with respect to the weight, (n_in, n)."""
        product: Doubles = self.x.T @ self.grad_a
        return product

    @property
    def grad_bias(self) -> Doubles:
        """Gradient of the summed loss of the batch with respect to the bias, (n,)."""
        total: Doubles = self.grad_a.sum(axis=0)
        return total


def flip_losses(loss: Loss, h: ArrayLike) -> Doubles:
    """Return by how much the loss of each sample rises when one of its units is flipped.

    Parameters
    ----------
    loss : callable
        Takes states of shape (batch, n) and returns the loss of every sample, float of shape (batch,); called n + 1
        times, and always with all samples in their order, so that it may hold their targets.
    h : array of float, (batch, n)
        States, -1 or 1.

    Returns
    -------
    ndarray of float64, (batch, n)
        loss(h with unit i flipped) - loss(h).

    Raises
    ------
    TypeError, InvalidValueError
        As in `PSA`, for `h` and for what `loss` returns.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators import units
    >>> units.flip_losses(lambda h: h[:, 0] * h[:, 1] + 3 * h[:, 1], np.array([[1.0, -1.0]]))
    array([[2., 8.]])
    """
    signs, _ = finite_floats("h", h)
    if signs.ndim != 2:
        raise InvalidValueError(f"`h` must have 2 dimensions (batch, units), got shape {signs.shape}")
    signs = states(signs, signs.shape, _STATES)
    here, _ = finite_floats("loss(h)", loss(signs.copy()), signs.shape[:1])
    rises = np.empty(signs.shape)
    for i in range(signs.shape[1]):
        flipped = signs.copy()
        flipped[:, i] = -flipped[:, i]
        there, _ = finite_floats("loss(h)", loss(flipped), signs.shape[:1])
        rises[:, i] = there - here
    return rises


def psa_gradients(
    x: ArrayLike,
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    loss: Loss,
    *,
    rng: np.random.Generator,
) -> tuple[LayerSample, ...]:
    """Sample a layered network of PSA units once, and estimate the gradients of all its layers.

    Parameters
    ----------
    x : array of float, (batch, n_0)
        Real inputs of the first layer; they are not flipped, so any finite values do.
    weights : sequence of arrays of float
        One (n_in, n_out) matrix per layer.
    biases : sequence of arrays of float
        One (n_out,) vector per layer.
    loss : callable
        Of the last layer's states, as in `flip_losses`; deterministic.
    rng : numpy.random.Generator
        Source of the noise: one (batch, n_out) array of uniform numbers per layer, in the order of the layers.

    Returns
    -------
    tuple of LayerSample
        One per layer, first layer first.

    Raises
    ------
    TypeError, InvalidValueError
        As in `PSA`; also if the layers do not fit one another.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators import units
    >>> weights = [np.array([[1.0, -1.0]]), np.array([[0.5], [0.5]])]
    >>> biases = [np.zeros(2), np.zeros(1)]
    >>> rng = np.random.default_rng(0)
    >>> first, last = units.psa_gradients(np.ones((1, 1)), weights, biases, lambda h: h[:, 0], rng=rng)
    >>> first.h, last.h
    (array([[ 1., -1.]]), array([[1.]]))
    >>> first.grad_a.round(4), last.grad_a.round(4)
    (array([[0.0909, 0.0909]]), array([[0.5]]))
    """
    if len(weights) != len(biases) or not weights:
        raise InvalidValueError(
            f"there must be one bias per weight, got {len(weights)} weights and {len(biases)} biases"
        )
    units = PSA()
    inputs, _ = finite_floats("x", x)
    if inputs.ndim != 2:
        raise InvalidValueError(f"`x` must have 2 dimensions (batch, inputs), got shape {inputs.shape}")
    matrices, sampled = [], []
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        matrix = _matrix(f"weights[{k}]", weight, n_in=inputs.shape[1])
        offset, _ = finite_floats(f"biases[{k}]", bias, matrix.shape[1:])
        a = np.empty((len(inputs), matrix.shape[1]))
        _kernels.affine(inputs, matrix, offset, a)
        h = units.sample(a, rng=rng)
        matrices.append(matrix)
        sampled.append((inputs, a, h))
        inputs = h
    layers = []
    rises = flip_losses(loss, inputs)
    for k in reversed(range(len(matrices))):
        below, a, h = sampled[k]
        layers.append(LayerSample(x=below, a=a, h=h, grad_a=units.backward(a, h, rises)))
        if k:
            rises = units.flips_of_inputs(matrices[k], below, a, h, rises)
    return tuple(reversed(layers))


def _matrix(name: str, weight: ArrayLike, *, n_in: int | None = None, n_out: int | None = None) -> Doubles:
    """Return a weight as float64 of shape (n_in, n_out), where None fits any size."""
    x, _ = finite_floats(name, weight)
    fits = x.ndim == 2 and n_in in (None, x.shape[0]) and n_out in (None, x.shape[1])
    if not fits:
        wanted = f"({'n_in' if n_in is None else n_in}, {'n_out' if n_out is None else n_out})"
        raise InvalidValueError(f"`{name}` must have shape {wanted}, got {x.shape}")
    return x
