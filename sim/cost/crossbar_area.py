"""Area of crossbars by component: the authority for how many circuits an array has, and what they take.

An array has, of each: its cells; a DAC with its driver for every row, of the widest digit; a register of the input's
bits for every row; an integrator for every current that is converted; a converter and a shift-and-add unit for every
`columns_per_adc` of those currents, the last one perhaps with fewer. What is converted is what the cycle model counts:
a merged pair is one current. Ramp converters: a comparator for each current, counted as the integrator that holds it,
and the ramps' cells.

Not in it (assumption of ours: beside the arrays): requantisation, memories, control, routing, charge pumps.
"""

__all__ = ["crossbar_area", "total"]

from collections.abc import Iterable, Mapping
from pathlib import Path

from tetrit import checks
from tetrit.hardware import Crossbar
from tetrit.sim.cost.adc import AdcSurvey
from tetrit.sim.cost.analog import of_converter
from tetrit.sim.cost.figure import ORIGINS, Figure
from tetrit.sim.cost.peripherals import CellCosts, Peripherals, cell_costs


def crossbar_area(
    machine: Crossbar,
    *,
    arrays: int = 1,
    node_nm: float = 32.0,
    adc: AdcSurvey | None = None,
    peripherals: Peripherals | None = None,
    cells: str | Path | CellCosts | None = None,
) -> dict[str, Figure]:
    """Return the area of arrays with their converters in mm2, by component.

    Parameters
    ----------
    machine : Crossbar
    arrays : int
        How many.
    node_nm : float
        Technology; figures of other nodes are scaled, cells by their squares of the feature size.
    adc, peripherals
        Fits and figures; by default the committed ones.
    cells : str, Path or CellCosts, optional
        Of the machine's device, or a TOML file with it; by default the committed table's.

    Raises
    ------
    InvalidValueError
        The table of cells does not have the machine's device; converters or a node are outside what the survey or the
        scaling spans.

    Examples
    --------
    >>> from tetrit import hardware
    >>> found = crossbar_area(hardware.load_crossbar("crossbar_256_pcm"), node_nm=32)
    >>> f"ADC {found['ADC'].value:.3f} mm2, cells {found['cells'].value:.4f} mm2"
    'ADC 0.043 mm2, cells 0.0013 mm2'
    """
    arrays = checks.integer("arrays", arrays)
    cell = cells if isinstance(cells, CellCosts) else cell_costs(machine.cell.name, cells)
    around = (Peripherals.committed() if peripherals is None else peripherals).at(node_nm)
    currents = converted_currents(machine)
    each = {
        "cells": (machine.rows * machine.cols, cell.area_um2(node_nm)),
        "DAC": (machine.rows * max(machine.input_digits) / around.dac.bits, around.dac.area),
        "registers": (machine.rows * machine.activations.bits / around.register.bits, around.register.area),
    }
    if machine.ramp is not None:
        ramp = machine.ramp
        share = currents if ramp.columns_per_ramp is None else min(ramp.columns_per_ramp, currents)
        ramp_cells = -(-currents // share) * (ramp.n_ramp_cells + ramp.n_calibration_cells)
        each["comparators"] = (currents, around.integrator.area)
        each["ramp cells"] = (ramp_cells, cell.area_um2(node_nm))
    elif machine.adc_bits is not None:
        converters = -(-currents // machine.adc.columns_per_adc)
        survey = AdcSurvey.survey() if adc is None else adc
        each["integrators"] = (currents, around.integrator.area)
        each["ADC"] = (converters, of_converter(survey.area_um2, machine, node_nm))
        each["shift and add"] = (converters, around.shift_add.area)
    return {name: _times(figure, arrays * count) for name, (count, figure) in each.items()}


def converted_currents(machine: Crossbar) -> int:
    """Return the currents of a full array that are converted for one input digit, as the cycle model counts them."""
    digital = machine.readout == "digital"
    polarities = 2 if machine.mapping == "differential" and digital else 1
    references = machine.n_slices if machine.mapping == "offset" and digital else 0
    return machine.outputs_per_array * machine.n_slices * polarities + references


def total(parts: Mapping[str, Figure] | Iterable[Figure], what: str = "sum") -> Figure:
    """Return the sum of figures of one unit; of the least certain origin among them, and with all their bounds added.

    A part without bounds counts as it is.

    Examples
    --------
    >>> area = Figure(value=2.0, unit="mm2", origin="modelled", source="a", low=1.0, high=4.0)
    >>> cells = Figure(value=1.0, unit="mm2", origin="published", source="b")
    >>> both = total([area, cells])
    >>> both.value, both.low, both.high, both.origin
    (3.0, 2.0, 5.0, 'modelled')
    """
    found = list(parts.values() if isinstance(parts, Mapping) else parts)
    certain = ("synthesised", "published", "modelled", "assumed")
    assert set(certain) == set(ORIGINS)
    origin = max((figure.origin for figure in found), key=certain.index)
    bounded = any(figure.low is not None for figure in found)
    return Figure(
        value=sum(figure.value for figure in found),
        unit=found[0].unit,
        origin=origin,
        source=f"{what} of {len(found)} figures, each with its own source",
        low=sum(f.value if f.low is None else f.low for f in found) if bounded else None,
        high=sum(f.value if f.high is None else f.high for f in found) if bounded else None,
    )


def _times(figure: Figure, count: float) -> Figure:
    """Return a figure in um2 times a count, in mm2."""
    factor = count * 1e-6
    return Figure(
        value=figure.value * factor,
        unit="mm2",
        origin=figure.origin,
        source=figure.source,
        low=None if figure.low is None else figure.low * factor,
        high=None if figure.high is None else figure.high * factor,
    )
