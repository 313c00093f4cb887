"""Networks of residual blocks: ResNet-18 and -50, MobileNetV2, EfficientNet-B0."""

__all__ = ["efficientnet_b0", "mobilenet_v2", "resnet18", "resnet50"]

from tetrit.hls.graph import Graph
from tetrit.hls.graph.build import Builder
from tetrit.hls.networks._blocks import conv_unit, head


def resnet18() -> Graph:
    """Return ResNet-18 (He et al., arXiv 1512.03385), 224 x 224."""
    return _resnet("resnet18", (2, 2, 2, 2), bottleneck=False)


def resnet50() -> Graph:
    """Return ResNet-50 (He et al., arXiv 1512.03385), 224 x 224, with the stride in the 3 x 3 as torchvision has it."""
    return _resnet("resnet50", (3, 4, 6, 3), bottleneck=True)


def _resnet(name: str, depths: tuple[int, ...], *, bottleneck: bool) -> Graph:
    b = Builder(name)
    x = b.max_pool(conv_unit(b, b.input("image", (1, 3, 224, 224)), 64, 7, 2), 3, 2, 1)
    for stage, depth in enumerate(depths):
        width = 64 << stage
        for block in range(depth):
            stride = 2 if stage and not block else 1
            shortcut = x
            if bottleneck:
                y = conv_unit(b, conv_unit(b, x, width, 1), width, 3, stride)
                y = conv_unit(b, y, 4 * width, 1, activation=None)
            else:
                y = conv_unit(b, conv_unit(b, x, width, 3, stride), width, 3, activation=None)
            if b.shape(y) != b.shape(x):
                shortcut = conv_unit(b, x, b.shape(y)[1], 1, stride, activation=None)
            x = b.relu(b.add(y, shortcut))
    return b.build([head(b, x)])


def mobilenet_v2() -> Graph:
    """Return MobileNetV2 of width 1 (Sandler et al., arXiv 1801.04381), 224 x 224."""
    b = Builder("mobilenet_v2")
    x = conv_unit(b, b.input("image", (1, 3, 224, 224)), 32, 3, 2, activation="Clip")
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, channels, count, first_stride in stages:
        for block in range(count):
            stride = first_stride if block == 0 else 1
            before = b.shape(x)[1]
            y = x if expansion == 1 else conv_unit(b, x, expansion * before, 1, activation="Clip")
            y = conv_unit(b, y, expansion * before, 3, stride, groups=expansion * before, activation="Clip")
            y = conv_unit(b, y, channels, 1, activation=None)
            x = b.add(x, y) if stride == 1 and before == channels else y
    return b.build([head(b, conv_unit(b, x, 1280, 1, activation="Clip"))])


def efficientnet_b0() -> Graph:
    """Return EfficientNet-B0 (Tan and Le, arXiv 1905.11946) with squeeze and excitation, 224 x 224."""
    b = Builder("efficientnet_b0")
    x = conv_unit(b, b.input("image", (1, 3, 224, 224)), 32, 3, 2, activation="Swish")
    stages = (
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    )
    for expansion, channels, count, first_stride, kernel in stages:
        for block in range(count):
            stride = first_stride if block == 0 else 1
            before = b.shape(x)[1]
            inner = expansion * before
            y = x if expansion == 1 else conv_unit(b, x, inner, 1, activation="Swish")
            y = conv_unit(b, y, inner, kernel, stride, groups=inner, activation="Swish")
            gate = b.node("Swish", [b.conv(b.global_average_pool(y), before // 4, 1, bias=True)])
            gate = b.node("Sigmoid", [b.conv(gate, inner, 1, bias=True)])
            y = conv_unit(b, b.node("Mul", [y, gate]), channels, 1, activation=None)
            x = b.add(x, y) if stride == 1 and before == channels else y
    return b.build([head(b, conv_unit(b, x, 1280, 1, activation="Swish"))])
