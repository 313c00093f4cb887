"""Layers of small networks trained on real images, with activations: operands that no coefficient was fitted to."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import estimators, hardware
from tetrit.flow.conv_graph import integer_graph
from tetrit.hardware import ShiftArray
from tetrit.hls.integer import Product, reference
from tetrit.train import cnn, digits, mlp
from tetrit.train.data import read_idx

FASHION = Path("/usr/share/datasets/fashion-mnist")
VECTORS, TERMS, OUTPUTS = 24, 96, 32
"""Most of each that is taken of a layer, from its middle."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A layer with its activations.

    Attributes
    ----------
    name : str
        Network and layer.
    x : float64 array, shape (vectors, terms)
        Activations.
    unit : float
        What one unit of them in int8 stands for.
    weight : float64 array, shape (terms, outputs)
        As trained.
    bias : float64 array, shape (outputs,)
    """

    name: str
    x: npt.NDArray[np.float64]
    unit: float
    weight: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]

    def on_shift(self, machine: ShiftArray) -> tuple[npt.NDArray[np.int64], Any, npt.NDArray[np.int64]]:
        """Return activations, weight codes and bias as a shift array takes them: rounded, not trained on."""
        q = estimators.get("ste_format", format=machine.weight_format, axis=1, power_of_two=False)(self.weight)
        low, high = (int(end) for end in machine.activations.integer_range)
        unit = self.unit * 127 / high
        x = np.clip(np.rint(self.x / unit), low, high).astype(np.int64)
        scale = unit * np.broadcast_to(np.asarray(q.scale).reshape(-1), self.bias.shape)
        limit = 2.0 ** (machine.acc_bits - 3)
        bias = np.clip(np.rint(self.bias / (scale * 2.0**machine.weights.lsb_exponent)), -limit, limit)
        return x, np.asarray(q.codes).astype(np.uint8), bias.astype(np.int64)

    def on_simd(self, act_format: str, weight_format: str) -> tuple[Any, Any]:
        """Return codes of activations and weights: rounded at a power of two that suits them."""
        x = estimators.get("ste_format", format=act_format)(self.x).codes
        return x, estimators.get("ste_format", format=weight_format, axis=1)(self.weight).codes


def layers() -> list[Layer]:
    """Train three small networks, and return their layers with activations of held-out images."""
    small = digits.load()
    found = list(_perceptron("digits", small, mlp.Config(hidden=(128, 64), epochs=30)))
    images = {}
    for part, count in (("train", 12000), ("t10k", 2000)):
        pixels = read_idx(FASHION / f"{part}-images-idx3-ubyte.gz")[:count].reshape(count, -1)
        labels = read_idx(FASHION / f"{part}-labels-idx1-ubyte.gz")[:count].astype(np.int64)
        images[part] = (pixels >> 1).astype(np.int8), labels
    (train_x, train_y), (test_x, test_y) = images["train"], images["t10k"]
    large = digits.Dataset(train_x=train_x, train_y=train_y, test_x=test_x, test_y=test_y, in_scale=1 / 127)
    found += _perceptron("Fashion-MNIST", large, mlp.Config(hidden=(64, 64), epochs=3))
    return found + list(_convolutions(small))


def _cut(name: str, x: Any, unit: float, weight: Any, bias: Any) -> Layer:
    rows, terms = len(x), len(weight)
    first = (max(0, rows - VECTORS) // 2, max(0, terms - TERMS) // 2)
    k = slice(first[1], first[1] + TERMS)
    return Layer(
        name=name,
        x=np.asarray(x, dtype=np.float64)[first[0] : first[0] + VECTORS, k],
        unit=unit,
        weight=np.asarray(weight, dtype=np.float64)[k, :OUTPUTS],
        bias=np.asarray(bias, dtype=np.float64)[:OUTPUTS],
    )


def _perceptron(name: str, data: digits.Dataset, config: mlp.Config) -> Iterator[Layer]:
    trained = mlp.train_float(data, seed=0, config=config)
    calibration, x = (images.astype(np.float64) * data.in_scale for images in (data.train_x[:1000], data.test_x[:64]))
    unit = data.in_scale
    for place, layer in enumerate(trained.network.layers, 1):
        yield _cut(f"{name}, layer {place}", x, unit, layer.latent, layer.bias)
        calibration, x = (part @ layer.latent.astype(np.float64) + layer.bias for part in (calibration, x))
        if layer.relu:
            calibration, x = np.maximum(calibration, 0), np.maximum(x, 0)
        unit = float(np.quantile(np.abs(calibration), 0.999)) / 127


def _convolutions(data: digits.Dataset) -> Iterator[Layer]:
    config = cnn.Config(epochs=2, quantized_epochs=2)
    plain = cnn.train_float(data, seed=0, config=config)
    trained = cnn.train_quantized(data, plain, "szt", seed=0, config=config)
    graph = integer_graph(trained, data.train_x, data.in_scale, hardware.ShiftArray(rows=8, cols=8))
    images = data.test_x[:8].astype(np.int64).reshape(-1, *trained.shape)
    tensors = [reference.run(graph, {"image": image}) for image in images]
    network = trained.network
    parts = [*(stage.layer for stage in network.stages), network.layers[-1]]
    products = [node for node in graph.nodes if isinstance(node, Product)]
    for node, part in zip(products, parts, strict=True):
        maps = [np.array(values[node.input]) for values in tensors]
        if node.window is None:
            x = np.stack(maps)
        else:
            places = node.window.indices()[0]
            x = np.concatenate([np.where(places < 0, 0, one[np.maximum(places, 0)]) for one in maps])
        unit = graph.tensors[node.input].scale
        yield _cut(f"digits CNN, {node.name}", x * unit, unit, part.latent.reshape(node.k, -1), part.bias)
