"""The result of an analysis, `montecarlo.json`: the authority for its keys.

``schema``, ``tetrit``, ``name`` and ``config`` say what was analysed, ``platform`` on what, ``method`` with which
statistics. ``network`` has the ``layers`` (``name``, ``inputs``, ``outputs``, ``weight_format``), the number of
``images``, the ``accuracy`` (``float``, ``quantized``, ``noise_aware`` as trained, ``exact`` in integers) and its
``sha256``. ``corners`` has ``name``, ``changes`` and the whole ``machine`` of each. ``chips`` has for every corner and
chip its ``seed`` and, at each of the configuration's ``times_s``, ``accuracy``, ``error`` (of the last layer's results
against exact ones, relative, Euclidean norm over all images), ``clipped`` (share of conversions out of range).
``summaries`` has for every
corner and time, over the ``n`` chips, ``accuracy`` and ``error`` with ``mean`` and ``half`` (of its interval), ``std``,
``least``, ``greatest``, and ``quantiles`` (``q``, ``value``, ``low``, ``high``); the ``yields`` (``accuracy``, ``good``
chips, ``share``, ``low``, ``high``); and, but for the first corner, the ``difference`` of the accuracy to it, chip by
chip: ``mean``, ``half``. Accuracies and shares are from 0 to 1; a bound that so few chips do not give is null.
"""

__all__ = ["QUANTILES", "SCHEMA", "summarise", "to_json"]

import json
import platform
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

import tetrit
from tetrit import hardware
from tetrit.montecarlo.chips import Cell
from tetrit.montecarlo.config import MonteCarloConfig
from tetrit.montecarlo.network import Network
from tetrit.statistics import LEVEL, mean_interval, quantile_interval, share_interval

SCHEMA = "tetrit-montecarlo/1"
QUANTILES = (0.05, 0.5, 0.95)

_METHOD = {
    "level": LEVEL,
    "mean": "Student's t over the chips",
    "quantiles": "order statistics (binomial), for any distribution",
    "yields": "Clopper-Pearson",
    "difference": "Student's t over the differences of chips with the same seed",
}


def summarise(
    config: MonteCarloConfig, network: Network, cells: Sequence[Cell], results: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the analysis of all chips and their results, in the same order."""
    chips = [
        {"corner": corner.name, "seed": result["seed"]}
        | {key: [point[key] for point in result["points"]] for key in ("accuracy", "error", "clipped")}
        for corner in config.corners
        for cell, result in zip(cells, results, strict=True)
        if cell.corner == corner.name
    ]
    analysis = {
        "schema": SCHEMA,
        "tetrit": tetrit.__version__,
        "name": config.name,
        "config": config.table(),
        "platform": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "machine": platform.machine(),
        },
        "method": _METHOD,
        "network": {
            "layers": [
                {
                    "name": layer.name,
                    "inputs": layer.weight.shape[0],
                    "outputs": layer.weight.shape[1],
                    "weight_format": layer.weight_format,
                }
                for layer in network.layers
            ],
            "images": len(network.images),
            "accuracy": network.accuracy,
            "sha256": network.sha256,
        },
        "corners": [
            {"name": corner.name, "changes": corner.changes, "machine": hardware.to_dict(corner.machine)}
            for corner in config.corners
        ],
        "chips": chips,
        "summaries": [
            _summary(config, chips, corner.name, place)
            for corner in config.corners
            for place in range(len(config.times_s))
        ],
    }
    plain: dict[str, Any] = json.loads(json.dumps(analysis, allow_nan=False))
    return plain


def to_json(analysis: dict[str, Any]) -> str:
    """Return an analysis as the text of ``montecarlo.json``."""
    return json.dumps(analysis, indent=1, allow_nan=False) + "\n"


def _summary(config: MonteCarloConfig, chips: list[dict[str, Any]], corner: str, place: int) -> dict[str, Any]:
    def values(of: str, key: str) -> list[float]:
        return [chip[key][place] for chip in chips if chip["corner"] == of]

    accuracy, first = values(corner, "accuracy"), config.corners[0].name
    difference = None
    if corner != first:
        pairs = zip(accuracy, values(first, "accuracy"), strict=True)
        found = mean_interval([own - other for own, other in pairs])
        difference = {"mean": found.mean, "half": found.half}
    yields = []
    for least in config.yield_accuracy:
        good = sum(value >= least for value in accuracy)
        share = share_interval(good, len(accuracy))
        yields.append({"accuracy": least, "good": good, "share": share.value, "low": share.low, "high": share.high})
    return {
        "corner": corner,
        "time_s": config.times_s[place],
        "n": len(accuracy),
        "accuracy": _distribution(accuracy),
        "error": _distribution(values(corner, "error")),
        "clipped": statistics.fmean(values(corner, "clipped")),
        "yields": yields,
        "difference": difference,
    }


def _distribution(values: list[float]) -> dict[str, Any]:
    mean = mean_interval(values)
    quantiles = ((q, quantile_interval(values, q)) for q in QUANTILES)
    return {
        "mean": mean.mean,
        "half": mean.half,
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "least": min(values),
        "greatest": max(values),
        "quantiles": [{"q": q, "value": found.value, "low": found.low, "high": found.high} for q, found in quantiles],
    }
