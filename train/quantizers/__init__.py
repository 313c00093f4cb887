"""Quantiser modules for PyTorch: every golden estimator in any network."""

__all__ = ["Quantizer", "from_table", "quantizer", "to_table"]

from tetrit.train.quantizers._table import from_table, to_table
from tetrit.train.quantizers.module import Quantizer, quantizer
