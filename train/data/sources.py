"""Where data comes from: one frozen, checked description for each source, which loads it."""

__all__ = ["SOURCES", "Digits", "Fashion", "Idx", "Npz", "Source", "Stdlib", "Text"]

import math
import platform
import sysconfig
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError, ToolError
from tetrit.train import digits
from tetrit.train.data.idx import LIMIT, read_idx
from tetrit.train.data.parts import ImageData, Images, TextData, hold_out

FASHION = "/usr/share/datasets/fashion-mnist"
"""Where Debian's package dataset-fashion-mnist puts its files."""


@dataclass(frozen=True, kw_only=True)
class Digits:
    """scikit-learn's bundled digits, 8 x 8 pixels of 0 to 16: see `tetrit.train.digits.load`.

    Parameters
    ----------
    held_out : float
        Share of every class for the test.
    split_seed : int
        Of both splits.
    validation : float
        Share of every class of the other images for validation.
    """

    held_out: float = 0.25
    split_seed: int = 0
    validation: float = 0.1

    def __post_init__(self) -> None:
        _set_share(self, "held_out")
        _set_share(self, "validation")
        object.__setattr__(self, "split_seed", checks.integer("split_seed", self.split_seed, minimum=0))

    def load(self, folder: Path = Path()) -> ImageData:
        """Load and split the images; raises ToolError without scikit-learn."""
        data = digits.load(held_out=self.held_out, split_seed=self.split_seed)
        rest = Images(x=data.train_x.reshape(-1, 1, 8, 8), y=data.train_y)
        train, validation = hold_out(rest, self.validation, seed=self.split_seed)
        test = Images(x=data.test_x.reshape(-1, 1, 8, 8), y=data.test_y)
        return ImageData(source="digits", train=train, validation=validation, test=test, scale=data.in_scale)


@dataclass(frozen=True, kw_only=True)
class _Files:
    """What the sources that read files of images share.

    Parameters
    ----------
    validation : float
        Share of every class of the training images for validation.
    split_seed : int
        Of that split.
    limit : int or None
        Use this many training images, the first ones.
    """

    validation: float = 0.1
    split_seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        _set_share(self, "validation")
        object.__setattr__(self, "split_seed", checks.integer("split_seed", self.split_seed, minimum=0))
        if self.limit is not None:
            object.__setattr__(self, "limit", checks.integer("limit", self.limit))

    def split(self, source: str, train: Images, test: Images) -> ImageData:
        """Cut, split and describe what was read."""
        if self.limit is not None:
            if self.limit > len(train.y):
                raise InvalidValueError(f"`limit` is {self.limit}, but there are {len(train.y)} training images only")
            train = train.take(np.arange(self.limit))
        rest, validation = hold_out(train, self.validation, seed=self.split_seed)
        scale = 1.0 / 255.0 if train.x.dtype == np.uint8 else 1.0
        return ImageData(source=source, train=rest, validation=validation, test=test, scale=scale)


@dataclass(frozen=True, kw_only=True)
class Idx(_Files):
    """Two pairs of IDX files, images and labels, plain or compressed.

    Images of uint8 are scaled to 0 to 1; those of other types are taken as they are, in float32.

    Parameters
    ----------
    train_images, train_labels, test_images, test_labels : str
        Paths. Images have shape (n, height, width) or (n, channels, height, width), labels (n,).
    """

    train_images: str
    train_labels: str
    test_images: str
    test_labels: str

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("train_images", "train_labels", "test_images", "test_labels"):
            _check_path(self, name)

    def load(self, folder: Path = Path()) -> ImageData:
        """Read the four files."""
        train = _pair(folder / self.train_images, folder / self.train_labels)
        test = _pair(folder / self.test_images, folder / self.test_labels)
        return self.split("idx", train, test)


@dataclass(frozen=True, kw_only=True)
class Npz(_Files):
    """Two NPZ files, each with the arrays ``x`` and ``y``; nothing that needs pickle is read.

    Parameters
    ----------
    train, test : str
        Paths. ``x`` has shape (n, height, width) or (n, channels, height, width), ``y`` (n,) of integers.
    """

    train: str
    test: str

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_path(self, "train")
        _check_path(self, "test")

    def load(self, folder: Path = Path()) -> ImageData:
        """Read the two files."""
        return self.split("npz", _npz(folder / self.train), _npz(folder / self.test))


@dataclass(frozen=True, kw_only=True)
class Fashion(_Files):
    """Fashion-MNIST, 28 x 28 pixels of 0 to 255, as Debian's package dataset-fashion-mnist installs it.

    Parameters
    ----------
    path : str
        Folder of the four IDX files.

    Notes
    -----
    Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
    arXiv:1708.07747.
    """

    path: str = FASHION

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_path(self, "path")

    def load(self, folder: Path = Path()) -> ImageData:
        """Read the four files; raises ToolError if they are not there."""
        root = folder / self.path
        if not root.is_dir():
            raise ToolError(f"no Fashion-MNIST in '{root}': install Debian's dataset-fashion-mnist, or set `path`")
        pairs = [
            _pair(root / f"{part}-images-idx3-ubyte.gz", root / f"{part}-labels-idx1-ubyte.gz")
            for part in ("train", "t10k")
        ]
        return self.split("fashion", *pairs)


@dataclass(frozen=True, kw_only=True)
class Stdlib:
    """The source of Python's own standard library as a text that is on every machine.

    The text is the modules of one file at the top of the library, in the order of their names, without those that are
    not plain ASCII, cut after `budget` bytes. It differs between versions of Python, so the summary names the version
    and the text's SHA-256.

    Parameters
    ----------
    budget : int
        Length of the text in bytes.
    validation, test : float
        Shares of the text, at its end.
    """

    budget: int = 1_000_000
    validation: float = 0.05
    test: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "budget", checks.integer("budget", self.budget))
        _set_share(self, "validation")
        _set_share(self, "test")

    def load(self, folder: Path = Path()) -> TextData:
        """Read as many files as the budget needs."""
        library = Path(sysconfig.get_paths()["stdlib"])
        text = bytearray()
        for path in sorted(library.glob("*.py"), key=lambda path: path.name):
            data = _bytes(path)
            if data.isascii():
                text += data
            if len(text) >= self.budget:
                break
        if len(text) < self.budget:
            raise InvalidValueError(f"`budget` is {self.budget}, but '{library}' has {len(text)} bytes of modules only")
        details = {"python": platform.python_version()}
        return TextData.cut(
            bytes(text[: self.budget]), source="stdlib", validation=self.validation, test=self.test, details=details
        )


@dataclass(frozen=True, kw_only=True)
class Text:
    """Any file, as a text of bytes.

    Parameters
    ----------
    path : str
    validation, test : float
        Shares of the text, at its end.
    """

    path: str
    validation: float = 0.05
    test: float = 0.05

    def __post_init__(self) -> None:
        _check_path(self, "path")
        _set_share(self, "validation")
        _set_share(self, "test")

    def load(self, folder: Path = Path()) -> TextData:
        """Read the file."""
        text = _bytes(folder / self.path)
        return TextData.cut(text, source="text", validation=self.validation, test=self.test)


Source = Digits | Fashion | Idx | Npz | Stdlib | Text

SOURCES: dict[str, type[Source]] = {
    "digits": Digits,
    "fashion": Fashion,
    "idx": Idx,
    "npz": Npz,
    "stdlib": Stdlib,
    "text": Text,
}
"""Name in a configuration -> description."""


def _set_share(owner: Any, name: str) -> None:
    share = checks.real(name, getattr(owner, name), minimum=0.0, exclusive=True)
    if share >= 1:
        raise InvalidValueError(f"`{name}` must be above 0 and below 1, got {share:g}")
    object.__setattr__(owner, name, share)


def _check_path(owner: Any, name: str) -> None:
    value = getattr(owner, name)
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be a string, got {value!r}")
    if not value or "\0" in value:
        raise InvalidValueError(f"`{name}` must be a path, got {value!r}")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidValueError(f"cannot read text '{path}': {error.strerror}") from None


def _pair(images: Path, labels: Path) -> Images:
    return _images(f"'{images}' and '{labels}'", read_idx(images), read_idx(labels))


def _npz(path: Path) -> Images:
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise InvalidValueError(f"'{path}' is no NPZ file")
        with np.load(path, allow_pickle=False) as arrays, zipfile.ZipFile(path) as members:
            missing = [name for name in ("x", "y") if name not in arrays]
            if missing:
                found = ", ".join(arrays) or "nothing"
                raise InvalidValueError(f"NPZ file '{path}' has no array '{missing[0]}'; it holds {found}")
            for name in ("x", "y"):
                _check_size(path, members, name)
            x, y = arrays["x"], arrays["y"]
    except InvalidValueError:
        raise
    except OSError as error:
        raise InvalidValueError(f"cannot read NPZ file '{path}': {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:  # the last: encrypted
        raise InvalidValueError(f"cannot read NPZ file '{path}': {error}") from None
    return _images(f"'{path}'", x, y)


def _check_size(path: Path, members: zipfile.ZipFile, name: str) -> None:
    """Refuse an array by its header: numpy takes the memory for it before it reads what follows."""
    with members.open(name if name in members.namelist() else f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > LIMIT:
        raise InvalidValueError(
            f"NPZ file '{path}' is too large: the header of '{name}', {shape} of {dtype.name}, announces {wanted} "
            f"bytes, and {LIMIT} can be read"
        )


def _images(where: str, x: NDArray[Any], y: NDArray[Any]) -> Images:
    """Bring pixels to four dimensions and labels to int64."""
    if x.ndim == 3:
        x = x[:, None]
    if x.dtype.kind not in "uif":
        raise InvalidValueError(f"{where}: `x` must be numbers, got {x.dtype}")
    if y.dtype.kind not in "ui":
        raise InvalidValueError(f"{where}: `y` must be integers, got {y.dtype}")
    with np.errstate(over="ignore"):  # an infinity is refused by Images
        pixels = x if x.dtype == np.uint8 else x.astype(np.float32)
    try:
        return Images(x=pixels, y=y.astype(np.int64))
    except InvalidValueError as error:
        raise InvalidValueError(f"{where}: {error}") from None
