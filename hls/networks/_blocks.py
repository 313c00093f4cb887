"""What the networks share: a convolution with batch norm and activation, and the usual head."""

__all__ = ["conv_unit", "head"]

from tetrit.hls.graph.build import Builder


def conv_unit(
    b: Builder,
    x: str,
    channels: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    padding: int | tuple[int, ...] | None = None,
    *,
    groups: int = 1,
    activation: str | None = "Relu",
) -> str:
    """Add a convolution without bias, a batch norm and an activation; by default the padding keeps the size."""
    if padding is None:
        padding = kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)
    x = b.batch_norm(b.conv(x, channels, kernel, stride, padding, groups))
    if activation == "Clip":
        return str(b.node("Clip", [x, b.constant(0.0), b.constant(6.0)]))
    return x if activation is None else str(b.node(activation, [x]))


def head(b: Builder, x: str, classes: int = 1000) -> str:
    """Add a global mean and a fully connected layer."""
    return b.linear(b.flatten(b.global_average_pool(x)), classes)
