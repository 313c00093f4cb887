"""Stages of 3 x 3 convolutions with batch normalisation and max pooling, after VGG."""

__all__ = ["VGG"]

from collections.abc import Sequence

from torch import Tensor, nn

from tetrit.train.models.mlp import dense


class VGG(nn.Module):
    """A plain deep convolutional network.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width of an image.
    widths : sequence of int
        Channels of each stage.
    depth : int
        Convolutions in each stage.
    hidden : sequence of int
        Widths of the hidden fully connected layers.
    dropout : float
        Before each of the fully connected layers but the first.
    classes : int

    Notes
    -----
    After Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", arXiv:1409.1556;
    the batch normalisation is not theirs.

    Examples
    --------
    >>> import torch
    >>> from tetrit.train.models.vgg import VGG
    >>> model = VGG(shape=(1, 28, 28), widths=(8, 16), depth=2, hidden=(32,), dropout=0.0, classes=10)
    >>> model(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        shape: tuple[int, int, int],
        widths: Sequence[int],
        depth: int,
        hidden: Sequence[int],
        dropout: float,
        classes: int,
    ) -> None:
        super().__init__()
        channels, height, width = shape
        stages: list[nn.Module] = []
        for n_out in widths:
            for _ in range(depth):
                # the normalisation brings its own offset, so the convolution needs none
                stages += [nn.Conv2d(channels, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
                channels = n_out
            stages.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
        self.features = nn.Sequential(*stages)
        self.head = dense((channels * height * width, *hidden, classes), dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, shape (batch, classes), of images, shape (batch, channels, height, width)."""
        y: Tensor = self.head(self.features(x).flatten(1))
        return y
