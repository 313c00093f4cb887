"""One float network looked at, and one choice of formats tried on it: the two pieces of a study of precision."""

__all__ = ["SEARCH", "Measuring", "evaluate", "float_network", "images_of", "look", "network", "search", "tensors"]

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tetrit.errors import InvalidValueError
from tetrit.train.data import ImageData, Images
from tetrit.train.loop.batches import ImageBatches
from tetrit.train.loop.config import LoopConfig
from tetrit.train.models.specs import ImageSpec
from tetrit.train.qat.passes import evaluating
from tetrit.train.qat.plan import Plan
from tetrit.train.qat.preparing import prepare
from tetrit.train.searching import Searched, one_shot
from tetrit.train.sensitivity.fisher import empirical_fisher, mean_gradients
from tetrit.train.sensitivity.hessian import hessian_traces
from tetrit.train.sensitivity.layers import layers_of
from tetrit.train.sensitivity.machines import Target
from tetrit.train.sensitivity.perturbation import Perturbation, perturbations
from tetrit.train.sensitivity.proxies import synflow
from tetrit.train.sensitivity.scores import METHODS, Known, rank_correlation, scores

_CHUNK = 250

SEARCH = ("steps", "batch", "rate", "policy_rate", "penalty", "entropy", "warmup")
"""Numbers of a search that a configuration may set."""


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """On how much sensitivities, prices and accuracies are measured.

    Attributes
    ----------
    images : int
        Training images for sensitivities and scales.
    validation, test : int
        Images of these parts, the first ones; fewer where there are not as many.
    priced : int
        Images that run together for cycles and energy.
    probes : int
        Most probes of Hutchinson's estimator.
    tolerance : float
        At which standard error, by the estimate, it stops.
    """

    images: int = 256
    validation: int = 500
    test: int = 10_000
    priced: int = 16
    probes: int = 256
    tolerance: float = 0.1


def images_of(config: LoopConfig) -> ImageData:
    """Load the data of a training, which must be images."""
    data = config.source.load(config.folder)
    if not isinstance(data, ImageData):
        raise InvalidValueError("[data]: must be images, got text")
    return data


def network(config: LoopConfig, data: ImageData) -> nn.Module:
    """Return the network of a training, initialised from torch's generator."""
    assert isinstance(config.model, ImageSpec)
    return config.model.build(data.shape, data.classes)


def float_network(config: LoopConfig, data: ImageData, path: Path) -> nn.Module:
    """Return the network whose parameters a training left in the file `path`, in evaluation mode."""
    model = network(config, data)
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def tensors(data: ImageData, part: Images, count: int) -> tuple[Tensor, Tensor]:
    """Return the first images of a part, as a network takes them, and their classes."""
    x = torch.from_numpy(part.x[:count]).float() * data.scale
    return x, torch.from_numpy(part.y[:count])


def look(
    model: nn.Module,
    data: ImageData,
    target: Target,
    measuring: Measuring,
    *,
    seed: int,
    done: Callable[[], object] | None = None,
) -> dict[str, Any]:
    """Measure a float network's sensitivities to a machine's formats, and price them.

    `done` is called now and then.

    Returns
    -------
    dict
        Plain numbers: ``layers``, ``options``, ``weights`` (their number by layer), ``costs`` by resource, ``scores``
        by method, of training images, the measured ``divergence`` and ``loss_change`` among them, ``measured``
        divergence and changes of loss and accuracy on validation images, ``ranks`` (rank correlation of each score with
        the measured loss change there), ``traces``, and the ``float`` network's loss and accuracy.
    """
    x, y = tensors(data, data.train, measuring.images)
    layers = layers_of(model)
    labels = list(target.options)

    def alone(name: str, option: int) -> nn.Module:
        return target.network(model, {name: labels[option]}, x)

    known = Known(
        traces=hessian_traces(model, x, y, seed=seed, most=measuring.probes, tolerance=measuring.tolerance),
        fisher=empirical_fisher(model, x, y),
        gradients=mean_gradients(model, x, y),
        flows=synflow(model, data.shape),
    )
    weights = {name: _weight(layer).detach().double().numpy() for name, layer in layers.items()}
    rounded = target.rounded(model, x)
    trained = perturbations(model, list(layers), len(labels), alone, x, y, chunk=_CHUNK, done=done)
    measured = perturbations(
        model,
        list(layers),
        len(labels),
        alone,
        *tensors(data, data.validation, measuring.validation),
        chunk=_CHUNK,
        done=done,
    )
    found = {"divergence": trained.divergence, "loss_change": trained.loss_change}
    found |= {method: scores(method, known, weights, rounded) for method in METHODS}
    return {
        "layers": list(layers),
        "options": labels,
        "weights": {name: weight.size for name, weight in weights.items()},
        "costs": {name: cost.tolist() for name, cost in target.costs(model, x[: measuring.priced]).items()},
        "scores": {name: score.tolist() for name, score in found.items()},
        "measured": _plain(measured),
        "ranks": {name: rank_correlation(score, measured.loss_change) for name, score in found.items()},
        "traces": {
            name: {"trace": t.trace, "standard_error": t.standard_error, "probes": t.probes, "converged": t.converged}
            for name, t in known.traces.items()
        },
        "float": _both(model, data, measuring),
    }


def search(
    model: nn.Module,
    data: ImageData,
    target: Target,
    measuring: Measuring,
    costs: Sequence[Sequence[float]],
    limit: float,
    settings: Mapping[str, Any],
    *,
    seed: int,
    done: Callable[[], object] | None = None,
) -> Searched:
    """Search formats within a limit by `one_shot`: weights see training images, the policy validation images."""
    rest = dict(settings)
    size = min(rest.pop("batch", 64), len(data.train.y))
    batches = ImageBatches(data, seed=seed, batch=size, device="cpu")
    x, y = tensors(data, data.validation, len(data.validation.y))
    rng = np.random.default_rng([seed, 1])
    order = torch.from_numpy(rng.integers(0, len(y), size=(rest["steps"], 2 * size)))
    return one_shot(
        model,
        target,
        np.array(costs),
        limit,
        lambda step: batches.train(1, step),
        lambda step: (x[order[step]], y[order[step]]),
        tensors(data, data.train, measuring.images)[0],
        seed=seed,
        done=done,
        **rest,
    )


def evaluate(
    model: nn.Module,
    data: ImageData,
    target: Target,
    chosen: Mapping[str, str],
    measuring: Measuring,
    plan: Plan,
    tuned: Path | None,
) -> dict[str, Any]:
    """Return loss and accuracy on validation and test images, without training and, where there is one, after it.

    Parameters
    ----------
    model : nn.Module
        Float; it stays as it is.
    data : ImageData
    target : Target
    chosen : mapping of str to str
        Label of the option, by layer.
    measuring : Measuring
    plan : Plan
        What the training prepared the network with.
    tuned : Path or None
        State dict of the network after it.
    """
    x, _ = tensors(data, data.train, measuring.images)
    found = {"untrained": _both(target.network(model, chosen, x), data, measuring)}
    if tuned is not None:
        example = ImageBatches(data, seed=0, batch=1, device="cpu").example
        prepared = prepare(copy.deepcopy(model), plan, example=example)
        prepared.load_state_dict(torch.load(tuned, weights_only=True))
        found["tuned"] = _both(target.placed(prepared, chosen, x), data, measuring)
    return found


def _both(model: nn.Module, data: ImageData, measuring: Measuring) -> dict[str, dict[str, float]]:
    return {part: _measure(model, data, part, measuring) for part in ("validation", "test")}


@torch.no_grad()
def _measure(model: nn.Module, data: ImageData, part: str, measuring: Measuring) -> dict[str, float]:
    x, y = tensors(data, getattr(data, part), getattr(measuring, part))
    with evaluating(model):
        outputs = torch.cat([model(x[begin : begin + _CHUNK]) for begin in range(0, len(x), _CHUNK)])
    loss = float(functional.cross_entropy(outputs.double(), y))
    return {"loss": loss, "accuracy": float((outputs.argmax(-1) == y).double().mean()), "images": len(y)}


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def _plain(found: Perturbation) -> dict[str, Any]:
    return {name: getattr(found, name).tolist() for name in ("divergence", "loss_change", "accuracy_change")}
