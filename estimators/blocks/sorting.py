"""K-sort: channels of the key projection in the order of their norm, so that outliers share their blocks."""

__all__ = ["KSorted", "k_sort"]

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import latent
from tetrit.estimators._run import sums_of_magnitudes


@dataclass(frozen=True, kw_only=True, eq=False)
class KSorted:
    """The result of `k_sort`.

    Attributes
    ----------
    w_k, w_q : ndarray
        The projections with their rows in the new order, in the dtype and shape that they came in.
    order : int64 array (key heads, d_head)
        Row i of a sorted head is row ``order[head, i]`` of the one before.
    frequencies : int64 array (key heads, d_head // 2), or None
        With rotary embedding: pair p of a sorted head rotates with the frequency that pair ``frequencies[head, p]`` had
        before.
    """

    w_k: NDArray[Any]
    w_q: NDArray[Any]
    order: NDArray[np.int64]
    frequencies: NDArray[np.int64] | None


def k_sort(w_k: ArrayLike, w_q: ArrayLike, *, rotary: Literal["halves", "interleaved"] | None = None) -> KSorted:
    """Sort the rows of the key projection by norm within every head, and those of the query projection alike.

    Keys k = W_k x then hold their channels in the order of their usual size, largest first, so that in a block format
    the outliers share few blocks, whatever their length, and the rest is not rounded to their scale. Every inner
    product q . k is the sum of the same products in another order: equal in real arithmetic.

    A rotary embedding turns channels in pairs, each pair with a frequency of its own, so with `rotary` whole pairs are
    sorted, by the norm of both rows together. Sorting commutes with the embedding if the frequencies, the rows of its
    table of cosines and sines, are put in the order `KSorted.frequencies` too, which is as constant as the weights.
    With "halves" the largest channels come to lie at two places of the head, so they spoil two blocks instead of one.

    Parameters
    ----------
    w_k : array (key heads, d_head, d_model)
    w_q : array (query heads, d_head, d_model)
        As many heads, or a multiple: then consecutive query heads share a key head (grouped queries).
    rotary : {"halves", "interleaved"} or None, default None
        Which channels make a pair: i and i + d_head / 2 (rotate-half), or 2 i and 2 i + 1. None where there is no
        rotary embedding.

    Returns
    -------
    KSorted

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If the shapes do not fit each other or `rotary`, or a weight is not finite.

    Notes
    -----
    Source: Trukhanov and Soloveychik, "Accurate Block Quantization in LLMs with Outliers", arXiv 2403.20137: rows of
    W_k sorted by norm at compile time, W_q permuted alike, with rotary embeddings handled. The handling as written
    here, the Euclidean norm summed in the golden order, descending and stable, and grouped queries are **our
    reconstruction**.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.blocks import k_sort
    >>> w_k = np.array([[[0.1, 0.0], [3.0, 4.0], [0.0, 2.0]]])
    >>> w_q = np.array([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])
    >>> done = k_sort(w_k, w_q)
    >>> done.order
    array([[1, 2, 0]])
    >>> x, y = np.array([1.0, 2.0]), np.array([3.0, 1.0])
    >>> (w_q[0] @ x) @ (w_k[0] @ y), (done.w_q[0] @ x) @ (done.w_k[0] @ y)
    (np.float64(32.3), np.float64(32.3))
    """
    keys, queries = latent(w_k), latent(w_q)
    fits = keys.ndim == queries.ndim == 3 and keys.shape[1:] == queries.shape[1:]
    if not fits or not len(keys) or len(queries) % len(keys):
        wanted = "(key heads, d_head, d_model) and (a multiple of them, d_head, d_model)"
        raise InvalidValueError(f"`w_k` and `w_q` must have shapes {wanted}, got {keys.shape} and {queries.shape}")
    heads, channels = keys.shape[:2]
    if rotary is not None:
        checks.choice("rotary", rotary, ("halves", "interleaved"))
        if channels % 2:
            raise InvalidValueError(f"`w_k` must have an even d_head where channels rotate in pairs, got {channels}")
    checks.finite("w_k", keys)
    checks.finite("w_q", queries)
    squares = np.square(keys.astype(np.float64) / (np.abs(keys).max(initial=0.0) or 1.0))
    norms = sums_of_magnitudes(squares.reshape(heads * channels, keys.shape[2])).reshape(heads, channels)
    members = np.arange(channels)[:, None]  # of every group that stays together
    if rotary == "halves":
        members = np.arange(channels).reshape(2, -1).T
    elif rotary == "interleaved":
        members = np.arange(channels).reshape(-1, 2)
    groups = np.argsort(-norms[:, members].sum(axis=2), axis=1, kind="stable")
    moved = members[groups]  # heads, groups, members
    order = (np.swapaxes(moved, 1, 2) if rotary == "halves" else moved).reshape(heads, channels)
    for_queries = np.repeat(order, len(queries) // heads, axis=0)
    return KSorted(
        w_k=np.take_along_axis(np.asarray(w_k), order[:, :, None], axis=1),
        w_q=np.take_along_axis(np.asarray(w_q), for_queries[:, :, None], axis=1),
        order=order.astype(np.int64),
        frequencies=None if rotary is None else groups.astype(np.int64),
    )
