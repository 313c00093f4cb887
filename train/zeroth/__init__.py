"""Zeroth-order optimisers for PyTorch: gradients from two losses, without a backward pass and without kept noise."""

__all__ = ["ElasticZO", "IntegerZerothOrder", "ZerothOrder", "integer_cross_entropy"]

from tetrit.train.zeroth.elastic import ElasticZO
from tetrit.train.zeroth.floats import ZerothOrder
from tetrit.train.zeroth.integers import IntegerZerothOrder, integer_cross_entropy
