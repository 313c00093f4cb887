"""Block formats: elements of a scalar format that share a scale; the authority for how that scale is chosen."""

__all__ = ["BlockFormat", "block_values", "scale_shape"]

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.formats.base import Format, output_array, read_only
from tetrit.formats.integers import Integer
from tetrit.formats.minifloat import Minifloat
from tetrit.formats.real import RealFormat, _as_floats
from tetrit.parallel import run_items

_E4M3 = Minifloat(name="fp8_e4m3", bits=8, exponent_bits=4, specials="nan")
_WORDS = {4: np.uint32, 8: np.uint64}
_CHUNK = 1 << 15
"""Elements that a compiled loop takes at once where all of a tensor shares one scale."""


@dataclass(frozen=True, kw_only=True)
class BlockFormat:
    """An element format plus one 8-bit scale for every `block` neighbours along the last axis.

    The value of an element is the value of its code times the value of its block's scale code, an exact product. What
    `encode` does with a block whose largest magnitude is m (the last block of a row may be shorter; blocks never reach
    over the end of a row; an array without axes is one block):

    - scale "e8m0", a power of two 2^(c - 127), c = 0 to 254 (255 is NaN): its exponent is floor(log2 m) - emax, with
      emax = floor(log2 (largest element)), held within -127 to 127;
    - scale "e4m3", a positive number of OCP FP8 E4M3: m / (largest element), rounded to the nearest, ties to even, and
      held within 2^-9 to 448; the quotient is a double.

    So a scale is never zero: a block of zeros, and one whose m is too small for any scale, gets the smallest scale,
    and in it what is not rounded to zero is kept (gradual underflow). Elements are the nearest of x / scale, ties to
    even, decided exactly; those beyond the largest element, by rounding too, saturate, and never raise the exponent.
    E2M1 keeps the sign of a zero, integers do not.

    Parameters
    ----------
    name : str
        The name by which `tetrit.formats.get` knows it.
    element : Format
        What codes stand for, in units of the scale: E2M1 (OCP FP4), or a symmetric signed `Integer`.
    scale : {"e8m0", "e4m3"}
        Kind of the scale; "e4m3" is for E2M1 only.
    block : int or None
        Number of elements that share a scale; None for all elements of an array.

    Notes
    -----
    Sources: OCP Microscaling Formats (MX) Specification v1.0 for `mxfp4` (E8M0 scale, its exponent, k = 32). NVIDIA's
    NVFP4 is E2M1 with an E4M3 scale per 16 elements and a float32 scale per tensor; the latter is the argument
    `tensor_scale` here, 1 unless it is given. `bfp12` is block floating point with 4-bit mantissas, sign included, and
    8-bit shared exponents as in Soloveychik and Trukhanov, arXiv 2403.20137, who discuss blocks of 32, 64 and 128.
    `dfp16` is the dynamic fixed point of Das et al., arXiv 1802.00930: int16 mantissas and one exponent per tensor,
    E_s = E(max |f|) - (P - 2), which is the rule above since emax = P - 2 for P-bit integers.

    **Our choices**, where these leave it open: rounding to nearest even; saturation instead of a larger exponent where
    a mantissa rounds up beyond the range; symmetric integers, so that a negated block has negated codes (and two
    products of int16 fit 32 bits); E8M0 as the code of every shared exponent; the smallest scale for zeros, which in
    an adder that aligns exponents gives way to any other.

    Examples
    --------
    >>> from tetrit import formats
    >>> mxfp4 = formats.get("mxfp4")
    >>> codes, scales = mxfp4.encode([0.1, -0.5, 0.75, 3.0])
    >>> codes.tolist(), scales.tolist()
    ([0, 10, 3, 7], [126])
    >>> mxfp4.decode(codes, scales).tolist()
    [0.0, -0.5, 0.75, 3.0]
    """

    name: str
    element: RealFormat
    scale: Literal["e8m0", "e4m3"] = "e8m0"
    block: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"`name` must be a string, got {self.name!r}")
        checks.choice("scale", self.scale, ("e8m0", "e4m3"))
        if not isinstance(self.element, RealFormat):
            raise TypeError(f"`element` must be a format of real numbers, got {self.element!r}")
        if self.block is not None:
            object.__setattr__(self, "block", checks.integer("block", self.block))
        wanted = "E2M1"
        known = isinstance(self.element, Minifloat) and (self.element.bits, self.element.exponent_bits) == (4, 2)
        if self.scale == "e8m0":
            wanted += " or a symmetric integer format"
            known = known or (isinstance(self.element, Integer) and self.element.symmetric)
        if not known:
            raise InvalidValueError(f"`element` with '{self.scale}' scales must be {wanted}, got '{self.element.name}'")

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def bits(self) -> int:
        """Width of an element's code."""
        return self.element.bits

    @property
    def bits_per_element(self) -> float:
        """Bits that an element takes in memory, its share of the block's scale included."""
        return self.bits + (0.0 if self.block is None else 8.0 / self.block)

    @property
    def values(self) -> NDArray[Any]:
        """Value of every element code in units of the scale: float64 (2**bits,)."""
        return self.element.values

    @property
    def lsb_exponent(self) -> int:
        """That of the elements, in units of the scale."""
        return self.element.lsb_exponent

    @property
    def integer_range(self) -> tuple[int, int]:
        """That of the elements, in units of the scale: what sums of products within a block are made of."""
        return self.element.integer_range

    @cached_property
    def scale_values(self) -> NDArray[np.float64]:
        """Value of every scale code: float64 (256,); `encode` gives positive ones only."""
        if self.scale == "e4m3":
            return _E4M3.values
        powers = np.ldexp(1.0, np.arange(256) - 127)
        powers[255] = np.nan
        return read_only(powers)

    @property
    def max_value(self) -> float:
        """The largest value of all, with the largest scale."""
        return self.element.max_value * float(self.scale_values[254 if self.scale == "e8m0" else 126])

    @property
    def min_positive(self) -> float:
        """The smallest value above zero, with the smallest scale."""
        return self.element.min_positive * float(self.scale_values[0 if self.scale == "e8m0" else 1])

    def tensor_scale(self, x: ArrayLike) -> float:
        """Return the `tensor_scale` that lets the largest magnitude of `x` have the largest block scale.

        It is a positive float32: max |x| / (448 * 6) rounded to the nearest, and held within its normal numbers; 1 for
        zeros, for an empty array, and always for formats with "e8m0" scales, which reach far enough without.
        """
        numbers = _as_floats(np.asarray(x))
        if self.scale == "e8m0" or numbers.size == 0:
            return 1.0
        largest = self._largest(numbers)
        info = np.finfo(np.float32)
        held = min(max(largest / self.max_value, float(info.tiny)), float(info.max))
        return float(np.float32(held)) if largest else 1.0

    def scales(self, x: ArrayLike, *, tensor_scale: float = 1.0) -> NDArray[np.uint8]:
        """Return the scale codes alone; see `encode`."""
        return self._encode(np.asarray(x), tensor_scale, None)

    def encode(self, x: ArrayLike, *, tensor_scale: float = 1.0) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Round numbers to the format.

        Parameters
        ----------
        x : array_like
            Finite real numbers of any shape and type.
        tensor_scale : float
            A positive, normal float32 that all scales are relative to; other than 1 for "e4m3" scales only.

        Returns
        -------
        codes : uint8 or uint16 array, the shape of `x`
            Codes of `element`.
        scales : uint8 array
            One scale code per block: the shape of `x`, but along the last axis the number of blocks; of shape () for an
            array without axes, and where `block` is None.

        Raises
        ------
        TypeError
            If `x` is not real.
        InvalidValueError
            If `x` holds a NaN or an infinity (the message names its index), or if `tensor_scale` is not fit.
        """
        numbers = np.asarray(x)
        codes = np.empty(numbers.shape, self.element.code_dtype)
        return codes, self._encode(numbers, tensor_scale, codes)

    def decode(
        self,
        codes: ArrayLike,
        scales: ArrayLike,
        *,
        tensor_scale: float = 1.0,
        dtype: DTypeLike | None = None,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Look up the values of codes.

        Parameters
        ----------
        codes : array_like of int
            Element codes of any shape and integer type, each below ``2**bits``.
        scales : array_like of int
            Scale codes, of the shape that `encode` gives them.
        tensor_scale : float
            As `encode` had it.
        dtype : dtype, optional
            float64 (default), float32 or float16, to which every exact product is rounded once.
        out : array of one of these types, optional
            Where to write the values: C-contiguous, with the shape of `codes`, apart from them in memory.

        Returns
        -------
        values : array of `dtype`, the shape of `codes`
            NaN throughout a block whose scale is NaN.

        Raises
        ------
        TypeError
            If codes are no integers, or the type is none of these.
        InvalidValueError
            If a code is out of range, or a shape, `out` or `tensor_scale` is not fit.
        """
        given, shared = _integers("codes", codes), _integers("scales", scales)
        if given.size and (given.min() < 0 or given.max() >= 1 << self.bits):
            self.element.decode(given)  # raises the error
        if shared.shape != (wanted := scale_shape(given.shape, self.block)):
            raise InvalidValueError(f"`scales` must have shape {wanted}, got {shared.shape}")
        if shared.size and (shared.min() < 0 or shared.max() > 255):
            raise InvalidValueError(f"`scales` must be codes from 0 to 255, got {shared.min()} to {shared.max()}")
        values = self._output(given.shape, dtype, out, codes=given)
        real = self.scale_values[shared] * self._checked(tensor_scale)
        return block_values(self.element, given.astype(self.element.code_dtype, copy=False), real, self.block, values)

    def quantize(
        self,
        x: ArrayLike,
        *,
        tensor_scale: float = 1.0,
        dtype: DTypeLike | None = None,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Return the values that `x` is rounded to: ``decode(*encode(x))``, in one pass.

        Parameters
        ----------
        x, tensor_scale
            As in `encode`.
        dtype, out
            As in `decode`; `out` must be apart from `x` in memory.
        """
        numbers = np.asarray(x)
        values = self._output(numbers.shape, dtype, out, x=numbers)
        direct = values if values.dtype != np.float16 else np.empty(values.shape, np.float64)
        self._encode(numbers, tensor_scale, direct, rounded=True)
        if direct is not values:
            with np.errstate(over="ignore"):
                np.copyto(values, direct, casting="same_kind")
        return values

    def _output(
        self, shape: tuple[int, ...], dtype: DTypeLike | None, out: NDArray[Any] | None, **read: NDArray[Any]
    ) -> NDArray[Any]:
        kind = np.dtype(out.dtype if isinstance(out, np.ndarray) and dtype is None else dtype or np.float64)
        if kind not in (np.float16, np.float32, np.float64):
            raise TypeError(f"values of a block format are float16, float32 or float64, not {kind}")
        return output_array(out, shape, kind, **read)

    def _checked(self, tensor_scale: float) -> float:
        unit = checks.real("tensor_scale", tensor_scale, minimum=0.0, exclusive=True)
        if self.scale == "e8m0" and unit != 1.0:
            raise InvalidValueError(f"`tensor_scale` of format '{self.name}' must be 1, got {unit:g}")
        with np.errstate(over="ignore", under="ignore"):
            single = float(np.float32(unit))
        if single != unit or unit < np.finfo(np.float32).tiny:
            raise InvalidValueError(f"`tensor_scale` must be a normal float32, got {unit!r}")
        return unit

    def _scale_codes(self, largest: NDArray[np.float64], unit: float) -> NDArray[np.uint8]:
        """Return the scale code of blocks with these largest magnitudes: the rule of the class, nowhere else stated."""
        if self.scale == "e4m3":
            wanted = np.minimum(largest / (unit * self.element.max_value), _E4M3.max_value)
            codes: NDArray[np.uint8] = np.maximum(_E4M3.encode(wanted), np.uint8(1))
            return codes
        # the exponent field of a double is floor(log2 m) + 1023, and 0 for zero and subnormal numbers
        field = largest.view(np.int64) >> 52
        lowest = 1023 - 127 + math.frexp(self.element.max_value)[1] - 1
        held: NDArray[np.int64] = np.clip(field - lowest, 0, 254)
        return held.astype(np.uint8)

    def _largest(self, x: NDArray[Any]) -> float:
        """Return the largest magnitude of a finite array that is not empty."""
        from tetrit.formats import _kernels

        rows, block = _rows(x, None)
        words = rows.view(_WORDS[x.itemsize])
        patterns = np.empty(-(-x.size // block), words.dtype)
        run_items(lambda i, j: _kernels.block_maxima(words, block, patterns, i, j), patterns.size, block)
        largest = float(patterns.view(x.dtype).max())
        if not math.isfinite(largest):
            checks.finite("x", x)
        return largest

    def _encode(
        self, numbers: NDArray[Any], tensor_scale: float, out: NDArray[Any] | None, *, rounded: bool = False
    ) -> NDArray[np.uint8]:
        """Return the scale codes; write into `out`, if it is given, the elements' codes, or `rounded`, their values."""
        from tetrit.formats import _kernels

        unit = self._checked(tensor_scale)
        x = _as_floats(numbers)
        scales = np.empty(scale_shape(x.shape, self.block), np.uint8)
        rows, block = _rows(x, self.block)
        n_blocks = rows.shape[0] * -(-rows.shape[1] // block)
        words = rows.view(_WORDS[x.itemsize])
        patterns = np.empty(n_blocks, words.dtype)
        # a scale of few bits times a border or a value is exact in float32; times a `tensor_scale` it needs a double
        of_blocks = np.empty(n_blocks, x.dtype if unit == 1.0 else np.float64)

        def measure(first: int, last: int) -> None:
            _kernels.block_maxima(words, block, patterns, first, last)
            if not np.isfinite(patterns[first:last].view(x.dtype)).all():
                checks.finite("x", x)

        def write(first: int, last: int) -> None:
            if out is None:
                return
            target = out.reshape(rows.shape)
            if isinstance(self.element, Integer):
                limit, mask = self.element.max_value, (1 << self.bits) - 1
                if rounded:
                    _kernels.block_integer_rounded(rows, block, of_blocks, limit, target, first, last)
                else:
                    _kernels.block_integer_codes(rows, block, of_blocks, limit, mask, target, first, last)
            elif rounded:
                _kernels.block_e2m1_rounded(rows, block, of_blocks, target, first, last)
            else:
                _kernels.block_e2m1_codes(rows, block, of_blocks, target, first, last)

        def whole(first: int, last: int) -> None:
            measure(first, last)
            part = self._scale_codes(patterns[first:last].view(x.dtype).astype(np.float64), unit)
            scales.reshape(-1)[first:last] = part
            of_blocks[first:last] = self.scale_values[part] * unit
            write(first, last)

        if self.block is not None:
            run_items(whole, n_blocks, block)
            return scales
        scales[...] = self._scale_codes(np.array(self._largest(x) if x.size else 0.0), unit)
        of_blocks[...] = self.scale_values[scales] * unit
        run_items(write, n_blocks, block)
        return scales


def scale_shape(shape: tuple[int, ...], block: int | None) -> tuple[int, ...]:
    """Return the shape of the scales of an array of `shape`: one for every `block` along its last axis, or one."""
    return () if block is None or not shape else (*shape[:-1], -(-shape[-1] // block))


def block_values(
    element: Format, codes: NDArray[Any], scales: NDArray[np.float64], block: int | None, out: NDArray[Any]
) -> NDArray[Any]:
    """Write the value of every code times its block's real scale, rounded once, into `out` and return it.

    `scales` has the `scale_shape` of the codes, whose type is uint8 or uint16.
    """
    from tetrit.formats import _kernels

    rows, length = _rows(codes, block)
    n_blocks = rows.shape[0] * -(-rows.shape[1] // length)
    shared = np.ascontiguousarray(scales).reshape(-1) if block is not None else np.full(n_blocks, scales)
    direct = out.dtype != np.float16 and out.flags.c_contiguous
    into = out if direct else np.empty(codes.shape)
    target = into.reshape(rows.shape)
    mask = rows.dtype.type((1 << element.bits) - 1)

    def task(first: int, last: int) -> None:
        if _kernels.block_values(rows, length, mask, element.values, shared, target, first, last):
            element.decode(codes)  # raises the error

    run_items(task, n_blocks, length)
    if not direct:
        with np.errstate(over="ignore"):
            np.copyto(out, into, casting="same_kind")
    return out


def _rows(x: NDArray[Any], block: int | None) -> tuple[NDArray[Any], int]:
    """Return the array as C-contiguous rows that blocks do not reach over, and the length of a block."""
    x = np.ascontiguousarray(x)
    if block is None or x.ndim == 0:
        return x.reshape(1, x.size), _CHUNK if block is None else block
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), min(block, max(x.shape[-1], 1))


def _integers(name: str, codes: ArrayLike) -> NDArray[Any]:
    given = np.asarray(codes)
    if given.dtype.kind not in "iu" and given.size:
        raise TypeError(f"`{name}` must be integers, got {given.dtype}")
    return given if given.size else given.astype(np.uint8)
