"""Tables of the network on an analog crossbar."""

__all__ = ["tables"]

from collections.abc import Iterator, Mapping
from typing import Any

from tetrit.report.numbers import duration
from tetrit.report.tables.cost import breakdown, by_layer
from tetrit.report.tables.model import Cell, Column, Table, column, total, words
from tetrit.report.words import COMPENSATIONS, NETWORKS, row_title


def tables(report: Mapping[str, Any]) -> Iterator[Table]:
    """Yield the tables of the crossbar, if `report` has one."""
    if "crossbar" not in report:
        return
    block = report["crossbar"]
    yield _accuracy(report)
    yield _drift(block)
    yield _layers(report)
    yield breakdown(
        "crossbar_energy", "Energy of the crossbar by component, all images", block["energy_uj"], "energy_uj", "µJ"
    )
    title = "Energy of the crossbar by layer and component, all images"
    yield by_layer("crossbar_energy_layers", title, block["layers"])
    yield _weights(block)
    yield _errors(block)


def _accuracy(report: Mapping[str, Any]) -> Table:
    digital = report["accuracy"]["per_seed"][0]
    rows: list[tuple[str, float, float | None, list[float]]] = [
        ("float network", digital["float"], None, []),
        ("quantised, float arithmetic", digital["quantized"], None, []),
        ("digital machine, integers", digital["machine"], None, []),
    ]
    for row in report["crossbar"]["accuracy"]:
        single = row["per_chip"] if len(row["per_chip"]) > 1 else []
        rows.append((row_title(row["name"], row["network"]), row["mean"], row["std"] if single else None, single))
    return Table(
        name="crossbar_accuracy",
        title=f"Accuracy on the crossbar, {report['accuracy']['n_test']:,} held-out images",
        columns=(
            words("computes", "what computes", [name for name, *_ in rows]),
            column("mean", "mean", [mean for _, mean, _, _ in rows], "accuracy"),
            column("std", "std", [std for _, _, std, _ in rows], "accuracy"),
            column("least", "least", [min(single) if single else None for *_, single in rows], "accuracy"),
            column("most", "most", [max(single) if single else None for *_, single in rows], "accuracy"),
        ),
    )


def _drift(block: Mapping[str, Any]) -> Table:
    rows = [(line, point) for line in block["drift"] for point in line["points"]]
    times = tuple(point["time_s"] for _, point in rows)
    return Table(
        name="drift",
        title="Accuracy over time: mean and standard deviation over the chips",
        columns=(
            words("network", "network", [NETWORKS[line["network"]] for line, _ in rows]),
            words("compensation", "drift", [COMPENSATIONS[line["compensation"]] for line, _ in rows]),
            Column(
                key="time_s", title="after", values=times, show=lambda time: duration(float(time or 0)), numeric=True
            ),
            column("mean", "mean", [point["mean"] for _, point in rows], "accuracy"),
            column("std", "std", [point["std"] for _, point in rows], "accuracy"),
            column("least", "least", [min(point["per_chip"]) for _, point in rows], "accuracy"),
            column("most", "most", [max(point["per_chip"]) for _, point in rows], "accuracy"),
        ),
    )


def _layers(report: Mapping[str, Any]) -> Table:
    block, images = report["crossbar"], report["images"]
    layers, digital = block["layers"], report["layers"]
    nj: list[Cell] = [layer["energy_pj"] * 1e-3 / images if "energy_pj" in layer else None for layer in digital]
    columns = (
        words("layer", "layer", [layer["name"] for layer in layers]),
        column("k", "k", [layer["k"] for layer in layers], "count"),
        column("n", "n", [layer["n"] for layer in layers], "count"),
        column("arrays", "arrays", [layer["arrays"] for layer in layers], "count"),
        column("cycles_digital", "cycles, digital", [layer["cycles"] / images for layer in digital]),
        column("cycles", "cycles, crossbar", [layer["cycles"] / images for layer in layers]),
        column("energy_digital_nj", "nJ, digital", nj),
        column("energy_nj", "nJ, crossbar", [layer["energy_pj"] * 1e-3 / images for layer in layers]),
        words("bound", "crossbar bound by", [layer["bound"] for layer in layers]),
    )
    title = f"Per image, digital machine at {report['clock_mhz']:g} MHz and crossbar at {block['clock_mhz']:g} MHz"
    sums = ("arrays", "cycles_digital", "cycles", "energy_digital_nj", "energy_nj")
    return Table(name="crossbar_layers", title=title, columns=columns, total=total(columns, sums))


def _weights(block: Mapping[str, Any]) -> Table:
    layers, errors = block["layers"], block["weights"]
    return Table(
        name="effective_weights",
        title="Weights in error, and conversions out of range (clipped)",
        columns=(
            words("layer", "layer", [layer["name"] for layer in layers]),
            column("wires_rms", "wires, rms", [error["wires_rms"] for error in errors], "share"),
            column("chip_rms", "chip, rms", [error["chip_rms"] for error in errors], "share"),
            column("conversions", "conversions", [layer["events"].get("adc_conversion") for layer in layers], "count"),
            Column(
                key="clipped",
                title="clipped",
                values=tuple(layer["clipped"] for layer in layers),
                show=lambda value: f"{100 * float(value or 0):.3f} %",
                numeric=True,
            ),
            column("utilization", "cells in use", [layer["utilization"] for layer in layers], "share"),
        ),
    )


def _errors(block: Mapping[str, Any]) -> Table:
    rows = [
        (layer["name"], i * layer["inputs_per_block"], j * layer["outputs_per_block"], value)
        for layer in block["weights"]
        for i, line in enumerate(layer["map"])
        for j, value in enumerate(line)
    ]
    return Table(
        name="weight_errors",
        title="Mean magnitude of the wires' error by block of weights, relative to the layer's largest weight",
        columns=(
            words("layer", "layer", [name for name, *_ in rows]),
            column("first_input", "first input", [i for _, i, _, _ in rows], "count"),
            column("first_output", "first output", [j for _, _, j, _ in rows], "count"),
            column("error", "mean error", [value for *_, value in rows], "share"),
        ),
    )
