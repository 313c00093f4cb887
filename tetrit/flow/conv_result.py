"""The report of a network on the co-processor put together: layers, what the host does, memory, assumptions."""

__all__ = ["blocks", "ways", "weight_codes"]

from collections.abc import Callable
from typing import Any

import numpy as np

from tetrit import formats
from tetrit.flow.conv_config import ConvRunConfig
from tetrit.flow.steps import cycles_block
from tetrit.hls.integer import IntegerGraph, Product
from tetrit.hls.jobs import JobProgram, Totals
from tetrit.sim.coprocessor import MatmulJob
from tetrit.sim.coprocessor.cycles import Counts, count
from tetrit.verify.network import SLOW_MEMORY, NetworkRun

SOURCES = [
    "E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998)",
    "J. Uhlmann, Signed-Zero Ternary, arXiv 2508.05905 (2025): the format; thresholds, codes and surrogate are ours",
    "Z. Yao et al., HAWQ-V3, arXiv 2011.10680: dyadic requantisation, branches added as integers of one scale",
]

_FREE, _DEAR = 0.0, 1000.0
"""Cycles of a byte that the host moves, for a host that costs nothing and for one that is to do nothing."""


def ways(program: JobProgram, compiled: Callable[[float], JobProgram]) -> list[dict[str, Any]]:
    """Return what the schedule would be for a host that costs nothing, the one that is run, and for a dear host."""
    found = []
    for name, made in (
        ("host costs nothing", compiled(_FREE)),
        ("this run", program),
        ("host does as little as can be", compiled(_DEAR)),
    ):
        totals = made.totals()
        moved = sum(total.copied_bytes + total.cleared_bytes + total.computed_bytes for total in totals)
        found.append(
            {
                "name": name,
                "jobs": sum(total.jobs for total in totals),
                "cycles_per_image": sum(total.cycles for total in totals) / made.batch,
                "host_bytes_per_image": moved / made.batch,
                "memory_bytes": made.memory_bytes,
            }
        )
    return found


def blocks(
    config: ConvRunConfig, program: JobProgram, n_images: int, seen: NetworkRun | None, slow: NetworkRun | None
) -> dict[str, Any]:
    """Return layers, cycles, and the block on the co-processor."""
    passes = -(-n_images // program.batch)
    totals = program.totals()
    layers = [_layer(program, total, passes) for total in totals if total.macs]
    cycles = passes * sum(total.cycles for total in totals)
    return cycles_block(layers, config.machine, n_images, cycles) | {
        "roofline": _roofline(layers, config),
        "coprocessor": _coprocessor(config, program, totals, passes, seen, slow),
        "assumptions": _assumptions(config),
        "sources": SOURCES,
    }


def weight_codes(graph: IntegerGraph) -> dict[str, dict[str, float]]:
    """Return the share of each weight code in every layer, by its value with its sign."""
    found = {}
    for node in graph.nodes:
        if isinstance(node, Product):
            values = formats.get(node.weight_format).values
            counts = np.bincount(node.weight.ravel(), minlength=len(values))
            found[node.name] = {
                f"{values[code]:+g}": float(counts[code] / node.weight.size)
                for code in range(len(values))
                if np.isfinite(values[code])
            }
    return found


def _layer(program: JobProgram, total: Totals, passes: int) -> dict[str, Any]:
    """Return an entry of the report's ``layers``: all jobs of a node, its moves of data included."""
    machine = program.unit.machine
    steps = [step for step in program.jobs if step.node == total.node]
    main = [step for step in steps if step.macs]
    counts = [(count(step.job, program.unit), step.job) for step in steps]
    job = main[0].job
    events = {
        "step": sum(found.steps for found, _ in counts),
        "stalled_cycle": sum(found.stalled for found, _ in counts),
        "gated_cycle": sum(found.gated for found, _ in counts),
        "read_word": sum(found.read_words for found, _ in counts),
        "written_word": sum(found.written_words for found, _ in counts),
    }
    events = {name: passes * number for name, number in events.items()}
    words = {"bus_read": events["read_word"], "bus_write": events["written_word"]}
    macs, cycles = passes * total.macs, passes * total.cycles
    ideal = macs / (machine.rows * machine.cols)
    return {
        "name": total.node,
        "m": passes * sum(step.job.m for step in main),
        "k": job.k,
        "n": job.n,
        "macs": macs,
        "dataflow": "output_stationary",
        "tile_m": machine.rows,
        "tile_k": job.k,
        "tile_n": machine.cols,
        "tiles": passes * sum(_tiles(step.job, program) for step in main),
        "cycles": cycles,
        "ideal_cycles": ideal,
        "utilization": ideal / cycles,
        "bound": _bound(counts),
        "events": events,
        "words": words,
        "bytes_moved": float(sum(words.values()) * program.unit.data_bytes),
    }


def _tiles(job: MatmulJob, program: JobProgram) -> int:
    machine = program.unit.machine
    return -(-job.m // machine.rows) * -(-job.n // machine.cols)


def _bound(counts: list[tuple[Counts, MatmulJob]]) -> str:
    """Return what takes most cycles: steps of the array, words of a bus, or none of them half of all."""
    cycles = sum(found.cycles for found, _ in counts)
    candidates = {
        "compute": sum(found.steps for found, _ in counts),
        "activations": sum(found.read_words for found, _ in counts),
        "results": sum(found.written_words for found, _ in counts),
    }
    most = max(candidates, key=candidates.__getitem__)
    return most if 2 * candidates[most] >= cycles else "latency"


def _roofline(layers: list[dict[str, Any]], config: ConvRunConfig) -> dict[str, Any]:
    machine = config.machine
    return {
        "peak_macs_per_cycle": machine.rows * machine.cols,
        "bandwidth_bytes_per_cycle": 2 * config.unit.data_bytes,
        "points": [
            {
                "name": layer["name"],
                "intensity_macs_per_byte": layer["macs"] / layer["bytes_moved"],
                "macs_per_cycle": layer["macs"] / layer["cycles"],
            }
            for layer in layers
        ],
    }


def _coprocessor(
    config: ConvRunConfig,
    program: JobProgram,
    totals: tuple[Totals, ...],
    passes: int,
    seen: NetworkRun | None,
    slow: NetworkRun | None,
) -> dict[str, Any]:
    kinds = ("weights", "parameters", "activations")
    sizes = {kind: sum(part.n_bytes for part in program.segments if part.kind == kind) for kind in kinds}
    shared = program.memory_bytes - len(program.constants)
    made: dict[str, Any] = {
        "batch": program.batch,
        "passes": passes,
        "data_bits": config.unit.data_bits,
        "host_cycles_per_byte": config.host_cycles_per_byte,
        "memory": {
            "total_bytes": program.memory_bytes,
            "weight_bytes": sizes["weights"],
            "parameter_bytes": sizes["parameters"],
            "buffer_bytes": sizes["activations"],
            "shared_buffer_bytes": shared,
        },
        "nodes": [_node(program, total, seen) for total in totals],
    }
    if seen is not None:
        made["verified_passes"] = seen.passes
    if slow is not None:
        made["slow"] = {
            "read_latency": SLOW_MEMORY.read_latency,
            "write_latency": SLOW_MEMORY.write_latency,
            "stall": SLOW_MEMORY.stall[0],
            "passes": slow.passes,
            "cycles_rtl": slow.cycles_rtl,
            "cycles_model": slow.cycles_model,
            "mismatches": slow.mismatches,
        }
    return made


def _node(program: JobProgram, total: Totals, seen: NetworkRun | None) -> dict[str, Any]:
    """Return what a node is for a pass, and what was seen of it on the RTL."""
    made: dict[str, Any] = {
        "name": total.node,
        "way": total.way,
        "jobs": total.jobs,
        "moving_jobs": sum(1 for step in program.jobs if step.node == total.node and not step.macs),
        "cycles": total.cycles,
        "copied_bytes": total.copied_bytes,
        "cleared_bytes": total.cleared_bytes,
        "computed_bytes": total.computed_bytes,
    }
    if seen is not None:
        check = seen.nodes[total.node]
        made |= {
            "cycles_rtl": check.cycles_rtl,
            "cycles_model": check.cycles_model,
            "integers": check.integers,
            "mismatches": check.mismatches,
        }
    return made


def _assumptions(config: ConvRunConfig) -> list[dict[str, str]]:
    return [
        {
            "id": "host",
            "text": "A CPU beside the co-processor writes the inputs, starts the jobs, and does what no job does. Its "
            "time is in no cycle count; the bytes that it moves are given. When ways to compute a layer are weighed, "
            f"{config.host_cycles_per_byte:g} cycles a byte and 100 a job stand for it",
            "source": "our assumption",
        },
        {
            "id": "memory",
            "text": "Cycles are those of a memory that answers reads and writes after 2 cycles and never waits; with "
            "waits see the test bench on a memory that waits. Images run in batches, the last one filled up. A layer "
            "is bound by activations where the words that are read over the bus, weights and parameters included, take "
            "most cycles",
            "source": "tetrit.sim.coprocessor.cycles",
        },
        {
            "id": "windows",
            "text": "Where a convolution reads the feature map without a copy, its job also has windows over the "
            "border and weights of 0 between the rows of a window: utilisation counts neither",
            "source": "tetrit.hls.jobs",
        },
        {
            "id": "unpriced",
            "text": "Energy and area of the co-processor are not in this report",
            "source": "see tetrit characterise and the run on the array alone",
        },
    ]
