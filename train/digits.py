"""The data of the main job: scikit-learn's bundled handwritten digits, split once and for all, as integer images."""

__all__ = ["IN_SCALE", "Dataset", "load"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError, ToolError

IN_SCALE = 1.0 / 16.0
"""Real value of one pixel unit; pixels are integers from 0 to 16, so real inputs are exact multiples from 0 to 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Images for training and held-out images, as int8 pixel rows.

    Attributes
    ----------
    train_x, test_x : ndarray of int8, shape (n, 64)
        Pixels 0..16, row by row.
    train_y, test_y : ndarray of int64, shape (n,)
        Digits 0..9.
    in_scale : float
        Real value of one pixel unit.
    classes : int
        Number of classes.
    """

    train_x: NDArray[np.int8]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.int8]
    test_y: NDArray[np.int64]
    in_scale: float = IN_SCALE
    classes: int = 10


def load(*, held_out: float = 0.25, split_seed: int = 0) -> Dataset:
    """Load the 1797 images and split them, class by class, into training and held-out images.

    Parameters
    ----------
    held_out : float, default 0.25
        Share of every class that is held out, rounded to whole images over the classes so far; above 0 and below 1.
    split_seed : int, default 0
        Seed of the split; it is independent of the seed of the training, so that all trainings see the same split.

    Returns
    -------
    Dataset
        1348 training and 449 held-out images at the default share; both keep the order of the source.

    Raises
    ------
    ToolError
        If scikit-learn is not installed.

    Notes
    -----
    Source: Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository (1998), the
    test part, as bundled with scikit-learn. Nothing is downloaded.

    Examples
    --------
    >>> from tetrit.train import digits
    >>> data = digits.load()
    >>> data.train_x.shape, data.test_x.shape, int(data.train_x.max())
    ((1348, 64), (449, 64), 16)
    """
    share = checks.real("held_out", held_out, minimum=0.0, exclusive=True)
    if share >= 1:
        raise InvalidValueError(f"`held_out` must be above 0 and below 1, got {share:g}")
    seed = checks.integer("split_seed", split_seed, minimum=0)
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ToolError("the digits need scikit-learn: pip install 'tetrit[run]'") from None
    bunch = load_digits()
    x = bunch.data.astype(np.int8)
    y = bunch.target.astype(np.int64)
    rng = np.random.default_rng(seed)
    held = np.zeros(len(y), bool)
    done = 0
    for digit in range(10):
        members = rng.permutation(np.flatnonzero(y == digit))
        total = round(share * np.count_nonzero(y <= digit))
        held[members[: total - done]] = True
        done = total
    if held.all() or not held.any():
        raise InvalidValueError(f"`held_out` of {share:g} leaves no {'training' if held.all() else 'held-out'} images")
    return Dataset(train_x=x[~held], train_y=y[~held], test_x=x[held], test_y=y[held])
