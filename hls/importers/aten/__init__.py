"""How operators of PyTorch become those of ONNX; importing the package registers all of them. Nothing needs torch."""

__all__ = ["HANDLERS", "Context", "Fixed", "Ref", "UnsupportedError"]

from tetrit.hls.importers.aten import (  # noqa: F401  (they register)
    attention,
    elementwise,
    moving,
    pooling,
    products,
    recurrent,
    reducing,
)
from tetrit.hls.importers.aten.context import HANDLERS, Context, Fixed, Ref, UnsupportedError
