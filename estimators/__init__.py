"""Golden quantisers for training: bit-exact codes and gradients, the reference for simulators and RTL.

`get` finds an estimator by name; every estimator is a frozen `Estimator`, callable to `Quantized`.
"""

__all__ = [
    "ASQ",
    "DFP",
    "LOTION",
    "LSQ",
    "NUPES",
    "POST",
    "QKR",
    "SRSTE",
    "STE",
    "SURROGATES",
    "SZT",
    "AdaPT",
    "AdaptiveStep",
    "BiPer",
    "BlockQuantizer",
    "ClippedSTE",
    "DenseShift",
    "DoubleRounding",
    "Estimator",
    "Fairy",
    "FormatSTE",
    "GaussWS",
    "KSorted",
    "LearnedTable",
    "PowerOfTwo",
    "Quantized",
    "ReSTE",
    "StatsQ",
    "StochasticRounding",
    "Surrogate",
    "TanhClip",
    "Tequila",
    "dfp_accumulate",
    "dfp_down_convert",
    "dfp_matmul",
    "get",
    "identity",
    "k_sort",
    "names",
    "signed_zero_bias",
    "signed_zero_slope",
    "vanishing",
]

from dataclasses import fields
from typing import Any

from tetrit import checks
from tetrit.estimators.base import Estimator, Quantized
from tetrit.estimators.denseshift import DenseShift
from tetrit.estimators.format_ste import FormatSTE
from tetrit.estimators.pot import PowerOfTwo
from tetrit.estimators.surrogates import (
    SURROGATES,
    Surrogate,
    identity,
    signed_zero_bias,
    signed_zero_slope,
    vanishing,
)
from tetrit.estimators.szt import SZT
from tetrit.estimators.uniform import STE, ClippedSTE

# below, since these families build on the estimators above
from tetrit.estimators.adaptive import AdaPT, Tequila  # isort: skip
from tetrit.estimators.blocks import (  # isort: skip
    DFP,
    BlockQuantizer,
    KSorted,
    dfp_accumulate,
    dfp_down_convert,
    dfp_matmul,
    k_sort,
)
from tetrit.estimators.deterministic import SRSTE, BiPer, ReSTE, StatsQ, TanhClip  # isort: skip
from tetrit.estimators.grids import ASQ, NUPES, POST, AdaptiveStep, LearnedTable  # isort: skip
from tetrit.estimators.pairs import QKR, Fairy  # isort: skip
from tetrit.estimators.stochastic import LOTION, LSQ, DoubleRounding, GaussWS, StochasticRounding  # isort: skip

_CLASSES: dict[str, type[Estimator]] = {
    cls.name: cls
    for cls in (
        STE,
        ClippedSTE,
        FormatSTE,
        SZT,
        PowerOfTwo,
        DenseShift,
        ReSTE,
        BiPer,
        SRSTE,
        TanhClip,
        StatsQ,
        StochasticRounding,
        LOTION,
        GaussWS,
        DoubleRounding,
        LSQ,
        Tequila,
        AdaPT,
        POST,
        ASQ,
        NUPES,
        LearnedTable,
        BlockQuantizer,
        DFP,
        Fairy,
        QKR,
    )
}


def names() -> tuple[str, ...]:
    """Return the names of all estimators, sorted.

    Examples
    --------
    >>> from tetrit import estimators
    >>> estimators.names()[-3:]
    ('szt', 'tanh_clip', 'tequila')
    """
    return tuple(sorted(_CLASSES))


def get(name: str, **params: Any) -> Estimator:
    """Return the estimator `name` with the given parameters; the others keep their defaults.

    Parameters
    ----------
    name : str
        One of `names()`.
    **params
        Fields of the estimator's class, e.g. ``axis=1``.

    Returns
    -------
    Estimator

    Raises
    ------
    UnknownNameError
        If there is no such estimator or no such parameter; the message suggests the nearest name.

    Examples
    --------
    >>> from tetrit import estimators
    >>> estimators.get("ste", format="int4", axis=1)
    STE(format='int4', axis=1, limit=None)
    """
    cls = _CLASSES[checks.choice("estimator", name, _CLASSES)]
    known = [field.name for field in fields(cls)]
    for param in params:
        checks.choice(f"parameter of '{name}'", param, known)
    return cls(**params)
