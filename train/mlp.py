"""Training of the main job in plain numpy: a float network, then quantised networks that start from it."""

__all__ = ["Config", "Epoch", "Trained", "calibrate", "train_float", "train_layers", "train_quantized"]

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from tetrit import checks, estimators
from tetrit.errors import InvalidValueError, ToolError
from tetrit.train.adam import Adam
from tetrit.train.digits import Dataset
from tetrit.train.network import Float, Layer, Network, cross_entropy, one_thread


@dataclass(frozen=True, kw_only=True)
class Config:
    """Shape of the network and schedule of its training.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers; at least one.
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

    hidden: tuple[int, ...] = (64, 64)
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
        hidden = tuple(checks.integer("hidden", width) for width in self.hidden)
        if not hidden:
            raise InvalidValueError("`hidden` must have at least one width, got none")
        object.__setattr__(self, "hidden", hidden)
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A trained network.

    Attributes
    ----------
    network : Network
        With the averaged parameters.
    estimator : str or None
        Name of the weight estimator, None for float.
    seed : int
    accuracy : float
        On the held-out images, with fake-quantised weights and activations where the network is quantised.
    history : tuple of Epoch
    """

    network: Network
    estimator: str | None
    seed: int
    accuracy: float
    history: tuple[Epoch, ...]


def train_float(data: Dataset, *, seed: int, config: Config | None = None, progress: bool = False) -> Trained:
    """Train the float network from a random start.

    The same seed gives bit-identical parameters on the same machine whatever the number of threads, since the matrix
    products run on one thread; another CPU type may have another BLAS kernel and then differ in the last bits.

    Parameters
    ----------
    data : Dataset
    seed : int
        Of the start and of the order of the batches.
    config : Config, optional
    progress : bool, default False
        Whether to draw a progress bar on standard error; an interruption (Ctrl-C) closes it and passes through.

    Returns
    -------
    Trained
    """
    config = config or Config()
    rng = np.random.default_rng([checks.integer("seed", seed, minimum=0), 0])
    widths = (data.train_x.shape[1], *config.hidden, data.classes)
    layers = [
        Layer(
            latent=rng.normal(0.0, np.sqrt(2.0 / n_in), (n_in, n_out)).astype(np.float32),
            bias=np.zeros(n_out, np.float32),
            relu=place < len(widths) - 2,
        )
        for place, (n_in, n_out) in enumerate(pairwise(widths))
    ]
    label = f"float, seed {seed}"
    with one_thread():
        return _train(Network(layers=layers), None, data, None, config, seed, rng, label, progress)


def train_quantized(
    data: Dataset,
    start: Trained,
    estimator: str | estimators.Estimator,
    *,
    seed: int,
    config: Config | None = None,
    progress: bool = False,
) -> Trained:
    """Train a network with quantised weights and int8 activations, starting from a float network.

    Weights go through the golden estimator, forward and backward, with one scale per output (``axis=1``) where the
    estimator has an axis and is given by name. Activations go through ``ste_clipped`` in int8 with a running range
    during training, and with a range calibrated once on the training images at the end.

    Parameters
    ----------
    data : Dataset
    start : Trained
        A float network; also the teacher of the distillation.
    estimator : str or Estimator
        Of the weights of every layer.
    seed, config, progress
        As in `train_float`.

    Returns
    -------
    Trained

    Raises
    ------
    InvalidValueError
        If `start` is not a float network, or `seed` is negative.
    UnknownNameError
        If there is no such estimator.

    Examples
    --------
    >>> from tetrit.train import digits, integers, mlp
    >>> data = digits.load()
    >>> config = mlp.Config(hidden=(32,), epochs=5, quantized_epochs=5)
    >>> start = mlp.train_float(data, seed=0, config=config)
    >>> trained = mlp.train_quantized(data, start, "szt", seed=0, config=config)
    >>> [layer.weight.shape for layer in integers.export(trained, data)]
    [(64, 32), (32, 10)]
    """
    config = config or Config()
    if start.estimator is not None:
        raise InvalidValueError(f"`start` must be a float network, got one trained with '{start.estimator}'")
    rule = default_estimator(estimator) if isinstance(estimator, str) else estimator
    rng = np.random.default_rng([checks.integer("seed", seed, minimum=0), 1])
    layers = []
    with one_thread():
        for layer in start.network.layers:
            begun, latent = rule.start(layer.latent)
            layers.append(replace(layer, latent=latent, bias=layer.bias.copy(), estimator=begun))
        network = Network(layers=layers)
        label = f"{rule.name}, seed {seed}"
        return _train(network, rule.name, data, start.network, config, seed, rng, label, progress)


def train_layers(
    data: Dataset,
    start: Trained,
    weights: Sequence[estimators.Estimator],
    activations: Sequence[estimators.Estimator],
    *,
    seed: int,
    config: Config | None = None,
    progress: bool = False,
) -> Trained:
    """Train a network whose layers have estimators of their own, starting from a float network.

    Parameters
    ----------
    data : Dataset
    start : Trained
        A float network; also the teacher of the distillation.
    weights, activations : sequence of Estimator
        One of each for every layer: of its weights, and of its input. The output of the last layer stays in float32.
    seed, config, progress
        As in `train_float`.

    Returns
    -------
    Trained
        Its weight estimators are those that `Estimator.start` gave.

    Raises
    ------
    InvalidValueError
        If `start` is not a float network, or there are not as many estimators as layers.

    Examples
    --------
    >>> from tetrit import estimators
    >>> from tetrit.train import digits, mlp
    >>> data = digits.load()
    >>> config = mlp.Config(hidden=(16,), epochs=5, quantized_epochs=5)
    >>> start = mlp.train_float(data, seed=0, config=config)
    >>> weights = [estimators.get("ste_format", format=name, axis=1) for name in ("posit8_0", "fp4_e2m1")]
    >>> inputs = [estimators.get("ste_format", format="posit8_0", scale=scale) for scale in (1.0, 1.0)]
    >>> trained = mlp.train_layers(data, start, weights, inputs, seed=0, config=config)
    >>> [layer.estimator.format for layer in trained.network.layers]
    ['posit8_0', 'fp4_e2m1']
    """
    config = config or Config()
    if start.estimator is not None:
        raise InvalidValueError(f"`start` must be a float network, got one trained with '{start.estimator}'")
    found = start.network.layers
    if not len(weights) == len(activations) == len(found):
        raise InvalidValueError(
            f"`weights` and `activations` must have an estimator for each of {len(found)} layers, "
            f"got {len(weights)} and {len(activations)}"
        )
    rng = np.random.default_rng([checks.integer("seed", seed, minimum=0), 1])
    with one_thread():
        layers = []
        for layer, rule, output in zip(found, weights, [*activations[1:], None], strict=True):
            begun, latent = rule.start(layer.latent)
            layers.append(replace(layer, latent=latent, bias=layer.bias.copy(), estimator=begun, output=output))
        network = Network(layers=layers, input=activations[0])
        label = f"{' '.join(dict.fromkeys(rule.name for rule in weights))}, seed {seed}"
        return _train(network, weights[0].name, data, start.network, config, seed, rng, label, progress)


def default_estimator(name: str) -> estimators.Estimator:
    """Return the estimator `name` as the main job uses it: one scale per output where it has an axis."""
    estimator = estimators.get(name)
    return estimators.get(name, axis=1) if hasattr(estimator, "axis") else estimator


@contextmanager
def _bar(total: int, label: str, shown: bool) -> Iterator[Any]:
    """Yield a progress bar over `total` epochs, or None."""
    if not shown:
        yield None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        raise ToolError("the progress bar needs tqdm: pip install 'tetrit[run]'") from None
    with tqdm(total=total, desc=label, unit="epoch", leave=True) as bar:
        yield bar


def _train(
    network: Network,
    name: str | None,
    data: Dataset,
    teacher: Network | None,
    config: Config,
    seed: int,
    rng: np.random.Generator,
    label: str,
    progress: bool,
) -> Trained:
    """Run the loop that both trainings share."""
    scale = np.float32(data.in_scale)
    train_x = data.train_x * scale
    test_x = data.test_x * scale
    n = len(train_x)
    hard = np.eye(data.classes, dtype=np.float32)[data.train_y] * np.float32(1 - config.smoothing)
    hard += np.float32(config.smoothing / data.classes)
    epochs = config.epochs if teacher is None else config.quantized_epochs
    peak = config.rate if teacher is None else config.quantized_rate
    per_epoch = -(-n // config.batch)
    total = epochs * per_epoch
    rules = [layer.estimator for layer in network.layers]
    draws = np.random.default_rng([seed, 2])
    optimiser = Adam(network, decay=config.decay, average=config.average)
    history = []
    with _bar(epochs, label, progress) as bar, np.errstate(over="ignore", invalid="ignore"):
        for epoch in range(epochs):
            order = rng.permutation(n)
            loss_sum = 0.0
            for k in range(per_epoch):
                done = (epoch * per_epoch + k) / total
                picked = order[k * config.batch : (k + 1) * config.batch]
                x = train_x[picked]
                target = hard[picked]
                if teacher is not None:
                    soft = _softmax(teacher.forward(x))
                    target = np.float32(1 - config.distill) * target + np.float32(config.distill) * soft
                    for layer, rule in zip(network.layers, rules, strict=True):
                        layer.estimator = None if rule is None else rule.at(done)
                logits = network.forward(x, record=True, rng=draws)
                loss, grad = cross_entropy(logits, target)
                if not np.isfinite(loss):
                    raise InvalidValueError(f"training diverged ({label}, epoch {epoch + 1}); lower the rate")
                loss_sum += loss * len(picked)
                if teacher is not None:
                    _track_limits(network)
                optimiser.step(network.backward(grad), peak * min(1.0, done * 20) * 0.5 * (1 + np.cos(np.pi * done)))
                for layer in network.layers:
                    if layer.estimator is not None:
                        layer.latent[...] = layer.estimator.after_step(layer.latent)
            history.append(
                Epoch(
                    loss=loss_sum / n,
                    train_accuracy=network.accuracy(train_x, data.train_y),
                    test_accuracy=network.accuracy(test_x, data.test_y),
                )
            )
            if bar is not None:
                bar.set_postfix(loss=f"{history[-1].loss:.3f}", train=f"{history[-1].train_accuracy:.2%}")
                bar.update()
    optimiser.flat[:] = optimiser.mean
    for layer, rule in zip(network.layers, rules, strict=True):
        layer.estimator = rule
    if teacher is not None:
        calibrate(network, train_x)
    network.tapes = []
    return Trained(
        network=network,
        estimator=name,
        seed=seed,
        accuracy=network.accuracy(test_x, data.test_y),
        history=tuple(history),
    )


def _softmax(logits: Float) -> Float:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Float = e / e.sum(axis=1, keepdims=True)
    return result


def _track_limits(network: Network) -> None:
    """Let the activation ranges follow the batches: a running average of the largest output."""
    for layer, tape in zip(network.layers, network.tapes, strict=True):
        if layer.relu and layer.output is None:
            largest = max(float(tape.before.max()), 1e-6)
            layer.limit = largest if layer.limit is None else 0.99 * layer.limit + 0.01 * largest


def calibrate(network: Network, x: Float) -> None:
    """Fix every activation range at the largest output over the inputs `x`, layer by layer in the quantised network."""
    if network.input is not None:
        x = network.input.forward(x).astype(np.float32)
    for layer in network.layers:
        y = x @ layer.weight() + layer.bias
        if layer.relu:
            y = np.maximum(y, np.float32(0))
            layer.limit = max(float(y.max()), 1e-6) if layer.output is None else None
        act = layer.activation()
        x = y if act is None else act.forward(y).astype(np.float32)
