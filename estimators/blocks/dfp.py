"""Dynamic fixed point: int16 with one exponent per tensor; the authority for its integer matrix product."""

__all__ = ["DFP", "dfp_accumulate", "dfp_down_convert", "dfp_matmul"]

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import copied, latent
from tetrit.estimators.base import Estimator, Quantized
from tetrit.estimators.blocks import _kernels
from tetrit.estimators.blocks.block import rounded, speaking_of_w
from tetrit.formats.block import BlockFormat
from tetrit.parallel import run_items

Overflow = Literal["error", "wrap", "saturate"]


@dataclass(frozen=True, kw_only=True)
class DFP(Estimator):
    """Dynamic fixed point with the straight-through gradient.

    Forward, with P bits: the shared exponent is E_s = floor(log2 max |w|) - (P - 2), held within -127 to 127 (-127 for
    zeros); integers are w / 2^E_s rounded to nearest even and held within +-(2^(P-1) - 1). Backward:
    grad_w = grad_out.

    Contract: bit-exact. Products of two such tensors: `dfp_matmul`.

    Parameters
    ----------
    bits : int, default 16
        P, 2 to 16.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If a call is given a NaN or an infinity in `w` (the message names its index), or if `grad_out` has another shape
        than `w`. `backward` reads the shape of `w` only, never its values.

    Notes
    -----
    Source: Das et al., "Mixed Precision Training of Convolutional Neural Networks using Integer Operations",
    arXiv 1802.00930, ICLR 2018: one exponent per tensor, int16. **Our reconstruction**: rounding to nearest even,
    symmetric integers that saturate where the rounding leaves their range, the range of the exponent, and the
    straight-through gradient. With 16 bits it is the format `dfp16` of `tetrit.formats`.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.blocks import DFP
    >>> e = DFP(bits=4)
    >>> w = np.array([0.3, -1.0, 1.6, 1.99])
    >>> e(w).scale
    array(0.25)
    >>> e(w).values
    array([ 0.25, -1.  ,  1.5 ,  1.75])
    >>> e.backward(w, np.array([1.0, 2.0, 3.0, 4.0]))
    array([1., 2., 3., 4.])
    """

    name: ClassVar[str] = "dfp"

    bits: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", checks.integer("bits", self.bits, minimum=2, maximum=16))

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are uint8 (up to 8 bits) or uint16, of the same shape, with a scale 2^E_s."""
        x, fmt = latent(w), self.block_format
        with speaking_of_w(x):
            codes, scale = fmt.encode(x)
        return Quantized(codes=codes, scale=np.asarray(fmt.scale_values[scale]), format=fmt.element.name)

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the values of the codes, in float64 or in `out`, without making the codes."""
        x = latent(w)
        with speaking_of_w(x):
            return rounded(self.block_format, x, 1.0, out)

    @property
    def straight_through(self) -> bool:
        """Whether the gradient passes everywhere: it does."""
        return True

    @property
    def block_format(self) -> BlockFormat:
        """The format: one block that is the tensor."""
        element = formats.get(f"int{self.bits}_symmetric")
        assert isinstance(element, formats.Integer)
        return BlockFormat(name=f"dfp{self.bits}", element=element)

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return a copy of `grad_out`."""
        return copied(grad_out, latent(w).shape, out)


def dfp_accumulate(
    a: NDArray[np.int16], b: NDArray[np.int16], *, chain: int = 1, overflow: Overflow = "error"
) -> NDArray[np.int64]:
    """Multiply int16 matrices with 32-bit registers that are emptied into 64-bit sums.

    As the instructions do that add pairs of int16 products into int32: step t adds
    a[i, 2t] b[2t, j] + a[i, 2t+1] b[2t+1, j] to a 32-bit register; after every `chain` steps, and at the end, the
    register is added to a 64-bit sum and cleared. While no register overflows, the result is the exact product.
    With ``chain=1`` none can unless an element is -32768; with longer chains none does while
    2 chain max |a| max |b| < 2^31.

    Parameters
    ----------
    a : int16 array (m, k)
    b : int16 array (k, n)
    chain : int, default 1
        Pair sums per register.
    overflow : {"error", "wrap", "saturate"}, default "error"
        What happens where a register leaves 32 bits: InvalidValueError, two's complement, or the nearest end of the
        range after that step.

    Returns
    -------
    int64 array (m, n)

    Raises
    ------
    TypeError
        If an array is not int16.
    InvalidValueError
        If the shapes do not fit, or at an overflow with "error"; the message names the output.

    Notes
    -----
    After arXiv 1802.00930, where pairs of int16 products are summed in int32 with explicit handling of overflow. The
    emptying after a fixed number of steps, into exact 64-bit sums, is **our reconstruction**.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.blocks import dfp_accumulate
    >>> a, b = np.full((1, 4), 32767, np.int16), np.full((4, 1), 32767, np.int16)
    >>> dfp_accumulate(a, b).item() == 4 * 32767**2
    True
    >>> dfp_accumulate(a, b, chain=2, overflow="wrap").item()
    -262140
    """
    for name, array in (("a", a), ("b", b)):
        if not isinstance(array, np.ndarray) or array.dtype != np.int16:
            raise TypeError(f"`{name}` must be an int16 array, got {getattr(array, 'dtype', array)!r}")
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise InvalidValueError(f"`a` and `b` must have shapes (m, k) and (k, n), got {a.shape} and {b.shape}")
    chain = checks.integer("chain", chain)
    checks.choice("overflow", overflow, ("error", "wrap", "saturate"))
    sums = np.zeros((a.shape[0], b.shape[1]), np.int64)
    if b.size == 0 or a.size == 0:
        return sums
    where = np.full(a.shape[0], -1, np.int64)
    left, right = (np.ascontiguousarray(array, np.int16) for array in (a, b))
    mode = int(overflow == "saturate")
    run_items(
        lambda first, last: _kernels.pair_products(left, right, chain, mode, sums, where, first, last),
        a.shape[0],
        b.size,
    )
    if overflow == "error" and (where >= 0).any():
        row = int(np.argmax(where >= 0))
        raise InvalidValueError(
            f"`chain` must be shorter than {chain}: a 32-bit sum overflows at output {(row, int(where[row]))}"
        )
    return sums


def dfp_down_convert(sums: NDArray[np.int64], *, bits: int = 16) -> tuple[NDArray[np.int16], int]:
    """Shift integers to the right until the largest magnitude fits `bits` bits.

    The shift is (bits of the largest magnitude, 64 less its leading zeros) - (bits - 1), or 0 if that is negative; what
    is shifted out is rounded to nearest even, and a magnitude that rounds up to 2^(bits-1) saturates.

    Parameters
    ----------
    sums : int64 array
    bits : int, default 16
        2 to 16, the sign included.

    Returns
    -------
    integers : int16 array, the shape of `sums`
        From -(2^(bits-1) - 1) to 2^(bits-1) - 1.
    shift : int
        ``sums`` is about ``integers * 2**shift``.

    Notes
    -----
    After arXiv 1802.00930 (shift from the leading zeros of the largest value). The rounding is **our choice**.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.blocks import dfp_down_convert
    >>> dfp_down_convert(np.array([1000, -36, 7]), bits=8)
    (array([125,  -4,   1], dtype=int16), 3)
    """
    if not isinstance(sums, np.ndarray) or sums.dtype != np.int64:
        raise TypeError(f"`sums` must be an int64 array, got {getattr(sums, 'dtype', sums)!r}")
    bits = checks.integer("bits", bits, minimum=2, maximum=16)
    largest = max(int(sums.max(initial=0)), -int(sums.min(initial=0)))
    shift = max(0, largest.bit_length() - (bits - 1))
    low = sums >> shift
    rest, half = sums - (low << shift), (1 << shift) >> 1
    up = (rest > half) | ((rest == half) & (low & 1 == 1)) if shift else np.zeros(sums.shape, np.bool_)
    end = (1 << (bits - 1)) - 1
    return np.clip(low + up, -end, end).astype(np.int16), shift


def dfp_matmul(
    a: Quantized, b: Quantized, *, bits: int = 16, chain: int = 1, overflow: Overflow = "error"
) -> Quantized:
    """Multiply two dynamic fixed point matrices: integers accumulate, exponents add, the result is shifted to `bits`.

    Parameters
    ----------
    a, b : Quantized
        Of `DFP`, with codes (m, k) and (k, n).
    bits : int, default 16
        Of the result, 2 to 16.
    chain, overflow
        As in `dfp_accumulate`.

    Returns
    -------
    Quantized
        Codes (m, n) of ``int<bits>_symmetric``, scale 2^(E_a + E_b + shift). Not normalised: a product whose integers
        fit is not shifted to the left.

    Raises
    ------
    InvalidValueError
        If an argument is not of `DFP`, and as in `dfp_accumulate`.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.blocks import DFP, dfp_matmul
    >>> a, b = DFP()(np.array([[0.5, -0.25]])), DFP()(np.array([[3.0], [1.0]]))
    >>> dfp_matmul(a, b).values
    array([[1.25]])
    """
    sums = dfp_accumulate(_integers("a", a), _integers("b", b), chain=chain, overflow=overflow)
    integers, shift = dfp_down_convert(sums, bits=bits)
    codes = (integers.astype(np.int32) & ((1 << bits) - 1)).astype(np.uint8 if bits <= 8 else np.uint16)
    return Quantized(codes=codes, scale=np.asarray(a.scale * b.scale * 2.0**shift), format=f"int{bits}_symmetric")


def _integers(name: str, q: Quantized) -> NDArray[np.int16]:
    """Return the signed integers of codes of `DFP`."""
    shared = q.scale.shape == () and q.block is None and math.frexp(float(q.scale))[0] == 0.5
    fmt = formats.get(q.format)
    if not (shared and isinstance(fmt, formats.Integer) and fmt.symmetric):
        raise InvalidValueError(f"`{name}` must be symmetric integers with one power of two as scale, got {q.format}")
    return fmt.decode(q.codes).astype(np.int16)
