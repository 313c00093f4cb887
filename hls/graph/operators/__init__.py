"""The operators in numpy, one function each; importing the package registers all of them."""

__all__ = ["OPERATORS"]

from tetrit.hls.graph.operators import (  # noqa: F401  (they register their operators)
    activation,
    attention,
    convolution,
    elementwise,
    layout,
    normalization,
    pooling,
    product,
    quantization,
    recurrent,
    reduction,
    resizing,
)
from tetrit.hls.graph.operators.common import OPERATORS
