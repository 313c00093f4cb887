"""Networks that concatenate: GoogLeNet, SqueezeNet 1.1, DenseNet-121."""

__all__ = ["densenet121", "googlenet", "squeezenet1_1"]

from tetrit.hls.graph import Graph
from tetrit.hls.graph.build import Builder
from tetrit.hls.networks._blocks import conv_unit, head

_INCEPTIONS: tuple[tuple[int, ...] | None, ...] = (
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    None,
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    None,
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)
"""Table 1 of the paper: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj; None is a max pooling."""


def googlenet() -> Graph:
    """Return GoogLeNet (Szegedy et al., arXiv 1409.4842) without its auxiliary heads, 224 x 224."""
    b = Builder("googlenet")

    def conv(x: str, channels: int, kernel: int, stride: int = 1) -> str:
        return b.relu(b.conv(x, channels, kernel, stride, kernel // 2, bias=True))

    def norm(x: str) -> str:
        return str(b.node("LRN", [x], size=5))

    x = norm(b.max_pool(conv(b.input("image", (1, 3, 224, 224)), 64, 7, 2), 3, 2, ceil_mode=True))
    x = b.max_pool(norm(conv(conv(x, 64, 1), 192, 3)), 3, 2, ceil_mode=True)
    for inception in _INCEPTIONS:
        if inception is None:
            x = b.max_pool(x, 3, 2, ceil_mode=True)
            continue
        one, three_in, three, five_in, five, pooled = inception
        branches = [
            conv(x, one, 1),
            conv(conv(x, three_in, 1), three, 3),
            conv(conv(x, five_in, 1), five, 5),
            conv(b.max_pool(x, 3, 1, 1), pooled, 1),
        ]
        x = b.concat(branches)
    return b.build([head(b, x)])


def squeezenet1_1() -> Graph:
    """Return SqueezeNet 1.1 (Iandola et al., arXiv 1602.07360, and its repository), 224 x 224."""
    b = Builder("squeezenet1_1")

    def fire(x: str, squeeze: int, expand: int) -> str:
        s = b.relu(b.conv(x, squeeze, 1, bias=True))
        one = b.relu(b.conv(s, expand, 1, bias=True))
        return b.concat([one, b.relu(b.conv(s, expand, 3, 1, 1, bias=True))])

    x = b.relu(b.conv(b.input("image", (1, 3, 224, 224)), 64, 3, 2, bias=True))
    for fires in (((16, 64), (16, 64)), ((32, 128), (32, 128)), ((48, 192), (48, 192), (64, 256), (64, 256))):
        x = b.max_pool(x, 3, 2, ceil_mode=True)
        for squeeze, expand in fires:
            x = fire(x, squeeze, expand)
    x = b.relu(b.conv(x, 1000, 1, bias=True))
    return b.build([b.flatten(b.global_average_pool(x))])


def densenet121() -> Graph:
    """Return DenseNet-121 (Huang et al., arXiv 1608.06993), 224 x 224; a layer's output is joined to what there is."""
    b = Builder("densenet121")
    x = b.max_pool(conv_unit(b, b.input("image", (1, 3, 224, 224)), 64, 7, 2), 3, 2, 1)
    for block, depth in enumerate((6, 12, 24, 16)):
        for _ in range(depth):
            y = b.conv(b.relu(b.batch_norm(x)), 128, 1)
            x = b.concat([x, b.conv(b.relu(b.batch_norm(y)), 32, 3, 1, 1)])
        if block < 3:
            x = b.average_pool(b.conv(b.relu(b.batch_norm(x)), b.shape(x)[1] // 2, 1), 2)
    return b.build([head(b, b.relu(b.batch_norm(x)))])
