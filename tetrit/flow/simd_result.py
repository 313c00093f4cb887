"""The report of a run on a SIMD engine put together: layers, totals, area, assumptions."""

__all__ = ["SimdGates", "area_block", "assumptions", "energy_block", "layer_blocks"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tetrit import rtl
from tetrit.errors import InvalidValueError
from tetrit.hardware import SimdEngine
from tetrit.rtl import Synthesis, synthesize
from tetrit.sim import Workload
from tetrit.sim.cost.memory import price_origins
from tetrit.sim.cost.simd import simd_coefficients
from tetrit.sim.run import summed
from tetrit.sim.simd import cycles
from tetrit.sim.simd.execute import SimdLayerRun


@dataclass(frozen=True, kw_only=True, eq=False)
class SimdGates:
    """What of the engine is mapped to a cell library: one element and one read-out.

    Attributes
    ----------
    machine : SimdEngine
        Whose they are.
    element, readout : Synthesis
        A `SimdMac`, and the `SimdReadout` below a column.
    """

    machine: SimdEngine
    element: Synthesis
    readout: Synthesis

    @classmethod
    def synthesise(cls, machine: SimdEngine, library: str, liberty: Path | None) -> Self:
        """Map both to a library."""
        element, readout = (
            synthesize(component(machine), library, liberty) for component in (rtl.SimdMac, rtl.SimdReadout)
        )
        return cls(machine=machine, element=element, readout=readout)

    def check_clock(self) -> None:
        """Raise InvalidValueError if the machine's clock is faster than the slower one of both."""
        slowest = max((self.element, self.readout), key=lambda synthesis: synthesis.delay_ns)
        limit_mhz = 1000.0 / slowest.delay_ns
        if self.machine.clock_mhz > limit_mhz:
            raise InvalidValueError(
                f"`clock_mhz` must be at most {limit_mhz:.1f}, the speed of {slowest.name} in "
                f"{slowest.technology.name}, got {self.machine.clock_mhz:g}"
            )


def layer_blocks(runs: Sequence[SimdLayerRun], machine: SimdEngine) -> list[dict[str, Any]]:
    """Return the report's ``layers``; the energy is left out where the array has no price."""
    blocks = []
    for run in runs:
        (m, k), n = run.input.shape, run.output.shape[1]
        workload = Workload(m=m, k=k, n=n)
        lanes = machine.mode(*run.layer.pair).lanes
        tiles = sum(cycles.tiles(Workload(m=m, k=k, n=len(part.columns)), machine) for part, _ in run.products)
        events = run.run.events
        block: dict[str, Any] = {
            "name": run.layer.name,
            "m": m,
            "k": k,
            "n": n,
            "macs": workload.macs,
            "dataflow": "output_stationary",
            "tile_m": machine.rows,
            "tile_k": k,
            "tile_n": machine.cols,
            "tiles": tiles,
            "cycles": run.run.cycles,
            "ideal_cycles": workload.macs / (machine.rows * machine.cols * lanes),
            "utilization": run.run.utilization,
            "bound": run.run.bound,
            "events": dict(events),
            "words": {name.removesuffix("_word"): n for name, n in events.items() if name.endswith("_word")},
            "bytes_moved": _bytes_moved(events, machine),
            "energy_pj": run.run.energy_pj,
            "breakdown": dict(run.run.breakdown),
        }
        blocks.append(block)
    return blocks


def _bytes_moved(events: Mapping[str, int], machine: SimdEngine) -> float:
    bits = (
        events["weight_read_word"] * machine.weight_word_bits
        + events["act_read_word"] * machine.act_word_bits
        + events["result_write_word"] * machine.result_word_bits
    )
    return bits / 8


def energy_block(layers: Sequence[Mapping[str, Any]], machine: SimdEngine) -> dict[str, Any]:
    """Return the report's ``energy_uj``."""
    breakdown = summed((layer["breakdown"] for layer in layers), unit=1e-6)
    return {
        "total": sum(breakdown.values()),
        "breakdown": breakdown,
        "sources": dict.fromkeys(breakdown, "modelled")
        | {name: origin for name, origin in price_origins(machine).items() if name in breakdown},
    }


def area_block(gates: SimdGates) -> dict[str, Any]:
    """Return the report's ``area_mm2``."""
    machine = gates.machine
    breakdown = {
        "processing elements": machine.rows * machine.cols * gates.element.area_um2 * 1e-6,
        "read-outs": machine.cols * gates.readout.area_um2 * 1e-6,
    }
    return {
        "total": sum(breakdown.values()),
        "breakdown": breakdown,
        "sources": dict.fromkeys(breakdown, "synthesised"),
    }


def assumptions(gates: SimdGates, runs: Sequence[SimdLayerRun]) -> list[dict[str, str]]:
    """Return what the figures rest on."""
    machine = gates.machine
    found = [
        {
            "id": "engine",
            "text": "Formats, and one reconfigurable multiplier for all of them, are published; lanes, dataflow, "
            f"pipeline and a quire of {machine.quire_bits} bits per element are not",
            "source": "XR-NPE, arXiv 2508.13049; the rest is our assumption",
        },
        {
            "id": "scales",
            "text": "Scales are powers of two, one per output of a layer: a tile has one shift, so columns that share "
            "one run together, as a product of their own, and products run one after the other. Biases are rounded to "
            "the unit of the products",
            "source": "our assumption",
        },
        {
            "id": "memories",
            "text": "Scratchpads are not in the area. Data starts and ends in them, packed as the array takes it, and "
            "operands are there in time; every code of a result takes 16 bits",
            "source": "our assumption",
        },
        {
            "id": "area",
            "text": "One element and one read-out are synthesised and counted as often as the array has them; skew "
            "registers, control and gearboxes are left out",
            "source": "our assumption",
        },
    ]
    found += [
        {"id": f"gates-{number}", "text": text, "source": "tetrit.rtl.synthesis"}
        for number, text in enumerate(gates.element.assumptions, start=1)
    ]
    found.append(
        {
            "id": "prices",
            "text": "Energy of elements and read-outs from the bits that change for a sample of each product's own "
            "operands, and of skew registers and control from their bits, at the coefficients of each pair of formats",
            "source": simd_coefficients(machine, *runs[0].layer.pair).source,
        }
    )
    for name in ("weight_memory", "act_memory", "result_memory"):
        memory = getattr(machine, name)
        found.append(
            {
                "id": name.replace("_", "-"),
                "text": f"{memory.size_bytes} bytes, {memory.read_pj_per_bit:g} pJ per bit read, "
                f"{memory.write_pj_per_bit:g} pJ per bit written",
                "source": memory.energy_source,
            }
        )
    return found
