"""How a layer's weights lie on a machine's columns, as tables and tensors; `tetrit.sim.crossbar` has the authority.

Columns of a layer: for each *group* (a digit of the weights, and its polarity where readout is digital) the outputs;
then, for the offset mapping, the reference columns, one for each group and array along the outputs.
"""

__all__ = ["Geometry", "geometry"]

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar
from tetrit.sim.crossbar.converters import adc_range, step_for
from tetrit.sim.crossbar.mapping import Layout, levels, reference_levels

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The columns of a matrix of weights on a machine.

    Attributes
    ----------
    machine : Crossbar
    n_in, n_out : int
    """

    machine: Crossbar
    n_in: int
    n_out: int

    @cached_property
    def layout(self) -> Layout:
        """The arrays that the weights are spread over."""
        return Layout(machine=self.machine, n_in=self.n_in, n_out=self.n_out)

    @cached_property
    def parts(self) -> tuple[slice, ...]:
        """The inputs of each row of arrays."""
        return tuple(self.layout.rows(i) for i in range(self.layout.row_arrays))

    @cached_property
    def paired(self) -> bool:
        """Whether a column stands for the difference of two."""
        return self.machine.mapping == "differential" and self.machine.readout == "analog"

    @cached_property
    def groups(self) -> int:
        """Groups of columns that are converted."""
        return self.machine.columns_per_output // (2 if self.paired else 1)

    @cached_property
    def n_references(self) -> int:
        """Reference columns."""
        return self.groups * self.layout.col_arrays if self.machine.mapping == "offset" else 0

    @cached_property
    def merged_references(self) -> bool:
        """Whether reference currents are subtracted before the conversion."""
        return self.n_references > 0 and self.machine.readout == "analog"

    @cached_property
    def n_columns(self) -> int:
        """All columns."""
        return self.groups * self.n_out + self.n_references

    @cached_property
    def n_converted(self) -> int:
        """Columns that are converted."""
        return self.groups * self.n_out + (0 if self.merged_references else self.n_references)

    @cached_property
    def reference_of(self) -> Ints:
        """The reference column of every output's column; int64 (groups * n_out,)."""
        arrays = np.arange(self.n_out) // self.machine.outputs_per_array
        each = np.arange(self.groups)[:, None] * self.layout.col_arrays + arrays
        return (self.groups * self.n_out + each).ravel()

    @cached_property
    def array_of(self) -> Ints:
        """The array along the outputs of every column; int64 (n_columns,)."""
        own = np.tile(np.arange(self.n_out) // self.machine.outputs_per_array, self.groups)
        return np.concatenate([own, np.tile(np.arange(self.layout.col_arrays), self.n_references and self.groups)])

    @cached_property
    def significances(self) -> npt.NDArray[np.float32]:
        """What a step counts in the outputs of every converted column; float32 (n_converted,)."""
        each = np.repeat(self.significance, self.n_out)
        if self.n_converted > len(each):
            each = np.concatenate([each, np.repeat(self.significance, self.layout.col_arrays)])
        return each.astype(np.float32)

    @cached_property
    def _constants(self) -> dict[tuple[str, torch.device], Tensor]:
        return {}

    def constant(self, name: str, device: torch.device) -> Tensor:
        """Return one of the arrays here as a tensor on a device, which waits for it the first time only."""
        if (name, device) not in self._constants:
            self._constants[name, device] = torch.as_tensor(getattr(self, name), device=device)
        return self._constants[name, device]

    @cached_property
    def significance(self) -> npt.NDArray[np.float64]:
        """What a step counts in the outputs of each group, with its sign."""
        base = float(2**self.machine.bits_per_cell)
        split = self.groups // self.machine.n_slices
        return np.array([(-1.0) ** (g % split) * base ** (g // split) for g in range(self.groups)])

    @cached_property
    def integers(self) -> tuple[int, int]:
        """Smallest and largest integer of the weight format."""
        found = self.machine.weights
        numbers = found.integers[~np.isnan(found.values)]
        return int(numbers.min()), int(numbers.max())

    @cached_property
    def level_of(self) -> Ints:
        """Levels by integer weight: int64 (groups, polarities, integers), polarity 1 is what is subtracted."""
        low, high = self.integers
        each = levels(self.machine, np.arange(low, high + 1)[:, None])[:, 0]  # (integers, columns_per_output)
        return np.ascontiguousarray(each.T.reshape(self.groups, -1, each.shape[0]))

    @cached_property
    def reference_level(self) -> Ints:
        """The level of the cells of every reference column; int64 (n_references,)."""
        if not self.n_references:
            return np.zeros(0, np.int64)
        return np.repeat(reference_levels(self.machine), self.layout.col_arrays)

    @cached_property
    def codes(self) -> tuple[int, int] | None:
        """Lowest and highest code of the converters; None without any."""
        bits = self.machine.adc_bits
        if bits is None:
            return None
        return adc_range(bits, signed=self.machine.readout == "analog" or self.layout.signed)

    @cached_property
    def calibrated(self) -> bool:
        """Whether the converters' range is learned from currents."""
        return self.codes is not None and self.machine.adc.range.startswith("calibrated")

    @cached_property
    def range_shape(self) -> tuple[int, ...]:
        """Shape of the full scales that are learned: one an input digit, or one for each converter of each part."""
        digits = len(self.layout.digit_reach)
        if self.machine.adc.range == "calibrated_per_column":
            return digits, len(self.parts), self.n_converted
        return (digits, 1, 1)

    @cached_property
    def floats_per_vector(self) -> int:
        """Floats that a product of one vector takes on its way."""
        return 2 * len(self.layout.digit_weights) * (self.n_in + len(self.parts) * self.n_columns)

    @cached_property
    def digit_widths(self) -> Ints:
        """Bits of every input digit; int64 (digits,)."""
        return np.array(self.machine.input_digits, np.int64)

    @cached_property
    def digits_at(self) -> tuple[int, int]:
        """Where `digit_widths` lie in memory, and how many there are."""
        return self.digit_widths.ctypes.data, self.digit_widths.size

    def step(self, digit: int) -> float:
        """Return the step of converters whose range is not calibrated, in units."""
        assert self.codes is not None
        machine, top = self.machine, self.codes[1]
        if machine.adc.range == "fixed":
            assert machine.adc.full_scale is not None
            return step_for(machine.adc.full_scale, top)
        rows = min(machine.rows, self.n_in)
        full = rows * self.layout.digit_reach[digit] * (2**machine.bits_per_cell - 1)
        return step_for(full, top, power_of_two=True)

    def step_volts(self, digit: int) -> float:
        """Return the volts of an input step."""
        return self.machine.read_voltage_v / self.layout.digit_reach[digit]

    @cached_property
    def input_range(self) -> tuple[int, int]:
        """Smallest and largest integer of the activation format."""
        integers = self.machine.activations.integers
        return int(integers.min()), int(integers.max())

    def input_digit(self, x: Tensor, digit: int) -> Tensor:
        """Return an input digit of integers `x` of a float dtype, in the same dtype."""
        widths = self.machine.input_digits
        if len(widths) == 1:
            return x
        rest = torch.floor(x * 2.0 ** -sum(widths[:digit]))
        if digit == len(widths) - 1:
            return rest
        return rest - torch.floor(rest * 2.0 ** -widths[digit]) * 2.0 ** widths[digit]


@lru_cache(maxsize=256)
def geometry(machine: Crossbar, n_in: int, n_out: int) -> Geometry:
    """Return the geometry of a matrix, kept."""
    if n_in < 1 or n_out < 1:
        raise InvalidValueError(f"a crossbar's weights must have inputs and outputs, got {n_in} x {n_out}")
    found = Geometry(machine=machine, n_in=n_in, n_out=n_out)
    found.codes  # noqa: B018  raises an error for converters that cannot take what the columns carry
    return found
