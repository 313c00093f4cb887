"""Surrogate estimators: a hard forward pass (signs, zero-free grids, masks) with the gradient of something softer."""

__all__ = [
    "SRSTE",
    "BiPer",
    "ReSTE",
    "StatsQ",
    "TanhClip",
    "biper_penalty",
    "estimating_error",
    "gradient_variance",
    "n_of_m_mask",
    "rectified",
]

from tetrit.estimators.deterministic.biper import BiPer, biper_penalty
from tetrit.estimators.deterministic.n_of_m import n_of_m_mask
from tetrit.estimators.deterministic.reste import ReSTE, estimating_error, gradient_variance, rectified
from tetrit.estimators.deterministic.sr_ste import SRSTE
from tetrit.estimators.deterministic.statsq import StatsQ
from tetrit.estimators.deterministic.tanh_clip import TanhClip
