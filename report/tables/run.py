"""Tables of a run as a whole: its headline, figures with their origins, assumptions, time."""

__all__ = ["figures", "tables"]

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tetrit.report.numbers import nice_unit, origin
from tetrit.report.tables.model import Table, column, total, words


def tables(report: Mapping[str, Any]) -> Iterator[Table]:
    """Yield the tables of the run that `report` has the blocks for."""
    if "accuracy" in report:
        yield figures("summary", "Summary", _headline(report))
    if "figures" in report:
        yield figures("figures", "Figures and their origins", report["figures"])
    if "figures" in report.get("crossbar", {}):
        yield figures("crossbar_figures", "Figures of the crossbar and their origins", report["crossbar"]["figures"])
    if "assumptions" in report:
        rows = report["assumptions"]
        columns = (
            words("assumption", "assumption", [row["id"] for row in rows]),
            words("text", "text", [row["text"] for row in rows], prose=True),
            words("source", "source", [row["source"] for row in rows], prose=True),
        )
        yield Table(name="assumptions", title="Assumptions", columns=columns)
    if "timings" in report:
        seconds = report["timings"]["seconds"]
        times = (words("step", "step", list(seconds)), column("seconds", "seconds", list(seconds.values()), digits=2))
        yield Table(name="timings", title="Wall-clock time", columns=times, total=total(times, ("seconds",)))


def figures(name: str, title: str, entries: Sequence[Mapping[str, Any]]) -> Table:
    """Return a list of figures, each with name, value, unit, origin and source, and the bounds of those that have some.

    Parameters
    ----------
    name, title : str
        Of the table.
    entries : sequence of mapping
        As ``figures`` in ``schema/report-v2.json``: `tetrit.sim.cost.figure.Figure` as a mapping, and its name.
    """
    columns = [
        words("name", "figure", [entry["name"] for entry in entries]),
        column("value", "value", [entry["value"] for entry in entries]),
        words("unit", "unit", [nice_unit(entry["unit"]) for entry in entries]),
        words("origin", "origin", [entry["origin"] for entry in entries]),
        words("source", "source", [entry["source"] for entry in entries], prose=True),
    ]
    if any(entry.get("low") is not None for entry in entries):
        bounds = (column(key, title, [entry.get(key) for entry in entries]) for key, title in _BOUNDS.items())
        columns[3:3] = bounds
    return Table(name=name, title=title, columns=tuple(columns))


def _headline(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the figures that a reader wants first."""
    measured, images = report["accuracy"], report["images"]
    held_out = f"{measured['n_test']:,} held-out images, mean of {len(report['seeds'])} seeds"
    rows: list[tuple[str, float, str, str, str]] = [
        (f"accuracy, {name}", 100 * measured[key], "%", "measured", held_out)
        for key, name in (("float", "float"), ("quantized", "quantised"), ("machine", "machine"))
    ]
    clock = f"at {report['clock_mhz']:g} MHz"
    rows.append(("cycles per image", report["cycles_per_image"], "", "modelled", f"{images:,} images"))
    rows.append(("time per image", report["latency_us"] / images, "µs", "modelled", clock))
    if "energy_uj" in report:
        kinds = origin(report["energy_uj"]["sources"].values())
        rows.append(("energy per image", report["energy_per_image_nj"], "nJ", kinds, f"{images:,} images"))
    if "area_mm2" in report:
        kinds = origin(report["area_mm2"]["sources"].values())
        rows.append(("area", report["area_mm2"]["total"], "mm²", kinds, "before placement"))
    if "verify" in report:
        block = report["verify"]
        against = f"{block['vectors']:,} outputs in {len(block['testbenches'])} test benches"
        rows.append(("RTL mismatches", block["mismatches"], "", "hardware", against))
    return [dict(zip(("name", "value", "unit", "origin", "source"), row, strict=True)) for row in rows]


_BOUNDS = {"low": "at least", "high": "at most"}
