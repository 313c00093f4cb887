"""From a trained network to integers: the layers that the compiler takes, their exact evaluation, weight shares."""

__all__ = ["WeightShares", "export", "integer_accuracy", "integer_logits", "layer_shapes", "weight_shares"]

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.sim.program import QuantizedLinear
from tetrit.train.digits import Dataset
from tetrit.train.mlp import Trained
from tetrit.train.network import one_thread

_LOGIT_HEADROOM = 2.0
"""The int16 logits reach this many times the largest logit of the training images, to leave room for the unseen."""


def _name(place: int) -> str:
    """Return the name of an exported layer; the first has place 1."""
    return f"fc{place}"


def layer_shapes(widths: Sequence[int]) -> list[tuple[str, int, int]]:
    """Return name, inputs and outputs of the exported layers of a network; `widths` are its inputs and all outputs."""
    return [(_name(place), *shape) for place, shape in enumerate(itertools.pairwise(widths), 1)]


def export(trained: Trained, data: Dataset) -> list[QuantizedLinear]:
    """Return the layers of a quantised network as weight codes and scales.

    Hidden layers take and give int8; the last one gives int16 in units of one common scale, calibrated on the training
    images, so that the largest integer is the class.

    Parameters
    ----------
    trained : Trained
        Of `train_quantized`.
    data : Dataset
        That it was trained on.

    Returns
    -------
    list of QuantizedLinear
        Named ``fc1``, ``fc2``, ...

    Raises
    ------
    InvalidValueError
        If the network has float weights.
    """
    with one_thread():
        logits = trained.network.forward(data.train_x * np.float32(data.in_scale))
    layers = []
    in_scale = data.in_scale
    for place, layer in enumerate(trained.network.layers, 1):
        if layer.estimator is None:
            raise InvalidValueError("`trained` must be a quantised network, got a float one")
        q = layer.estimator(layer.latent)
        if q.scale.ndim and q.scale.size != layer.bias.size:
            raise InvalidValueError(
                f"weights of layer '{_name(place)}' must have one scale, or one for each output (`axis` None or 1), "
                f"got scales of shape {q.scale.shape}"
            )
        last = layer.limit is None
        if layer.limit is None:
            out_scale = max(float(np.abs(logits).max()), 1e-6) * _LOGIT_HEADROOM / formats.get("int16").max_value
        else:
            out_scale = layer.limit / formats.get("int8").max_value
        layers.append(
            QuantizedLinear(
                name=_name(place),
                weight=q.codes,
                weight_format=q.format,
                weight_scale=np.broadcast_to(q.scale.reshape(-1), layer.bias.shape).astype(np.float64),
                bias=layer.bias.astype(np.float64),
                in_format="int8",
                in_scale=in_scale,
                out_format="int16" if last else "int8",
                out_scale=out_scale,
                relu=layer.relu,
            )
        )
        in_scale = out_scale
    return layers


def integer_logits(layers: list[QuantizedLinear], x: NDArray[Any]) -> NDArray[np.int64]:
    """Run exported layers on integer inputs: exact accumulators, one float64 rounding to nearest even per output.

    This is the reference for the dyadic requantisation of the compiler, which may differ from it by one unit of an
    output.

    Parameters
    ----------
    layers : list of QuantizedLinear
    x : ndarray of int, shape (batch, n_in)
        Codes' integers of the first layer's `in_format`.

    Returns
    -------
    ndarray of int64, shape (batch, n_out)
        Integers of the last layer's `out_format`.
    """
    activation = np.asarray(x).astype(np.float64)
    for layer in layers:
        # integers times dyadic weights: float64 holds the products and their sum exactly
        accumulator = activation @ formats.get(layer.weight_format).decode(layer.weight)
        real = accumulator * (layer.in_scale * layer.weight_scale) + layer.bias
        largest = formats.get(layer.out_format).max_value
        activation = np.clip(np.rint(real / layer.out_scale), 0.0 if layer.relu else -largest, largest)
    return activation.astype(np.int64)


def integer_accuracy(layers: list[QuantizedLinear], x: NDArray[Any], y: NDArray[np.int64]) -> float:
    """Return the share of inputs whose largest integer logit (the first, if several) is at the right class."""
    return float((integer_logits(layers, x).argmax(axis=1) == y).mean())


@dataclass(frozen=True, kw_only=True)
class WeightShares:
    """How often each value occurs among the weight codes of one layer.

    Attributes
    ----------
    name : str
        Of the layer.
    shares : tuple of (str, float)
        Value of each used code with its sign (``"+0"``, ``"-0"``, ``"+1"``, ...) and its share of the weights, by code.
    """

    name: str
    shares: tuple[tuple[str, float], ...]


def weight_shares(layers: list[QuantizedLinear]) -> tuple[WeightShares, ...]:
    """Return the shares of the weight codes of every layer; signed zeros are told apart."""
    result = []
    for layer in layers:
        fmt = formats.get(layer.weight_format)
        counts = np.bincount(layer.weight.reshape(-1), minlength=len(fmt.values))
        shares = tuple(
            (f"{fmt.values[code]:+g}", float(counts[code] / layer.weight.size))
            for code in range(len(counts))
            if np.isfinite(fmt.values[code])
        )
        result.append(WeightShares(name=layer.name, shares=shares))
    return tuple(result)
