"""The report of a run put together: layers, totals, roofline, assumptions; see the schema in `tetrit.report`."""

__all__ = ["assumptions", "energy_block", "layer_blocks", "roofline", "synthesis_block"]

from collections.abc import Mapping, Sequence
from typing import Any

from tetrit.flow.gates import Gates, LayerEnergy
from tetrit.hardware import ShiftArray
from tetrit.rtl import Synthesis
from tetrit.sim.cost.memory import price_origins
from tetrit.sim.cost.prices import memory_breakdown
from tetrit.sim.execute import LayerRun
from tetrit.sim.program import Workload
from tetrit.sim.run import summed
from tetrit.sim.shift.tiles import tile_list


def layer_blocks(
    runs: Sequence[LayerRun], energies: Sequence[LayerEnergy], machine: ShiftArray
) -> list[dict[str, Any]]:
    """Return the report's ``layers``."""
    blocks = []
    for run, energy in zip(runs, energies, strict=True):
        (m, k), n = run.input.shape, run.output.shape[1]
        workload, mapping = Workload(m=m, k=k, n=n), run.layer.tiling
        breakdown = {**energy.breakdown_pj, **memory_breakdown(run.run.events, machine)}
        blocks.append(
            {
                "name": run.layer.name,
                "m": m,
                "k": k,
                "n": n,
                "macs": workload.macs,
                "dataflow": machine.dataflow,
                "tile_m": mapping.tile_m,
                "tile_k": mapping.tile_k,
                "tile_n": mapping.tile_n,
                "tiles": len(tile_list(workload, mapping)),
                "cycles": run.run.cycles,
                "ideal_cycles": workload.macs / (machine.rows * machine.cols),
                "utilization": run.run.utilization,
                "bound": run.run.bound,
                "events": dict(run.run.events),
                "words": {
                    name.removesuffix("_word"): count
                    for name, count in run.run.events.items()
                    if name.endswith("_word")
                },
                "bytes_moved": _bytes_moved(run.run.events, machine),
                "energy_pj": sum(breakdown.values()),
                "breakdown": breakdown,
            }
        )
    return blocks


def _bytes_moved(events: Mapping[str, int], machine: ShiftArray) -> float:
    bits = (
        events["weight_read_word"] * machine.weight_word_bits
        + (events["act_read_word"] + events["act_write_word"]) * machine.act_word_bits
        + (events["acc_read_word"] + events["acc_write_word"]) * machine.acc_word_bits
    )
    return bits / 8


def energy_block(layers: Sequence[Mapping[str, Any]], machine: ShiftArray) -> dict[str, Any]:
    """Return the report's ``energy_uj``: the layers' breakdowns summed, each component with its origin."""
    breakdown = summed((layer["breakdown"] for layer in layers), unit=1e-6)
    return {
        "total": sum(breakdown.values()),
        "breakdown": breakdown,
        "sources": dict.fromkeys(breakdown, "synthesised")
        | {name: origin for name, origin in price_origins(machine).items() if name in breakdown},
    }


def area_block(gates: Gates) -> dict[str, Any]:
    """Return the report's ``area_mm2``."""
    breakdown = {component: area * 1e-6 for component, area in gates.area_um2().items()}
    return {
        "total": sum(breakdown.values()),
        "breakdown": breakdown,
        "sources": dict.fromkeys(breakdown, "synthesised"),
    }


def synthesis_block(synthesis: Synthesis) -> dict[str, Any]:
    """Return one entry of the report's ``synthesis``."""
    technology = synthesis.technology
    return {
        "component": synthesis.name,
        "library": f"{technology.name}, {technology.voltage_v:g} V, {technology.temperature_c:g} C",
        "area_um2": synthesis.area_um2,
        "delay_ns": synthesis.delay_ns,
        "fmax_mhz": 1000.0 / synthesis.delay_ns if synthesis.delay_ns else 0.0,
        "leakage_nw": synthesis.leakage_nw,
        "cells": dict(synthesis.cells),
        "modules": [
            {
                "name": name,
                "instances": module.instances,
                "area_um2": module.own_area_um2,
                "total_area_um2": module.instances * module.own_area_um2,
            }
            for name, module in synthesis.modules.items()
        ],
        "critical_path": [
            f"{step.cell} ({step.cell_type}) to {step.net}, {step.arrival_ns:.3f} ns"
            for step in synthesis.critical_path
        ],
    }


def roofline(layers: Sequence[Mapping[str, Any]], machine: ShiftArray) -> dict[str, Any]:
    """Return the report's ``roofline``, over all memory ports together."""
    bits = machine.weight_word_bits + machine.act_word_bits + 2 * machine.acc_word_bits
    return {
        "peak_macs_per_cycle": machine.rows * machine.cols,
        "bandwidth_bytes_per_cycle": bits / 8,
        "points": [
            {
                "name": layer["name"],
                "intensity_macs_per_byte": layer["macs"] / layer["bytes_moved"],
                "macs_per_cycle": layer["macs"] / layer["cycles"],
            }
            for layer in layers
        ],
    }


def assumptions(gates: Gates, machine: ShiftArray, runs: Sequence[LayerRun]) -> list[dict[str, str]]:
    """Return what the figures rest on."""
    result = [
        {"id": f"gates-{number}", "text": text, "source": "tetrit.rtl.synthesis"}
        for number, text in enumerate(gates.array.assumptions, start=1)
    ]
    result += [
        {
            "id": "switching",
            "text": "Array energy: toggles of the mapped netlist, zero delay (no glitches), over all cycles of every "
            "layer with its real weights and activations, at the clock of the machine; what a register dissipates "
            "inside at a clock edge that does not change it is not in the library's table and not counted",
            "source": "tetrit.rtl.activity",
        },
        {
            "id": "requantisers",
            "text": "One requantiser per column, inline, so that finished sums are not written; the first column's "
            "runs on its netlist with its real sums and stands for every column in use; the last layer's int16 results "
            "are priced as the others; 2 cycles of latency a layer are not counted",
            "source": "our assumption",
        },
        {
            "id": "memories",
            "text": "Scratchpads are not in the area. A bias vector is read once per tile. Data starts and ends in the "
            "scratchpads; what exceeds them (at most " + _largest(runs, machine) + ") is assumed to be "
            "brought and taken while the array works, and that traffic is not counted",
            "source": "our assumption",
        },
    ]
    for name in ("weight_memory", "act_memory", "acc_memory"):
        memory = getattr(machine, name)
        result.append(
            {
                "id": name.replace("_", "-"),
                "text": f"{memory.size_bytes} bytes, {memory.read_pj_per_bit:g} pJ per bit read, "
                f"{memory.write_pj_per_bit:g} pJ per bit written",
                "source": memory.energy_source,
            }
        )
    return result


def _largest(runs: Sequence[LayerRun], machine: ShiftArray) -> str:
    """Say what the largest layer would need in the scratchpads of weights and activations, beside what they have."""
    act_bytes = machine.activations.bits / 8
    weights = max(run.layer.weight.size for run in runs) * machine.weights.bits // 8
    acts = max((run.input.size + run.output.size) * act_bytes for run in runs)
    return (
        f"{weights:,} bytes of weights in {machine.weight_memory.size_bytes:,}, "
        f"{acts:,.0f} bytes of activations in {machine.act_memory.size_bytes:,}"
    )
