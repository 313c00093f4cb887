"""The authority for the operands that designs are measured with: the same numbers, in each format's codes."""

__all__ = ["SEED", "STATISTICS", "TERMS", "element_trace", "normal", "to_codes"]

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.rtl.baselines import MacElement

Floats = npt.NDArray[np.float64]

SEED = 0
TERMS, STEPS = 64, 2048
"""Products of each sum, and steps of a trace."""

_EXPONENTS = np.arange(-96, 49) / 8
_SCALES = 2.0 ** _EXPONENTS[np.argsort(np.abs(_EXPONENTS), kind="stable")]
"""Scales that are tried, 9 % apart, those nearest to 1 first."""

_AS_GOOD = 1.02
"""Errors within this factor of the least are taken for equal: floating point has as good a scale in every octave."""


def normal(n: int, stream: int) -> Floats:
    """Return normally distributed numbers, mean 0, standard deviation 1; another `stream`, others."""
    return np.random.default_rng([SEED, stream]).normal(size=n)


STATISTICS: Mapping[str, Callable[[Floats], Floats]] = MappingProxyType(
    {"normal": lambda x: x, "relu": lambda x: np.maximum(x, 0.0)}
)
"""What becomes of normally distributed activations; weights stay as they are."""


def to_codes(name: str, x: Floats) -> npt.NDArray[np.int64]:
    """Return codes of numbers, with a scale of least mean square error; the nearest to 1 if several are as good."""
    fmt = formats.get(name)
    errors = np.full(len(_SCALES), np.inf)
    for index, scale in enumerate(_SCALES):
        values = fmt.decode(fmt.encode(x / scale))
        if np.isfinite(values).all():
            errors[index] = np.mean((values * scale - x) ** 2)
    chosen = _SCALES[np.argmax(errors <= _AS_GOOD * errors.min())]
    codes: npt.NDArray[np.int64] = fmt.encode(x / chosen).astype(np.int64)
    return codes


def element_trace(element: MacElement, act: str, weight: str, statistic: str) -> dict[str, npt.NDArray[Any]]:
    """Return what an element is fed: a product in every cycle, sums of 64."""
    n = STEPS
    return {
        "enable": np.ones(n, dtype=np.uint8),
        "act_in": to_codes(act, STATISTICS[statistic](normal(n, 1))),
        "weight_in": to_codes(weight, normal(n, 2)),
        "valid_in": np.ones(n, dtype=np.uint8),
        "last_in": (np.arange(n) % TERMS == TERMS - 1).astype(np.uint8),
    }
