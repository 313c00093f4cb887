"""Latent arrays that come in pairs: complex weights in two bits, and the product of two attention projections."""

__all__ = ["QKR", "Fairy"]

from tetrit.estimators.pairs.fairy import Fairy
from tetrit.estimators.pairs.qkr import QKR
