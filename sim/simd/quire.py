"""Matrix products with exact accumulation: codes in, every product and sum exact, one rounding, codes out."""

__all__ = ["SHIFTS", "quire_matmul", "quire_product"]

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.formats.codebooks import Codebook
from tetrit.formats.real import RealFormat
from tetrit.hardware.simd_engine import SIMD_FORMATS, LaneMode, SimdEngine
from tetrit.sim.simd.operands import Codes, Operand
from tetrit.sim.simd.product import Product

SHIFTS = -64, 63
"""Least and greatest power of two that a result may be scaled by."""


def quire_matmul(
    a_codes: npt.ArrayLike,
    b_codes: npt.ArrayLike,
    a_format: str,
    b_format: str,
    out_format: str,
    *,
    bias: npt.ArrayLike | None = None,
    relu: bool = False,
    shift: int = 0,
) -> Codes:
    """Multiply matrices of codes: exact products, exact sums, one rounding at the end.

    ``out[m, n] = encode(f(2**shift * (sum_k a[m, k] * b[k, n] + bias[n])))`` with `f` the identity or ReLU, bit for
    bit, whatever the order of summation, the number of threads and the BLAS.

    Parameters
    ----------
    a_codes : array_like of int, shape (m, k)
        Codes of `a_format`.
    b_codes : array_like of int, shape (k, n)
        Codes of `b_format`.
    a_format, b_format : str
        Any two of ``fp4_e2m1``, ``posit4_1``, ``posit8_0`` and ``posit16_1``.
    out_format : str
        Any scalar format of real numbers whose values are dyadic: all but ``post4``, codebooks and ``fairy2``.
    bias : array_like of int, shape (n,), optional
        In units of the quire, ``2**(a.lsb_exponent + b.lsb_exponent)``; within a two's complement number of 128 bits.
        Integers beyond int64 come in an array of Python's integers.
    relu : bool
        Whether negative sums become zero.
    shift : int
        Power of two that sums are scaled by, -64 to 63.

    Returns
    -------
    ndarray of the output format's `code_dtype`, shape (m, n)

    Raises
    ------
    TypeError
        Codes, bias or shift that are no integers, or `relu` that is no bool.
    InvalidValueError
        A format that is none of those; codes out of range; empty matrices, or shapes that do not match; more terms than
        the quire of 128 bits is sure to hold; a bias or shift out of range; NaR among the operands of a result where
        the output format has no code for it.

    Notes
    -----
    - The sum of a row with NaR in it is NaR, also if the other factor is zero, and also after ReLU. Formats with NaN
      give that.
    - A sum that is zero is +0. A negative one that rounds to zero is what the format makes of it: -0 where it has one.
    - How many terms a quire holds is what `SimdEngine.mode` says of four, two or one lanes in 128 bits, and so is the
      quire's width: **our assumption**, see there.
    - Rounding is exact although it goes through doubles: sums are rounded to odd to 53 bits first, and the borders of
      all these formats have at most 52 (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved
      algorithms using rounding to odd", IEEE Trans. Computers 57(4), 2008).
    - How BLAS computes the sums without rounding is said, and proved, in `tetrit.sim.simd.splitting`.

    Examples
    --------
    >>> from tetrit import formats
    >>> from tetrit.sim.simd import quire_matmul
    >>> posit = formats.get("posit8_0")
    >>> a = posit.encode([[64.0, 1 / 64, -64.0]])  # the largest, the least, and the largest again
    >>> b = posit.encode([[64.0], [1 / 64], [64.0]])
    >>> formats.get("posit16_1").decode(quire_matmul(a, b, "posit8_0", "posit8_0", "posit16_1"))  # 2**-12
    array([[0.00024414]])
    """
    for name, given in (("a_format", a_format), ("b_format", b_format)):
        checks.choice(name, given, SIMD_FORMATS)
    mode = _reference_engine().mode(a_format, b_format)
    a = Operand.of("a_codes", a_codes, a_format)
    b = Operand.of("b_codes", b_codes, b_format)
    if b.codes.shape[0] != a.codes.shape[1]:
        raise InvalidValueError(
            f"`b_codes` must have as many rows as `a_codes` has columns, {a.codes.shape[1]}, got shape {b.codes.shape}"
        )
    return quire_product(a, b, mode, out_format, bias=bias, relu=relu, shift=shift)


def quire_product(
    a: Operand,
    b: Operand,
    mode: LaneMode,
    out_format: str,
    *,
    bias: npt.ArrayLike | None = None,
    relu: bool = False,
    shift: int = 0,
) -> Codes:
    """Multiply as `quire_matmul` does, on operands that match, with the quire that `mode` describes."""
    out = _output_format(out_format)
    if not isinstance(relu, bool | np.bool_):
        raise TypeError(f"`relu` must be true or false, got {relu!r}")
    shift = checks.integer("shift", shift, minimum=SHIFTS[0], maximum=SHIFTS[1])
    check_terms(a.codes.shape[1], mode)
    added = bias_integers(bias, b.codes.shape[1], mode)
    bad_rows, bad_columns = a.not_real(1), b.not_real(0)
    if (bad_rows is not None or bad_columns is not None) and not out.has_nan:
        row, column = _first_bad(bad_rows, bad_columns)
        raise InvalidValueError(f"result ({row}, {column}) is NaR, and `out_format` {out.name} has no code for that")

    codes = Product(a=a, b=b, bias=added, relu=bool(relu), exponent=mode.lsb_exponent + shift, out=out).codes()
    if bad_rows is not None:
        codes[bad_rows] = out.encode(np.nan)
    if bad_columns is not None:
        codes[:, bad_columns] = out.encode(np.nan)
    return codes


def check_terms(k: int, mode: LaneMode) -> None:
    """Raise InvalidValueError where sums of `k` products might overflow a lane's quire."""
    terms = -(-k // mode.lanes)
    if terms > mode.max_terms:
        raise InvalidValueError(
            f"sums of {k} products put {terms} into a quire of {mode.lane_quire_bits} bits ({mode.lanes} a word), "
            f"which holds any {mode.max_terms} of {mode.act_format} x {mode.weight_format}"
        )


def bias_integers(bias: npt.ArrayLike | None, n: int, mode: LaneMode) -> list[int]:
    """Return a bias as Python integers, checked; an empty list if there is none."""
    if bias is None:
        return []
    array = bias if isinstance(bias, np.ndarray) else np.array(bias, dtype=object)
    if array.shape != (n,):
        raise InvalidValueError(f"`bias` must have shape ({n},), got {array.shape}")
    entries: list[int] = array.tolist()
    for index, entry in enumerate(entries):
        if isinstance(entry, bool) or not isinstance(entry, int | np.integer):
            raise TypeError(f"`bias` must be integers, got {entry!r} at index {index}")
    width = mode.lanes * mode.lane_quire_bits
    for index, entry in enumerate(entries):
        if not -(1 << (width - 1)) <= entry < 1 << (width - 1):
            raise InvalidValueError(
                f"`bias` must be within -2**{width - 1} to 2**{width - 1} - 1, the quire's range, "
                f"got {entry} at index {index}"
            )
    return [int(entry) for entry in entries]


@lru_cache(maxsize=1)
def _reference_engine() -> SimdEngine:
    return SimdEngine(rows=1, cols=1)


def _output_format(name: str) -> RealFormat:
    fmt = formats.get(name)
    if not isinstance(fmt, RealFormat) or isinstance(fmt, Codebook) or name == "post4":
        raise InvalidValueError(f"`out_format` must be a format of dyadic real numbers, got '{name}'")
    return fmt


def _first_bad(rows: npt.NDArray[np.bool_] | None, columns: npt.NDArray[np.bool_] | None) -> tuple[int, int]:
    """Return the first result that is NaR, in order of rows."""
    if columns is None:
        assert rows is not None
        return int(rows.argmax()), 0
    if rows is not None and rows[0]:
        return 0, 0
    return 0, int(columns.argmax())
