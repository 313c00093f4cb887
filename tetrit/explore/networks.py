"""The trained networks of an exploration: one for each weight format, trained once, kept beside the results."""

__all__ = ["Key", "Networks", "key_of", "prepare"]

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tetrit import hls
from tetrit.errors import InvalidValueError
from tetrit.explore.machines import Variant
from tetrit.explore.workload import DigitsWorkload
from tetrit.files import write_atomic
from tetrit.hardware import SimdEngine
from tetrit.montecarlo import network
from tetrit.montecarlo.network import Network
from tetrit.sim.execute import execute
from tetrit.train import digits, mlp
from tetrit.train.integers import export, integer_logits
from tetrit.train.precision import FormatPair, export_codes, post_training, rounded_biases
from tetrit.train.recipe import EstimatorChoice, estimator_of

Key = tuple[str, str]
"""Activation format, empty for integers; and weight format."""

_RESULTS = "posit16_1"
"""Format of a SIMD network's results."""


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Where the networks are, and why those are missing that cannot be trained.

    Attributes
    ----------
    files : dict of Key to Path
    errors : dict of Key to str
    """

    files: dict[Key, Path]
    errors: dict[Key, str]


def key_of(variant: Variant) -> Key:
    """Return which network runs on a machine."""
    act = variant.act_format if isinstance(variant.machine, SimdEngine) else ""
    return act, variant.weight_format


def prepare(
    work: DigitsWorkload, keys: Iterable[Key], folder: Path, *, seed: int, say: Callable[[str], None]
) -> Networks:
    """Read the networks that are there, and train the others.

    Parameters
    ----------
    work : DigitsWorkload
    keys : iterable of Key
    folder : Path
        One file for each network.
    seed : int
        Of the training.
    say : callable
        Told what is being trained.

    Raises
    ------
    InvalidValueError
        If a file there is another workload's.
    ToolError
        If what the data needs is not installed.
    """
    found = Networks(files={}, errors={})
    trainer = _Trainer(work, seed)
    for key in sorted(set(keys)):
        path = folder / (re.sub(r"[^a-z0-9_]+", "-", "-".join(filter(None, key))) + ".npz")
        made_from = _plain(work.table() | {"seed": seed, "act": key[0], "weight": key[1]})
        if path.exists():
            if network.load(path).made_from != made_from:
                raise InvalidValueError(f"'{path}' is the network of another space: choose another folder")
        else:
            say(f"training {key[1]}")
            trainer.check()
            try:
                made = trainer.simd(key, made_from) if key[0] else trainer.integers(key, made_from)
            except InvalidValueError as error:
                found.errors[key] = str(error)
                continue
            write_atomic(path, network.to_bytes(made))
        found.files[key] = path
    return found


def _plain(table: dict[str, Any]) -> dict[str, Any]:
    """Return a table as JSON reads it back."""
    plain: dict[str, Any] = json.loads(json.dumps(table))
    return plain


def _choice(work: DigitsWorkload, weight_format: str) -> EstimatorChoice:
    """Return the estimator of a weight format: the given one, or the usual one of that format."""
    if weight_format in work.estimators:
        return work.estimators[weight_format]
    if weight_format == "szt":
        return estimator_of("estimators", "szt")
    if re.fullmatch(r"int\d+", weight_format):
        return estimator_of("estimators", {"name": "ste", "format": weight_format})
    if weight_format in ("pot2", "pot3", "pot4"):
        return estimator_of("estimators", {"name": "denseshift", "format": weight_format})
    if weight_format in ("pot3z", "pot4z"):
        return estimator_of("estimators", {"name": "pot", "format": weight_format})
    return estimator_of("estimators", {"name": "ste_format", "format": weight_format})


class _Trainer:
    """Trains in float once, and from there for every format."""

    def __init__(self, work: DigitsWorkload, seed: int) -> None:
        self.work, self.seed = work, seed
        self._data: digits.Dataset | None = None
        self._start: mlp.Trained | None = None

    @property
    def data(self) -> digits.Dataset:
        """The images."""
        if self._data is None:
            self._data = self.work.split.load()
        return self._data

    def check(self) -> None:
        """Raise InvalidValueError if there are too few images to calibrate with."""
        if self.work.calibration_images > len(self.data.train_x):
            raise InvalidValueError(
                f"`calibration_images` must be at most the {len(self.data.train_x)} for training, "
                f"got {self.work.calibration_images}"
            )

    @property
    def start(self) -> mlp.Trained:
        """The float network."""
        if self._start is None:
            self._start = mlp.train_float(self.data, seed=self.seed, config=self.work.training)
        return self._start

    def integers(self, key: Key, made_from: dict[str, Any]) -> Network:
        """Return a network with int8 activations and integer weights."""
        estimator = _choice(self.work, key[1]).estimator
        trained = mlp.train_quantized(self.data, self.start, estimator, seed=self.seed, config=self.work.training)
        layers = export(trained, self.data)
        images = self.data.test_x.astype(np.int64)
        return self._network(layers, integer_logits(layers, images), trained.accuracy, made_from)

    def simd(self, key: Key, made_from: dict[str, Any]) -> Network:
        """Return the float network rounded to formats of a SIMD engine, without training on; exact in its quires."""
        pair = FormatPair(act=key[0], weight=key[1])
        sample = self.data.train_x[: self.work.calibration_images] * np.float32(self.data.in_scale)
        rounded = rounded_biases(post_training(self.start, sample, [pair] * len(self.start.network.layers)))
        layers = export_codes(rounded, self.data, _RESULTS)
        program = hls.compile_network(layers, SimdEngine(rows=1, cols=1), batch=1)
        codes = execute(program, program.encode(self.data.test_x * self.data.in_scale))[-1].output
        return self._network(layers, codes.astype(np.int64), None, made_from)

    def _network(self, layers: Any, exact: Any, accuracy: float | None, made_from: dict[str, Any]) -> Network:
        return Network(
            layers=tuple(layers),
            calibration=self.data.train_x[: self.work.calibration_images].astype(np.int64),
            images=self.data.test_x.astype(np.int64),
            labels=self.data.test_y,
            exact=exact,
            accuracy={"float": self.start.accuracy, "quantized": accuracy},
            made_from=made_from,
        )
