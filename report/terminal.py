"""The short table that a run prints at its end."""

__all__ = ["summary"]

from collections.abc import Mapping, Sequence
from typing import Any

from tetrit.report.numbers import duration, origin, percent, significant
from tetrit.report.words import COMPENSATIONS, NETWORKS, row_title

_TIMES = 5
"""Columns of times that fit on a terminal."""


def summary(report: Mapping[str, Any]) -> str:
    """Return the run in a few lines of text.

    Parameters
    ----------
    report : mapping
        See ``schema/report-v2.json``.

    Returns
    -------
    str
        At most 80 columns as long as names are short; no line feed at the end.
    """
    return "\n\n".join(
        part
        for part in (_overview(report), _layers(report), _accuracy(report), _formats(report), _crossbar(report))
        if part
    )


def _overview(report: Mapping[str, Any]) -> str:
    accuracy = report["accuracy"]
    machine = report["machine"]
    size = f"{machine['rows']} x {machine['cols']}, " if {"rows", "cols"} <= machine.keys() else ""
    per_image = significant(report["cycles_per_image"], 4)
    kind = "codes" if "formats" in report else "integers"
    rows = [
        ("accuracy", f"{percent(accuracy['machine'])} on the machine ({kind}), {percent(accuracy['float'])} float"),
        ("cycles", f"{report['cycles']:,} ({per_image} per image, {report['images']:,} images)"),
        ("latency", f"{significant(report['latency_us'], 4)} us at {size}{significant(report['clock_mhz'])} MHz"),
    ]
    if "energy_uj" in report:
        sources = origin(report["energy_uj"]["sources"].values())
        rows.append(("energy", f"{significant(report['energy_per_image_nj'], 4)} nJ per image ({sources})"))
    elif "formats" in report:
        rows.append(("energy", "not priced"))
    if "area_mm2" in report:
        sources = origin(report["area_mm2"]["sources"].values())
        rows.append(("area", f"{significant(report['area_mm2']['total'], 4)} mm2 ({sources})"))
    for result in report.get("synthesis", []):
        text = f"{significant(result['area_um2'], 4)} um2, {significant(result['delay_ns'])} ns"
        rows.append((_line(result["component"]), f"{text}, {sum(result['cells'].values()):,} cells"))
    if "szt_vs_ternary" in report:
        table = report["szt_vs_ternary"]
        szt, ternary = (significant(table[f"datapath_{code}_um2"], 6) for code in ("szt", "ternary"))
        rows.append(("szt datapath", f"{szt} um2, plain ternary {ternary} um2"))
    if "verify" in report:
        verify = report["verify"]
        passed = sum(bench["passed"] for bench in verify["testbenches"])
        text = f"{verify['mismatches']:,} mismatches in {verify['vectors']:,} outputs"
        rows.append(("verified", f"{text}, {passed} of {len(verify['testbenches'])} benches pass"))
    else:
        rows.append(("verified", "no: this run did not simulate the RTL"))
    width = max(len(name) for name, _ in rows)
    return "\n".join([_line(report["name"]), *(f"  {name:<{width}}  {text}" for name, text in rows)])


def _layers(report: Mapping[str, Any]) -> str:
    body = [
        (
            _line(layer["name"]),
            f"{layer['m']} x {layer['k']} x {layer['n']}",
            f"{layer['cycles']:,}",
            percent(layer["utilization"], 1),
            layer["bound"],
            significant(layer["energy_pj"] * 1e-3, 4) if "energy_pj" in layer else "-",
        )
        for layer in report["layers"]
    ]
    return _table(("layer", "m x k x n", "cycles", "PEs busy", "bound by", "nJ"), body, "<<>><>")


def _accuracy(report: Mapping[str, Any]) -> str:
    accuracy = report["accuracy"]
    body = [
        (str(row["seed"]), percent(row["float"]), percent(row["quantized"]), percent(row["machine"]))
        for row in accuracy["per_seed"]
    ]
    body.append(("mean", percent(accuracy["float"]), percent(accuracy["quantized"]), percent(accuracy["machine"])))
    return _table(("seed", "float", "quantised", "machine"), body, "<>>>")


def _formats(report: Mapping[str, Any]) -> str:
    """Return the formats of the layers, and how other choices compare; nothing for a run without them."""
    if "formats" not in report:
        return ""
    block = report["formats"]
    chosen = [(_line(layer["name"]), layer["act"], layer["weight"], layer["out"]) for layer in block["layers"]]
    body = [
        (
            _line(network["name"]),
            significant(network["mean_bits"]),
            f"{network['cycles']:,}",
            percent(network["post_training"]),
            percent(network["trained"]),
        )
        for network in block["networks"]
    ]
    head = ("formats", "bits", "cycles", "rounded", "trained on")
    return f"{_table(('layer', 'inputs', 'weights', 'outputs'), chosen, '<<<<')}\n\n{_table(head, body, '<>>>>')}"


def _crossbar(report: Mapping[str, Any]) -> str:
    """Return the accuracy of the chips, fresh and over time; nothing for a run without a crossbar."""
    if "crossbar" not in report:
        return ""
    block = report["crossbar"]
    body = []
    for row in block["accuracy"]:
        spread = percent(row["std"]) if len(row["per_chip"]) > 1 else "-"
        body.append((row_title(row["name"], row["network"]), percent(row["mean"]), spread))
    chips = f"{block['chips']} chip{'s' if block['chips'] > 1 else ''}"
    fresh = _table((f"crossbar ({chips})", "accuracy", "std"), body, "<>>")
    times = [point["time_s"] for point in block["drift"][0]["points"]] if block["drift"] else []
    if not times:
        return fresh
    shown = sorted({round(step * (len(times) - 1) / (_TIMES - 1)) for step in range(_TIMES)})
    aged = [
        (
            f"{NETWORKS[line['network']]}, {COMPENSATIONS[line['compensation']]}",
            *(percent(line["points"][place]["mean"], 1) for place in shown),
        )
        for line in block["drift"]
    ]
    head = ("mean accuracy after", *(duration(times[place]) for place in shown))
    return f"{fresh}\n\n{_table(head, aged, '<' + '>' * len(shown))}"


def _line(name: str) -> str:
    """Return a name that cannot break the lines or steer the terminal."""
    return "".join(char if char.isprintable() else "?" for char in name)


def _table(head: Sequence[str], body: Sequence[Sequence[str]], sides: str) -> str:
    """Lay out columns, each aligned to the side given in `sides`, under a ruled head."""
    widths = [max(len(row[column]) for row in (head, *body)) for column in range(len(head))]
    lines = [
        [f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)] for row in (head, *body)
    ]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(("  " + "  ".join(line)).rstrip() for line in lines)
