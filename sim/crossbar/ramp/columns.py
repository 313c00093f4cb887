"""The ramp converters of all arrays that hold a layer, between their columns and the results of a product."""

__all__ = ["Ramps"]

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tetrit.sim.crossbar.mapping import Layout
from tetrit.sim.crossbar.ramp.converter import RampConverter

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Ramps:
    """What a machine with a `ramp` converts with: the arrays lie side by side, and each has a converter of its own.

    The two columns of a pair, or a column less its reference, are one column to a converter. Which ramp it is held
    against where `columns_per_ramp` is set depends on its place in the array, spare places included.

    Parameters
    ----------
    layout : Layout
        Of one row of arrays, on a machine with a `ramp`.
    places : sequence of array of int64, shape (n_outputs,)
        Where in each array its outputs lie.
    seed : int
        Of the chip.
    scale : float
        Input of the function for one unit of the integer product.

    Attributes
    ----------
    converters : tuple of RampConverter
        One an array.

    Notes
    -----
    **Our reconstruction**: ramps are programmed with the chip, not with the weights, so `CrossbarEngine.reprogram`
    leaves them as they are.
    """

    def __init__(self, layout: Layout, places: Sequence[Ints], *, seed: int, scale: float) -> None:
        adc = layout.machine.ramp
        assert adc is not None
        self.layout, self.places = layout, tuple(places)
        self.converters = tuple(
            RampConverter(
                adc,
                seed=seed,
                tile=(0, j),
                columns=None if adc.columns_per_ramp is None else layout.places,
                unit=scale,
            )
            for j in range(layout.col_arrays)
        )

    def convert(self, results: Floats) -> None:
        """Replace results in units of the product, shape (batch, n_out), by values of the function."""
        for j, (converter, places) in enumerate(zip(self.converters, self.places, strict=True)):
            outputs = self.layout.outputs(j)
            found = results[:, outputs]
            if converter.columns is not None:
                columns = np.zeros((len(found), converter.columns))
                columns[:, places] = found
                found = columns
            codes = converter.codes(found, read_voltage_v=self.layout.machine.read_voltage_v)
            results[:, outputs] = converter.values(codes if converter.columns is None else codes[:, places])

    def events(self) -> dict[str, int]:
        """Count what a vector takes.

        Returns
        -------
        dict of str to int
            ``ramp_conversion``: a result converted; ``ramp_comparison``: a decision of its comparator;
            ``ramp_cell_read``: a cell of a ramp switched on, calibration cells included.
        """
        total: Counter[str] = Counter()
        for converter, places in zip(self.converters, self.places, strict=True):
            total.update(converter.events(1, len(places)))
        return {
            "ramp_conversion": total["conversions"],
            "ramp_comparison": total["comparisons"],
            "ramp_cell_read": total["ramp_cells"],
        }
