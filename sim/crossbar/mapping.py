"""Which cell holds what: weights cut into digits and placed on arrays, inputs cut into digits, and the way back.

All of it is exact integer arithmetic. A *group* is a pair of a digit of the weights and a polarity: every output has a
physical column in each group. An output's columns lie side by side: slice 0 positive, slice 0 negative, slice 1
positive, ... with differential pairs, else slice 0, slice 1, ...; the reference columns of the offset mapping are the
last of an array.
"""

__all__ = ["Layout", "input_digits", "levels", "reference_levels", "targets"]

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tetrit.hardware import Crossbar

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A weight matrix on the arrays of a machine: array (i, j) holds inputs ``rows(i)`` and outputs ``outputs(j)``.

    Attributes
    ----------
    machine : Crossbar
    n_in, n_out : int
    """

    machine: Crossbar
    n_in: int
    n_out: int

    @property
    def row_arrays(self) -> int:
        """Arrays that the inputs are spread over."""
        return -(-self.n_in // self.machine.rows)

    @property
    def col_arrays(self) -> int:
        """Arrays that the outputs are spread over."""
        return -(-self.n_out // self.machine.outputs_per_array)

    def rows(self, i: int) -> slice:
        """Return the inputs of the arrays (i, ...)."""
        return slice(i * self.machine.rows, min((i + 1) * self.machine.rows, self.n_in))

    def outputs(self, j: int) -> slice:
        """Return the outputs of the arrays (..., j)."""
        n = self.machine.outputs_per_array
        return slice(j * n, min((j + 1) * n, self.n_out))

    @property
    def polarities(self) -> int:
        """Columns per weight digit and output: 2 with differential pairs, else 1."""
        return 2 if self.machine.mapping == "differential" else 1

    @property
    def places(self) -> int:
        """Outputs that an array has columns for, the spare ones included."""
        machine = self.machine
        references = machine.n_slices if machine.mapping == "offset" else 0
        return (machine.cols - references) // machine.columns_per_output

    @property
    def references(self) -> slice:
        """Reference columns of every array; none with differential pairs."""
        cols = self.machine.cols
        return slice(cols - (self.machine.n_slices if self.machine.mapping == "offset" else 0), cols)

    @cached_property
    def significance(self) -> Ints:
        """What a level counts in each column of an output, without sign. int64 (columns_per_output,)."""
        base = 2**self.machine.bits_per_cell
        return np.repeat(np.array([base**s for s in range(self.machine.n_slices)], np.int64), self.polarities)

    @cached_property
    def digit_weights(self) -> tuple[int, ...]:
        """What a step counts in each input digit."""
        starts = np.cumsum((0, *self.machine.input_digits[:-1]))
        return tuple(2 ** int(start) for start in starts)

    @cached_property
    def digit_reach(self) -> tuple[int, ...]:
        """Largest magnitude of each input digit."""
        widths = self.machine.input_digits
        last = 2 ** (widths[-1] - 1) if self.signed else 2 ** widths[-1] - 1
        return (*(2**width - 1 for width in widths[:-1]), last)

    @property
    def signed(self) -> bool:
        """Whether inputs may be negative."""
        return not self.machine.act_format.startswith("u")

    def columns(self, places: Ints) -> Ints:
        """Physical columns of the outputs at `places` of an array. int64 (n_outputs, columns_per_output)."""
        width = self.machine.columns_per_output
        return places[:, None] * width + np.arange(width)


def levels(machine: Crossbar, integers: npt.ArrayLike) -> Ints:
    """Return the levels of all cells of a weight matrix.

    Parameters
    ----------
    machine : Crossbar
    integers : array_like of int, shape (n_in, n_out)
        Integers of the weight format.

    Returns
    -------
    array of int64, shape (n_in, n_out, columns_per_output)
        From 0 to ``2**bits_per_cell - 1``.

    Examples
    --------
    >>> machine = Crossbar(rows=4, cols=4, weight_format="int4", bits_per_cell=2)
    >>> levels(machine, [[6, -5]]).tolist()  # 6 = 2 + 1 x 4, 5 = 1 + 1 x 4
    [[[2, 0, 1, 0], [0, 1, 0, 1]]]
    >>> levels(machine.replace(mapping="offset"), [[6, -5]]).tolist()  # 14 = 2 + 3 x 4, 3 = 3
    [[[2, 3], [3, 0]]]
    """
    weights = np.asarray(integers, np.int64)
    if machine.mapping == "offset":
        return _digits(machine, weights + machine.offset)
    both = np.stack([_digits(machine, np.maximum(weights, 0)), _digits(machine, np.maximum(-weights, 0))], axis=-1)
    return both.reshape(*weights.shape, machine.columns_per_output)


def reference_levels(machine: Crossbar) -> Ints:
    """Return the levels of the cells of the reference columns: the digits of the offset. int64 (n_slices,)."""
    return _digits(machine, np.array(machine.offset))


def _digits(machine: Crossbar, numbers: Ints) -> Ints:
    bits = machine.bits_per_cell
    shifts = bits * np.arange(machine.n_slices)
    return np.asarray((numbers[..., None] >> shifts) & (2**bits - 1))


def targets(layout: Layout, tile: Ints, places: Ints | None = None) -> Floats:
    """Return the conductances that an array is programmed to.

    Parameters
    ----------
    layout : Layout
    tile : array of int64, shape (n_rows, n_outputs, columns_per_output)
        Levels of the array's weights.
    places : array of int64, shape (n_outputs,), optional
        Where each output lies; by default in order.

    Returns
    -------
    array of float64, shape (rows, cols)
        In siemens. Cells without a weight are at the window's lower end.
    """
    machine = layout.machine
    n_rows, n_outputs, _ = tile.shape
    cells = np.zeros((machine.rows, machine.cols), np.int64)
    where = layout.columns(np.arange(n_outputs) if places is None else places)
    cells[:n_rows, where.ravel()] = tile.reshape(n_rows, -1)
    if machine.mapping == "offset":
        cells[:n_rows, layout.references] = reference_levels(machine)
    low, high = machine.window
    share = cells / (2**machine.bits_per_cell - 1)  # exactly 1 at the top, so that no target leaves the window
    return np.asarray(low * (1.0 - share) + high * share)


def input_digits(layout: Layout, x: Ints) -> list[Ints]:
    """Cut inputs into digits, least significant first; the last one has the sign.

    Parameters
    ----------
    layout : Layout
    x : array of int64
        In the range of the machine's activation format.

    Returns
    -------
    list of array of int64
        ``sum of digit * weight`` over `Layout.digit_weights` is `x`.

    Examples
    --------
    >>> machine = Crossbar(rows=4, cols=4, act_format="int8", dac_bits=3)
    >>> layout = Layout(machine=machine, n_in=4, n_out=1)
    >>> [int(digit) for digit in input_digits(layout, np.array(-77))], layout.digit_weights
    ([3, 6, -2], (1, 8, 64))
    """
    widths = layout.machine.input_digits
    found = []
    rest = x
    for width in widths[:-1]:
        found.append(rest & (2**width - 1))
        rest = rest >> width
    return [*found, rest]
