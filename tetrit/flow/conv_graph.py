"""A trained convolutional network as an integer graph for a shift array: scales become dyadic numbers."""

__all__ = ["integer_graph"]

import numpy as np
from numpy.typing import NDArray

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray
from tetrit.hls.integer import IntegerGraph, IntegerNode, IntegerTensor, MaxPool, Product, Reshape, Sum, Window
from tetrit.sim.requantize import dyadic
from tetrit.train.cnn import Stage, TrainedConv
from tetrit.train.network import Layer, one_thread

_ACT = "int8"
_LOGIT_HEADROOM = 1.1
"""The int8 logits reach this many times the largest logit of the training images, to leave room for the unseen."""


def integer_graph(trained: TrainedConv, images: NDArray[np.int8], in_scale: float, machine: ShiftArray) -> IntegerGraph:
    """Return a quantised network in integers, activations and logits in int8.

    Parameters
    ----------
    trained : TrainedConv
        Of `tetrit.train.cnn.train_quantized`.
    images : ndarray of int8, shape (n, pixels)
        Of the training, for the scale of the logits.
    in_scale : float
        Real value of a pixel's unit.
    machine : ShiftArray
        Whose accumulators and multipliers requantise.

    Raises
    ------
    InvalidValueError
        If the network has float weights.
    """
    network = trained.network
    with one_thread():
        x = (images * np.float32(in_scale)).reshape(-1, *trained.shape)
        logits = np.concatenate([network.forward(part) for part in np.array_split(x, 8)])
    made = _Graph(machine, IntegerTensor(name="image", shape=trained.shape, format=_ACT, scale=in_scale))
    for place, stage in enumerate(network.stages, 1):
        made.stage(place, stage)
    made.flatten()
    made.product("fc", network.layers[-1], float(np.abs(logits).max()) * _LOGIT_HEADROOM, relu=False, window=None)
    return made.graph()


class _Graph:
    """A graph under construction; the last tensor is the next node's input."""

    def __init__(self, machine: ShiftArray, image: IntegerTensor) -> None:
        self.machine = machine
        self.tensors, self.nodes = [image], list[IntegerNode]()

    def graph(self) -> IntegerGraph:
        return IntegerGraph(
            name="cnn",
            inputs=(self.tensors[0].name,),
            outputs=(self.tensors[-1].name,),
            nodes=tuple(self.nodes),
            tensors={tensor.name: tensor for tensor in self.tensors},
            acc_bits=self.machine.acc_bits,
            multiplier_bits=self.machine.multiplier_bits,
        )

    def stage(self, place: int, stage: Stage) -> None:
        block, before = stage.block, self.tensors[-1]
        half = block.kernel // 2
        window = Window(
            in_shape=before.shape,  # type: ignore[arg-type]
            kernel=(block.kernel, block.kernel),
            stride=(block.stride, block.stride),
            padding=(half, half, half, half),
        )
        self.product(f"conv{place}", stage.layer, stage.layer.limit, relu=not block.residual, window=window)
        if block.residual:
            self._sum(f"sum{place}", before, self.tensors[-1], stage.limit)
        if block.pool > 1:
            last = self.tensors[-1]
            pool = Window(
                in_shape=last.shape,  # type: ignore[arg-type]
                kernel=(block.pool, block.pool),
                stride=(block.pool, block.pool),
            )
            name = f"pool{place}"
            self._add(
                MaxPool(name=name, input=last.name, output=name, window=pool),
                (*pool.out_shape_hw, last.shape[2]),
                last.scale,
            )

    def product(self, name: str, layer: Layer, limit: float | None, *, relu: bool, window: Window | None) -> None:
        """Add a product whose results reach `limit`."""
        if layer.estimator is None or limit is None:
            raise InvalidValueError("`trained` must be a quantised network, got a float one")
        before = self.tensors[-1]
        q = layer.estimator(layer.latent)
        weight_scale = np.broadcast_to(q.scale.reshape(-1), layer.bias.shape).astype(np.float64)
        unit = before.scale * weight_scale * 2.0**self.machine.weights.lsb_exponent
        scale = limit / formats.get(_ACT).max_value
        multiplier, shift = self._dyadic(unit / scale)
        node = Product(
            name=name,
            input=before.name,
            output=name,
            weight=q.codes,
            weight_format=q.format,
            bias=np.rint(layer.bias.astype(np.float64) / unit).astype(np.int64),
            multiplier=multiplier,
            shift=shift,
            relu=relu,
            window=window,
        )
        shape = (*window.out_shape_hw, node.n) if window is not None else (node.n,)
        self._add(node, shape, scale)

    def _sum(self, name: str, one: IntegerTensor, other: IntegerTensor, limit: float | None) -> None:
        """Add a sum of branches that have the same scale."""
        assert limit is not None
        assert one.scale == other.scale, "both branches have the same range"
        scale = limit / formats.get(_ACT).max_value
        multiplier, shift = self._dyadic(np.array(one.scale / scale))
        factor = int(multiplier)
        node = Sum(
            name=name,
            inputs=(one.name, other.name),
            output=name,
            multipliers=(factor, factor),
            shift=int(shift),
            relu=True,
        )
        self._add(node, one.shape, scale)

    def flatten(self) -> None:
        """Make a vector of the last feature map."""
        last = self.tensors[-1]
        self._add(Reshape(name="flatten", input=last.name, output="flatten"), (last.size,), last.scale)

    def _dyadic(self, scale: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return dyadic(scale, multiplier_bits=self.machine.multiplier_bits, acc_bits=self.machine.acc_bits)

    def _add(self, node: IntegerNode, shape: tuple[int, ...], scale: float) -> None:
        self.nodes.append(node)
        self.tensors.append(IntegerTensor(name=node.output, shape=shape, format=_ACT, scale=scale))
