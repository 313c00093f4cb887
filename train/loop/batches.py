"""Batches of images or text: which ones a step sees is a function of seed, phase and step, and of nothing else."""

__all__ = ["Batches", "ImageBatches", "TextBatches", "batches"]

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tetrit.errors import InvalidValueError
from tetrit.train.data import ImageData, Images, TextData

_EVALUATED = 500
"""Images at a time in an evaluation."""


class Batches(ABC):
    """The batches of one training.

    Parameters
    ----------
    seed : int
    batch : int
        Items per step.
    items : int
        That there are in one pass over the training data; those left over from the last whole batch wait for a later
        pass, since every pass has another order.
    device : str
    """

    def __init__(self, *, seed: int, batch: int, items: int, device: str) -> None:
        if batch > items:
            raise InvalidValueError(f"`batch` is {batch}, but there are {items} items of training data only")
        self.seed = seed
        self.size = batch
        self.items = items
        self.device = torch.device(device)
        self.per_epoch = items // batch
        self._pass: tuple[tuple[int, int], np.random.Generator, NDArray[np.int64]] | None = None

    def train(self, phase: int, step: int) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of one step, from 0, of one phase of the training."""
        epoch, place = divmod(step, self.per_epoch)
        if self._pass is None or self._pass[0] != (phase, epoch):
            rng = np.random.default_rng([self.seed, phase, epoch])
            self._pass = (phase, epoch), rng, rng.permutation(self.items)
            self.begin_pass(rng)
        chosen = self._pass[2][place * self.size : (place + 1) * self.size]
        return self.items_at(chosen)

    def begin_pass(self, rng: np.random.Generator) -> None:
        """Draw what else a pass over the data needs."""
        del rng

    @abstractmethod
    def items_at(self, chosen: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of the training items with these numbers."""

    @abstractmethod
    def evaluation(self, part: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs and targets of all items of ``"validation"`` or ``"test"``, in order."""

    @staticmethod
    @abstractmethod
    def metrics(loss: float, accuracy: float) -> dict[str, float]:
        """Return what is reported of a mean loss in nats and a share of right answers."""

    @property
    @abstractmethod
    def example(self) -> Tensor:
        """A small input for what must see one: two training items."""


class ImageBatches(Batches):
    """Images as float32, ``x * scale``."""

    def __init__(self, data: ImageData, *, seed: int, batch: int, device: str) -> None:
        super().__init__(seed=seed, batch=batch, items=len(data.train.y), device=device)
        self.data = data
        self.scale = data.scale

    def _tensors(self, images: Images, chosen: Any) -> tuple[Tensor, Tensor]:
        x = torch.from_numpy(images.x[chosen]).to(self.device).float() * self.scale
        return x, torch.from_numpy(images.y[chosen]).to(self.device)

    def items_at(self, chosen: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return float32 images, shape (batch, channels, height, width), and int64 classes, shape (batch,)."""
        return self._tensors(self.data.train, chosen)

    def evaluation(self, part: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and classes, 500 at a time."""
        images: Images = getattr(self.data, part)
        for begin in range(0, len(images.y), _EVALUATED):
            yield self._tensors(images, slice(begin, begin + _EVALUATED))

    @staticmethod
    def metrics(loss: float, accuracy: float) -> dict[str, float]:
        """Return the loss in nats and the accuracy."""
        return {"loss": loss, "accuracy": accuracy}

    @property
    def example(self) -> Tensor:
        """The first two training images."""
        return self._tensors(self.data.train, slice(2))[0]


class TextBatches(Batches):
    """Stretches of `context` symbols; the targets are the symbols that follow each.

    A pass over the training text begins at a drawn place within the first stretch and cuts from there on, so that the
    borders move from pass to pass. Evaluations cut from the beginning; the rest that fills no stretch is left out.
    """

    def __init__(self, data: TextData, *, context: int, seed: int, batch: int, device: str) -> None:
        for part in ("train", "validation", "test"):
            if len(getattr(data, part)) < 2 * context:
                raise InvalidValueError(
                    f"the {part} text of {len(getattr(data, part))} symbols is shorter than two contexts of {context}"
                )
        super().__init__(seed=seed, batch=batch, items=len(data.train) // context - 1, device=device)
        self.data = data
        self.context = context
        self.offset = 0

    def begin_pass(self, rng: np.random.Generator) -> None:
        """Draw where the cuts begin."""
        self.offset = int(rng.integers(self.context))

    def _tensors(self, text: NDArray[np.uint8], starts: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        cut = torch.from_numpy(text[starts[:, None] + np.arange(self.context + 1)].astype(np.int64)).to(self.device)
        return cut[:, :-1], cut[:, 1:]

    def items_at(self, chosen: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return int64 symbols and following symbols, shape (batch, context) each."""
        return self._tensors(self.data.train, self.offset + chosen * self.context)

    def evaluation(self, part: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield stretches and what follows, as many at a time as in training."""
        text = getattr(self.data, part)
        starts = np.arange(0, len(text) - self.context, self.context)
        for begin in range(0, len(starts), self.size):
            yield self._tensors(text, starts[begin : begin + self.size])

    @staticmethod
    def metrics(loss: float, accuracy: float) -> dict[str, float]:
        """Return the loss in nats, the accuracy, the perplexity, and bits per character."""
        return {
            "loss": loss,
            "accuracy": accuracy,
            "perplexity": math.exp(min(loss, 700.0)),
            "bits_per_character": loss / math.log(2.0),
        }

    @property
    def example(self) -> Tensor:
        """The first two stretches of the training text."""
        return self._tensors(self.data.train, np.array([0, self.context]))[0]


def batches(data: ImageData | TextData, *, context: int | None, seed: int, batch: int, device: str) -> Batches:
    """Return the batches of `data`; text needs a `context`."""
    if isinstance(data, ImageData):
        return ImageBatches(data, seed=seed, batch=batch, device=device)
    if context is None:
        raise InvalidValueError("text needs a context length")
    return TextBatches(data, context=context, seed=seed, batch=batch, device=device)
