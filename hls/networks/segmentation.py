"""Networks that give a label to every pixel: U-Net and FCN-8s."""

__all__ = ["fcn8s", "unet"]

from collections.abc import Sequence

import numpy as np

from tetrit.hls.graph import Graph
from tetrit.hls.graph.build import Builder


def _up(b: Builder, x: str, channels: int, kernel: int, stride: int, *, bias: bool = False) -> str:
    shape = (b.shape(x)[1], channels, kernel, kernel)
    inputs = [x, b.constant(np.broadcast_to(np.float32(0), shape))]
    if bias:
        inputs.append(b.constant(np.broadcast_to(np.float32(0), (channels,))))
    return str(b.node("ConvTranspose", inputs, strides=(stride, stride)))


def _crop(b: Builder, x: str, offset: int, like: Sequence[int]) -> str:
    """Cut out what has the height and width of another shape."""
    starts = b.constant(np.array([offset, offset], np.int64))
    ends = b.constant(np.array([offset + like[2], offset + like[3]], np.int64))
    return str(b.node("Slice", [x, starts, ends, b.constant(np.array([2, 3], np.int64))]))


def unet() -> Graph:
    """Return U-Net (Ronneberger et al., arXiv 1505.04597): unpadded convolutions, 572 x 572 to 388 x 388."""
    b = Builder("unet")

    def double(x: str, channels: int) -> str:
        return b.relu(b.conv(b.relu(b.conv(x, channels, 3, bias=True)), channels, 3, bias=True))

    x = b.input("image", (1, 1, 572, 572))
    skips = []
    for channels in (64, 128, 256, 512):
        x = double(x, channels)
        skips.append(x)
        x = b.max_pool(x, 2)
    x = double(x, 1024)
    for skip, channels in zip(reversed(skips), (512, 256, 128, 64), strict=True):
        up = _up(b, x, channels, 2, 2, bias=True)
        offset = (b.shape(skip)[2] - b.shape(up)[2]) // 2
        x = double(b.concat([_crop(b, skip, offset, b.shape(up)), up]), channels)
    return b.build([b.conv(x, 2, 1, bias=True)])


def fcn8s() -> Graph:
    """Return FCN-8s on VGG-16 (Long et al., arXiv 1411.4038): 500 x 500, 21 classes, padding and crops of its code."""
    b = Builder("fcn8s")
    x = b.input("image", (1, 3, 500, 500))
    image = b.shape(x)
    pools = []
    for stage, (channels, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        for layer in range(count):
            x = b.relu(b.conv(x, channels, 3, 1, 100 if stage == layer == 0 else 1, bias=True))
        x = b.max_pool(x, 2, ceil_mode=True)
        pools.append(x)
    x = b.relu(b.conv(x, 4096, 7, bias=True))
    x = b.relu(b.conv(x, 4096, 1, bias=True))
    x = _up(b, b.conv(x, 21, 1, bias=True), 21, 4, 2)
    for pool, offset, (kernel, stride) in ((pools[3], 5, (4, 2)), (pools[2], 9, (16, 8))):
        score = _crop(b, b.conv(pool, 21, 1, bias=True), offset, b.shape(x))
        x = _up(b, b.add(x, score), 21, kernel, stride)
    return b.build([_crop(b, x, 31, image)])
