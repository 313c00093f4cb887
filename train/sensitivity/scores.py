"""Sensitivities of layers to formats from what is known of the weights: no network is run in the format."""

__all__ = ["METHODS", "Known", "rank_correlation", "scores"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.train.sensitivity.hessian import TraceEstimate

METHODS = ("hessian", "fisher", "snip", "synflow", "weight_mse", "noise_to_signal")
"""Ways to score a format in a layer without running it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What is known of a float network.

    Attributes
    ----------
    traces : mapping of str to TraceEstimate
        By layer, see `hessian_traces`.
    fisher : mapping of str to tensor
        The diagonal, see `empirical_fisher`.
    gradients : mapping of str to tensor
        Of the mean loss.
    flows : mapping of str to tensor
        See `synflow`.
    """

    traces: Mapping[str, TraceEstimate]
    fisher: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    flows: Mapping[str, Tensor]


def scores(
    method: str,
    known: Known,
    weights: Mapping[str, npt.NDArray[np.float64]],
    rounded: Mapping[str, Sequence[npt.NDArray[np.float64]]],
) -> npt.NDArray[np.float64]:
    """Score every format in every layer: large where it should lose much.

    With W the weights of a layer, n their number, W_q those in the format, D = W_q - W:

    ``hessian``
        tr(H) / n times ||D||^2, of HAWQ-V3. A trace that is estimated below 0 counts as 0.
    ``fisher``
        1/2 sum F_j D_j^2 with the diagonal F of the empirical Fisher information in the Hessian's place.
    ``snip``
        sum |g_j D_j| with the gradient g of the mean loss. SNIP scores a weight's removal, D_j = -W_j, in this way.
    ``synflow``
        sum (dR / d|W_j|) |D_j|, see `synflow`, which has |W_j| in the place of |D_j|. Needs no data.
    ``weight_mse``
        ||D||^2 / n.
    ``noise_to_signal``
        ||D||^2 / ||W||^2, the inverse of the signal-to-quantisation-noise ratio.

    All look at weights only: two formats that differ in activations or converters get the same score.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    known : Known
    weights : mapping of str to ndarray of float64
        By layer.
    rounded : mapping of str to sequence of ndarray of float64
        The same in each format.

    Returns
    -------
    ndarray of float64, shape (layers, formats)
        From 0.

    Raises
    ------
    InvalidValueError
        An unknown method, or arrays of different shapes.

    Notes
    -----
    Sources: Yao et al., HAWQ-V3, arXiv 2011.10680, for ``hessian``; Theis et al., arXiv 1801.05787, for Fisher
    information in the Hessian's place; Lee et al., "SNIP", arXiv 1810.02340; Tanaka et al., "SynFlow", arXiv
    2006.05467. ``snip`` and ``synflow`` with what a format changes in the place of what pruning removes are **our
    reconstruction**.
    """
    checks.choice("method", method, METHODS)
    return np.array([[_score(method, known, name, w, q) for q in rounded[name]] for name, w in weights.items()])


def _score(method: str, known: Known, name: str, w: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    if w.shape != q.shape:
        raise InvalidValueError(f"layer '{name}': rounded weights must have shape {w.shape}, got {q.shape}")
    change = q - w
    square = float((change * change).sum())
    if method == "hessian":
        return max(0.0, known.traces[name].mean) * square
    if method == "fisher":
        return 0.5 * float((known.fisher[name].numpy() * change * change).sum())
    if method == "snip":
        return float(np.abs(known.gradients[name].numpy() * change).sum())
    if method == "synflow":
        return float((known.flows[name].numpy() * np.abs(change)).sum())
    if method == "weight_mse":
        return square / w.size
    signal = float((w * w).sum())
    return square / signal if signal else 0.0


def rank_correlation(scores: npt.ArrayLike, measured: npt.ArrayLike) -> float | None:
    """Return Spearman's rank correlation, equal values sharing their mean rank; None where either is constant.

    Examples
    --------
    >>> from tetrit.train.sensitivity import rank_correlation
    >>> rank_correlation([1, 2, 3, 4], [1, 10, 1000, 100])
    0.8
    """
    from scipy.stats import rankdata

    one, other = (np.asarray(array, dtype=np.float64).ravel() for array in (scores, measured))
    if one.shape != other.shape or one.size < 2:
        raise InvalidValueError(
            f"`scores` and `measured` must have as many entries, two at least, got {one.size} and {other.size}"
        )
    a, b = (rankdata(values) - (len(one) + 1) / 2 for values in (one, other))
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / spread if spread else None
