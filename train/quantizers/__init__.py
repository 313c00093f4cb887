"""Quantiser modules for PyTorch: every golden estimator in any network."""

__all__ = ["Quantizer", "quantizer"]

from tetrit.train.quantizers.module import Quantizer, quantizer
