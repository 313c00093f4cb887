"""Complex formats: the fourth roots of unity."""

__all__ = ["Fairy"]

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit.errors import InvalidValueError
from tetrit.formats.base import Format, output_array
from tetrit.parallel import run_blocks


@dataclass(frozen=True, kw_only=True)
class Fairy(Format):
    """Code k stands for i**k: 00 = 1, 01 = i, 10 = -1, 11 = -i, so codes add modulo 4 where values multiply.

    `encode` gives the nearest root: the axis of the larger part, in the direction of its sign; where both parts have
    the same magnitude, the real axis (whose codes are even), and for zero the code 0.

    Notes
    -----
    Source: iFairy (arXiv 2508.05571), quadrants of phase around the axes. The assignment of codes is ours.

    Examples
    --------
    >>> from tetrit import formats
    >>> formats.get("fairy2").encode([2 - 1j, 0.1j, -1 + 1j]).tolist()
    [0, 1, 2]
    """

    name: str = "fairy2"
    bits: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits != 2:
            raise InvalidValueError(f"`bits` of the fourth roots of unity is 2, got {self.bits}")

    def _make_values(self) -> NDArray[Any]:
        return np.array([1, 1j, -1, -1j])

    @property
    def has_nan(self) -> bool:
        """False: no code means NaN."""
        return False

    @property
    def significand(self) -> NDArray[np.int64]:
        """None: the values are complex."""
        raise self._complex_error()

    @property
    def exponent(self) -> NDArray[np.int64]:
        """None: the values are complex."""
        raise self._complex_error()

    @property
    def integers(self) -> NDArray[np.int64]:
        """None: the values are complex."""
        raise self._complex_error()

    def _complex_error(self) -> InvalidValueError:
        return InvalidValueError(f"format '{self.name}' has complex values: there are no single integers behind them")

    @property
    def lsb_exponent(self) -> int:
        """Exponent of the unit of `integer_range`: 0."""
        return 0

    @property
    def integer_range(self) -> tuple[int, int]:
        """Least and greatest value of either part."""
        return -1, 1

    def encode(self, x: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Find the nearest fourth root of unity.

        Parameters
        ----------
        x : array_like
            Complex or real numbers of any shape.
        out : uint8 array, optional
            Where to write the codes: C-contiguous, with the shape of `x`, apart from it in memory.

        Returns
        -------
        codes : uint8 array, the shape of `x`

        Raises
        ------
        TypeError
            If `x` holds no numbers, or if `out` is no array.
        InvalidValueError
            If `x` holds NaN in either part, or if `out` is not fit to be written to.
        """
        numbers = np.asarray(x)
        if not np.can_cast(numbers.dtype, np.clongdouble, "safe"):
            raise TypeError(f"`x` must hold complex or real numbers, got {numbers.dtype}")
        codes = output_array(out, numbers.shape, np.dtype(np.uint8), x=numbers)
        real, imaginary = np.real(numbers).reshape(-1), np.imag(numbers).reshape(-1)
        flat_codes = codes.reshape(-1)

        def task(start: int, stop: int) -> None:
            re, im = real[start:stop], imaginary[start:stop]
            if np.isnan(re).any() or np.isnan(im).any():
                where = tuple(int(i) for i in np.argwhere(np.isnan(numbers))[0])
                raise InvalidValueError(f"format '{self.name}' has no code for NaN, found at index {where}")
            across = np.abs(re) < np.abs(im)
            flat_codes[start:stop] = across + 2 * np.where(across, im < 0, re < 0)

        run_blocks(task, flat_codes.size)
        return codes
