"""What a block of vectors goes through for a panel and an input digit, in the order in which compiled loops take it.

An array without elements stands for an act that is left out.
"""

__all__ = ["Buffers", "Conversion", "Inputs", "Operands", "Stage", "Variances"]

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Matrix = npt.NDArray[Any]


class Inputs(NamedTuple):
    """How the rows of a panel, which has the inputs from `start` to `stop`, are driven with an input digit.

    The digit is the bits of `mask` after a shift, and from `low` on. Rows get the lines of `table`, or without it the
    digits. Cells take the `powers` of a digit, voltage times current in steps, where there are any, else the square of
    what drives the row.
    """

    start: int
    stop: int
    shift: int
    mask: int
    low: int
    table: Singles
    powers: Floats


class Operands(NamedTuple):
    """Weights as a `PackedMatrix` has them, and the energy in joules that each of its rows takes at one step."""

    weights: Matrix
    row_joules: Floats


class Variances(NamedTuple):
    """Variances of currents: `floor` for all vectors alike, and those of cells, which depend on inputs.

    `variances`, a `PackedMatrix`, are for squares of inputs, and, where there is shot noise, for their magnitudes times
    `per_volt`. With `counts` and their `scale`, see `PackedVariances`, they are the last resort: squares are counted
    times `square_scale`, magnitudes times `magnitude_scale`. Normals are those of `key`.
    """

    floor: Singles
    key: np.uint64
    counts: npt.NDArray[np.int16]
    scale: Singles
    variances: Singles
    square_scale: float
    magnitude_scale: float
    per_volt: float


class Conversion(NamedTuple):
    """What currents of a panel, in units, go through until they are added to results.

    Attributes
    ----------
    merged : array of int64, shape (groups, n_out)
        Columns of references that are subtracted before the converter.
    gain, offset : array of float32 or float64, shape (n_columns,)
        The code is the integer at or below ``current * gain + offset``.
    low, bits : int
        The lowest code, and how many there are.
    thresholds : array of float64, shape (n_converters, codes)
        See `AdcErrors`; `converters` says which column has which, -1 for none.
    converters : array of int64, shape (n_columns,)
    scale : array of float64, shape (groups, n_out)
        What a code counts in units of the product.
    taken : array of float64, shape (groups, n_out)
        The same for the codes of columns `references`, which are subtracted digitally.
    references : array of int64, shape (groups, n_out)
    width : int
        Columns of a group.
    """

    merged: Ints
    gain: Matrix
    offset: Matrix
    low: int
    bits: int
    thresholds: Floats
    converters: Ints
    scale: Floats
    taken: Floats
    references: Ints
    width: int


class Stage(NamedTuple):
    """All of it."""

    inputs: Inputs
    operands: Operands
    variances: Variances
    conversion: Conversion

    def plain(self) -> tuple[tuple[Any, ...], ...]:
        """Return tuples of no class of their own: a class in a compiled loop's cache could not be renamed."""
        return tuple(tuple(part) for part in self)


class Buffers(NamedTuple):
    """Memory for a block, kept for the next: new memory would cost a tenth of a large product."""

    volts: Matrix
    currents: Matrix
    counts: npt.NDArray[np.int16]
    squares: Singles
    variances: Singles
