"""The layers of a report as tables for other programs: CSV with all digits, LaTeX for a paper."""

__all__ = ["layers_csv", "layers_latex"]

import csv
import io
from collections.abc import Mapping
from typing import Any

from tetrit.report.numbers import in_unit, percent

_COLUMNS = ("name", "m", "k", "n", "macs", "cycles", "ideal_cycles", "utilization", "bytes_moved", "energy_pj")


def layers_csv(report: Mapping[str, Any]) -> str:
    """Return a row for each layer, in base units and with all digits; fields that a report lacks stay empty.

    Parameters
    ----------
    report : mapping
        See ``schema/report-v2.json``.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(report["layers"])
    return out.getvalue()


def layers_latex(report: Mapping[str, Any]) -> str:
    r"""Return a ``tabular`` for the package booktabs, with a row for each layer and one for the sum.

    Parameters
    ----------
    report : mapping
        See ``schema/report-v2.json``.
    """
    layers = report["layers"]
    priced = all(layer.get("energy_pj") is not None for layer in layers)
    lines = [
        rf"% {_escaped(report['name'])}, tetrit {report['tetrit']}",
        r"\begin{tabular}{lrrrr" + "r" * priced + "}",
        r"\toprule",
        r"layer & $m \times k \times n$ & MACs & cycles & utilisation" + r" & energy" * priced + r" \\",
        r"\midrule",
    ]
    for layer in layers:
        shape = rf"${layer['m']} \times {layer['k']} \times {layer['n']}$"
        cells = [_escaped(layer["name"]), shape, _count(layer["macs"]), _count(layer["cycles"])]
        cells.append(_escaped(percent(layer["utilization"])))
        lines.append(" & ".join([*cells, *([_energy(layer["energy_pj"])] if priced else [])]) + r" \\")
    total = ["all", "", *(_count(sum(layer[key] for layer in layers)) for key in ("macs", "cycles")), ""]
    total += [_energy(sum(layer["energy_pj"] for layer in layers))] if priced else []
    lines += [r"\midrule", " & ".join(total) + r" \\", r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join(lines)


def _count(value: float) -> str:
    return rf"{value:,}".replace(",", r"\,")


def _energy(picojoules: float) -> str:
    value, name = in_unit(picojoules * 1e-6, "µJ").split(" ")
    return value.replace(",", r"\,") + r"\," + name.replace("µ", r"\textmu{}")


def _escaped(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: "\\" + character for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in text)
