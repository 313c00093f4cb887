"""Training of low-bit networks: quantisers, hooks and loops for PyTorch, and a plain-numpy trainer without it.

PyTorch is imported with the first name that needs it.
"""

__all__ = [
    "ElasticZO",
    "LowBitLayer",
    "Plan",
    "Quantizer",
    "Rule",
    "Schedule",
    "StochasticUnit",
    "ZerothOrder",
    "digits",
    "export",
    "fold_batchnorm",
    "integers",
    "leave_one_out_baseline",
    "low_bit_layers",
    "mlp",
    "network",
    "prepare",
    "psa_loss",
    "quantized_weights",
    "quantizer",
    "reinforce_loss",
]

from importlib import import_module
from typing import Any

from tetrit.errors import ToolError
from tetrit.train import digits, integers, mlp, network

_TORCH = {
    "ElasticZO": "zeroth",
    "LowBitLayer": "qat",
    "Plan": "qat",
    "Quantizer": "quantizers",
    "Rule": "qat",
    "Schedule": "schedule",
    "StochasticUnit": "units",
    "ZerothOrder": "zeroth",
    "export": "exporting",
    "fold_batchnorm": "qat",
    "leave_one_out_baseline": "units",
    "low_bit_layers": "qat",
    "prepare": "qat",
    "psa_loss": "units",
    "quantized_weights": "qat",
    "quantizer": "quantizers",
    "reinforce_loss": "units",
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
