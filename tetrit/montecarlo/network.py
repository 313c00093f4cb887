"""The network of an analysis in one file: layers, images, exact results; trained once, read by every process."""

__all__ = ["Network", "load", "prepare", "to_bytes"]

import functools
import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.files import write_atomic
from tetrit.montecarlo.config import MonteCarloConfig
from tetrit.sim import QuantizedLinear
from tetrit.sim.crossbar.fault_maps import LayerShape
from tetrit.sim.execute import check_memory
from tetrit.train import mlp
from tetrit.train.digits import Dataset
from tetrit.train.integers import export, integer_logits, layer_shapes
from tetrit.train.recipe import noise_aware_trainer

Ints = npt.NDArray[np.int64]

_SCHEMA = "tetrit-montecarlo-network/1"
_ARRAYS = ("weight", "weight_scale", "bias")


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """What every chip is given.

    Attributes
    ----------
    layers : tuple of QuantizedLinear
    calibration, images : ndarray of int64, shape (n, n_in)
        Training images for the converters' ranges, and the held-out ones, as integers of the first layer's format.
    labels : ndarray of int64, shape (n,)
        Classes of the held-out images.
    exact : ndarray of int64, shape (n, n_out)
        Results in exact integer arithmetic, see `tetrit.train.integers.integer_logits`.
    accuracy : dict
        ``float``, ``quantized`` and ``noise_aware`` of the training, None where there was none; ``exact`` of `exact`.
    made_from : dict
        What it was made from.
    """

    layers: tuple[QuantizedLinear, ...]
    calibration: Ints
    images: Ints
    labels: Ints
    exact: Ints
    accuracy: dict[str, float | None]
    made_from: dict[str, Any]

    @functools.cached_property
    def sha256(self) -> str:
        """Fingerprint of all that results depend on."""
        digest = hashlib.sha256()
        for name, array in sorted(_arrays(self).items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(json.dumps([_plain(layer) for layer in self.layers], sort_keys=True).encode())
        return digest.hexdigest()


def prepare(config: MonteCarloConfig, path: Path, *, jobs: int = 1, progress: bool = False) -> Network:
    """Return the network of a configuration, read from `path`, or trained and written there.

    Parameters
    ----------
    config : MonteCarloConfig
    path : Path
    jobs : int, default 1
        How many chips will be simulated at the same time.
    progress : bool, default False

    Raises
    ------
    InvalidValueError
        If what is there is another configuration's, the network does not fit the images, or so many chips do not fit
        into memory; nothing has been trained then.
    ToolError
        If what the data needs is not installed.
    """
    wanted = config.network_table()
    if path.exists():
        found = load(path)
        if found.made_from != wanted:
            raise InvalidValueError(f"'{path}' is the network of another configuration: choose another folder")
        _check_chips(config, _shapes(found.layers), jobs)
        return found
    data = config.split.load()
    if config.calibration_images > len(data.train_x):
        raise InvalidValueError(
            f"{config.path}: [crossbar]: `calibration_images` must be at most the {len(data.train_x)} for training, "
            f"got {config.calibration_images}"
        )
    accuracy: dict[str, float | None] = dict.fromkeys(("float", "quantized", "noise_aware"))
    if config.training is None or config.estimator is None:
        layers = _stored(config, data)
        _check_chips(config, _shapes(layers), jobs)
    else:
        widths = data.train_x.shape[1], *config.training.hidden, data.classes
        _check_chips(config, layer_shapes(widths), jobs)
        if config.noise_aware is not None:
            _check_noise_aware(config)
        about: dict[str, Any] = {"seed": config.seed, "config": config.training, "progress": progress}
        start = mlp.train_float(data, **about)
        trained = mlp.train_quantized(data, start, config.estimator.estimator, **about)
        accuracy |= {"float": start.accuracy, "quantized": trained.accuracy}
        if config.noise_aware is not None:
            trained = _trained_on(config, trained, data, progress=progress)
            accuracy["noise_aware"] = trained.accuracy
        layers = export(trained, data)
    images = _integers(data.test_x, data, layers[0])
    exact = integer_logits(layers, images)
    if not exact.any():
        raise InvalidValueError(f"{config.path}: the network gives 0 for every image: there is nothing to compare with")
    accuracy["exact"] = float((exact.argmax(axis=1) == data.test_y).mean())
    network = Network(
        layers=tuple(layers),
        calibration=_integers(data.train_x[: config.calibration_images], data, layers[0]),
        images=images,
        labels=data.test_y,
        exact=exact,
        accuracy=accuracy,
        made_from=wanted,
    )
    write_atomic(path, to_bytes(network))
    return network


def _shapes(layers: Sequence[QuantizedLinear]) -> list[LayerShape]:
    return [(layer.name, *layer.weight.shape) for layer in layers]


def _check_chips(config: MonteCarloConfig, layers: Sequence[LayerShape], jobs: int) -> None:
    """Raise before any work if the chips of a corner do not fit into memory, or fault maps do not fit its arrays."""
    widths = *(n_in for _, n_in, _ in layers), layers[-1][2]
    for corner in config.corners:
        try:
            check_memory(corner.machine, widths, chips=min(jobs, config.chips * len(config.corners)))
            if config.faults is not None:
                config.faults.check(corner.machine, layers)
        except InvalidValueError as error:
            raise InvalidValueError(f"{config.path}: corner '{corner.name}': {error}") from None


def _check_noise_aware(config: MonteCarloConfig) -> None:
    """Raise before any training what would fail after it."""
    assert config.estimator is not None
    trainer = noise_aware_trainer()
    try:
        trainer.check(config.estimator.estimator, config.machine)
    except InvalidValueError as error:
        raise InvalidValueError(f"{config.path}: [crossbar.noise_aware]: {error}") from None


def _trained_on(config: MonteCarloConfig, trained: mlp.Trained, data: Dataset, *, progress: bool) -> mlp.Trained:
    """Train a network on with the crossbar in its forward pass."""
    assert config.training is not None and config.estimator is not None and config.noise_aware is not None
    try:
        found, _ = noise_aware_trainer().train_on(
            trained,
            config.estimator.estimator,
            data,
            config.machine,
            **asdict(config.noise_aware),
            smoothing=config.training.smoothing,
            progress=progress,
        )
    except InvalidValueError as error:
        raise InvalidValueError(f"{config.path}: [crossbar.noise_aware]: {error}") from None
    network: mlp.Trained = found
    return network


def _stored(config: MonteCarloConfig, data: Dataset) -> list[QuantizedLinear]:
    from tetrit import hls

    assert config.checkpoint is not None
    layers = hls.read_checkpoint(config.checkpoint).linear_network()
    n_in, n_out = layers[0].weight.shape[0], layers[-1].weight.shape[1]
    if (n_in, n_out) != (data.train_x.shape[1], data.classes):
        raise InvalidValueError(
            f"{config.path}: [network]: `checkpoint` must take {data.train_x.shape[1]} inputs and give {data.classes} "
            f"outputs, its network has {n_in} and {n_out}"
        )
    return layers


def _integers(x: npt.NDArray[np.int8], data: Dataset, first: QuantizedLinear) -> Ints:
    """Return images in the units and the format of a layer's inputs."""
    known = formats.get(first.in_format)
    assert isinstance(known, formats.RealFormat)
    units = np.rint(x * (data.in_scale / first.in_scale))
    integers: Ints = np.clip(units, known.integers.min(), known.integers.max()).astype(np.int64)
    return integers


def _plain(layer: QuantizedLinear) -> dict[str, Any]:
    return {name: value for name, value in vars(layer).items() if name not in _ARRAYS}


def _arrays(network: Network) -> dict[str, npt.NDArray[Any]]:
    arrays = {name: getattr(network, name) for name in ("calibration", "images", "labels", "exact")}
    for place, layer in enumerate(network.layers):
        arrays |= {f"{place}.{name}": getattr(layer, name) for name in _ARRAYS}
    return arrays


def to_bytes(network: Network) -> bytes:
    """Return the content of a network's file, which `load` reads."""
    about = {
        "schema": _SCHEMA,
        "accuracy": network.accuracy,
        "made_from": network.made_from,
        "layers": [_plain(layer) for layer in network.layers],
        "sha256": network.sha256,
    }
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, about=text, **_arrays(network))
    return file.getvalue()


def load(path: Path) -> Network:
    """Read a network that `prepare` wrote.

    Raises
    ------
    InvalidValueError
        If it cannot be read, or is damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays.pop("about").tobytes())
        if about["schema"] != _SCHEMA:
            raise ValueError
        layers = [
            QuantizedLinear(**entry, **{name: arrays.pop(f"{place}.{name}") for name in _ARRAYS})
            for place, entry in enumerate(about["layers"])
        ]
        network = Network(layers=tuple(layers), accuracy=about["accuracy"], made_from=about["made_from"], **arrays)
        if network.sha256 != about["sha256"]:
            raise ValueError
    except OSError as error:
        raise InvalidValueError(f"cannot read '{path}': {error.strerror or error}") from None
    except (ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile):
        raise InvalidValueError(f"'{path}' is not what tetrit has written there") from None
    return network
