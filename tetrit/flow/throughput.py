"""Throughput per watt and per area of a digital run, as the report's ``figures``, with what they mean."""

__all__ = ["digital"]

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tetrit.sim.cost.crossbar_area import total
from tetrit.sim.cost.efficiency import efficiency
from tetrit.sim.cost.figure import Figure


def digital(report: Mapping[str, Any], act_bits: int, weight_bits: int, result: str) -> dict[str, Any]:
    """Return ``figures``, and ``assumptions`` with their definition at the end, of a report with energy and area.

    Parameters
    ----------
    report : mapping
        With ``layers``, ``latency_us``, ``energy_uj``, ``area_mm2`` and ``assumptions``.
    act_bits, weight_bits : int
        Of all layers.
    result : str
        What comes out, see `tetrit.sim.cost.efficiency`.
    """
    layers, energy, area = report["layers"], report["energy_uj"], report["area_mm2"]
    cycles = sum(layer["cycles"] for layer in layers)
    found = efficiency(
        macs=sum(layer["macs"] for layer in layers),
        time_us=report["latency_us"],
        energy_pj=_sum(energy, "pJ", 1e6),
        area_mm2=_sum(area, "mm2", 1.0),
        act_bits=act_bits,
        weight_bits=weight_bits,
        result=result,
        in_energy=energy["breakdown"],
        in_area=area["breakdown"],
        utilization=sum(layer["utilization"] * layer["cycles"] for layer in layers) / cycles,
    )
    definition = {"id": "operations", "text": f"Throughput: {found.definition}", "source": "tetrit.sim.cost.efficiency"}
    return {
        "figures": [{"name": name} | asdict(figure) for name, figure in found.figures().items()],
        "assumptions": [*report["assumptions"], definition],
    }


def _sum(block: Mapping[str, Any], unit: str, factor: float) -> Figure:
    """Return the total of a block with ``breakdown`` and ``sources``."""
    return total(
        [
            Figure(value=value * factor, unit=unit, origin=block["sources"][name], source=name)
            for name, value in block["breakdown"].items()
        ]
    )
