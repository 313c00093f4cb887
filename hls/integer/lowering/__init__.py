"""From float operators to the steps that integers can do: fused, folded, in the layout of integer networks."""

__all__ = ["Function", "Given", "Lowered", "Stated", "Step", "Weights", "lower"]

from tetrit.hls.integer.lowering import activations, products, quantised, shaping  # noqa: F401  (they register)
from tetrit.hls.integer.lowering.constants import Stated
from tetrit.hls.integer.lowering.steps import Function, Given, Lowered, Step, Weights
from tetrit.hls.integer.lowering.walk import lower
