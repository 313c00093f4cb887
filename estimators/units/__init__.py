"""Stochastic binary units of small networks, and estimators of the gradient through them.

They are no weight quantisers: `get` finds a class by name, and every one is a `StochasticUnits`, which samples states
from pre-activations and estimates gradients with respect to these. `exact` enumerates all states of a small layer.
"""

__all__ = [
    "PSA",
    "LayerSample",
    "NoiseInjection",
    "Reinforce",
    "STBernoulli",
    "SmoothTimesStochastic",
    "StochasticUnits",
    "flip_losses",
    "get",
    "leave_one_out_baseline",
    "names",
    "psa_gradients",
]

from dataclasses import fields
from typing import Any

from tetrit import checks
from tetrit.estimators.units.base import StochasticUnits
from tetrit.estimators.units.bernoulli import Reinforce, STBernoulli, leave_one_out_baseline
from tetrit.estimators.units.psa import PSA, LayerSample, flip_losses, psa_gradients
from tetrit.estimators.units.smooth import NoiseInjection, SmoothTimesStochastic

_CLASSES: dict[str, type[StochasticUnits]] = {
    cls.name: cls for cls in (STBernoulli, Reinforce, SmoothTimesStochastic, NoiseInjection, PSA)
}


def names() -> tuple[str, ...]:
    """Return the names of all kinds of units, sorted.

    Examples
    --------
    >>> from tetrit.estimators import units
    >>> units.names()
    ('noise_injection', 'psa', 'reinforce', 'smooth_times_stochastic', 'st_bernoulli')
    """
    return tuple(sorted(_CLASSES))


def get(name: str, **params: Any) -> StochasticUnits:
    """Return the units `name` with the given parameters; the others keep their defaults.

    Parameters
    ----------
    name : str
        One of `names()`.
    **params
        Fields of the class, e.g. ``sigma=0.5``.

    Returns
    -------
    StochasticUnits

    Raises
    ------
    UnknownNameError
        If there is no such kind or no such parameter; the message suggests the nearest name.

    Examples
    --------
    >>> from tetrit.estimators import units
    >>> units.get("noise_injection", sigma=0.5)
    NoiseInjection(sigma=0.5)
    """
    cls = _CLASSES[checks.choice("units", name, _CLASSES)]
    known = [field.name for field in fields(cls)]
    for param in params:
        checks.choice(f"parameter of '{name}'", param, known)
    return cls(**params)
