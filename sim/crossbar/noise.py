"""Read noise where it is seen: the variance of a column's current, and the slow reference that draws every cell.

Currents are counted in units, of one conductance level at one input step. The noises of cells are independent and
Gaussian, so a column's is Gaussian too, with the sum of their variances: a product of squared inputs and cell
variances. That is exact in distribution, for all columns of all vectors together.

Wires: what a cell's change does to its column's current depends on the voltage across the cell, and on the share of it
that reaches the sense amplifier. Both together are taken to be ``g_effective / g``, whatever the inputs: an
approximation. It holds where the drop is the work of many cells, each adding little, and inputs have either sign.
Against networks solved anew for every draw, the standard deviation is 2 % (0 to 6 % by column) too large where wires
take 10 % of the current, and 4 % (1 to 9 %) where they take 20 %; 6 % and 12 % where all inputs have one sign. The slow
reference draws cells, and sees them through the same factor. Curved cells behind wires (`Device.sinh_volt`) are taken
to add the noise of straight ones.
"""

__all__ = ["CellNoise", "cell_noise", "drawn_currents"]

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tetrit import noise
from tetrit.hardware import Crossbar
from tetrit.sim.crossbar.cells import Cells

Floats = npt.NDArray[np.float64]

_FLICKER, _SHOT, _THERMAL = range(1, 4)  # which quantity a key draws


@dataclass(frozen=True, kw_only=True, eq=False)
class CellNoise:
    """Variances of an array's cells, in levels.

    A cell at an input of d steps, each of v volts, adds ``flicker d**2 + shot |d| / v + thermal / v**2`` square units.

    Attributes
    ----------
    flicker, shot, thermal : array of float64, shape (rows, cols), or None
        None where the device has no such noise.
    """

    flicker: Floats | None
    shot: Floats | None
    thermal: Floats | None


def cell_noise(machine: Crossbar, cells: Cells, g_siemens: Floats, effective: Floats, time_s: float) -> CellNoise:
    """Return the variances of an array's cells at conductances `g_siemens`, seen through its wires."""
    found = cells.read_noise(g_siemens, time_s, machine.read_time_s, machine.temperature_k)
    factor = 1.0 / machine.level_siemens**2
    scale: Floats | float = factor
    if machine.has_wires:
        share = np.divide(effective, g_siemens, out=np.ones_like(effective), where=g_siemens > 0)
        scale = factor * share**2
    return CellNoise(
        flicker=found.flicker * scale if found.flicker.any() else None,
        shot=found.shot * g_siemens * scale if found.shot else None,
        thermal=found.thermal * scale if found.thermal.any() else None,
    )


def drawn_currents(
    machine: Crossbar, variances: CellNoise, effective: Floats, v: Floats, step_v: float, *, key: int, vector: int
) -> Floats:
    """Return the column currents of one vector, in units, with the noise of every cell drawn: the slow reference.

    Parameters
    ----------
    machine : Crossbar
    variances : CellNoise
    effective : array of float64, shape (rows, cols)
        Effective conductances in siemens.
    v : array of float64, shape (rows,)
        Inputs in steps of `step_v` volts; 0 where a row is not driven.
    step_v : float
    key : int
        Of the array and the input digit.
    vector : int
        Its number.
    """
    n = effective.size

    def normals(quantity: int) -> Floats:
        drawn = noise.normals(noise.key(key, quantity), n, first=vector * n)
        return np.asarray(drawn, np.float64).reshape(effective.shape)

    matrix = effective / machine.level_siemens
    if variances.flicker is not None:
        matrix = matrix + np.sqrt(variances.flicker) * normals(_FLICKER)
    currents = v @ matrix
    if variances.shot is not None:
        currents += (np.sqrt(variances.shot * np.abs(v)[:, None] / step_v) * normals(_SHOT)).sum(axis=0)
    if variances.thermal is not None:
        currents += (np.sqrt(variances.thermal) / step_v * normals(_THERMAL)).sum(axis=0)
    return np.asarray(currents)
