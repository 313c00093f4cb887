"""The search behind `tetrit.sim.crossbar.ramp`."""

from typing import Any

from numba import njit

__all__ = ["bin_of", "count_passed", "fill_starts"]


@njit(cache=True, nogil=True, inline="always")
def bin_of(value: float, first: float, per_unit: float, bins: int) -> int:
    """Return the bin of a number, one of equal bins from `first` on; never descends where the number ascends."""
    place = (value - first) * per_unit
    place = place if place > 0.0 else 0.0
    return int(place if place < bins - 1 else bins - 1)


@njit(cache=True, nogil=True)
def fill_starts(thresholds: Any, per_unit: Any, starts: Any) -> None:
    """Write the number of thresholds in earlier bins; see `count_passed`."""
    bins = starts.shape[1]
    for ramp in range(thresholds.shape[0]):
        starts[ramp, :] = 0
        for threshold in thresholds[ramp, :-1]:
            starts[ramp, bin_of(threshold, thresholds[ramp, 0], per_unit[ramp], bins) + 1 :] += 1


@njit(cache=True, nogil=True)
def count_passed(
    x: Any, scale: float, thresholds: Any, per_unit: Any, starts: Any, columns_per_ramp: int, codes: Any, out: Any
) -> None:
    """Write ``codes[number of thresholds that x * scale has reached]`` for x of shape (rows, columns) without NaN.

    Every row of `thresholds` ascends, with a NaN at its end that nothing reaches. The search begins at the number of
    thresholds in earlier bins, which are below for sure.
    """
    bins = starts.shape[1]
    n_columns = x.shape[1]
    for row in range(x.shape[0]):
        for ramp in range(thresholds.shape[0]):
            ramp_thresholds = thresholds[ramp]
            ramp_starts = starts[ramp]
            first = ramp_thresholds[0]
            slope = per_unit[ramp]
            begin = ramp * columns_per_ramp
            for column in range(begin, min(begin + columns_per_ramp, n_columns)):
                value = x[row, column] * scale
                passed = ramp_starts[bin_of(value, first, slope, bins)]
                passed += ramp_thresholds[passed] <= value  # nearly always all of it, and no branch to mispredict
                while ramp_thresholds[passed] <= value:
                    passed += 1
                out[row, column] = codes[passed]
