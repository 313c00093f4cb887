"""Training of low-bit networks: quantisers, hooks and loops for PyTorch, and a plain-numpy trainer without it.

PyTorch is imported with the first name that needs it.
"""

__all__ = ["ElasticZO", "Quantizer", "ZerothOrder", "digits", "export", "mlp", "network", "quantizer"]

from importlib import import_module
from typing import Any

from tetrit.errors import ToolError
from tetrit.train import digits, export, mlp, network

_TORCH = {
    "ElasticZO": "zeroth",
    "Quantizer": "quantizers",
    "ZerothOrder": "zeroth",
    "quantizer": "quantizers",
}
"""Names that need PyTorch, and the module of this room that has each."""


def __getattr__(name: str) -> Any:
    if name not in _TORCH:
        raise AttributeError(f"module 'tetrit.train' has no attribute {name!r}")
    try:
        return getattr(import_module(f"tetrit.train.{_TORCH[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ToolError("training in PyTorch needs torch: pip install 'tetrit[train]'") from None
