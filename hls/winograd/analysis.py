"""How errors grow through Winograd's transforms: bounds that hold, estimates that fit, and what is measured."""

__all__ = ["Growth", "Measured", "bound", "estimate", "growth", "measure"]

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError
from tetrit.hls.winograd import execute
from tetrit.hls.winograd.execute import FLOATS, Padding
from tetrit.hls.winograd.transform import Transform

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Growth:
    """What transforms do to rounding errors, whatever the data.

    Attributes
    ----------
    worst : float
        The largest ``|A| (|G| |g| |G|^T * |B| |d| |B|^T) |A|^T`` of inputs and weights within 1, over the largest
        result, r times s: how much larger the errors of relative roundings can be than those of a direct convolution.
    typical : float
        Root mean square of the error of one rounding of transformed inputs, over that of inputs of a direct
        convolution, for independent inputs and weights of equal variance and errors in proportion to the values.
    """

    worst: float
    typical: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Errors of a convolution in an arithmetic, relative to the root mean square of the exact result.

    Attributes
    ----------
    rms, largest : float
        By tiles; infinite where the arithmetic overflows.
    direct_rms, direct_largest : float
        Of the direct convolution in the same arithmetic.
    estimate : float
        The `estimate` of `rms`.
    bound : float or None
        The largest `bound`; None for formats, which have none.
    """

    rms: float
    largest: float
    direct_rms: float
    direct_largest: float
    estimate: float
    bound: float | None


def growth(vertical: Transform, horizontal: Transform | None = None) -> Growth:
    """Return how errors grow, for any data.

    Examples
    --------
    >>> from tetrit.hls.winograd import transform
    >>> [round(growth(transform(m, 3)).worst) for m in (2, 4, 6)]
    [7, 256, 52517]
    """
    worst = typical = 1.0
    for scheme in (vertical, vertical if horizontal is None else horizontal):
        a, g, b = scheme.floats
        absolute = np.abs(a) @ (np.abs(g).sum(axis=1) * np.abs(b).sum(axis=1))
        squares = (a**2) @ ((g**2).sum(axis=1) * (b**2).sum(axis=1))
        worst *= float(absolute.max()) / scheme.r
        typical *= float(np.sqrt(squares.mean() / scheme.r))
    return Growth(worst=worst, typical=typical)


def bound(
    x: npt.ArrayLike,
    w: npt.ArrayLike,
    vertical: Transform,
    horizontal: Transform | None = None,
    *,
    arithmetic: str = "float32",
    padding: int | Padding = 0,
    groups: int = 1,
) -> Floats:
    """Return a bound on the error of every output of `conv2d` in a floating-point arithmetic.

    Contract: holds for any order of summation, with and without fused multiply-adds, as long as nothing overflows or
    underflows.

    Parameters
    ----------
    x, w, vertical, horizontal, padding, groups
        As for `conv2d`.
    arithmetic : str
        One of `FLOATS`.

    Returns
    -------
    ndarray of float64, shape of the output

    Raises
    ------
    InvalidValueError
        Another arithmetic.

    Notes
    -----
    With unit roundoffs u of the arithmetic and v of what it computes in, a sum of k products of factors that are
    rounded once has relative error at most ``gamma(k + 1) = (k + 1) v / (1 - (k + 1) v)`` of the sum of magnitudes
    (Higham, Accuracy and Stability of Numerical Algorithms, 3.1). Chained through both sides of all three transforms,
    the error of Y is at most ``(1 + t) ... - 1`` times ``|A| (sum_c |G| |g| |G|^T * |B| |d| |B|^T) |A|^T``; the chain
    is ours.
    """
    if arithmetic not in FLOATS:
        raise InvalidValueError(f"`arithmetic` must be one of {', '.join(FLOATS)}, got '{arithmetic}'")
    horizontal = vertical if horizontal is None else horizontal
    xs, ws = (np.abs(np.asarray(array, np.float64)) for array in (x, w))
    amplified = _absolute(xs, ws, vertical, horizontal, padding, groups)
    u = 2.0 ** -FLOATS[arithmetic]
    v = 2.0 ** (-53 if arithmetic == "float64" else -24)
    coarse = 0.0 if u == v else u

    def gamma(k: int) -> float:
        return (k + 1) * v / (1 - (k + 1) * v)

    factor = (1 + u) ** 2  # inputs and weights rounded
    for scheme in (vertical, horizontal):
        factor *= (1 + gamma(scheme.n)) * (1 + coarse)  # B
        factor *= (1 + gamma(scheme.r)) * (1 + coarse)  # G
        factor *= 1 + gamma(scheme.n)  # A
    factor *= (1 + gamma(ws.shape[1])) * (1 + u)  # channels, and the result
    return (factor - 1) * amplified


def estimate(
    x: npt.ArrayLike,
    w: npt.ArrayLike,
    vertical: Transform,
    horizontal: Transform | None = None,
    *,
    arithmetic: str,
    padding: int | Padding = 0,
    groups: int = 1,
) -> float:
    """Estimate the root mean square error of `conv2d` from the roundings of transformed inputs and weights.

    Parameters
    ----------
    x, w, vertical, horizontal, arithmetic, padding, groups
        As for `conv2d`.

    Returns
    -------
    float

    Notes
    -----
    **Our model**: what rounding takes from the transformed inputs (e_u) and weights (e_v) is noise without
    correlation, so that variances add: ``A^2 (sum_c e_u^2 v^2 + u^2 e_v^2 + e_u^2 e_v^2) (A^2)^T`` with squares entry
    by entry. What the arithmetic loses in sums is left out, and of a floating-point one each stage of a transform
    rounds. Close for formats (a few per cent); for floating point only the order of magnitude: float32 loses as much
    in the sums, and errors of the first stage of a transform, which this takes to be independent, partly cancel in
    float16 and bf16.
    """
    horizontal = vertical if horizontal is None else horizontal
    (u, u_error), (g, g_error), layer = execute.transformed(
        x, w, vertical, horizontal, arithmetic=arithmetic, padding=padding, groups=groups
    )
    noise = (
        execute.products(u_error**2, g**2)
        + execute.products(u**2, g_error**2)
        + execute.products(u_error**2, g_error**2)
    )
    variance = execute.together(execute.two_sided(vertical.floats[0] ** 2, noise, horizontal.floats[0] ** 2), layer)
    found = float(np.sqrt(variance.mean()))
    return float("inf") if np.isnan(found) else found


def measure(
    x: npt.ArrayLike,
    w: npt.ArrayLike,
    vertical: Transform,
    horizontal: Transform | None = None,
    *,
    arithmetic: str,
    padding: int | Padding = 0,
    groups: int = 1,
) -> Measured:
    """Compare a convolution by tiles, and the direct one, with the convolution in float64.

    Raises
    ------
    InvalidValueError
        If the convolution gives nothing but zeros.
    """
    given: dict[str, Any] = {"padding": padding, "groups": groups}
    exact = execute.direct(x, w, **given)
    size = float(np.sqrt((exact**2).mean()))
    if size == 0.0:
        raise InvalidValueError("the convolution gives only zeros: there is nothing to compare with")
    by_tiles = np.abs(execute.conv2d(x, w, vertical, horizontal, arithmetic=arithmetic, **given) - exact)
    by_tiles = np.where(np.isnan(by_tiles), np.inf, by_tiles)
    plain = np.abs(execute.direct(x, w, arithmetic=arithmetic, **given) - exact)
    limit = None
    if arithmetic in FLOATS:
        limit = float(bound(x, w, vertical, horizontal, arithmetic=arithmetic, **given).max()) / size
    return Measured(
        rms=float(np.sqrt((by_tiles**2).mean())) / size,
        largest=float(by_tiles.max()) / size,
        direct_rms=float(np.sqrt((plain**2).mean())) / size,
        direct_largest=float(plain.max()) / size,
        estimate=estimate(x, w, vertical, horizontal, arithmetic=arithmetic, **given) / size,
        bound=limit,
    )


def _absolute(
    x: Floats, w: Floats, vertical: Transform, horizontal: Transform, padding: int | Padding, groups: int
) -> Floats:
    """Return the convolution by tiles with the magnitudes of everything."""
    layer = execute.cut(x, w, vertical, horizontal, padding, groups)
    (va, vg, vb), (ha, hg, hb) = ([np.abs(m) for m in scheme.floats] for scheme in (vertical, horizontal))
    u, g = execute.two_sided(vb, layer.x, hb), execute.two_sided(vg, layer.w, hg)
    return execute.together(execute.two_sided(va, execute.products(u, g), ha), layer)
