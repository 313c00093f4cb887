"""The network of the convolutional trainer in plain numpy: convolutions, residual sums, pools, forward and backward."""

__all__ = ["Block", "ConvNetwork", "Stage"]

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit import checks, estimators
from tetrit.errors import InvalidValueError
from tetrit.train.network import Float, Layer, Network, followed


@dataclass(frozen=True, kw_only=True)
class Block:
    """One convolution and what follows it: the residual sum if asked for, a ReLU, then a maximum pool if asked for.

    Attributes
    ----------
    channels : int
        Of the output.
    kernel : int
        Height and width, odd; half of it is padded on each side.
    stride : int
        Down and to the right.
    residual : bool
        Whether the block's input is added before the ReLU; it must have the output's shape.
    pool : int
        Height, width and stride of the pool; 1 for none.
    """

    channels: int
    kernel: int = 3
    stride: int = 1
    residual: bool = False
    pool: int = 1

    def __post_init__(self) -> None:
        for name in ("channels", "kernel", "stride", "pool"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name)))
        if self.kernel % 2 == 0:
            raise InvalidValueError(f"`kernel` must be odd, got {self.kernel}")
        if not isinstance(self.residual, bool):
            raise TypeError(f"`residual` must be true or false, got {self.residual!r}")
        if self.residual and self.stride > 1:
            raise InvalidValueError(f"`stride` of a residual block must be 1, got {self.stride}")


@dataclass(kw_only=True)
class Stage:
    """A block with its parameters.

    Attributes
    ----------
    block : Block
        Its shape.
    layer : Layer
        The convolution as a matrix: latent weights of shape (kernel * kernel * channels in, channels out), the order
        along the rows being (kernel row, kernel column, channel). Its `limit` is the range of the convolution's int8
        results, which in a residual block is also that of the input, so that both may be added as integers.
    limit : float or None
        Range of the sum of a residual block; None elsewhere, and in a float network.
    """

    block: Block
    layer: Layer
    limit: float | None = None

    @property
    def out_limit(self) -> float | None:
        """Range of what leaves the block."""
        return self.limit if self.block.residual else self.layer.limit


@dataclass(kw_only=True)
class _Tape:
    """What the backward pass needs of one stage: input shape, patches, weights, both results, and the pool's choice."""

    shape: tuple[int, ...]
    patches: Float
    weight: Float
    before: Float
    total: Float | None
    largest: NDArray[np.intp] | None


@dataclass(kw_only=True)
class ConvNetwork(Network):
    """Stages, then a fully connected layer; images are (batch, height, width, channels).

    `layers` are the stages' layers and the last one, for the optimiser.
    """

    stages: list[Stage] = field(default_factory=list)
    kept: list[_Tape] = field(default_factory=list, repr=False)
    head: tuple[Float, Float, tuple[int, ...]] | None = field(default=None, repr=False)

    def forward(self, x: Float, *, record: bool = False, rng: np.random.Generator | None = None) -> Float:
        """Return the logits; see `Network.forward`."""
        self.kept, self.head = [], None
        for stage in self.stages:
            x = self._stage(stage, x, record, rng)
        last = self.layers[-1]
        weight = last.weight(training=record, rng=rng)
        flat = x.reshape(len(x), -1)
        if record:
            self.head = flat, weight, x.shape
        logits: Float = flat @ weight + last.bias
        return logits

    def _stage(self, stage: Stage, x: Float, record: bool, rng: np.random.Generator | None) -> Float:
        block, layer = stage.block, stage.layer
        weight = layer.weight(training=record, rng=rng)
        patches = _patches(x, block)
        before = patches @ weight + layer.bias
        y = before if block.residual else np.maximum(before, np.float32(0))
        y = _rounded(y, layer.limit)
        total = None
        if block.residual:
            total = x + y
            y = _rounded(np.maximum(total, np.float32(0)), stage.limit)
        largest = None
        if block.pool > 1:
            y, largest = _pooled(y, block.pool)
        if record:
            tape = _Tape(shape=x.shape, patches=patches, weight=weight, before=before, total=total, largest=largest)
            self.kept.append(tape)
        return y

    def backward(self, grad: Float) -> list[tuple[NDArray[Any], Float]]:
        """Return the gradients of the latent weights and of the bias of every layer; see `Network.backward`."""
        assert self.head is not None
        flat, weight, shape = self.head
        gradients = [_latent(self.layers[-1], flat, grad)]
        grad = (grad @ weight.T).reshape(shape)
        for stage, tape in zip(reversed(self.stages), reversed(self.kept), strict=True):
            block, layer = stage.block, stage.layer
            if tape.largest is not None:
                grad = _unpooled(grad, tape.largest, tape.before.shape, block.pool)
            skip = None
            if tape.total is not None:
                grad = _through(np.maximum(tape.total, np.float32(0)), stage.limit, grad) * (tape.total > 0)
                skip = grad
                grad = _through(tape.before, layer.limit, grad)
            else:
                grad = _through(np.maximum(tape.before, np.float32(0)), layer.limit, grad) * (tape.before > 0)
            rows = np.ascontiguousarray(grad).reshape(-1, grad.shape[-1])
            gradients.append(_latent(layer, tape.patches.reshape(len(rows), -1), rows))
            if stage is not self.stages[0]:
                grad = _unpatched((rows @ tape.weight.T).reshape(tape.patches.shape), tape.shape, block)
                if skip is not None:
                    grad = grad + skip
        return gradients[::-1]

    def track(self) -> None:
        """Let the ranges of activations follow the recorded batch.

        A residual block adds its convolution's integers to its input's, so both have the larger range of the two.
        """
        for place, (stage, tape) in enumerate(zip(self.stages, self.kept, strict=True)):
            low = float(tape.before.min()) if stage.block.residual else 0.0
            stage.layer.limit = followed(stage.layer.limit, max(float(tape.before.max()), -low))
            if tape.total is not None:
                stage.limit = followed(stage.limit, float(tape.total.max()))
                if place:
                    self._share(self.stages[place - 1], stage)

    @staticmethod
    def _share(before: Stage, stage: Stage) -> None:
        shared = max(before.out_limit or 0.0, stage.layer.limit or 0.0)
        stage.layer.limit = shared
        if before.block.residual:
            before.limit = shared
        else:
            before.layer.limit = shared


def _activation(limit: float | None) -> estimators.ClippedSTE | None:
    return None if limit is None else estimators.ClippedSTE(format="int8", limit=limit)


def _rounded(y: Float, limit: float | None) -> Float:
    act = _activation(limit)
    return y if act is None else act.forward(y).astype(np.float32)


def _through(y: Float, limit: float | None, grad: Float) -> Float:
    act = _activation(limit)
    return grad if act is None else act.backward(y, grad).astype(np.float32)


def _latent(layer: Layer, x: Float, grad: Float) -> tuple[NDArray[Any], Float]:
    outer = x.T @ grad
    latent = outer if layer.estimator is None else layer.estimator.backward(layer.latent, outer)
    return latent, grad.sum(axis=0)


def _patches(x: Float, block: Block) -> Float:
    """Return what lies under each window, (batch, height, width, kernel * kernel * channels)."""
    half, size = block.kernel // 2, block.kernel
    padded = np.pad(x, ((0, 0), (half, half), (half, half), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    windows = windows[:, :: block.stride, :: block.stride].transpose(0, 1, 2, 4, 5, 3)
    return windows.reshape(*windows.shape[:3], -1)


def _unpatched(grad: Float, shape: tuple[int, ...], block: Block) -> Float:
    """Return the gradient of the feature map from that of its patches."""
    half, size, stride = block.kernel // 2, block.kernel, block.stride
    n, height, width, channels = shape
    padded = np.zeros((n, height + 2 * half, width + 2 * half, channels), np.float32)
    _, rows, columns, _ = grad.shape
    parts = grad.reshape(n, rows, columns, size, size, channels)
    for ky in range(size):
        for kx in range(size):
            down = slice(ky, ky + (rows - 1) * stride + 1, stride)
            across = slice(kx, kx + (columns - 1) * stride + 1, stride)
            padded[:, down, across] += parts[:, :, :, ky, kx]
    return padded[:, half : half + height, half : half + width]


def _blocks(x: Float, size: int) -> Float:
    """Return the windows of a pool, (batch, height, width, channels, size * size)."""
    n, height, width, channels = x.shape
    rows, columns = height // size, width // size
    cut = x[:, : rows * size, : columns * size].reshape(n, rows, size, columns, size, channels)
    return cut.transpose(0, 1, 3, 5, 2, 4).reshape(n, rows, columns, channels, size * size)


def _pooled(x: Float, size: int) -> tuple[Float, NDArray[np.intp]]:
    """Return the largest values, and which of each window they are."""
    windows = _blocks(x, size)
    return windows.max(axis=-1), windows.argmax(axis=-1)


def _unpooled(grad: Float, largest: NDArray[np.intp], shape: tuple[int, ...], size: int) -> Float:
    """Return the gradient of a pool's input."""
    n, rows, columns, channels = grad.shape
    windows = np.zeros((*grad.shape, size * size), np.float32)
    np.put_along_axis(windows, largest[..., np.newaxis], grad[..., np.newaxis], axis=-1)
    cut = windows.reshape(n, rows, columns, channels, size, size).transpose(0, 1, 4, 2, 5, 3)
    result = np.zeros(shape, np.float32)
    result[:, : rows * size, : columns * size] = cut.reshape(n, rows * size, columns * size, channels)
    return result
