"""Residual blocks of 3 x 3 convolutions with batch normalisation, after ResNet for small images."""

__all__ = ["Block", "ResNet"]

from collections.abc import Sequence

from torch import Tensor, nn


def _convolution(n_in: int, n_out: int, kernel: int, stride: int) -> nn.Sequential:
    """Return a convolution without offset and its normalisation."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(n_out)
    )


class Block(nn.Module):
    """Two convolutions around which the input is led and added.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    stride : int
        Of the first convolution. Where the shape changes, the input is led through a 1 x 1 convolution.
    """

    def __init__(self, *, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(n_in, n_out, 3, stride)
        self.second = _convolution(n_out, n_out, 3, 1)
        self.around: nn.Module = nn.Identity() if (n_in, stride) == (n_out, 1) else _convolution(n_in, n_out, 1, stride)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (batch, n_out, height / stride, width / stride) for (batch, n_in, height, width)."""
        y: Tensor = self.relu(self.second(self.relu(self.first(x))) + self.around(x))
        return y


class ResNet(nn.Module):
    """A residual network.

    Parameters
    ----------
    channels : int
        Of an image, of any size.
    widths : sequence of int
        Channels of each stage; every stage after the first halves height and width.
    blocks : int
        In each stage.
    classes : int

    Notes
    -----
    After He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 4.2, with a
    1 x 1 convolution where the shape changes.

    Examples
    --------
    >>> import torch
    >>> from tetrit.train.models.resnet import ResNet
    >>> ResNet(channels=1, widths=(8, 16), blocks=1, classes=10)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(self, *, channels: int, widths: Sequence[int], blocks: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(_convolution(channels, widths[0], 3, 1), nn.ReLU())
        stages: list[nn.Module] = []
        width = widths[0]
        for stage, n_out in enumerate(widths):
            for place in range(blocks):
                stages.append(Block(n_in=width, n_out=n_out, stride=2 if stage and place == 0 else 1))
                width = n_out
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, shape (batch, classes), of images, shape (batch, channels, height, width)."""
        y: Tensor = self.head(self.stages(self.stem(x)).mean((2, 3)))
        return y
