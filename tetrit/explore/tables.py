"""What an exploration found, in words: its front as a table, its sources, its failures, and all points as CSV."""

__all__ = ["LABELS", "best", "chosen", "front_table", "markdown", "summary", "to_csv"]

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tetrit.explore.space import FIGURES, Space
from tetrit.train.compare.tables import markdown_table

LABELS = {
    "latency_us": "latency, us",
    "energy_uj": "energy, uJ",
    "area_mm2": "area, mm2",
    "accuracy": "accuracy, %",
    "cycles": "cycles",
    "utilization": "utilization, %",
}
_SHARES = ("accuracy", "utilization")
_SHOWN = 20
"""Rows of the front that the summary shows."""

_ERRORS = 5
"""Kinds of failures that the summary shows."""

Rows = Sequence[Mapping[str, Any]]


def shown(figure: str, value: float | None) -> str:
    """Return a figure as a table has it."""
    if value is None:
        return ""
    if figure in _SHARES:
        return f"{100 * value:.2f}"
    return f"{value:,.0f}" if figure == "cycles" else f"{value:.4g}"


def chosen(space: Space, rows: Rows) -> list[str]:
    """Return the parameters that differ between points, in their order; more than one machine adds ``machine``."""
    names = list(dict.fromkeys(name for machine in space.machines for axis in machine.axes for name in axis.names))
    values = {name: {str(row["parameters"].get(name)) for row in rows} for name in names}
    return [name for name in names if len(values[name]) > 1]


def best(space: Space, rows: Rows) -> list[Mapping[str, Any]]:
    """Return the front, by the first objective."""
    first = space.objectives[0]
    return sorted((row for row in rows if row["front"]), key=lambda row: (FIGURES[first] * row[first], row["number"]))


def front_table(space: Space, rows: Rows, limit: int | None = None) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of texts of the front, best first objective first."""
    names = chosen(space, rows)
    several = len(space.machines) > 1
    figures = list(dict.fromkeys([*space.objectives, *(limited.figure for limited in space.constraints)]))
    header = ["point", *(["machine"] if several else []), *names, *(LABELS[figure] for figure in figures)]
    lines = [
        [
            str(row["number"]),
            *([row["machine"]] if several else []),
            *("" if row["parameters"].get(name) is None else str(row["parameters"][name]) for name in names),
            *(shown(figure, row[figure]) for figure in figures),
        ]
        for row in best(space, rows)[:limit]
    ]
    return header, lines


def sources(space: Space, rows: Rows) -> list[str]:
    """Return one line for each figure that was asked for, each machine and each source of it."""
    wanted = dict.fromkeys([*space.objectives, *(limit.figure for limit in space.constraints)])
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for name, text in (row["sources"] or {}).items():
            figure, _, component = name.partition(": ")
            if figure in wanted or (figure == "latency_us" and "cycles" in wanted):
                parts = found.setdefault((figure, text), [])
                part = component or row["machine"]
                if part not in parts:
                    parts.append(part)
    return [f"{LABELS[figure]} ({', '.join(parts)}): {text}" for (figure, text), parts in found.items()]


def failures(rows: Rows) -> list[str]:
    """Return the most frequent errors, each with its number of points and one of them."""
    errors = Counter(row["error"] for row in rows if row["state"] == "failed")
    first = {row["error"]: row["number"] for row in reversed(rows) if row["state"] == "failed"}
    lines = [f"{count} x {error} (such as point {first[error]})" for error, count in errors.most_common(_ERRORS)]
    rest = sum(errors.values()) - sum(count for _, count in errors.most_common(_ERRORS))
    return [*lines, f"{rest} x other errors, see points.csv"] if rest else lines


def counts(space: Space, rows: Rows) -> str:
    """Return how many points there are, and what became of them."""
    states = Counter(row["state"] for row in rows)
    feasible = sum(bool(row["feasible"]) for row in rows)
    text = f"{len(rows):,} of {space.size:,} points: {states['done']:,} evaluated, {states['failed']:,} failed"
    if space.constraints:
        text += f"; {feasible:,} meet {' and '.join(map(str, space.constraints))}"
    return f"{text}; {sum(bool(row['front']) for row in rows):,} in the front"


def markdown(space: Space, rows: Rows) -> str:
    """Return a page: what was explored, the front, where the figures come from, what failed."""
    header, lines = front_table(space, rows)
    failed = failures(rows)
    mixed = len(space.machines) > 1 and len({str(machine.base.__class__) for machine in space.machines}) > 1
    pieces = [
        f"# {space.name}",
        f"Workload: {space.workload.name}. {counts(space, rows)}.",
        "## Pareto front",
        f"Objectives: {', '.join(LABELS[name].partition(',')[0] for name in space.objectives)}. None that meets "
        "the constraints is at least as good as one of these in all objectives and better in one.",
        markdown_table(header, lines) if lines else "Nothing meets the constraints.",
        "## Sources",
        "\n".join(f"- {line}" for line in sources(space, rows)) or "Nothing was evaluated.",
    ]
    if mixed:
        pieces.append(
            "Machines of different kinds are compared: where their figures come from different sources, see above, "
            "the comparison is no better than these."
        )
    if failed:
        pieces += ["## Failed points", "\n".join(f"- {line}" for line in failed)]
    return "\n\n".join(pieces) + "\n"


def summary(space: Space, rows: Rows) -> tuple[str, list[str], list[list[str]], list[str]]:
    """Return counts, header and first rows of the front, and what else is to be said."""
    header, lines = front_table(space, rows, _SHOWN)
    n_front = sum(bool(row["front"]) for row in rows)
    notes = [f"{n_front - _SHOWN} more in front.md"] if n_front > _SHOWN else []
    if not n_front:
        notes.append("nothing meets the constraints")
    notes += [f"source of {line}" for line in sources(space, rows)]
    notes += [f"failed: {line}" for line in failures(rows)]
    return counts(space, rows), header, lines, notes


def to_csv(space: Space, rows: Rows) -> str:
    """Return one line for each point: machine, parameters, figures, what became of it."""
    names = list(dict.fromkeys(name for machine in space.machines for axis in machine.axes for name in axis.names))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("point", "machine", *names, "state", *FIGURES, "feasible", "front", "error"))
    for row in rows:
        given = row["parameters"]
        figures = ("" if row[name] is None else f"{row[name]:.10g}" for name in FIGURES)
        marks = ("" if row[name] is None else row[name] for name in ("feasible", "front"))
        values = (given.get(name, "") for name in names)
        writer.writerow((row["number"], row["machine"], *values, row["state"], *figures, *marks, row["error"] or ""))
    return text.getvalue()
