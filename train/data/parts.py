"""What every data source gives: images or text in three parts, for training, for choosing, and for the last word."""

__all__ = ["CLASSES", "ImageData", "Images", "TextData", "hold_out"]

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError

CLASSES = 65_536
"""Most classes there may be: a label read wrongly must not ask for a classifier that fills the memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """Labelled images.

    Parameters
    ----------
    x : ndarray of uint8, int8 or float32, shape (n, channels, height, width)
        Pixels; finite.
    y : ndarray of int64, shape (n,)
        Classes from 0 to 65535.

    Raises
    ------
    InvalidValueError
        If the shapes do not fit each other, there are no images, a pixel is not finite, or a class is out of range.
    """

    x: NDArray[Any]
    y: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or self.x.size == 0:
            raise InvalidValueError(
                f"`x` must have shape (images, channels, height, width), none of them 0, got {self.x.shape}"
            )
        if self.y.shape != self.x.shape[:1]:
            raise InvalidValueError(f"`y` must have one class for each of {len(self.x)} images, got {self.y.shape}")
        if self.x.dtype.kind == "f":
            checks.finite("x", self.x)
        if self.y.min() < 0:
            where = int(self.y.argmin())
            raise InvalidValueError(f"`y` must be classes from 0, got {self.y[where]} at index {where}")
        if self.y.max() >= CLASSES:
            where = int(self.y.argmax())
            raise InvalidValueError(f"`y` must be classes up to {CLASSES - 1}, got {self.y[where]} at index {where}")

    def take(self, chosen: NDArray[Any]) -> "Images":
        """Return the images at `chosen`, indices or a mask."""
        return Images(x=self.x[chosen], y=self.y[chosen])


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageData:
    """Images for training, for validation (stopping early, choosing a configuration), and for the final test.

    Attributes
    ----------
    source : str
        Name of the source.
    train, validation, test : Images
        Of the same shape and dtype.
    scale : float
        Real value of one pixel unit: a network sees ``x * scale``.
    details : dict
        What else identifies the data.
    """

    source: str
    train: Images
    validation: Images
    test: Images
    scale: float
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("validation", "test"):
            part = getattr(self, name)
            if part.x.shape[1:] != self.train.x.shape[1:] or part.x.dtype != self.train.x.dtype:
                raise InvalidValueError(
                    f"the {name} images must have the shape and dtype of the training images, "
                    f"{self.train.x.shape[1:]} and {self.train.x.dtype}, got {part.x.shape[1:]} and {part.x.dtype}"
                )
            if part.y.max() >= self.classes:
                raise InvalidValueError(
                    f"the {name} labels go up to {part.y.max()}, the training labels to {self.classes - 1} only"
                )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train.x.shape[1:]
        return channels, height, width

    @property
    def classes(self) -> int:
        """Number of classes: one more than the largest training label."""
        return int(self.train.y.max()) + 1

    @property
    def sha256(self) -> str:
        """Fingerprint of the arrays of all parts, with their shapes and dtypes, and of the scale."""
        parts = (self.train, self.validation, self.test)
        return _fingerprint(repr(self.scale).encode(), *(array for part in parts for array in (part.x, part.y)))

    def summary(self) -> dict[str, Any]:
        """Return what a report says of the data."""
        sizes = {name: len(getattr(self, name).y) for name in ("train", "validation", "test")}
        shape = list(self.shape)
        return {"source": self.source, **sizes, "shape": shape, "classes": self.classes, "sha256": self.sha256} | (
            self.details
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class TextData:
    """One text, cut into three stretches: the first for training, then one for validation and one for the final test.

    Attributes
    ----------
    source : str
        Name of the source.
    train, validation, test : ndarray of uint8, shape (n,)
        Symbols: indices into `alphabet`.
    alphabet : bytes
        The different bytes of the whole text, in ascending order.
    sha256 : str
        Of the bytes of the text.
    details : dict
        What else identifies the text.
    """

    source: str
    train: NDArray[np.uint8]
    validation: NDArray[np.uint8]
    test: NDArray[np.uint8]
    alphabet: bytes
    sha256: str
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def cut(
        cls, text: bytes, *, source: str, validation: float, test: float, details: dict[str, Any] | None = None
    ) -> "TextData":
        """Encode `text` and cut off its last shares `test` and, before that, `validation`, in whole bytes.

        Examples
        --------
        >>> from tetrit.train.data import TextData
        >>> data = TextData.cut(b"abracadabra!", source="example", validation=0.25, test=0.25)
        >>> data.alphabet, data.train.tolist(), data.validation.tolist()
        (b'!abcdr', [1, 2, 5, 1, 3, 1], [4, 1, 2])
        """
        data = np.frombuffer(text, np.uint8)
        used, inverse = np.unique(data, return_inverse=True)
        symbols = inverse.astype(np.uint8)
        n_test, n_validation = round(test * len(data)), round(validation * len(data))
        first, second = len(data) - n_test - n_validation, len(data) - n_test
        if not 0 < first < second < len(data):
            raise InvalidValueError(
                f"a text of {len(data)} bytes cannot be cut into training, validation ({validation:g}) "
                f"and test ({test:g})"
            )
        return cls(
            source=source,
            train=symbols[:first],
            validation=symbols[first:second],
            test=symbols[second:],
            alphabet=used.tobytes(),
            sha256=hashlib.sha256(text).hexdigest(),
            details=details or {},
        )

    def summary(self) -> dict[str, Any]:
        """Return what a report says of the text."""
        sizes = {name: len(getattr(self, name)) for name in ("train", "validation", "test")}
        return {"source": self.source, **sizes, "alphabet": len(self.alphabet), "sha256": self.sha256} | self.details


def hold_out(images: Images, share: float, *, seed: int) -> tuple[Images, Images]:
    """Split images into those that stay and those held out, class by class; both keep their order.

    Parameters
    ----------
    images : Images
    share : float
        Share of every class that is held out, rounded to whole images over the classes so far.
    seed : int
        Of the choice.

    Returns
    -------
    tuple of Images
        Those that stay, those held out.

    Raises
    ------
    InvalidValueError
        If one of the two would be empty.
    """
    rng = np.random.default_rng(seed)
    held = np.zeros(len(images.y), bool)
    done = 0
    for label in np.unique(images.y):
        members = rng.permutation(np.flatnonzero(images.y == label))
        total = round(share * np.count_nonzero(images.y <= label))
        held[members[: total - done]] = True
        done = total
    if held.all() or not held.any():
        raise InvalidValueError(f"a share of {share:g} of {len(held)} images leaves no images on one side of the split")
    return images.take(~held), images.take(held)


def _fingerprint(*pieces: bytes | NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        if isinstance(piece, bytes):
            digest.update(piece)
        else:
            digest.update(f"{piece.dtype.str}{piece.shape}".encode())
            digest.update(np.ascontiguousarray(piece).data)
    return digest.hexdigest()
