"""The result of a comparison, `comparison.json`: the authority for its keys.

``schema``, ``tetrit``, ``name``, ``sha256`` and ``config`` say what was compared; ``platform`` on what. ``method``
names the statistics. ``tasks`` has for each name its ``data``, ``model``, ``metric``, whether ``higher`` values of it
are better, and the ``budget``: steps of both phases and the batch. ``cells`` has one entry for each training: ``task``,
``estimator``, ``seed``, ``status`` (``"finished"``, or ``"diverged"`` with a ``message``), and of a finished one
``test`` and ``validation``, and the ``history`` of the quantised phase: ``step``, ``validation`` (of the metric), and,
of all quantised weights together, ``zero`` and ``unmoved`` (shares of codes, see `tetrit.train.loop.weights`),
``error`` and ``variance`` (see `tetrit.train.compare.indicators`). ``summaries`` has one entry for each task and
estimator: ``mean`` and ``half`` (of the 95 % interval) of the metric over ``n`` seeds, ``diverged``, and, but for the
baseline, the ``difference`` to it on the seeds that both have finished: ``mean``, ``half``, ``n``, ``p``, ``p_holm``.
Accuracies are shares from 0 to 1.
"""

__all__ = ["SCHEMA", "summarise", "to_json"]

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import tetrit
from tetrit.statistics import LEVEL, holm, mean_interval, paired_p
from tetrit.train.compare.config import Cell, CompareConfig

SCHEMA = "tetrit-compare/1"

_METHOD = {
    "level": LEVEL,
    "interval": "Student's t over the seeds",
    "difference": "Student's t over the paired differences of the seeds",
    "correction": "Holm over the estimators of one task",
}


def summarise(config: CompareConfig, cells: Sequence[Cell], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the comparison of finished cells and their results, in the same order."""
    tasks = {}
    for task in config.tasks:
        own = [(cell, result) for cell, result in zip(cells, results, strict=True) if cell.task == task]
        tasks[task] = _task(own)
    entries = [_cell(cell, result, tasks[cell.task]["metric"]) for cell, result in zip(cells, results, strict=True)]
    finished = [result for result in results if result["status"] == "finished"]
    return {
        "schema": SCHEMA,
        "tetrit": tetrit.__version__,
        "name": config.name,
        "sha256": config.sha256,
        "config": config.table(),
        "platform": finished[0]["platform"] if finished else None,
        "method": _METHOD,
        "tasks": tasks,
        "cells": entries,
        "summaries": [line for task in tasks for line in _summaries(config, task, tasks[task]["metric"], entries)],
    }


def to_json(comparison: dict[str, Any]) -> str:
    """Return a comparison as the text of ``comparison.json``."""
    return json.dumps(comparison, indent=1, allow_nan=False) + "\n"


def _task(own: list[tuple[Cell, dict[str, Any]]]) -> dict[str, Any]:
    cell = own[0][0]
    finished = [result for _, result in own if result["status"] == "finished"]
    text = cell.config.model.reads == "text"
    steps = {name: phase["steps"] for name, phase in finished[0]["results"].items()} if finished else None
    return {
        "data": finished[0]["data"] if finished else None,
        "model": finished[0]["model"] if finished else None,
        "metric": "bits_per_character" if text else "accuracy",
        "higher": not text,
        "budget": {"steps": steps, "batch": cell.config.settings.batch},
    }


def _cell(cell: Cell, result: dict[str, Any], metric: str) -> dict[str, Any]:
    entry = {"task": cell.task, "estimator": cell.estimator, "seed": cell.seed, "status": result["status"]}
    if result["status"] == "diverged":
        return entry | {"message": result["message"]}
    last = result["results"]["quantized"]
    history = []
    for line in result["history"]:
        if line["phase"] == "quantized":
            codes = line.get("weights", {}).get("all", {})
            gradients = line.get("indicators", {}).get("all", {})
            point = {"step": line["step"], "validation": line["validation"][metric]}
            point |= {name: codes[name] for name in ("zero", "unmoved") if name in codes}
            point |= {name: gradients[name] for name in ("error", "variance") if name in gradients}
            history.append(point)
    return entry | {"validation": last["validation"], "test": last["test"], "history": history}


def _summaries(config: CompareConfig, task: str, metric: str, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    values: dict[str, dict[int, float]] = {}
    diverged: dict[str, list[int]] = {}
    for entry in config.estimators:
        if task not in entry.tasks:
            continue
        own = [cell for cell in entries if (cell["task"], cell["estimator"]) == (task, entry.label)]
        values[entry.label] = {cell["seed"]: cell["test"][metric] for cell in own if cell["status"] == "finished"}
        diverged[entry.label] = [cell["seed"] for cell in own if cell["status"] == "diverged"]
    baseline = values.get(config.baseline, {})
    differences = {
        label: [value - baseline[seed] for seed, value in found.items() if seed in baseline]
        for label, found in values.items()
        if label != config.baseline
    }
    p_values = [paired_p(found) if found else None for found in differences.values()]
    adjusted = dict(zip(differences, zip(p_values, holm(p_values), strict=True), strict=True))
    lines = []
    for label, found in values.items():
        line: dict[str, Any] = {"task": task, "estimator": label, "diverged": diverged[label]}
        line |= asdict(mean_interval(list(found.values()))) if found else {"mean": None, "half": None, "n": 0}
        line["difference"] = None
        if differences.get(label):
            p, p_holm = adjusted[label]
            line["difference"] = asdict(mean_interval(differences[label])) | {"p": p, "p_holm": p_holm}
        lines.append(line)
    return lines
