"""Quantisation-aware networks: plans that say which layer trains how, and `prepare`, which swaps the layers."""

__all__ = ["LowBitLayer", "Plan", "Rule", "fold_batchnorm", "low_bit_layers", "prepare", "quantized_weights"]

from tetrit.train.qat.folding import fold_batchnorm
from tetrit.train.qat.layers import LowBitLayer, low_bit_layers, quantized_weights
from tetrit.train.qat.plan import Plan, Rule
from tetrit.train.qat.preparing import prepare
