"""The training side of a run on a SIMD engine: formats chosen layer by layer, networks rounded and trained on."""

__all__ = ["SimdLearned", "learn"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit import formats as number_formats
from tetrit import hls
from tetrit.flow.simd_config import SimdRunConfig
from tetrit.sim import SimdProgram
from tetrit.sim.execute import execute
from tetrit.train import digits, mlp
from tetrit.train.network import Network, one_thread
from tetrit.train.precision import (
    FormatPair,
    activation_rules,
    export_codes,
    format_losses,
    post_training,
    rounded_biases,
    weight_rules,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class SimdLearned:
    """The network that goes to hardware, and what the report says of all of them.

    Attributes
    ----------
    program : SimdProgram
        The network of the first seed, trained on in the chosen formats.
    images : ndarray
        Codes of the held-out images, as the program takes them.
    accuracy, training, formats : dict
        These blocks of the report.
    """

    program: SimdProgram
    images: NDArray[Any]
    accuracy: dict[str, Any]
    training: dict[str, Any]
    formats: dict[str, Any]


@dataclass(kw_only=True)
class _Variant:
    """One assignment of formats, and what was measured of it, seed by seed."""

    name: str
    pairs: tuple[FormatPair, ...]
    rounded: list[float]
    trained: list[float]
    cycles: int = 0


def learn(config: SimdRunConfig, data: digits.Dataset, *, step: Callable[[str], None], progress: bool) -> SimdLearned:
    """Train in float, choose the formats, round, train on, and run every network on the machine in codes."""
    x, test_x = (images * np.float32(data.in_scale) for images in (data.train_x, data.test_x))
    sample = x[: config.calibration_images]
    variants: list[_Variant] = []
    losses: NDArray[np.float64] | None = None
    per_seed: list[dict[str, Any]] = []
    first: tuple[SimdProgram, mlp.Trained] | None = None
    for seed in config.seeds:
        plain = mlp.train_float(data, seed=seed, config=config.training, progress=progress)
        if not variants:
            step("measuring formats layer by layer")
            losses = format_losses(plain, sample, config.candidates)
            variants = _variants(config, plain, losses)
        for place, variant in enumerate(variants):
            rounded = rounded_biases(post_training(plain, sample, variant.pairs))
            variant.rounded.append(_on_machine(rounded, config, data, test_x)[1])
            trained = mlp.train_layers(
                data,
                plain,
                weight_rules(variant.pairs),
                activation_rules(plain, sample, variant.pairs),
                seed=seed,
                config=config.training,
                progress=progress,
            )
            network = rounded_biases(trained.network)
            program, accuracy, cycles = _on_machine(network, config, data, test_x)
            variant.trained.append(accuracy)
            variant.cycles = cycles
            if place == 0:
                with one_thread():
                    quantized = network.accuracy(test_x, data.test_y)
                entry = {"seed": seed, "float": plain.accuracy, "quantized": quantized, "machine": accuracy}
                per_seed.append(entry)
                first = first or (program, trained)
    assert first is not None
    assert losses is not None
    program, trained = first
    macs = _macs(program)
    return SimdLearned(
        program=program,
        images=program.encode(test_x),
        accuracy={
            **{key: float(np.mean([entry[key] for entry in per_seed])) for key in ("float", "quantized", "machine")},
            "per_seed": per_seed,
            "by_estimator": [],
            "n_test": len(test_x),
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
            "weight_codes": {},
        },
        formats={
            "candidates": [str(pair) for pair in config.candidates],
            "chosen": config.layers is None,
            "mean_bits": config.mean_bits if config.layers is None else _mean_bits(variants[0].pairs, macs),
            "calibration_images": len(sample),
            "layers": [
                {
                    "name": layer.name,
                    "act": layer.act_format,
                    "weight": layer.weight_format,
                    "out": layer.out_format,
                    "losses": losses[place].tolist(),
                }
                for place, layer in enumerate(program.layers)
            ],
            "networks": [_network(variant, macs) for variant in variants],
        },
    )


def _variants(config: SimdRunConfig, plain: mlp.Trained, losses: NDArray[np.float64]) -> list[_Variant]:
    """Return the assignment that goes to hardware, then every candidate in all layers."""
    sizes = np.array([layer.latent.size for layer in plain.network.layers])
    if config.layers is None:
        costs = np.outer(sizes, [pair.bits for pair in config.candidates])
        choice = hls.assign_precision(costs, losses, config.mean_bits * float(sizes.sum()))
        pairs = tuple(config.candidates[index] for index in choice)
    else:
        pairs = config.layers
    found = [_Variant(name="this run", pairs=pairs, rounded=[], trained=[])]
    for candidate in config.candidates:
        uniform = (candidate,) * len(sizes)
        if uniform != pairs:
            found.append(_Variant(name=f"{candidate} everywhere", pairs=uniform, rounded=[], trained=[]))
    return found


def _on_machine(
    network: Network, config: SimdRunConfig, data: digits.Dataset, x: NDArray[np.float32]
) -> tuple[SimdProgram, float, int]:
    """Return a network's program, its accuracy in codes, and its cycles for all held-out images."""
    program = hls.compile_network(export_codes(network, data, config.output), config.machine, batch=len(x))
    runs = execute(program, program.encode(x))
    right = program.decode(runs[-1].output).argmax(axis=1) == data.test_y
    return program, float(right.mean()), sum(run.run.cycles for run in runs)


def _macs(program: SimdProgram) -> NDArray[np.int64]:
    return np.array([layer.weight.size for layer in program.layers])


def _mean_bits(pairs: tuple[FormatPair, ...], macs: NDArray[np.int64]) -> float:
    return float(macs @ np.array([pair.bits for pair in pairs]) / macs.sum())


def _network(variant: _Variant, macs: NDArray[np.int64]) -> dict[str, Any]:
    bits = np.array([number_formats.get(pair.weight).bits for pair in variant.pairs])
    return {
        "name": variant.name,
        "formats": [str(pair) for pair in variant.pairs],
        "mean_bits": _mean_bits(variant.pairs, macs),
        "weight_bytes": float(macs @ bits / 8),
        "cycles": variant.cycles,
        "post_training": float(np.mean(variant.rounded)),
        "trained": float(np.mean(variant.trained)),
        "post_training_per_seed": variant.rounded,
        "trained_per_seed": variant.trained,
    }
