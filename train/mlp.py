"""Training of the main job in plain numpy: a float network, then quantised networks that start from it."""

__all__ = ["Config", "Epoch", "Trained", "calibrate", "train_float", "train_layers", "train_quantized"]

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tetrit import checks, estimators
from tetrit.errors import InvalidValueError, ToolError
from tetrit.train.digits import Dataset
from tetrit.train.fitting import Epoch, Fitting, begun, fit, softmax, start_layer
from tetrit.train.network import Float, Network, one_thread


@dataclass(frozen=True, kw_only=True)
class Config(Fitting):
    """Shape of the network, and schedule of its training.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers; at least one.
    epochs, quantized_epochs, batch, rate, quantized_rate, smoothing, distill, decay, average
        See `tetrit.train.fitting.Fitting`.
    """

    hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        hidden = tuple(checks.integer("hidden", width) for width in self.hidden)
        if not hidden:
            raise InvalidValueError("`hidden` must have at least one width, got none")
        object.__setattr__(self, "hidden", hidden)
        super().__post_init__()


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
        start_layer(rng, n_in, n_out, relu=place < len(widths) - 2)
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
    with one_thread():
        network = Network(layers=[begun(layer, rule) for layer in start.network.layers])
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
        layers = [
            begun(layer, rule, output=output)
            for layer, rule, output in zip(found, weights, [*activations[1:], None], strict=True)
        ]
        network = Network(layers=layers, input=activations[0])
        label = f"{' '.join(dict.fromkeys(rule.name for rule in weights))}, seed {seed}"
        return _train(network, weights[0].name, data, start.network, config, seed, rng, label, progress)


def default_estimator(name: str) -> estimators.Estimator:
    """Return the estimator `name` as the main job uses it: one scale per output where it has an axis."""
    estimator = estimators.get(name)
    return estimators.get(name, axis=1) if hasattr(estimator, "axis") else estimator


@contextmanager
def _bar(total: int, label: str, shown: bool) -> Iterator[Callable[[int, Epoch], None] | None]:
    """Yield what moves a progress bar over `total` epochs on, or None."""
    if not shown:
        yield None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        raise ToolError("the progress bar needs tqdm: pip install 'tetrit[run]'") from None
    with tqdm(total=total, desc=label, unit="epoch", leave=True) as bar:

        def step(_: int, found: Epoch) -> None:
            bar.set_postfix(loss=f"{found.loss:.3f}", train=f"{found.train_accuracy:.2%}")
            bar.update()

        yield step


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
    """Run the loop that all trainings share."""
    scale = np.float32(data.in_scale)
    train_x, test_x = data.train_x * scale, data.test_x * scale

    def taught(picked: NDArray[np.int64]) -> Float:
        assert teacher is not None
        return softmax(teacher.forward(train_x[picked]))

    epochs = config.epochs if teacher is None else config.quantized_epochs
    with _bar(epochs, label, progress) as step:
        history = fit(
            network,
            data,
            train_x,
            test_x,
            config,
            label=label,
            seed=seed,
            rng=rng,
            taught=None if teacher is None else taught,
            step=step,
        )
    if teacher is not None:
        calibrate(network, train_x)
    network.tapes = []
    accuracy = network.accuracy(test_x, data.test_y)
    return Trained(network=network, estimator=name, seed=seed, accuracy=accuracy, history=history)


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
