"""The tables of an analysis: in plain rows, as Markdown, and one line for each chip, corner and time as CSV."""

__all__ = ["NOTES", "markdown", "table", "to_csv"]

import csv
import io
from typing import Any

from tetrit.montecarlo.results import QUANTILES
from tetrit.train.compare.tables import markdown_table

NOTES = (
    "accuracy in %; mean +- half of its 95 % interval by Student's t over the chips; quantiles with 95 % intervals "
    "from order statistics, where there are enough chips for one; yield: chips with at least that accuracy, in %, with "
    "the exact 95 % interval of Clopper and Pearson; difference to the first corner chip by chip, Student's t"
)
"""What the columns are."""


def table(analysis: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of texts, one for each corner and time."""
    from tetrit.report.numbers import duration  # with its package, too much for every process to load

    levels = [entry["accuracy"] for entry in analysis["summaries"][0]["yields"]]
    names = {0.5: "median"}
    quantiles = [names.get(q, f"{100 * q:g} % quantile") for q in QUANTILES]
    header = ["corner", "after", "mean", *quantiles, "worst", *(f"yield at {100 * level:g} %" for level in levels)]
    rows = []
    several = len(analysis["corners"]) > 1
    for line in analysis["summaries"]:
        accuracy = line["accuracy"]
        row = [line["corner"], duration(line["time_s"]), _with_half(accuracy)]
        row += [_bounded(found) for found in accuracy["quantiles"]]
        row += [f"{100 * accuracy['least']:.2f}", *(_bounded(found, "share", 1) for found in line["yields"])]
        if several:
            row.append("" if line["difference"] is None else _with_half(line["difference"], signed=True))
        rows.append(row)
    return header + (["difference"] if several else []), rows


def markdown(analysis: dict[str, Any]) -> str:
    """Return an analysis as a page: what was analysed, the table, its notes."""
    about = analysis["network"]
    accuracy = about["accuracy"]
    before = [f"{key} {100 * accuracy[key]:.2f} %" for key in accuracy if accuracy[key] is not None]
    header, rows = table(analysis)
    return (
        f"# {analysis['name']}\n\n{analysis['config']['chips']} chips, {about['images']} held-out images; accuracy "
        f"without a crossbar: {', '.join(before)} (exact: in integer arithmetic).\n\n{markdown_table(header, rows)}\n\n"
        f"{NOTES.replace('+-', '±')}.\n"
    )


def to_csv(analysis: dict[str, Any]) -> str:
    """Return one line for each chip in each corner at each time."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("corner", "seed", "time_s", "accuracy", "error", "clipped"))
    for chip in analysis["chips"]:
        for place, time_s in enumerate(analysis["config"]["times_s"]):
            figures = (f"{chip[key][place]:.6g}" for key in ("accuracy", "error", "clipped"))
            writer.writerow((chip["corner"], chip["seed"], f"{time_s:.10g}", *figures))
    return text.getvalue()


def _with_half(found: dict[str, Any], *, signed: bool = False) -> str:
    text = f"{100 * found['mean']:{'+' if signed else ''}.2f}"
    return text if found["half"] is None else f"{text} +- {100 * found['half']:.2f}"


def _bounded(found: dict[str, Any], key: str = "value", digits: int = 2) -> str:
    text = f"{100 * found[key]:.{digits}f}"
    if found["low"] is None or found["high"] is None:
        return text
    return f"{text} ({100 * found['low']:.{digits}f} to {100 * found['high']:.{digits}f})"
