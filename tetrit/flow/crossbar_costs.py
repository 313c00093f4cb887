"""What a run on a crossbar costs beyond its energy: area, programming, throughput per watt and area, with origins."""

__all__ = ["assumptions", "figures"]

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from tetrit.errors import InvalidValueError
from tetrit.flow.crossbar_config import CrossbarConfig
from tetrit.sim.cost.crossbar_area import crossbar_area, total
from tetrit.sim.cost.efficiency import Efficiency, efficiency
from tetrit.sim.cost.figure import Figure
from tetrit.sim.cost.programming import program_energy


def figures(config: CrossbarConfig, block: Mapping[str, Any], program_pulses: int) -> list[dict[str, Any]]:
    """Return the figures of the report's ``crossbar`` beside those that it has, each with its name.

    Parameters
    ----------
    config : CrossbarConfig
    block : mapping
        The report's ``crossbar``.
    program_pulses : int
        Programming attempts of one chip.
    """
    found = {f"area, {name}": figure for name, figure in _area(config, block).items()}
    if found:
        found["area"] = total(found)
    with suppress(InvalidValueError):  # the table of cells does not know the device: `assumptions` says so
        found["programming a chip once"] = program_energy(config.machine, program_pulses, cells=config.cells)
    found["energy of the run"] = _energy(config, block)
    reached = _efficiency(config, block)
    found |= {} if reached is None else reached.figures()
    return [{"name": name} | asdict(figure) for name, figure in found.items()]


def assumptions(config: CrossbarConfig, block: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what those figures rest on, and why some are missing."""
    reached = _efficiency(config, block)
    text = "No throughput per watt: no event has a price" if reached is None else f"Throughput: {reached.definition}"
    found = [{"id": "crossbar-operations", "text": text, "source": "tetrit.sim.cost.efficiency"}]
    try:
        crossbar_area(config.machine, node_nm=config.node_nm, cells=config.cells)
    except InvalidValueError as error:
        text = f"No area of the crossbar, and no energy of programming where its cell is not known: {error}"
    else:
        text = (
            f"Area of the crossbar at {config.node_nm:g} nm, all arrays of all layers: cells by their squares of the "
            "feature size, other circuits scaled from the nodes of their sources. Not counted: requantisation, "
            "memories, control, routing, charge pumps"
        )
    return [*found, {"id": "crossbar-area", "text": text, "source": "tetrit.sim.cost.crossbar_area"}]


def _area(config: CrossbarConfig, block: Mapping[str, Any]) -> dict[str, Figure]:
    arrays = sum(layer["arrays"] for layer in block["layers"])
    try:
        return crossbar_area(config.machine, arrays=arrays, node_nm=config.node_nm, cells=config.cells)
    except InvalidValueError:
        return {}


def _energy(config: CrossbarConfig, block: Mapping[str, Any]) -> Figure:
    """Return the energy of all layers in uJ, with its bounds."""
    parts: list[Figure] = []
    for layer in block["layers"]:
        cells_pj = layer["breakdown"]["cells"]
        parts += config.prices.figures_of(layer["events"], config.machine, cells_pj=cells_pj).values()
    found = total(parts)
    return Figure(
        value=found.value * 1e-6,
        unit="uJ",
        origin="modelled",
        source="events times prices, see the assumption crossbar-prices; cells from the run",
        low=None if found.low is None else found.low * 1e-6,
        high=None if found.high is None else found.high * 1e-6,
    )


def _efficiency(config: CrossbarConfig, block: Mapping[str, Any]) -> Efficiency | None:
    """Return what the run reaches; None where a user's prices make it free."""
    machine, layers, area = config.machine, block["layers"], _area(config, block)
    energy = _energy(config, block)
    if energy.value == 0:
        return None
    arrays = sum(layer["arrays"] for layer in layers)
    edges = [None if edge is None else edge * 1e6 for edge in (energy.low, energy.high)]
    converter = "ramp conversions" if machine.ramp is not None else f"{machine.adc_bits}-bit conversions"
    return efficiency(
        macs=sum(layer["m"] * layer["k"] * layer["n"] for layer in layers),
        time_us=block["latency_us"],
        energy_pj=Figure(
            value=energy.value * 1e6,
            unit="pJ",
            origin=energy.origin,
            source=energy.source,
            low=edges[0],
            high=edges[1],
        ),
        area_mm2=total(area) if area else None,
        act_bits=machine.activations.bits,
        weight_bits=machine.weights.bits,
        result=converter if machine.ramp is not None or machine.adc_bits is not None else "no conversion",
        in_energy=block["energy_uj"]["breakdown"],
        in_area=area,
        utilization=sum(layer["utilization"] * layer["arrays"] for layer in layers) / arrays,
    )
