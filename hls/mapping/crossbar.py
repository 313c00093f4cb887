"""Mapping products onto analog crossbars: copies of the weights that work side by side.

Weights stay where they are, so there is nothing to order: a layer takes as many arrays as its weights need, and all of
them work at once. What is left to choose is how many copies of the weights share the vectors of a layer, where there
are arrays for more than one (`arrays` of `tetrit.hls.map_network`): cycles fall with every copy that takes a share, and
the energy of a vector is the same on each, so the fewest copies with the fewest cycles are the best of every cost.

Assumptions of ours: programming is not counted. Cells take ``v**2 g t``, with all codes of inputs and of weights
equally likely, cells as programmed exactly, and no resistance of wires. Off-chip memory has a word for each cycle of
the crossbar's clock.
"""

__all__ = ["CrossbarTiling", "solve"]

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar
from tetrit.hls.mapping.layer import Settings, Solution
from tetrit.hls.mapping.memory import Traffic, beyond_chip
from tetrit.sim import Workload
from tetrit.sim.cost import AnalogPrices
from tetrit.sim.crossbar import cycles
from tetrit.sim.crossbar.mapping import Layout, input_digits, levels, reference_levels


@dataclass(frozen=True, kw_only=True)
class CrossbarTiling:
    """How a product lies on crossbars.

    Attributes
    ----------
    copies : int
        Of the weights.
    row_arrays, col_arrays : int
        Arrays of one copy along the inputs and along the outputs.
    """

    copies: int
    row_arrays: int
    col_arrays: int

    def __post_init__(self) -> None:
        for name in ("copies", "row_arrays", "col_arrays"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name)))

    @property
    def arrays(self) -> int:
        """All arrays of the layer."""
        return self.copies * self.row_arrays * self.col_arrays


@lru_cache(maxsize=4096)
def solve(workload: Workload, machine: Crossbar, settings: Settings) -> Solution:
    """Return the mapping of least cost of a product; see `tetrit.hls.map_network`.

    Raises
    ------
    InvalidValueError
        One copy of the weights takes more arrays than there are.
    """
    layout = Layout(machine=machine, n_in=workload.k, n_out=workload.n)
    needed = layout.row_arrays * layout.col_arrays
    most = needed if settings.arrays is None else settings.arrays
    if most < needed:
        raise InvalidValueError(
            f"`arrays` must be at least {needed} for {workload.k} x {workload.n} weights on arrays of {machine.rows} x "
            f"{machine.cols} cells, got {most}"
        )
    share = -(-workload.m // min(most // needed, workload.m))
    copies = -(-workload.m // share)
    per_vector = cycles.per_vector(layout)
    events = {name: count * workload.m for name, count in cycles.events(layout).items()}
    breakdown = AnalogPrices.modelled().breakdown(events, machine, cells_pj=workload.m * _cells_pj(layout))
    bits = {
        "act": workload.m * workload.k * machine.activations.bits,
        "weight": 0,
        "result": workload.m * workload.n * machine.activations.bits,
    }
    traffic, port, off = {}, 0, settings.off_chip
    if off is not None:
        traffic["off-chip memory"], port = beyond_chip(bits, (("act", 1), ("weight", 1), ("result", 1)), off)
        breakdown["off-chip memory"] = bits["act"] * off.read_pj_per_bit + bits["result"] * off.write_pj_per_bit
    else:
        traffic["off-chip memory"] = Traffic(read_bytes=0, write_bytes=0)
    held = machine.rows * machine.outputs_per_array * needed * copies
    solution = Solution(
        tiling=CrossbarTiling(copies=copies, row_arrays=layout.row_arrays, col_arrays=layout.col_arrays),
        array_cycles=share * per_vector + 1,
        off_chip_cycles=port,
        breakdown=breakdown,
        traffic=traffic,
        peak_macs=held / per_vector,
        optimal=True,
        bound=0.0,
    )
    return Solution(**{**vars(solution), "bound": solution.cost(settings.cost)})


def _cells_pj(layout: Layout) -> float:
    """Return the energy of all cells for one vector of evenly distributed inputs and weights."""
    machine = layout.machine
    low, high = machine.window
    step = (high - low) / (2**machine.bits_per_cell - 1)
    integers = machine.weights.integers[~np.isnan(machine.weights.values)]
    cells = levels(machine, integers[np.newaxis])[0].mean(axis=0).sum() * layout.n_out  # of one row, in levels
    if machine.mapping == "offset":
        cells += reference_levels(machine).sum() * layout.col_arrays
    siemens = low * machine.cols * layout.col_arrays + step * float(cells)
    inputs = machine.activations.integers
    squares = sum(
        float(np.mean((digit / reach) ** 2))
        for digit, reach in zip(input_digits(layout, inputs), layout.digit_reach, strict=True)
    )
    joules: float = squares * machine.read_voltage_v**2 * siemens * machine.read_time_s * layout.n_in
    return joules * 1e12
