"""What a point is found to be: latency, energy, area, accuracy, each with the source of its figure."""

__all__ = ["Figures", "Result", "versions"]

import platform
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tetrit


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of a machine on a workload.

    Attributes
    ----------
    cycles : int
    latency_us : float
        The cycles at the machine's clock.
    utilization : float
        Multiply-accumulates over those that the array could do in that time; on crossbars, cells with a weight over
        all.
    energy_uj : dict
        By component.
    area_mm2 : dict
        By component.
    sources : dict
        Of ``latency_us``, ``energy_uj``, ``accuracy``, and of every component's area as ``area_mm2: name``.
    accuracy : float or None
        None where the workload has no data.
    """

    cycles: int
    latency_us: float
    utilization: float
    energy_uj: dict[str, float]
    area_mm2: dict[str, float]
    sources: dict[str, str]
    accuracy: float | None = None

    def values(self) -> dict[str, Any]:
        """Return one number for each of `tetrit.explore.space.FIGURES`."""
        return {
            "latency_us": self.latency_us,
            "energy_uj": sum(self.energy_uj.values()),
            "area_mm2": sum(self.area_mm2.values()),
            "accuracy": self.accuracy,
            "cycles": self.cycles,
            "utilization": self.utilization,
        }


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a point.

    Attributes
    ----------
    number : int
        Of the point.
    figures : Figures or None
        None where it failed.
    error : str
        One line, where it failed.
    seconds : float
        Of the evaluation.
    versions : dict
        Of what evaluated it.
    """

    number: int
    figures: Figures | None
    error: str = ""
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)


def versions() -> dict[str, str]:
    """Return the versions that a figure may depend on."""
    return {"tetrit": tetrit.__version__, "python": platform.python_version(), "numpy": np.__version__}
