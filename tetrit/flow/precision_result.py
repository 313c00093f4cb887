"""What a study of precision has found, summed up over seeds: the content of its `precision.json` and of its tables."""

__all__ = ["SCHEMA", "markdown", "summarise", "tables", "to_csv"]

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tetrit
from tetrit.flow.precision_choices import choices_of
from tetrit.flow.precision_config import MachineStudy, PrecisionConfig
from tetrit.hls import PrecisionTable, pareto_front
from tetrit.hls.precision.pricing import COSTS, price_source
from tetrit.statistics import Interval, mean_interval, paired_p

SCHEMA = "tetrit-precision/1"
_STAGES = ("untrained", "tuned")
_CLOSE = 1e-9

ASSUMPTIONS = (
    "losses of layers are taken to add up: each was measured or estimated with one layer alone in a format",
    "a mix of weight formats on a shift array means one array for each format, idle ones switched off; their area and "
    "leakage are not in the energy",
    "the cycle in which a SIMD engine changes its pair of formats is not in the costs",
    "every layer of a crossbar has arrays of its own, so that converters may differ; training after a choice sees the "
    "weights' format, the converters only the evaluation",
    "energies of different kinds of machine come from different sources and nodes and are not comparable",
)

Looked = Mapping[tuple[str | None, int], dict[str, Any]]
Tried = Callable[[str, int, dict[str, str]], dict[str, Any]]


def summarise(config: PrecisionConfig, looked: Looked, tried: Tried) -> dict[str, Any]:
    """Return the result of a study.

    Parameters
    ----------
    config : PrecisionConfig
    looked : mapping of (machine, seed) to dict
        What looks have found.
    tried : callable
        ``tried(machine, seed, formats)``: what a choice has given.

    Returns
    -------
    dict
        For each machine the choices as ``rows``: costs and test accuracies as means over seeds with the half-width of
        their 95 % interval; and, ``against``, for choices that are not uniform, the paired difference to the uniform
        choice within the same limit that has the best accuracy on validation images.
    """
    first = config.machines[0].name
    machines = []
    for study in config.machines:
        looks = [looked[study.name, seed] for seed in config.seeds]
        machines.append(_machine(config, study, looks, tried))
    return {
        "schema": SCHEMA,
        "tetrit": tetrit.__version__,
        "name": config.name,
        "config": config.table,
        "config_sha256": config.sha256,
        "seeds": list(config.seeds),
        "float": _interval([looked[first, seed]["float"]["test"]["accuracy"] for seed in config.seeds]),
        "test_images": looked[first, config.seeds[0]]["float"]["test"]["images"],
        "machines": machines,
        "assumptions": list(ASSUMPTIONS),
    }


def _machine(
    config: PrecisionConfig, study: MachineStudy, looks: Sequence[dict[str, Any]], tried: Tried
) -> dict[str, Any]:
    lists = [choices_of(config, study, look) for look in looks]
    rows = []
    for choices in zip(*lists, strict=True):
        results = [
            tried(study.name, seed, choice["formats"]) for seed, choice in zip(config.seeds, choices, strict=True)
        ]
        rows.append(_row(choices, results))
    uniform = [row for row in rows if row["kind"] == "uniform"]
    for row in rows:
        if row["kind"] != "uniform":
            row["against"] = {stage: _against(row, uniform, study.cost, stage) for stage in _STAGES}
    look = looks[0]
    method = config.methods[0]
    table = PrecisionTable(
        layers=look["layers"], formats=look["options"], losses=look["scores"][method], costs=look["costs"]
    )
    front = pareto_front(table, study.cost, ties=config.ties)
    return {
        "name": study.name,
        "kind": type(study.machine).__name__,
        "cost": study.cost,
        "prices": price_source(study.machine),
        "layers": look["layers"],
        "options": look["options"],
        "weights": look["weights"],
        "rows": rows,
        "ranks": _ranks(looks),
        "front": {
            "method": method,
            "seed": config.seeds[0],
            "costs": [choice.costs[study.cost] for choice in front],
            "losses": [choice.loss for choice in front],
            "uniform": [
                {
                    "label": option,
                    "cost": float(table.costs[study.cost][:, n].sum()),
                    "loss": float(table.losses[:, n].sum()),
                }
                for n, option in enumerate(look["options"])
            ],
        },
        "looks": [dict(look, seed=seed) for look, seed in zip(looks, config.seeds, strict=True)],
    }


def _row(choices: Sequence[dict[str, Any]], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    one = choices[0]
    row: dict[str, Any] = {key: one[key] for key in ("kind", "label", "method", "level")}
    row["limits"] = [choice["limit"] for choice in choices]
    row["optimal"] = all(choice["optimal"] for choice in choices) if one["optimal"] is not None else None
    row["formats"] = [choice["formats"] for choice in choices]
    row["costs"] = {name: _interval([choice["costs"][name] for choice in choices]) for name in COSTS}
    for stage in _STAGES:
        found = [result.get(stage) for result in results]
        kept = [entry for entry in found if entry is not None]
        row[stage] = _interval([entry["test"]["accuracy"] for entry in kept]) if kept else None
        row[f"{stage}_test"] = [None if entry is None else entry["test"]["accuracy"] for entry in found]
        row[f"{stage}_validation"] = [None if entry is None else entry["validation"]["accuracy"] for entry in found]
    row["diverged"] = sum(result.get("diverged") is not None for result in results)
    return row


def _against(row: dict[str, Any], uniform: Sequence[dict[str, Any]], cost: str, stage: str) -> dict[str, Any] | None:
    """Return the paired difference to the best uniform choice within a row's limit, None if there is none."""
    limit = sum(row["limits"]) / len(row["limits"])
    complete = [other for other in (row, *uniform) if other[f"{stage}_test"] and None not in other[f"{stage}_test"]]
    if row not in complete:
        return None
    within = [other for other in complete if other is not row and other["costs"][cost]["mean"] <= limit * (1 + _CLOSE)]
    if not within:
        return None
    best = max(within, key=lambda other: sum(other[f"{stage}_validation"]))
    differences = [a - b for a, b in zip(row[f"{stage}_test"], best[f"{stage}_test"], strict=True)]
    return {"label": best["label"], "p": paired_p(differences)} | _interval(differences)


def _ranks(looks: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any] | None]:
    """Return the rank correlation of each method with the measured change of loss, over seeds."""
    found: dict[str, dict[str, Any] | None] = {}
    for method in looks[0]["ranks"]:
        values = [look["ranks"][method] for look in looks if look["ranks"][method] is not None]
        found[method] = _interval(values) if values else None
    return found


def _interval(values: Sequence[float]) -> dict[str, Any]:
    found: Interval = mean_interval(values)
    return {"mean": found.mean, "half": found.half, "n": found.n}


def tables(found: Mapping[str, Any]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Return a header and rows of texts for each machine: costs, accuracies, differences to the best uniform choice."""
    result = {}
    for machine in found["machines"]:
        header = ["choice", "kbit", "kcycles", "energy, nJ", "untrained, %", "tuned, %", "minus uniform, points", "of"]
        rows = []
        for row in machine["rows"]:
            against = (row.get("against") or {}).get("tuned" if row["tuned"] else "untrained")
            rows.append(
                [
                    row["label"] if row["kind"] != "uniform" else f"all {row['label']}",
                    f"{row['costs']['size_bits']['mean'] / 1e3:.1f}",
                    f"{row['costs']['cycles']['mean'] / 1e3:.2f}",
                    f"{row['costs']['energy_pj']['mean'] / 1e3:.4g}",
                    _percent(row["untrained"]),
                    _percent(row["tuned"]) + (f", {row['diverged']} diverged" if row["diverged"] else ""),
                    "" if against is None else _percent(against, signed=True),
                    "" if against is None else against["label"],
                ]
            )
        result[machine["name"]] = header, rows
    return result


def markdown(found: Mapping[str, Any]) -> str:
    """Return all tables as Markdown: choices, and rank correlations."""
    from tetrit.train.compare.tables import markdown_table

    parts = [f"# {found['name']}\n\nFloat: {_percent(found['float'])} % of {found['test_images']} test images.\n"]
    every = tables(found)
    for machine in found["machines"]:
        parts.append(f"## {machine['name']} ({machine['kind']})\n\n{markdown_table(*every[machine['name']])}\n")
        parts.append(f"Prices: {machine['prices']}.\n")
    methods = list(found["machines"][0]["ranks"])
    ranks = [[method, *(_correlation(machine["ranks"][method]) for machine in found["machines"])] for method in methods]
    parts.append("## Rank correlation with the measured change of loss\n")
    parts.append(markdown_table(["method", *(machine["name"] for machine in found["machines"])], ranks) + "\n")
    parts.append("\n".join(f"- {text}" for text in found["assumptions"]) + "\n")
    return "\n".join(parts)


def to_csv(found: Mapping[str, Any]) -> str:
    """Return one line for each machine, choice and seed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("machine", "kind", "choice", "method", "level", "seed", *COSTS, "untrained_test", "tuned_test", "formats")
    )
    for machine in found["machines"]:
        for row in machine["rows"]:
            for place, seed in enumerate(found["seeds"]):
                formats = row["formats"][place]
                costs = _costs_of(machine["looks"][place], formats)
                figures = (row["untrained_test"][place], row["tuned_test"][place])
                writer.writerow(
                    (
                        machine["name"],
                        row["kind"],
                        row["label"],
                        row["method"] or "",
                        "" if row["level"] is None else row["level"],
                        seed,
                        *(f"{costs[name]:.6g}" for name in COSTS),
                        *("" if figure is None else f"{figure:.6g}" for figure in figures),
                        " ".join(f"{layer}={option.replace(' ', '')}" for layer, option in formats.items()),
                    )
                )
    return text.getvalue()


def _costs_of(look: Mapping[str, Any], formats: Mapping[str, str]) -> dict[str, float]:
    places = [look["options"].index(formats[layer]) for layer in look["layers"]]
    return {
        name: sum(row[place] for row, place in zip(cost, places, strict=True)) for name, cost in look["costs"].items()
    }


def _percent(line: Mapping[str, Any] | None, *, signed: bool = False) -> str:
    if line is None:
        return ""
    text = f"{100 * line['mean']:{'+' if signed else ''}.2f}"
    return text if line["half"] is None else f"{text} +- {100 * line['half']:.2f}"


def _correlation(line: Mapping[str, Any] | None) -> str:
    if line is None:
        return "none"
    text = f"{line['mean']:.2f}"
    return text if line["half"] is None else f"{text} +- {line['half']:.2f}"
