"""Estimates beside the C++: the authority for what the report holds, per layer and for the whole dataflow."""

__all__ = ["report_of", "table"]

from collections.abc import Mapping
from typing import Any

from tetrit.hls.cpp.folding import Folding
from tetrit.hls.cpp.lower import Design
from tetrit.hls.cpp.options import CppOptions
from tetrit.hls.cpp.processes import Process, Stream
from tetrit.hls.cpp.timing import DEPTHS, ENCODE_DEPTH, REQUANTISE_DEPTH, Time, times

VERSION = 1
ASSUMPTIONS = (
    "estimates by a model of ours, no tool's: every loop is pipelined at its interval, streams are deep enough",
    "cycles of a product: vectors * groups * ceil(k / tile_k) * ceil(n / tile_n)",
    "cycles of a window: padded pixels * max(ceil(channels / lanes_in), groups * ceil(k / lanes_out))",
    "cycles of a pool: positions * places * channels / lanes; of all else: beats",
    "interval of the whole: the most cycles of any process; latency: first beat in to last beat out, for one input",
    f"pipeline depths in cycles: {', '.join(f'{kind} {depth}' for kind, depth in DEPTHS.items())}; a product adds "
    f"ceil(log2(tile_k)) + 1, and {REQUANTISE_DEPTH} to requantise, {ENCODE_DEPTH} to encode or 1 to keep the sum",
)


def report_of(design: Design, folding: Folding, options: CppOptions) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the report, and the depth that each stream between processes is given.

    A stream is as deep as the beats that wait in it at most, at least 2. Where a process waits for several streams,
    each gets room for the beats in flight in all pipelines besides, up to all its beats, so that nothing can hang
    should a tool build pipelines up to twice as deep as assumed.
    """
    arrays = options.interface == "array"
    found, waiting, last = times(design.processes, [] if arrays else [port.stream for port in design.inputs])
    slack = sum(process.depth for process in design.processes)
    depths = {stream.name: _depth(stream, waiting[stream.name], design, slack) for stream in design.streams}
    if arrays:
        latency = max(found[p.name].last_written for p in design.processes if p.kind == "store") + 1
    else:
        latency = max(last[port.stream.name] for port in design.outputs) + 1
    slowest = max(design.processes, key=lambda process: process.cycles)
    per_second = options.clock_mhz * 1e6 / slowest.cycles
    report = {
        "schema": VERSION,
        "assumptions": list(ASSUMPTIONS),
        "clock_mhz": options.clock_mhz,
        "interval_asked": options.interval,
        "interval_folded": folding.interval,
        "interval_cycles": slowest.cycles,
        "bound": slowest.name,
        "latency_cycles": latency,
        "latency_us": latency / options.clock_mhz,
        "inputs_per_second": per_second,
        "layers": _layers(design, found),
        "processes": [_entry(process, found[process.name]) for process in design.processes],
        "streams": [
            {"name": s.name, "bits": s.bits * s.lanes, "beats": s.beats, "depth": depths[s.name]}
            for s in design.streams
        ],
    }
    return report, depths


def _depth(stream: Stream, waiting: int, design: Design, slack: int) -> int:
    needed = min(waiting + slack, stream.beats) if stream.name in design.joins else waiting
    return max(needed, 2)


def _layers(design: Design, found: Mapping[str, Time]) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(process.layer for process in design.processes if process.layer))
    spaces = {process.layer: space for process in design.processes for space in [_space(process, design)] if space}
    entries = []
    for name in names:
        own = [process for process in design.processes if process.layer == name]
        header = design.headers.get(spaces.get(name, ""))
        entries.append(
            {
                "name": name,
                "kinds": [process.kind for process in own],
                "interval_cycles": max(process.cycles for process in own),
                "latency_cycles": 1
                + max(found[process.name].last_written for process in own)
                - min(found[process.name].first_read for process in own),
                **(header.figures if header else {}),
            }
        )
    return entries


def _space(process: Process, design: Design) -> str:
    return next((name for name in design.headers if f"{name}::" in process.call), "")


def _entry(process: Process, time: Time) -> dict[str, Any]:
    return {
        "name": process.name,
        "kind": process.kind,
        "steps": process.steps,
        "interval": process.interval,
        "cycles": process.cycles,
        "depth": process.depth,
        "first_read": time.first_read,
        "first_written": time.first_written,
        "last_written": time.last_written,
    }


def table(report: Mapping[str, Any]) -> str:
    """Return the layers as a table in Markdown."""
    head = ["layer", "work", "tile (k x n)", "interval", "latency", "multipliers", "weight bits", "sum bits"]
    rows = []
    for layer in report["layers"]:
        tile = f"{layer['tile_k']} x {layer['tile_n']}" if "tile_k" in layer else f"{layer.get('lanes', '')}"
        rest = [str(layer.get(key, "")) for key in ("multipliers", "weight_bits", "sum_bits")]
        rows.append(
            [
                layer["name"],
                ", ".join(layer["kinds"]),
                tile,
                str(layer["interval_cycles"]),
                str(layer["latency_cycles"]),
                *rest,
            ]
        )
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)
