"""The sizes of the networks: one frozen, checked description for each, which builds the torch module."""

__all__ = ["GPT", "LSTM", "MLP", "MODELS", "VGG", "LeNet", "ModelSpec", "ResNet"]

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tetrit import checks
from tetrit.errors import InvalidValueError

if TYPE_CHECKING:
    from torch import nn

_LARGEST = 65536
"""Of any width: beyond it a typing error is likelier than a wish."""


@dataclass(frozen=True, kw_only=True)
class ImageSpec(ABC):
    """A network from images to the scores of classes."""

    reads: ClassVar[str] = "images"

    @abstractmethod
    def build(self, shape: tuple[int, int, int], classes: int) -> "nn.Module":
        """Return the module, initialised from torch's generator.

        Parameters
        ----------
        shape : tuple of int
            Channels, height and width of an image.
        classes : int
        """


@dataclass(frozen=True, kw_only=True)
class TextSpec(ABC):
    """A network from symbols to the scores of each next symbol.

    Parameters
    ----------
    context : int
        Symbols in a row that it is trained and tested on; none before them is seen.
    """

    reads: ClassVar[str] = "text"
    context: int = 64

    def __post_init__(self) -> None:
        _integers(self, "context")

    @abstractmethod
    def build(self, symbols: int) -> "nn.Module":
        """Return the module, initialised from torch's generator, for an alphabet of so many `symbols`."""


@dataclass(frozen=True, kw_only=True)
class MLP(ImageSpec):
    """Fully connected layers with ReLU between them.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers; may be empty.
    """

    hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        _widths(self, "hidden", minimum=0)

    def build(self, shape: tuple[int, int, int], classes: int) -> "nn.Module":
        """Build `tetrit.train.models.mlp.MLP`."""
        from tetrit.train.models import mlp

        return mlp.MLP(n_in=shape[0] * shape[1] * shape[2], hidden=self.hidden, classes=classes)


@dataclass(frozen=True, kw_only=True)
class LeNet(ImageSpec):
    """Two convolutions with max pooling, then fully connected layers, after LeNet-5.

    Parameters
    ----------
    channels : tuple of two int
        Of the two convolutions.
    kernel : int
        Height and width of their kernels; odd. They are padded, so that an image keeps its size up to the pooling.
    hidden : tuple of int
        Widths of the hidden fully connected layers.
    """

    channels: tuple[int, ...] = (6, 16)
    kernel: int = 5
    hidden: tuple[int, ...] = (120, 84)

    def __post_init__(self) -> None:
        _widths(self, "channels", minimum=2, maximum=2)
        _integers(self, "kernel")
        if self.kernel % 2 == 0:
            raise InvalidValueError(f"`kernel` must be odd, got {self.kernel}")
        _widths(self, "hidden", minimum=0)

    def build(self, shape: tuple[int, int, int], classes: int) -> "nn.Module":
        """Build `tetrit.train.models.lenet.LeNet`."""
        from tetrit.train.models import lenet

        _halvings(shape, 2)
        return lenet.LeNet(shape=shape, channels=self.channels, kernel=self.kernel, hidden=self.hidden, classes=classes)


@dataclass(frozen=True, kw_only=True)
class VGG(ImageSpec):
    """Stages of 3 x 3 convolutions with batch normalisation, each stage ending in max pooling.

    Parameters
    ----------
    widths : tuple of int
        Channels of each stage.
    depth : int
        Convolutions in each stage.
    hidden : tuple of int
        Widths of the hidden fully connected layers.
    dropout : float
        Share of their inputs that training drops.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    depth: int = 2
    hidden: tuple[int, ...] = (128,)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _widths(self, "widths")
        _integers(self, "depth")
        _widths(self, "hidden", minimum=0)
        _share(self, "dropout")

    def build(self, shape: tuple[int, int, int], classes: int) -> "nn.Module":
        """Build `tetrit.train.models.vgg.VGG`."""
        from tetrit.train.models import vgg

        _halvings(shape, len(self.widths))
        return vgg.VGG(
            shape=shape,
            widths=self.widths,
            depth=self.depth,
            hidden=self.hidden,
            dropout=self.dropout,
            classes=classes,
        )


@dataclass(frozen=True, kw_only=True)
class ResNet(ImageSpec):
    """Residual blocks of two 3 x 3 convolutions with batch normalisation; each stage after the first halves the image.

    Parameters
    ----------
    widths : tuple of int
        Channels of each stage.
    blocks : int
        Blocks in each stage.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    blocks: int = 1

    def __post_init__(self) -> None:
        _widths(self, "widths")
        _integers(self, "blocks")

    def build(self, shape: tuple[int, int, int], classes: int) -> "nn.Module":
        """Build `tetrit.train.models.resnet.ResNet`."""
        from tetrit.train.models import resnet

        return resnet.ResNet(channels=shape[0], widths=self.widths, blocks=self.blocks, classes=classes)


@dataclass(frozen=True, kw_only=True)
class GPT(TextSpec):
    """A causal transformer whose every weight matrix but the embeddings is an ``nn.Linear``.

    Parameters
    ----------
    layers, heads : int
    width : int
        Of the residual stream; a multiple of `heads`.
    dropout : float
        Share of each residual branch that training drops.
    """

    layers: int = 2
    heads: int = 4
    width: int = 64
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _integers(self, "layers", "heads", "width")
        if self.width % self.heads:
            raise InvalidValueError(f"`width` must be a multiple of `heads`, {self.heads}, got {self.width}")
        _share(self, "dropout")

    def build(self, symbols: int) -> "nn.Module":
        """Build `tetrit.train.models.gpt.GPT`."""
        from tetrit.train.models import gpt

        return gpt.GPT(
            symbols=symbols,
            context=self.context,
            layers=self.layers,
            heads=self.heads,
            width=self.width,
            dropout=self.dropout,
        )


@dataclass(frozen=True, kw_only=True)
class LSTM(TextSpec):
    """Long short-term memory whose input and hidden projections are ``nn.Linear``.

    Parameters
    ----------
    layers : int
    width : int
        Of the state of every layer, and of the embedding.
    """

    layers: int = 1
    width: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        _integers(self, "layers", "width")

    def build(self, symbols: int) -> "nn.Module":
        """Build `tetrit.train.models.lstm.LSTM`."""
        from tetrit.train.models import lstm

        return lstm.LSTM(symbols=symbols, layers=self.layers, width=self.width)


ModelSpec = MLP | LeNet | VGG | ResNet | GPT | LSTM

MODELS: dict[str, type[ModelSpec]] = {
    "gpt": GPT,
    "lenet": LeNet,
    "lstm": LSTM,
    "mlp": MLP,
    "resnet": ResNet,
    "vgg": VGG,
}
"""Name in a configuration -> description."""


def _integers(owner: Any, *names: str) -> None:
    for name in names:
        object.__setattr__(owner, name, checks.integer(name, getattr(owner, name), maximum=_LARGEST))


def _widths(owner: Any, name: str, *, minimum: int = 1, maximum: int = 64) -> None:
    given = getattr(owner, name)
    if not isinstance(given, list | tuple):
        raise TypeError(f"`{name}` must be a list of integers, got {given!r}")
    widths = tuple(checks.integer(name, width, maximum=_LARGEST) for width in given)
    if not minimum <= len(widths) <= maximum:
        wanted = f"{minimum}" if minimum == maximum else f"{minimum} to {maximum}"
        raise InvalidValueError(f"`{name}` must have {wanted} entries, got {len(widths)}")
    object.__setattr__(owner, name, widths)


def _share(owner: Any, name: str) -> None:
    share = checks.real(name, getattr(owner, name), minimum=0.0)
    if share >= 1:
        raise InvalidValueError(f"`{name}` must be at least 0 and below 1, got {share:g}")
    object.__setattr__(owner, name, share)


def _halvings(shape: tuple[int, int, int], times: int) -> None:
    """Refuse images that `times` poolings by two would leave nothing of."""
    if min(shape[1:]) >> times == 0:
        raise InvalidValueError(f"images of {shape[1]} x {shape[2]} pixels are too small to be halved {times} times")
