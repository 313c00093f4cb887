"""Dyadic requantisation: an accumulator times a real scale, done as integer multiply, round and shift."""

__all__ = ["dyadic", "requantize", "requantize_real"]

import numpy as np
import numpy.typing as npt

from tetrit import checks, formats
from tetrit.errors import InvalidValueError


def dyadic(
    scale: npt.ArrayLike, *, multiplier_bits: int, acc_bits: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Approximate positive scales by ``multiplier / 2**shift``.

    The multiplier is normalised to its full width, so the relative error is at most ``2**-multiplier_bits``, unless the
    scale is so small that `shift` would exceed ``acc_bits + multiplier_bits``; then the multiplier loses low bits.

    Parameters
    ----------
    scale : array_like of float
        Positive, below ``2**(multiplier_bits - 1)``.
    multiplier_bits, acc_bits : int
        Widths of the unsigned multiplier and of the accumulator.

    Returns
    -------
    multiplier, shift : ndarray of int64
        Of the shape of `scale`; ``1 <= shift <= acc_bits + multiplier_bits``.

    Raises
    ------
    InvalidValueError
        A scale is not positive and finite, or too large.

    Notes
    -----
    Source: Yao et al., HAWQ-V3, arXiv 2011.10680 (mantissa and exponent of the scale, rounded half up).

    Examples
    --------
    >>> from tetrit.sim import requantize
    >>> requantize.dyadic(0.375, multiplier_bits=8, acc_bits=24)
    (array(192), array(9))
    """
    scales = np.asarray(scale, dtype=np.float64)
    checks.finite("scale", scales)
    if not (scales > 0).all():
        raise InvalidValueError(f"`scale` must be positive, got {scales[~(scales > 0)].ravel()[0]:g}")
    mantissa, exponent = np.frexp(scales)
    multiplier = np.floor(mantissa * 2.0**multiplier_bits + 0.5)
    shift = multiplier_bits - exponent.astype(np.int64)
    carried = multiplier == 2.0**multiplier_bits
    multiplier = np.where(carried, multiplier / 2, multiplier)
    shift = shift - carried
    if (shift < 1).any():
        raise InvalidValueError(
            f"`scale` must be below 2**{multiplier_bits - 1}, got {scales[shift < 1].ravel()[0]:g}: "
            "the output scale is too fine for the accumulator"
        )
    excess = np.maximum(shift - (acc_bits + multiplier_bits), 0)
    multiplier = np.floor(multiplier / 2.0**excess + 0.5)
    return np.asarray(multiplier, dtype=np.int64), np.asarray(shift - excess, dtype=np.int64)


def requantize(
    acc: npt.NDArray[np.int64],
    multiplier: npt.ArrayLike,
    shift: npt.ArrayLike,
    *,
    out_format: str,
    relu: npt.ArrayLike = False,
) -> npt.NDArray[np.int64]:
    """Return ``clip(floor((acc * multiplier + 2**(shift - 1)) / 2**shift))``: what `rtl.Requantizer` computes.

    Parameters
    ----------
    acc : ndarray of int64, shape (..., n)
        Accumulators; exact for products of any size.
    multiplier, shift : array_like of int64
        Broadcast against `acc`; `shift` at least 1.
    out_format : str
        ``int2`` .. ``int16``: the range to clip to.
    relu : array_like of bool
        Whether negative values are clipped to 0.

    Returns
    -------
    ndarray of int64
        Activations in the range of `out_format`.

    Raises
    ------
    InvalidValueError
        A shift below 1, a negative multiplier.
    UnknownNameError
        `out_format` is no signed integer format.
    """
    multiplier = np.asarray(multiplier, dtype=np.int64)
    shift = np.asarray(shift, dtype=np.int64)
    if (shift < 1).any():
        raise InvalidValueError(f"`shift` must be at least 1, got {int(shift.min())}")
    if (multiplier < 0).any():
        raise InvalidValueError(f"`multiplier` must not be negative, got {int(multiplier.min())}")
    checks.choice("out_format", out_format, [f"int{n}" for n in range(2, 17)])
    bits = formats.get(out_format).bits
    if acc.size and max(-int(acc.min()), int(acc.max())) * int(multiplier.max()) >= 2**62:
        acc = acc.astype(object)  # products beyond int64: Python's integers, slow and exact
    low = np.where(np.asarray(relu, dtype=np.bool_), 0, -(2 ** (bits - 1)))
    # floor((p + 2^(s-1)) / 2^s) = floor((floor(p / 2^(s-1)) + 1) / 2), which cannot overflow for large shifts
    limit = 63 if acc.dtype != object else 2**16
    rounded = (((acc * multiplier) >> np.minimum(shift - 1, limit)) + 1) >> 1
    clipped: npt.NDArray[np.int64] = np.clip(rounded, low, 2 ** (bits - 1) - 1).astype(np.int64)
    return clipped


def requantize_real(
    acc: npt.NDArray[np.float64],
    multiplier: npt.NDArray[np.int64],
    shift: npt.NDArray[np.int64],
    *,
    out_format: str,
    relu: bool = False,
) -> npt.NDArray[np.int64]:
    """Return ``clip(floor(acc * multiplier / 2**shift + 1/2))`` of results that need not be integers.

    For integers whose products with the multiplier are below 2**52 this is `requantize`, bit for bit: products and
    powers of two are exact.

    Parameters
    ----------
    acc : ndarray of float64, shape (..., n)
    multiplier, shift : ndarray of int64, shape (n,)
        See `dyadic`.
    out_format : str
        ``int2`` .. ``int16``: the range to clip to.
    relu : bool
        Whether negative values are clipped to 0.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.sim import requantize
    >>> half = np.array([1]), np.array([1])
    >>> requantize.requantize_real(np.array([[2.9], [3.0], [-3.0]]), *half, out_format="int8").ravel().tolist()
    [1, 2, -1]
    """
    bits = formats.get(out_format).bits
    low = 0 if relu else -(2 ** (bits - 1))
    rounded = np.floor(np.ldexp(acc * multiplier, -shift) + 0.5)
    return np.clip(rounded, low, 2 ** (bits - 1) - 1).astype(np.int64)
