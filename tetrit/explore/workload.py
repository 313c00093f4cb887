"""What runs on every point: the authority for a list of matrix products, or a network trained on the digits."""

__all__ = ["DigitsWorkload", "Gemm", "GemmWorkload", "Workloads"]

from dataclasses import dataclass
from typing import Any

from tetrit.sim import Workload
from tetrit.train import mlp
from tetrit.train.recipe import EstimatorChoice, Split


@dataclass(frozen=True, kw_only=True)
class Gemm:
    """A matrix product that runs `count` times, each time with weights of its own.

    Attributes
    ----------
    name : str
    workload : Workload
    count : int
    """

    name: str
    workload: Workload
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class GemmWorkload:
    """Matrix products one after the other; they have shapes and no values.

    Attributes
    ----------
    name : str
    gemms : tuple of Gemm
    zeros : float
        Share of the weights that is taken to be zero, in formats that have a zero.
    """

    name: str
    gemms: tuple[Gemm, ...]
    zeros: float = 0.0

    def table(self) -> dict[str, Any]:
        """Return all fields as plain numbers, texts, lists and dicts."""
        products = [[gemm.name, gemm.workload.m, gemm.workload.k, gemm.workload.n, gemm.count] for gemm in self.gemms]
        return {"kind": "gemm", "name": self.name, "gemms": products, "zeros": self.zeros}


@dataclass(frozen=True, kw_only=True, eq=False)
class DigitsWorkload:
    """A perceptron on scikit-learn's handwritten digits, trained once for every weight format, and its held-out images.

    Attributes
    ----------
    split : Split
    training : mlp.Config
    estimators : dict of str to EstimatorChoice
        By weight format; formats that are missing have the default one.
    chips : int
        Of a crossbar; the accuracy is their mean.
    calibration_images : int
        Training images that ranges and scales are set from.
    """

    split: Split
    training: mlp.Config
    estimators: dict[str, EstimatorChoice]
    chips: int = 1
    calibration_images: int = 256

    @property
    def name(self) -> str:
        """A title."""
        return "digits, hidden layers of " + " and ".join(map(str, self.training.hidden))

    def table(self) -> dict[str, Any]:
        """Return all fields as plain numbers, texts, lists and dicts."""
        return {
            "kind": "digits",
            "data": vars(self.split),
            "train": vars(self.training),
            "estimators": {
                name: {"name": choice.name, **choice.params} for name, choice in sorted(self.estimators.items())
            },
            "chips": self.chips,
            "calibration_images": self.calibration_images,
        }


Workloads = GemmWorkload | DigitsWorkload
