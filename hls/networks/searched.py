"""Networks of cells that a search found: NASNet-A, mobile and large, and the cell of DARTS on ImageNet."""

__all__ = ["darts_imagenet", "nasnet_a_large", "nasnet_a_mobile"]

import numpy as np

from tetrit.hls.graph import Graph
from tetrit.hls.graph.build import Builder
from tetrit.hls.networks._blocks import conv_unit, head


def nasnet_a_mobile() -> Graph:
    """Return NASNet-A (4 @ 1056) (Zoph et al., arXiv 1707.07012) with the details of Keras, 224 x 224."""
    return _nasnet("nasnet_a_mobile", 224, 1056, 4, 32, skip_reduction=False)


def nasnet_a_large() -> Graph:
    """Return NASNet-A (6 @ 4032) (Zoph et al., arXiv 1707.07012) with the details of Keras, 331 x 331."""
    return _nasnet("nasnet_a_large", 331, 4032, 6, 96, skip_reduction=True)


def _nasnet(name: str, side: int, penultimate: int, repeats: int, stem: int, *, skip_reduction: bool) -> Graph:
    b = Builder(name)
    filters = penultimate // 24
    x = conv_unit(b, b.input("image", (1, 3, side, side)), stem, 3, 2, 0, activation=None)
    x, p = _nasnet_reduction(b, x, None, filters // 4)
    x, p = _nasnet_reduction(b, x, p, filters // 2)
    for stage in range(3):
        if stage:
            x, before = _nasnet_reduction(b, x, p, filters << stage)
            p = p if skip_reduction else before
        for _ in range(repeats):
            x, p = _nasnet_normal(b, x, p, filters << stage)
    return b.build([head(b, b.relu(x))])


def _same(size: int, kernel: int, stride: int) -> tuple[int, int, int, int]:
    """Return begins and ends of the padding with which a window of this stride gives size / stride, rounded up."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return (total // 2,) * 2 + (total - total // 2,) * 2


def _separable(b: Builder, x: str, channels: int, kernel: int, stride: int = 1) -> str:
    for step in (stride, 1):
        before = b.shape(x)[1]
        padding = _same(b.shape(x)[2], kernel, step)
        x = b.conv(b.relu(x), before, kernel, step, padding, before)
        x = b.batch_norm(b.conv(x, channels, 1))
    return x


def _halved(b: Builder, x: str, channels: int) -> str:
    """Add two 1 x 1 convolutions of stride 2, the second one a pixel further (down and right), joined."""
    x = b.relu(x)
    first = b.conv(x, channels // 2, 1, 2)
    begin, end, axes, step = (b.constant(np.array(pair, np.int64)) for pair in ((1, 1), (1 << 30,) * 2, (2, 3), (2, 2)))
    further = str(b.node("Slice", [x, begin, end, axes, step]))
    lacking = b.shape(first)[2] - b.shape(further)[2]  # a pixel past the end, which is 0, where the size is odd
    second = b.conv(further, channels - channels // 2, 1, 1, (0, 0, lacking, lacking))
    return b.batch_norm(b.concat([first, second]))


def _adjusted(b: Builder, x: str, p: str | None, channels: int) -> str:
    if p is None:
        return x
    if b.shape(p)[2] != b.shape(x)[2]:
        return _halved(b, p, channels)
    if b.shape(p)[1] != channels:
        return b.batch_norm(b.conv(b.relu(p), channels, 1))
    return p


def _nasnet_normal(b: Builder, x: str, before: str, channels: int) -> tuple[str, str]:
    p = _adjusted(b, x, before, channels)
    h = b.batch_norm(b.conv(b.relu(x), channels, 1))
    blocks = [
        b.add(_separable(b, h, channels, 5), _separable(b, p, channels, 3)),
        b.add(_separable(b, p, channels, 5), _separable(b, p, channels, 3)),
        b.add(b.average_pool(h, 3, 1, 1), p),
        b.add(b.average_pool(p, 3, 1, 1), b.average_pool(p, 3, 1, 1)),
        b.add(_separable(b, h, channels, 3), h),
    ]
    return b.concat([p, *blocks]), x


def _nasnet_reduction(b: Builder, x: str, before: str | None, channels: int) -> tuple[str, str]:
    p = _adjusted(b, x, before, channels)
    h = b.batch_norm(b.conv(b.relu(x), channels, 1))
    pads = _same(b.shape(h)[2], 3, 2)
    one = b.add(_separable(b, h, channels, 5, 2), _separable(b, p, channels, 7, 2))
    two = b.add(b.max_pool(h, 3, 2, pads), _separable(b, p, channels, 7, 2))
    three = b.add(b.average_pool(h, 3, 2, pads), _separable(b, p, channels, 5, 2))
    four = b.add(b.average_pool(one, 3, 1, 1), two)
    five = b.add(_separable(b, one, channels, 3), b.max_pool(h, 3, 2, pads))
    return b.concat([two, three, four, five]), x


def darts_imagenet() -> Graph:
    """Return DARTS' second-order cell (Liu et al., arXiv 1806.09055) as trained on ImageNet: 14 cells, 48 channels."""
    b = Builder("darts_imagenet")
    x = conv_unit(b, b.input("image", (1, 3, 224, 224)), 24, 3, 2)
    before = conv_unit(b, x, 48, 3, 2, activation=None)
    x = b.batch_norm(b.conv(b.relu(before), 48, 3, 2, 1))
    channels, halved = 48, True
    for cell in range(14):
        reduce = cell in (14 // 3, 2 * 14 // 3)
        channels *= 2 if reduce else 1
        s0 = _halved(b, before, channels) if halved else b.batch_norm(b.conv(b.relu(before), channels, 1))
        s1 = b.batch_norm(b.conv(b.relu(x), channels, 1))
        before, x = x, (_darts_reduction if reduce else _darts_normal)(b, s0, s1, channels)
        halved = reduce
    return b.build([head(b, x)])


def _darts_normal(b: Builder, s0: str, s1: str, channels: int) -> str:
    s2 = b.add(_separable(b, s0, channels, 3), _separable(b, s1, channels, 3))
    s3 = b.add(_separable(b, s0, channels, 3), _separable(b, s1, channels, 3))
    s4 = b.add(_separable(b, s1, channels, 3), s0)
    dilated = b.conv(b.relu(s2), channels, 3, 1, 2, channels, 2)
    s5 = b.add(s0, b.batch_norm(b.conv(dilated, channels, 1)))
    return b.concat([s2, s3, s4, s5])


def _darts_reduction(b: Builder, s0: str, s1: str, channels: int) -> str:
    def pooled(x: str) -> str:
        return b.max_pool(x, 3, 2, 1)

    s2 = b.add(pooled(s0), pooled(s1))
    s3 = b.add(s2, pooled(s1))
    s4 = b.add(pooled(s0), s2)
    s5 = b.add(s2, pooled(s1))
    return b.concat([s2, s3, s4, s5])
