"""Running matrix products on a shift array: exact integers, cycles, events, energy."""

__all__ = ["ShiftEngine"]

from collections.abc import Mapping as MappingType
from functools import partial
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray
from tetrit.sim.cost.prices import Prices
from tetrit.sim.program import Mapping, Workload
from tetrit.sim.run import Run
from tetrit.sim.shift import cycles, events
from tetrit.sim.shift.mapper import best_mapping
from tetrit.sim.shift.tiles import check, tile_list

Ints = npt.NDArray[np.int64]


@runtime_checkable
class _Quantized(Protocol):
    codes: npt.NDArray[Any]
    format: str


class ShiftEngine:
    """A `ShiftArray` that can be loaded with weights and run.

    Parameters
    ----------
    machine : ShiftArray
        What to simulate.
    prices : Prices, optional
        Energy per event, whatever the operands; by default those of each product's own, see `Prices.of_operands`.
    """

    def __init__(self, machine: ShiftArray, prices: Prices | None = None) -> None:
        self.machine = machine
        self.prices = prices
        self.weight: npt.NDArray[np.uint8] | None = None
        self._values: npt.NDArray[Any]  # the weights' integers, ready for an exact product
        self._reach: Ints  # largest absolute value that each output's products can sum to
        self._nonzero: int

    def load(self, weight: Any) -> Self:
        """Load weight codes.

        Parameters
        ----------
        weight : Quantized or array_like of int, shape (n_in, n_out)
            Codes of the machine's weight format; a `Quantized` is checked for its format. Its scale rides beside: apply
            it once to the output.

        Returns
        -------
        ShiftEngine
            Itself.

        Raises
        ------
        TypeError
            Codes that are no integers.
        InvalidValueError
            Wrong format or shape; a code out of range, or one that stands for no number.
        """
        if isinstance(weight, _Quantized):
            if weight.format != self.machine.weight_format:
                raise InvalidValueError(f"weights are {weight.format}, the machine takes {self.machine.weight_format}")
            weight = weight.codes
        try:
            codes = np.asarray(weight)
        except ValueError:
            raise InvalidValueError(
                "weight codes must be a matrix (n_in, n_out), got rows of different lengths"
            ) from None
        if not np.issubdtype(codes.dtype, np.integer):
            raise TypeError(f"weight codes must be integers, got {codes.dtype}")
        if codes.ndim != 2 or codes.size == 0:
            raise InvalidValueError(f"weight codes must be a non-empty matrix (n_in, n_out), got shape {codes.shape}")
        wanted = self.machine.weights
        bad = (codes < 0) | (codes >= len(wanted.values))
        if not bad.any():
            bad = np.isnan(wanted.values)[codes]
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            raise InvalidValueError(
                f"weight code {int(codes[row, column])} at ({row}, {column}) is no number of "
                f"{self.machine.weight_format}"
            )
        self.weight = codes.astype(np.uint8)
        integers = wanted.integers[self.weight]
        self._nonzero = int(np.count_nonzero(integers))
        self._reach = np.abs(integers).sum(axis=0) * int(np.abs(self.machine.activations.integers).max())
        self._values = integers.astype(_exact_dtype(int(self._reach.max())))
        return self

    def matmul(self, x: npt.ArrayLike, *, bias: npt.ArrayLike | None = None, mapping: Mapping | None = None) -> Run:
        """Multiply activations with the loaded weights.

        Parameters
        ----------
        x : array_like of int, shape (batch, n_in)
            Activations, in the range of the machine's activation format.
        bias : array_like of int, shape (n_out,), optional
            Added to every sum, in accumulator units.
        mapping : Mapping, optional
            Tiles; by default the fastest that fits, see `best_mapping`.

        Returns
        -------
        Run
            `output` is int64 of shape (batch, n_out), in units of the weight format's smallest positive value.
            `breakdown` is modelled from what these operands move in the array, unless the engine has `prices`.

        Raises
        ------
        TypeError
            `x` or `bias` that are no integers.
        InvalidValueError
            Shapes that do not match, values out of range, a mapping that does not fit, accumulators that could
            overflow for some activations, or no weights loaded.

        Examples
        --------
        >>> import numpy as np
        >>> from tetrit import hardware, sim
        >>> engine = sim.build(hardware.ShiftArray(rows=2, cols=2)).load([[1, 3], [2, 1]])
        >>> engine.matmul([[5, 7]]).output
        array([[5, 2]])
        """
        if self.weight is None:
            raise InvalidValueError("no weights are loaded; call `load` first")
        acts = self._activations(x)
        workload = Workload(m=acts.shape[0], k=acts.shape[1], n=self.weight.shape[1])
        start = self._bias(bias)
        if mapping is None:
            mapping = best_mapping(workload, self.machine)
        check(workload, mapping, self.machine)
        tiles = tile_list(workload, mapping)
        n_cycles = cycles.count_tiles(tiles, self.machine)
        happened = events.of_tiles(workload, tiles, self.machine, active=workload.m * self._nonzero, n_cycles=n_cycles)
        values = acts.astype(self._values.dtype)
        if self.prices is None:
            price = partial(_breakdown, values, self.weight, start, mapping, self.machine, happened)
        else:
            price = partial(self.prices.breakdown, happened, self.machine)
        return Run(
            output=(values @ self._values).astype(np.int64) + start,
            cycles=n_cycles,
            utilization=workload.macs / (n_cycles * self.machine.rows * self.machine.cols),
            bound=cycles.bound(tiles, self.machine, n_cycles),
            events=happened,
            price=price,
        )

    def _activations(self, x: npt.ArrayLike) -> Ints:
        assert self.weight is not None
        array = np.asarray(x)
        if not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"`x` must be integers, got {array.dtype}")
        n_in = self.weight.shape[0]
        if array.ndim != 2 or array.shape[1] != n_in or array.shape[0] == 0:
            raise InvalidValueError(f"`x` must have shape (batch, {n_in}), got {array.shape}")
        values = self.machine.activations.integers
        low, high = int(values.min()), int(values.max())
        if array.min() < low or array.max() > high:
            raise InvalidValueError(
                f"`x` must be within {low}..{high} ({self.machine.act_format}), "
                f"got {int(array.min())}..{int(array.max())}"
            )
        return array.astype(np.int64, copy=False)

    def _bias(self, bias: npt.ArrayLike | None) -> Ints:
        """Return the bias, having proved that no sum can leave the accumulator, whatever the activations."""
        assert self.weight is not None
        n_out = self.weight.shape[1]
        start = np.zeros(n_out, dtype=np.int64) if bias is None else np.asarray(bias)
        if not np.issubdtype(start.dtype, np.integer):
            raise TypeError(f"`bias` must be integers, got {start.dtype}")
        if start.shape != (n_out,):
            raise InvalidValueError(f"`bias` must have shape ({n_out},), got {start.shape}")
        limit = 2 ** (self.machine.acc_bits - 1) - 1
        if int(start.max()) > limit or int(start.min()) < -limit:
            raise InvalidValueError(
                f"`bias` must be within -{limit}..{limit} (`acc_bits` = {self.machine.acc_bits}), "
                f"got {int(start.min())}..{int(start.max())}"
            )
        reach = self._reach + np.abs(start.astype(np.int64))
        if (reach > limit).any():
            column = int(np.argmax(reach))
            raise InvalidValueError(
                f"`acc_bits` = {self.machine.acc_bits} is too small: output {column} can reach {int(reach[column])}, "
                f"the accumulator {limit}"
            )
        return start.astype(np.int64)


def _breakdown(
    x: npt.NDArray[Any],
    weight: npt.NDArray[np.uint8],
    bias: Ints,
    mapping: Mapping,
    machine: ShiftArray,
    happened: MappingType[str, int],
) -> dict[str, float]:
    """Return the energy of a product at the prices of its own operands."""
    prices = Prices.of_operands(x.astype(np.int64), weight, bias, mapping, machine)
    return prices.breakdown(happened, machine)


def _exact_dtype(reach: int) -> type[np.float32 | np.float64 | np.int64]:
    """Return the type whose matrix product is exact, the fastest one first.

    Every partial sum of column j is an integer of absolute value at most ``reach_j``, in any order of summation. A
    float with p significand bits holds all integers up to 2**p, so BLAS rounds nothing while ``reach <= 2**p``.
    """
    if reach <= 2**24:
        return np.float32
    return np.float64 if reach <= 2**53 else np.int64
