"""Which formats a study tries on a network: every uniform choice, and the best mixed ones within each limit."""

__all__ = ["choices_of", "limit_of"]

from collections.abc import Mapping
from typing import Any

import numpy as np

from tetrit.errors import InvalidValueError
from tetrit.flow.precision_config import MachineStudy, PrecisionConfig
from tetrit.hls import PrecisionTable, choose_precision

_LEAST = 1e-300


def limit_of(looked: Mapping[str, Any], cost: str, level: float) -> float:
    """Return the limit at a share `level` of the way from the least to the greatest uniform total of a resource.

    HAWQ-V3 sets its limits in this way, between all layers in 4 and all in 8 bits.
    """
    totals = np.array(looked["costs"][cost]).sum(axis=0)
    return float(totals.min() + level * (totals.max() - totals.min()))


def choices_of(config: PrecisionConfig, study: MachineStudy, looked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the choices for one network on one machine.

    Returns
    -------
    list of dict
        Each with ``kind`` (``"uniform"``, ``"mixed"`` or ``"search"``), ``label``, ``method`` and ``level`` (None for
        uniform ones), ``limit``, ``formats`` by layer, ``costs``, ``loss`` (the sum of the method's scores) and
        ``optimal``.
    """
    layers, options = looked["layers"], looked["options"]
    costs = {name: np.array(cost) for name, cost in looked["costs"].items()}
    found: list[dict[str, Any]] = [
        {
            "kind": "uniform",
            "label": option,
            "method": None,
            "level": None,
            "limit": None,
            "formats": dict.fromkeys(layers, option),
            "costs": {name: float(cost[:, number].sum()) for name, cost in costs.items()},
            "loss": None,
            "optimal": None,
        }
        for number, option in enumerate(options)
    ]
    wanted = [(method, level, looked["scores"][method]) for method in config.methods for level in config.levels]
    kinds = ["mixed"] * len(wanted)
    for searched in looked["searches"]:
        surprise = -np.log(np.maximum(np.array(searched["probabilities"]), _LEAST))
        wanted.append(("search", searched["level"], surprise.tolist()))
        kinds.append("search")
    for kind, (method, level, losses) in zip(kinds, wanted, strict=True):
        table = PrecisionTable(layers=layers, formats=options, losses=losses, costs=looked["costs"])
        limits = {study.cost: limit_of(looked, study.cost, level)}
        limits |= {name: limit_of(looked, name, share) for name, share in study.limits.items()}
        try:
            choice = choose_precision(table, limits, ties=config.ties)
        except InvalidValueError as error:
            raise InvalidValueError(f"{config.path}: [machine.{study.name}]: {error}") from None
        found.append(
            {
                "kind": kind,
                "label": f"{method}, {100 * level:g} %",
                "method": method,
                "level": level,
                "limit": limits[study.cost],
                "formats": dict(choice.formats),
                "costs": dict(choice.costs),
                "loss": choice.loss,
                "optimal": choice.optimal,
            }
        )
    return found
