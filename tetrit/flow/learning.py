"""The training side of a run: networks for every seed and estimator, and what the report says of them."""

__all__ = ["Learned", "check_fit", "learn"]

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import formats, hls
from tetrit.errors import InvalidValueError
from tetrit.flow.config import RunConfig
from tetrit.sim import Program, QuantizedLinear, Workload
from tetrit.sim.execute import execute
from tetrit.sim.shift import best_mapping
from tetrit.train import digits, mlp
from tetrit.train.integers import export, weight_shares
from tetrit.train.recipe import EstimatorChoice


@dataclass(frozen=True, kw_only=True, eq=False)
class Learned:
    """Trained networks, and the one that goes to hardware.

    Attributes
    ----------
    program : Program
        The network of the first seed, compiled for all held-out images.
    trained : mlp.Trained
        The network of the first seed.
    layers : list of QuantizedLinear
        The same, as the compiler takes it.
    images : ndarray of int64, shape (n, n_in)
        The held-out images, as the program takes them.
    accuracy, training : dict
        These blocks of the report.
    """

    program: Program
    trained: mlp.Trained
    layers: list[QuantizedLinear]
    images: npt.NDArray[np.int64]
    accuracy: dict[str, Any]
    training: dict[str, Any]


def check_fit(config: RunConfig, data: digits.Dataset) -> None:
    """Raise InvalidValueError for what is known to fail before any training: images, formats, mappings."""
    machine = config.machine
    if config.verify_images > len(data.test_x):
        raise InvalidValueError(
            f"[verify]: `images` must be at most the {len(data.test_x)} held-out ones, got {config.verify_images}"
        )
    if machine.act_format != "int8":
        raise InvalidValueError(f"[machine]: training gives int8 activations, the machine takes {machine.act_format}")
    widths = (data.train_x.shape[1], *config.training.hidden, data.classes)
    for k, n in pairwise(widths):
        best_mapping(Workload(m=len(data.test_x), k=k, n=n), machine)


def learn(config: RunConfig, data: digits.Dataset, *, progress: bool) -> Learned:
    """Train everything that the configuration asks for, and run the networks on the machine in integers."""
    images = data.test_x.astype(np.int64)
    per_seed: list[dict[str, Any]] = []
    compared: list[list[float]] = [[] for _ in config.compare]
    first: tuple[Program, mlp.Trained, list[QuantizedLinear]] | None = None
    for seed in config.seeds:
        plain = mlp.train_float(data, seed=seed, config=config.training, progress=progress)

        def quantised(choice: EstimatorChoice, start: mlp.Trained = plain, seed: int = seed) -> mlp.Trained:
            return mlp.train_quantized(
                data, start, choice.estimator, seed=seed, config=config.training, progress=progress
            )

        trained = quantised(config.estimator)
        layers = export(trained, data)
        program = hls.compile_network(layers, config.machine, batch=len(images))
        logits = execute(program, images)[-1].output
        per_seed.append(
            {
                "seed": seed,
                "float": plain.accuracy,
                "quantized": trained.accuracy,
                "machine": float((logits.argmax(axis=1) == data.test_y).mean()),
            }
        )
        for scores, choice in zip(compared, config.compare, strict=True):
            scores.append(quantised(choice).accuracy)
        if first is None:
            first = program, trained, layers
    assert first is not None
    program, trained, layers = first
    scores_by_choice = [(config.estimator, [entry["quantized"] for entry in per_seed])]
    scores_by_choice += list(zip(config.compare, compared, strict=True))
    return Learned(
        program=program,
        trained=trained,
        layers=layers,
        images=images,
        accuracy={
            **{key: float(np.mean([entry[key] for entry in per_seed])) for key in ("float", "quantized", "machine")},
            "per_seed": per_seed,
            "by_estimator": [_by_estimator(choice, scores) for choice, scores in scores_by_choice],
            "n_test": len(images),
        },
        training={
            "epochs": config.training.quantized_epochs,
            "history": [
                {
                    "seed": config.seeds[0],
                    "epoch": number,
                    "loss": epoch.loss,
                    "train_accuracy": epoch.train_accuracy,
                    "test_accuracy": epoch.test_accuracy,
                }
                for number, epoch in enumerate(trained.history, start=1)
            ],
            "weight_codes": {layer.name: dict(layer.shares) for layer in weight_shares(layers)},
        },
    )


def _by_estimator(choice: EstimatorChoice, scores: list[float]) -> dict[str, Any]:
    return {
        "estimator": choice.name,
        "params": choice.params,
        "bits": formats.get(choice.weight_format).bits,
        "accuracy": float(np.mean(scores)),
        "per_seed": scores,
    }
