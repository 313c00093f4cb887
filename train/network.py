"""The plain-numpy network of the main job: a multilayer perceptron with weight estimators and int8 activations."""

__all__ = ["Layer", "Network", "cross_entropy", "followed", "one_thread"]

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit import estimators
from tetrit.errors import ToolError

Float = NDArray[np.float32]


@dataclass(kw_only=True)
class Layer:
    """A fully connected layer: latent weights, the estimator that quantises them (None: float), and a bias.

    Attributes
    ----------
    latent : ndarray of float32
        Shape (n_in, n_out), or (references, n_in, n_out) for an estimator with nested references.
    bias : ndarray of float32, shape (n_out,)
    estimator : Estimator or None
    relu : bool
        Whether the layer ends in a ReLU.
    limit : float or None
        Largest real value of the int8 output after the ReLU; None leaves the output in float32.
    output : Estimator or None
        Of the output, in place of int8 within `limit`.
    """

    latent: Float
    bias: Float
    estimator: estimators.Estimator | None = None
    relu: bool = False
    limit: float | None = None
    output: estimators.Estimator | None = None

    def weight(self, *, training: bool = False, rng: np.random.Generator | None = None) -> Float:
        """Return the weights of the forward pass: those that the codes stand for or, in training, the estimator's.

        `rng` is for an estimator that draws at random in training.
        """
        if self.estimator is None:
            return self.latent
        if not training:
            return self.estimator(self.latent).values.astype(np.float32)
        drawing: dict[str, Any] = {"rng": rng} if self.estimator.draws else {}
        return self.estimator.forward(self.latent, **drawing).astype(np.float32)

    def activation(self) -> estimators.Estimator | None:
        """Return the estimator of the output, or None where the output stays in float32."""
        if self.output is not None:
            return self.output
        return None if self.limit is None else estimators.ClippedSTE(format="int8", limit=self.limit)


@dataclass(kw_only=True)
class Tape:
    """What the backward pass needs of one layer's forward pass."""

    x: Float
    weight: Float
    before: Float


@dataclass(kw_only=True)
class Network:
    """Fully connected layers with ReLU between them, forward and backward; `input` is the estimator of the input."""

    layers: list[Layer]
    input: estimators.Estimator | None = None
    tapes: list[Tape] = field(default_factory=list, repr=False)

    def forward(self, x: Float, *, record: bool = False, rng: np.random.Generator | None = None) -> Float:
        """Return the logits, shape (batch, classes), of real inputs, shape (batch, n_in).

        With `record`, the weights are those of training, for which estimators may draw from `rng`, and the tape for
        `backward` is kept.
        """
        self.tapes = []
        if self.input is not None:
            x = self.input.forward(x).astype(np.float32)
        for layer in self.layers:
            weight = layer.weight(training=record, rng=rng)
            y = x @ weight + layer.bias
            if record:
                self.tapes.append(Tape(x=x, weight=weight, before=y))
            if layer.relu:
                y = np.maximum(y, np.float32(0))
            act = layer.activation()
            x = y if act is None else act.forward(y).astype(np.float32)
        return x

    def backward(self, grad: Float) -> list[tuple[NDArray[Any], Float]]:
        """Return (gradient of the latent weights, gradient of the bias) of every layer, for a recorded forward pass."""
        gradients: list[tuple[NDArray[Any], Float]] = []
        for layer, tape in zip(reversed(self.layers), reversed(self.tapes), strict=True):
            act = layer.activation()
            if act is not None:
                grad = act.backward(np.maximum(tape.before, np.float32(0)) if layer.relu else tape.before, grad)
            if layer.relu:
                grad = grad * (tape.before > 0)
            outer = tape.x.T @ grad
            latent = outer if layer.estimator is None else layer.estimator.backward(layer.latent, outer)
            gradients.append((latent, grad.sum(axis=0)))
            if layer is not self.layers[0]:
                grad = grad @ tape.weight.T
        return gradients[::-1]

    def track(self) -> None:
        """Let the ranges of activations follow the recorded batch: a running average of the largest output."""
        for layer, tape in zip(self.layers, self.tapes, strict=True):
            if layer.relu and layer.output is None:
                layer.limit = followed(layer.limit, float(tape.before.max()))

    def accuracy(self, x: Float, y: NDArray[np.int64]) -> float:
        """Return the share of inputs whose largest logit is at the right class."""
        return float((self.forward(x).argmax(axis=1) == y).mean())


def followed(limit: float | None, largest: float) -> float:
    """Return the running average of ranges after one more, which is at least a millionth."""
    largest = max(largest, 1e-6)
    return largest if limit is None else 0.99 * limit + 0.01 * largest


def cross_entropy(logits: Float, target: Float) -> tuple[float, Float]:
    """Return the mean cross entropy against target probabilities, and its gradient with respect to the logits."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-(target * log_p).sum(axis=1).mean()), (np.exp(log_p) - target) / np.float32(len(logits))


@contextmanager
def one_thread() -> Iterator[None]:
    """Run BLAS on one thread: the matrices are too small to share, and the order of sums must not vary."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise ToolError("training needs threadpoolctl: pip install 'tetrit[run]'") from None
    with threadpool_limits(1, user_api="blas"):
        yield
