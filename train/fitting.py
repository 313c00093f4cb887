"""The authority for the loop of the plain-numpy trainers: targets, rates, running averages, and the history."""

__all__ = ["Epoch", "Fitting", "begun", "fit", "softmax", "start_layer"]

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit import checks, estimators
from tetrit.errors import InvalidValueError
from tetrit.train.adam import Adam
from tetrit.train.digits import Dataset
from tetrit.train.network import Float, Layer, Network, cross_entropy


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """Schedule of a training.

    Parameters
    ----------
    epochs, quantized_epochs : int
        Passes over the training images for the float network, and for each quantised network that starts from it.
    batch : int
        Images per step.
    rate, quantized_rate : float
        Peak learning rates of Adam; both fall to zero along a half cosine after a short linear rise.
    smoothing : float
        Label smoothing: share of the target that is spread over all classes.
    distill : float
        Share of the target that a quantised network takes from the float network's probabilities.
    decay : float
        Decoupled weight decay per unit of learning rate, on weights only.
    average : float
        Decay per step of the running average of the parameters, which is what is kept; 0 keeps the last ones.
    """

    epochs: int = 120
    quantized_epochs: int = 80
    batch: int = 64
    rate: float = 3e-3
    quantized_rate: float = 3e-3
    smoothing: float = 0.1
    distill: float = 0.5
    decay: float = 1e-2
    average: float = 0.99

    def __post_init__(self) -> None:
        for name in ("epochs", "quantized_epochs", "batch"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name)))
        for name in ("rate", "quantized_rate"):
            object.__setattr__(self, name, checks.real(name, getattr(self, name), minimum=0.0, exclusive=True))
        object.__setattr__(self, "decay", checks.real("decay", self.decay, minimum=0.0))
        for name in ("smoothing", "distill", "average"):
            share = checks.real(name, getattr(self, name), minimum=0.0)
            if share > 1 or (share == 1 and name != "distill"):
                wanted = "from 0 to 1" if name == "distill" else "at least 0 and below 1"
                raise InvalidValueError(f"`{name}` must be {wanted}, got {share:g}")
            object.__setattr__(self, name, share)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of the training history: mean loss over the steps, and accuracies at the end of the epoch."""

    loss: float
    train_accuracy: float
    test_accuracy: float


def start_layer(rng: np.random.Generator, n_in: int, n_out: int, *, relu: bool = False) -> Layer:
    """Return a layer with normal weights of variance ``2 / n_in`` (He et al., arXiv 1502.01852) and biases of 0."""
    latent = rng.normal(0.0, np.sqrt(2.0 / n_in), (n_in, n_out)).astype(np.float32)
    return Layer(latent=latent, bias=np.zeros(n_out, np.float32), relu=relu)


def begun(layer: Layer, rule: estimators.Estimator, **changes: Any) -> Layer:
    """Return a copy of a float layer, with more changes, that is trained through a weight estimator from now on."""
    estimator, latent = rule.start(layer.latent)
    return replace(layer, latent=latent, bias=layer.bias.copy(), estimator=estimator, **changes)


def softmax(logits: Float) -> Float:
    """Return the probabilities of logits, shape (batch, classes)."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Float = e / e.sum(axis=1, keepdims=True)
    return result


def fit(
    network: Network,
    data: Dataset,
    train_x: Float,
    test_x: Float,
    config: Fitting,
    *,
    label: str,
    seed: int,
    rng: np.random.Generator,
    taught: Callable[[NDArray[np.int64]], Float] | None,
    step: Callable[[int, Epoch], None] | None,
) -> tuple[Epoch, ...]:
    """Train a network in place; at the end it has the averaged parameters.

    Parameters
    ----------
    network : Network
        Quantised if there is a teacher: then its ranges follow the batches.
    data : Dataset
        Of which the labels are taken.
    train_x, test_x : ndarray of float32
        Real inputs.
    config : Fitting
    label : str
        Names the training in an error.
    seed, rng
        Of the draws of stochastic estimators, and of the order of the batches.
    taught : callable, optional
        The teacher's probabilities for some training images, by number.
    step : callable, optional
        Told of each epoch, from 1, with its figures.

    Returns
    -------
    tuple of Epoch

    Raises
    ------
    InvalidValueError
        If the loss is not finite any more.
    """
    n = len(train_x)
    hard = np.eye(data.classes, dtype=np.float32)[data.train_y] * np.float32(1 - config.smoothing)
    hard += np.float32(config.smoothing / data.classes)
    epochs, peak = (config.epochs, config.rate) if taught is None else (config.quantized_epochs, config.quantized_rate)
    per_epoch = -(-n // config.batch)
    rules, draws = [layer.estimator for layer in network.layers], np.random.default_rng([seed, 2])
    optimiser = Adam(network, decay=config.decay, average=config.average)
    history = []
    with np.errstate(over="ignore", invalid="ignore"):
        for epoch in range(epochs):
            order, loss_sum = rng.permutation(n), 0.0
            for number in range(per_epoch):
                done = (epoch * per_epoch + number) / (epochs * per_epoch)
                picked = order[number * config.batch : (number + 1) * config.batch]
                target = hard[picked]
                if taught is not None:
                    target = np.float32(1 - config.distill) * target + np.float32(config.distill) * taught(picked)
                    for layer, rule in zip(network.layers, rules, strict=True):
                        layer.estimator = None if rule is None else rule.at(done)
                logits = network.forward(train_x[picked], record=True, rng=draws)
                loss, grad = cross_entropy(logits, target)
                if not np.isfinite(loss):
                    raise InvalidValueError(f"training diverged ({label}, epoch {epoch + 1}); lower the rate")
                loss_sum += loss * len(picked)
                if taught is not None:
                    network.track()
                optimiser.step(network.backward(grad), peak * min(1.0, done * 20) * 0.5 * (1 + np.cos(np.pi * done)))
                for layer in network.layers:
                    if layer.estimator is not None:
                        layer.latent[...] = layer.estimator.after_step(layer.latent)
            found = Epoch(
                loss=loss_sum / n,
                train_accuracy=network.accuracy(train_x, data.train_y),
                test_accuracy=network.accuracy(test_x, data.test_y),
            )
            history.append(found)
            if step is not None:
                step(epoch + 1, found)
    optimiser.flat[:] = optimiser.mean
    for layer, rule in zip(network.layers, rules, strict=True):
        layer.estimator = rule
    return tuple(history)
