"""Units of the states 0 and 1: the straight-through and the likelihood-ratio estimator, and the latter's baseline."""

__all__ = ["Reinforce", "STBernoulli", "leave_one_out_baseline"]

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators.units import _kernels
from tetrit.estimators.units._arrays import finite_floats, generator, pre_activations, rounded, states
from tetrit.estimators.units.base import Feedback, StochasticUnits

_STATES = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class _Bernoulli(StochasticUnits):
    """The forward rule that `STBernoulli` and `Reinforce` share."""

    def sample(self, a: ArrayLike, *, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw h = 1 with the probability sigmoid(a), else 0; (batch, n), one uniform number each."""
        x = pre_activations(a)
        h = np.empty(x.shape)
        _kernels.bernoulli(x, generator(rng).random(x.shape), 0.0, h)
        return h


@dataclass(frozen=True, kw_only=True)
class STBernoulli(_Bernoulli):
    """Bernoulli units with the straight-through estimator: the gradient passes as if h were a function of a.

    Forward: h = 1 with probability sigmoid(a), else 0. Backward: grad_a = grad_h, and with ``slope=True`` times
    sigmoid'(a) = sigmoid(a) sigmoid(-a). Feedback: ``gradient``.

    Bias, from the enumeration of all states. With p = sigmoid(a) and D_i = L(h_i = 1) - L(h_i = 0), the true derivative
    is p_i (1 - p_i) E[D_i]. The estimate with slope has the expectation p_i (1 - p_i) E[dL/dh_i], so it is unbiased
    where dL/dh_i = D_i: for a loss that is linear in every single h_i, products of different units included. For
    L = c h_i^2 its bias is c p_i (1 - p_i) (2 p_i - 1). Without slope a linear loss L = c h_i has the bias
    c (1 - p_i (1 - p_i)): the sign is right, and the size at least 4 times too large.

    Parameters
    ----------
    slope : bool, default False
        Whether to multiply by sigmoid'(a).

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64, `rng` no Generator, or `slope` no bool.
    InvalidValueError
        If an array has a NaN or an infinity (the message names its index) or another shape than `a`, or if `h` holds
        anything but 0 and 1.

    Notes
    -----
    Source: Bengio, Leonard, Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
    Computation", arXiv 1308.3432. The figures of the bias are our derivation.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators import units
    >>> layer = units.get("st_bernoulli", slope=True)
    >>> a = np.array([[-2.0, 0.0, 2.0]])
    >>> h = layer.sample(a, rng=np.random.default_rng(1))
    >>> h
    array([[0., 0., 1.]])
    >>> layer.backward(a, h, np.array([[1.0, 1.0, -1.0]])).round(4)
    array([[ 0.105,  0.25 , -0.105]])
    """

    name: ClassVar[str] = "st_bernoulli"
    feedback: ClassVar[Feedback] = "gradient"

    slope: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.slope, bool):
            raise TypeError(f"`slope` must be True or False, got {self.slope!r}")

    def backward(self, a: ArrayLike, h: ArrayLike, feedback: ArrayLike) -> NDArray[Any]:
        """Return a copy of the gradient with respect to `h`, times sigmoid'(a) if `slope`."""
        x = pre_activations(a)
        states(h, x.shape, _STATES)
        grad, dtype = finite_floats("feedback", feedback, x.shape)
        if not self.slope:
            return np.array(grad, dtype)
        out = np.empty(x.shape)
        _kernels.slopes(x, out)
        return rounded(grad * out, dtype)


@dataclass(frozen=True, kw_only=True)
class Reinforce(_Bernoulli):
    """Bernoulli units with the likelihood-ratio estimator: unbiased, and it needs no derivative of the loss.

    Forward: h = 1 with probability sigmoid(a), else 0. Backward: grad_a = (h - sigmoid(a)) (L - baseline).
    Feedback: ``loss``.

    h - sigmoid(a) is the derivative of the log-probability of h, and has the mean 0. So the estimate is unbiased for
    every baseline that does not depend on the unit's own state; it may depend on the other units and on the other
    samples. Its variance is a parabola in a constant baseline b, Var(b) = Var(b*) + p (1 - p) (b - b*)^2, with the
    minimum at b* = E[(h - p)^2 L] / E[(h - p)^2] = (1 - p) E[L | h = 1] + p E[L | h = 0], one per unit.
    `leave_one_out_baseline` estimates b* from a batch, `exact.minimum_variance_baseline` computes it.

    Raises
    ------
    TypeError, InvalidValueError
        As in `STBernoulli`; `feedback` has the shape (batch,).

    Notes
    -----
    Source: the estimator and b* are of Bengio, Leonard, Courville, arXiv 1308.3432 (a case of REINFORCE: R. J.
    Williams, Machine Learning 8, 1992). The parabola is our derivation.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators import units
    >>> layer = units.get("reinforce")
    >>> a = np.zeros((2, 2))
    >>> h = layer.sample(a, rng=np.random.default_rng(3))
    >>> h
    array([[1., 1.],
           [0., 0.]])
    >>> layer.backward(a, h, np.array([3.0, 1.0]), baseline=2.0)
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """

    name: ClassVar[str] = "reinforce"
    feedback: ClassVar[Feedback] = "loss"

    def backward(
        self, a: ArrayLike, h: ArrayLike, feedback: ArrayLike, *, baseline: float | ArrayLike = 0.0
    ) -> NDArray[Any]:
        """Return (h - sigmoid(a)) (L - baseline).

        Parameters
        ----------
        a, h : array of float, (batch, n)
            Pre-activations and the states sampled from them.
        feedback : array of float, (batch,)
            The loss L of every sample.
        baseline : float or array of float, default 0.0
            In units of the loss, broadcast to (batch, n). An entry must not depend on the state it belongs to.

        Returns
        -------
        ndarray
            (batch, n), in the dtype of `feedback`.
        """
        x = pre_activations(a)
        states_ = states(h, x.shape, _STATES)
        loss, dtype = finite_floats("feedback", feedback, x.shape[:1])
        number = np.ndim(baseline) == 0
        level, _ = finite_floats("baseline", np.float64(checks.real("baseline", baseline)) if number else baseline)
        try:
            level = np.broadcast_to(level, x.shape)
        except ValueError:
            raise InvalidValueError(f"`baseline` must broadcast to shape {x.shape}, got {level.shape}") from None
        score = np.empty(x.shape)
        _kernels.scores(x, states_, score)
        with np.errstate(over="ignore"):
            return rounded(score * (loss[:, None] - level), dtype)


def leave_one_out_baseline(a: ArrayLike, h: ArrayLike, loss: ArrayLike) -> NDArray[np.float64]:
    """Estimate the minimum-variance baseline of every unit from the other samples of the batch.

    For sample s and unit i it is the sum over t != s of (h_ti - sigmoid(a_ti))^2 L_t, divided by the same sum without
    L_t; 0 where that is 0, as in a batch of one. It does not contain the sample's own state, so `Reinforce` stays
    unbiased with it, provided that the loss of a sample depends on no other sample. It tends to b* for a batch that
    repeats one `a`; over a batch of different `a` it tends to the best constant baseline for that batch.

    Parameters
    ----------
    a, h : array of float, (batch, n)
        Pre-activations and the states sampled from them.
    loss : array of float, (batch,)
        The loss of every sample.

    Returns
    -------
    ndarray of float64, (batch, n)
        In units of the loss. Every sum is one over the samples before plus one over the samples after, each added from
        its end of the batch: nothing is subtracted.

    Raises
    ------
    TypeError, InvalidValueError
        As in `Reinforce`.

    Notes
    -----
    Source: the weights are those of the minimum-variance baseline of Bengio, Leonard, Courville, arXiv 1308.3432;
    leaving the own sample out is **our reconstruction** of how to estimate it without bias.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators import units
    >>> a = np.zeros((3, 1))
    >>> h = np.array([[1.0], [0.0], [1.0]])
    >>> units.leave_one_out_baseline(a, h, np.array([1.0, 2.0, 6.0]))
    array([[4. ],
           [3.5],
           [1.5]])
    """
    x = pre_activations(a)
    states_ = states(h, x.shape, _STATES)
    level, _ = finite_floats("loss", loss, x.shape[:1])
    weight = np.empty(x.shape)
    _kernels.scores(x, states_, weight)
    weight *= weight
    below = _others(weight)
    above = _others(weight * level[:, None])
    return np.divide(above, below, out=np.zeros(x.shape), where=below > 0)


def _others(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over all rows but the own one."""
    before = np.zeros(x.shape)
    after = np.zeros(x.shape)
    if len(x):
        np.add.accumulate(x[:-1], axis=0, out=before[1:])
        np.add.accumulate(x[:0:-1], axis=0, out=after[-2::-1])
    return before + after
