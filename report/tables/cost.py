"""Tables of what the digital machine needs: layers, memory traffic, energy, area, synthesis, test benches."""

__all__ = ["breakdown", "by_layer", "tables"]

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tetrit.report.numbers import origin_of
from tetrit.report.tables.model import Cell, Column, Table, column, total, words

_Layers = Sequence[Mapping[str, Any]]


def tables(report: Mapping[str, Any]) -> Iterator[Table]:
    """Yield the tables of cost and verification that `report` has the blocks for."""
    if "layers" in report:
        yield from _layers(report)
    if "roofline" in report:
        yield _roofline(report["roofline"])
    if "coprocessor" in report:
        yield from _coprocessor(report["coprocessor"])
    if "energy_uj" in report:
        yield breakdown("energy", "Energy by component, all images", report["energy_uj"], "energy_uj", "µJ")
        yield by_layer("energy_layers", "Energy by layer and component, all images", report["layers"])
    if "area_mm2" in report:
        yield breakdown("area", "Area by component", report["area_mm2"], "area_mm2", "mm²")
    if "synthesis" in report:
        yield from _synthesis(report["synthesis"])
    if "szt_vs_ternary" in report:
        yield _signed_zero(report["szt_vs_ternary"])
    if "verify" in report:
        yield _verify(report["verify"])


def breakdown(name: str, title: str, block: Mapping[str, Any], key: str, base: str) -> Table:
    """Return a block of parts with their origins, largest first."""
    parts = sorted(block["breakdown"].items(), key=lambda item: (-item[1], item[0]))
    whole = block["total"] or 1.0
    columns = (
        words("component", "component", [part for part, _ in parts]),
        column(key, title.split(" ")[0].lower(), [value for _, value in parts], base),
        column("share", "share", [value / whole for _, value in parts], "share"),
        words("origin", "origin", [origin_of(part, block["sources"]) for part, _ in parts]),
    )
    return Table(name=name, title=title, columns=columns, total=total(columns, (), **{key: block["total"]}))


def by_layer(name: str, title: str, layers: _Layers) -> Table:
    """Return the energy of every layer that has a breakdown, by component."""
    priced = [layer for layer in layers if "breakdown" in layer]
    parts = sorted({part for layer in priced for part in layer["breakdown"]})
    sums = [layer["energy_pj"] * 1e-6 for layer in priced]
    most = max(sums, default=0.0)
    amounts = {part: [layer["breakdown"].get(part, 0.0) * 1e-6 for layer in priced] for part in parts}
    columns = (
        words("layer", "layer", [layer["name"] for layer in priced]),
        column("energy_uj", "all", sums, "µJ"),
        *(column(f"energy_uj {part}", part, values, "µJ", largest=most) for part, values in amounts.items()),
    )
    return Table(name=name, title=title, columns=columns, total=total(columns, [each.key for each in columns]))


def _names(rows: Sequence[Mapping[str, Any]], key: str = "name", title: str = "layer") -> Column:
    return words(title, title, [row[key] for row in rows])


def _layers(report: Mapping[str, Any]) -> Iterator[Table]:
    layers = report["layers"]
    cycles = [layer["cycles"] for layer in layers]
    whole = sum(cycles) or 1
    energy: list[Cell] = [layer["energy_pj"] * 1e-6 if "energy_pj" in layer else None for layer in layers]
    columns = [
        _names(layers),
        *(column(key, key, [layer[key] for layer in layers], "count") for key in ("m", "k", "n")),
        column("macs", "MAC", [layer["macs"] for layer in layers], "count"),
        column("cycles", "cycles", cycles, "count"),
        column("cycles_share", "share of cycles", [value / whole for value in cycles], "share"),
        column("ideal_cycles", "ideal cycles", [layer["ideal_cycles"] for layer in layers], digits=5),
        column("utilization", "utilisation", [layer["utilization"] for layer in layers], "share"),
        words("bound", "bound by", [layer["bound"] for layer in layers]),
        column("bytes_moved", "bytes moved", [layer["bytes_moved"] for layer in layers], digits=5),
    ]
    if any(value is not None for value in energy):
        columns.append(column("energy_uj", "energy", energy, "µJ"))
    sums = total(columns, ("macs", "cycles", "ideal_cycles", "bytes_moved", "energy_uj"))
    yield Table(name="layers", title="Layers, all images together", columns=tuple(columns), total=sums)
    tiles = {"tile_m": "tile m", "tile_k": "tile k", "tile_n": "tile n", "tiles": "tiles"}
    ports = list(dict.fromkeys(port for layer in layers for port in layer["words"]))
    yield Table(
        name="mapping",
        title="Mapping and memory words, all images together",
        columns=(
            _names(layers),
            words("dataflow", "dataflow", [layer["dataflow"].replace("_", " ") for layer in layers]),
            *(column(key, title, [layer[key] for layer in layers], "count") for key, title in tiles.items()),
            *(
                column(
                    f"words {port}",
                    f"{port.replace('_', ' ')}, words",
                    [layer["words"].get(port) for layer in layers],
                    "count",
                )
                for port in ports
            ),
        ),
    )
    pairs = [(layer["name"], event, count) for layer in layers for event, count in layer["events"].items()]
    yield Table(
        name="events",
        title="Events of each layer, all images together",
        columns=(
            words("layer", "layer", [name for name, _, _ in pairs]),
            words("event", "event", [event for _, event, _ in pairs]),
            column("count", "count", [count for _, _, count in pairs], "count"),
        ),
    )


def _roofline(roof: Mapping[str, Any]) -> Table:
    points = roof["points"]
    peak, bandwidth = roof["peak_macs_per_cycle"], roof["bandwidth_bytes_per_cycle"]
    limits = [min(peak, bandwidth * point["intensity_macs_per_byte"]) for point in points]
    columns = (
        _names(points),
        column("intensity_macs_per_byte", "MAC per byte", [point["intensity_macs_per_byte"] for point in points]),
        column("macs_per_cycle", "MAC per cycle", [point["macs_per_cycle"] for point in points]),
        column("roof_macs_per_cycle", "limit, MAC per cycle", limits),
        column(
            "share",
            "share of the limit",
            [point["macs_per_cycle"] / limit for point, limit in zip(points, limits, strict=True)],
            "share",
        ),
    )
    title = f"Roofline: peak {peak:,g} MAC per cycle, memory {bandwidth:,g} bytes per cycle"
    return Table(name="roofline", title=title, columns=columns)


def _coprocessor(block: Mapping[str, Any]) -> Iterator[Table]:
    nodes, schedules = block["nodes"], block["schedules"]
    seen = "verified_passes" in block
    heads = {"jobs": "jobs", "moving_jobs": "moving data", "cycles": "cycles", "copied_bytes": "copied, B"}
    heads |= {"cleared_bytes": "cleared, B", "computed_bytes": "computed, B"}
    if seen:
        heads |= {"cycles_model": "cycles, model", "cycles_rtl": "cycles, RTL", "mismatches": "wrong"}
    columns = (
        _names(nodes, title="node"),
        words("way", "way", [node["way"] for node in nodes]),
        *(column(key, title, [node[key] for node in nodes], "count") for key, title in heads.items()),
    )
    title = "Nodes of the network, for a pass"
    if seen:
        passes = block["verified_passes"]
        title += f"; model, RTL and wrong integers of the node's tensor over {passes} passes"
    yield Table(name="coprocessor", title=title, columns=columns, total=total(columns, heads))
    yield Table(
        name="schedules",
        title="The same network for hosts of other speeds",
        columns=(
            _names(schedules, title="schedule"),
            column("jobs", "jobs of a pass", [row["jobs"] for row in schedules], "count"),
            column("cycles_per_image", "cycles per image", [row["cycles_per_image"] for row in schedules], digits=5),
            column(
                "host_bytes_per_image",
                "host, B per image",
                [row["host_bytes_per_image"] for row in schedules],
                digits=5,
            ),
            column("memory_bytes", "memory, B", [row["memory_bytes"] for row in schedules], "count"),
        ),
    )
    parts = {"weight_bytes": "weights", "parameter_bytes": "parameters of outputs"}
    parts |= {"buffer_bytes": "feature maps and copies of them, each on its own"}
    parts |= {"shared_buffer_bytes": "the same, sharing memory by their lives", "total_bytes": "all that is used"}
    yield Table(
        name="coprocessor_memory",
        title="Memory of the co-processor",
        columns=(
            words("part", "part", list(parts.values())),
            column("bytes", "bytes", [block["memory"][key] for key in parts], "count"),
        ),
    )


def _synthesis(results: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    yield Table(
        name="synthesis",
        title="Synthesis, before placement",
        columns=(
            _names(results, "component", "component"),
            column("area_um2", "area, µm²", [result["area_um2"] for result in results], digits=6),
            column("delay_ns", "longest path, ns", [result["delay_ns"] for result in results], digits=3),
            column("fmax_mhz", "MHz", [result["fmax_mhz"] for result in results]),
            column("leakage_nw", "leakage, nW", [result["leakage_nw"] for result in results]),
            column("cells", "cells", [sum(result["cells"].values()) for result in results], "count"),
            words("library", "library", [result["library"] for result in results]),
        ),
    )
    modules = [(result["component"], module) for result in results for module in result["modules"]]
    yield Table(
        name="modules",
        title="Modules of the synthesised components",
        columns=(
            words("component", "component", [name for name, _ in modules]),
            words("module", "module", [module["name"] for _, module in modules]),
            column("instances", "instances", [module["instances"] for _, module in modules], "count"),
            column("area_um2", "one, µm²", [module["area_um2"] for _, module in modules], digits=6),
            column("total_area_um2", "all, µm²", [module["total_area_um2"] for _, module in modules], digits=6),
        ),
    )
    cells = [
        (result["component"], cell, count)
        for result in results
        for cell, count in sorted(result["cells"].items(), key=lambda item: (-item[1], item[0]))
    ]
    yield Table(
        name="cells",
        title="Cells of the synthesised components",
        columns=(
            words("component", "component", [name for name, _, _ in cells]),
            words("cell", "cell", [cell for _, cell, _ in cells]),
            column("count", "count", [count for _, _, count in cells], "count"),
        ),
    )


def _signed_zero(block: Mapping[str, float]) -> Table:
    keys = {"array": "{}_array_um2", "datapath": "datapath_{}_um2", "decoder": "{}_decoder_um2"}
    titles = {"array": "array", "datapath": "datapath, without decoders", "decoder": "one decoder"}
    return Table(
        name="szt_vs_ternary",
        title="Signed-zero against two's-complement ternary weights, µm² (synthesised)",
        columns=(
            words("weights", "weights", ["signed-zero ternary", "two's-complement ternary"]),
            *(
                column(f"{key}_um2", titles[key], [block[place.format(code)] for code in ("szt", "ternary")], digits=7)
                for key, place in keys.items()
            ),
        ),
    )


def _verify(block: Mapping[str, Any]) -> Table:
    benches = block["testbenches"]
    what = [
        ", ".join(
            part
            for part in (
                bench["component"],
                "gates" if bench.get("level") == "gates" else "",
                (bench.get("dataflow") or "").replace("_", " "),
            )
            if part
        )
        for bench in benches
    ]
    columns = (
        _names(benches, title="bench"),
        words("component", "component", what),
        column("vectors", "outputs", [bench["vectors"] for bench in benches], "count"),
        column("mismatches", "mismatches", [bench["mismatches"] for bench in benches], "count"),
        column("cases", "cycle cases", [bench.get("cases") for bench in benches], "count"),
        column("cycles_rtl", "cycles, hardware", [bench.get("cycles_rtl") for bench in benches], "count"),
        column("cycles_model", "cycles, model", [bench.get("cycles_model") for bench in benches], "count"),
        words("result", "result", ["✓ pass" if bench["passed"] else "✗ FAIL" for bench in benches]),
    )
    sums = total(columns, (), vectors=block["vectors"], mismatches=block["mismatches"])
    title = "Test benches: RTL in Verilator against golden values"
    return Table(name="verify", title=title, columns=columns, total=sums)
