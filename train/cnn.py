"""A small convolutional network in plain numpy: trained in float, then with quantised weights and int8 activations."""

__all__ = ["Block", "Config", "ConvNetwork", "Stage", "TrainedConv", "train_float", "train_quantized"]

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from tetrit import checks, estimators
from tetrit.errors import InvalidValueError
from tetrit.train.conv_network import Block, ConvNetwork, Stage
from tetrit.train.digits import Dataset
from tetrit.train.fitting import Epoch, Fitting, begun, fit, softmax, start_layer
from tetrit.train.mlp import default_estimator
from tetrit.train.network import Float, one_thread


@dataclass(frozen=True, kw_only=True)
class Config(Fitting):
    """Shape of the network, and schedule of its training.

    Parameters
    ----------
    blocks : tuple of Block
        At least one; a fully connected layer follows the last one.
    epochs, quantized_epochs, batch, rate, quantized_rate, smoothing, distill, decay, average
        See `tetrit.train.fitting.Fitting`.
    """

    blocks: tuple[Block, ...] = (
        Block(channels=16),
        Block(channels=16, residual=True),
        Block(channels=16, stride=2, pool=2),
    )
    epochs: int = 20
    quantized_epochs: int = 30

    def __post_init__(self) -> None:
        blocks = tuple(self.blocks)
        for block in blocks:
            if not isinstance(block, Block):
                raise TypeError(f"`blocks` must be of class Block, got {block!r}")
        if not blocks:
            raise InvalidValueError("`blocks` must have at least one block, got none")
        object.__setattr__(self, "blocks", blocks)
        super().__post_init__()

    def shapes(self, shape: tuple[int, int, int]) -> list[tuple[int, int, int]]:
        """Return height, width and channels of the input and of every block's output.

        Raises
        ------
        InvalidValueError
            A residual block that changes the channels, or a pool that is larger than its map.
        """
        found = [shape]
        for place, block in enumerate(self.blocks, 1):
            height, width, channels = found[-1]
            if block.residual and block.channels != channels:
                raise InvalidValueError(
                    f"`channels` of residual block {place} must be the {channels} of its input, got {block.channels}"
                )
            height, width = (-(-side // block.stride) // block.pool for side in (height, width))
            if not height or not width:
                raise InvalidValueError(f"`pool` of block {place} must fit its map, got {block.pool}")
            found.append((height, width, block.channels))
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedConv:
    """A trained network.

    Attributes
    ----------
    network : ConvNetwork
        With the averaged parameters.
    shape : (int, int, int)
        Height, width and channels of an image.
    estimator : str or None
        Name of the weight estimator, None for float.
    accuracy : float
        On the held-out images, with fake-quantised weights and activations where the network is quantised.
    history : tuple of Epoch
    """

    network: ConvNetwork
    shape: tuple[int, int, int]
    estimator: str | None
    accuracy: float
    history: tuple[Epoch, ...]


def train_float(
    data: Dataset, *, seed: int, config: Config | None = None, step: Callable[[str, int, Epoch], None] | None = None
) -> TrainedConv:
    """Train the float network from a random start.

    The same seed gives bit-identical parameters on the same machine, as with `tetrit.train.mlp.train_float`.

    Parameters
    ----------
    data : Dataset
        Its images are square, with one channel.
    seed : int
        Of the start and of the order of the batches.
    config : Config, optional
    step : callable, optional
        Told of the network's name, the epoch, from 1, and its figures, after each one.

    Returns
    -------
    TrainedConv
    """
    config = config or Config()
    rng = np.random.default_rng([checks.integer("seed", seed, minimum=0), 0])
    side = round(data.train_x.shape[1] ** 0.5)
    shapes = config.shapes((side, side, 1))
    stages = []
    for block, shape in zip(config.blocks, shapes, strict=False):
        stages.append(Stage(block=block, layer=start_layer(rng, block.kernel**2 * shape[2], block.channels)))
    last = start_layer(rng, int(np.prod(shapes[-1])), data.classes)
    network = ConvNetwork(layers=[*(stage.layer for stage in stages), last], stages=stages)
    with one_thread():
        return _train(network, None, data, None, config, seed, rng, shapes[0], step)


def train_quantized(
    data: Dataset,
    start: TrainedConv,
    estimator: str | estimators.Estimator,
    *,
    seed: int,
    config: Config | None = None,
    step: Callable[[str, int, Epoch], None] | None = None,
) -> TrainedConv:
    """Train a network with quantised weights and int8 activations, starting from a float network and taught by it.

    Weights go through the golden estimator, forward and backward, with one scale per output channel where it has an
    axis and is given by name. Activations go through ``ste_clipped`` in int8 with the running range of the training.

    Parameters
    ----------
    data : Dataset
    start : TrainedConv
        A float network; also the teacher of the distillation.
    estimator : str or Estimator
        Of the weights of every layer.
    seed, config, step
        As in `train_float`.

    Raises
    ------
    InvalidValueError
        If `start` is not a float network.

    Examples
    --------
    >>> from tetrit.train import cnn, digits
    >>> data = digits.load()
    >>> config = cnn.Config(blocks=(cnn.Block(channels=4, stride=2, pool=2),), epochs=2, quantized_epochs=2)
    >>> start = cnn.train_float(data, seed=0, config=config)
    >>> trained = cnn.train_quantized(data, start, "szt", seed=0, config=config)
    >>> [layer.weight().shape for layer in trained.network.layers]
    [(9, 4), (16, 10)]
    """
    config = config or Config()
    if start.estimator is not None:
        raise InvalidValueError(f"`start` must be a float network, got one trained with '{start.estimator}'")
    rule = default_estimator(estimator) if isinstance(estimator, str) else estimator
    rng = np.random.default_rng([checks.integer("seed", seed, minimum=0), 1])
    with one_thread():
        layers = [begun(layer, rule) for layer in start.network.layers]
        stages = [
            Stage(block=stage.block, layer=layer) for stage, layer in zip(start.network.stages, layers, strict=False)
        ]
        network = ConvNetwork(layers=layers, stages=stages)
        return _train(network, rule.name, data, start.network, config, seed, rng, start.shape, step)


def _train(
    network: ConvNetwork,
    name: str | None,
    data: Dataset,
    teacher: ConvNetwork | None,
    config: Config,
    seed: int,
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    step: Callable[[str, int, Epoch], None] | None,
) -> TrainedConv:
    """Run the loop that all trainings share."""
    scale = np.float32(data.in_scale)
    train_x, test_x = ((images * scale).reshape(-1, *shape) for images in (data.train_x, data.test_x))
    soft: Float | None = None
    if teacher is not None:  # which does not change: asked once
        soft = softmax(np.concatenate([teacher.forward(part) for part in np.array_split(train_x, 16)]))
    history = fit(
        network,
        data,
        train_x,
        test_x,
        config,
        label=f"{name or 'float'}, seed {seed}",
        seed=seed,
        rng=rng,
        taught=None if soft is None else soft.__getitem__,
        step=None if step is None else partial(step, name or "float"),
    )
    network.kept = []
    accuracy = network.accuracy(test_x, data.test_y)
    return TrainedConv(network=network, shape=shape, estimator=name, accuracy=accuracy, history=history)
