"""The tables of a comparison: in plain rows, as Markdown, and one line for each training as CSV."""

__all__ = ["NOTES", "markdown", "markdown_table", "tables", "to_csv"]

import csv
import io
from typing import Any

NOTES = (
    "mean +- half of the 95 % interval by Student's t over the seeds; `*`: the interval of the paired difference "
    "excludes 0; `**`: it is significant at 5 % after Holm's correction over the estimators of the task too"
)
"""What the signs in the tables mean."""


def tables(comparison: dict[str, Any]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Return for each task its header and its rows of texts, in the order of the configuration.

    Columns: estimator; seeds finished (of how many); the metric; its difference to the baseline, marked; shares of
    codes that are zero at the end and that never moved.
    """
    baseline = comparison["config"]["baseline"]
    found = {}
    for task, about in comparison["tasks"].items():
        accuracy = about["metric"] == "accuracy"
        factor, digits = (100.0, 2) if accuracy else (1.0, 4)
        unit = "test accuracy, %" if accuracy else "test bits per character"
        header = ["estimator", "seeds", unit, f"minus '{baseline}'", "zero, %", "never moved, %"]
        rows = []
        for line in comparison["summaries"]:
            if line["task"] != task:
                continue
            own = [c for c in comparison["cells"] if (c["task"], c["estimator"]) == (task, line["estimator"])]
            rows.append(
                [
                    line["estimator"],
                    str(line["n"]) + (f" of {len(own)}, others diverged" if line["diverged"] else ""),
                    _interval(line, factor, digits),
                    _interval(line["difference"], factor, digits, signed=True) + marks(line["difference"]),
                    _share(own, "zero"),
                    _share(own, "unmoved"),
                ]
            )
        found[task] = header, rows
    return found


def marks(difference: dict[str, Any] | None) -> str:
    """Return the stars of a difference."""
    if difference is None or difference["half"] is None or abs(difference["mean"]) <= difference["half"]:
        return ""
    return " **" if difference["p_holm"] < 0.05 else " *"


def markdown(comparison: dict[str, Any]) -> str:
    """Return all tables as Markdown, with the notes below."""
    parts = []
    for task, (header, rows) in tables(comparison).items():
        parts.append(f"## {task}\n\n{markdown_table(header, rows)}\n")
    return "\n".join(parts) + f"\n{NOTES.replace('+-', '±')}.\n"


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """Return a table as Markdown: the first column to the left, the others to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def to_csv(comparison: dict[str, Any]) -> str:
    """Return one line for each training: its task, estimator and seed, and its last figures; nothing if it diverged."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ("zero", "unmoved", "error", "variance")
    writer.writerow(("task", "estimator", "seed", "status", "metric", "test", "validation", *names))
    for cell in comparison["cells"]:
        metric = comparison["tasks"][cell["task"]]["metric"]
        row = [cell["task"], cell["estimator"], cell["seed"], cell["status"], metric]
        if cell["status"] == "finished":
            last = cell["history"][-1]
            figures = (cell["test"][metric], cell["validation"][metric], *(last.get(name) for name in names))
            row += ["" if figure is None else f"{figure:.6g}" for figure in figures]
        else:
            row += [""] * 6
        writer.writerow(row)
    return text.getvalue()


def _cell(text: str) -> str:
    """Return a text as Markdown: no bar that would end the cell, no star that would begin emphasis."""
    return text.replace("|", "\\|").replace("*", "\\*").replace("+-", "±")


def _interval(line: dict[str, Any] | None, factor: float, digits: int, *, signed: bool = False) -> str:
    if line is None or line["mean"] is None:
        return ""
    text = f"{factor * line['mean']:{'+' if signed else ''}.{digits}f}"
    return text if line["half"] is None else f"{text} +- {factor * line['half']:.{digits}f}"


def _share(cells: list[dict[str, Any]], name: str) -> str:
    """Return the mean over seeds of a share at the last look, in percent."""
    last = [cell["history"][-1].get(name) for cell in cells if cell.get("history")]
    shares = [share for share in last if share is not None]
    return f"{100 * sum(shares) / len(shares):.1f}" if shares else ""
