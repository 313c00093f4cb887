"""Two convolutions with max pooling, then fully connected layers, after LeNet-5."""

__all__ = ["LeNet"]

from collections.abc import Sequence

from torch import Tensor, nn

from tetrit.train.models.mlp import dense


class LeNet(nn.Module):
    """A small convolutional network.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width of an image.
    channels : sequence of two int
        Of the convolutions.
    kernel : int
        Odd height and width of their kernels.
    hidden : sequence of int
        Widths of the hidden fully connected layers.
    classes : int

    Notes
    -----
    After LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", Proceedings of the
    IEEE 86 (1998). Ours has ReLU, max pooling, padded convolutions and a linear output in the place of theirs.

    Examples
    --------
    >>> import torch
    >>> from tetrit.train.models.lenet import LeNet
    >>> model = LeNet(shape=(1, 28, 28), channels=(6, 16), kernel=5, hidden=(120, 84), classes=10)
    >>> model(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        shape: tuple[int, int, int],
        channels: Sequence[int],
        kernel: int,
        hidden: Sequence[int],
        classes: int,
    ) -> None:
        super().__init__()
        first, second = channels
        n_in, height, width = shape
        self.features = nn.Sequential(
            nn.Conv2d(n_in, first, kernel, padding=kernel // 2),  # (batch, first, height, width)
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, kernel, padding=kernel // 2),  # (batch, second, height // 2, width // 2)
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.head = dense((second * (height // 4) * (width // 4), *hidden, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, shape (batch, classes), of images, shape (batch, channels, height, width)."""
        y: Tensor = self.head(self.features(x).flatten(1))
        return y
